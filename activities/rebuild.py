"""Rebuilds one organisation's read models from its log, compares them with the live ones, swaps."""

import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from activities.database import Connection, as_owner, reached
from activities.log_scan import by_stream
from schemas.base import Value
from schemas.envelope import CaseSummary, EventEnvelope, Json

Project = Callable[[list[EventEnvelope], Json], CaseSummary]
"""A case's summary from all its events and its policy. Pure."""

BATCH = 500
LOCK = 0x5265627569

_SECOND_SET = "CREATE TEMPORARY TABLE rebuilt (LIKE cases INCLUDING ALL)"
_WRITE = """
    INSERT INTO rebuilt
    SELECT r.* FROM unnest($1::jsonb[]) s, jsonb_populate_record(NULL::cases, s) r
"""
_POLICIES = """
    SELECT s.stream, encode(s.policy, 'hex') AS hash
    FROM streams s WHERE s.organisation = $1 AND s.stream = ANY($2)
"""
_POLICY = "SELECT convert_from(content, 'UTF8') FROM policies WHERE hash = decode($1, 'hex')"
_HEAD = "SELECT position FROM heads WHERE organisation = $1"
_COMPARE = """
    SELECT coalesce(c.case_id, r.case_id) AS case_id, to_jsonb(c) AS live, to_jsonb(r) AS rebuilt
    FROM (SELECT * FROM cases WHERE organisation = $1) c
    FULL JOIN rebuilt r USING (case_id)
    WHERE c IS DISTINCT FROM r
    ORDER BY 1
"""
_REMOVE = """
    DELETE FROM cases c
    WHERE c.organisation = $1
        AND NOT EXISTS (
            SELECT FROM rebuilt r WHERE r.case_id = c.case_id AND r IS NOT DISTINCT FROM c
        )
"""
_INSERT = """
    INSERT INTO cases SELECT * FROM rebuilt r
    WHERE NOT EXISTS (
        SELECT FROM cases c WHERE c.organisation = r.organisation AND c.case_id = r.case_id
    )
"""


class Difference(Value):
    """One column of one case that the log contradicts. None: there is no such case, or no value."""

    case_id: str
    column: str
    live: Any
    rebuilt: Any


class RebuildResult(Value):
    """What a rebuild found; the live read models agree with the log now."""

    events: int
    cases: int
    """As the log has them."""
    differences: tuple[Difference, ...]
    position: int
    """The log's head up to which all of it was compared."""


async def rebuild(
    admin_url: str, organisation: str, project: Project, report: Callable[[str], None]
) -> RebuildResult:
    """Fold the whole log into a second set of read models, and swap it in if the live one differs.

    Appends go on all the while; only the swap makes them wait. The comparison reads both sets as
    of one instant, so an append on its way is no difference.
    """
    async with reached(), as_owner(admin_url) as log, as_owner(admin_url) as work:
        await work.execute("SELECT pg_advisory_lock($1)", LOCK)
        await log.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        async with work.transaction(isolation="repeatable_read"):
            snapshot: str = await log.fetchval("SELECT pg_export_snapshot()")
            await work.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            position: int = await work.fetchval(_HEAD, organisation) or 0
            await work.execute(_SECOND_SET)
            second = _SecondSet(log, work, organisation, project)
            await second.fill("e.organisation = $1", report)
            rows = await work.fetch(_COMPARE, organisation)
        await log.execute("COMMIT")
        differences = [
            difference
            for row in rows
            for difference in _differences(row["case_id"], row["live"], row["rebuilt"])
        ]
        report(f"{second.events} events, {second.cases} cases, {len(rows)} of them differ")
        result = RebuildResult(
            events=second.events,
            cases=second.cases,
            differences=tuple(differences),
            position=position,
        )
        if rows:
            await _swap(second, work, organisation, position)
            report("the rebuilt read models are in place")
        return result


async def _swap(second: "_SecondSet", work: Connection, organisation: str, position: int) -> None:
    async with work.transaction():
        # Appends write `cases` before they lock the log's head. So those on their way finish, new
        # ones wait, and readers go on.
        await work.execute("LOCK TABLE cases IN EXCLUSIVE MODE")
        behind = "e.organisation = $1 AND e.position > $2"
        rows = await work.fetch(
            f"SELECT DISTINCT stream FROM events e WHERE {behind}", organisation, position
        )
        moved = [row["stream"] for row in rows]
        await work.execute("DELETE FROM rebuilt WHERE case_id = ANY($1)", moved)
        await second.fill("e.organisation = $1 AND e.stream = ANY($2)", lambda _: None, moved)
        await work.execute(_REMOVE, organisation)
        await work.execute(_INSERT)


class _SecondSet:
    """The rebuilt rows, in a temporary table of the `work` connection."""

    def __init__(
        self, log: Connection, work: Connection, organisation: str, project: Project
    ) -> None:
        self._log = log
        self._work = work
        self._organisation = organisation
        self._project = project
        self._policies: dict[str, Json] = {}
        self.events = 0
        self.cases = 0

    async def fill(self, where: str, report: Callable[[str], None], *arguments: object) -> None:
        """Fold the streams that the condition selects."""
        batch: list[list[EventEnvelope]] = []
        async with aclosing(by_stream(self._log, where, self._organisation, *arguments)) as streams:
            async for events in streams:
                batch.append(events)
                if len(batch) == BATCH:
                    await self._write(batch)
                    report(f"{self.events} events, {self.cases} cases")
                    batch = []
        await self._write(batch)

    async def _write(self, batch: list[list[EventEnvelope]]) -> None:
        policies = await self._policies_of([events[0].stream for events in batch])
        rows: list[str] = []
        for events in batch:
            last = events[-1]
            summary = self._project(events, policies[last.stream])
            row = summary.model_dump(mode="json") | {
                "organisation": self._organisation,
                "case_id": last.stream,
                "version": last.version,
            }
            rows.append(json.dumps(row))
            self.events += len(events)
        await self._work.execute(_WRITE, rows)
        self.cases += len(batch)

    async def _policies_of(self, streams: list[str]) -> dict[str, Json]:
        rows = await self._work.fetch(_POLICIES, self._organisation, streams)
        for hash in {row["hash"] for row in rows} - self._policies.keys():
            content = await self._work.fetchval(_POLICY, hash)
            self._policies[hash] = json.loads(content)
        return {row["stream"]: self._policies[row["hash"]] for row in rows}


def _differences(case_id: str, live: str | None, rebuilt: str | None) -> list[Difference]:
    if live is None or rebuilt is None:
        return [
            Difference(
                case_id=case_id,
                column="case_id",
                live=None if live is None else case_id,
                rebuilt=None if rebuilt is None else case_id,
            )
        ]
    before, after = json.loads(live), json.loads(rebuilt)
    return [
        Difference(case_id=case_id, column=column, live=before[column], rebuilt=after[column])
        for column in after
        if before[column] != after[column]
    ]
