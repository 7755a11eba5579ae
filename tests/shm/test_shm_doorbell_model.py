"""Every interleaving of the doorbell's protocol, on a processor with store buffers.

A model of `shm.doorbell` step by step (P1 to P5 and W1 to W5 of its docstring) for one waiter and
up to three producers under x86-TSO: a store goes into the thread's buffer and reaches memory at any
later time, in order; a load sees the thread's own buffer first; a locked instruction (the fence, a
change of the semaphore) waits until the buffer is empty. The waiter sleeps without a time limit, so
that a lost wake-up is a state in which nothing can move while a message lies unread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import pytest

WAITER = 0
FLAG = "flag"
T = TypeVar("T")
Buffer = tuple[tuple[str, int], ...]


class State(NamedTuple):
    """Memory, semaphore, and per thread (the waiter is 0) step, store buffer and register."""

    memory: tuple[tuple[str, int], ...]
    tokens: int
    steps: tuple[str, ...]
    buffers: tuple[Buffer, ...]
    seen: tuple[int, ...]
    """By producer: messages that the waiter has found."""
    sent: tuple[int, ...]
    """By producer: messages whose sending has begun."""


class Model:
    def __init__(
        self,
        messages: tuple[int, ...],
        producer_fence: bool = True,
        waiter_fence: bool = True,
        deaths: bool = False,
        broken: str = "",
    ) -> None:
        """`broken` names a mistake to make, one that the check has to find."""
        self.messages = messages
        self.broken = broken
        self.producers = range(1, len(messages) + 1)
        self.producer_fence = producer_fence
        self.waiter_fence = waiter_fence
        self.deaths = deaths

    def initial(self) -> State:
        threads = 1 + len(self.messages)
        zeros = (0,) * len(self.messages)
        memory = ((FLAG, 0), *((str(producer), 0) for producer in self.producers))
        return State(memory, 0, ("W1", *("P1",) * (threads - 1)), ((),) * threads, zeros, zeros)

    def successors(self, state: State) -> Iterator[State]:
        for thread, buffer in enumerate(state.buffers):
            if buffer:
                (name, value), *rest = buffer
                memory = tuple((key, value if key == name else old) for key, old in state.memory)
                yield state._replace(
                    memory=memory, buffers=replaced(state.buffers, thread, tuple(rest))
                )
        yield from self.waiter(state)
        for producer in self.producers:
            yield from self.producer(state, producer)
            if self.deaths and state.steps[producer] not in ("end", "dead"):
                # What a killed process has stored still reaches memory.
                yield self.go(state, producer, "dead")

    def producer(self, state: State, me: int) -> Iterator[State]:
        step, drained = state.steps[me], not state.buffers[me]
        done = "P1" if state.sent[me - 1] < self.messages[me - 1] else "end"
        if self.broken == "wake before publishing":
            yield from self.producer_that_wakes_first(state, me, done)
        elif step == "P1":
            sent = replaced(state.sent, me - 1, state.sent[me - 1] + 1)
            stored = self.store(state._replace(sent=sent), me, str(me), sent[me - 1])
            yield self.go(stored, me, "P2" if self.producer_fence else "P3")
        elif step == "P2" and drained:
            yield self.go(state, me, "P3")
        elif step == "P3":
            yield self.go(state, me, "P4" if self.load(state, me, FLAG) else done)
        elif step == "P4":
            yield self.go(state, me, done if state.tokens else "P5")
        elif step == "P5" and drained:
            yield self.go(state._replace(tokens=state.tokens + 1), me, done)

    def producer_that_wakes_first(self, state: State, me: int, done: str) -> Iterator[State]:
        step, drained = state.steps[me], not state.buffers[me]
        if step == "P1":
            yield self.go(state, me, "P5" if self.load(state, me, FLAG) else "publish")
        elif step == "P5" and drained:
            yield self.go(state._replace(tokens=state.tokens + 1), me, "publish")
        elif step == "publish":
            sent = replaced(state.sent, me - 1, state.sent[me - 1] + 1)
            last = sent[me - 1] == self.messages[me - 1]
            stored = self.store(state._replace(sent=sent), me, str(me), sent[me - 1])
            yield self.go(stored, me, "end" if last else "P1")

    def waiter(self, state: State) -> Iterator[State]:
        step, drained = state.steps[WAITER], not state.buffers[WAITER]
        if step == "W1":
            flag = 0 if self.broken == "flag not raised" else 1
            stored = self.store(state, WAITER, FLAG, flag)
            yield self.go(stored, WAITER, "W2" if self.waiter_fence else "W3.1")
        elif step == "W2" and drained:
            yield self.go(state, WAITER, "W3.1")
        elif step.startswith("W3"):
            if self.broken == "no second look":
                yield self.go(state, WAITER, "W4")
            else:
                yield self.look(state, int(step[3:]), "W3", found="W5", nothing="W4")
        elif step == "W4" and drained and state.tokens:
            yield self.go(state._replace(tokens=state.tokens - 1), WAITER, "W5")
        elif step == "W5":
            yield self.go(self.store(state, WAITER, FLAG, 0), WAITER, "W6.1")
        elif step.startswith("W6"):
            producer = int(step[3:])
            seen = replaced(state.seen, producer - 1, self.load(state, WAITER, str(producer)))
            if producer < len(self.messages):
                following = f"W6.{producer + 1}"
            else:
                following = "end" if seen == self.messages else "W1"
            yield self.go(state._replace(seen=seen), WAITER, following)

    def look(self, state: State, producer: int, label: str, found: str, nothing: str) -> State:
        if self.load(state, WAITER, str(producer)) != state.seen[producer - 1]:
            return self.go(state, WAITER, found)
        last = producer == len(self.messages)
        return self.go(state, WAITER, nothing if last else f"{label}.{producer + 1}")

    def lost(self, state: State) -> bool:
        """Whether a producer that finished has a message that no one will ever read."""
        sleeping = state.steps[WAITER] == "W4"
        return sleeping and any(
            state.steps[producer] == "end" and state.seen[producer - 1] < state.sent[producer - 1]
            for producer in self.producers
        )

    def go(self, state: State, thread: int, step: str) -> State:
        return state._replace(steps=replaced(state.steps, thread, step))

    def store(self, state: State, thread: int, name: str, value: int) -> State:
        buffer = (*state.buffers[thread], (name, value))
        return state._replace(buffers=replaced(state.buffers, thread, buffer))

    def load(self, state: State, thread: int, name: str) -> int:
        own = [value for key, value in state.buffers[thread] if key == name]
        return own[-1] if own else dict(state.memory)[name]


def replaced(items: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    return (*items[:index], value, *items[index + 1 :])


def explore(model: Model) -> tuple[int, int, bool]:
    """Return the number of states, the most tokens seen and whether a wake-up can be lost."""
    todo = [model.initial()]
    known = set(todo)
    lost = False
    while todo:
        state = todo.pop()
        following = list(model.successors(state))
        lost = lost or (not following and model.lost(state))
        for successor in following:
            if successor not in known:
                known.add(successor)
                todo.append(successor)
    return len(known), max(state.tokens for state in known), lost


@pytest.mark.parametrize(
    ("messages", "deaths"),
    [((4,), False), ((2, 2), False), ((1, 1, 1), False), ((4,), True), ((2, 1), True)],
)
def test_no_wake_up_is_lost_and_tokens_are_bounded(messages: tuple[int, ...], deaths: bool) -> None:
    states, tokens, lost = explore(Model(messages, True, True, deaths))
    assert states > 100
    assert not lost
    assert tokens <= len(messages)


@pytest.mark.parametrize(("producer_fence", "waiter_fence"), [(False, True), (True, False)])
def test_both_fences_are_needed(producer_fence: bool, waiter_fence: bool) -> None:
    _, _, lost = explore(Model((2,), producer_fence, waiter_fence, False))
    assert lost


@pytest.mark.parametrize(
    "broken",
    ["no second look", "flag not raised", "wake before publishing"],
)
def test_the_check_finds_a_protocol_that_is_wrong(broken: str) -> None:
    assert explore(Model((1,), broken=broken))[2]


def test_the_walk_is_complete() -> None:
    """Counted by hand: one producer, one message, no waiter that could move."""

    class OnlyTheProducer(Model):
        def waiter(self, state: State) -> Iterator[State]:
            return iter(())

    # P1, then P2 with the store buffered or drained, P3 (flag down), end.
    assert explore(OnlyTheProducer((1,)))[0] == 5


if __name__ == "__main__":
    for sizes, dying in (((4,), False), ((2, 2), False), ((1, 1, 1), False), ((2, 1), True)):
        count, most, wrong = explore(Model(sizes, deaths=dying))
        print(f"messages {sizes}, deaths {dying}: {count} states, {most} tokens at most,", end=" ")
        print("a wake-up CAN be lost" if wrong else "no wake-up lost")
    for mistake in ("no second look", "flag not raised", "wake before publishing"):
        print(f"{mistake}: lost wake-up found: {explore(Model((1,), broken=mistake))[2]}")
    for name in ("producer_fence", "waiter_fence"):
        found = explore(Model((2,), **{name: False}))[2]  # type: ignore[arg-type]
        print(f"without the {name.replace('_', chr(39) + 's ')}: lost wake-up found: {found}")
