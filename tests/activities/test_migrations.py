"""Migrations: each once, in order, unchanged; by whoever may."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from activities import migrations
from activities.database import open_pool
from activities.log_reader import LogReader
from activities.migrations import MigrationError, migrate
from activities.vault import Vault
from schemas.party import Party
from stack import url_as
from tests.activities.conftest import KEY
from tests.conftest import Database

# As the vault sealed them before parties could be sealed to roles.
OLD_KEY = bytes.fromhex(
    "9682dd0f68db17e1bf21945e60eb0748ebb495d7c17105c681b71b6f7ebbd27864b10ea156d2000a"
    "8a487163752a263ab62ee24374114a4fae2158ec"
)
OLD_PARTY = bytes.fromhex(
    "6fbc5eb4d33ac11fdae6d29cd923e60a8373826fdbc771877159fce6255258465bc8ea1df4c00c31"
    "1f97fa05b38bee57f7a9cb46e571b14b28f812f75ebc011ba532f4a8a478967c6cf1bf123b0efc33"
    "6aa61e3b3cf3c5db6f304524767709669e97a27a07520d27"
)
OLD_NOTE = bytes.fromhex(
    "2169f53d6cd72fd16c793dd7d68e3e76252447a5634f793c6c6e2e55f813d4233047921160"
)
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


async def test_what_was_there_before_approvals_and_seals_is_there_after(
    empty: str, changed: Path
) -> None:
    later = [name for name in FILES if name > "0006"]
    for name in later:
        (changed / name).rename(changed / f"{name}.later")
    await migrate(empty)
    connection = await asyncpg.connect(empty, server_settings={"search_path": "standpipe"})
    await connection.execute(
        "INSERT INTO cases (organisation, case_id, version, kind, stage, final, priority,"
        " commitments) VALUES ('town', 'repair-1', 1, 'repair', 'Fixed', false, false, '[]')"
    )
    await connection.execute(
        "SELECT put_parties('town', ARRAY['party-1'], ARRAY['c11edd706c39c768'],"
        " ARRAY[$1::bytea], ARRAY[$2::bytea])",
        OLD_KEY,
        OLD_PARTY,
    )
    await connection.execute(
        "SELECT add_party_note('town', 'party-1', $1, $2, $3)", OLD_KEY, UUID(int=1), OLD_NOTE
    )
    await connection.close()
    for name in later:
        (changed / f"{name}.later").rename(changed / name)
    assert await migrate(empty) == later
    async with await open_pool(empty) as pool:
        row = await LogReader(pool).case("town", "repair-1")
        assert row is not None
        assert (row.stage, row.approvals, row.answers) == ("Fixed", (), ())
        assert [r.case_id for r in await LogReader(pool).worklist("town")] == ["repair-1"]
        vault = Vault(pool, KEY)
        assert await vault.show("town", "party-1") == Party(name="Li", special_care=True)
        assert [n.text for n in await vault.notes("town", "party-1")] == ["has a dog"]


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
