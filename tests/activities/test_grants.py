"""Who may do what: the log only grows, whoever asks; the vault shows nobody its tables."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from activities.database import open_pool
from activities.event_log import EventLog
from activities.log_reader import LogReader
from activities.vault import PartySealed, Vault
from schemas.envelope import Message, Refusal
from schemas.party import Party
from tests.activities.appends import (
    ORGANISATION,
    START,
    answer,
    approval,
    decision,
    event,
    request,
    summary,
)
from tests.conftest import Database

APPEND_ONLY = ("events", "decisions", "policies", "refusals", "migrations", "vault_readings")
VAULT = ("parties", "party_notes")
HOUR = timedelta(hours=1)
FOLLOW_UP = (START - HOUR, START)
WORD = Message(to="crew", recipient="crew-7", template="dispatch", params={})
CHANGES = (
    "UPDATE {} SET {} = {} WHERE false",
    "UPDATE {} SET {} = {}",
    "DELETE FROM {} WHERE false",
    "DELETE FROM {}",
    "TRUNCATE {}",
    "TRUNCATE {} CASCADE",
)


@pytest.fixture(autouse=True)
async def filled(log: EventLog, vault: Vault) -> None:
    """Something in every table."""
    case = summary(approvals=(approval("extension-1", START),), answers=(answer(START),))
    called = event("CallbackDue", at="2026-05-01T07:30:00Z")
    await log.append_events(
        request("repair-1", 0, decision("a", called, messages=[(0, WORD)]), case=case)
    )
    await log.record_refusal(
        Refusal(
            organisation=ORGANISATION,
            stream="repair-1",
            command_id="b",
            command_type="CloseRepair",
            actor="crew-7",
            refused_at=START,
            reasons=("Fix it first.",),
        )
    )
    await vault.put(ORGANISATION, "party-1", Party(name="Li"))
    await vault.add_note(ORGANISATION, "party-1", "has a dog")
    await vault.put(ORGANISATION, "party-2", Party(name="Wu"), sealed_to=("supervisor",))
    with pytest.raises(PartySealed):
        await vault.show(ORGANISATION, "party-2")


@pytest.fixture(params=["standpipe_worker", "standpipe_gateway", "standpipe_auditor"])
async def login(
    database: Database, request: pytest.FixtureRequest
) -> AsyncIterator[asyncpg.Connection]:
    """A connection of each role that may log in."""
    async with logged_in(database, request.param) as connection:
        yield connection


@asynccontextmanager
async def logged_in(database: Database, role: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        database.url(role), server_settings={"search_path": "standpipe"}
    )
    try:
        yield connection
    finally:
        await connection.close()


async def first_column(admin: asyncpg.Connection, table: str) -> str:
    name = await admin.fetchval(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum = 1",
        f"standpipe.{table}",
    )
    assert isinstance(name, str)
    return name


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("identity", ["superuser", "replica", "owner"])
async def test_the_log_cannot_be_changed_even_by_those_who_may_do_anything(
    admin: asyncpg.Connection, table: str, identity: str
) -> None:
    column = await first_column(admin, table)
    before = await admin.fetch(f"SELECT * FROM {table}")
    assert before
    if identity == "replica":
        await admin.execute("SET session_replication_role = replica")
    if identity == "owner":
        await admin.execute("SET ROLE standpipe_owner")
    for change in CHANGES:
        with pytest.raises(asyncpg.PostgresError, match="the log only grows") as caught:
            await admin.execute(change.format(table, column, column))
        assert caught.value.sqlstate == "SP003"
    assert await admin.fetch(f"SELECT * FROM {table}") == before


@pytest.mark.parametrize("table", ["heads", "streams"])
async def test_where_a_log_ends_cannot_be_forgotten(admin: asyncpg.Connection, table: str) -> None:
    for change in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
        with pytest.raises(asyncpg.PostgresError, match="the log only grows"):
            await admin.execute(change)


async def test_nobody_who_logs_in_may_write_a_table(
    login: asyncpg.Connection, admin: asyncpg.Connection
) -> None:
    tables = await admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'standpipe'")
    assert {row[0] for row in tables} >= {*APPEND_ONLY, *VAULT, "cases", "heads", "outbox"}
    for row in tables:
        column = await first_column(admin, row[0])
        for change in (*CHANGES, "INSERT INTO {} DEFAULT VALUES", "DROP TABLE {0}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await login.execute(change.format(row[0], column, column))
    for forbidden in (
        "SET ROLE standpipe_owner",
        "CREATE TABLE standpipe.mine (a int)",
        "CREATE FUNCTION standpipe.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await login.execute(forbidden)


async def test_nobody_reads_the_vaults_tables(login: asyncpg.Connection) -> None:
    for table in VAULT:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await login.fetch(f"SELECT * FROM {table}")


async def test_who_looked_at_a_sealed_party_is_for_auditors(
    login: asyncpg.Connection,
) -> None:
    who = "SELECT party_id, granted FROM vault_readings"
    if await login.fetchval("SELECT current_user::text") == "standpipe_auditor":
        assert [tuple(row) for row in await login.fetch(who)] == [("party-2", False)]
    else:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await login.fetch(who)


async def test_an_auditor_reads_the_log_but_neither_writes_it_nor_asks_the_vault(
    database: Database, admin: asyncpg.Connection
) -> None:
    async with await open_pool(database.url("standpipe_auditor")) as pool:
        reader = LogReader(pool)
        assert len(await reader.read_stream(ORGANISATION, "repair-1")) == 1
        assert len(await reader.read_decisions(ORGANISATION, "repair-1")) == 1
        assert len(await reader.open_cases(ORGANISATION)) == 1
        assert len(await reader.worklist(ORGANISATION)) == 1
        assert len(await reader.outbox(ORGANISATION)) == 1
        assert len(await reader.refusals(ORGANISATION)) == 1
        assert len(await reader.approvals(ORGANISATION)) == 1
        assert await reader.assessments(ORGANISATION) == []
        assert len(await reader.satisfaction(ORGANISATION, START, START + HOUR)) == 1
        assert len(await reader.follow_ups_due(ORGANISATION, *FOLLOW_UP)) == 1
    functions = await admin.fetch(
        """
        SELECT oid::regprocedure::text,
            has_function_privilege('standpipe_auditor', oid, 'EXECUTE') AS allowed
        FROM pg_proc WHERE pronamespace = 'standpipe'::regnamespace
        """
    )
    assert len(functions) >= 8
    # Only what the views calculate with, from nothing but what it is given.
    harmless = "last_answered(jsonb)"
    assert [row[0] for row in functions if row["allowed"]] == [harmless]
    kind = await admin.fetchrow(
        "SELECT provolatile, prosecdef FROM pg_proc WHERE oid = $1::text::regprocedure", harmless
    )
    assert kind is not None
    assert tuple(kind) == (b"i", False)


async def test_functions_run_on_their_own_search_path(admin: asyncpg.Connection) -> None:
    # Otherwise a caller's own `events` table would be written with the owner's rights.
    loose = await admin.fetch(
        """
        SELECT oid::regprocedure::text FROM pg_proc
        WHERE pronamespace = 'standpipe'::regnamespace AND prosecdef
            AND NOT 'search_path=standpipe, pg_temp' = ANY(coalesce(proconfig, '{}'))
        """
    )
    assert loose == []
