"""The charts of a run's page, each None where the run has nothing to show in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from launch.charts.axes import Linear, Logarithmic, Nines, nanoseconds, number, percent
from launch.charts.chart import Axis, Chart, figure
from launch.charts.lines import line_figure
from launch.charts.markup import Markup
from launch.outcome.record.earlier import PERCENTILES
from launch.outcome.record.run import Record
from launch.report.series import Histogram, Window, batch_sizes, windows
from launch.sizes.chart import chart as chart_of_sizes
from launch.sizes.chart import series
from launch.sizes.figures import from_record
from loadrun.report import InstanceReport

COLOURS = 7
"""Colours that distinguish instances; they come again after so many."""
TALL = 175.0
"""Height of each of the two charts of latency, which together are as high as two others."""
BARS = 96
FEW = 48


def instance_colour(instance: int) -> str:
    """The class that gives an instance its colour, the same all over the page."""
    return f"i{instance % COLOURS}"


def limit_ns(record: Record) -> float | None:
    """The latency limit of a Server test; None elsewhere."""
    return record.measured.setting(record.scenario.limit) or None


def latencies(record: Record) -> Markup | None:
    """Histogram and cumulative distribution over the same axis."""
    timeline = record.measured.timeline
    found = Histogram.of(timeline) if timeline else None
    if timeline is None or found is None:
        return None
    measured = record.result.latencies_ns if record.result else {}
    percentiles = {name: measured[name] for name in PERCENTILES if name in measured}
    source = "LoadGen's"
    if not percentiles:
        percentiles = {name: found.percentile(float(name[1:]) / 100) for name in PERCENTILES}
        source = "loadrun's"
    limit = limit_ns(record)
    scenario = record.scenario
    of = "query" if scenario.samples_per_query is not None else "sample"
    marks = [(value, f"{name} {nanoseconds(value)}", "c3") for name, value in percentiles.items()]
    if limit:
        marks.append((limit, f"limit {nanoseconds(limit)}", "c2"))
    marks.sort()
    values = [value for value, *_ in marks]
    cumulative: Axis
    if scenario.at_once:
        end = max(found.percentile(1), *values)
        x: Axis = partial(Linear, 0.0, end, label=nanoseconds, count=4)
        # More would show how batches fall into bars.
        batches = sum(batch_sizes(timeline).values())
        shown = found.even(max(min(FEW, batches // 5), 8), end)
        cumulative = partial(Linear, 0.0, 1.0, label=percent)
        note = (
            "Offline issues all samples at once, so that this is the throughput seen from its side:"
            " where the lower line is straight, the rate was steady. "
        )
    else:
        shown = found.coarser(BARS)
        low, high = min(shown.edges[0], *values), max(shown.edges[-1], *values)
        x = partial(Logarithmic, low, high * 1.04, label=nanoseconds)
        cumulative = partial(Nines, min(max(math.log10(found.total), 1), 4))
        note = ""
    if limit:
        note += f"{_share_above(found, limit)} of the samples took longer than the limit. "
    top = max(shown.counts) / shown.total
    above = Chart(
        f"share of {'queries' if of == 'query' else 'samples'}",
        "",
        x,
        partial(Linear, 0.0, top * 1.05, label=percent, count=4),
        marks,
        height=TALL,
        left=Chart("", "", x, cumulative).left,
    )
    above.bars(
        (
            start,
            end,
            count / shown.total,
            f"{nanoseconds(start)} to {nanoseconds(end)}: {percent(count / shown.total)}",
        )
        for start, end, count in zip(shown.edges, shown.edges[1:], shown.counts, strict=False)
        if count
    )
    below = Chart(
        "as quick or quicker", f"latency of a {of}", x, cumulative, height=TALL, left=above.left
    )
    below.line(
        (edge, count / shown.total) for edge, count in zip(shown.edges, shown.below, strict=True)
    )
    for value, _, colour in marks:
        below.upright(value, colour)
    words = ", ".join(label for _, label, _ in marks)
    note += f"Marks are {source} percentiles; the shape is loadrun's own count of"
    note += f" {number(found.total)}."
    return figure(
        "Latency",
        above.svg("Histogram of latencies", f"Marked: {words}."),
        below.svg("Cumulative distribution of latencies", f"Marked: {words}."),
        note=note,
        shape="tall",
    )


def throughput(record: Record) -> Markup | None:
    """Samples answered a second, over the test."""
    found = _windows(record)
    if not found:
        return None
    levels = [("c3", "standalone rate of the instances", record.measured.standalone_rate)]
    scenario = record.scenario
    if scenario.scheduled:
        target = record.measured.setting(scenario.target.setting)
        levels.append(("c2", "target rate", target))
    drawn = [(colour, name, value) for colour, name, value in levels if value]
    high = max(window.rate for window in found)
    # A standalone rate far above what was asked for would flatten the line.
    drawn = [level for level in drawn if level[2] <= 4 * high]
    high = max([high, *(value for _, _, value in drawn)])
    chart = Chart(
        "samples/s",
        "s since the first query",
        partial(Linear, 0.0, found[-1].end_s, count=6),
        partial(Linear, 0.0, 1.08 * high, count=4),
        _deaths(record, found[-1].end_s),
    )
    steps = _steps(found, [window.rate for window in found])
    chart.band(steps)
    chart.line(steps)
    for colour, _, value in drawn:
        chart.level(value, colour)
    rates = [window.rate for window in found]
    return figure(
        "Throughput",
        chart.svg(
            "Throughput over time",
            f"Between {number(min(rates))} and {number(max(rates))} samples/s.",
        ),
        legend=[
            ("c1", "samples answered"),
            *((f"dashed {c}", f"{name}: {number(v)}") for c, name, v in drawn),
        ],
    )


def depth(record: Record) -> Markup | None:
    """Samples that wait or are in work, over the test."""
    found = _windows(record)
    # Elsewhere there is one query at a time, by definition.
    scenario = record.scenario
    if not found or scenario.one_by_one:
        return None
    deepest = max(window.deepest for window in found)
    chart = Chart(
        "samples waiting or in work",
        "s since the first query",
        partial(Linear, 0.0, found[-1].end_s, count=6),
        partial(Linear, 0.0, max(1.08 * deepest, 2.0), count=4, whole=True),
        _deaths(record, found[-1].end_s),
    )
    if scenario.at_once:
        line = [(0.0, deepest), *((window.end_s, window.left) for window in found)]
        chart.band(line)
    else:
        line = _steps(found, [window.outstanding for window in found])
        chart.band(_steps(found, [window.deepest for window in found]), "c4")
    chart.line(line)
    note = "Offline begins with all samples and works them off." if scenario.at_once else ""
    return figure(
        "Queue depth",
        chart.svg("Queue depth over time", f"At most {number(deepest)} samples."),
        legend=[] if scenario.at_once else [("c1", "mean"), ("area c4", "most")],
        note=note,
    )


def latency_over_time(record: Record) -> Markup | None:
    """Mean and longest latency, over the test."""
    found = [w for w in _windows(record) if w.mean_ns and w.longest_ns]
    if len(found) < 2:
        return None
    limit = limit_ns(record)
    means = [(w.end_s, w.mean_ns or 0.0) for w in found]
    longest = [(w.end_s, w.longest_ns or 0.0) for w in found]
    low = min(value for _, value in means)
    high = max(value for _, value in longest)
    if limit:
        low, high = min(low, limit), max(high, limit)
    chart = Chart(
        "latency",
        "s since the first query",
        partial(Linear, 0.0, found[-1].end_s, count=6),
        partial(Logarithmic, low / 1.15, high * 1.15, label=nanoseconds),
        _deaths(record, found[-1].end_s),
    )
    chart.line(longest, "c4")
    chart.line(means)
    if limit:
        chart.level(limit)
    keys = [("c1", "mean"), ("c4", "longest")]
    if limit:
        keys.append(("dashed c2", f"limit {nanoseconds(limit)}"))
    return figure(
        "Latency over time",
        chart.svg("Latency over time", f"The longest took {nanoseconds(high)}."),
        legend=keys,
    )


def utilisation(record: Record) -> Markup | None:
    """Time in the engine of each instance, as a share of the test."""
    instances, seconds = record.measured.instances, record.measured.served_s
    if len(instances) < 2 or not seconds:
        return None
    shares = [min(instance.busy_s / seconds, 1.0) for instance in instances]
    chart = _by_instance(
        "time in the engine",
        instances,
        shares,
        partial(Linear, 0.0, 1.0, label=percent),
        [percent(share) for share in shares],
    )
    mean = sum(shares) / len(shares)
    chart.level(mean, "c3")
    return figure(
        "Utilisation of the instances",
        chart.svg(
            "Utilisation of each instance",
            f"From {percent(min(shares))} to {percent(max(shares))}, {percent(mean)} in the mean.",
        ),
        legend=[("dashed c3", f"mean {percent(mean)}")],
    )


def shares(record: Record) -> Markup | None:
    """Samples that each instance answered."""
    instances = record.measured.instances
    if len(instances) < 2:
        return None
    counts = [instance.samples for instance in instances]
    mean = sum(counts) / len(counts)
    chart = _by_instance(
        "samples answered",
        instances,
        counts,
        partial(Linear, 0.0, max(1.08 * max(counts), 1.0), count=4, whole=True),
        [f"{count:,} samples" for count in counts],
    )
    chart.level(mean, "c3")
    return figure(
        "Samples of the instances",
        chart.svg(
            "Samples that each instance answered",
            f"From {min(counts):,} to {max(counts):,}.",
        ),
        legend=[("dashed c3", f"mean {number(mean)}")],
    )


def batches(record: Record) -> Markup | None:
    """How large the batches were."""
    timeline = record.measured.timeline
    sizes = batch_sizes(timeline) if timeline else {}
    total = sum(sizes.values())
    if not total:
        return None
    largest = max(*sizes, record.options.batch_size)
    if largest == 1:
        return None
    together = -(-largest // BARS)
    bars: dict[int, int] = {}
    for size, count in sizes.items():
        group = (size - 1) // together
        bars[group] = bars.get(group, 0) + count
    top = max(bars.values()) / total
    chart = Chart(
        "share of batches",
        "samples in a batch",
        partial(Linear, 0.5, largest + 0.5, count=8, whole=True),
        partial(Linear, 0.0, min(1.05 * top, 1.0), label=percent),
    )
    drawn = []
    for group, count in sorted(bars.items()):
        first, last = group * together + 1, (group + 1) * together
        label = str(first) if together == 1 else f"{first} to {last}"
        label = f"{label} samples: {count:,} batches, {percent(count / total)}"
        drawn.append((first - 0.42, last + 0.42, count / total, label))
    chart.bars(drawn)
    samples = sum(size * count for size, count in sizes.items())
    return figure(
        "Batch sizes",
        chart.svg("Sizes of batches", f"{samples / total:.3g} samples in the mean."),
        note=f"{total:,} batches, {number(samples / total)} samples in the mean.",
    )


def sizes(record: Record) -> Markup | None:
    """The time of a sample by the size of its batch, as measured when the model was compiled."""
    found = from_record(record)
    if len(found) < 2:
        return None
    lines = series(found)
    best = min(found, key=lambda size: size.sample_ms)
    other = [f"{size.samples} ({size.way})" for size in found if not size.as_it_is]
    note = "Measured by an instance alone when the model was compiled for this machine."
    if other:
        note += f" Not run as they are, which would take longer: {', '.join(other)}."
    return line_figure(
        "Time of a sample by batch size",
        chart_of_sizes(lines),
        lines,
        f"Least in batches of {best.samples}: {number(best.sample_ms)} ms.",
        note,
    )


def trend(values: Sequence[tuple[str, float, bool | None, str]], unit: str) -> Markup:
    """The figure of run after run: (when, figure, VALID or not, what it was)."""
    high = max(value for _, value, *_ in values)
    chart = Chart(
        unit,
        "runs, the oldest first",
        partial(Linear, 0.5, len(values) + 0.5, count=8, whole=True),
        partial(Linear, 0.0, 1.1 * high, count=4),
    )
    points = [(at, value) for at, (_, value, *_) in enumerate(values, 1)]
    chart.line(points)
    chart.dots(
        (at, value, valid is not False, f"{when}: {number(value)} {unit}, {what}")
        for at, (when, value, valid, what) in enumerate(values, 1)
    )
    return figure(
        "Run after run",
        chart.svg(
            "The figure of this and earlier runs",
            f"From {number(values[0][1])} to {number(values[-1][1])} {unit}.",
        ),
        note="Hollow dots are INVALID runs. Settings may differ from run to run.",
    )


def _by_instance(
    unit: str,
    instances: Sequence[InstanceReport],
    values: Sequence[float],
    y: Axis,
    labels: Sequence[str],
) -> Chart:
    count = len(instances)
    chart = Chart(
        unit, "instance", partial(Linear, -0.5, count - 0.5, count=10, whole=True), y, height=150
    )
    half = min(0.1 + 0.06 * count, 0.42)
    for instance, value, text in zip(instances, values, labels, strict=True):
        at = instance.instance
        bar = (at - half, at + half, value, f"instance {at}: {text}")
        chart.bars([bar], instance_colour(at))
    return chart


def _windows(record: Record) -> list[Window]:
    timeline = record.measured.timeline
    return windows(timeline) if timeline else []


def _steps(found: Sequence[Window], values: Sequence[float]) -> list[tuple[float, float]]:
    return [
        point
        for window, value in zip(found, values, strict=True)
        for point in ((window.start_s, value), (window.end_s, value))
    ]


def _deaths(record: Record, end_s: float) -> list[tuple[float, str, str]]:
    """When instances died, from the first query on."""
    began = (record.timings_s.phases or {}).get("running", 0.0)
    marks = [
        (min(max(death.at_s - began, 0.0), end_s), f"instance {death.instance} died", "c2")
        for death in record.processes.deaths
    ]
    return sorted(marks)[:8]


def _share_above(found: Histogram, latency_ns: float) -> str:
    share = 1 - found.share_below(latency_ns)
    return percent(share) if share >= 1e-6 else "None"
