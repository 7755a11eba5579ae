"""What the timeline shows, however long a test is and however its batches come."""

from __future__ import annotations

import json

from loadrun.timeline import FIRST_NS, PER_LOOK, PER_OCTAVE, POINTS, STEP_NS, Timeline

MS = 1_000_000


def bucket_of(latency_ns: float) -> int:
    edges = (FIRST_NS * 2 ** (bucket / PER_OCTAVE) for bucket in range(700))
    return sum(edge <= latency_ns for edge in edges) - 1


def test_offline_takes_latencies_from_how_the_answers_come() -> None:
    timeline = Timeline(timed=False)
    assert timeline.room == 0
    timeline.look(0, 0, 0, 500 * MS)
    timeline.look(8, 92, 1_000 * MS, 1_020 * MS)
    timeline.look(60, 40, 1_000 * MS, 1_100 * MS)
    timeline.look(100, 0, 1_000 * MS, 1_200 * MS)
    timeline.look(100, 0, 1_000 * MS, 9_000 * MS)
    found = timeline.as_json([[0, 4, 48]])
    assert found["at_s"] == [0, 0.1, 0.2]
    assert found["answered"] == [0, 60, 100]
    assert found["outstanding"] == [0, 40, 0]
    assert found["outstanding_max"] == [0, 92, 0]
    assert found["latency_max_us"] == [None, None, None]
    first, counts = found["histogram"]["first"], found["histogram"]["counts"]
    assert {first + at: count for at, count in enumerate(counts) if count} == {
        bucket_of(10 * MS): 8,
        bucket_of(60 * MS): 52,
        bucket_of(150 * MS): 40,
    }
    assert found["batch_sizes"] == [{"1": 4, "2": 48}]


def test_server_counts_each_sample_from_its_arrival() -> None:
    timeline = Timeline(timed=True)
    timeline.starts += [100 * MS, 104 * MS]
    timeline.ends += (110 * MS, 2)
    timeline.look(2, 5, 109 * MS, 200 * MS)
    timeline.starts += [150 * MS]
    timeline.ends += (200 * MS, 1)
    timeline.look(3, 4, 109 * MS, 250 * MS)
    found = timeline.as_json([])
    assert found["at_s"] == [0, 0.1, 0.15]
    assert found["latency_mean_us"] == [None, 8_000, 50_000]
    assert found["latency_max_us"] == [None, 10_000, 50_000]
    first, counts = found["histogram"]["first"], found["histogram"]["counts"]
    assert first == bucket_of(6 * MS)
    assert first + len(counts) - 1 == bucket_of(50 * MS)
    assert sum(counts) == 3
    assert counts[bucket_of(10 * MS) - first] == 1


def test_points_merge_and_nothing_is_lost() -> None:
    timeline = Timeline(timed=True)
    steps = 8 * POINTS + 7
    for step in range(1, steps + 1):
        timeline.starts.append(step * STEP_NS - step)
        timeline.ends += (step * STEP_NS, 1)
        timeline.look(3 * step, step % 10, 0, step * STEP_NS)
    found = timeline.as_json([])
    assert POINTS / 2 <= len(found["at_s"]) <= POINTS + 1
    assert found["at_s"] == sorted(found["at_s"])
    assert found["answered"][-1] == 3 * steps
    assert found["answered"] == sorted(found["answered"])
    assert max(found["outstanding_max"]) == 9
    assert sum(found["histogram"]["counts"]) == steps
    assert found["latency_max_us"][-1] == round(steps / 1000, 1)


def test_of_very_many_batches_a_part_is_timed() -> None:
    timeline = Timeline(timed=True)
    noted = 0
    for look in range(40):
        for batch in range(4 * PER_LOOK):
            if len(timeline.ends) < timeline.room:
                timeline.ends += (look * 20 * MS + batch, 1)
                timeline.starts.append(look * 20 * MS)
                noted += 1
        timeline.look((look + 1) * 4 * PER_LOOK, 1, 0, (look + 1) * 20 * MS)
        assert len(timeline.ends) < 8 * PER_LOOK
    found = timeline.as_json([])
    assert noted == 40 * PER_LOOK == sum(found["histogram"]["counts"])


def test_a_long_test_of_many_instances_stays_small() -> None:
    timeline = Timeline(timed=True)
    for step in range(10 * POINTS):
        timeline.starts.append(step * STEP_NS)
        timeline.ends += ((step + 1 + step % 9) * STEP_NS, 1)
        timeline.look(100_000_000 + step, step, 0, (step + 1) * STEP_NS)
    found = timeline.as_json([[1000 + size for size in range(129)]] * 128)
    assert len(found["batch_sizes"]) == 1
    assert found["batch_sizes"][0]["128"] == 128 * 1128
    assert len(json.dumps(found)) < 50_000


def test_a_test_without_answers_has_a_timeline_too() -> None:
    found = Timeline(timed=True).as_json([[0, 0]])
    assert found["at_s"] == found["histogram"]["counts"] == []
    assert found["batch_sizes"] == [{}]


def test_percentiles_so_far_are_those_of_the_histogram() -> None:
    timeline = Timeline(timed=True)
    shares = (0.5, 0.9, 0.99)
    assert timeline.percentiles_ns(shares) == [0, 0, 0]
    latencies = [n * MS for n in range(1, 101)]
    timeline.starts += [1_000 * MS] * 100
    for latency in latencies:
        timeline.ends += (1_000 * MS + latency, 1)
    timeline.look(100, 0, 1_000 * MS, 1_200 * MS)
    for estimate, exact in zip(timeline.percentiles_ns(shares), (50, 90, 99), strict=True):
        assert abs(estimate / (exact * MS) - 1) < 0.03
