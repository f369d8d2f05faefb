"""The business truth: appends to the log, one call and one transaction each."""

import json
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256

import asyncpg
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.canonical import SealedDecision, header, leaf_hash, seal
from activities.database import Connection, reached
from activities.log_reader import LogReader
from activities.proofs import Proofs
from activities.signing_keys import SigningKeys
from schemas.envelope import (
    AppendRequest,
    AppendResult,
    Json,
    Recorded,
    Refusal,
)

_APPEND = f"SELECT * FROM append_events({', '.join(f'${n}' for n in range(1, 18))})"
_REFUSE = "SELECT record_refusal($1, $2, $3, $4, $5, $6, $7)"

PAGE_BYTES = 500_000
"""Of one answer to a case that is behind: Temporal takes no result of 2 MB."""
DECISION_BYTES = 300


class LogBehindCase(Exception):
    """The log is shorter than the case knows it: the database came back from an older backup."""


class AppendInvalid(Exception):
    """The request contradicts itself, which is a fault in Standpipe; nothing was written."""


class EventLog(LogReader):
    """The log with its two ways in, which are Temporal activities.

    Both may be tried again and again: the same request is written once.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__(pool)
        self._proofs = Proofs(self, SigningKeys(pool))

    @activity.defn(name="append_events")
    async def append_events(self, request: AppendRequest) -> AppendResult:
        """Append decisions, or tell what the log holds instead (see AppendResult).

        A request without decisions writes nothing, so it always comes back `behind`: with the
        version, every event after `expected_version` and the decisions from there on, including
        those at exactly that version which caused no event. LogBehindCase if the log is shorter
        than `expected_version`.

        What rests on a signature, or on what is open on some premises, is decided again from the
        log first, and its checks are made; it comes back `unproven` where that fails. Only a case
        appends: as an activity of its own this is refused.
        """
        _only_of_a_case()
        if unproven := await self._proofs.unproven(request):
            return AppendResult(
                status="unproven", version=request.expected_version, unproven=unproven
            )
        sealed = seal(request)
        async with _writing():
            row = await write(self._pool, request, sealed)
        if row["outcome"] == "behind":
            held: list[Json] = json.loads(row["held"] or "[]")
            return _page(
                request.expected_version,
                row["log_version"],
                [Recorded.model_validate(decision) for decision in held],
                row["bodies"] or (),
                row["conflicts"] or (),
            )
        before = row["head"] - row["log_version"]
        return AppendResult(
            status="appended",
            version=row["log_version"],
            recorded=tuple(
                Recorded(
                    command_id=decision.command_id,
                    command_hash=decision.command_hash.hex(),
                    version=decision.version,
                    position=before + decision.version,
                    events=tuple(event.type for event in decision.events),
                    leaves=leaves(request, decision),
                )
                for decision in sealed
            ),
        )

    @activity.defn(name="record_refusal")
    async def record_refusal(self, refusal: Refusal) -> None:
        """Keep a refused signal. The same refusal again changes nothing."""
        _only_of_a_case()
        async with reached():
            await self._pool.execute(
                _REFUSE,
                refusal.organisation,
                refusal.stream,
                _storable(refusal.command_id),
                _storable(refusal.command_type),
                _storable(refusal.actor),
                refusal.refused_at,
                [_storable(reason, 2000) for reason in refusal.reasons],
            )


async def write(
    connection: asyncpg.Pool | Connection, request: AppendRequest, sealed: Sequence[SealedDecision]
) -> asyncpg.Record:
    """Call append_events of PostgreSQL (migrations/0004) with a request; what it answers."""
    events = [event for decision in sealed for event in decision.events]
    policy = None if request.policy is None else request.policy.encode()
    row = await connection.fetchrow(
        _APPEND,
        request.organisation,
        request.stream,
        request.expected_version,
        None if policy is None else sha256(policy).digest(),
        policy,
        [decision.command for decision in sealed],
        [decision.command_id for decision in sealed],
        [decision.command_hash for decision in sealed],
        [decision.decided_at for decision in sealed],
        [decision.version for decision in sealed],
        [event.event_id for event in events],
        [event.type for event in events],
        [event.schema_version for event in events],
        [event.occurred_at for event in events],
        [event.body for event in events],
        _messages(sealed),
        None if request.summary is None else request.summary.model_dump_json(),
    )
    assert row is not None
    return row


def leaves(request: AppendRequest, decision: SealedDecision) -> tuple[str, ...]:
    """The leaf hashes of a decision's events, from the bytes that were sealed here."""
    organisation, stream = request.organisation, request.stream
    return tuple(
        leaf_hash(header(organisation, stream, decision, event)).hex() for event in decision.events
    )


def _only_of_a_case() -> None:
    """Whoever reaches Temporal can have our workers run any activity, with any argument.

    So this is one that a case runs itself, and nobody else schedules.
    """
    if activity.in_activity() and not activity.info().is_local:
        raise ApplicationError(
            "This is a step of a case: send the case a command instead.",
            type="NotACase",
            non_retryable=True,
        )


@asynccontextmanager
async def _writing() -> AsyncGenerator[None]:
    """Names what append_events refuses."""
    try:
        async with reached():
            yield
    except asyncpg.PostgresError as error:
        match error.sqlstate:
            case "SP001":
                raise LogBehindCase(
                    f"{error}: restore the log first (standpipe audit restore-log)"
                ) from None
            case "SP002":
                raise AppendInvalid(str(error)) from None
            case _:
                raise


def _page(
    expected: int,
    log_version: int,
    held: Sequence[Recorded],
    bodies: Sequence[bytes],
    conflicts: Sequence[str],
) -> AppendResult:
    """As many whole decisions after `expected` as an answer may hold."""
    version, size = expected, 0
    for decision in held:
        if decision.version <= version:
            size += DECISION_BYTES
            continue
        news = bodies[version - expected : decision.version - expected]
        size += DECISION_BYTES + sum(map(len, news))
        if size > PAGE_BYTES and version > expected:
            break
        version = decision.version
    return AppendResult(
        status="behind",
        version=version,
        more=version < log_version,
        recorded=tuple(decision for decision in held if decision.version <= version),
        events=tuple(json.loads(body) for body in bodies[: version - expected]),
        conflicts=tuple(conflicts),
    )


def _messages(sealed: Sequence[SealedDecision]) -> str | None:
    """Each message with its event's place in the append and its number at that event."""
    rows: list[Json] = []
    before = 0
    for decision in sealed:
        numbers: Counter[int] = Counter()
        for place, message in decision.messages:
            numbers[place] += 1
            rows.append(
                message.model_dump(mode="json")
                | {"event": before + place, "ordinal": numbers[place] - 1}
            )
        before += len(decision.events)
    return json.dumps(rows) if rows else None


def _storable(text: str, longest: int = 200) -> str:
    """A signal may hold anything: keep what PostgreSQL can, so that the refusal is on record."""
    text = text[:longest].replace("\x00", "\ufffd")
    return text.encode("utf-8", "replace").decode()
