"""Samples whose work differs: batches, order, policies and times count work, not samples."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadrun.capacity import (
    at_share,
    fits_limit,
    harness_efficiency,
    longest_batch_s,
    quantiles,
    server_qps,
    waiting_tail,
)
from loadrun.dispatch.batching import Backlog, LatencyRule, SplitRule, ThroughputRule, make_rule
from loadrun.dispatch.dispatcher import Dispatcher
from loadrun.dispatch.pending import CostedPending
from loadrun.dispatch.policies import NAMES, make_policy
from loadrun.dispatch.service import WorkTimes
from shm.control import Blame

MS = 1_000_000


class Inbox:
    """What an instance was sent and has not answered; a full one refuses."""

    def __init__(self, room: int = 99) -> None:
        self.room = room
        self.batches: deque[tuple[list[int], list[int]]] = deque()
        self.sent: list[list[int]] = []

    def try_send(self, ids: Sequence[int], positions: Sequence[int]) -> bool:
        if len(self.batches) >= self.room:
            return False
        self.batches.append((list(ids), list(positions)))
        self.sent.append(list(positions))
        return True


def answer(dispatcher: Dispatcher, inboxes: list[Inbox], instance: int, ns: int = 1000) -> None:
    ids, _ = inboxes[instance].batches.popleft()
    dispatcher.completed([(instance, ids, ns)])


def busy(inboxes: list[Inbox]) -> list[int]:
    return [i for i, inbox in enumerate(inboxes) if inbox.batches]


@settings(max_examples=150, deadline=None)
@given(
    policy=st.sampled_from(NAMES),
    scenario=st.sampled_from(["Offline", "Server", "MultiStream"]),
    instances=st.integers(1, 4),
    costs=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=12),
    batch=st.tuples(st.integers(1, 6), st.floats(0.5, 6.0)),
    in_flight=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_every_sample_is_answered_once_within_both_bounds(
    policy: str,
    scenario: str,
    instances: int,
    costs: list[float],
    batch: tuple[int, float],
    in_flight: int,
    seed: int,
) -> None:
    draw = random.Random(seed)
    now_ns = 1
    inboxes = [Inbox(draw.choice([1, 99])) for _ in range(instances)]
    rule = make_rule(scenario, batch[0], in_flight, 0.01, batch_cost=batch[1])
    dispatcher = Dispatcher(
        inboxes,
        make_policy(policy, instances, in_flight),
        rule,
        scenario == "Offline",
        lambda: now_ns,
        costs,
    )
    submitted, dead = 0, False
    for _ in range(60):
        now_ns += draw.randrange(4 * MS)
        if draw.random() < 0.5:
            count = draw.randint(1, 9)
            ids = list(range(submitted, submitted + count))
            dispatcher.submit(ids, [i % len(costs) for i in ids])
            submitted += count
        elif draw.random() < 0.1 and instances > 1 and not dead:
            inboxes[0].batches.clear()
            dispatcher.requeue(0, Blame.NONE)
            dead = True
        elif busy(inboxes):
            answer(dispatcher, inboxes, draw.choice(busy(inboxes)), draw.randrange(1, 5 * MS))
        dispatcher.poll()
        for inbox in inboxes:
            for ids, positions in inbox.batches:
                assert positions == [i % len(costs) for i in ids]
                assert len(ids) <= batch[0]
                assert len(ids) == 1 or sum(costs[p] for p in positions) <= batch[1] + 1e-6
        idle = [i for i in range(dead, instances) if not inboxes[i].batches]
        if idle and policy != "round_robin" and min(i.room for i in inboxes) > in_flight:
            held = sum(len(ids) for inbox in inboxes for ids, _ in inbox.batches)
            assert held == dispatcher.outstanding
    while busy(inboxes):
        answer(dispatcher, inboxes, draw.choice(busy(inboxes)))
        dispatcher.poll()
    assert dispatcher.answered == submitted
    assert dispatcher.outstanding == 0


def test_a_dispatcher_and_its_rule_count_the_same() -> None:
    policy = make_policy("pull", 1, 2)
    with pytest.raises(ValueError, match="counts work"):
        Dispatcher([Inbox()], policy, ThroughputRule(4, 2), costs=[1.0])
    with pytest.raises(ValueError, match="counts work"):
        Dispatcher([Inbox()], policy, ThroughputRule(4, 2, 4.0))


def test_a_queue_counts_work_and_ends_empty() -> None:
    costs = [0.1, 0.7, 3.0, 0.0]
    queue = CostedPending(costs, most=3)
    queue.absorb(deque([([1, 2, 3, 4, 5, 6], [0, 1, 2, 0, 0, 0], 0)]))
    assert queue.waiting == pytest.approx(4.1)
    assert queue.take(0.8)[0] == [1, 2]
    # One at least, whatever it costs; and three at most.
    taken = queue.take(1.0)
    assert taken[0] == [3]
    queue.put_back(*taken)
    assert queue.take_within(1.0, 9) == ([], [], [])
    assert queue.take(9.0)[0] == [3, 4, 5]
    assert queue.take(9.0)[0] == [6]
    assert queue.waiting == 0
    # Samples that cost nothing wait all the same.
    queue.append([7], [3], [])
    assert queue.waiting > 0
    assert queue.take(1.0)[0] == [7]
    assert queue.waiting == 0


def offline_ends(policy: str, costs: list[float], instances: int) -> list[list[list[int]]]:
    """Serve `costs`, in falling order, in exact time; return the batches of each."""
    inboxes = [Inbox() for _ in range(instances)]
    rule = ThroughputRule(64, 2, 4.0)
    dispatcher = Dispatcher(
        inboxes, make_policy(policy, instances, 2), rule, sort_samples=True, costs=costs
    )
    free = [0.0] * instances
    dispatcher.submit(list(range(len(costs))), list(range(len(costs))))
    while working := busy(inboxes):
        work = {i: sum(costs[p] for p in inboxes[i].batches[0][1]) for i in working}
        first = min(working, key=lambda i: free[i] + work[i])
        free[first] += work[first]
        answer(dispatcher, inboxes, first)
    assert max(free) - min(free) <= 1.0, "a mean sample"
    return [inbox.sent for inbox in inboxes]


@pytest.mark.parametrize("policy", ["pull", "least_loaded"])
def test_offline_goes_from_long_to_cheap_and_ends_level(policy: str) -> None:
    draw = random.Random(1)
    costs = sorted((draw.choice([0.25, 0.5, 1.0, 2.0, 3.0]) for _ in range(400)), reverse=True)
    for sent in offline_ends(policy, costs, 5):
        longest = [costs[positions[0]] for positions in sent]
        assert longest == sorted(longest, reverse=True)
        assert longest[-1] == 0.25


def test_a_query_is_split_by_work() -> None:
    costs = [3.0, 1.0, 1.0, 1.0]
    inboxes = [Inbox(), Inbox()]
    dispatcher = Dispatcher(inboxes, make_policy("pull", 2, 2), SplitRule(8, 2, 8.0), costs=costs)
    dispatcher.submit([0, 1, 2, 3], [0, 1, 2, 3])
    assert [inbox.sent for inbox in inboxes] == [[[0]], [[1, 2, 3]]]


def test_least_loaded_counts_work() -> None:
    policy = make_policy("least_loaded", 2, 3)
    policy.sent(0, 0.3)
    policy.sent(0, 0.3)
    policy.sent(1, 2.5)
    assert policy.choose(3) == 0
    policy.completed(0, 0.3)
    policy.completed(0, 0.3)
    assert policy.load[0] == 0, "no rest of fractions"


def server(
    costs: list[float], batch_cost: float = 4.0
) -> tuple[Dispatcher, list[Inbox], list[int]]:
    """One instance that takes 10 ms a mean sample, as its rule has learned; limit 50 ms."""
    clock = [1]
    rule = LatencyRule(16, 1, 50.0 * MS, [10.0, 20.0, 30.0, 40.0], batch_cost)
    inbox = Inbox()
    dispatcher = Dispatcher(
        [inbox], make_policy("pull", 1, 1), rule, clock_ns=lambda: clock[0], costs=costs
    )
    return dispatcher, [inbox], clock


def test_server_starts_first_what_has_least_time_left() -> None:
    dispatcher, inboxes, clock = server([1.0, 3.0], batch_cost=1.0)
    dispatcher.submit([0], [0])
    dispatcher.submit([1], [0])
    clock[0] += 5 * MS
    dispatcher.submit([2], [1])
    clock[0] += MS
    for _ in range(3):
        answer(dispatcher, inboxes, 0, 10 * MS)
    # It came later, but takes 20 ms more.
    assert inboxes[0].sent == [[0], [1], [0]]


def test_what_is_too_long_for_its_limit_gives_way_to_what_is_not() -> None:
    dispatcher, inboxes, clock = server([1.0, 3.0])
    dispatcher.submit([0], [0])
    clock[0] += MS
    dispatcher.submit([1], [1])
    clock[0] += MS
    dispatcher.submit([2], [0])
    # 19 ms are left: too little for three mean samples, enough for one.
    clock[0] += 30 * MS
    answer(dispatcher, inboxes, 0, 32 * MS)
    assert inboxes[0].sent == [[0], [0]]
    answer(dispatcher, inboxes, 0, 10 * MS)
    assert inboxes[0].sent == [[0], [0], [1]]


def test_a_batch_is_bounded_by_the_time_that_its_work_takes() -> None:
    rule = LatencyRule(16, 1, 50.0 * MS, [10.0, 20.0, 30.0, 40.0], 4.0)
    assert rule.next(Backlog(9.0, 1, 1, 0), True) == (4.0, 1)
    # A tenth of margin: 22 ms for a work of two.
    assert rule.next(Backlog(9.0, 1, 1, 28 * MS), True)[0] == pytest.approx(2.0)
    assert rule.next(Backlog(9.0, 1, 1, 28 * MS, late=True), True) == (4.0, 1)


def test_later_samples_fill_what_the_next_one_leaves() -> None:
    dispatcher, inboxes, clock = server([2.0, 1.5, 0.5], batch_cost=2.5)
    dispatcher.submit([0], [0])
    for number, position in ((1, 0), (2, 1), (3, 2), (4, 2)):
        clock[0] += 1000
        dispatcher.submit([number], [position])
    answer(dispatcher, inboxes, 0, 20 * MS)
    assert inboxes[0].sent[1] == [0, 2]
    answer(dispatcher, inboxes, 0, 25 * MS)
    assert inboxes[0].sent[2] == [1, 2]


def test_no_sample_waits_for_a_batch_to_fill_while_an_instance_is_idle() -> None:
    """DLRM: samples of 100 to 700 pairs, a budget of eight mean samples, 30 ms."""
    costs = [pairs / 270 for pairs in (100, 200, 700, 200, 300, 100)]
    rule = LatencyRule(32, 3, 30.0 * MS, [0.5, 1.0, 1.5, 2.0], 8.0)
    inboxes = [Inbox() for _ in range(3)]
    clock = [1]
    dispatcher = Dispatcher(
        inboxes, make_policy("pull", 3, 2), rule, clock_ns=lambda: clock[0], costs=costs
    )
    for number in range(3):
        clock[0] += 1000
        dispatcher.submit([number], [number])
        assert busy(inboxes) == list(range(number + 1))
    # Once all are at work, what comes is packed: one batch of all that wait, within the budget.
    for number in range(3, 9):
        clock[0] += 1000
        dispatcher.submit([number], [number % 6])
    answer(dispatcher, inboxes, 1, MS // 2)
    sent = [batch for inbox in inboxes for batch in inbox.sent]
    assert max(map(len, sent)) > 1
    assert all(sum(costs[position] for position in batch) <= 8.0 for batch in sent)
    for _ in range(20):
        for instance in busy(inboxes):
            answer(dispatcher, inboxes, instance, MS // 2)
    assert sum(len(batch) for inbox in inboxes for batch in inbox.sent) == 9


def test_times_of_work_are_learned_as_a_line() -> None:
    times = WorkTimes(8.0)
    assert times.of(2.0) == 0
    times.learn(2.0, 8 * MS)
    assert times.of(1.0) == 4 * MS, "in proportion, while all batches are alike"
    draw = random.Random(2)
    for _ in range(300):
        work = draw.uniform(0.3, 6.0)
        times.learn(work, round((3 + 5 * work) * MS))
    assert times.of(0.0) == pytest.approx(3 * MS, rel=1e-3)
    assert times.of(4.0) == pytest.approx(23 * MS, rel=1e-3)
    assert times.fitting(13 * MS, 1.0) == pytest.approx(2.0, rel=1e-3)
    assert times.fitting(2 * MS, 1.0) == 0
    assert times.fitting(900 * MS, 1.0) == 8.0


def test_a_measurement_gives_times_of_work_before_the_first_batch() -> None:
    times = WorkTimes(4.0, [6.0, 7.0, 8.0, 20.0])
    assert [times.of(work) for work in (0.5, 1.0, 2.5)] == [5.5 * MS, 6.0 * MS, 7.5 * MS]
    assert times.fitting(14 * MS, 1.0) == pytest.approx(3.5)
    for _ in range(200):
        times.learn(2.5, 15 * MS)
    assert times.of(4.0) == pytest.approx(40 * MS, rel=1e-3)


def test_capacity_is_that_of_equal_samples_where_all_cost_one() -> None:
    assert server_qps(640, 4, 0.05, 0.99, [1.0] * 7) == pytest.approx(
        server_qps(640, 4, 0.05, 0.99)
    )
    assert waiting_tail(0.9, 4, 0.02, 0.01, [1.0] * 7) == pytest.approx(
        waiting_tail(0.9, 4, 0.02, 0.01)
    )


def test_the_waiting_tail_of_one_server_is_met_with_costs() -> None:
    costs, load, draw = [0.2, 0.8, 2.0], 0.8, random.Random(3)
    wait, above, count = 0.0, 0, 200_000
    for _ in range(count):
        # Lindley's recursion, for a mean service of 1 s.
        wait = max(0.0, wait + draw.choice(costs) - draw.expovariate(load))
        above += wait > 6.0
    assert waiting_tail(load, 1, 6.0, 1.0, costs) == pytest.approx(above / count, rel=0.1)


def test_long_samples_leave_less_room_below_a_limit() -> None:
    spread = [0.25, 0.5, 0.75, 2.5]
    equal, mixed = (server_qps(200, 4, 0.13, 0.99, costs) for costs in ([1.0], spread))
    assert 0 < mixed < 0.8 * equal
    assert fits_limit(200, 4, 0.13)
    assert not fits_limit(200, 4, 0.13, cost=5.0)
    # A quarter of the samples misses the limit alone: a low rate, so that the run can tell.
    assert server_qps(200, 4, 0.06, 0.99, spread) == pytest.approx(0.15 * 200)


def test_quantiles_stand_for_all_costs() -> None:
    costs = [float(i) for i in range(1000)]
    assert quantiles(costs, 4) == [124.5, 374.5, 624.5, 874.5]
    assert quantiles([2.0, 1.0], 20) == [1.0, 2.0]


def test_a_share_of_all_costs_is_no_longer_than_one() -> None:
    costs = [3.0, 1.0, 2.0, 4.0]
    assert [at_share(costs, share) for share in (0.25, 0.5, 0.75, 0.99)] == [1.0, 2.0, 3.0, 4.0]
    assert at_share([1.0], 0.97) == 1.0


def test_efficiency_and_stalls_go_by_work() -> None:
    assert harness_efficiency(90.0, 100.0) == 0.9
    assert harness_efficiency(45.0, 100.0, mean_cost=2.0) == 0.9
    assert longest_batch_s(rate=50.0, most=8) == 8 / 50
    assert longest_batch_s(rate=0.5, most=2.0, longest=13.0) == 26.0
