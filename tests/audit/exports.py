"""A log to export, its key and its checkpoints."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from activities.canonical import leaf_hash
from activities.event_log import EventLog
from audit.export import Exported, Format, export
from audit.export_jsonl import Note
from audit.export_rows import Selection, select
from audit.notes import Checkpoint, Signer, sign
from audit.tree import Frontier
from bench import audit_logs
from stack import Endpoints, url_as
from tests.activities.appends import decision, event, request

ORGANISATION = "town"
ORIGIN = "standpipe/town"
KEY = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER_KEY = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))


def new_log(servers: Endpoints, events: int = 400) -> str:
    """A database of its own with such a log of real lives; its URL.

    After them come two decisions without events, and three events in two appends of a case whose
    events make no sense to its lifecycle.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_logs, "AT_ONCE", 30)
        return asyncio.run(_new_log(servers, events))


async def _new_log(servers: Endpoints, events: int) -> str:
    assert servers.admin_url is not None
    name = f"export_{uuid4().hex}"
    admin = await asyncpg.connect(url_as(servers.admin_url, database="postgres"))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE standpipe")
    finally:
        await admin.close()
    url = url_as(servers.admin_url, database=name)
    await audit_logs.large_log(url, ORGANISATION, events)
    pool = await asyncpg.create_pool(
        url_as(url, role="standpipe_worker"),
        min_size=1,
        max_size=1,
        server_settings={"search_path": "standpipe", "timezone": "UTC"},
    )
    async with pool:
        log = EventLog(pool)
        for number in (1, 2):
            await log.append_events(request("premises-quiet", 0, decision(f"quiet/{number}")))
        first = decision("late/1", event("RepairReported"), event(note="a < b & \"c\"\n'd'"))
        await log.append_events(request("repair-late", 0, first))
        await log.append_events(request("repair-late", 2, decision("late/2", event(crew="k-9"))))
    return url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """As an auditor is: one moment, read-only."""
    connection = await asyncpg.connect(
        url, server_settings={"search_path": "standpipe", "timezone": "UTC"}
    )
    try:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield connection
    finally:
        connection.terminate()


async def leaves(url: str) -> list[bytes]:
    async with connected(url) as connection:
        rows = await connection.fetch("SELECT header FROM events ORDER BY position")
    return [leaf_hash(row["header"]) for row in rows]


def note(leaves: Sequence[bytes], size: int, signer: Signer = KEY, origin: str = ORIGIN) -> Note:
    """The signed checkpoint of the first `size` leaves."""
    tree = Frontier()
    tree.extend(leaves[:size])
    return Note(sign(Checkpoint(origin, size, tree.root()), signer), size)


async def exported(
    url: str,
    format: Format,
    file: Path,
    *,
    notes: Sequence[Note] = (),
    since: datetime | None = None,
    before: datetime | None = None,
) -> Exported:
    async with connected(url) as connection:
        chosen = await select(connection, ORGANISATION, since, before)
        return await export(connection, chosen, format, file, origin=ORIGIN, notes=notes)


async def exported_range(
    url: str, format: Format, file: Path, first: int, last: int, *, notes: Sequence[Note] = ()
) -> Exported:
    """By positions: all of a made log is recorded at once."""
    async with connected(url) as connection:
        chosen = await select(connection, ORGANISATION)
        some = Selection(ORGANISATION, first, last, chosen.head, None, datetime.now(UTC))
        return await export(connection, some, format, file, origin=ORIGIN, notes=notes)
