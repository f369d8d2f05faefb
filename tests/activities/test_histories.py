"""The archive beside the log: nothing in it changes, and nothing gets in that the log denies."""

import gzip
from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha256
from typing import Any

import asyncpg
import pytest

from activities.database import open_pool
from activities.event_log import EventLog
from activities.histories import Entry, Histories
from schemas.archive import HistoryArchived
from tests.activities.appends import ORGANISATION, START, decision, event, request, summary
from tests.conftest import Database

CONTENT = b"a history"
REGISTER = "archive-town--2026-05"
NOW = timedelta(0)


@pytest.fixture
async def histories(database: Database) -> AsyncIterator[Histories]:
    async with await open_pool(database.url(), max_size=1) as pool:
        yield Histories(pool, ORGANISATION)


def entry(case: str = "repair-1", run: str = "run-1", content: bytes = CONTENT) -> Entry:
    told: dict[str, Any] = {"bytes": len(content), "events": 9, "build_id": "1+a", "sdk": "1.35.0"}
    told |= {"case": case, "run": run, "sha256": sha256(content).hexdigest()}
    archived = HistoryArchived(at=START, lock=None, original=True, **told)
    return Entry(register_id=REGISTER, event=archived)


async def tell(log: EventLog, entry: Entry, after: int = 0, id: str | None = None) -> None:
    """The log tells of a history."""
    body = entry.event.model_dump(mode="json")
    made = decision(id or f"archive/{entry.event.run}", body)
    open_case = summary(kind="archive", final=False)
    await log.append_events(request(REGISTER, after, made, case=open_case))


async def happen(log: EventLog, case: str, *, final: bool, after: int = 0) -> None:
    made = decision(f"c{after}", event())
    await log.append_events(request(case, after, made, case=summary(final=final)))


async def keep(histories: Histories, entry: Entry, content: bytes = CONTENT) -> bool:
    return await histories.keep(entry, gzip.compress(content), version=1, closed_at=START)


async def due(histories: Histories) -> list[tuple[str, str]]:
    return [(each.stream, each.run_id) for each in await histories.due(100)]


async def test_a_history_is_kept_once_and_only_as_the_log_tells_it(
    log: EventLog, histories: Histories
) -> None:
    await happen(log, "repair-1", final=True)
    with pytest.raises(asyncpg.PostgresError, match="does not tell"):
        await keep(histories, entry())
    await tell(log, entry())
    assert await keep(histories, entry())
    assert await keep(histories, entry())
    assert await histories.entries(["archive/run-1"]) == [entry()]
    other = entry(content=b"another")
    for wrong in (other, entry(case="repair-2"), entry(run="run-2")):
        with pytest.raises(asyncpg.PostgresError, match="does not tell"):
            await keep(histories, wrong)
    await tell(log, other, 1, f"archive/run-1/{other.event.sha256[:16]}")
    assert not await keep(histories, other), "the first one stays"
    assert await histories.known("repair-1") == 1
    assert await histories.known("repair-2") == 0


@pytest.mark.parametrize("role", ["postgres", "standpipe_owner", "standpipe_worker"])
async def test_nobody_changes_the_archive(
    log: EventLog, histories: Histories, admin: asyncpg.Connection, role: str
) -> None:
    await tell(log, entry())
    await keep(histories, entry())
    await admin.execute("SET session_replication_role = replica")
    await admin.execute(f"SET ROLE {role}")
    for change in (
        "UPDATE standpipe.histories SET events = 1",
        "UPDATE standpipe.histories SET events = 1 WHERE false",
        "DELETE FROM standpipe.histories",
        "TRUNCATE standpipe.histories",
    ):
        with pytest.raises(asyncpg.PostgresError, match=r"the log only grows|permission denied"):
            await admin.execute(change)
    assert await histories.has("repair-1", "run-1")


async def test_what_has_ended_is_found_in_the_logs_order_and_once(
    log: EventLog, histories: Histories
) -> None:
    await happen(log, "repair-1", final=True)
    await happen(log, "repair-2", final=False)
    await happen(log, "repair-3", final=True)
    assert await histories.find_ended(2, NOW)
    assert await due(histories) == [("repair-1", "")]
    assert not await histories.find_ended(2, NOW)
    assert await due(histories) == [("repair-1", ""), ("repair-3", "")]
    for each in await histories.due(100):
        await histories.done(each)
    assert not await histories.find_ended(100, NOW)
    assert await due(histories) == []
    await happen(log, "repair-2", final=True, after=1)
    await histories.find_ended(100, timedelta(hours=1))
    assert await due(histories) == [], "its run will not have ended yet"


async def test_an_end_that_came_meanwhile_is_not_done(log: EventLog, histories: Histories) -> None:
    await happen(log, "repair-1", final=True)
    await histories.find_ended(100, NOW)
    (first,) = await histories.due(100)
    await happen(log, "repair-1", final=True, after=1)
    await histories.find_ended(100, NOW)
    await histories.done(first)
    (second,) = await histories.due(100)
    assert (first.version, second.version) == (1, 2)
    await histories.delay(second, timedelta(hours=1))
    assert await due(histories) == []


async def test_runs_are_noted_down_unless_they_are_archived_or_of_no_case(
    log: EventLog, histories: Histories
) -> None:
    await happen(log, "repair-1", final=False)
    await tell(log, entry())
    await keep(histories, entry())
    runs = [("repair-1", "run-1"), ("repair-1", "run-2"), ("repair-9", "run-3")]
    for _ in range(2):
        await histories.queue(runs)
    assert await due(histories) == [("repair-1", "run-2")]
    assert await histories.swept_until() is None
    await histories.find_ended(100, NOW)
    await histories.swept(START)
    await histories.swept(START - timedelta(days=1))
    assert await histories.swept_until() == START
