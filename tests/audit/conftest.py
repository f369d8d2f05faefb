"""A log in a database of this test's own, and a superuser who may do anything to it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from activities.database import open_pool
from activities.event_log import EventLog
from tests.conftest import Database


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    async with await open_pool(database.url(), max_size=4) as pool:
        yield pool


@pytest.fixture
def log(pool: asyncpg.Pool) -> EventLog:
    return EventLog(pool)


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        database.admin_url,
        server_settings={"search_path": "standpipe", "timezone": "UTC"},
        statement_cache_size=0,  # tables change under its statements
    )
    yield connection
    await connection.close()
