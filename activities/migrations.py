"""Brings a database to this version: each numbered SQL file of `migrations/` once, in order."""

import hashlib
from pathlib import Path

import asyncpg

from activities.database import COMMAND_SECONDS

DIRECTORY = Path(__file__).resolve().parent.parent / "migrations"
LOCK = 0x5374616E64706970
"""Held while migrating, so that two starting processes take turns."""

_EXISTS = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'standpipe')"


class MigrationError(Exception):
    """The database can't be brought to this version; the message says why and what to do."""


async def migrate(admin_url: str) -> list[str]:
    """Apply what is missing, each file in a transaction; returns the names of those applied.

    The role must be a superuser, or own the database and have CREATEROLE.
    """
    connection = await asyncpg.connect(
        admin_url,
        timeout=COMMAND_SECONDS,
        server_settings={"application_name": "standpipe migrate"},
    )
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        files = {path.name: path.read_bytes() for path in sorted(DIRECTORY.glob("*.sql"))}
        known = await _applied(connection)
        _compare(files, known)
        missing = [name for name in files if name not in known]
        for name in missing:
            await _apply(connection, name, files[name])
        return missing
    finally:
        await connection.close(timeout=COMMAND_SECONDS)


async def _applied(connection: asyncpg.Connection) -> dict[str, str]:
    """Checksums by name."""
    if not await connection.fetchval(_EXISTS):
        return {}
    async with connection.transaction():
        await connection.execute("SET LOCAL ROLE standpipe_owner")
        rows = await connection.fetch("SELECT name, checksum FROM standpipe.migrations")
    return {row["name"]: row["checksum"] for row in rows}


def _compare(files: dict[str, bytes], known: dict[str, str]) -> None:
    wrong = [
        f"{name} was changed after it was applied: put it back, and add a new file instead"
        for name, content in files.items()
        if name in known and known[name] != _checksum(content)
    ]
    wrong += [
        f"{name} was applied by another version of Standpipe: run that or a newer one"
        for name in known
        if name not in files
    ]
    last = max(known, default="")
    wrong += [
        f"{name} comes before {last}, which is applied already: give it a higher number"
        for name in files
        if name not in known and name < last
    ]
    if wrong:
        raise MigrationError("; ".join(wrong))


async def _apply(connection: asyncpg.Connection, name: str, content: bytes) -> None:
    try:
        async with connection.transaction():
            await connection.execute(content.decode())
            await connection.execute("SET LOCAL ROLE standpipe_owner")
            await connection.execute(
                "INSERT INTO standpipe.migrations (name, checksum) VALUES ($1, $2)",
                name,
                _checksum(content),
            )
    except asyncpg.InsufficientPrivilegeError as error:
        raise MigrationError(
            f"{name}: {error}. Migrate as a superuser, or as the database's owner with CREATEROLE;"
            " if the standpipe roles exist already, their creator must grant standpipe_owner to it"
        ) from error


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
