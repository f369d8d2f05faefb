"""What the workflow tests need: a desk on real servers, with its worker at work or not yet."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.database import open_pool
from activities.event_log import EventLog
from activities.signing_keys import SigningKeys
from gateway.policies import content_of
from tests.conftest import Database
from tests.workflows.desk import Desk, ShortTasks, with_interceptor

POLICIES = Path(__file__).parents[2] / "policies"


@pytest.fixture(scope="session")
def policy() -> str:
    return content_of("gas", POLICIES)


@pytest.fixture
async def log(database: Database) -> AsyncIterator[EventLog]:
    pool = await open_pool(database.url())
    yield EventLog(pool)
    await pool.close()


@pytest.fixture
async def registrar(database: Database) -> AsyncIterator[SigningKeys]:
    """Where keys are enrolled, with the gateway's rights."""
    pool = await open_pool(database.url("standpipe_gateway"), min_size=0, max_size=1)
    yield SigningKeys(pool)
    await pool.close()


@pytest.fixture
def idle_desk(
    temporal: Client, log: EventLog, registrar: SigningKeys, policy: str, task_queue: str
) -> Desk:
    """A desk without a worker: nothing is decided until the test runs one."""
    return Desk(temporal, log, policy, task_queue, registrar)


@pytest.fixture
def hasty_desk(temporal: Client, log: EventLog, policy: str, task_queue: str) -> Desk:
    """A desk without a worker, whose cases soon miss a worker that does not answer."""
    return Desk(with_interceptor(temporal, ShortTasks()), log, policy, task_queue)


@pytest.fixture
async def desk(idle_desk: Desk) -> AsyncIterator[Desk]:
    """A desk with a worker, its workflows in the sandbox."""
    async with idle_desk.worker():
        yield idle_desk
