"""Temporal lost its cases, all or some: every open one is taken up again from the log."""

import asyncio
from collections.abc import Callable

from activities.cases import Cases
from activities.log_reader import LogReader
from schemas.base import Value


class Recovered(Value):
    """How many open cases there were: taken up now, and running all along."""

    taken_up: int
    running: int


async def recover(
    cases: Cases,
    log: LogReader,
    organisation: str,
    report: Callable[[int, int], None] = lambda done, of: None,
    concurrency: int = 16,
) -> Recovered:
    """Start every open case that has no running workflow; `report` hears how many are done, of all.

    Each catches up with the log by itself; deadlines that passed meanwhile count at their due time.
    Safe to interrupt and run again, and while cases run.
    """
    waiting = await log.open_cases(organisation)
    total, taken_up, running = len(waiting), 0, 0
    waiting.reverse()

    async def work() -> None:
        nonlocal taken_up, running
        while waiting:
            if await cases.take_up(waiting.pop()):
                taken_up += 1
            else:
                running += 1
            report(taken_up + running, total)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, total)):
            group.create_task(work())
    return Recovered(taken_up=taken_up, running=running)
