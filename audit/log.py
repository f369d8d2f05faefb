"""Reads the log in bulk as it is stored: binary COPY, decoded row by row, at constant memory.

It believes nothing: what the rows mean, and whether they fit each other, others find out.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from struct import Struct, error
from typing import Any, NamedTuple
from uuid import UUID

from activities.database import Connection

CHUNK = 5_000
"""Events at a time."""
CASES = 200
"""Cases at a time."""
STALL_SECONDS = 300.0
"""So long may the server keep silent, for example while it sorts; then reading fails."""
COPY_SECONDS = 24 * 3600.0
COPY_HEADER = 19
"""Bytes before the first row of a binary COPY: a mark, flags and the length of nothing."""
COPY_END = b"\xff\xff"
"""Behind the last row."""

Row = tuple[bytes | None, ...]
"""The columns as PostgreSQL sends them in binary; None for NULL."""


class LogDamaged(Exception):
    """A row holds what nobody could have appended; `standpipe audit verify` says everything."""


class RawEvent(NamedTuple):
    """An event's row. Positions and versions count from 1; times are UTC."""

    position: int
    stream: str
    version: int
    event_id: UUID
    type: str
    schema_version: int
    occurred_at: datetime
    recorded_at: datetime
    command_id: str
    header: bytes
    body: bytes


class RawDecision(NamedTuple):
    """A decision's row, with the events that name it, by version."""

    stream: str
    command_id: str
    command: bytes
    command_hash: bytes
    actor: str
    role: str
    proof: str
    decided_at: datetime
    recorded_at: datetime
    event_count: int
    version: int
    position: int
    events: tuple[RawEvent, ...] = ()


class RawCase(NamedTuple):
    """A stream with all its decisions, in the order in which they were taken."""

    stream: str
    kind: str
    version: int
    policy_hash: bytes
    policy: str | None
    """The canonical JSON kept under that hash; None if there is none, or no text."""
    decisions: tuple[RawDecision, ...]
    orphans: tuple[RawEvent, ...] = ()
    """Events that name none of the decisions: there are none in a log that is whole."""


_INT4, _INT8 = Struct(">i"), Struct(">q")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def _int4(raw: bytes) -> int:
    return _INT4.unpack(raw)[0]


def _int8(raw: bytes) -> int:
    return _INT8.unpack(raw)[0]


def _instant(raw: bytes) -> datetime:
    """PostgreSQL counts microseconds from 2000."""
    return _EPOCH + timedelta(microseconds=_INT8.unpack(raw)[0])


def _uuid(raw: bytes) -> UUID:
    return UUID(bytes=raw)


_Decoders = Sequence[Callable[[bytes], Any]]
_EVENT: _Decoders = (
    *(_int8, bytes.decode, _int4, _uuid, bytes.decode, _int4, _instant, _instant, bytes.decode),
    *(bytes, bytes),
)
_DECISION: _Decoders = (
    *(bytes.decode, bytes.decode, bytes, bytes, bytes.decode, bytes.decode, bytes.decode),
    *(_instant, _instant, _int4, _int4, _int8),
)
_STREAM: _Decoders = (bytes.decode, bytes.decode, _int4, bytes)

EVENT_COLUMNS = ", ".join(f"e.{name}" for name in RawEvent._fields)
DECISION_COLUMNS = ", ".join(f"d.{name}" for name in RawDecision._fields[:-1])
_EVENTS = f"""
    SELECT {EVENT_COLUMNS} FROM events e
    WHERE e.organisation = $1 AND e.position > $2 AND e.position <= $3
    ORDER BY e.position LIMIT {CHUNK}
"""
_EVENTS_OF = f"""
    SELECT {EVENT_COLUMNS} FROM events e
    WHERE e.organisation = $1 AND e.stream = ANY($2) ORDER BY e.stream, e.version
"""
_DECISIONS_OF = f"""
    SELECT {DECISION_COLUMNS} FROM decisions d
    WHERE d.organisation = $1 AND d.stream = ANY($2)
    ORDER BY d.stream, d.version, d.event_count = 0, d.decided_at, d.command_id
"""
_STREAMS = f"""
    SELECT stream, kind, version, policy FROM streams
    WHERE organisation = $1 AND stream > $2 ORDER BY stream LIMIT {CASES}
"""
_STREAM_ALONE = "SELECT stream, kind, version, policy FROM streams WHERE organisation = $1"
_POLICIES = "SELECT hash, content FROM policies WHERE hash = ANY($1)"
_CASE = """
    SELECT s.kind, s.version, s.policy, p.content FROM streams s
    LEFT JOIN policies p ON p.hash = s.policy
    WHERE s.organisation = $1 AND s.stream = $2
"""


async def head(connection: Connection, organisation: str) -> int:
    """The position at which the log says that it ends; 0 before the first append."""
    query = "SELECT position FROM heads WHERE organisation = $1"
    return await connection.fetchval(query, organisation) or 0


async def events(
    connection: Connection, organisation: str, after: int = 0, until: int | None = None
) -> AsyncGenerator[list[RawEvent]]:
    """The events after a position, up to another or the end, in lists, by position.

    Between two lists the connection is free. Raises LogDamaged.
    """
    last = 2**63 - 1 if until is None else until
    while True:
        rows = await _read(connection, _EVENTS, _EVENT, organisation, after, last)
        chunk = [RawEvent(*row) for row in rows]
        if chunk:
            yield chunk
            after = chunk[-1].position
        if len(chunk) < CHUNK:
            return


async def cases(
    connection: Connection,
    organisation: str,
    stream: str | None = None,
    *,
    damaged: Callable[[str], None] | None = None,
) -> AsyncGenerator[RawCase]:
    """Every case by its name, or the one; none if the log has no such stream.

    Between two cases the connection is free. Raises LogDamaged, unless somebody wants to hear of
    each row that is `damaged`: then it is left out.
    """
    after, policies = "", dict[bytes, str | None]()
    while True:
        if stream is None:
            found = await _read(connection, _STREAMS, _STREAM, organisation, after, damaged=damaged)
        else:
            query = f"{_STREAM_ALONE} AND stream = $2"
            found = await _read(connection, query, _STREAM, organisation, stream, damaged=damaged)
        names = [row[0] for row in found]
        if names:
            pinned = await _missing(connection, policies, {row[3] for row in found})
            policies |= pinned
            told = await _told(connection, organisation, names, damaged)
            for name, kind, version, hash in found:
                decisions, orphans = told[name]
                yield RawCase(name, kind, version, hash, policies[hash], decisions, orphans)
            after = names[-1]
        if stream is not None or len(found) < CASES:
            return


async def case(connection: Connection, organisation: str, stream: str) -> RawCase | None:
    """One case, sooner than by `cases`: for whoever asks for one after the other."""
    found = await connection.fetchrow(_CASE, organisation, stream)
    if found is None:
        return None
    caused = defaultdict[str, list[RawEvent]](list)
    for row in await connection.fetch(_EVENTS_OF, organisation, [stream]):
        event = RawEvent(*row)
        caused[event.command_id].append(event)
    rows = await connection.fetch(_DECISIONS_OF, organisation, [stream])
    decisions = tuple(RawDecision(*row, events=tuple(caused.pop(row[1], ()))) for row in rows)
    orphans = tuple(event for events in caused.values() for event in events)
    policy = None if found["content"] is None else _text(found["content"])
    return RawCase(
        stream, found["kind"], found["version"], found["policy"], policy, decisions, orphans
    )


async def _missing(
    connection: Connection, known: dict[bytes, str | None], wanted: set[bytes]
) -> dict[bytes, str | None]:
    """The policies that are wanted and not known yet."""
    hashes = list(wanted - known.keys())
    rows = await connection.fetch(_POLICIES, hashes) if hashes else []
    contents = {row["hash"]: _text(row["content"]) for row in rows}
    return {hash: contents.get(hash) for hash in hashes}


def _text(content: bytes | None) -> str | None:
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return None


async def _told(
    connection: Connection,
    organisation: str,
    streams: list[str],
    damaged: Callable[[str], None] | None,
) -> dict[str, tuple[tuple[RawDecision, ...], tuple[RawEvent, ...]]]:
    """Decisions and orphaned events of some streams."""
    caused = defaultdict[tuple[str, str], list[RawEvent]](list)
    for row in await _read(connection, _EVENTS_OF, _EVENT, organisation, streams, damaged=damaged):
        event = RawEvent(*row)
        caused[event.stream, event.command_id].append(event)
    decided = defaultdict[str, list[RawDecision]](list)
    for row in await _read(
        connection, _DECISIONS_OF, _DECISION, organisation, streams, damaged=damaged
    ):
        name, command = row[0], row[1]
        events = caused.pop((name, command), ())
        decided[name].append(RawDecision(*row, events=tuple(events)))
    orphans = defaultdict[str, list[RawEvent]](list)
    for (name, _), events in caused.items():
        orphans[name] += events
    return {name: (tuple(decided[name]), tuple(orphans[name])) for name in streams}


async def _read(
    connection: Connection,
    query: str,
    decoders: _Decoders,
    *arguments: object,
    damaged: Callable[[str], None] | None = None,
) -> list[tuple[Any, ...]]:
    decoded: list[tuple[Any, ...]] = []
    async with aclosing(copied(connection, query, *arguments)) as chunks:
        async for chunk in chunks:
            for row in chunk:
                try:
                    decoded.append(tuple(map(_decode, decoders, row)))
                except (ValueError, OverflowError, error):
                    if damaged is None:
                        raise LogDamaged(
                            "A row of the log holds what nobody could have appended."
                            " `standpipe audit verify` says where."
                        ) from None
                    damaged(" ".join(map(_named, decoders[:2], row[:2])))
    return decoded


def _decode(decoder: Callable[[bytes], Any], raw: bytes | None) -> Any:
    if raw is None:
        raise ValueError("NULL")
    return decoder(raw)


def _named(decoder: Callable[[bytes], Any], raw: bytes | None) -> str:
    """Whatever stands first in a row, by which it is found."""
    try:
        return str(_decode(decoder, raw))
    except (ValueError, OverflowError, error):
        return "?"


async def copied(
    connection: Connection, query: str, *arguments: object
) -> AsyncGenerator[list[Row]]:
    """A query's rows in binary, in lists, as they come.

    Whoever closes the generator before its end must terminate the connection, which is all that
    breaks off a COPY. TimeoutError if nothing comes for five minutes.
    """
    rest, begin = b"", COPY_HEADER
    async with aclosing(copied_bytes(connection, query, *arguments)) as chunks:
        async for chunk in chunks:
            rest += chunk
            if len(rest) < begin:
                continue
            rows, end = _rows(rest, begin)
            rest, begin = rest[end:], 0
            if rows:
                yield rows


async def copied_bytes(
    connection: Connection, query: str, *arguments: object
) -> AsyncGenerator[bytes]:
    """The same as PostgreSQL sends it: a header, rows cut anywhere, and the end."""
    # Bounded: a slow reader slows PostgreSQL down instead of filling the memory.
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=16)

    async def copy() -> None:
        try:
            await connection.copy_from_query(
                query, *arguments, output=chunks.put, timeout=COPY_SECONDS, format="binary"
            )
        except BaseException:
            while not chunks.empty():
                chunks.get_nowait()
            chunks.put_nowait(None)
            raise
        await chunks.put(None)

    copying = asyncio.create_task(copy())
    try:
        while True:
            async with asyncio.timeout(STALL_SECONDS):
                chunk = await chunks.get()
            if chunk is None:
                break
            yield chunk
        await copying
    finally:
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)


def _rows(data: bytes, begin: int) -> tuple[list[Row], int]:
    """The whole rows in it, and where they end."""
    rows: list[Row] = []
    size, at, unpack = len(data), begin, _INT4.unpack_from
    while at + 2 <= size:
        if data[at : at + 2] == COPY_END:
            return rows, size
        width = int.from_bytes(data[at : at + 2])
        row: list[bytes | None] = []
        place = at + 2
        for _ in range(width):
            if place + 4 > size:
                return rows, at
            (length,) = unpack(data, place)
            place += 4
            if length < 0:
                row.append(None)
                continue
            if place + length > size:
                return rows, at
            row.append(data[place : place + length])
            place += length
        rows.append(tuple(row))
        at = place
    return rows, at
