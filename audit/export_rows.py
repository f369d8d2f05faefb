"""The log as exports read it: a range of positions, each event with the decision that caused it."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

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
# The command comes once, with the first of its events.
_ENTRIES = f"""
    SELECT e.position, e.stream, e.version, e.recorded_at, e.header, e.body, d.event_count,
        d.decided_at, CASE WHEN e.version = d.version - d.event_count + 1 THEN d.command END
    FROM events e
    LEFT JOIN decisions d USING (organisation, stream, command_id)
    WHERE e.organisation = $1 AND e.position >= $2 AND e.position <= $3 AND {{after}}
    ORDER BY {{order}} LIMIT {CHUNK}
"""
_BY_POSITION = _ENTRIES.format(after="e.position > $4", order="e.position")
_BY_CASE = _ENTRIES.format(
    after="(e.stream, e.version) > ($4, $5)", order="e.organisation, e.stream, e.version"
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


class Entry(NamedTuple):
    """An event as it is stored, believed in nothing."""

    position: int
    stream: str
    version: int
    recorded_at: str
    """UTC, always with six decimals: so texts sort as times do."""
    header: bytes
    body: bytes
    event_count: int | None
    """Of its decision; None where there is none."""
    decided_at: str | None
    """By the decision's row, as JSON has it."""
    command: bytes | None
    """With the decision's first event alone."""


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
    query = _BY_POSITION if order == "position" else _BY_CASE
    after: tuple[Any, ...] = (first - 1,) if order == "position" else ("", 0)
    while True:
        count = 0
        async with aclosing(copied(connection, query, organisation, first, last, *after)) as chunks:
            async for chunk in chunks:
                decoded = [_entry(row) for row in chunk]
                count += len(decoded)
                end = decoded[-1]
                after = (end.position,) if order == "position" else (end.stream, end.version)
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
                    header, body = json.loads(entry.header), json.loads(text)
                    if entry.command is not None:
                        command = json.loads(entry.command)
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
    position, stream, version, recorded_at, header, body, count, decided_at, command = row
    return Entry(
        int.from_bytes(position or b"", signed=True),
        (stream or b"").decode("utf-8", "replace"),
        int.from_bytes(version or b"", signed=True),
        _instant(recorded_at or b"").isoformat(timespec="microseconds").replace("+00:00", "Z"),
        header or b"",
        body or b"",
        None if count is None else int.from_bytes(count, signed=True),
        None if decided_at is None else json_time(_instant(decided_at)),
        command,
    )


def _instant(raw: bytes) -> datetime:
    """PostgreSQL counts microseconds from 2000."""
    try:
        return _EPOCH + timedelta(microseconds=int.from_bytes(raw, signed=True))
    except OverflowError:
        raise LogDamaged("A time in the log lies outside the calendar.") from None
