"""The verifiable export: events and commands to the letter (see audit/check_export.py)."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from json import encoder
from typing import IO, NamedTuple

from activities.canonical import json_time, leaf_hash
from activities.database import Connection
from audit.check_export import FORMAT
from audit.export_rows import Selection, Taken, entries, recorded
from audit.log import copied
from audit.tree import Frontier

LEAVES_PER_LINE = 1_000
_LEAVES_AT_ONCE = 100_000

_text = encoder.encode_basestring
"""A JSON string; the rest of a line is put together here, because millions are."""
_LEAVES = f"""
    SELECT position, sha256('\\x00'::bytea || header) FROM events
    WHERE organisation = $1 AND position > $2 AND position <= $3
    ORDER BY position LIMIT {_LEAVES_AT_ONCE}
"""
_POLICIES = """
    SELECT p.hash, p.content FROM policies p
    WHERE p.hash IN (SELECT s.policy FROM streams s WHERE s.organisation = $1) ORDER BY p.hash
"""
_WITHOUT_EVENTS = """
    SELECT stream, decided_at, recorded_at, command FROM decisions
    WHERE organisation = $1 AND event_count = 0
        AND ($2::timestamptz IS NULL OR recorded_at >= $2)
        AND ($3::timestamptz IS NULL OR recorded_at < $3)
    ORDER BY recorded_at, stream, command_id
"""


class Note(NamedTuple):
    """A signed checkpoint."""

    text: str
    size: int


class Written(NamedTuple):
    """How many of each are in the file."""

    policies: int
    decisions: int
    without_events: int
    events: int
    leaves: int
    size: int
    """Leaves of the tree, with all of the file."""
    root: str
    signed: int
    """How many of them the newest checkpoint in it covers."""


async def write(
    connection: Connection,
    selection: Selection,
    out: IO[bytes],
    *,
    origin: str,
    notes: Sequence[Note] = (),
    done: Callable[[int], None] = lambda count: None,
) -> Written:
    """Write a whole export; `notes` are signed checkpoints of this log, `done` hears of events.

    Bytes that are no UTF-8, which nothing could have appended, come out as U+FFFD: they don't match
    their hash, as they should not. The same moment of the log gives the same bytes.
    """
    organisation, first, last, head, since, before = selection
    # A checkpoint of more than there is goes into the file, too: it tells what is missing.
    covered = [note.size for note in notes if note.size <= head]
    size = max([last, *covered])
    tree = Frontier()
    policies = decisions = without_events = leaves = events = 0
    out.write(
        f'{{"type":"export","format":{_text(FORMAT)},"organisation":{_text(organisation)},'
        f'"origin":{_text(origin)},"first":{first},"last":{last},"size":{size},'
        f'"from":{_time(since)},"to":{_time(before)},'
        f'"checkpoints":[{",".join(_text(note.text) for note in notes)}]}}\n'.encode()
    )
    for hash, content in await connection.fetch(_POLICIES, organisation):
        policies += 1
        text = f'{{"type":"policy","hash":"{hash.hex()}","content":{_told(content)}}}\n'
        out.write(text.encode())
    leaves += await _write_leaves(connection, organisation, 0, first - 1, out, tree)
    async with aclosing(entries(connection, selection)) as chunks:
        async for chunk in chunks:
            lines: list[str] = []
            for entry in chunk:
                if entry.decision is not None:
                    decisions += 1
                    lines.append(_decision(entry.stream, entry.decision))
                lines.append(
                    f'{{"type":"event","position":{entry.position},'
                    f'"recorded_at":"{entry.recorded_at}",'
                    f'"header":{_told(entry.header)},"body":{_told(entry.body)}}}\n'
                )
            tree.extend(leaf_hash(entry.header) for entry in chunk)
            events += len(chunk)
            out.write("".join(lines).encode())
            done(events)
    leaves += await _write_leaves(connection, organisation, last, size, out, tree)
    async with aclosing(_without_events(connection, selection)) as told:
        async for line in told:
            decisions += 1
            without_events += 1
            out.write(line)
    root = tree.root().hex()
    out.write(
        f'{{"type":"end","policies":{policies},"decisions":{decisions},"events":{events},'
        f'"leaves":{leaves},"root":"{root}"}}\n'.encode()
    )
    signed = max([0, *covered])
    return Written(policies, decisions, without_events, events, leaves, size, root, signed)


def _decision(stream: str, taken: Taken) -> str:
    return (
        f'{{"type":"decision","stream":{_text(stream)},"decided_at":"{taken.decided_at}",'
        f'"recorded_at":"{taken.recorded_at}","events":{taken.event_count},'
        f'"command":{_told(taken.command)}}}\n'
    )


async def _write_leaves(
    connection: Connection,
    organisation: str,
    after: int,
    until: int,
    out: IO[bytes],
    tree: Frontier,
) -> int:
    """The leaf hashes of positions after one, up to another; returns how many there were."""
    total = 0
    line: list[str] = []
    begin = after + 1

    def end_line() -> None:
        if line:
            hashes = ",".join(f'"{hash}"' for hash in line)
            out.write(f'{{"type":"leaves","position":{begin},"hashes":[{hashes}]}}\n'.encode())
            line.clear()

    while after < until:
        count = 0
        async with aclosing(copied(connection, _LEAVES, organisation, after, until)) as chunks:
            async for chunk in chunks:
                for raw, leaf in chunk:
                    position = int.from_bytes(raw or b"", signed=True)
                    if position != begin + len(line) or len(line) == LEAVES_PER_LINE:
                        end_line()
                        begin = position
                    line.append((leaf or b"").hex())
                    tree.push(leaf or b"")
                    after = position
                count += len(chunk)
        total += count
        if count < _LEAVES_AT_ONCE:
            break
    end_line()
    return total


async def _without_events(connection: Connection, selection: Selection) -> AsyncGenerator[bytes]:
    """Lines of decisions that caused nothing, of the same times."""
    begun = connection.cursor(
        _WITHOUT_EVENTS, selection.organisation, selection.since, selection.before, prefetch=1_000
    )
    async for stream, decided_at, recorded_at, command in begun:
        taken = Taken(command, 0, json_time(decided_at), recorded(recorded_at))
        yield _decision(stream, taken).encode()


def _told(content: bytes) -> str:
    return _text(content.decode("utf-8", "replace"))


def _time(at: datetime | None) -> str:
    return "null" if at is None else f'"{json_time(at)}"'
