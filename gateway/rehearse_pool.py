"""Shares a rehearsal's work out among the processors; the order, and so the result, stays."""

import gc
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing.context import BaseContext
from typing import TypeVar

Item = TypeVar("Item")
Part = TypeVar("Part")


def shared_out(
    run: Callable[[list[Item]], Part], items: Iterable[Item], *, chunk: int, alone: bool
) -> Iterator[tuple[int, Part]]:
    """What `run` makes of each chunk of the items, in their order, with the chunk's size.

    `alone`: starting other processes takes longer than they save.
    """
    rest = iter(items)
    chunks = iter(lambda: list(islice(rest, chunk)), [])
    workers = os.cpu_count() or 1
    if workers == 1 or alone:
        for some in chunks:
            yield len(some), run(some)
        return
    with ProcessPoolExecutor(workers, mp_context=context(), initializer=_begin) as pool:
        waiting: deque[tuple[int, Future[Part]]] = deque()
        for some in chunks:
            waiting.append((len(some), pool.submit(run, some)))
            if len(waiting) > 2 * workers:
                size, part = waiting.popleft()
                yield size, part.result()
        for size, part in waiting:
            yield size, part.result()


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and ends the others
    gc.freeze()


def context() -> BaseContext:
    """Not plain forking: another thread of this process could hold a lock at that moment."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["__main__", "gateway.rehearse", "gateway.rehearse_arrears"])
    return made
