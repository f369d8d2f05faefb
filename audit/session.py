"""The log as an auditor reads it: one moment of it, with an auditor's rights and no others."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg
from temporalio.client import Client

from activities.auditors import ROLE
from activities.database import COMMAND_SECONDS, reached
from activities.migrations import DIRECTORY as MIGRATIONS
from settings import Settings
from stack import Endpoints, StackError, connect_temporal, endpoints, url_as

_SETTINGS = {
    "search_path": "standpipe",
    "timezone": "UTC",
    "jit": "off",
    "application_name": "standpipe audit",
    "default_transaction_read_only": "on",
    # Millions of rows take as long as they take.
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}

_MAY = "SELECT pg_has_role(session_user, oid, 'USAGE') FROM pg_roles WHERE rolname = $1"


class NotAuditable(StackError):
    """Something runs, but it can't be audited from here: why, and what to do."""


class Auditing:
    """One organisation's log at one moment, read-only, as standpipe_auditor."""

    def __init__(self, settings: Settings, found: Endpoints, url: str) -> None:
        self.settings = settings
        self.organisation = settings.organisation
        self.endpoints = found
        self._url = url
        self._snapshot: str | None = None
        self._connections: list[asyncpg.Connection] = []
        self._client: Client | None = None

    @property
    def connection(self) -> asyncpg.Connection:
        """In one REPEATABLE READ READ ONLY transaction: it sees the log as it was at the start."""
        return self._connections[0]

    async def another(self) -> asyncpg.Connection:
        """One more connection that sees the same moment, to read beside the first."""
        connection = await self._connect()
        if self._snapshot is None:
            self._snapshot = await self.connection.fetchval("SELECT pg_export_snapshot()")
        await connection.execute(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'")
        return connection

    async def client(self) -> Client:
        """A Temporal client; StackError if it does not answer."""
        if self._client is None:
            self._client = await connect_temporal(self.endpoints)
        return self._client

    async def open(self) -> None:
        """Connect, and see that this role can read this version's log. NotAuditable if not."""
        connection = await self._connect()
        try:
            rows = await connection.fetch("SELECT name FROM migrations")
        except asyncpg.UndefinedTableError:
            raise NotAuditable(
                "The database has no log of Standpipe's: is STANDPIPE_DATABASE_URL right?"
            ) from None
        there = {row["name"] for row in rows}
        here = {path.name for path in MIGRATIONS.glob("*.sql")}
        if missing := sorted(here - there):
            raise NotAuditable(
                f"The database lacks {', '.join(missing)}: run `standpipe migrate` first."
            )
        if unknown := sorted(there - here):
            raise NotAuditable(
                f"The database has {', '.join(unknown)} of a newer Standpipe: audit with that one."
            )
        await self._check_scope(connection)

    async def close(self) -> None:
        """Hang up, whatever is under way."""
        for connection in self._connections:
            connection.terminate()
        self._connections.clear()

    async def _connect(self) -> asyncpg.Connection:
        try:
            async with reached():
                connection = await asyncpg.connect(
                    self._url, timeout=COMMAND_SECONDS, server_settings=_SETTINGS
                )
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise NotAuditable(f"PostgreSQL lets this login in no further: {error}") from None
        self._connections.append(connection)
        if not await connection.fetchval(_MAY, ROLE):
            raise NotAuditable(
                f"This login is no {ROLE}: give STANDPIPE_DATABASE_URL of an auditor's."
            )
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return connection

    async def _check_scope(self, connection: asyncpg.Connection) -> None:
        if not await connection.fetchval(
            "SELECT EXISTS (SELECT FROM auditors WHERE login = session_user AND organisation = $1)",
            self.organisation,
        ):
            login: str = await connection.fetchval("SELECT session_user::text")
            raise NotAuditable(
                f"{login} is no auditor of {self.organisation}: have an administrator run"
                f" `standpipe migrate --auditor {login}={self.organisation}`."
            )


@asynccontextmanager
async def auditing(settings: Settings) -> AsyncGenerator[Auditing]:
    """An organisation's log as its auditor sees it now.

    The embedded servers know the auditor from the start; on real ones STANDPIPE_DATABASE_URL is to
    be an auditor's. Raises StackError when nothing runs, and NotAuditable (which is one).
    """
    found = endpoints(settings)
    url = found.database_url
    session = Auditing(settings, found, url_as(url, role=ROLE) if found.embedded else url)
    try:
        await session.open()
        yield session
    finally:
        await session.close()
