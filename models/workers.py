"""Work on many files at once, by as many processes as this one may use processors."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import TypeVar

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
    work: Callable[[Sequence[Task]], Result], items: Sequence[Task], progress: Progress = silent
) -> list[Result]:
    """Call work(items) in worker processes, for CHUNK items at a time, in no certain order.

    Returns what the calls returned, in the order in which they ended. `work` must be importable (a
    function of a module, or a functools.partial of one). The first exception of any of them ends
    the whole and is raised here. Raises InputError where no worker process can be had.
    """
    results: list[Result] = []
    chunks = [items[i : i + CHUNK] for i in range(0, len(items), CHUNK)]
    processes = min(len(os.sched_getaffinity(0)), len(chunks))
    progress(0, len(items))
    if processes <= 1:
        for i, chunk in enumerate(chunks):
            results.append(work(chunk))
            progress(min((i + 1) * CHUNK, len(items)), len(items))
        return results
    # spawn: the caller may have threads (a progress bar, torch), which a fork would not carry.
    context = multiprocessing.get_context("spawn")
    try:
        pool = ProcessPoolExecutor(processes, context, _start_worker, (os.getpid(),))
    except OSError as error:
        raise InputError(
            f"cannot start worker processes: {error.strerror} (their semaphores need a writable "
            "/dev/shm with room; 'df -h /dev/shm' shows it)"
        ) from None
    with pool:
        try:
            pending = {pool.submit(work, chunk): len(chunk) for chunk in chunks}
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


def _start_worker(parent: int) -> None:
    # An interrupt is the parent's to handle; a worker goes when its parent does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal_when_parent_dies(signal.SIGKILL)
    if os.getppid() != parent:
        # It went before the kernel was asked to tell.
        os._exit(1)
