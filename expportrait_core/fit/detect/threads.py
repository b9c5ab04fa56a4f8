"""Threads of our own around torch's. Our tensors are small: on a busy machine torch's threads, which wait for each
other after every operation, are many times slower than one, and several pieces of work at once are faster than both."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")
MOST_THREADS = 4  # more do not help: reading the clip is slower


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Torch uses one thread in here. The number is each thread's own, and what new threads begin with."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
) -> Iterator[tuple[Item, Result]]:
    """Every item with its result, in order. At most one item more than there are threads is in memory."""
    if threads <= 1:
        for item in items:
            yield item, function(item)
        return
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with one_torch_thread(), ThreadPoolExecutor(threads, "fit", torch.set_num_threads, (1,)) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) > threads:
                    item, future = waiting.popleft()
                    yield item, future.result()
            while waiting:
                item, future = waiting.popleft()
                yield item, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def num_threads() -> int:
    """As many as this process has cores, where the system says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_THREADS)
