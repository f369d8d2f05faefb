"""What may be done to a log: kinds of attack, of which each round picks where and how."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.notes import Checkpoint, Signer
from audit.verdict import Verdict
from audit.verify import verify
from tests.audit.forger import Forger

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRIES = 12
"""How often a forger tries until everything fits again."""

Attack = Callable[[Forger], Awaitable[None]]


def signer(organisation: str) -> Signer:
    """Who signs an organisation's checkpoints."""
    return Signer(f"standpipe/{organisation}", KEY)


async def look(forger: Forger, *external: Checkpoint) -> Verdict:
    name = forger.organisation
    return await verify(
        forger.connection,
        name,
        external=external,
        verifiers=[signer(name).verifier],
        origin=f"standpipe/{name}",
    )


COLUMNS = {
    "events": (
        *("stream", "version", "event_id", "type", "schema_version", "occurred_at"),
        *("recorded_at", "command_id", "header", "header", "body", "body"),
    ),
    "decisions": (
        *("stream", "command_id", "command", "command", "command_hash", "actor", "role", "proof"),
        *("decided_at", "recorded_at", "event_count", "version", "position"),
    ),
    "streams": ("stream", "kind", "version", "policy"),
    "cases": (
        *("case_id", "version", "kind", "stage", "final", "owner_kind", "owner", "district"),
        *("priority", "opened_at", "next_due_at", "commitments", "approvals", "premises"),
    ),
    "outbox": (
        *("position", "ordinal", "event_id", "stream", "recipient_kind", "recipient", "template"),
        "params",
    ),
    "heads": ("position",),
    "policies": ("content", "hash"),
    "checkpoints": ("size", "root", "note"),
    "tree_tiles": ("root", "hashes", "number"),
}
WEIGHTS = {"events": 8, "decisions": 8}
OWN = {
    "policies": "hash IN (SELECT policy FROM streams WHERE organisation = $1)",
    # What an event names is in the tree; of commands without one, see the last tests.
    "decisions": "organisation = $1 AND event_count > 0",
}


async def edit(forger: Forger) -> None:
    """One value of one row becomes another, or nothing."""
    random = forger.random
    await forger.disarm(rules=True)
    table = random.choices(list(COLUMNS), [WEIGHTS.get(t, 2) for t in COLUMNS])[0]
    column = random.choice(COLUMNS[table])
    where = OWN.get(table, "organisation = $1")
    rows = await forger.rows(f"SELECT ctid::text, {column} AS value FROM {table} WHERE {where}")
    if not rows:
        await edit(forger)  # of another table: this log is too short for tiles
        return
    row = random.choice(rows)
    to = "$1"
    if row["value"] is not None and random.random() < 0.1:
        await forger.connection.execute(f"ALTER TABLE {table} ALTER {column} DROP NOT NULL")
        value: Any = None
    elif column in ("commitments", "approvals", "params"):
        to, value = "$1::text::jsonb", random.choice(('[{"x": 1}]', "7", '{"y": "z"}'))
    else:
        value = forger.other(row["value"], column)
    await forger.connection.execute(
        f"UPDATE {table} SET {column} = {to} WHERE ctid = '{row['ctid']}'", value
    )


async def delete(forger: Forger) -> None:
    """Rows go: of one table, of a whole decision, or a case with everything that is kept of it."""
    random = forger.random
    await forger.disarm()
    match random.choice(("rows", "rows", "events", "decision", "case")):
        case "rows":
            table = random.choice(
                ("events", "decisions", "streams", "cases", "outbox", "heads", "tree_tiles")
            )
            where = OWN.get(table, "organisation = $1")
            rows = await forger.rows(f"SELECT ctid::text FROM {table} WHERE {where}")
            if not rows:
                await delete(forger)
                return
            for row in random.sample(rows, min(len(rows), random.choice((1, 1, 3)))):
                await forger.connection.execute(f"DELETE FROM {table} WHERE ctid = '{row['ctid']}'")
        case "events":
            size = await forger.size()
            first = random.randint(1, size)
            last = min(size, first + random.choice((0, 0, 5, 20)))
            await forger.remove(list(range(first, last + 1)), close=random.random() < 0.5)
        case "decision":
            row = await forger.one(
                "SELECT stream, command_id FROM decisions"
                " WHERE organisation = $1 AND event_count > 0"
            )
            gone = await forger.rows(
                "DELETE FROM events WHERE organisation = $1 AND stream = $2 AND command_id = $3"
                " RETURNING position",
                *row,
            )
            await forger.remove([r["position"] for r in gone], close=True)
            await forger.execute(
                "DELETE FROM decisions WHERE organisation = $1 AND stream = $2 AND command_id = $3",
                *row,
            )
            with suppress(Exception):  # where it still makes sense without
                async with forger.connection.transaction():
                    await renumber(forger, row["stream"])
                    await forger.refit(row["stream"])
            await forger.regrow()
        case _:
            row = await forger.one("SELECT stream FROM events WHERE organisation = $1")
            await remove_case(forger, row["stream"])
            await forger.regrow()


async def renumber(forger: Forger, stream: str) -> None:
    """Versions without a gap."""
    await forger.execute(
        "UPDATE events SET version = version + 1000000 WHERE organisation = $1 AND stream = $2",
        stream,
    )
    await forger.execute(
        "UPDATE events e SET version = n.version FROM ("
        " SELECT position, row_number() OVER (ORDER BY version)::int AS version FROM events"
        " WHERE organisation = $1 AND stream = $2) n"
        " WHERE e.organisation = $1 AND e.position = n.position",
        stream,
    )


async def remove_case(forger: Forger, stream: str) -> None:
    gone = await forger.rows(
        "DELETE FROM events WHERE organisation = $1 AND stream = $2 RETURNING position", stream
    )
    await forger.remove([r["position"] for r in gone], close=True)
    for table, name in (("decisions", "stream"), ("streams", "stream"), ("cases", "case_id")):
        await forger.execute(f"DELETE FROM {table} WHERE organisation = $1 AND {name} = $2", stream)


async def insert(forger: Forger) -> None:
    """Rows that nobody appended: in between, beside, or in another's name."""
    random = forger.random
    await forger.disarm(rules=True)
    match random.choice(("between", "between", "before", "twice", "read model", "message", "case")):
        case "between":
            row = await forger.one("SELECT * FROM events WHERE organisation = $1")
            position = row["position"]
            await forger.shift(position, 1)
            await copy_event(forger, position, position=position + 1, version=row["version"] + 1)
            if random.random() < 0.5:
                await forger.execute(
                    "UPDATE decisions SET event_count = event_count + 1, position = $3 + 1"
                    " WHERE organisation = $1 AND stream = $2 AND command_id = $4",
                    *(row["stream"], position, row["command_id"]),
                )
            if random.random() < 0.5:
                await forger.regrow()
        case "before":
            row = await forger.one("SELECT * FROM events WHERE organisation = $1")
            await copy_event(forger, row["position"], position=random.choice((0, -1, -(2**40))))
        case "twice":
            row = await forger.one("SELECT * FROM events WHERE organisation = $1")
            place = random.choice(
                (row["position"], await forger.size() + random.choice((1, 2**40)))
            )
            await copy_event(forger, row["position"], position=place)
        case "read model":
            await forger.execute(
                "INSERT INTO cases (organisation, case_id, version, kind, stage, final, priority,"
                " commitments) VALUES ($1, 'repair-ghost', 1, 'repair', 'Fixed', true, false, '[]')"
            )
        case "message":
            row = await forger.one("SELECT * FROM events WHERE organisation = $1")
            await forger.execute(
                "INSERT INTO outbox (organisation, position, ordinal, event_id, stream,"
                " recipient_kind, recipient, template, params)"
                " VALUES ($1, $2, 99, $3, $4, 'party', 'party-1', 'water_off', '{}')",
                *(random.choice((row["position"], 10**9)), row["event_id"], row["stream"]),
            )
        case _:
            row = await forger.one("SELECT * FROM streams WHERE organisation = $1")
            await forger.execute(
                "INSERT INTO streams VALUES ($1, $2, $3, $4, $5)",
                *("repair-ghost", "repair", random.choice((0, 0, 3)), row["policy"]),
            )


async def copy_event(forger: Forger, original: int, **changes: object) -> None:
    row = (
        dict(
            (
                await forger.rows(
                    "SELECT * FROM events WHERE organisation = $1 AND position = $2", original
                )
            )[0]
        )
        | changes
    )
    await forger.connection.execute(
        f"INSERT INTO events VALUES ({', '.join(f'${n}' for n in range(1, len(row) + 1))})",
        *row.values(),
    )


async def reorder(forger: Forger) -> None:
    """Events change places in the log, with or without everything that tells of their places."""
    random = forger.random
    await forger.disarm()
    size = await forger.size()
    first, second = sorted(random.sample(range(1, size + 1), 2))
    if random.random() < 0.3:
        second = first + 1 if first < size else first - 1
    for at, to in ((first, -5), (second, first), (-5, second)):
        for table in ("events", "outbox"):
            await forger.execute(
                f"UPDATE {table} SET position = $3 WHERE organisation = $1 AND position = $2",
                *(at, to),
            )
    if random.random() < 0.7:
        await forger.execute(
            "UPDATE decisions d SET position = e.position FROM events e"
            " WHERE d.organisation = $1 AND e.organisation = $1 AND e.stream = d.stream"
            " AND e.version = d.version AND d.event_count > 0"
        )
    if random.random() < 0.7:
        await forger.regrow()


async def truncate(forger: Forger) -> None:
    """The tail goes, and nothing tells that it was there."""
    await forger.disarm()
    await forger.cut(await boundary(forger))


async def boundary(forger: Forger) -> int:
    """Where an append ended, before the last."""
    rows = await forger.rows(
        "SELECT max(position) AS position FROM events WHERE organisation = $1"
        " GROUP BY recorded_at ORDER BY 1"
    )
    late = rows[-2:-1] if forger.random.random() < 0.3 else rows[:-1]
    return forger.random.choice(late)["position"]


async def recompute(forger: Forger) -> None:
    """A word in an event or a command is another, and all that follows from it is made to fit."""
    await forger.disarm(rules=True)
    for _ in range(TRIES):
        point = forger.connection.transaction()
        await point.start()
        if await reworded(forger) and (await look(forger)).clean:
            await point.commit()
            return
        await point.rollback()
    raise AssertionError("nothing could be altered so that it fits")


async def reworded(forger: Forger) -> bool:
    event = forger.random.random() < 0.6
    column, table = ("body", "events") if event else ("command", "decisions")
    row = await forger.one(
        f"SELECT stream, command_id, version, {column} AS content FROM {table}"
        " WHERE organisation = $1" + ("" if event else " AND event_count > 0")
    )
    content = forger.reworded(row["content"])
    if content is None:
        return False
    await forger.execute(
        f"UPDATE {table} SET {column} = $5"
        " WHERE organisation = $1 AND stream = $2 AND command_id = $3 AND version = $4",
        *(row["stream"], row["command_id"], row["version"], content),
    )
    try:
        await forger.refit(row["stream"])
    except (ValueError, LookupError, AttributeError, TypeError):
        return False  # it means nothing any more
    await forger.regrow()
    return True


async def swap(forger: Forger) -> None:
    """Two cases of a kind change names: what one lived, the other is said to have lived."""
    random = forger.random
    await forger.disarm(rules=True)
    rows = await forger.rows(
        "SELECT stream FROM streams WHERE organisation = $1 AND version > 0 ORDER BY stream"
    )
    names: list[str] = [row["stream"] for row in rows]
    pairs = [
        (a, b) for a in names for b in names if a < b and a.partition("-")[0] == b.partition("-")[0]
    ] or [(a, b) for a in names for b in names if a < b]
    one, other = random.choice(pairs)
    tables = ["events"] if random.random() < 0.3 else ["events", "decisions", "outbox"]
    if random.random() < 0.7:
        tables += ["streams"]
    for table in tables:
        await forger.execute(
            f"UPDATE {table} SET stream = CASE stream WHEN $2 THEN $3 ELSE $2 END"
            " WHERE organisation = $1 AND stream IN ($2, $3)",
            *(one, other),
        )
    if len(tables) == 4 and random.random() < 0.8:
        for stream, former in ((one, other), (other, one)):
            await forger.execute(
                "UPDATE events SET body = convert_to(replace(convert_from(body, 'UTF8'),"
                " $3, $2), 'UTF8') WHERE organisation = $1 AND stream = $2",
                *(stream, former),
            )
        with suppress(ValueError, LookupError):
            async with forger.connection.transaction():
                await forger.refit(one)
                await forger.refit(other)
        await forger.regrow()


async def roll_back(forger: Forger) -> None:
    """An older backup comes back, and life goes on from there."""
    await forger.disarm()
    size = await forger.size()
    await forger.cut(await boundary(forger))
    await forger.live_on(size + forger.random.choice((-3, 0, 0, 5)))
    if forger.random.random() < 0.5:
        await forger.regrow()


ATTACKS: dict[str, Attack] = {
    "edit": edit,
    "delete": delete,
    "insert": insert,
    "reorder": reorder,
    "truncate the tail": truncate,
    "recompute after editing": recompute,
    "swap two streams' events": swap,
    "roll back to an older backup": roll_back,
}
