"""PostgreSQL goes away and comes back: commands wait, and are done once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from schemas.envelope import Json
from stack import url_as
from tests.conftest import Database
from tests.workflows.desk import Desk
from tests.workflows.mortal_worker import mortal

CUT = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = $1 AND pid <> pg_backend_pid()
"""


@asynccontextmanager
async def administrator(database: Database) -> AsyncIterator[tuple[asyncpg.Connection, str]]:
    """A connection beside the test's database, and that database's name."""
    name = database.admin_url.partition("?")[0].rpartition("/")[2]
    connection = await asyncpg.connect(url_as(database.admin_url, database="postgres"))
    try:
        yield connection, name
    finally:
        await connection.close()


async def test_commands_wait_while_the_database_is_away_and_are_done_once(
    idle_desk: Desk, database: Database
) -> None:
    desk = idle_desk
    async with mortal(desk, database), administrator(database) as (connection, name):
        case_ids = [await desk.opened() for _ in range(3)]
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await connection.fetchval(CUT, name)
        triage: dict[str, Any] = {"category": "no-gas", "severity": "common"}
        sent = [asyncio.create_task(desk.send(c, "TriageRepair", **triage)) for c in case_ids]
        await asyncio.sleep(2)
        assert not any(task.done() for task in sent)
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

        async with asyncio.timeout(30):
            outcomes = await asyncio.gather(*sent)
        assert {o.events for o in outcomes} == {("RepairTriaged",)}
        for case_id in case_ids:
            assert (await desk.types(case_id)).count("RepairTriaged") == 1
            await desk.finish_after_triage(case_id)
            await desk.verified(case_id)


async def test_cut_connections_lose_and_double_nothing(idle_desk: Desk, database: Database) -> None:
    """Connections are cut again and again, also between a commit and its answer."""
    desk = idle_desk

    async def work(case_id: str, commands: list[Json]) -> None:
        for command in commands:
            await desk.cases.send(case_id, command)

    async with mortal(desk, database), administrator(database) as (connection, name):
        lives = {await desk.opened(): shifts(desk) for _ in range(4)}
        async with asyncio.timeout(60):
            working = asyncio.gather(*(work(*life) for life in lives.items()))
            cuts = 0
            while not working.done():
                cuts += await connection.fetchval(CUT, name)
                await asyncio.sleep(0.15)
            await working
        assert cuts > 0
        for case_id, commands in lives.items():
            assert (await desk.command_ids(case_id))[1:] == [c["id"] for c in commands]
            await desk.verified(case_id)


def shifts(desk: Desk) -> list[Json]:
    return [
        desk.command("HandOverCase", to={"kind": "person", "id": f"c-{n}"}, reason="shift")
        for n in range(10)
    ]
