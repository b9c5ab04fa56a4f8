"""Work spread over threads: calls of compiled kernels, and frames that are drawn at once. As many threads as torch
uses, so that one setting governs both.

Torch's own threads go on waiting at full speed for some milliseconds after each operation that it spreads over them.
What is done shortly before drawing, small as it is, is therefore done without such operations: `linalg.det` is one.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch


def num_workers() -> int:
    return torch.get_num_threads()


def in_threads(
    kernel: Callable,  # lets go of Python's lock, calls no kernel in threads itself
    jobs: Iterable[tuple],  # arguments of one call each
) -> list:
    """What `kernel` returns for each job, in their order. Can be called from several threads at once."""
    jobs = list(jobs)
    if num_workers() == 1 or len(jobs) <= 1:
        return [kernel(*job) for job in jobs]
    return list(_pool(num_workers(), os.getpid()).map(lambda job: kernel(*job), jobs))


def in_order(
    function: Callable,  # spends its time in libraries that let go of Python's lock
    jobs: Iterable[tuple],  # arguments of one call each; taken one by one, in the caller's thread
) -> Iterator:
    """What `function` returns for each job, in their order, worked on in threads of their own. As many jobs as there
    are threads are worked on ahead and no more, so that long clips take no more memory than short ones.

    Until the last job is done, torch and our kernels have one thread in each of them: threads that start threads only
    wait for each other, and torch's wait at full speed.
    """
    workers = num_workers()
    if workers == 1:
        yield from (function(*job) for job in jobs)
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers, thread_name_prefix="frames") as pool:
            ahead: deque = deque()
            for job in jobs:
                ahead.append(pool.submit(function, *job))
                if len(ahead) > workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
    finally:
        torch.set_num_threads(workers)


@functools.lru_cache(maxsize=2)
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """One pool per process: a forked child has none of its parent's threads, and would wait for them for ever."""
    return ThreadPoolExecutor(workers, thread_name_prefix="render")


def bands(
    num_frames: int,
    height: int,
    most: int | None = None,  # rows at once; None: no limit
) -> list[tuple[int, int, int]]:
    """(frame, first row, row after the last): whole frames, where they are not too large, but the last ones, one for
    each thread, in as many strips as there are threads: in the end nobody waits for long."""
    threads, parts = num_workers(), []
    for frame in range(num_frames):
        rows = height if frame < num_frames - threads else -(-height // threads)
        rows = max(1, min(rows, most or rows))
        parts += [(frame, top, min(top + rows, height)) for top in range(0, height, rows)]
    return parts
