"""A database superuser who alters a log: carelessly, or so that everything in it fits again."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any, cast
from uuid import UUID

import asyncpg

from activities.canonical import (
    SealedDecision,
    SealedEvent,
    canonical,
    event_id,
    header,
    json_time,
    leaf_hash,
)
from activities.event_log import EventLog
from audit import log
from audit.log import RawCase
from audit.tree import Frontier
from lifecycles.lifecycle import lifecycle_of
from lifecycles.policies import pinned
from schemas.envelope import Json
from tests.audit.logs import Life
from tests.lifecycles.repair_cases import MONDAY

TABLES = (
    *("events", "decisions", "streams", "policies", "heads", "cases", "outbox", "tree_tiles"),
    "checkpoints",
)
_RULES = """
    SELECT conrelid::regclass::text AS rel, conname FROM pg_constraint
    WHERE connamespace = 'standpipe'::regnamespace AND contype IN ('c', 'u', 'p', 'f')
        AND conrelid::regclass::text = ANY($1)
"""
_CASE = """
    INSERT INTO cases SELECT r.* FROM jsonb_populate_record(NULL::cases, $1::jsonb) r
"""


class Forger:
    """In a transaction that is rolled back; nothing stops them."""

    def __init__(self, connection: asyncpg.Connection, organisation: str, random: Random) -> None:
        self.connection = connection
        self.organisation = organisation
        self.random = random

    async def disarm(self, *, rules: bool = False) -> None:
        """Take off the triggers; with `rules`, also constraints and keys."""
        for table in TABLES:
            await self.connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        if rules:
            for rel, name in await self.connection.fetch(_RULES, list(TABLES)):
                await self.connection.execute(f"ALTER TABLE {rel} DROP CONSTRAINT {name} CASCADE")

    async def execute(self, query: str, *arguments: object) -> int:
        """Rows that a statement touched; `$1` is the organisation."""
        done = await self.connection.execute(query, self.organisation, *arguments)
        return int(done.rpartition(" ")[2])

    async def rows(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        return await self.connection.fetch(query, self.organisation, *arguments)

    async def one(self, query: str, *arguments: object) -> asyncpg.Record:
        """A row at random; AssertionError if there is none."""
        rows = await self.rows(query, *arguments)
        assert rows, query
        return self.random.choice(rows)

    async def size(self) -> int:
        return await log.head(self.connection, self.organisation)

    async def case(self, stream: str) -> RawCase:
        async for case in log.cases(self.connection, self.organisation, stream):
            return case
        raise AssertionError(f"no {stream}")

    async def refit(self, stream: str) -> None:
        """Make everything that is kept of a stream fit its bodies and commands again."""
        case = await self.case(stream)
        lifecycle = lifecycle_of(stream)
        assert case.policy is not None
        state = lifecycle.initial(stream, self.organisation, *pinned(case.policy))
        version = 0
        for decision in case.decisions:
            command: Json = json.loads(decision.command)
            hash = sha256(decision.command).digest()
            actor = command["actor"]
            caused = [lifecycle.event(json.loads(event.body)) for event in decision.events]
            state = lifecycle.fold(state, caused)
            for raw, event in zip(decision.events, caused, strict=True):
                version += 1
                body: Json = json.loads(raw.body)
                id = event_id(self.organisation, stream, version)
                sealed = SealedEvent(id, version, body["type"], 1, body["at"], raw.body)
                why = SealedDecision(
                    *(command["id"], decision.command, hash, json_time(decision.decided_at)),
                    *(version, (), ()),
                )
                await self.execute(
                    "UPDATE events SET version = $3, event_id = $4, type = $5, occurred_at = $6,"
                    " command_id = $7, header = $8"
                    " WHERE organisation = $1 AND position = $2",
                    *(raw.position, version, id, body["type"], event.at, command["id"]),
                    header(self.organisation, stream, why, sealed),
                )
                await self._tell(stream, raw.position, id, lifecycle.effects(state, event))
            await self.execute(
                "UPDATE decisions SET command_id = $4, command_hash = $5, actor = $6, role = $7,"
                " proof = $8, version = $9, event_count = $10, position = $11"
                " WHERE organisation = $1 AND stream = $2 AND command_id = $3",
                *(stream, decision.command_id, command["id"], hash, actor["subject"]),
                *(actor["role"], actor["proof"], version, len(caused)),
                decision.events[-1].position if caused else decision.position,
            )
        await self.execute(
            "UPDATE streams SET version = $3 WHERE organisation = $1 AND stream = $2",
            *(stream, version),
        )
        await self.execute("DELETE FROM cases WHERE organisation = $1 AND case_id = $2", stream)
        row = lifecycle.summary(state).model_dump(mode="json") | {
            "organisation": self.organisation,
            "case_id": stream,
            "version": version,
        }
        await self.connection.execute(_CASE, json.dumps(row))

    async def _tell(self, stream: str, position: int, id: object, messages: Any) -> None:
        await self.execute("DELETE FROM outbox WHERE organisation = $1 AND position = $2", position)
        for ordinal, message in enumerate(messages):
            await self.execute(
                "INSERT INTO outbox (organisation, position, ordinal, event_id, stream,"
                " recipient_kind, recipient, template, params)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb)",
                *(position, ordinal, id, stream, message.to, message.recipient),
                *(message.template, json.dumps(message.params)),
            )

    async def regrow(self) -> None:
        """Make tiles that fit the events again, and throw the signed checkpoints away."""
        await self.execute("DELETE FROM checkpoints WHERE organisation = $1")
        await self.execute("DELETE FROM tree_tiles WHERE organisation = $1")
        row = [
            leaf_hash(each["header"])
            for each in await self.rows(
                "SELECT header FROM events WHERE organisation = $1 ORDER BY position"
            )
        ]
        level = 0
        while len(row) >= 256:
            above: list[bytes] = []
            for number in range(len(row) // 256):
                part = row[number * 256 : number * 256 + 256]
                tile = Frontier()
                tile.extend(part)
                above.append(tile.root())
                await self.execute(
                    "INSERT INTO tree_tiles VALUES ($1, $2, $3, $4, $5)",
                    *(level, number, tile.root(), b"".join(part)),
                )
            row, level = above, level + 1

    async def remove(self, positions: list[int], *, close: bool) -> None:
        """Delete events; with `close`, those after them move up, and nobody sees a gap."""
        await self.execute(
            "DELETE FROM events WHERE organisation = $1 AND position = ANY($2)", positions
        )
        await self.execute(
            "DELETE FROM outbox WHERE organisation = $1 AND position = ANY($2)", positions
        )
        if close:
            for position in sorted(positions, reverse=True):
                await self.shift(position, -1)

    async def shift(self, after: int, by: int) -> None:
        """Move everything after a position."""
        for table in ("events", "outbox", "decisions"):
            # Around the others, whose places are still taken.
            for way in (10**9, by - 10**9):
                floor = after if way > 0 else after + 10**9
                await self.execute(
                    f"UPDATE {table} SET position = position + $3"
                    " WHERE organisation = $1 AND position > $2",
                    *(floor, way),
                )
        await self.execute("UPDATE heads SET position = position + $2 WHERE organisation = $1", by)

    async def cut(self, position: int) -> None:
        """The log as it was when it ended there, as an older backup has it."""
        await self.connection.execute("CREATE TEMPORARY TABLE old (at timestamptz) ON COMMIT DROP")
        await self.execute(
            "INSERT INTO old SELECT recorded_at FROM events"
            " WHERE organisation = $1 AND position = $2",
            position,
        )
        touched = await self.rows(
            "SELECT DISTINCT stream FROM decisions, old"
            " WHERE organisation = $1 AND recorded_at > old.at"
        )
        for table in ("events", "decisions"):
            await self.execute(
                f"DELETE FROM {table} USING old WHERE organisation = $1 AND recorded_at > old.at"
            )
        await self.execute("DELETE FROM outbox WHERE organisation = $1 AND position > $2", position)
        await self.execute("UPDATE heads SET position = $2 WHERE organisation = $1", position)
        await self.execute(
            "DELETE FROM checkpoints WHERE organisation = $1 AND size > $2", position
        )
        await self.execute(
            "DELETE FROM tree_tiles WHERE organisation = $1"
            " AND (number + 1) * (256::numeric ^ (level + 1)) > $2::bigint",
            position,
        )
        for (stream,) in touched:
            left = await self.rows(
                "SELECT 1 FROM decisions WHERE organisation = $1 AND stream = $2", stream
            )
            if left:
                await self.refit(stream)
            else:
                for table, name in (("streams", "stream"), ("cases", "case_id")):
                    await self.execute(
                        f"DELETE FROM {table} WHERE organisation = $1 AND {name} = $2", stream
                    )

    async def live_on(self, events: int) -> None:
        """Other cases, appended in the ordinary way until there are so many events."""
        writer = EventLog(cast("asyncpg.Pool", self.connection))
        number = 0
        while await self.size() < events:
            number += 1
            name = f"repair-forged-{self.random.randrange(10**9)}-{number}"
            life = Life(self.organisation, name, self.random)
            for _ in range(8):
                request = life.next()
                if request is None or await self.size() >= events:
                    break
                if (await writer.append_events(request)).status != "appended":
                    break

    def other(self, value: Any, column: str) -> Any:
        """Another value that a column can hold."""
        random = self.random
        if value is None:
            return MONDAY if column.endswith("_at") else "x"
        if isinstance(value, list):
            return [*cast("list[Any]", value), "p-99"]
        if isinstance(value, UUID):
            return UUID(int=value.int ^ 1)
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return value + random.choice((-1, 1, 7, 1000))
        if isinstance(value, datetime):
            return value + random.choice((-1, 1)) * random.choice(
                (timedelta(microseconds=1), timedelta(hours=1), timedelta(days=400))
            )
        if isinstance(value, bytes):
            return self._other_bytes(value)
        if isinstance(value, str):
            at = random.randrange(len(value) + 1)
            choices: list[Callable[[], str]] = [
                lambda: value[:at] + random.choice('x"\\ü') + value[at:],
                lambda: value[:at] or "x",
                lambda: f"{value}x",
            ]
            return _unlike(value, random.choice(choices)(), f"{value}y")
        raise TypeError(type(value).__name__)

    def _other_bytes(self, value: bytes) -> bytes:
        random = self.random
        at = random.randrange(len(value))
        flipped = bytes([value[at] ^ random.choice((1, 32, 128))])
        choices: list[Callable[[], bytes]] = [
            lambda: value[:at] + flipped + value[at + 1 :],
            lambda: value[:at],
            lambda: value + b" ",
            lambda: b"",
            lambda: b"\xff\xfe" + value,
            lambda: b"[" * 2000,
            lambda: b'{"type":"Nothing"}',
            lambda: b"null",
        ]
        return _unlike(value, random.choice(choices)(), value + b"x")

    def reworded(self, body: bytes) -> bytes | None:
        """The same event or command with one word in it changed, in its canonical form."""
        value: Json = json.loads(body)
        words = [
            (holder, name)
            for holder in _objects(value)
            for name, word in holder.items()
            if isinstance(word, str) and name not in ("type", "at", "id")
        ]
        if not words:
            return None
        holder, name = self.random.choice(words)
        holder[name] += "x"
        return canonical(value)


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, Mapping):
        found = [cast("dict[str, Any]", value)]
        return found + [o for each in cast("Json", value).values() for o in _objects(each)]
    if isinstance(value, list):
        return [o for each in cast("list[Any]", value) for o in _objects(each)]
    return []


def _unlike(value: Any, other: Any, otherwise: Any) -> Any:
    return other if other != value else otherwise
