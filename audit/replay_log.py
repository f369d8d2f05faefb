"""Replays a case's histories, or those of every case, and compares them with the log."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import NamedTuple

from temporalio.client import Client

from activities.database import Connection
from audit import log
from audit.agreement import CaseReplayed, agree
from audit.findings import Finding
from audit.histories import Histories, archived, case_runs, with_temporals
from audit.replay import Replayed, Replaying
from schemas.base import CaseId, Organisation

PAGE = 200
"""Cases at a time."""
AHEAD = 4
"""So many cases are fetched while another is replayed."""
PATIENCE = (0.5, 2.0, 5.0)
"""Seconds until a case is looked at again: an append may be under way."""

Report = Callable[[CaseReplayed], None]

_STREAMS = f"""
    SELECT stream FROM streams WHERE organisation = $1 AND stream > $2 ORDER BY stream LIMIT {PAGE}
"""


class Fetched(NamedTuple):
    """A case's histories, and how far the log was before they were fetched."""

    stream: CaseId
    head: int
    histories: Histories


class CaseReplayer:
    """One organisation's cases. `connection` sees the log as it goes on: no snapshot."""

    def __init__(
        self,
        connection: Connection,
        client: Client | None,
        organisation: Organisation,
        replaying: Replaying,
    ) -> None:
        self._connection = connection
        self._client = client
        self._organisation = organisation
        self._replaying = replaying
        self._turn = asyncio.Lock()
        """One query at a time on the connection."""

    async def replay(self, stream: CaseId) -> CaseReplayed:
        """A case; looked at again where an append may be under way."""
        done = await self._compare(await self._fetch(stream))
        for wait in PATIENCE:
            if not done.findings or all(run.closed for run in done.runs):
                break
            await asyncio.sleep(wait)
            done = await self._compare(await self._fetch(stream))
        return done

    async def replay_all(self) -> AsyncGenerator[CaseReplayed]:
        """Every case of the log, by name, and then those that Temporal alone knows."""
        fetched: asyncio.Queue[Fetched | None] = asyncio.Queue(AHEAD)

        async def fetch() -> None:
            async with aclosing(self._streams()) as streams:
                async for stream in streams:
                    await fetched.put(await self._fetch(stream))
            await fetched.put(None)

        fetching = asyncio.create_task(fetch())
        try:
            while (case := await self._next(fetched, fetching)) is not None:
                done = await self._compare(case)
                if done.findings:
                    done = await self.replay(case.stream)
                if done.runs or done.events:
                    yield done
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)

    async def _next(
        self, fetched: asyncio.Queue[Fetched | None], fetching: asyncio.Task[None]
    ) -> Fetched | None:
        getting = asyncio.create_task(fetched.get())
        await asyncio.wait([getting, fetching], return_when=asyncio.FIRST_COMPLETED)
        if fetching.done() and fetching.exception() is not None:
            getting.cancel()
            await fetching
        return await getting

    async def _streams(self) -> AsyncGenerator[CaseId]:
        after, known = "", set[str]()
        while True:
            async with self._turn:
                rows = await self._connection.fetch(_STREAMS, self._organisation, after)
            for row in rows:
                after = row["stream"]
                known.add(after)
                yield after
            if len(rows) < PAGE:
                break
        if self._client is not None:
            async with aclosing(case_runs(self._client, self._organisation)) as runs:
                async for stream, _ in runs:
                    if stream not in known:
                        known.add(stream)
                        yield stream

    async def _fetch(self, stream: CaseId) -> Fetched:
        async with self._turn:
            head = await log.head(self._connection, self._organisation)
            histories = await archived(self._connection, self._organisation, stream)
        if self._client is not None:
            histories = await with_temporals(self._client, stream, histories)
        return Fetched(stream, head, histories)

    async def _compare(self, fetched: Fetched) -> CaseReplayed:
        stream = fetched.stream
        # The histories are here already, so the log may be read while they are replayed.
        reading = asyncio.create_task(self._read(stream))
        try:
            runs = [
                (run, await self._replaying.replay(stream, run.history))
                for run in fetched.histories.runs
            ]
        except BaseException:
            reading.cancel()
            raise
        runs = [(run, replayed) for run, replayed in runs if self._is_ours(replayed)]
        case = await reading
        try:
            done = agree(self._organisation, stream, case, runs, known_until=fetched.head)
        except Exception as error:  # noqa: BLE001 - rows may hold anything; that is a finding, too
            what = f"Not compared: its rows make no sense ({type(error).__name__})."
            wrong = Finding(check="replay", what=what, stream=stream)
            done = CaseReplayed(case=stream, events=0, runs=(), findings=(wrong,), notes=())
        findings = (*fetched.histories.findings, *done.findings)
        return done.model_copy(update={"findings": findings})

    async def _read(self, stream: CaseId) -> log.RawCase | None:
        async with self._turn:
            return await log.case(self._connection, self._organisation, stream)

    def _is_ours(self, replayed: Replayed) -> bool:
        """Not a case of that name which another organisation has on the same server."""
        others = {a.request.organisation for a in replayed.attempts} - {self._organisation}
        return not others or len(others) < len({a.request.organisation for a in replayed.attempts})
