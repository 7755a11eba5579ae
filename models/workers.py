"""Work on many files at once, by as many processes as this one may use processors."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import Any, TypeVar

from base.errors import InputError
from base.parent import signal_when_parent_dies

Task = TypeVar("Task")
Result = TypeVar("Result")

Progress = Callable[[int, int], None]
"""Called with the items done and their total, at the start, now and then, and at the end."""

CHUNK = 16


def silent(done: int, total: int) -> None:
    """Report nothing."""


def for_each_chunk(
    work: Callable[[Sequence[Task]], Result],
    items: Sequence[Task],
    progress: Progress = silent,
    chunk: int = CHUNK,
) -> list[Result]:
    """Call work(items) in worker processes, for `chunk` items at a time, in no certain order.

    Returns what the calls returned, in the order in which they ended. `work` must be picklable (a
    function of a module, a functools.partial of one); each process gets it once, so that it may
    carry a whole data set. The first exception of any of them ends the whole and is raised here.
    Raises InputError where no worker process can be had.
    """
    results: list[Result] = []
    chunks = [items[i : i + chunk] for i in range(0, len(items), chunk)]
    processes = min(len(os.sched_getaffinity(0)), len(chunks))
    progress(0, len(items))
    if processes <= 1:
        for i, part in enumerate(chunks):
            results.append(work(part))
            progress(min((i + 1) * chunk, len(items)), len(items))
        return results
    # spawn: the caller may have threads (a progress bar, torch), which a fork would not carry.
    context = multiprocessing.get_context("spawn")
    try:
        pool = ProcessPoolExecutor(processes, context, _start_worker, (os.getpid(), work))
    except OSError as error:
        raise InputError(
            f"cannot start worker processes: {error.strerror} (their semaphores need a writable "
            "/dev/shm with room; 'df -h /dev/shm' shows it)"
        ) from None
    with pool:
        try:
            pending = {pool.submit(_do, part): len(part) for part in chunks}
            done = 0
            while pending:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    results.append(future.result())
                    done += pending.pop(future)
                progress(done, len(items))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


_work: Callable[[Sequence[Any]], Any] | None = None
"""What this process does, where it is a worker."""


def _do(part: Sequence[Any]) -> Any:
    assert _work is not None
    return _work(part)


def _start_worker(parent: int, work: Callable[[Sequence[Any]], Any]) -> None:
    global _work
    _work = work
    # An interrupt is the parent's to handle; a worker goes when its parent does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal_when_parent_dies(signal.SIGKILL)
    if os.getppid() != parent:
        # It went before the kernel was asked to tell.
        os._exit(1)
