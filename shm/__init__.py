"""Shared memory of one run: segments, control block, rings and sample arena.

Everything here is about bytes, positions and processes; it knows nothing of LoadGen, torch or
models.

| module     | holds                                                               |
|------------|---------------------------------------------------------------------|
| `segment`  | a named POSIX shared-memory segment and its errors                  |
| `header`   | the magic, version and fixed fields at the start of every segment   |
| `owner`    | who owns a run (pid, start time, pid namespace) and whether it lives |
| `control`  | run state, and one record per instance                              |
| `fence`    | the full memory barrier                                             |
| `doorbell` | parked flag + semaphore: waking a waiter without lost wake-ups      |
| `wait`     | how long to spin before parking                                     |
| `ring`     | request and response rings of all instances                         |
| `arena`    | preprocessed samples, written once, read by all instances           |
| `reclaim`  | removal of what dead runs left behind                               |
"""
