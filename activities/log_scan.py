"""Reads events in bulk: COPY out of PostgreSQL as JSON lines, an event at a time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

from activities.database import Connection
from schemas.envelope import EventEnvelope

STALL_SECONDS = 300.0
"""So long may the server keep silent, for example while it sorts; then the scan fails."""

_EVENTS = """
    SELECT row_to_json(r) FROM (
        SELECT e.position, e.stream, e.version, e.event_id, e.type, e.schema_version,
            e.occurred_at, d.decided_at, e.recorded_at, e.command_id,
            json_build_object('subject', d.actor, 'role', d.role, 'proof', d.proof) AS actor,
            convert_from(e.body, 'UTF8')::json AS body
        FROM events e
        JOIN decisions d USING (organisation, stream, command_id)
        WHERE {where}
        ORDER BY {order}
        LIMIT {limit}
    ) r
"""

Order = Literal["position", "stream, version"]


async def scan(
    connection: Connection, where: str, *arguments: object, order: Order, limit: int | None
) -> AsyncGenerator[EventEnvelope]:
    """Events that meet an SQL condition on `e`, from one snapshot.

    Whoever closes the generator before its end must terminate the connection, which is all that
    breaks off a COPY. TimeoutError if nothing comes for five minutes.
    """
    query = _EVENTS.format(
        where=where,
        order=", ".join(f"e.{column}" for column in order.split(", ")),
        limit="ALL" if limit is None else int(limit),
    )
    async with aclosing(_lines(connection, query, arguments)) as lines:
        async for line in lines:
            yield EventEnvelope.model_validate_json(line)


async def by_stream(
    connection: Connection, where: str, *arguments: object
) -> AsyncGenerator[list[EventEnvelope]]:
    """The same, a stream at a time, its events in order."""
    stream: list[EventEnvelope] = []
    events = scan(connection, where, *arguments, order="stream, version", limit=None)
    async with aclosing(events):
        async for event in events:
            if stream and stream[0].stream != event.stream:
                yield stream
                stream = []
            stream.append(event)
    if stream:
        yield stream


async def _lines(
    connection: Connection, query: str, arguments: tuple[object, ...]
) -> AsyncGenerator[bytes]:
    # Bounded: a slow reader slows PostgreSQL down instead of filling the memory.
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=16)

    async def copy() -> None:
        try:
            await connection.copy_from_query(
                query,
                *arguments,
                output=chunks.put,
                timeout=24 * 3600,
                # JSON holds no control characters, so nothing is ever quoted.
                format="csv",
                delimiter="\x02",
                quote="\x01",
            )
        except BaseException:
            while not chunks.empty():
                chunks.get_nowait()
            chunks.put_nowait(None)
            raise
        await chunks.put(None)

    copying = asyncio.create_task(copy())
    rest = b""
    try:
        while True:
            async with asyncio.timeout(STALL_SECONDS):
                chunk = await chunks.get()
            if chunk is None:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line
        await copying
    finally:
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)
