"""A worker in a process of its own that stops at its n-th append and waits there to be killed.

Run as `python -m tests.workflows.mortal_worker`, with a `Mortal` as JSON for its argument.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel
from temporalio import activity
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.database import open_pool
from activities.event_log import EventLog
from schemas.envelope import AppendRequest, AppendResult
from tests.conftest import Database
from tests.workflows.desk import ORGANISATION, Desk
from worker import build_worker, sandboxed

ROOT = Path(__file__).parents[2]
When = Literal["before", "after"]


class Mortal(BaseModel):
    """Where it works, and where it stops: `before` the n-th append, or `after` Postgres' commit."""

    address: str
    database: str
    task_queue: str
    append: int
    when: When
    cache: int = 100


class MortalLog(EventLog):
    """Says on standard output that it has come to its last append, and never gets past it."""

    stop: Mortal
    appends = 0

    @activity.defn(name="append_events")
    async def append_events(self, request: AppendRequest) -> AppendResult:
        self.appends += 1
        last = self.appends == self.stop.append
        if last and self.stop.when == "before":
            await self._end()
        result = await super().append_events(request)
        if last:
            await self._end()
        return result

    async def _end(self) -> None:
        print("here", flush=True)
        await asyncio.Event().wait()


async def main(mortal: Mortal) -> None:
    client = await Client.connect(mortal.address, data_converter=pydantic_data_converter)
    log = MortalLog(await open_pool(mortal.database))
    log.stop = mortal
    worker = build_worker(
        client,
        log,
        organisation=ORGANISATION,
        task_queue=mortal.task_queue,
        runner=sandboxed(),
        max_cached_workflows=mortal.cache,
    )
    print("ready", flush=True)
    await worker.run()


class Process:
    """A worker that stops at its n-th append, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._listening = asyncio.create_task(self._listen())
        self.ready, self.here = asyncio.Event(), asyncio.Event()

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            {b"ready\n": self.ready, b"here\n": self.here}[line].set()

    async def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        await self._listening


@asynccontextmanager
async def mortal(
    desk: Desk, database: Database, append: int = 0, when: When = "before", cache: int = 100
) -> AsyncIterator[Process]:
    """A worker that is at work, and killed on leaving; with `append` 0 it never stops before."""
    spec = Mortal(
        address=desk.client.service_client.config.target_host,
        database=database.url(),
        task_queue=desk.task_queue,
        append=append,
        when=when,
        cache=cache,
    )
    process = Process(
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.workflows.mortal_worker", spec.model_dump_json()),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
    )
    try:
        async with asyncio.timeout(60):
            await process.ready.wait()
        yield process
    finally:
        await process.kill()


if __name__ == "__main__":
    asyncio.run(main(Mortal.model_validate_json(sys.argv[1])))
