"""The archive beside the log: histories that are kept, and those that are yet to be archived."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from activities.database import reached
from schemas.archive import HistoryArchived
from schemas.base import Value

_FIND_ENDED = "SELECT find_ended($1, $2, $3)"
_QUEUE_RUNS = "SELECT queue_runs($1, $2, $3)"
_SWEPT_UNTIL = "SELECT swept_until FROM archivers WHERE organisation = $1"
_SWEPT = "SELECT swept_runs($1, $2)"
_DUE = """
    SELECT stream, run_id, version, attempts FROM archiving
    WHERE organisation = $1 AND next_at <= clock_timestamp()
    ORDER BY next_at, stream, run_id
    LIMIT $2
"""
_DONE = "SELECT done_archiving($1, $2, $3, $4)"
_DELAY = "SELECT delay_archiving($1, $2, $3, $4)"
_HAS = """
    SELECT EXISTS (
        SELECT FROM histories WHERE organisation = $1 AND stream = $2 AND run_id = $3
    )
"""
_KNOWN = "SELECT coalesce(max(version), 0) FROM histories WHERE organisation = $1 AND stream = $2"
_ENTERED = """
    SELECT stream, convert_from(body, 'UTF8') AS body FROM events
    WHERE organisation = $1 AND command_id = ANY($2) AND type = 'HistoryArchived'
    ORDER BY position
"""
_KEEP = "SELECT archive_history($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"


class Due(Value):
    """Something to archive."""

    stream: str
    run_id: str
    """Empty: whatever run the case ended in."""
    version: int
    attempts: int


class Entry(Value):
    """How the log tells of a history."""

    register_id: str
    event: HistoryArchived


class Histories:
    """One organisation's archive; DatabaseUnavailable as usual."""

    def __init__(self, pool: asyncpg.Pool, organisation: str) -> None:
        self._pool = pool
        self._organisation = organisation

    async def find_ended(self, most: int, wait: timedelta) -> bool:
        """Read the log on for cases that have ended, due after `wait`; whether there is more."""
        async with reached():
            return await self._pool.fetchval(_FIND_ENDED, self._organisation, most, wait)

    async def queue(self, runs: Sequence[tuple[str, str]]) -> None:
        """Note down closed runs, each a case and a run id, that are not archived."""
        streams, ids = [stream for stream, _ in runs], [run for _, run in runs]
        async with reached():
            await self._pool.execute(_QUEUE_RUNS, self._organisation, streams, ids)

    async def swept_until(self) -> datetime | None:
        """Up to when Temporal's list of closed runs was read; None: never."""
        async with reached():
            return await self._pool.fetchval(_SWEPT_UNTIL, self._organisation)

    async def swept(self, until: datetime) -> None:
        """Temporal's list of closed runs was read up to then."""
        async with reached():
            await self._pool.execute(_SWEPT, self._organisation, until)

    async def due(self, most: int) -> list[Due]:
        """What is to be archived now, the longest due first."""
        async with reached():
            rows = await self._pool.fetch(_DUE, self._organisation, most)
        return [Due.model_validate(dict(row)) for row in rows]

    async def done(self, due: Due, version: int | None = None) -> None:
        """There is nothing left to do for it, up to that version of the case."""
        upto = due.version if version is None else max(version, due.version)
        async with reached():
            await self._pool.execute(_DONE, self._organisation, due.stream, due.run_id, upto)

    async def delay(self, due: Due, wait: timedelta) -> None:
        """Try it again later."""
        async with reached():
            await self._pool.execute(_DELAY, self._organisation, due.stream, due.run_id, wait)

    async def has(self, stream: str, run_id: str) -> bool:
        """Whether the run's history is kept."""
        async with reached():
            return await self._pool.fetchval(_HAS, self._organisation, stream, run_id)

    async def known(self, stream: str) -> int:
        """The version of the case up to which histories are kept, at least."""
        async with reached():
            return await self._pool.fetchval(_KNOWN, self._organisation, stream)

    async def entries(self, command_ids: Sequence[str]) -> list[Entry]:
        """What the log tells under these command ids, in its order."""
        async with reached():
            rows = await self._pool.fetch(_ENTERED, self._organisation, list(command_ids))
        return [
            Entry(register_id=row["stream"], event=HistoryArchived.model_validate_json(row["body"]))
            for row in rows
        ]

    async def keep(
        self, entry: Entry, content: bytes, *, version: int, closed_at: datetime
    ) -> bool:
        """Keep a compressed history of which the log tells; whether it is the one that is kept."""
        e = entry.event
        async with reached():
            return await self._pool.fetchval(
                _KEEP,
                self._organisation,
                e.case,
                e.run,
                bytes.fromhex(e.sha256),
                content,
                e.events,
                e.build_id,
                e.sdk,
                e.lock,
                e.original,
                entry.register_id,
                version,
                closed_at,
            )
