"""The pages of runs: what they say, that they are whole, and that nothing in them is foreign."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import records
from cli_process import Cli
from records import record, run_json

from launch.charts.axes import Linear, Logarithmic, Nines, nanoseconds, number, percent
from launch.charts.chart import PAGE, Chart
from launch.charts.markup import Markup, join, tag
from launch.cli import main
from launch.machine.topology import Processor, Topology
from launch.outcome.record.history import KEPT, facts, history_after, same_kind
from launch.outcome.record.machine import Row, as_rows, from_rows
from launch.outcome.record.run import Record
from launch.outcome.record.timeline import HistogramRecord, TimelineRecord
from launch.report.comparison import comparison_page
from launch.report.index import COLUMNS, cells, index_page, without_copies
from launch.report.page import run_page
from launch.report.series import Histogram, windows
from launch.report.sources import Source, write_report
from launch.screen.terminal import Terminal
from loadrun.report import as_text

HOSTILE = "<script>alert(1)</script>&\"'"
LATER_RUN = {"run_id": "run2", "started": "2026-02-02T03:04:05+00:00"}
VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Holds a page to be well-formed; collects its text, attributes and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, key, value or "") for key, value in attributes]
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += " " + data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    ids = [value for _, key, value in reader.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    return reader


def assert_nothing_external(page: str) -> None:
    reader = read(page)
    for name, key, value in reader.attributes:
        assert key != "src"
        assert name not in ("link", "iframe", "object", "img")
        if key == "href":
            assert "//" not in value
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def read_timeline(**changes: Any) -> TimelineRecord:
    timeline = record().measured.timeline
    assert timeline is not None
    return replace(timeline, **changes)


def simple_chart() -> Chart:
    return Chart(
        "samples/s",
        "s",
        lambda ends: Linear(0, 10, ends),
        lambda ends: Linear(0, 100, ends),
        [(1.0, "p50 5 ms", "c3"), (1.1, "p90 6 ms", "c3"), (9.9, "limit 15 ms", "c2")],
    )


def test_text_is_escaped_and_markup_is_not() -> None:
    assert tag("p", "a<b", tag("b", "&"), None, class_='"') == (
        '<p class="&quot;">a&lt;b<b>&amp;</b></p>'
    )
    assert join("<", Markup("<br>")) == "&lt;<br>"
    assert tag("rect", stroke_width=1.0, x=0.5, hidden=None) == (
        '<rect stroke-width="1" x="0.5"></rect>'
    )


def test_numbers_are_short_and_never_in_powers_of_ten() -> None:
    assert [number(v) for v in (0, 0.01234, 1, 9.996, 99.95, 123.4, 1234567)] == [
        "0",
        "0.0123",
        "1",
        "10",
        "100",
        "123",
        "1,234,567",
    ]
    times = (12, 1_500, 15e6, 2.5e9)
    assert [nanoseconds(time) for time in times] == [
        "12 ns",
        "1.5 µs",
        "15 ms",
        "2.5 s",
    ]
    assert percent(0.123) == "12.3%"


@pytest.mark.parametrize(
    "scale",
    [
        Linear(0, 1, (10, 90)),
        Linear(3, 3, (10, 90)),
        Linear(0, 987654, (10, 90)),
        Linear(0.5, 4.5, (10, 90), whole=True),
        Logarithmic(1e3, 1e9, (10, 90)),
        Logarithmic(4.9e6, 5.1e6, (10, 90)),
        Logarithmic(3.1e6, 3.9e6, (10, 90)),
        Nines(4, (10, 90)),
    ],
)
def test_ticks_lie_on_the_axis_in_order(scale: Linear | Logarithmic | Nines) -> None:
    ticks = scale.ticks()
    places = [scale(value) for value, _ in ticks]
    assert 1 <= len(ticks) <= 12
    assert places == sorted(places)
    assert all(10 <= place <= 90 for place in places)
    assert scale(-1) == 10
    assert scale(1e12) == 90


def test_a_chart_escapes_and_describes_itself() -> None:
    chart = simple_chart()
    chart.bars([(0, 1, 50, HOSTILE)])
    svg = chart.svg(HOSTILE, HOSTILE)
    assert "<script" not in svg
    reader = read(svg)
    names = {name for name, *_ in reader.attributes}
    assert {"svg", "rect", "text", "line"} <= names
    assert HOSTILE in reader.text


def test_labels_of_marks_do_not_lie_on_each_other() -> None:
    svg = simple_chart().svg("a", "b")
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*class="label \w+">([^<]+)<', svg)
    assert [text for *_, text in found] == ["p50 5 ms", "p90 6 ms", "limit 15 ms"]
    rows = {text: float(y) for _, y, text in found}
    assert rows["p50 5 ms"] != rows["p90 6 ms"]
    assert rows["p50 5 ms"] == rows["limit 15 ms"]
    for x, _, text in found:
        assert PAGE.letter * len(text) / 2 <= float(x) <= PAGE.width - PAGE.letter * len(text) / 2


def test_a_histogram_has_shares_and_percentiles() -> None:
    found = Histogram([10.0, 20.0, 40.0, 80.0], [1, 2, 1])
    assert [found.share_below(v) for v in (0, 10, 20, 30, 40, 80, 99)] == [
        0,
        0,
        0.25,
        0.5,
        0.75,
        1,
        1,
    ]
    assert found.percentile(0.5) == 30
    assert found.percentile(1.0) == 80
    even = found.even(8, 80.0)
    assert len(even.counts) == 8
    assert sum(even.counts) == pytest.approx(4)
    assert found.coarser(2).counts == [3, 1]
    assert found.coarser(2).edges[:2] == [10, 40]
    assert Histogram.of(read_timeline(histogram=HistogramRecord(0, 16, ()))) is None


def test_windows_keep_every_sample() -> None:
    timeline = read_timeline(
        at_s=tuple(float(at) for at in range(1001)),
        answered=tuple(7 * at for at in range(1001)),
        outstanding=(1,) * 1001,
        outstanding_max=(1,) * 1001,
        latency_mean_us=(1.0,) * 1001,
        latency_max_us=(1.0,) * 1001,
        batch_sizes=({"7": 1000},),
    )
    found = windows(timeline)
    assert 8 <= len(found) <= 50
    assert sum(w.rate * (w.end_s - w.start_s) for w in found) == pytest.approx(7000)
    assert [w.start_s for w in found[1:]] == [w.end_s for w in found[:-1]]
    assert windows(replace(timeline, at_s=(0.0,), answered=(0,))) == []


def test_the_page_of_a_run_shows_its_run_json() -> None:
    page = run_page(record())
    assert_nothing_external(page)
    text = " ".join(read(page).text.split())
    for expected in (
        "INVALID",
        "the 99th percentile is late",
        "Cure: lower --qps",
        "199",
        "p99 17 ms",
        "limit 15 ms",
        "Not official: --fast",
        "socket 1",
        "memory node 1",
        "L3 of 2",
        "AVX512_CORE_VNNI",
        "loadrun run resnet50",
        "There is none of this kind",
        "Utilisation of the instances",
        "Queue depth",
    ):
        assert expected in text, expected


@pytest.mark.parametrize(
    "changes",
    [
        {"timeline": None, "topology": None, "history": None},
        {"scenario": "Offline"},
        {"scenario": "SingleStream", "in_process": True},
        {"scenario": "MultiStream"},
        {"status": "FAILED", "error": "instance 0 ended", "result": None},
        {"deaths": [{"instance": 1, "at_s": 3.0, "end": "SIGKILL", "last_words": "", "x": 1}]},
        {"plan": records.plan(fitted=True, notices=["cut down"])},
    ],
    ids=lambda changes: "-".join(map(str, list(changes.values())[:1])),
)
def test_any_run_has_a_page(changes: dict[str, Any]) -> None:
    assert_nothing_external(run_page(record(**changes)))


def test_the_page_shows_times_by_batch_size_where_the_run_kept_them() -> None:
    details = {"batch_ms": [6.0, 11.0, 21.0, 21.0], "batches": {"3": [4]}}
    page = run_page(record(engines={"0": {"details": details}}))
    assert_nothing_external(page)
    text = " ".join(read(page).text.split())
    assert "Time of a sample by batch size" in text
    assert "Least in batches of 4: 5.25 ms." in text
    assert "as run, 3 samples in a batch: 7 ms per sample" in text
    assert "would take longer: 3 (filled up to 4)." in text
    one_size = {"0": {"details": {"batch_ms": [6.0]}}}
    for engines in ({}, None, {"0": {"details": {"isa": "AVX2"}}}, one_size):
        assert "by batch size" not in read(run_page(record(engines=engines))).text


def test_an_accuracy_run_has_a_page() -> None:
    value = record(
        mode="AccuracyOnly",
        result=records.result(valid=None, metric=None, latencies_ns={}, invalid=[]),
        accuracy=records.accuracy(value=0.7646, good=38, total=50, target=0.757),
    )
    text = read(run_page(value)).text
    assert "76.460%" in text
    assert "COMPLETE" in text


def test_text_from_a_run_is_escaped() -> None:
    def hostile(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: hostile(found) for key, found in value.items()}
        if isinstance(value, list):
            return [hostile(found) for found in value]
        return HOSTILE + value if isinstance(value, str) else value

    value = hostile(run_json())
    value["history"] = [hostile(asdict(facts(record())))]
    value["label"] = HOSTILE
    value["checks"] = [dict.fromkeys(("check", "found", "effect", "cure"), HOSTILE)]
    value["checks"][0]["level"] = "note"
    for status, scenario in (("COMPLETE", "Server"), ("COMPLETE", HOSTILE), (HOSTILE, HOSTILE)):
        value |= {"status": status, "scenario": scenario}
        page = run_page(Record.from_json(value))
        assert "<script>alert" not in page
        assert "<script>alert(1)</script>" in read(page).text
    source = Source(Path("/results/run.json"), Record.from_json(value))
    for page in (
        index_page([source], Path("/results/index.html")),
        comparison_page([source, source], Path("/results/c.html")),
    ):
        assert "<script>alert" not in page


def test_the_run_before_is_compared() -> None:
    now = record(run_id="run2")
    before = replace(facts(record(batch_size=8)), figure=99.7)
    other = replace(before, mode="AccuracyOnly", figure=None)
    now.history = (other, before)
    assert same_kind(now) == [before]
    text = " ".join(read(run_page(now)).text.split())
    assert "2.000 better" in text
    assert "batch size: 8 → 4" in text
    assert "Run after run" in text


def test_history_is_handed_on_and_bounded() -> None:
    assert history_after(None) == ()
    value = record()
    for turn in range(2 * KEPT):
        earlier = history_after(value)
        value = record(run_id=f"run{turn}")
        value.history = earlier
    history = value.as_json()["history"]
    assert len(history) == KEPT
    assert history[0]["run_id"] == f"run{2 * KEPT - 2}"
    assert "history" not in history[0]
    assert len(as_text(history)) < 40_000
    assert Record.from_json(json.loads(as_text(value.as_json()))) == value


def test_the_topology_of_a_record_is_the_machines() -> None:
    processors = tuple(
        Processor(p, p % 4, p % 2, p % 2, p % 2, p // 4, p != 3, p > 5) for p in range(8)
    )
    rows: list[Row] = json.loads(json.dumps(as_rows(Topology(processors))))
    assert tuple(from_rows(rows)) == processors


def test_lists_of_numbers_stand_on_one_line() -> None:
    value = {"a": [1, 2.5, None], "b": [[1, 2], [3]], "c": ["[\n 1,\n 2\n]", "x"], "d": [{"e": []}]}
    text = as_text(value)
    assert json.loads(text) == value
    assert '"a": [1, 2.5, null]' in text
    assert "[1, 2]" in text
    # However long a list is that turns out to hold something else at its end.
    mixed = [*range(3000), "x"]
    assert json.loads(as_text({"a": {"b": mixed}})) == {"a": {"b": mixed}}


def test_the_index_has_each_run_once_and_keys_to_sort_by(tmp_path: Path) -> None:
    place = tmp_path / "server/resnet50/performance/run_1/run.json"
    copied = tmp_path / "server/resnet50/run.json"
    earlier = asdict(facts(record()))
    later = record(**LATER_RUN, history=[earlier])
    sources = [
        Source(copied, record()),
        Source(place, record()),
        Source(tmp_path / "offline/resnet50/run.json", later),
    ]
    kept = without_copies(sources)
    assert [source.path for source in kept] == [sources[2].path, place]
    row = dict(zip(COLUMNS, cells(kept[0], tmp_path / "index.html"), strict=True))
    assert row["figure"] == ("199.4 samples/s", 199.4)
    assert row["verdict"][1] == 2
    assert row["p99"] == ("17 ms", 17_000_000)
    assert row["vs before"] == ("1.000", 1.0)
    assert "<svg" in str(row["trend"][0])
    assert row["label"] == (None, None)
    page = index_page(kept, tmp_path / "index.html")
    assert "label" not in read(page).text.split()
    labelled = record(**LATER_RUN, history=[earlier], label="new cooler")
    kept = [Source(sources[2].path, labelled), kept[1]]
    page = index_page(kept, tmp_path / "index.html")
    assert "label" in read(page).text.split()
    assert '<td data-key="new cooler">new cooler</td>' in page
    assert 'href="server/resnet50/performance/run_1/report.html"' in page
    assert 'data-key="199.4"' in page
    assert_nothing_external(page)


def test_several_runs_are_compared(tmp_path: Path) -> None:
    for name, batch_size, label in (("one", 4, None), ("two", 8, "larger")):
        (tmp_path / name).mkdir()
        found = run_json(batch_size=batch_size, label=label)
        (tmp_path / name / "run.json").write_text(as_text(found))
    out = tmp_path / "page.html"
    words = ["report", str(tmp_path / "one"), str(tmp_path / "two/run.json"), "--out", str(out)]
    assert main(words) == 0
    page = out.read_text()
    assert_nothing_external(page)
    assert 'href="one/report.html"' in page
    assert (tmp_path / "two/report.html").is_file()
    assert re.search(
        r'<tr class="differs"><th scope="row">batch size</th><td>4</td><td>8</td>', page
    )
    assert '<tr><th scope="row">label</th><td>-</td><td>larger</td>' in page


def test_one_run_is_built_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(as_text(run_json()))
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "run.json"]


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "{}", '{"run_id": "x"}', '{"run_id": "x", "status": "COMPLETE"}', "\xff"],
)
@pytest.mark.parametrize("several", [False, True])
def test_a_file_that_is_no_run_is_named_with_the_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, several: bool
) -> None:
    path = tmp_path / "bad" / "run.json"
    path.parent.mkdir()
    good = tmp_path / "good.json"
    good.write_text(as_text(run_json()))
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    words = ["report", str(path), *([str(good)] if several else [])]
    assert main([*words, "--out", str(tmp_path / "out.html")]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert "give the directory of a run" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.html").exists()
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("broken", ["plan", "result", "instances", "timeline", "settings"])
def test_a_record_of_another_shape_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    (tmp_path / "run.json").write_text(as_text(run_json(**{broken: {"a": "b"}})))
    code = main(["report", str(tmp_path)])
    error = capsys.readouterr().err
    assert (code, error.count("\n")) in ((2, 1), (0, 0))
    assert code == 0 or str(tmp_path / "run.json") in error
    assert code == 0 or broken in error


def test_a_place_that_cannot_be_written_to_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text(as_text(run_json()))
    out = tmp_path / "missing" / "page.html"
    assert main(["report", str(tmp_path), "--out", str(out)]) == 2
    assert str(out) in capsys.readouterr().err


@pytest.mark.parametrize("exists", [False, True])
def test_results_without_runs_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], exists: bool
) -> None:
    results = tmp_path / "results"
    if exists:
        results.mkdir()
    assert main(["report", "--results", str(results)]) == 2
    assert "--results" in capsys.readouterr().err


def test_a_bad_run_among_results_leaves_the_others_their_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("good", as_text(run_json())), ("bad", "{"), (".staging-x", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    assert main(["report", "--results", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert str(tmp_path / "bad/run.json") in captured.err
    assert ".staging" not in captured.err
    assert (tmp_path / "good/report.html").is_file()
    assert "good/report.html" in (tmp_path / "index.html").read_text()
    *table, last = captured.out.splitlines()
    assert last == f"{tmp_path / 'index.html'}: 1 run"
    row = next(line for line in table if "ResNet-50" in line)
    assert all(word in row for word in ("Server", "PerformanceOnly", "VALID", "samples/s"))


def test_a_run_leaves_its_page(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    words = ("run", "resnet50", "--fast", "--time", "0.5", "--instances", "2", "--oversubscribe")
    for _ in range(2):
        code, output = cli.run(*words, "--count", "200", "--label", "before the new BIOS")
        assert code in (0, 3), output
    assert "\n  label: before the new BIOS\n" in output
    place = tmp_path / "results/offline/resnet50"
    found = cli.record(str(place.relative_to(tmp_path) / "performance/run_1"))
    timeline = found["timeline"]
    answered = sum(instance["samples"] for instance in found["instances"])
    assert timeline["answered"][-1] == answered == sum(timeline["histogram"]["counts"])
    batched = sum(int(n) * k for sizes in timeline["batch_sizes"] for n, k in sizes.items())
    assert batched == answered
    assert len(found["history"]) == 1
    assert found["history"][0]["run_id"] != found["run_id"]
    page = (place / "performance/run_1/report.html").read_text()
    assert (place / "report.html").read_text() == page
    assert_nothing_external(page)
    text = " ".join(read(page).text.split())
    assert found["label"] == "before the new BIOS"
    assert "label: before the new BIOS" in text
    assert found["run_id"] in text
    assert ("VALID" if found["result"]["valid"] else "INVALID") in text
    assert number(found["result"]["metric"]["value"], 4) in text
    assert f"{answered:,}" in text
    assert "What differs" in text or "All settings were the same" in text


def test_a_page_that_cannot_be_written_does_not_cost_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A directory in its place: the page cannot be renamed onto it.
    (tmp_path / "report.html").mkdir()
    write_report(tmp_path, record(), Terminal())
    assert not any(".aside" in path.name for path in tmp_path.iterdir())

    def fail(_: object) -> str:
        raise OSError("no style.css")

    monkeypatch.setattr("launch.report.page.run_page", fail)
    write_report(tmp_path, record(), Terminal())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("  note: no report.html: ") for line in lines)
