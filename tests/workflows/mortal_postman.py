"""A worker that delivers, in a process of its own, to be killed in the midst of it.

Run as `python -m tests.workflows.mortal_postman`, with a `Mortal` as JSON for its argument.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.database import open_pool
from activities.delivery import Deliveries, Patience
from activities.event_log import EventLog
from gateway.carriers import OurRoads
from settings import Settings
from tests.workflows.desk import ORGANISATION
from worker import build_worker

ROOT = Path(__file__).parents[2]


class Mortal(BaseModel):
    """Where it works."""

    address: str
    database: str
    task_queue: str
    key: str


async def main(mortal: Mortal) -> None:
    client = await Client.connect(mortal.address, data_converter=pydantic_data_converter)
    pool = await open_pool(mortal.database)
    settings = Settings.model_validate({"key": mortal.key, "private_targets": True})
    deliveries = Deliveries(pool, ORGANISATION, OurRoads(pool, settings), Patience(poll=0.05))
    worker = build_worker(
        client,
        EventLog(pool),
        organisation=ORGANISATION,
        task_queue=mortal.task_queue,
        more_activities=[deliveries.deliver],
    )
    await worker.run()


@asynccontextmanager
async def mortal(spec: Mortal) -> AsyncIterator[None]:
    """At work until it is killed, on leaving."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.workflows.mortal_postman", spec.model_dump_json()),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


if __name__ == "__main__":
    asyncio.run(main(Mortal.model_validate_json(sys.argv[1])))
