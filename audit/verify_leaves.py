"""The first pass of `audit verify`, at full speed: every byte that is hashed.

Event by event in the log's order: its body hashes to what its header says, and its header to its
leaf. That header and columns say the same is the second pass's business, which reads every case
with its decisions; their commands' hashes are checked here.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from struct import Struct

from activities.database import Connection
from audit.log import COPY_END, COPY_HEADER, COPY_SECONDS
from audit.verdict import KEPT, Findings, brief

Take = Callable[[Sequence[int], Sequence[bytes]], None]
"""What becomes of positions and leaf hashes that came together, in order of position."""

# The lengths of the long columns stand before them, so a row is taken apart by one unpacking; and
# nothing is NULL, whatever somebody wrote.
_EVENTS = """
    SELECT e.position, 1 + coalesce(octet_length(e.header), 0), coalesce(octet_length(e.body), 0),
        '\\x00'::bytea || coalesce(e.header, ''), coalesce(e.body, '')
    FROM events e
    WHERE e.organisation = $1 AND e.position BETWEEN $2 AND $3
    ORDER BY e.position
"""
_COMMANDS = """
    SELECT coalesce(octet_length(command_hash), 0), coalesce(octet_length(command), 0),
        coalesce(command_hash, ''), coalesce(command, '')
    FROM decisions WHERE organisation = $1
"""
_PLACES = """
    SELECT position, stream, version FROM events WHERE organisation = $1 AND position = ANY($2)
"""
_WRONG_COMMANDS = """
    SELECT stream, command_id, encode(command_hash, 'hex') AS said,
        encode(sha256(command), 'hex') AS found
    FROM decisions
    WHERE organisation = $1 AND command_hash IS DISTINCT FROM sha256(command)
    ORDER BY stream, command_id LIMIT $2
"""

# As COPY sends it: how many columns, then the length of each before it.
_EVENT = Struct(">hiqiiii")
_COMMAND = Struct(">hiiii")
_BEGIN = b'\x00{"body_hash":"'
_HASH = slice(15, 79)
"""Where the body's hash stands behind a leaf's zero byte and the header's beginning."""


async def read_events(
    connection: Connection,
    organisation: str,
    first: int,
    last: int,
    take: Take,
    findings: Findings,
) -> None:
    """Hand on the leaves of the events at these positions, and say whose body is another."""
    wrong: list[tuple[int, bytes, str]] = []
    count = 0

    def feed(data: bytes, at: int) -> int:
        nonlocal count
        positions: list[int] = []
        headers: list[bytes] = []
        bodies: list[bytes] = []
        unpack, fixed, size = _EVENT.unpack_from, _EVENT.size, len(data)
        while at + fixed <= size:
            _, _, position, _, header_size, _, body_size = unpack(data, at)
            header = at + fixed + 4
            body = header + header_size + 4
            end = body + body_size
            if end > size:
                break
            positions.append(position)
            headers.append(data[header : body - 4])
            bodies.append(data[body:end])
            at = end
        hashes = "".join([sha256(body).hexdigest() for body in bodies]).encode()
        if b"".join([header[_HASH] for header in headers]) != hashes:
            for place, header in enumerate(headers):
                hash = hashes[64 * place : 64 * place + 64]
                if not header.startswith(_BEGIN + hash):
                    count += 1
                    if len(wrong) < KEPT:
                        wrong.append((positions[place], header[_HASH], hash.decode()))
        take(positions, [sha256(header).digest() for header in headers])
        return at

    await _copy(connection, _EVENTS, (organisation, first, last), feed, _EVENT.size)
    rows = await connection.fetch(_PLACES, organisation, [w[0] for w in wrong]) if wrong else []
    places = {row["position"]: (row["stream"], row["version"]) for row in rows}
    for position, said, found in wrong:
        stream, version = places.get(position, (None, None))
        findings.add(
            "body",
            f"The body hashes to {found}; the header says {brief(said)}.",
            position=position,
            stream=stream,
            version=version,
        )
    findings.more("body", count - len(wrong))


async def read_commands(
    connection: Connection, organisation: str, findings: Findings, report: Callable[[int], None]
) -> int:
    """Check the hash of every command. How many there are."""
    count = wrong = 0

    def feed(data: bytes, at: int) -> int:
        nonlocal count, wrong
        hashes: list[bytes] = []
        commands: list[bytes] = []
        unpack, fixed, size = _COMMAND.unpack_from, _COMMAND.size, len(data)
        while at + fixed <= size:
            _, _, hash_size, _, command_size = unpack(data, at)
            hash = at + fixed + 4
            command = hash + hash_size + 4
            end = command + command_size
            if end > size:
                break
            hashes.append(data[hash : command - 4])
            commands.append(data[command:end])
            at = end
        found = [sha256(command).digest() for command in commands]
        if found != hashes:
            wrong += sum(a != b for a, b in zip(found, hashes, strict=True))
        count += len(hashes)
        report(count)
        return at

    await _copy(connection, _COMMANDS, (organisation,), feed, _COMMAND.size)
    if wrong:
        rows = await connection.fetch(_WRONG_COMMANDS, organisation, KEPT)
        for row in rows:
            findings.add(
                "command",
                f"Command {brief(row['command_id'])} hashes to {row['found']}; its decision says"
                f" {row['said']}.",
                stream=row["stream"],
            )
        findings.more("command", wrong - len(rows))
    return count


async def _copy(
    connection: Connection,
    query: str,
    arguments: tuple[object, ...],
    feed: Callable[[bytes, int], int],
    least: int,
) -> None:
    """Give a query's rows, cut anywhere, to `feed`, which says up to where it has taken them."""
    rest, begin = b"", COPY_HEADER

    async def take(chunk: bytes) -> None:
        nonlocal rest, begin
        rest += chunk
        if len(rest) >= begin + least:
            end = feed(rest, begin)
            rest, begin = rest[end:], 0

    await connection.copy_from_query(
        query, *arguments, output=take, format="binary", timeout=COPY_SECONDS
    )
    if rest[begin:] != COPY_END:
        raise RuntimeError("PostgreSQL sent rows of another form than those that it was asked for.")
