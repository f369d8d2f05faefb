"""The running servers as a command of the gateway needs them: connections open when first used."""

from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import asyncpg
from temporalio.client import Client

from activities.cases import Cases
from activities.database import open_pool, reached
from activities.log_reader import LogReader
from activities.migrations import DIRECTORY as MIGRATIONS
from activities.migrations import MigrationError
from activities.vault import Vault
from gateway.timeline import Timeline, timeline
from lifecycles.policies import Pinned, pinned
from settings import Settings
from stack import Endpoints, StackError, connect_temporal, endpoints, url_as

Role = Literal["standpipe_worker", "standpipe_gateway"]


class NoSuchCase(Exception):
    """The log has no case by that id."""


class Session:
    """One organisation's log, vault and cases. StackError when nothing runs."""

    def __init__(
        self, settings: Settings, *, connections: int = 4, role: Role = "standpipe_worker"
    ) -> None:
        """`role` is whose rights the embedded database gives; a real one's are in its URL."""
        self.settings = settings
        self._connections = connections
        self._name = "standpipe cli" if role == "standpipe_worker" else role
        self.organisation = settings.organisation
        self.endpoints: Endpoints = endpoints(settings)
        url = self.endpoints.database_url
        self._database_url = url_as(url, role=role) if self.endpoints.embedded else url
        self._pool: asyncpg.Pool | None = None
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        async with reached():
            self._pool = await open_pool(
                self._database_url,
                max_size=self._connections,
                application_name=self._name.replace("_", " "),
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.terminate()

    @property
    def pool(self) -> asyncpg.Pool:
        assert self._pool is not None, "a session is open inside its `async with`"
        return self._pool

    @property
    def log(self) -> LogReader:
        """The log and its read models."""
        return LogReader(self.pool)

    @property
    def vault(self) -> Vault:
        """The parties; SettingsError without the key."""
        return Vault(self.pool, self.settings.key_encryption_key())

    @property
    def admin_url(self) -> str:
        """The database as a role that may maintain it."""
        if self.endpoints.admin_url is None:
            raise StackError("Set STANDPIPE_ADMIN_DATABASE_URL to a role that may maintain it.")
        return self.endpoints.admin_url

    async def check_schema(self) -> None:
        """MigrationError where the database is not at this version."""
        async with reached():
            rows = await self.pool.fetch("SELECT name FROM migrations")
        here = {path.name for path in MIGRATIONS.glob("*.sql")}
        there = {row["name"] for row in rows}
        if missing := sorted(here - there):
            raise MigrationError(
                f"The database lacks {', '.join(missing)}: run `standpipe migrate` first."
            )
        if unknown := sorted(there - here):
            raise MigrationError(
                f"The database has {', '.join(unknown)} of a newer Standpipe: run that one."
            )

    async def client(self) -> Client:
        """A Temporal client; StackError if it does not answer."""
        if self._client is None:
            self._client = await connect_temporal(self.endpoints)
        return self._client

    async def cases(self) -> Cases:
        """The cases, through Temporal."""
        return Cases(await self.client(), self.log, self.organisation, self.settings.task_queue)

    async def policy_of(self, case_id: str) -> Pinned:
        """The policy that a case pinned. NoSuchCase where there is none."""
        policy = await self.log.policy_of(self.organisation, case_id)
        if policy is None:
            raise NoSuchCase(f"There is no case {case_id}: see `standpipe case list`.")
        return pinned(policy)

    async def timeline(self, case_id: str, *, ahead: int = 3) -> Timeline:
        """A case, folded from the log. NoSuchCase where there is none."""
        policy = await self.policy_of(case_id)
        decisions = await self.log.read_decisions(self.organisation, case_id)
        now = datetime.now(UTC)
        return timeline(self.organisation, case_id, policy, decisions, now, ahead=ahead)


def policy_folder(settings: Settings) -> Path:
    """Where the policies are: as configured, or those that Standpipe comes with."""
    ours = Path(__file__).resolve().parent.parent / "policies"
    if not settings.policy_dir.is_dir() and "policy_dir" not in settings.model_fields_set:
        return ours
    return settings.policy_dir
