"""Migrations: each once, in order, unchanged; by whoever may."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from activities import migrations
from activities.migrations import MigrationError, migrate
from stack import url_as
from tests.conftest import Database

FILES = sorted(path.name for path in migrations.DIRECTORY.glob("*.sql"))


@pytest.fixture
async def empty(database: Database, admin: asyncpg.Connection) -> AsyncIterator[str]:
    """The admin's URL of a database without anything, on a server that has the roles."""
    name = f"empty_{uuid4().hex}"
    await admin.execute(f"CREATE DATABASE {name}")
    yield url_as(database.admin_url, database=name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The migrations in a folder where a test may change them."""
    for name in FILES:
        (tmp_path / name).write_bytes((migrations.DIRECTORY / name).read_bytes())
    monkeypatch.setattr(migrations, "DIRECTORY", tmp_path)
    return tmp_path


async def test_each_file_is_applied_once_and_in_order(empty: str) -> None:
    assert await migrate(empty) == FILES
    assert await migrate(empty) == []


async def test_two_that_migrate_at_once_take_turns(empty: str) -> None:
    applied = await asyncio.gather(*(migrate(empty) for _ in range(4)))
    assert sorted(applied) == [[], [], [], FILES]


async def test_a_new_file_is_applied_to_what_is_there(database: Database, changed: Path) -> None:
    (changed / "0900_more.sql").write_text("CREATE TABLE standpipe.more (a int);")
    assert await migrate(database.admin_url) == ["0900_more.sql"]


async def test_a_file_that_fails_leaves_nothing_of_itself(
    database: Database, changed: Path, admin: asyncpg.Connection
) -> None:
    (changed / "0900_more.sql").write_text("CREATE TABLE standpipe.more (a int); SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(database.admin_url)
    assert await admin.fetchval("SELECT to_regclass('standpipe.more')") is None


async def test_everything_that_does_not_fit_is_told_at_once(
    database: Database, changed: Path
) -> None:
    (changed / FILES[1]).write_text("SELECT 1;")
    (changed / FILES[2]).unlink()
    (changed / "0001_late.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationError) as caught:
        await migrate(database.admin_url)
    assert str(caught.value).split("; ") == [
        f"{FILES[1]} was changed after it was applied: put it back, and add a new file instead",
        f"{FILES[2]} was applied by another version of Standpipe: run that or a newer one",
        f"0001_late.sql comes before {FILES[-1]}, which is applied already:"
        " give it a higher number",
    ]


async def test_a_databases_owner_needs_no_superuser(
    database: Database, admin: asyncpg.Connection, empty: str
) -> None:
    role, name = f"owner_{uuid4().hex}", urlsplit(empty).path[1:]
    await admin.execute(f"CREATE ROLE {role} LOGIN CREATEROLE")
    await admin.execute(f"ALTER DATABASE {name} OWNER TO {role}")
    try:
        # The roles are there already, made by somebody else.
        with pytest.raises(MigrationError, match="must grant standpipe_owner to it"):
            await migrate(url_as(empty, role=role))
        await admin.execute(f"GRANT standpipe_owner TO {role} WITH INHERIT FALSE, SET TRUE")
        assert await migrate(url_as(empty, role=role)) == FILES
        assert await migrate(url_as(empty, role=role)) == []
    finally:
        await admin.execute(f"ALTER DATABASE {name} OWNER TO CURRENT_USER")
        await admin.execute(f"REVOKE standpipe_owner FROM {role}")
        await admin.execute(f"DROP ROLE {role}")
