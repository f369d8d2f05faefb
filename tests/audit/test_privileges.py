"""What an auditor may: read its own organisations' rows, and nothing else, whatever it tries.

Two organisations share the database; what the tests ask of tables and views, they ask of all that
the catalogue knows.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from activities import log_reader, migrations, signing_keys, subscriptions
from activities.auditors import ROLE, NoAuditor, set_auditors
from audit.session import NotAuditable, auditing
from cli import app
from settings import Settings
from stack import Endpoints, StackError, url_as
from tests.conftest import Database

OURS, THEIRS = "town", "village"
BOTH = {OURS, THEIRS}
SERVING = ("standpipe_worker", "standpipe_gateway")
# Without an organisation: every auditor sees them, or those that its own cases name.
COMMON = {"migrations", "policies"}
WITHHELD = {"parties", "party_notes", "idempotency", "lanes", "rate_counts"}
"""What no auditor may read at all; of `subscriptions` it may not read the secrets."""

# Of any type, what a row may hold; a view that unfolds one column finds something in it.
_VALUES = {
    "text": "'{organisation}'",
    "text[]": "ARRAY['x']",
    "bytea": "'{{}}'",
    "jsonb": """'[{{"id": "x", "state": "requested"}}]'""",
    "integer": "1",
    "bigint": "1",
    "boolean": "false",
    "uuid": "gen_random_uuid()",
    "timestamp with time zone": "now()",
}
_SPECIAL = {
    "organisation": "'{organisation}'",
    "command_id": "'c-1'",
    "case_id": "'repair-{organisation}'",
    "kind": "'repair'",
    "policy": "sha256('{organisation}')",
    "assessment": "'{{}}'",
    "key": "'{organisation}'",
    "login": "'nobody'",
}
_COLUMNS = """
    SELECT c.relname::text AS name, a.attname::text AS column,
        format_type(a.atttypid, a.atttypmod) AS type
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'standpipe'::regnamespace AND c.relkind IN ('r', 'p')
        AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = ''
        AND (a.attnotnull OR a.atttypid <> 'timestamptz'::regtype)
    ORDER BY c.relname, a.attnum
"""
_RELATIONS = """
    SELECT c.relname::text AS name, c.relkind = 'v' AS view, c.relrowsecurity AS secured,
        'security_invoker=true' = ANY(coalesce(c.reloptions, '{}')) AS as_reader,
        EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'organisation'
        ) AS scoped
    FROM pg_class c
    WHERE c.relnamespace = 'standpipe'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    ORDER BY c.relname
"""
_READABLE = """
    SELECT c.relname::text AS name,
        array_agg(quote_ident(a.attname) ORDER BY a.attnum) AS columns
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = 'standpipe'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND NOT a.attisdropped AND has_column_privilege($1, c.oid, a.attnum, 'SELECT')
    GROUP BY c.relname ORDER BY c.relname
"""

_EXPLAIN = """
    CREATE FUNCTION pg_temp.explained(query text) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE
        line text;
        lines text := '';
    BEGIN
        FOR line IN EXECUTE 'EXPLAIN (GENERIC_PLAN, COSTS OFF) ' || query LOOP
            lines := lines || line || E'\n';
        END LOOP;
        RETURN lines;
    END
    $$
"""


@dataclass
class Shared:
    """A database of two organisations, with a row of each in every table that knows them."""

    database: Database
    admin: asyncpg.Connection
    open: AsyncExitStack
    logins: list[str] = field(default_factory=list[str])

    async def connect(self, role: str) -> asyncpg.Connection:
        connection = await asyncpg.connect(
            self.database.url(role), server_settings={"search_path": "standpipe"}
        )
        self.open.push_async_callback(connection.close)
        return connection

    async def auditor(self, *organisations: str) -> tuple[str, asyncpg.Connection]:
        """A login of its own that audits these."""
        login = f"auditor_{uuid4().hex[:12]}"
        self.logins.append(login)
        await set_auditors(self.database.admin_url, [(login, one) for one in organisations])
        return login, await self.connect(login)

    async def readable(self, role: str) -> dict[str, list[str]]:
        """The columns that a role may read, by table and view."""
        rows = await self.admin.fetch(_READABLE, role)
        return {row["name"]: row["columns"] for row in rows}

    async def relations(self) -> list[asyncpg.Record]:
        return await self.admin.fetch(_RELATIONS)


@pytest.fixture
async def shared(database: Database) -> AsyncIterator[Shared]:
    admin = await asyncpg.connect(database.admin_url, server_settings={"search_path": "standpipe"})
    try:
        await fill(admin)
        async with AsyncExitStack() as open:
            shared = Shared(database, admin, open)
            yield shared
        for login in shared.logins:
            await admin.execute(f"DROP ROLE {login}")
    finally:
        await admin.close()


async def fill(admin: asyncpg.Connection) -> None:
    checks = await admin.fetch(
        "SELECT conrelid::regclass::text AS name, quote_ident(conname) AS rule FROM pg_constraint"
        " WHERE connamespace = 'standpipe'::regnamespace AND contype IN ('c', 'f')"
    )
    for check in checks:
        await admin.execute(f"ALTER TABLE {check['name']} DROP CONSTRAINT {check['rule']}")
    tables: dict[str, dict[str, str]] = {}
    for row in await admin.fetch(_COLUMNS):
        value = _SPECIAL.get(row["column"]) or _VALUES[row["type"]]
        tables.setdefault(row["name"], {})[row["column"]] = value
    for organisation in (OURS, THEIRS):
        await admin.execute("INSERT INTO policies VALUES (sha256($1), $1)", organisation.encode())
        for name, columns in tables.items():
            if "organisation" in columns:
                values = ", ".join(columns.values()).format(organisation=organisation)
                names = ", ".join(f'"{column}"' for column in columns)
                await admin.execute(f"INSERT INTO {name} ({names}) VALUES ({values})")


async def organisations(connection: asyncpg.Connection, name: str) -> set[str]:
    rows = await connection.fetch(f"SELECT DISTINCT organisation FROM {name}")
    return {row["organisation"] for row in rows}


async def copied(connection: asyncpg.Connection, what: str) -> bytes:
    found: list[bytes] = []

    async def take(chunk: bytes) -> None:
        found.append(chunk)

    await connection.copy_from_query(f"SELECT * FROM ({what}) q", output=take)
    return b"".join(found)


async def tried(connection: asyncpg.Connection, statement: str) -> None:
    await connection.execute(statement)
    pytest.fail(f"it may: {statement}")


async def test_every_table_and_view_that_knows_organisations_is_held_to_them(
    shared: Shared,
) -> None:
    relations = await shared.relations()
    assert {row["name"] for row in relations} >= {"events", "events_view", "subscribers", "cases"}
    for row in relations:
        if row["view"]:
            assert row["as_reader"], f"{row['name']} must be made with security_invoker"
        elif row["scoped"]:
            assert row["secured"], f"call scope_to_organisation for {row['name']}"
        else:
            assert row["name"] in {*COMMON, "rate_counts"}, f"what may an auditor see of {row}?"


async def test_an_auditor_sees_its_own_organisation_in_every_table_and_view(
    shared: Shared,
) -> None:
    readable = await shared.readable(ROLE)
    scoped = {row["name"] for row in await shared.relations() if row["scoped"]}
    assert readable.keys() - scoped == COMMON
    assert readable.keys() & WITHHELD == set()
    login, member = await shared.auditor(OURS)
    everybody = await shared.connect(ROLE)
    for name in sorted(readable.keys() & scoped - {"auditors"}):
        assert await organisations(shared.admin, name) == BOTH, f"nothing to see in {name}"
        for auditor in (member, everybody):
            assert await organisations(auditor, name) == {OURS}
    assert [
        tuple(row) for row in await member.fetch("SELECT login, organisation FROM auditors")
    ] == [(login, OURS)]


async def test_nothing_of_others_comes_out_of_a_copy(shared: Shared) -> None:
    _, auditor = await shared.auditor(OURS)
    theirs = re.compile(f"{THEIRS}|{THEIRS.encode().hex()}".encode())
    for name, columns in (await shared.readable(ROLE)).items():
        if name in {"migrations", "auditors"}:
            continue
        what = f"SELECT {', '.join(columns)} FROM {name}"
        assert theirs.search(await copied(shared.admin, what))
        assert not theirs.search(await copied(auditor, what))
        found: list[bytes] = []

        async def take(chunk: bytes, found: list[bytes] = found) -> None:
            found.append(chunk)

        with suppress(asyncpg.WrongObjectTypeError):  # a view is copied by a query alone
            named = [column.strip('"') for column in columns]
            some = named if name == "subscriptions" else None
            await auditor.copy_from_table(name, columns=some, output=take)
        assert not theirs.search(b"".join(found))


async def test_a_policy_is_seen_by_those_whose_cases_are_under_it(shared: Shared) -> None:
    _, ours = await shared.auditor(OURS)
    _, both = await shared.auditor(OURS, THEIRS)
    what = "SELECT convert_from(content, 'UTF8') FROM policies ORDER BY 1"
    assert [row[0] for row in await ours.fetch(what)] == [OURS]
    assert [row[0] for row in await both.fetch(what)] == [OURS, THEIRS]


async def test_whoever_was_given_nothing_sees_nothing(shared: Shared) -> None:
    login, auditor = await shared.auditor(OURS)
    await set_auditors(shared.database.admin_url, [], stop=[(login, OURS)])
    for name in (await shared.readable(ROLE)).keys() - {"migrations"}:
        assert await auditor.fetchval(f"SELECT count(*) FROM {name}") == 0


async def test_worker_and_gateway_serve_every_organisation(shared: Shared) -> None:
    for role in SERVING:
        connection = await shared.connect(role)
        for name, columns in (await shared.readable(role)).items():
            if "organisation" in columns:
                assert await organisations(connection, name) == BOTH
        assert await connection.fetchval("SELECT count(*) FROM policies") == 2


async def test_secrets_of_subscriptions_are_for_functions_alone(shared: Shared) -> None:
    for role in (ROLE, *SERVING):
        connection = await shared.connect(role)
        for what in ("wrapped_key", "key_id", "*"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT {what} FROM subscriptions")


# What it tries


@pytest.mark.parametrize("own", [True, False], ids=["a login of its own", "the common login"])
async def test_an_auditor_cannot_widen_what_it_sees(shared: Shared, own: bool) -> None:
    login, auditor = await shared.auditor(OURS) if own else (ROLE, await shared.connect(ROLE))
    roles = ["standpipe_owner", *SERVING, "postgres", *([ROLE] if own else [])]
    attempts = [
        *(f"SET ROLE {role}" for role in roles),
        *(f"SET SESSION AUTHORIZATION {role}" for role in roles),
        f"INSERT INTO auditors VALUES ('{login}', '{THEIRS}')",
        f"UPDATE auditors SET organisation = '{THEIRS}'",
        f"GRANT standpipe_worker TO {login}",
        f"GRANT {ROLE} TO {login}",
        f"ALTER ROLE {login} BYPASSRLS",
        # Whoever sets another's password logs in as that.
        *(f"ALTER ROLE {role} PASSWORD 'x'" for role in roles),
        "ALTER TABLE events DISABLE ROW LEVEL SECURITY",
        "ALTER VIEW events_view SET (security_invoker = false)",
        "DROP POLICY audited ON events",
        "CREATE POLICY mine ON events USING (true)",
        "CREATE VIEW standpipe.mine AS SELECT * FROM events",
        "CALL scope_to_organisation('events')",
        "CREATE ROLE more",
        "SET row_security = off; SELECT * FROM events",
        "SET row_security = off; COPY events TO STDOUT",
    ]
    for attempt in attempts:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await tried(auditor, attempt)
        await auditor.execute("RESET row_security")
    await auditor.execute("SET search_path = pg_catalog, standpipe")
    assert await organisations(auditor, "events") == {OURS}


async def test_what_is_asked_is_not_asked_of_others_rows(shared: Shared) -> None:
    """A condition that fails on a row would tell of it: the row must be out of reach before."""
    _, auditor = await shared.auditor(OURS)
    for name, columns in (await shared.readable(ROLE)).items():
        if "organisation" in columns and name != "auditors":
            ask = f"SELECT 1 / (organisation <> '{THEIRS}')::int FROM {name} WHERE"
            hit = f"1 / (organisation <> '{THEIRS}')::int = 1"
            with pytest.raises(asyncpg.DivisionByZeroError):
                await shared.admin.fetch(f"{ask} {hit}")
            await auditor.fetch(f"{ask} {hit}")


async def test_nor_do_statistics_tell_of_them(shared: Shared) -> None:
    await shared.admin.execute("ANALYZE")
    _, auditor = await shared.auditor(OURS)
    what = "SELECT count(*) FROM pg_stats WHERE schemaname = 'standpipe' AND tablename <> ALL($1)"
    assert await shared.admin.fetchval(what, ["migrations"]) > 0
    assert await auditor.fetchval(what, ["migrations"]) == 0


async def test_an_auditor_neither_writes_nor_locks_nor_looks_behind(
    shared: Shared, tmp_path: Path
) -> None:
    _, auditor = await shared.auditor(OURS)
    other = await shared.admin.fetchval("SELECT pg_backend_pid()")
    tables = [r["name"] for r in await shared.relations() if not r["view"]]
    attempts = [
        *(f"BEGIN; LOCK TABLE {name} IN SHARE MODE" for name in tables),
        *(f"BEGIN; LOCK TABLE {name} IN ROW EXCLUSIVE MODE" for name in tables),
        *(f"SELECT 1 FROM {name} FOR KEY SHARE" for name in tables),
        *(f"SELECT 1 FROM {name}" for name in WITHHELD),
        # Appends queue for these locks.
        *(
            f"SELECT pg_{attempt}advisory_{scope}lock{shared_}(hashtextextended('{THEIRS}', 0))"
            for attempt in ("", "try_")
            for scope in ("", "xact_")
            for shared_ in ("", "_shared")
        ),
        "SELECT lo_create(0)",
        "SELECT lo_creat(-1)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT pg_logical_emit_message(false, 'x', 'x')",
        "CREATE TABLE public.mine (a int)",
        "CREATE SCHEMA mine",
        "DROP EXTENSION plpgsql",
        "ALTER SYSTEM SET fsync = off",
        "ANALYZE events; SELECT * FROM parties",
        f"SELECT pg_terminate_backend({other})",
        f"SELECT pg_cancel_backend({other})",
        "SELECT pg_reload_conf()",
        "SELECT pg_switch_wal()",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_ls_dir('.')",
        "SELECT * FROM pg_authid",
        "SELECT * FROM pg_shadow",
        "SELECT * FROM pg_statistic",
        "SELECT * FROM pg_largeobject",
        "SELECT * FROM pg_hba_file_rules",
        "SELECT * FROM pg_user_mapping",
        f"COPY events TO '{tmp_path}/events'",
        "COPY events TO PROGRAM 'cat'",
    ]
    for attempt in attempts:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await tried(auditor, attempt)
        await auditor.execute("ROLLBACK")
    asked = await auditor.fetch(
        "SELECT DISTINCT query FROM pg_stat_activity WHERE usename <> session_user"
    )
    assert {row[0] for row in asked} <= {"<insufficient privilege>", None}


async def test_in_a_database_that_was_migrated_by_a_superuser_nobody_leaves_tables_behind(
    servers: Endpoints,
) -> None:
    # Who may make temporary tables is the database's own, not copied for tests.
    connection = await asyncpg.connect(servers.admin_url)
    may = await connection.fetch(
        "SELECT rolname::text, has_database_privilege(oid, current_database(), 'TEMPORARY')"
        " FROM pg_roles WHERE rolname LIKE 'standpipe_%'"
    )
    await connection.close()
    assert [row[0] for row in may if row[1]] == ["standpipe_owner"]


async def test_an_auditor_calls_nothing_that_is_ours_but_what_views_count_with(
    shared: Shared,
) -> None:
    allowed = await shared.admin.fetch(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'standpipe'::regnamespace"
        " AND has_function_privilege($1, oid, 'EXECUTE') AND (prosecdef OR provolatile <> 'i')",
        ROLE,
    )
    assert [row[0] for row in allowed] == []


def whole(plan: str) -> list[str]:
    return re.sub(r"(Filter|Cond): \((.*)\)", r"\2", plan).splitlines()


async def test_serving_reads_by_the_same_plans_as_without_row_level_security(
    shared: Shared,
) -> None:
    worker = await shared.connect(SERVING[0])
    for connection in (worker, shared.admin):
        await connection.execute(_EXPLAIN)
        await connection.execute("SET enable_seqscan = off")  # as when the tables are large
    queries = [
        value
        for module in (log_reader, signing_keys, subscriptions)
        for value in vars(module).values()
        if isinstance(value, str) and value.strip().startswith(("SELECT", "WITH"))
    ]
    compared = 0
    for query in [*queries, "SELECT * FROM worklist WHERE organisation = $1 LIMIT 50"]:
        try:
            plain = await shared.admin.fetchval("SELECT pg_temp.explained($1)", query)
        except asyncpg.PostgresSyntaxError:
            continue  # a part of one
        served = await worker.fetchval("SELECT pg_temp.explained($1)", query)
        # Conditions on the same row may be tried in another order.
        assert [sorted(line.split(" AND ")) for line in whole(served)] == [
            sorted(line.split(" AND ")) for line in whole(plain)
        ]
        compared += 1
    assert compared >= 12


# Who is one


async def test_only_a_login_that_is_nothing_else_becomes_an_auditor(shared: Shared) -> None:
    url = shared.database.admin_url
    for login in ("standpipe_worker", "standpipe_gateway", "standpipe_owner", "postgres"):
        with pytest.raises(NoAuditor, match="nothing else"):
            await set_auditors(url, [(login, OURS)])
    more = f"more_{uuid4().hex[:12]}"
    shared.logins.append(more)
    await shared.admin.execute(f"CREATE ROLE {more} IN ROLE pg_read_all_data")
    with pytest.raises(NoAuditor, match="nothing else"):
        await set_auditors(url, [(more, OURS)])
    with pytest.raises(NoAuditor, match="as a superuser"):
        await set_auditors(shared.database.url(), [(f"{more}_2", OURS)])
    one, _ = await shared.auditor(OURS)
    scopes = await set_auditors(url, [(one, THEIRS), (one, OURS)])
    assert [scope for scope in scopes if scope[0] == one] == [(one, OURS), (one, THEIRS)]


def migrate(*words: str) -> Result:
    return CliRunner().invoke(app, ["migrate", *words])


async def test_the_command_line_makes_an_auditor_with_a_password_and_takes_it_back(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", shared.database.url())
    monkeypatch.setenv("STANDPIPE_ADMIN_DATABASE_URL", shared.database.admin_url)
    login, secret = f"auditor_{uuid4().hex[:12]}", tmp_path / "secret"
    secret.write_text("pencil\n")
    shared.logins.append(login)
    words = ("--auditor", f"{login}={THEIRS}", "--role-password", f"{login}={secret}")
    done = await asyncio.to_thread(migrate, *words)
    assert done.exit_code == 0, done.output
    assert f"{login} may audit {THEIRS}" in done.output
    auditor = await shared.connect(login)
    assert await organisations(auditor, "events") == {THEIRS}
    stored = "SELECT rolpassword LIKE 'SCRAM%' FROM pg_authid WHERE rolname = $1"
    assert await shared.admin.fetchval(stored, login)
    done = await asyncio.to_thread(migrate, "--no-auditor", f"{login}={THEIRS}")
    assert (done.exit_code, login in done.output) == (0, False)
    assert await organisations(auditor, "events") == set()
    for wrong in (("--auditor", "x"), ("--auditor", "x=A B"), ("--no-auditor", "=town")):
        assert (await asyncio.to_thread(migrate, *wrong)).exit_code == 2


# As the commands of `standpipe audit` read


def as_login(shared: Shared, login: str, organisation: str = OURS) -> Settings:
    return Settings(database_url=shared.database.url(login), organisation=organisation)


async def test_a_session_reads_one_moment_over_all_its_connections(shared: Shared) -> None:
    login, _ = await shared.auditor(OURS)
    count = "SELECT count(*) FROM heads"
    async with auditing(as_login(shared, login)) as session:
        assert await session.connection.fetchval(count) == 1
        await shared.admin.execute("UPDATE heads SET organisation = organisation || '-2'")
        second = await session.another()
        assert await second.fetchval(count) == 1
        third = await session.another()
        assert await third.fetchval("SELECT organisation FROM heads") == OURS
        for connection in (session.connection, second):
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await connection.execute("CREATE TEMPORARY TABLE mine (a int)")
    assert second.is_closed()


async def test_a_session_says_why_it_cannot_audit(shared: Shared, tmp_path: Path) -> None:
    async def refused(settings: Settings) -> str:
        with pytest.raises(StackError) as caught:
            async with auditing(settings):
                pytest.fail("it audits")
        return str(caught.value)

    login, _ = await shared.auditor(OURS)
    assert "standpipe up" in await refused(Settings(data_dir=tmp_path))
    for role in SERVING:
        assert "an auditor's" in await refused(as_login(shared, role))
    # A superuser would be above what holds an auditor.
    superuser = Settings(database_url=shared.database.admin_url, organisation=OURS)
    assert "--auditor postgres=town" in await refused(superuser)
    said = await refused(as_login(shared, login, THEIRS))
    assert f"standpipe migrate --auditor {login}={THEIRS}" in said
    await shared.admin.execute("INSERT INTO migrations VALUES ('9999_future.sql', '')")
    assert "9999_future.sql of a newer" in await refused(as_login(shared, login))
    assert "no log" in await refused(
        Settings(database_url=url_as(shared.database.url(login), database="postgres"))
    )


async def test_a_session_does_not_read_an_older_schema(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "9999_future.sql").write_text("SELECT 1;")
    for path in migrations.DIRECTORY.glob("*.sql"):
        (tmp_path / path.name).write_text("")
    monkeypatch.setattr("audit.session.MIGRATIONS", tmp_path)
    with pytest.raises(NotAuditable, match=r"lacks 9999_future\.sql: run `standpipe migrate`"):
        async with auditing(as_login(shared, ROLE)):
            pytest.fail("it audits")
