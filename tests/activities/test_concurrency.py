"""Many writers at once: no position missing, none twice, and a reader by position misses none."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import asyncpg
import pytest

from activities.database import DatabaseUnavailable, open_pool
from activities.event_log import EventLog
from schemas.envelope import AppendResult, EventEnvelope
from tests.activities.appends import ORGANISATION, catch_up, decision, event, held, request
from tests.conftest import Database

WRITERS = 32
APPENDS = 12


async def write(log: EventLog, stream: str) -> list[AppendResult]:
    """One case's appends, of one to three events each."""
    version, results = 0, list[AppendResult]()
    for number in range(APPENDS):
        events = [event(number=number, part=part) for part in range(1 + number % 3)]
        result = await log.append_events(request(stream, version, decision(f"c{number}", *events)))
        assert result.status == "appended"
        version = result.version
        results.append(result)
    return results


async def follow(log: EventLog, total: int) -> list[EventEnvelope]:
    """Read by position while others write, in uneven steps, until all is there."""
    seen: list[EventEnvelope] = []
    while len(seen) < total:
        seen += await log.tail(ORGANISATION, seen[-1].position if seen else 0, 1 + len(seen) % 7)
    return seen


@pytest.fixture
async def busy(database: Database) -> AsyncIterator[EventLog]:
    """A log with a connection for everybody."""
    size = WRITERS + 2
    async with await open_pool(database.url(), min_size=size, max_size=size) as pool:
        yield EventLog(pool)


async def test_32_writers_leave_no_gap_and_a_tailing_reader_misses_nothing(
    busy: EventLog,
) -> None:
    total = WRITERS * sum(1 + number % 3 for number in range(APPENDS))
    async with asyncio.timeout(120):
        written, seen, seen_too = await asyncio.gather(
            asyncio.gather(*(write(busy, f"repair-{number}") for number in range(WRITERS))),
            follow(busy, total),
            follow(busy, total),
        )
    assert [e.position for e in seen] == list(range(1, total + 1))
    assert seen_too == seen
    assert [e.recorded_at for e in seen] == sorted(e.recorded_at for e in seen)
    for number, results in enumerate(written):
        mine = [e for e in seen if e.stream == f"repair-{number}"]
        assert [e.version for e in mine] == list(range(1, len(mine) + 1))
        told = {r.recorded[0].version: r.recorded[0].position for r in results}
        assert {e.version: e.position for e in mine if e.version in told} == told


async def test_runs_that_race_for_one_case_take_turns(busy: EventLog) -> None:
    async def run(name: int) -> None:
        version = 0
        for number in range(10):
            status = "behind"
            while status == "behind":
                wanted = request("repair-1", version, decision(f"{name}-{number}", event(by=name)))
                result = await busy.append_events(wanted)
                version, status = result.version, result.status

    async with asyncio.timeout(120):
        await asyncio.gather(*(run(name) for name in range(8)))
    result = await busy.append_events(catch_up("repair-1"))
    assert result.version == 80
    assert len({r.command_id for r in result.recorded}) == 80
    assert [r.version for r in result.recorded] == list(range(1, 81))
    assert [r.position for r in result.recorded] == list(range(1, 81))


async def test_a_retry_waits_for_the_try_that_is_still_on_its_way(
    log: EventLog, pool: asyncpg.Pool
) -> None:
    # The first try's client is gone, but PostgreSQL still works on its transaction.
    wanted = request("repair-1", 0, decision("a", event()))
    async with pool.acquire() as connection, connection.transaction():
        first = EventLog(cast("asyncpg.Pool", connection))
        result = await first.append_events(wanted)
        retry = asyncio.create_task(log.append_events(wanted))
        await asyncio.sleep(0.3)
        assert not retry.done()
    again = await retry
    assert (again.status, again.recorded) == ("behind", held(result.recorded))


async def test_what_postgres_refuses_for_now_is_called_unavailable(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    await log.append_events(request("repair-1", 0, decision("a", event())))
    async with admin.transaction():
        await admin.execute("LOCK TABLE heads IN EXCLUSIVE MODE")
        waiting = asyncio.create_task(
            log.append_events(request("repair-1", 1, decision("b", event())))
        )
        blocked = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while (pid := await admin.fetchval(blocked)) is None:  # noqa: ASYNC110 - its state is there
            await asyncio.sleep(0.01)
        await admin.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(DatabaseUnavailable, match="could not be reached"):
            await waiting
    result = await log.append_events(request("repair-1", 1, decision("b", event())))
    assert (result.status, result.recorded[0].position) == ("appended", 2)
