"""OCEL 2.0 in JSON, for process mining that looks at cases, customers, crews and premises at once.

Events stream through; objects wait on disk, for there may be millions.
"""

import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, closing
from json import encoder
from typing import IO, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json

from activities.database import Connection
from audit.export_flat import Type, attributes
from audit.export_objects import Thing, case_of, relations
from audit.export_rows import CHUNK, Row, Selection, rows
from audit.log import copied
from lifecycles.casework import owner_of
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import lifecycle_of
from lifecycles.policies import pinned

_BODIES = f"""
    SELECT e.stream, e.version, e.position, e.body, s.policy
    FROM (
        SELECT * FROM events
        WHERE organisation = $1 AND position <= $2 AND (stream, version) > ($3, $4)
        ORDER BY stream, version LIMIT {CHUNK}
    ) e
    LEFT JOIN LATERAL (
        SELECT * FROM streams s WHERE s.organisation = $1 AND s.stream = e.stream OFFSET 0
    ) s ON true
    ORDER BY e.stream, e.version
"""
_POLICIES = """
    SELECT p.hash, p.content FROM policies p
    WHERE p.hash IN (SELECT s.policy FROM streams s WHERE s.organisation = $1)
"""
_OF_CASE: Mapping[str, Type] = {"stage": "string", "owner": "string"}
_text = encoder.encode_basestring
"""A JSON string; the rest of a line is put together here, because millions are."""

Types = dict[str, dict[str, Type]]


class Change(NamedTuple):
    """What became of an attribute of a case, and when."""

    name: str
    value: str
    at: str


class Counts(NamedTuple):
    """What is in the file beside the events."""

    objects: int
    unfolded: int
    """Cases without stage and owner, because their events make no sense: verify the log."""


async def write(
    connection: Connection,
    selection: Selection,
    out: IO[bytes],
    *,
    done: Callable[[int], None] = lambda count: None,
) -> Counts:
    """Write a whole export, its events by position. Raises LogDamaged.

    Values are texts, as the published schema wants them; their types are declared with the types of
    events and objects. A case's stage and owner are what its lifecycle makes of its events.
    """
    types: Types = {}
    events = objects = unfolded = 0
    with closing(_Things()) as things:
        out.write(b'{"events":[')
        async with aclosing(rows(connection, selection)) as chunks:
            async for chunk in chunks:
                lines = [_event(row, things, types) for row in chunk]
                out.write(((",\n" if events else "\n") + ",\n".join(lines)).encode())
                events += len(chunk)
                done(events)
        out.write(b'\n],\n"objects":[')
        async with aclosing(_cases(connection, selection, things)) as cases:
            async for stream, changes in cases:
                unfolded += changes is None
                _write_object(out, case_of(stream), changes or (), objects)
                objects += 1
        for thing in things.rest():
            _write_object(out, thing, (), objects)
            objects += 1
        known: Types = {
            name: dict(_OF_CASE) if name.startswith("case.") else {} for name in things.types()
        }
    out.write(f'\n],\n"objectTypes":{_types(known)},\n"eventTypes":{_types(types)}}}\n'.encode())
    return Counts(objects, unfolded)


class _Things:
    """The objects that events named, each once, in a file that is gone in the end."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE things (id TEXT PRIMARY KEY, type TEXT, told INTEGER)")
        self._db.execute("BEGIN")
        self._seen: set[str] = set()

    def add(self, thing: Thing) -> None:
        if thing.id in self._seen:
            return
        if len(self._seen) > 50_000:
            self._seen.clear()  # a few are looked up again: that is cheaper than to keep all
        self._seen.add(thing.id)
        self._db.execute("INSERT OR IGNORE INTO things VALUES (?, ?, 0)", thing)

    def take(self, id: str) -> bool:
        """Whether it is one of them; then it is not among the rest."""
        return self._db.execute("UPDATE things SET told = 1 WHERE id = ?", (id,)).rowcount > 0

    def rest(self) -> Iterator[Thing]:
        query = "SELECT id, type FROM things WHERE told = 0 ORDER BY id"
        return (Thing(id, type) for id, type in self._db.execute(query))

    def types(self) -> list[str]:
        return [type for (type,) in self._db.execute("SELECT DISTINCT type FROM things ORDER BY 1")]

    def close(self) -> None:
        self._db.close()


def _event(row: Row, things: _Things, types: Types) -> str:
    declared = types.setdefault(row.name, {})
    values: list[str] = []
    for name, type, value in attributes(row):
        if declared.setdefault(name, type) != type:
            declared[name] = "string"  # once a number, once a word: both are texts
        values.append(f'{{"name":"{name}","value":{_text(value)}}}')
    linked: list[str] = []
    for thing, qualifier in dict.fromkeys(relations(row)):
        things.add(thing)
        linked.append(f'{{"objectId":{_text(thing.id)},"qualifier":"{qualifier}"}}')
    return (
        f'{{"id":{_text(row.header["event_id"])},"type":{_text(row.name)},'
        f'"time":{_text(row.header["occurred_at"])},'
        f'"attributes":[{",".join(values)}],"relationships":[{",".join(linked)}]}}'
    )


def _write_object(
    out: IO[bytes], thing: Thing, changes: Iterator[Change] | tuple[Change, ...], before: int
) -> None:
    values = ",".join(
        f'{{"name":{_text(name)},"value":{_text(value)},"time":{_text(at)}}}'
        for name, value, at in changes
    )
    out.write(
        f"{',' if before else ''}\n"
        f'{{"id":{_text(thing.id)},"type":{_text(thing.type)},"attributes":[{values}]}}'.encode()
    )


def _types(types: Types) -> str:
    def declared(attributes: dict[str, Type]) -> str:
        return ",".join(
            f'{{"name":{_text(name)},"type":"{type}"}}' for name, type in attributes.items()
        )

    told = (
        f'{{"name":{_text(name)},"attributes":[{declared(types[name])}]}}' for name in sorted(types)
    )
    return "[\n" + ",\n".join(told) + "\n]"


async def _cases(
    connection: Connection, selection: Selection, things: _Things
) -> AsyncGenerator[tuple[str, tuple[Change, ...] | None]]:
    """Every case that is among the things, with what became of it; None where that is unclear."""
    policies = {
        hash: content.decode("utf-8", "replace")
        for hash, content in await connection.fetch(_POLICIES, selection.organisation)
    }
    life: _Life | None = None
    stream, version = "", 0
    while True:
        count = 0
        query = copied(connection, _BODIES, selection.organisation, selection.last, stream, version)
        async with aclosing(query) as chunks:
            async for chunk in chunks:
                count += len(chunk)
                for name, number, position, body, policy in chunk:
                    stream = (name or b"").decode("utf-8", "replace")
                    version = int.from_bytes(number or b"", signed=True)
                    if life is None or life.stream != stream:
                        if life is not None and life.wanted:
                            yield life.stream, life.changes(selection.first)
                        content = policies.get(policy or b"", "")
                        life = _Life(stream, selection.organisation, content, things.take(stream))
                    if life.wanted:
                        life.take(int.from_bytes(position or b"", signed=True), body or b"")
        if count < CHUNK:
            break
    if life is not None and life.wanted:
        yield life.stream, life.changes(selection.first)


class _Life:
    """One case as its events make it."""

    def __init__(self, stream: str, organisation: str, policy: str, wanted: bool) -> None:
        self.stream = stream
        self.wanted = wanted
        self._changes: list[tuple[int, Change]] | None = []
        self._now: dict[str, str] = {}
        if wanted:
            try:
                self._lifecycle = lifecycle_of(stream)
                self._state = self._lifecycle.initial(stream, organisation, *pinned(policy))
            except (Rejected, ValidationError):
                self._changes = None

    def take(self, position: int, body: bytes) -> None:
        if self._changes is None:
            return
        try:
            said = from_json(body)
            event = self._lifecycle.event(said)
        except ValueError:  # pydantic's is one
            self._changes = None
            return
        self._state = self._lifecycle.evolve(self._state, event)
        owner = owner_of(self._state)
        now = {"stage": str(self._state.stage)}
        if owner is not None:
            now["owner"] = f"{owner.kind}/{owner.id}"
        for name, value in now.items():
            if self._now.get(name) != value:
                self._changes.append((position, Change(name, value, said["at"])))
        self._now = now

    def changes(self, first: int) -> tuple[Change, ...] | None:
        """Those from a position on, after what held there already."""
        if self._changes is None:
            return None
        before = {change.name: change for position, change in self._changes if position < first}
        return (*before.values(), *(c for position, c in self._changes if position >= first))
