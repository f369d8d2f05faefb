"""The log and the vault on a database of this test's own."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from activities.database import open_pool
from activities.event_log import EventLog
from activities.vault import Vault
from tests.conftest import Database

KEY = bytes(range(32))


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    async with await open_pool(database.url(), max_size=8) as pool:
        yield pool


@pytest.fixture
def log(pool: asyncpg.Pool) -> EventLog:
    return EventLog(pool)


@pytest.fixture
def vault(pool: asyncpg.Pool) -> Vault:
    return Vault(pool, KEY)


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A superuser, who may do anything that PostgreSQL allows at all."""
    connection = await asyncpg.connect(
        database.admin_url, server_settings={"search_path": "standpipe"}
    )
    yield connection
    await connection.close()
