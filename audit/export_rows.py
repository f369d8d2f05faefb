"""The log as exports read it: a range of positions, each event with the decision that caused it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from pydantic_core import from_json

from activities.canonical import json_time, leaf_hash
from activities.database import Connection
from audit.log import LogDamaged, copied

CHUNK = 20_000
"""Events that are asked for at a time."""
_FIRST = """
    SELECT position, recorded_at FROM events
    WHERE organisation = $1 AND position >= $2 ORDER BY position LIMIT 1
"""
_LAST = """
    SELECT greatest(
        (SELECT position FROM heads WHERE organisation = $1),
        (SELECT max(position) FROM events WHERE organisation = $1)
    )
"""
# The command comes once, with the first of its events. First the events by an index, then for each
# its decision: joined in any other way, each chunk would sort the whole log.
_ENTRIES = f"""
    SELECT e.position, e.stream, e.version, e.recorded_at, e.header, e.body,
        CASE WHEN e.version = d.version - d.event_count + 1 THEN d.command END,
        d.event_count, d.decided_at, d.recorded_at
    FROM (
        SELECT * FROM events
        WHERE organisation = $1 AND position >= $2 AND position <= $3 AND {{after}}
        ORDER BY {{order}} LIMIT {CHUNK}
    ) e
    LEFT JOIN LATERAL (
        SELECT * FROM decisions d
        WHERE d.organisation = $1 AND d.stream = e.stream AND d.command_id = e.command_id OFFSET 0
    ) d ON true
    ORDER BY {{outer}}
"""
_BY_POSITION = _ENTRIES.format(after="position > $4", order="position", outer="e.position")
_BY_CASE = _ENTRIES.format(
    after="(stream, version) > ($4, $5)", order="stream, version", outer="e.stream, e.version"
)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

Order = Literal["position", "case"]


class Selection(NamedTuple):
    """What is exported: a range of positions, because `recorded_at` grows with the position."""

    organisation: str
    first: int
    last: int
    """`first - 1` where the range is empty."""
    head: int
    """Where the log ends."""
    since: datetime | None = None
    """Recorded at this instant or later."""
    before: datetime | None = None
    """Recorded before this one."""

    @property
    def total(self) -> int:
        return self.last - self.first + 1


class Taken(NamedTuple):
    """A decision as it is stored."""

    command: bytes
    event_count: int
    decided_at: str
    """As JSON has it."""
    recorded_at: str
    """As an event's."""


class Entry(NamedTuple):
    """An event as it is stored, believed in nothing."""

    position: int
    stream: str
    version: int
    recorded_at: str
    """UTC, always with six decimals."""
    header: bytes
    body: bytes
    decision: Taken | None
    """With the first of its events alone."""


class Row(NamedTuple):
    """An event and its decision, decoded."""

    position: int
    recorded_at: str
    header: dict[str, Any]
    """Event id, stream, version, type, times, command id: what the log commits to."""
    body: dict[str, Any]
    text: str
    """The body as it is stored."""
    leaf: bytes
    """Its leaf hash."""
    actor: dict[str, Any]
    command: str
    """Its type."""

    @property
    def kind(self) -> str:
        """Of the case."""
        return str(self.header["stream"]).partition("-")[0]

    @property
    def name(self) -> str:
        """Its type, with the kind of case that it happened to."""
        return f"{self.kind}.{self.header['type']}"


async def select(
    connection: Connection,
    organisation: str,
    since: datetime | None = None,
    before: datetime | None = None,
) -> Selection:
    """The positions recorded from one instant to before another."""
    head = await connection.fetchval(_LAST, organisation) or 0
    first = 1 if since is None else await _first_at(connection, organisation, since, head)
    end = head + 1 if before is None else await _first_at(connection, organisation, before, head)
    return Selection(organisation, first, max(first, end) - 1, head, since, before)


async def _first_at(connection: Connection, organisation: str, at: datetime, head: int) -> int:
    """The first position that was recorded at an instant or later, found by halving."""
    low, high = 1, head + 1
    while low < high:
        middle = (low + high) // 2
        found = await connection.fetchrow(_FIRST, organisation, middle)
        if found is None or found["recorded_at"] >= at:
            high = middle
        else:
            low = found["position"] + 1
    return low


async def entries(
    connection: Connection, selection: Selection, order: Order = "position"
) -> AsyncGenerator[list[Entry]]:
    """The selected events by position, or case by case, in lists; LogDamaged if a row is none.

    Whoever closes this before its end must terminate the connection (see `audit.log.copied`).
    """
    organisation, first, last, *_ = selection
    if order == "case":
        async with aclosing(_by_case(connection, organisation, first, last)) as cases:
            async for chunk in cases:
                yield chunk
        return
    while first <= last:
        until = min(last, first + CHUNK - 1)  # so that each chunk is a small part of the index
        async with aclosing(
            copied(connection, _BY_POSITION, organisation, first, until, first - 1)
        ) as chunks:
            async for chunk in chunks:
                yield [_entry(row) for row in chunk]
        # Over a gap, which is not this module's to find.
        following = await connection.fetchrow(_FIRST, organisation, until + 1)
        first = last + 1 if following is None else following["position"]


async def _by_case(
    connection: Connection, organisation: str, first: int, last: int
) -> AsyncGenerator[list[Entry]]:
    stream, version = "", 0
    while True:
        count = 0
        async with aclosing(
            copied(connection, _BY_CASE, organisation, first, last, stream, version)
        ) as chunks:
            async for chunk in chunks:
                decoded = [_entry(row) for row in chunk]
                count += len(decoded)
                stream, version = decoded[-1].stream, decoded[-1].version
                yield decoded
        if count < CHUNK:
            return


async def rows(
    connection: Connection, selection: Selection, order: Order = "position"
) -> AsyncGenerator[list[Row]]:
    """The same, decoded. LogDamaged where something is no JSON, or no decision caused it."""
    key: tuple[str, str] = ("", "")
    command: dict[str, Any] = {}
    async with aclosing(entries(connection, selection, order)) as chunks:
        async for chunk in chunks:
            decoded: list[Row] = []
            for entry in chunk:
                try:
                    text = entry.body.decode()
                    header, body = from_json(entry.header), from_json(text)
                    if entry.decision is not None:
                        command = from_json(entry.decision.command)
                        key = header["stream"], header["command_id"]
                    if key != (header["stream"], header["command_id"]):
                        raise KeyError
                    decoded.append(
                        Row(
                            entry.position,
                            entry.recorded_at,
                            header,
                            body,
                            text,
                            leaf_hash(entry.header),
                            command["actor"],
                            command["body"]["type"],
                        )
                    )
                except (ValueError, KeyError, TypeError):
                    raise LogDamaged(
                        f"Position {entry.position} holds what nobody could have appended: see"
                        " `standpipe audit verify`. As it is, only --format jsonl exports it."
                    ) from None
            yield decoded


def _entry(row: Sequence[bytes | None]) -> Entry:
    position, stream, version, recorded_at, header, body, *decision = row
    return Entry(
        int.from_bytes(position or b"", signed=True),
        (stream or b"").decode("utf-8", "replace"),
        int.from_bytes(version or b"", signed=True),
        _recorded(recorded_at or b""),
        header or b"",
        body or b"",
        None if decision[0] is None else _taken(*decision),
    )


def _taken(
    command: bytes | None, count: bytes | None, decided_at: bytes | None, recorded_at: bytes | None
) -> Taken:
    return Taken(
        command or b"",
        int.from_bytes(count or b"", signed=True),
        json_time(_instant(decided_at or b"")),
        _recorded(recorded_at or b""),
    )


@lru_cache(maxsize=4)
def _recorded(raw: bytes) -> str:
    """When something was recorded; of all that is appended at once it is the same."""
    return recorded(_instant(raw))


def recorded(at: datetime) -> str:
    """A time with six decimals, as exports write when something was recorded."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _instant(raw: bytes) -> datetime:
    """PostgreSQL counts microseconds from 2000."""
    try:
        return _EPOCH + timedelta(microseconds=int.from_bytes(raw, signed=True))
    except OverflowError:
        raise LogDamaged("A time in the log lies outside the calendar.") from None
