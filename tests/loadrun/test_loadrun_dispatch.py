"""Policies, batch rules, and the dispatcher over recorded and real rings."""

from __future__ import annotations

import math
import pickle
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadrun.dispatch.batching import (
    Backlog,
    BatchRule,
    LatencyRule,
    SplitRule,
    ThroughputRule,
    make_rule,
)
from loadrun.dispatch.dispatcher import Dispatcher, DispatchError
from loadrun.dispatch.pending import Pending, sorted_by_position
from loadrun.dispatch.policies import NAMES, UnknownPolicyError, make_policy
from loadrun.dispatch.suspects import POISON, PoisonError
from shm.control import Blame
from shm.ring import RingGeometry, Rings


class Recorder:
    """One instance's inbox: what was sent and is not answered yet."""

    def __init__(self) -> None:
        self.batches: deque[tuple[list[int], list[int]]] = deque()
        self.sizes: list[int] = []

    def try_send(self, ids: Sequence[int], positions: Sequence[int]) -> bool:
        self.batches.append((list(ids), list(positions)))
        self.sizes.append(len(ids))
        return True


def make(
    policy: str,
    rule: BatchRule,
    instances: int,
    sort: bool = False,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> tuple[Dispatcher, list[Recorder]]:
    senders = [Recorder() for _ in range(instances)]
    chosen = make_policy(policy, instances, rule.in_flight)
    return Dispatcher(senders, chosen, rule, sort, clock_ns), senders


def answer(
    dispatcher: Dispatcher, senders: list[Recorder], instance: int, service_ns: int = 1000
) -> list[int]:
    ids, _ = senders[instance].batches.popleft()
    dispatcher.completed([(instance, ids, service_ns)])
    return ids


@dataclass
class Clock:
    """Time that passes when a test says so."""

    now_ns: int = 1

    def __call__(self) -> int:
        return self.now_ns


def serves(rule: LatencyRule, service_ns: int, clock: Clock) -> tuple[Dispatcher, list[Recorder]]:
    """One idle instance of which the rule knows the service time, from an answer to a sample."""
    dispatcher, senders = make("pull", rule, 1, clock_ns=clock)
    dispatcher.submit([0], [0])
    clock.now_ns += service_ns
    answer(dispatcher, senders, 0, service_ns)
    return dispatcher, senders


def busy(senders: list[Recorder]) -> list[int]:
    return [i for i, sender in enumerate(senders) if sender.batches]


@settings(max_examples=150, deadline=None)
@given(
    policy=st.sampled_from(NAMES),
    scenario=st.sampled_from(["Offline", "Server", "MultiStream"]),
    instances=st.integers(1, 5),
    batch_size=st.integers(1, 5),
    in_flight=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_every_sample_is_answered_once(
    policy: str, scenario: str, instances: int, batch_size: int, in_flight: int, seed: int
) -> None:
    generator = random.Random(seed)
    rule = make_rule(scenario, batch_size, in_flight, 0.01)
    dispatcher, senders = make(policy, rule, instances)
    dead: set[int] = set()
    submitted, answered, lost = 0, [], 0
    blamed: dict[int, int] = {}
    alone: set[tuple[int, ...]] = set()
    for _ in range(60):
        action = generator.random()
        if action < 0.45:
            count = generator.randint(1, 12)
            ids = list(range(submitted, submitted + count))
            dispatcher.submit(ids, [7 * i for i in ids])
            submitted += count
        elif action < 0.9 and busy(senders):
            answered += answer(dispatcher, senders, generator.choice(busy(senders)))
        elif action < 0.95 and len(dead) < instances - 1:
            victim = generator.choice([i for i in range(instances) if i not in dead])
            taken = [ids for ids, _ in senders[victim].batches]
            held = sum(map(len, taken))
            senders[victim].batches.clear()
            blame = generator.choice(list(Blame))
            if taken and blame:
                in_work = taken[0]
                for i in in_work:
                    blamed[i] = blamed.get(i, 0) + blame
                half = (len(in_work) + 1) // 2
                alone |= {tuple(in_work[:half]), tuple(in_work[half:])}
                if max(blamed[i] for i in in_work) >= POISON:
                    with pytest.raises(PoisonError) as poison:
                        dispatcher.requeue(victim, blame)
                    assert poison.value.samples == sorted(7 * i for i in in_work)
                    return
            assert dispatcher.requeue(victim, blame) == held
            lost += held
            dead.add(victim)
        elif dead:
            dispatcher.add(dead.pop())
        for instance, sender in enumerate(senders):
            assert len(sender.batches) <= in_flight
            assert not (instance in dead and sender.batches)
            for ids, positions in sender.batches:
                assert 1 <= len(ids) <= batch_size
                assert positions == [7 * i for i in ids]
                assert blamed.keys().isdisjoint(ids) or tuple(ids) in alone
        assert dispatcher.outstanding == submitted - len(answered)
        idle = [i for i in range(instances) if i not in dead and not senders[i].batches]
        if idle and policy != "round_robin":
            held = sum(len(ids) for sender in senders for ids, _ in sender.batches)
            assert held == dispatcher.outstanding
    while busy(senders):
        answered += answer(dispatcher, senders, generator.choice(busy(senders)))
    assert sorted(answered) == list(range(submitted))
    assert dispatcher.redispatched == lost
    assert sum(dispatcher.samples) == submitted


def die(
    dispatcher: Dispatcher, senders: list[Recorder], instance: int, blame: Blame = Blame.FULL
) -> None:
    """An instance dies with all that it holds."""
    senders[instance].batches.clear()
    dispatcher.requeue(instance, blame)


def held_ids(sender: Recorder) -> list[list[int]]:
    return [ids for ids, _ in sender.batches]


def test_what_an_instance_died_of_goes_first_and_in_two_halves() -> None:
    dispatcher, senders = make("pull", ThroughputRule(4, 2), 3)
    dispatcher.submit(list(range(40)), list(range(40)))
    assert held_ids(senders[0]) == [[0, 1, 2, 3], [12, 13, 14, 15]]
    die(dispatcher, senders, 0)
    for instance in (1, 2):
        answer(dispatcher, senders, instance)
    # Each a batch of its own; what stood behind is sent again as ever.
    assert held_ids(senders[1])[1] == [0, 1]
    assert held_ids(senders[2])[1] == [2, 3]
    answer(dispatcher, senders, 1)
    assert held_ids(senders[1])[1] == [12, 13, 14, 15]
    assert dispatcher.redispatched == 8


def test_what_a_dead_instance_had_not_begun_is_innocent() -> None:
    dispatcher, senders = make("pull", ThroughputRule(1, 2), 2)
    dispatcher.submit([0, 1, 2, 3], [0, 1, 2, 3])
    assert held_ids(senders[0]) == [[0], [2]]
    die(dispatcher, senders, 0)
    assert held_ids(senders[1]) == [[1], [3]]
    answer(dispatcher, senders, 1)
    answer(dispatcher, senders, 1)
    assert held_ids(senders[1]) == [[0], [2]]
    answer(dispatcher, senders, 1)
    # Sample 2 was with two instances that died, but is in work for the first time.
    die(dispatcher, senders, 1)
    dispatcher.add(0)
    assert held_ids(senders[0]) == [[2]]


@pytest.mark.parametrize(
    ("blame", "deaths"), [(Blame.FULL, 2), (Blame.HALF, 4)], ids=["of itself", "killed"]
)
@pytest.mark.parametrize("size", [1, 8])
def test_a_sample_that_instances_die_of_is_named(blame: Blame, deaths: int, size: int) -> None:
    dispatcher, senders = make("pull", ThroughputRule(size, 1), 1)
    dispatcher.submit(list(range(8)), [100 + i for i in range(8)])
    for _ in range(deaths - 1):
        die(dispatcher, senders, 0, blame)
        dispatcher.add(0)
    before = held_ids(senders[0])[0]
    assert len(before) == max(1, size >> (deaths - 1))
    with pytest.raises(PoisonError) as poison:
        die(dispatcher, senders, 0, blame)
    assert poison.value.samples == [100 + i for i in before]
    assert poison.value.deaths == [(0, times) for times in range(deaths)]
    which = "sample 100" if len(before) == 1 else "one of samples 100, 101, 102, 103"
    assert str(poison.value).startswith(f"{which} ends the instances")


def test_an_instance_that_somebody_stopped_says_nothing_of_its_batch() -> None:
    dispatcher, senders = make("pull", ThroughputRule(4, 1), 1)
    dispatcher.submit([0, 1, 2, 3], [0, 1, 2, 3])
    for _ in range(10):
        die(dispatcher, senders, 0, Blame.NONE)
        dispatcher.add(0)
        assert held_ids(senders[0]) == [[0, 1, 2, 3]]


def test_a_sample_that_was_answered_since_is_under_no_suspicion() -> None:
    dispatcher, senders = make("pull", ThroughputRule(1, 1), 1)
    for times in range(5):
        dispatcher.submit([times], [7])
        die(dispatcher, senders, 0)
        dispatcher.add(0)
        answer(dispatcher, senders, 0)
    assert dispatcher.answered == 5
    assert not dispatcher._suspects
    assert not dispatcher._alone


def test_whatever_was_answered_elsewhere_is_not_named() -> None:
    dispatcher, senders = make("pull", ThroughputRule(4, 1), 2)
    dispatcher.submit([0, 1, 2, 3, 4], [10, 11, 12, 11, 13])
    assert [held_ids(sender) for sender in senders] == [[[0, 1, 2]], [[3]]]
    die(dispatcher, senders, 0)
    answer(dispatcher, senders, 1)
    assert held_ids(senders[1]) == [[0, 1]]
    with pytest.raises(PoisonError) as poison:
        die(dispatcher, senders, 1)
    assert poison.value.samples == [10]


def test_one_sample_in_two_batches_is_found_where_the_batches_hold_nothing_else() -> None:
    dispatcher, senders = make("pull", ThroughputRule(2, 1), 2)
    dispatcher.submit([0, 1, 2, 3], [7, 7, 7, 7])
    die(dispatcher, senders, 0)
    with pytest.raises(PoisonError) as poison:
        die(dispatcher, senders, 1)
    assert (poison.value.samples, poison.value.deaths) == ([7], [(0, 0), (1, 0)])


def test_two_deaths_that_share_a_sample_by_chance_convict_nobody() -> None:
    dispatcher, senders = make("local_batch_first", ThroughputRule(2, 1), 3)
    dispatcher.submit([0, 1, 2, 3, 4, 5], [7, 8, 7, 9, 5, 6])
    die(dispatcher, senders, 0)
    die(dispatcher, senders, 1)
    assert dispatcher.alive == 1


def test_half_a_batch_that_waits_behind_another_stays_alone_when_that_one_kills() -> None:
    dispatcher, senders = make("pull", ThroughputRule(4, 2), 2)
    dispatcher.submit(list(range(16)), list(range(16)))
    die(dispatcher, senders, 0)
    answer(dispatcher, senders, 1)
    working, behind = held_ids(senders[1])
    assert behind == [0, 1]
    die(dispatcher, senders, 1)
    dispatcher.add(0)
    seen = []
    while senders[0].batches:
        seen.append(answer(dispatcher, senders, 0))
    half = (len(working) + 1) // 2
    for alone in ([0, 1], [2, 3], working[:half], working[half:]):
        assert alone in seen
    assert sorted(i for ids in seen for i in ids) == [i for i in range(16) if i not in range(4, 8)]


def test_unknown_policy_suggests() -> None:
    with pytest.raises(UnknownPolicyError, match=r"'round-robin' \(nearest: round_robin"):
        make_policy("round-robin", 1, 1)


def chosen(policy: str, instances: int, in_flight: int, batches: int) -> list[int | None]:
    """Who gets the first batches of five samples while nobody answers."""
    made = make_policy(policy, instances, in_flight)
    order = []
    for _ in range(batches):
        instance = made.choose(in_flight)
        order.append(instance)
        if instance is not None:
            made.sent(instance, 5)
    return order


def test_order_of_the_policies() -> None:
    assert chosen("pull", 3, 2, 7) == [0, 1, 2, 0, 1, 2, None]
    assert chosen("least_loaded", 3, 2, 7) == [0, 1, 2, 0, 1, 2, None]
    assert chosen("round_robin", 3, 2, 7) == [0, 1, 2, 0, 1, 2, None]
    assert chosen("local_batch_first", 3, 2, 7) == [0, 0, 1, 1, 2, 2, None]


def test_pull_prefers_the_longest_free() -> None:
    policy = make_policy("pull", 3, 1)
    for instance in (0, 1, 2):
        policy.sent(instance, 1)
    for instance in (2, 0, 1):
        policy.completed(instance, 1)
    order = []
    while (instance_or_none := policy.choose(1)) is not None:
        order.append(instance_or_none)
        policy.sent(instance_or_none, 1)
    assert order == [2, 0, 1]


def test_least_loaded_counts_samples() -> None:
    policy = make_policy("least_loaded", 2, 3)
    policy.sent(0, 8)
    policy.sent(1, 2)
    policy.sent(1, 2)
    assert policy.choose(3) == 1
    assert policy.choose(1) is None


def test_round_robin_waits_for_its_turn() -> None:
    policy = make_policy("round_robin", 2, 1)
    policy.sent(0, 1)
    policy.sent(1, 1)
    policy.completed(1, 1)
    assert policy.choose(1) is None
    policy.remove(0)
    assert policy.choose(1) == 1


def test_offline_keeps_all_busy_and_shrinks_the_tail() -> None:
    dispatcher, senders = make("pull", ThroughputRule(8, 2), 3, sort=True)
    ids = list(range(200))
    positions = [random.Random(i).randrange(50) for i in ids]
    dispatcher.submit(ids, positions)
    sent: list[int] = [p for sender in senders for _, b in sender.batches for p in b]
    assert sorted(sent) == sorted(positions)[: len(sent)]
    assert [len(sender.batches) for sender in senders] == [2, 2, 2]
    turn = 0
    while dispatcher.outstanding:
        answer(dispatcher, senders, busy(senders)[turn % len(busy(senders))])
        turn += 1
    assert [max(sender.sizes) for sender in senders] == [8, 8, 8]
    assert all(sender.sizes[-1] < 8 for sender in senders)


def test_a_query_is_split_over_idle_instances() -> None:
    dispatcher, senders = make("pull", SplitRule(8, 2), 4)
    dispatcher.submit(list(range(8)), list(range(8)))
    assert [sender.sizes for sender in senders] == [[2], [2], [2], [2]]
    dispatcher, senders = make("local_batch_first", SplitRule(8, 2), 4)
    dispatcher.submit(list(range(8)), list(range(8)))
    assert [sender.sizes for sender in senders] == [[8], [], [], []]


def test_server_lets_late_samples_give_way() -> None:
    rule = LatencyRule(16, 2, limit_ns=10e6)
    assert rule.patience_ns(0, 2) == math.inf
    for _ in range(100):
        rule.served(2, 4_000_000, 1_000_000)
    # 2 ms a sample, a tenth of margin, 1 ms around a batch.
    assert rule.patience_ns(1, 2) == pytest.approx(6.8e6)
    hopeless = LatencyRule(16, 2, limit_ns=1e6)
    hopeless.served(1, 2_000_000, 0)
    assert hopeless.patience_ns(1, 2) == math.inf
    assert hopeless.next(backlog(40, 1), True) == (16, 1)


@pytest.mark.parametrize(
    ("batch_size", "samples"), [(16, 3), (2, 2), (1, 1)], ids=["half the limit", "two", "one"]
)
def test_server_leaves_room_for_batches_when_pressed(batch_size: int, samples: int) -> None:
    rule = LatencyRule(batch_size, 2, limit_ns=12e6)

    def busy_for(share: float, at_ns: int) -> float:
        """Let two instances be busy for a share of ten limits up to `at_ns`."""
        for _ in range(int(share * 120)):
            rule.served(1, 2_000_000, 0)
        return rule.patience_ns(at_ns, 2)

    one_fits, few_fit = 12e6 - 2.2e6, 12e6 - samples * 2.2e6
    assert busy_for(0, 120_000_000) == math.inf
    assert busy_for(0.94, 240_000_000) == pytest.approx(one_fits)
    assert busy_for(0.96, 360_000_000) == pytest.approx(few_fit)
    # The next window is not over yet.
    assert rule.patience_ns(479_000_000, 2) == pytest.approx(few_fit)
    assert busy_for(0.94, 480_000_000) == pytest.approx(one_fits)


def test_late_samples_ride_along_where_a_batch_has_room() -> None:
    clock = Clock()
    dispatcher, senders = serves(LatencyRule(8, 1, limit_ns=10e6), 1_000_000, clock)
    dispatcher.submit([1], [1])  # keeps the instance busy
    dispatcher.submit([2, 3], [2, 3])
    clock.now_ns += 20_000_000
    dispatcher.submit([4, 5], [4, 5])
    answer(dispatcher, senders, 0, service_ns=1_000_000)
    assert sorted(answer(dispatcher, senders, 0)) == [2, 3, 4, 5]
    assert dispatcher.outstanding == 0


def test_server_sends_the_next_batch_just_before_an_instance_is_free() -> None:
    rule = LatencyRule(16, 2, limit_ns=50e6)
    for _ in range(100):
        rule.served(1, 4_000_000, 1_000_000)
    assert rule.queues_behind
    assert rule.next(Backlog(3, 0, 2, 0, ahead_ns=2_100_000), True) == (0, 1)
    assert rule.next(Backlog(3, 0, 2, 0, ahead_ns=1_900_000), True) == (3, 2)
    # What is known of the way there and back comes from instances that were idle.
    rule.served(1, 4_000_000, None)
    assert rule.next(Backlog(3, 0, 2, 0, ahead_ns=1_900_000), True) == (3, 2)
    # A service shorter than the way there is not worth it.
    for _ in range(100):
        rule.served(1, 1_000_000, 1_000_000)
    assert not rule.queues_behind


def test_the_end_of_a_batch_is_foreseen() -> None:
    now_ns = 1
    rule = LatencyRule(4, 2, limit_ns=50e6)
    dispatcher, senders = make("pull", rule, 1, clock_ns=lambda: now_ns)
    for number in range(100):
        dispatcher.submit([number], [0])
        now_ns += 5_000_000
        answer(dispatcher, senders, 0, 4_000_000)
    dispatcher.submit([200], [0])
    now_ns += 1_900_000
    dispatcher.submit([201], [0])
    assert len(senders[0].batches) == 1
    now_ns += 200_000
    dispatcher.submit([202], [0])
    assert [ids for ids, _ in senders[0].batches] == [[200], [201, 202]]
    now_ns += 2_900_000
    answer(dispatcher, senders, 0, 4_000_000)
    # Two samples are expected to take 8 ms from here.
    dispatcher.submit([203], [0])
    now_ns += 5_900_000
    dispatcher.poll()
    assert len(senders[0].batches) == 1
    now_ns += 200_000
    dispatcher.poll()
    assert len(senders[0].batches) == 2


def test_late_samples_are_served_when_nothing_else_waits() -> None:
    clock = Clock()
    dispatcher, senders = serves(LatencyRule(4, 1, limit_ns=8e6), 4_000_000, clock)
    dispatcher.submit([2], [0])
    dispatcher.submit([3], [0])
    dispatcher.submit([4], [0])
    clock.now_ns += 7_000_000
    dispatcher.submit([5], [0])
    answer(dispatcher, senders, 0, 4_000_000)
    assert senders[0].batches[-1][0] == [5]
    answer(dispatcher, senders, 0, 4_000_000)
    assert senders[0].batches[-1][0] == [3, 4]
    answer(dispatcher, senders, 0, 4_000_000)
    assert dispatcher.outstanding == 0


def backlog(waiting: int, idle: int, waited_ms: float = 0.0) -> Backlog:
    return Backlog(waiting, idle, 2, int(waited_ms * 1e6))


def test_server_batches_within_the_limit() -> None:
    rule = LatencyRule(16, 2, limit_ns=10e6)
    assert rule.next(backlog(5, 1), True) == (5, 1)
    assert rule.next(backlog(5, 2), True) == (3, 1)
    assert rule.next(backlog(5, 2), False) == (5, 1)
    for _ in range(100):
        rule.served(2, 4_000_000, 0)
    # 2 ms a sample and a tenth of margin: four fit into 10 ms, two when the oldest has waited 4 ms.
    assert rule.next(backlog(40, 1), True) == (4, 1)
    assert rule.next(backlog(40, 1, 4.0), True) == (2, 1)
    # What has given way is worked off in large batches, whatever its age.
    assert rule.next(Backlog(40, 1, 2, 9_000_000, late=True), True) == (16, 1)
    for _ in range(100):
        rule.served(2, 4_000_000, 1_500_000)
    # With 1.5 ms around it, a batch has that much less time.
    assert rule.next(backlog(40, 1), True) == (3, 1)
    # Nothing queues behind a batch that still takes so long.
    assert rule.next(Backlog(40, 0, 2, 0, ahead_ns=3_600_000), True) == (0, 1)


@pytest.mark.parametrize("policy", NAMES)
def test_policies_keep_no_trace_of_every_batch(policy: str) -> None:
    """At low load only idle instances are chosen: what is out of date elsewhere must go as well."""
    chosen = make_policy(policy, 3, 2)
    sizes = set()
    for turn in range(3000):
        instance = chosen.choose(1)
        assert instance is not None
        chosen.sent(instance, 1 + turn % 5)
        chosen.completed(instance, 1 + turn % 5)
        sizes.add(len(pickle.dumps(vars(chosen))))
    assert max(sizes) < 4000


def test_server_queues_full_batches_behind_quick_ones() -> None:
    rule = LatencyRule(16, 2, limit_ns=10e6)
    rule.served(16, 16_000, 50_000)
    assert rule.next(backlog(16, 0), True) == (16, 2)
    assert rule.next(backlog(15, 0), True) == (0, 1)


def test_answers_to_another_batch_are_refused() -> None:
    dispatcher, _ = make("pull", SplitRule(4, 2), 1)
    with pytest.raises(DispatchError, match="instance 0 answered 1 samples"):
        dispatcher.completed([(0, [3], 0)])
    dispatcher.submit([1, 2], [0, 0])
    with pytest.raises(DispatchError):
        dispatcher.completed([(0, [2, 1], 0)])
    dispatcher.completed([(0, [1, 2], 0)])


def test_pending_keeps_order_over_many_takes() -> None:
    pending, taken = Pending(), []
    for start in range(0, 20_000, 10):
        samples = list(range(start, start + 10))
        pending.absorb(deque([(samples, samples, 1 + start)]))
        if start % 30 == 0:
            ids, positions, arrivals = pending.take(7)
            assert ids == positions
            assert arrivals == [1 + number // 10 * 10 for number in ids]
            pending.put_back(ids, positions, arrivals)
            taken += pending.take(7)[0]
    taken += pending.take(pending.waiting)[0]
    assert taken == list(range(20_000))
    assert pending.waiting == 0


@pytest.mark.parametrize("most", [100, 100_000])
def test_sorting_keeps_pairs(most: int) -> None:
    generator = random.Random(3)
    ids = [2**63 + i for i in range(1000)]
    positions = [generator.randrange(most) for _ in ids]
    sorted_ids, sorted_positions = sorted_by_position(ids, positions)
    assert sorted_positions == sorted(positions)
    assert sorted(zip(sorted_ids, sorted_positions, strict=True)) == sorted(
        zip(ids, positions, strict=True)
    )


@pytest.fixture
def rings() -> Iterator[Rings]:
    """Two instances whose rings hold a single batch."""
    made = Rings.create(f"t{secrets.token_hex(6)}", RingGeometry(2, 1, 4, 4))
    yield made
    made.unlink()
    made.close()


def test_a_full_ring_holds_samples_back(rings: Rings) -> None:
    producers = [rings.request_producer(i) for i in range(2)]
    # Three batches in flight where a ring has room for one.
    dispatcher = Dispatcher(producers, make_policy("pull", 2, 3), ThroughputRule(4, 3))
    dispatcher.submit(list(range(40)), list(range(40)))
    assert rings.occupancy(0).requests == rings.occupancy(1).requests == 1
    assert dispatcher.outstanding == 40
    seen = []
    while dispatcher.outstanding:
        for instance in range(2):
            request = rings.request_consumer(instance).receive(0)
            if request is not None:
                seen += request.ids
                dispatcher.completed([(instance, request.ids, 0)])
        dispatcher.poll()
    assert sorted(seen) == list(range(40))


def test_queries_from_another_thread_are_never_left_behind(rings: Rings) -> None:
    dispatcher = Dispatcher(
        [rings.request_producer(i) for i in range(2)],
        make_policy("pull", 2, 1),
        LatencyRule(4, 1, 1e9),
    )
    total = 20_000

    def issue() -> None:
        for response_id in range(total):
            dispatcher.submit([response_id], [response_id])

    thread = threading.Thread(target=issue)
    thread.start()
    consumers = [rings.request_consumer(i) for i in range(2)]
    seen: list[int] = []
    # Only `completed` follows: whatever is left in the inbox would hang here.
    while len(seen) < total:
        for instance, consumer in enumerate(consumers):
            request = consumer.receive(0)
            if request is not None:
                seen += request.ids
                dispatcher.completed([(instance, request.ids, 0)])
        assert thread.is_alive() or dispatcher.outstanding + len(seen) == total
    thread.join()
    assert sorted(seen) == list(range(total))
