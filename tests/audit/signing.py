"""A log of its own that is signed: quickly grown, and torn by a superuser where a test asks."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from activities.canonical import leaf_hash
from activities.checkpoints import Checkpoints, Folder
from activities.database import open_pool
from activities.event_log import EventLog
from audit.notes import Checkpoint, Signer, open_note
from audit.tree import Frontier
from tests.activities.appends import ORGANISATION, decision, event, request
from tests.conftest import Database

ORIGIN = f"standpipe/{ORGANISATION}"
SIGNER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))

EDITED = "UPDATE events SET header = set_byte(header, 20, get_byte(header, 20) # 1)"
"""A bit of a header is another."""


@dataclass
class Book:
    """One organisation's log with its checkpoints."""

    database: Database
    pool: asyncpg.Pool
    folder: Path

    def signing(self, **options: Any) -> Checkpoints:
        return Checkpoints(self.pool, ORGANISATION, SIGNER, self.folder, **options)

    @property
    def kept(self) -> Path:
        """The note outside the database."""
        return Folder(self.folder, ORGANISATION).path

    async def grow(self, count: int = 1, stream: str = "repair-1") -> None:
        """Append so many events, the same in every database."""
        version = await self.pool.fetchval(
            "SELECT version FROM streams WHERE organisation = $1 AND stream = $2",
            ORGANISATION,
            stream,
        )
        at = version or 0
        made = decision(f"{stream}/{at}", *(event(note=str(n)) for n in range(at, at + count)))
        done = await EventLog(self.pool).append_events(request(stream, at, made))
        assert done.status == "appended"

    async def flood(self, count: int) -> None:
        """As many events in one statement: their headers are all that a tree knows of them."""
        await self.torn(
            f"""
            INSERT INTO events
            SELECT '{ORGANISATION}', p, 'flood', p, gen_random_uuid(), 'X', 1, now(), now(), 'c',
                convert_to('header ' || p, 'UTF8'), ''
            FROM heads h, generate_series(h.position + 1, h.position + {count}) p
            WHERE h.organisation = '{ORGANISATION}'
            """,
            f"UPDATE heads SET position = position + {count}",
        )

    async def torn(self, *statements: str) -> None:
        """What only a superuser can do, who switches the triggers off."""
        connection = await asyncpg.connect(
            self.database.admin_url, server_settings={"search_path": "standpipe"}
        )
        tables = ("events", "heads", "checkpoints", "tree_tiles")
        try:
            async with connection.transaction():
                for table in tables:
                    await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
                for statement in statements:
                    await connection.execute(statement)
                for table in tables:
                    await connection.execute(
                        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER deny_statement"
                    )
        finally:
            await connection.close()

    async def leaves(self) -> list[bytes]:
        rows = await self.pool.fetch(
            "SELECT header FROM events WHERE organisation = $1 ORDER BY position", ORGANISATION
        )
        return [leaf_hash(row["header"]) for row in rows]

    async def root(self, size: int | None = None) -> bytes:
        tree = Frontier()
        tree.extend((await self.leaves())[:size])
        return tree.root()

    async def signed(self) -> list[Checkpoint]:
        """Every checkpoint, each opened with the log's key."""
        rows = await self.pool.fetch(
            "SELECT note FROM checkpoints WHERE organisation = $1 ORDER BY size", ORGANISATION
        )
        return [open_note(row["note"], [SIGNER.verifier]) for row in rows]


@asynccontextmanager
async def book(database: Database, folder: Path) -> AsyncGenerator[Book]:
    """An empty one."""
    async with await open_pool(database.url(), max_size=8) as pool:
        yield Book(database, pool, folder)
