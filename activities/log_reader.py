"""Reads the log and its read models; SELECT is all that it needs, so an auditor can use it."""

import json
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg

from activities.database import Connection, reached
from activities.log_scan import Order, by_stream, scan
from schemas.approvals import ApprovalState
from schemas.base import Role, Value
from schemas.envelope import EventEnvelope, Message, OpenCase, RecordedDecision
from schemas.premises import place_of
from schemas.read_models import (
    ApprovalRow,
    AssessmentRow,
    CaseFilter,
    CaseRow,
    OutboxRow,
    PartPaymentRow,
    RefusalRow,
    StopRow,
    WorkRow,
)
from schemas.satisfaction import ComplaintCounts, Tally

_CASE_JSON = ("commitments", "approvals", "answers", "stops", "part_payments", "assessment")
_APPROVAL_JSON = ("facts", "given", "delegations")

_POLICY = "SELECT convert_from(content, 'UTF8') FROM policies WHERE hash = decode($1, 'hex')"
_POLICY_OF = """
    SELECT convert_from(p.content, 'UTF8')
    FROM streams s JOIN policies p ON p.hash = s.policy
    WHERE s.organisation = $1 AND s.stream = $2
"""
_OPEN_ON = """
    SELECT case_id COLLATE "C" FROM cases
    WHERE organisation = $1 AND premises && $2::text[] AND kind IN ('repair', 'complaint')
        AND NOT final AND premises <> '{}' AND closed_at IS NULL
    ORDER BY 1
"""
_RECORDED = "SELECT stream FROM streams WHERE organisation = $1 AND stream = ANY($2)"
_HOLDS = """
    SELECT EXISTS (
        SELECT FROM decisions WHERE organisation = $1 AND stream = $2 AND command_id = ANY($3)
    )
"""
_LATE = """jsonb_path_exists(commitments, '$[*] ? (@.state == "broken" && @.ended_at == null)')"""
_DECISIONS = """
    SELECT d.command_id, encode(d.command_hash, 'hex') AS command_hash, d.version, d.position,
        d.decided_at, convert_from(d.command, 'UTF8') AS command,
        ARRAY(
            SELECT convert_from(e.body, 'UTF8') FROM events e
            WHERE e.organisation = d.organisation AND e.stream = d.stream
                AND e.version > d.version - d.event_count AND e.version <= d.version
            ORDER BY e.version
        ) AS bodies
    FROM decisions d
    WHERE d.organisation = $1 AND d.stream = $2
    ORDER BY d.version, d.event_count = 0, d.decided_at, d.command_id
"""
_OPEN_CASES = """
    SELECT c.case_id, encode(s.policy, 'hex') AS policy
    FROM cases c
    JOIN streams s ON s.organisation = c.organisation AND s.stream = c.case_id
    WHERE c.organisation = $1 AND NOT c.final
    ORDER BY c.case_id
"""
# `asks` is what the index knows; the rest is looked at in the cases that it finds.
_APPROVALS = """
    SELECT {columns} FROM approvals
    WHERE organisation = $1 AND ($2::text IS NULL OR $2 = ANY(roles))
        AND {wanted} AND ($7::text[] IS NULL OR case_kind = ANY($7))
        AND ($3::timestamptz IS NULL OR (due, case_id, id) > ($3, $4, $5))
    ORDER BY due, case_id, id
    LIMIT $6
"""
_STOPS = """
    SELECT {columns} FROM stop_register
    WHERE organisation = $1 AND ($2::text IS NULL OR case_id = $2)
        AND (restored_at IS NULL OR NOT $3)
        AND ($4::timestamptz IS NULL OR (since, case_id, number) > ($4, $5, $6))
    ORDER BY since, case_id, number
    LIMIT $7
"""
_PART_PAYMENTS = """
    SELECT {columns} FROM part_payments
    WHERE organisation = $1 AND ($2::text IS NULL OR case_id = $2)
        AND ($3::timestamptz IS NULL OR (paid_at, case_id, number) > ($3, $4, $5))
    ORDER BY paid_at, case_id, number
    LIMIT $6
"""
_ASSESSMENTS = """
    SELECT {columns} FROM assessments
    WHERE organisation = $1 AND ($2::text IS NULL OR half_year = $2)
        AND ($3::text IS NULL OR (half_year, case_id) > ($3, $4))
    ORDER BY half_year, case_id
    LIMIT $5
"""
# Of every arrears case the few events that open and end it; the rest only of those that were open
# then by what was told until $4.
_ARREARS_THEN = """
    e.organisation = $1 AND e.type = ANY($2) AND d.decided_at < $4
    AND e.stream IN (
        SELECT o.stream FROM events o
        WHERE o.organisation = $1 AND o.type = 'ArrearsOpened' AND o.occurred_at < $3
            AND NOT EXISTS (
                SELECT FROM events x JOIN decisions y USING (organisation, stream, command_id)
                WHERE x.organisation = $1 AND x.stream = o.stream AND x.occurred_at < $3
                    AND x.type IN (
                        'ArrearsClosed', 'MovedOut', 'DebtWrittenOff', 'ArrearsWithdrawn'
                    )
                    AND y.decided_at < $4
            )
    )
"""
_SATISFACTION = """
    SELECT department, count(*) AS asked,
        count(*) FILTER (WHERE result IN ('satisfied', 'not_satisfied')) AS answered,
        count(*) FILTER (WHERE result = 'satisfied') AS satisfied
    FROM satisfaction_answers
    WHERE organisation = $1 AND last_at >= $2 AND at >= $2 AND at < $3
    GROUP BY department
    ORDER BY department COLLATE "C"
"""
# Every complaint of before, for one may be open; of those concerned then the rest is looked at.
_COMPLAINTS = """
    WITH told AS (
        SELECT stream, version, type, occurred_at >= $2 AS lately
        FROM events
        WHERE organisation = $1 AND occurred_at < $3 AND type IN (
            'ComplaintRegistered', 'ComplaintAnswered', 'RedoOrdered', 'ComplaintAppealed',
            'AppealDecided', 'ComplaintReferred', 'ComplaintWithdrawn', 'MergedAsRepeat',
            'ReferredExternal'
        )
    ), concerned AS (
        SELECT stream,
            bool_or(lately AND type = 'ComplaintRegistered') AS registered,
            min(version) FILTER (WHERE type = 'ComplaintAnswered') AS answer,
            (array_agg(lately ORDER BY version) FILTER (WHERE type = 'ComplaintAnswered'))[1]
                AS answered,
            (array_agg(type ORDER BY version DESC))[1]
                IN ('ComplaintRegistered', 'RedoOrdered', 'ComplaintAppealed') AS open,
            count(*) FILTER (WHERE lately AND type = 'ComplaintAppealed') AS appealed,
            bool_or(lately) AS lately
        FROM told
        GROUP BY stream
    ), found AS (
        SELECT c.*, e.*
        FROM concerned c
        CROSS JOIN LATERAL (
            SELECT
                (array_agg(convert_from(body, 'UTF8')::jsonb ->> 'category' ORDER BY version DESC)
                    FILTER (WHERE type IN ('ComplaintRegistered', 'ComplaintScreened'))
                )[1] AS category,
                (array_agg(
                    CASE WHEN type <> 'ComplaintReturned'
                    THEN convert_from(body, 'UTF8')::jsonb ->> 'department' END
                    ORDER BY version DESC
                ) FILTER (
                    WHERE type IN ('ComplaintHandedOver', 'ComplaintReturned', 'ReturnArbitrated')
                ))[1] AS department,
                (array_agg(convert_from(body, 'UTF8')::jsonb ->> 'outcome' ORDER BY version DESC)
                    FILTER (WHERE type = 'ComplaintAnswered')
                )[1] AS outcome,
                coalesce(bool_or(
                    type = 'CommitmentMetLate' AND command_id = (
                        SELECT a.command_id FROM events a
                        WHERE a.organisation = $1 AND a.stream = c.stream AND a.version = c.answer
                    )
                ), false) AS late,
                count(*) FILTER (
                    WHERE type = 'AppealDecided' AND occurred_at >= $2
                        AND convert_from(body, 'UTF8')::jsonb ->> 'decision' = 'overturned'
                ) AS overturned
            FROM events
            WHERE organisation = $1 AND stream = c.stream AND occurred_at < $3
        ) e
        WHERE c.lately OR c.open
    )
    SELECT category, department,
        count(*) FILTER (WHERE registered) AS registered,
        count(*) FILTER (WHERE answered AND NOT late) AS in_time,
        count(*) FILTER (WHERE answered AND late) AS late,
        count(*) FILTER (WHERE open) AS open,
        count(*) FILTER (WHERE answered AND outcome = 'upheld') AS upheld,
        count(*) FILTER (WHERE answered AND outcome = 'partly_upheld') AS partly_upheld,
        count(*) FILTER (WHERE answered AND outcome = 'not_upheld') AS not_upheld,
        sum(appealed)::bigint AS appealed,
        sum(overturned)::bigint AS overturned
    FROM found
    GROUP BY category, department
    HAVING bool_or(registered OR answered OR open) OR sum(appealed) + sum(overturned) > 0
    ORDER BY category COLLATE "C", department COLLATE "C" NULLS FIRST
"""
_FOLLOW_UPS_DUE = """
    SELECT DISTINCT stream COLLATE "C" FROM events e
    WHERE organisation = $1 AND type IN ('CallbackDue', 'FollowUpDue')
        AND occurred_at >= $2 AND occurred_at < $3
        AND ($4::timestamptz IS NULL OR EXISTS (
            SELECT FROM decisions d
            WHERE d.organisation = e.organisation AND d.stream = e.stream
                AND d.command_id = e.command_id AND d.decided_at >= $4 AND d.decided_at < $5
        ))
    ORDER BY 1
"""
_HEAD = "SELECT position FROM heads WHERE organisation = $1"
_TAIL = """
    e.organisation = $1 AND e.position > $2
    AND ($3::bigint IS NULL OR e.position <= $3)
    AND ($4::text IS NULL OR e.stream = $4)
    AND ($5::text[] IS NULL OR split_part(e.stream, '-', 1) = ANY($5))
    AND ($6::text[] IS NULL OR split_part(e.stream, '-', 1) || '.' || e.type = ANY($6))
"""
_OUTBOX = """
    SELECT o.id, o.position, o.ordinal, o.stream, e.recorded_at,
        coalesce(d.state, o.state) AS state, d.status, o.recipient_kind, o.recipient, o.template,
        o.params
    FROM outbox o
    JOIN events e USING (organisation, position)
    LEFT JOIN deliveries d ON d.organisation = o.organisation
        AND d.subscription = CASE o.recipient_kind
            WHEN 'party' THEN 'to-customers' ELSE 'to-staff'
        END
        AND d.position = o.position AND d.ordinal = o.ordinal
    WHERE o.organisation = $1 AND (o.position, o.ordinal) > ($2, $3)
        AND ($4::text IS NULL OR o.stream = $4)
    ORDER BY o.position, o.ordinal
    LIMIT $5
"""
_REFUSALS = """
    SELECT organisation, stream, command_id, command_type, actor, refused_at, reasons, number,
        recorded_at
    FROM refusals
    WHERE organisation = $1 AND number > $2 AND ($3::text IS NULL OR stream = $3)
    ORDER BY number
    LIMIT $4
"""


class LogReader:
    """The logs of every organisation in one database, through a pool from `open_pool`.

    Everything raises DatabaseUnavailable when PostgreSQL can't be reached.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def read_stream(self, organisation: str, stream: str) -> list[EventEnvelope]:
        """A case's events in order."""
        events = self._scan("e.organisation = $1 AND e.stream = $2", organisation, stream)
        return [event async for event in events]

    async def read_decisions(self, organisation: str, stream: str) -> list[RecordedDecision]:
        """A case's decisions in order, those without events too: all that deciding again takes."""
        async with reached():
            rows = await self._pool.fetch(_DECISIONS, organisation, stream)
        decisions: list[RecordedDecision] = []
        for row in rows:
            bodies = tuple(json.loads(body) for body in row["bodies"])
            fields = dict(row) | {
                "command": json.loads(row["command"]),
                "bodies": bodies,
                "events": tuple(body["type"] for body in bodies),
            }
            decisions.append(RecordedDecision.model_validate(fields))
        return decisions

    async def head(self, organisation: str) -> int:
        """The position of the log's last event; 0 of an empty one."""
        async with reached():
            return await self._pool.fetchval(_HEAD, organisation) or 0

    async def tail(
        self,
        organisation: str,
        after: int,
        limit: int,
        *,
        until: int | None = None,
        stream: str | None = None,
        kinds: Collection[str] | None = None,
        types: Collection[str] | None = None,
    ) -> list[EventEnvelope]:
        """Events after a position, in order. Reading on from the last one never misses any.

        With `until`, up to there; of one case, of some kinds of case, of some types such as
        repair.CrewArrived: what is left out does not matter.
        """
        events = self._scan(
            _TAIL,
            *(organisation, after, until, stream),
            *(None if names is None else list(names) for names in (kinds, types)),
            limit=limit,
        )
        return [event async for event in events]

    async def scan(self, organisation: str, after: int = 0) -> AsyncGenerator[EventEnvelope]:
        """The whole log after a position, in order, in bulk and from one snapshot."""
        events = self._scan("e.organisation = $1 AND e.position > $2", organisation, after)
        async with aclosing(events):
            async for event in events:
                yield event

    async def scan_streams(self, organisation: str) -> AsyncGenerator[list[EventEnvelope]]:
        """The whole log, a case at a time, in bulk and from one snapshot."""
        async with self._reading() as connection:
            streams = by_stream(connection, "e.organisation = $1", organisation)
            async with aclosing(streams):
                async for events in streams:
                    yield events

    async def policy(self, hash: str) -> str | None:
        """A policy's canonical JSON by its SHA-256 in hex; None if no case was opened under it."""
        async with reached():
            return await self._pool.fetchval(_POLICY, hash)

    async def policy_of(self, organisation: str, stream: str) -> str | None:
        """The policy that a case pinned, as canonical JSON; None if the log has no such case."""
        async with reached():
            return await self._pool.fetchval(_POLICY_OF, organisation, stream)

    async def open_cases(self, organisation: str) -> list[OpenCase]:
        """Every case that is not final, as the argument of the workflow that carries it on."""
        async with reached():
            rows = await self._pool.fetch(_OPEN_CASES, organisation)
        hashes = {row["policy"] for row in rows}
        policies = {hash: await self.policy(hash) or "" for hash in sorted(hashes)}
        return [
            OpenCase(
                organisation=organisation, case_id=row["case_id"], policy=policies[row["policy"]]
            )
            for row in rows
        ]

    async def list_cases(
        self,
        organisation: str,
        filters: CaseFilter | None = None,
        *,
        kinds: Collection[str] | None = None,
        late: bool = False,
        after: str = "",
        limit: int = 100,
    ) -> list[CaseRow]:
        """Cases by id, after a case id; of some kinds, or with a broken promise still owed."""
        wanted = {} if filters is None else filters.model_dump(exclude_none=True)
        query = (
            f"SELECT {_columns(CaseRow)} FROM cases WHERE organisation = $1 AND case_id > $2"
            f" AND ($4::text[] IS NULL OR kind = ANY($4)){f' AND {_LATE}' if late else ''}"
        )
        for number, column in enumerate(wanted, 5):
            query += f" AND {column} = ${number}"
        query += " ORDER BY case_id LIMIT $3"
        given = (None if kinds is None else list(kinds), *wanted.values())
        async with reached():
            rows = await self._pool.fetch(query, organisation, after, limit, *given)
        return [CaseRow.model_validate(_case(row)) for row in rows]

    async def case(self, organisation: str, case_id: str) -> CaseRow | None:
        """One case as the read model shows it."""
        query = f"SELECT {_columns(CaseRow)} FROM cases WHERE organisation = $1 AND case_id = $2"
        async with reached():
            row = await self._pool.fetchrow(query, organisation, case_id)
        return None if row is None else CaseRow.model_validate(_case(row))

    async def cases_of(self, organisation: str, case_ids: Collection[str]) -> list[CaseRow]:
        """Those of the named cases that the log has, as the read model shows them."""
        query = (
            f"SELECT {_columns(CaseRow)} FROM cases WHERE organisation = $1 AND case_id = ANY($2)"
        )
        async with reached():
            rows = await self._pool.fetch(query, organisation, list(case_ids))
        return [CaseRow.model_validate(_case(row)) for row in rows]

    async def recorded(self, organisation: str, case_ids: Collection[str]) -> set[str]:
        """Which of the named cases the log has."""
        async with reached():
            rows = await self._pool.fetch(_RECORDED, organisation, list(case_ids))
        return {row["stream"] for row in rows}

    async def holds(self, organisation: str, stream: str, command_id: str) -> bool:
        """Whether a case carried a command out."""
        async with reached():
            return await self._pool.fetchval(_HOLDS, organisation, stream, [command_id])

    async def any_held(self, organisation: str, stream: str, command_ids: Collection[str]) -> bool:
        """Whether a case carried any of the commands out."""
        async with reached():
            return await self._pool.fetchval(_HOLDS, organisation, stream, list(command_ids))

    async def open_on(self, organisation: str, premises: Collection[str]) -> list[str]:
        """Repairs and complaints that are open on any of the premises, sorted by case id.

        Those that took in a merged one are open where that one is, too. Capitals do not matter.
        """
        places = [place_of(p) for p in premises]
        async with reached():
            rows = await self._pool.fetch(_OPEN_ON, organisation, places)
        return [row["case_id"] for row in rows]

    async def worklist(
        self, organisation: str, *, kinds: Collection[str] | None = None, limit: int = 100
    ) -> list[WorkRow]:
        """Open cases in the order to work on them: special care first, then the longest owed."""
        query = (
            f"SELECT {_columns(WorkRow)} FROM worklist WHERE organisation = $1"
            " AND ($3::text[] IS NULL OR kind = ANY($3)) LIMIT $2"
        )
        async with reached():
            rows = await self._pool.fetch(
                query, organisation, limit, None if kinds is None else list(kinds)
            )
        return [WorkRow.model_validate(_case(row)) for row in rows]

    async def approvals(
        self,
        organisation: str,
        *,
        role: Role | None = None,
        state: ApprovalState | None = "requested",
        kinds: Collection[str] | None = None,
        after: tuple[datetime, str, str] | None = None,
        limit: int = 100,
    ) -> list[ApprovalRow]:
        """Approvals that a role may decide, the longest awaited first; `requested`: the inbox.

        None for the state: whatever became of them; `kinds`: of these kinds of case alone. `after`
        is the due time, case id and id of the last one known.
        """
        wanted = "asks AND state = 'requested'" if state == "requested" else "state = $8"
        query = _APPROVALS.format(
            columns=_columns(ApprovalRow), wanted="true" if state is None else wanted
        )
        given = () if state in (None, "requested") else (state,)
        async with reached():
            rows = await self._pool.fetch(
                query,
                organisation,
                role,
                *(after or (None, "", "")),
                limit,
                None if kinds is None else list(kinds),
                *given,
            )
        return [ApprovalRow.model_validate(_parsed(row, _APPROVAL_JSON)) for row in rows]

    async def stop_register(
        self,
        organisation: str,
        *,
        case_id: str | None = None,
        only_stopped: bool = False,
        after: tuple[datetime, str, int] | None = None,
        limit: int = 100,
    ) -> list[StopRow]:
        """Closed valves, the earliest first (WAT-C4c); `only_stopped`: those not restored yet.

        `after` is the instant, case id and number of the last one known.
        """
        place = after or (None, "", 0)
        query = _STOPS.format(columns=_columns(StopRow))
        async with reached():
            rows = await self._pool.fetch(query, organisation, case_id, only_stopped, *place, limit)
        return [StopRow.model_validate(dict(row)) for row in rows]

    async def part_payments(
        self,
        organisation: str,
        *,
        case_id: str | None = None,
        after: tuple[datetime, str, int] | None = None,
        limit: int = 100,
    ) -> list[PartPaymentRow]:
        """Payments that covered no whole bill, the earliest first (WAT-B9).

        `after` is the day of payment, case id and number of the last one known.
        """
        place = after or (None, "", 0)
        query = _PART_PAYMENTS.format(columns=_columns(PartPaymentRow))
        async with reached():
            rows = await self._pool.fetch(query, organisation, case_id, *place, limit)
        return [PartPaymentRow.model_validate(dict(row)) for row in rows]

    async def assessments(
        self,
        organisation: str,
        *,
        half_year: str | None = None,
        after: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> list[AssessmentRow]:
        """The readers' assessments by half-year and case id (WAT-P1); `after` is such a pair."""
        query = _ASSESSMENTS.format(columns=_columns(AssessmentRow))
        place = after or (None, "")
        async with reached():
            rows = await self._pool.fetch(query, organisation, half_year, *place, limit)
        return [AssessmentRow.model_validate(dict(row)) for row in rows]

    async def arrears_then(
        self, organisation: str, types: Collection[str], at: datetime, known_until: datetime
    ) -> AsyncGenerator[list[EventEnvelope]]:
        """Arrears cases that were open just before `at`, each with its events of these types.

        By what was told before `known_until`: later news are left out, of earlier times too. In
        bulk, a case at a time.
        """
        told = (organisation, list(types), at, known_until)
        async with self._reading() as connection:
            streams = by_stream(connection, _ARREARS_THEN, *told)
            async with aclosing(streams):
                async for events in streams:
                    yield events

    async def satisfaction(
        self, organisation: str, since: datetime, until: datetime
    ) -> list[Tally]:
        """What customers answered from `since` to before `until`, by department (CNPC-2.5)."""
        async with reached():
            rows = await self._pool.fetch(_SATISFACTION, organisation, since, until)
        return [Tally.model_validate(dict(row)) for row in rows]

    async def complaints(
        self, organisation: str, since: datetime, until: datetime
    ) -> list[ComplaintCounts]:
        """What became of complaints from `since` to before `until` (WIN-1.7).

        By category and department, as they stood at the end of that time.
        """
        async with reached():
            rows = await self._pool.fetch(_COMPLAINTS, organisation, since, until)
        return [ComplaintCounts.model_validate(dict(row)) for row in rows]

    async def follow_ups_due(
        self,
        organisation: str,
        since: datetime,
        until: datetime,
        *,
        told: tuple[datetime, datetime] | None = None,
    ) -> list[str]:
        """Cases whose follow-up became due from `since` to before `until`, sorted (KUN-5.3.6).

        With `told`, only where the case heard of it from its first to before its second instant.
        """
        async with reached():
            rows = await self._pool.fetch(
                _FOLLOW_UPS_DUE, organisation, since, until, *(told or (None, None))
            )
        return [row["stream"] for row in rows]

    async def outbox(
        self,
        organisation: str,
        *,
        stream: str | None = None,
        after: tuple[int, int] = (0, -1),
        limit: int = 100,
    ) -> list[OutboxRow]:
        """Messages in log order, after a position and ordinal."""
        async with reached():
            rows = await self._pool.fetch(_OUTBOX, organisation, *after, stream, limit)
        return [
            OutboxRow(
                id=row["id"],
                position=row["position"],
                ordinal=row["ordinal"],
                case_id=row["stream"],
                recorded_at=row["recorded_at"],
                state=row["state"],
                status=row["status"],
                message=Message(
                    to=row["recipient_kind"],
                    recipient=row["recipient"],
                    template=row["template"],
                    params=json.loads(row["params"]),
                ),
            )
            for row in rows
        ]

    async def refusals(
        self, organisation: str, *, stream: str | None = None, after: int = 0, limit: int = 100
    ) -> list[RefusalRow]:
        """Refused signals in the order in which they were kept, after a number."""
        async with reached():
            rows = await self._pool.fetch(_REFUSALS, organisation, after, stream, limit)
        return [RefusalRow.model_validate(dict(row)) for row in rows]

    async def _scan(
        self, where: str, *arguments: object, limit: int | None = None, order: Order = "position"
    ) -> AsyncGenerator[EventEnvelope]:
        async with self._reading() as connection:
            events = scan(connection, where, *arguments, order=order, limit=limit)
            async with aclosing(events):
                async for event in events:
                    yield event

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[Connection]:
        """A connection for a bulk read, which may take longer than the pool allows a statement."""
        async with reached(), self._pool.acquire() as connection:
            await connection.execute("SET statement_timeout = 0")
            try:
                yield connection
            except BaseException:
                connection.terminate()  # perhaps in the middle of a COPY
                raise
            await connection.execute("RESET statement_timeout")


def _columns(row: type[Value]) -> str:
    return ", ".join(row.model_fields)


def _case(row: asyncpg.Record) -> dict[str, Any]:
    return _parsed(row, _CASE_JSON)


def _parsed(row: asyncpg.Record, columns: Sequence[str]) -> dict[str, Any]:
    given = (column for column in columns if row[column] is not None)
    return dict(row) | {column: json.loads(row[column]) for column in given}
