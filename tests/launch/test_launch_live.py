"""The live view: the readings of the instances, which share a row, and the drawing."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import Cli

from launch.machine.plan import InstancePlan, make_plan
from launch.machine.recording import Recorded
from launch.machine.topology import read_topology
from launch.screen.live.attention import attention
from launch.screen.live.meter import InstanceReading, Meter
from launch.screen.live.progress import Progress, Steps
from launch.screen.live.rows import Group, Row, group, row
from launch.screen.live.view import (
    ASCII,
    LINES,
    MOST_ROWS,
    PLAIN,
    WARNING,
    Latencies,
    Line,
    bar,
    rows_that_fit,
    view,
)
from launch.supervise.aside import Aside, aside_of
from loadrun.durations import duration
from shm.control import ControlBlock, InstanceState
from shm.reclaim import reclaim

RECORDINGS = Path(__file__).parent / "recordings"


def plans(*nodes: int | None) -> list[InstancePlan]:
    return [InstancePlan(index, (index,), node) for index, node in enumerate(nodes)]


def reading(
    index: int, busy: float | None, in_flight: int = 2, serving: bool = True
) -> InstanceReading:
    return InstanceReading(index, busy, in_flight, 10.0, serving)


def text(lines: list[Line]) -> list[str]:
    return ["".join(part for part, _ in line) for line in lines]


def test_each_instance_has_a_row_where_there_is_room() -> None:
    groups = group(plans(0, 0, 1), 3)
    assert groups == [Group(f"instance {i}", (i,)) for i in range(3)]


def test_too_many_instances_share_rows_evenly() -> None:
    groups = group(plans(*[None] * 56), 16)
    assert [m for g in groups for m in g.members] == list(range(56))
    assert {len(g.members) for g in groups} == {4}
    assert groups[0].label == "instances 0-3"


def test_rows_do_not_mix_memory_nodes() -> None:
    groups = group(plans(*[0] * 14, *[1] * 14), 9)
    assert len(groups) == 8
    assert all(len({m // 14 for m in g.members}) == 1 for g in groups)
    assert groups[0].label == "node 0, instances 0-3"
    assert groups[-1].label == "node 1, instances 26-27"


def test_nodes_that_are_more_than_rows_are_mixed() -> None:
    groups = group(plans(0, 0, 1, 1, 2, 2, 3, 3), 2)
    assert [g.members for g in groups] == [(0, 1, 2, 3), (4, 5, 6, 7)]


def test_a_row_sums_up_and_names_who_stands_out() -> None:
    members = [reading(0, 0.95), reading(1, 0.6, in_flight=0), reading(2, None, serving=False)]
    summed = row(Group("all", (0, 1, 2)), members)
    assert summed.busy == pytest.approx(0.775)
    assert (summed.in_flight, summed.rate, summed.absent) == (4, 30.0, 1)
    assert summed.least == (1, 0.6)
    assert row(Group("one", (1,)), members).least is None
    assert row(Group("none", (2,)), members).busy is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3599.9, "1 h"),
        (4800, "1 h 20 min"),
    ],
)
def test_durations_in_words(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_time_left_follows_the_rate_where_samples_are_counted() -> None:
    progress = Progress(gone_s=20, expected_s=30, done=400, expected=1000)
    assert progress.share == 0.4
    assert progress.left_s == 30
    assert str(progress) == "20 s of about 30 s, 400 of 1000 samples, 20 samples/s"


def test_the_first_rates_foretell_nothing() -> None:
    assert Progress(gone_s=2, expected_s=30, done=1, expected=1000).left_s == 28
    assert Progress(gone_s=2, expected_s=None, done=500, expected=1000).left_s == 2


def test_time_left_follows_the_clock_where_they_are_not() -> None:
    progress = Progress(gone_s=20, expected_s=60, done=400, expected=None)
    assert progress.share == pytest.approx(1 / 3)
    assert progress.left_s == 40
    assert Progress(70, 60, 400, None).left_s == 0
    assert Progress(70, 60, 400, None).share == 1


def test_nothing_known_is_nothing_claimed() -> None:
    progress = Progress(5, None, None, None)
    assert (progress.share, progress.left_s, progress.rate) == (None, None, None)
    assert str(progress) == "5 s"


@pytest.mark.parametrize(
    ("share", "full"), [(0.0, 0), (0.5, 5), (0.96, 10), (1.0, 10), (1.7, 10), (-1.0, 0)]
)
def test_a_bar_fills_its_columns_and_no_more(share: float, full: int) -> None:
    assert bar(share, 10, ASCII) == ("#" * full, "-" * (10 - full))


def test_the_view_shows_progress_instances_and_warnings() -> None:
    rows = [Row("instance 0", 0.98, 2, 49.2, 0, None), Row("instance 1", None, 0, 0.0, 1, None)]
    progress = Progress(gone_s=24, expected_s=66, done=3456, expected=7260)
    drawn = text(view("testing resnet50 Offline", progress, 98.4, rows, ["look out"], 100))
    assert drawn[0].startswith("testing resnet50 Offline  ━")
    assert drawn[0].endswith(" 48%  24 s, 26 s left")
    assert drawn[1] == "  3,456 of 7,260 samples   144 samples/s   98.4 just now"
    assert re.fullmatch(r"  instance 0  ━+─* +98% busy +2 in flight +49\.2/s", drawn[2])
    assert drawn[3].endswith("not serving")
    assert drawn[4] == "  note: look out"
    assert "#" in text(view("t", progress, None, [], [], 80, ASCII))[0]


@pytest.mark.parametrize(
    ("limit_ns", "limit", "style"),
    [(0, "", PLAIN), (15_000_000, "   of 15 ms", PLAIN), (12_000_000, "   of 12 ms", WARNING)],
)
def test_the_view_shows_latencies_against_the_limit(limit_ns: int, limit: str, style: str) -> None:
    latencies = Latencies((3_500_000, 8_000_000, 12_500_000), limit_ns)
    progress = Progress(gone_s=24, expected_s=66, done=3456, expected=7260)
    drawn = view("testing", progress, 98.4, [], [], 100, LINES, latencies)
    line = f"  latency so far p50 3.5 ms   p90 8 ms   p99 12.5 ms{limit}"
    assert drawn[2] == [(line, style)]


@pytest.mark.parametrize("width", [1, 20, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    rows = [Row(f"node 0, instances {i}", 0.5, 2, 1e6, 1, (7, 0.1)) for i in range(40)]
    progress = Progress(4000, 9000, 10**9, 10**10)
    drawn = view("testing resnet50 Offline", progress, 1e9, rows, ["x" * 300], width, LINES)
    assert max(map(len, text(drawn))) <= width


def test_rows_leave_room_for_earlier_lines() -> None:
    assert rows_that_fit(5) == 1
    assert rows_that_fit(24) == 14
    assert rows_that_fit(500) == MOST_ROWS


def test_attention_waits_until_rates_are_stable() -> None:
    assert attention("Offline", Progress(5, 60, 10, 1000), 100.0, None) == []
    assert attention("Offline", Progress(20, 60, 1900, 6000), 100.0, None) == []
    (slow,) = attention("Offline", Progress(20, 60, 1000, 6000), 100.0, None)
    assert slow.startswith("50% of the 100 samples/s measured at warm-up")
    assert attention("Server", Progress(20, 60, 1990, 6000), None, 100.0) == []
    (piled,) = attention("Server", Progress(20, 60, 1500, 6000), None, 100.0)
    assert piled.startswith("about 500 queries wait")
    assert "--qps 67.5" in piled


def test_longest_first_is_watched_by_the_clock() -> None:
    """Few samples are answered at first: neither their number nor their rate foretells the end."""
    progress = Progress(20, 60, 100, 6000, even=False)
    assert progress.share == pytest.approx(1 / 3)
    assert progress.left_s == 40
    assert attention("Offline", progress, 100.0, None) == []
    assert Progress(20, None, 100, 6000, even=False).share == pytest.approx(1 / 60)


@pytest.fixture
def control() -> Iterator[ControlBlock]:
    run_id = f"live{os.getpid()}"
    with ControlBlock.create(run_id, 2) as block:
        yield block
        block.unlink()
    reclaim(run_id)


def test_the_meter_reads_differences_between_two_looks(control: ControlBlock) -> None:
    held = [2, 1]
    worker = control.instance(0)
    worker.samples, worker.busy_ns, worker.heartbeat_ns = 100, 10**9, 5 * 10**9
    worker.state = InstanceState.READY
    meter = Meter(control, held.__getitem__, now_ns=6 * 10**9)
    worker.samples, worker.busy_ns, worker.heartbeat_ns = 150, 10**9 + 600, 5 * 10**9 + 1000
    seen = meter.look(8 * 10**9)
    assert (seen.done, seen.rate) == (150, 25.0)
    assert seen.instances[0] == InstanceReading(0, 0.6, 2, 25.0, True)
    # Not serving: what was sent to it before is nothing that is still in flight.
    assert seen.instances[1] == InstanceReading(1, None, 0, 0.0, False)
    # In the midst of a long batch the last figure stands.
    assert meter.look(9 * 10**9).instances[0].busy == 0.6


def test_the_meter_sees_steps_of_samples_that_are_under_way(control: ControlBlock) -> None:
    first, second = control.instance(0), control.instance(1)
    first.steps = 5  # of the warm-up
    meter = Meter(control, lambda _: 1, 0)
    first.steps, second.steps = 7, 4
    assert meter.look(10**9).steps == 6
    second.steps = 1  # a successor
    found = meter.look(2 * 10**9)
    assert (found.done, found.steps) == (0, 7)


def test_long_samples_are_followed_by_their_steps() -> None:
    steps = Steps("windows", 40.0)
    seen = Progress(100.0, 300.0, 0, 2, even=False, steps=steps, stepped=20)
    assert (seen.share, seen.left_s) == (0.25, 300.0)
    assert str(seen).endswith(", 0 of 2 samples, 0 samples/s, 20 of 80 windows")
    assert "20 of 80 windows" in text(view("testing", seen, 0.0, [], [], 200))[1]
    # A killed instance's are done once more, and an end by the clock knows no number.
    assert Progress(100.0, 300.0, 0, 2, steps=steps, stepped=90).share == 1.0
    by_clock = Progress(100.0, 300.0, 1, None, steps=steps, stepped=20)
    assert by_clock.share == pytest.approx(1 / 3)
    assert by_clock.work == "20 windows"
    # Nothing seen yet: as for other samples.
    assert Progress(30.0, 300.0, 0, 2, even=False, steps=steps).share == pytest.approx(0.1)


def test_the_meter_counts_on_over_a_restart(control: ControlBlock) -> None:
    held = [2, 0]
    worker = control.instance(0)
    worker.state = InstanceState.READY
    meter = Meter(control, held.__getitem__, now_ns=0)
    worker.samples, worker.busy_ns, worker.heartbeat_ns = 100, 900, 1000
    assert meter.look(10**9).done == 100
    worker.state = InstanceState.DEAD
    assert meter.look(2 * 10**9).instances[0].in_flight == 0
    # Its successor counts from zero; the two batches that were lost stay counted in its ring.
    worker.state, held[0] = InstanceState.READY, 3
    worker.samples, worker.busy_ns, worker.heartbeat_ns = 8, 500, 2000
    seen = meter.look(3 * 10**9)
    assert seen.done == 108
    assert seen.instances[0].in_flight == 1
    assert seen.instances[0].busy == 0.5


def test_launch_stays_on_cores_that_nobody_has_or_with_loadrun() -> None:
    topology = read_topology(Recorded.load(RECORDINGS / "dual_28.json"))
    spare = make_plan(topology, 12, 48)
    place = set(aside_of(topology, spare))
    assert place
    assert not place & {p for i in spare.instances for p in i.processors}
    assert not place & set(spare.loadrun)
    whole = make_plan(topology, 14, 56)
    assert aside_of(topology, whole) == whole.loadrun


def test_standing_aside_ends_with_the_run_and_is_left_for_children() -> None:
    before = os.sched_getaffinity(0)
    one = {min(before)}
    with Aside(tuple(one)) as aside:
        assert os.sched_getaffinity(0) == one
        with aside.left():
            assert os.sched_getaffinity(0) == before
        assert os.sched_getaffinity(0) == one
    assert os.sched_getaffinity(0) == before
    with Aside(()):
        assert os.sched_getaffinity(0) == before
    with Aside((10**6,)):  # no such processor: nothing changes
        assert os.sched_getaffinity(0) == before


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


FIVE = ("--instances", "5", "--oversubscribe", "--fast")


def test_a_run_on_a_terminal_shows_what_instances_do(cli: Cli) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        words = ["-m", "launch.cli", "run", "resnet50", *FIVE, "--time", "2.5", *cli.words]
        os.chdir(cli.directory)
        environment = {**cli.environment, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
        os.execve(sys.executable, [sys.executable, *words], environment)
    output = bytearray()
    try:
        while chunk := os.read(terminal, 65536):
            output += chunk
    except OSError:  # how the end of a terminal shows
        pass
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 3)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode()).replace("\r", "\n")
    assert "testing resnet50 Offline" in shown
    for index in range(5):
        assert re.search(rf"  instance {index}  [━─]+ .*busy +\d+ in flight", shown)
    assert re.search(r"[\d,]+ of [\d,]+ samples", shown)
    lines = [line for line in shown.splitlines() if line.strip()]
    assert lines[-1] == "Completed"
    # The view is gone; its lines are not repeated below.
    assert "in flight" not in shown[shown.index("results: ") :]


def test_a_run_without_a_terminal_writes_plain_lines(cli: Cli) -> None:
    code, output = cli.run("run", "resnet50", *FIVE, "--time", "0.5")
    assert code in (0, 3), output
    assert "\x1b" not in output
    assert "━" not in output
    assert "warming up: measuring what the instances can do" in output
    assert "expected duration" in output
    assert output.splitlines()[-1] == "Completed"


def test_quiet_writes_only_the_result(cli: Cli) -> None:
    code, output = cli.run("run", "resnet50", *FIVE, "--time", "0.5", "--quiet")
    assert code in (0, 3), output
    lines = output.splitlines()
    assert lines[0].startswith("results: ")
    assert lines[1].startswith("resnet50  Offline  PerformanceOnly")
    assert lines[-1] == "Completed"
    for word in ("starting", "warming up", "preparing", "expected duration", "***"):
        assert word not in output


def test_quiet_still_reports_what_went_wrong(cli: Cli) -> None:
    words = [sys.executable, "-m", "launch.cli", "run", "resnet50", "--quiet", "--instances", "999"]
    done = subprocess.run(
        [*words, "--strict"], env=cli.environment, cwd=cli.directory, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "--strict" in done.stderr
