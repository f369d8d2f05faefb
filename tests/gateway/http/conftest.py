"""The API on real servers, with a worker behind it."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from activities.database import open_pool
from activities.event_log import EventLog
from gateway.http.app import build_app
from gateway.session import Session
from settings import Settings
from stack import Endpoints
from tests.conftest import Database
from tests.gateway.http.office import Badges, Office, caller, settings
from worker import build_worker


@pytest.fixture
def office_settings(
    monkeypatch: pytest.MonkeyPatch, servers: Endpoints, database: Database, task_queue: str
) -> Settings:
    """A gateway that logs in as itself."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", servers.temporal_address)
    return settings(database.url("standpipe_gateway"), task_queue)


@pytest.fixture
async def idle_office(office_settings: Settings) -> AsyncIterator[Office]:
    """The API without a worker: nothing is decided."""
    async with Session(office_settings, connections=20) as session:
        app = build_app(session, Badges(session.organisation))
        async with caller(app) as http:
            yield Office(app, session, http)


@pytest.fixture
async def office(
    idle_office: Office, temporal: Client, database: Database, task_queue: str
) -> AsyncIterator[Office]:
    """The API and a worker."""
    pool = await open_pool(database.url())
    async with build_worker(
        temporal,
        EventLog(pool),
        organisation=idle_office.session.organisation,
        task_queue=task_queue,
    ):
        yield idle_office
    await pool.close()
