"""Reads events in bulk: COPY out of PostgreSQL and a light decoder, an event at a time."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from functools import lru_cache
from typing import Literal
from uuid import UUID

from activities.database import Connection
from schemas.base import Actor
from schemas.envelope import EventEnvelope

STALL_SECONDS = 300.0
"""So long may the server keep silent, for example while it sorts; then the scan fails."""

_COLUMNS = """
    SELECT e.position, e.stream, e.version, e.event_id, e.type, e.schema_version, e.occurred_at,
        d.decided_at, e.recorded_at, e.command_id, d.actor, d.role, d.proof,
        convert_from(e.body, 'UTF8')
    FROM events e
    JOIN decisions d USING (organisation, stream, command_id)
"""
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_escape = re.compile(r"\\(.)")

Order = Literal["position", "stream, version"]


async def scan(
    connection: Connection, where: str, *arguments: object, order: Order, limit: int | None
) -> AsyncGenerator[EventEnvelope]:
    """Events that meet an SQL condition on `e`, from one snapshot.

    Whoever closes the generator before its end must terminate the connection, which is all that
    breaks off a COPY. TimeoutError if nothing comes for five minutes.
    """
    order_by = ", ".join(f"e.{column}" for column in order.split(", "))
    query = f"{_COLUMNS} WHERE {where} ORDER BY {order_by}"
    if limit is not None:
        query += f" LIMIT {limit:d}"
    async with aclosing(_lines(connection, query, arguments)) as lines:
        async for line in lines:
            yield _event(line)


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
) -> AsyncGenerator[str]:
    # Bounded: a slow reader slows PostgreSQL down instead of filling the memory.
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=16)

    async def copy() -> None:
        try:
            await connection.copy_from_query(
                query, *arguments, output=chunks.put, timeout=24 * 3600
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
                yield line.decode()
        await copying
    finally:
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)


def _event(line: str) -> EventEnvelope:
    fields = line.split("\t")
    if "\\" in line:
        fields = [_escape.sub(lambda found: _ESCAPES[found[1]], field) for field in fields]
    # The append checked all of this; checking it again would take most of the time.
    return EventEnvelope.model_construct(
        position=int(fields[0]),
        stream=fields[1],
        version=int(fields[2]),
        event_id=UUID(fields[3]),
        type=fields[4],
        schema_version=int(fields[5]),
        occurred_at=_time(fields[6]),
        decided_at=_time(fields[7]),
        recorded_at=_time(fields[8]),
        command_id=fields[9],
        actor=_actor(fields[10], fields[11], fields[12]),
        body=json.loads(fields[13]),
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


@lru_cache(maxsize=4096)
def _actor(subject: str, role: str, proof: str) -> Actor:
    return Actor.model_validate({"subject": subject, "role": role, "proof": proof})
