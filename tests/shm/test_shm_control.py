from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from shm_run import SHM, scratch_run

from shm.control import Blame, ControlBlock, InstanceState, RunState
from shm.owner import Owner, process_start_time
from shm.segment import SegmentMissing, ShmError


@pytest.fixture
def run_id() -> Iterator[str]:
    with scratch_run() as run_id:
        yield run_id


def test_a_fresh_block(run_id: str) -> None:
    with pytest.raises(SegmentMissing):
        ControlBlock.attach(run_id)
    with ControlBlock.create(run_id, 3) as control:
        assert control.instances == 3
        assert control.run_state is RunState.STARTING
        assert control.states().tolist() == [InstanceState.ABSENT] * 3
        assert control.owner == Owner.current()
        assert control.uid == os.getuid()
        assert control.owner_alive()


def test_fields_are_shared_and_do_not_overlap(run_id: str) -> None:
    with ControlBlock.create(run_id, 3) as control, ControlBlock.attach(run_id) as other:
        assert control.latencies_ns == (0, 0, 0)
        other.run_state = RunState.STOPPING
        other.latencies_ns = (2**50, 2**51, 2**64 - 1)
        for index in range(3):
            record = other.instance(index)
            record.state = InstanceState.READY
            record.pid = 2**31 + index
            record.generation = 2**32 - 1 - index
            record.blame = Blame(index)
            record.samples = 2**64 - 1 - index
            record.batches = 2**40 + index
            record.busy_ns = 2**41 + index
            record.heartbeat_ns = 2**42 + index
            record.rate = 53.25 + index
        assert control.run_state is RunState.STOPPING
        assert control.latencies_ns == (2**50, 2**51, 2**64 - 1)
        for index in range(3):
            record = control.instance(index)
            assert record.state is InstanceState.READY
            assert record.pid == 2**31 + index
            assert record.generation == 2**32 - 1 - index
            assert record.blame is Blame(index)
            assert record.samples == 2**64 - 1 - index
            assert record.batches == 2**40 + index
            assert record.busy_ns == 2**41 + index
            assert record.heartbeat_ns == 2**42 + index
            assert record.rate == 53.25 + index
        assert control.instances == 3
        assert control.owner_alive()


def test_states_is_a_live_view(run_id: str) -> None:
    with ControlBlock.create(run_id, 14) as control:
        states = control.states()
        control.instance(13).state = InstanceState.DEAD
        assert (states == InstanceState.DEAD).nonzero()[0].tolist() == [13]
        control.close()
        assert states[13] == InstanceState.DEAD


def test_out_of_range_instances(run_id: str) -> None:
    with ControlBlock.create(run_id, 2) as control:
        for index in (-1, 2):
            with pytest.raises(IndexError, match=f"instance {index}"):
                control.instance(index)
    with pytest.raises(ValueError, match="instances 0"):
        ControlBlock.create(run_id, 0)


def test_another_layout_is_refused(run_id: str) -> None:
    with ControlBlock.create(run_id, 1):
        with (SHM / f"loadrun.{run_id}.control").open("r+b") as file:
            file.seek(8)
            file.write((9).to_bytes(8, "little"))
        with pytest.raises(ShmError, match="version is 9"):
            ControlBlock.attach(run_id)


def test_closed_records_are_refused_not_dangling(run_id: str) -> None:
    with ControlBlock.create(run_id, 1) as control:
        record = control.instance(0)
        control.close()
        with pytest.raises(ValueError, match="released"):
            record.samples = 1


def test_an_owner_is_more_than_its_pid() -> None:
    me = Owner.current()
    assert me.alive()
    assert not Owner(me.pid, me.start_time + 1, me.pid_namespace).alive()
    assert Owner(me.pid, me.start_time + 1, me.pid_namespace + 1).alive()
    assert process_start_time(2**22 + 1) is None


def test_a_zombie_is_gone() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        assert process_start_time(pid) is None
    finally:
        os.waitpid(pid, 0)
