"""Where the servers are, and how to connect to them."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RPCError

from settings import Settings
from stack.lock import StackError, is_held_by, record_path

NAMESPACE = "default"
CONNECT_SECONDS = 10.0


class Endpoints(BaseModel):
    """Our own servers, or the real ones that the environment names."""

    model_config = ConfigDict(frozen=True)

    database_url: str = Field(repr=False)
    """As role standpipe_worker."""
    admin_url: str | None = Field(repr=False)
    """As a role that may migrate and rebuild; real servers need not tell."""
    temporal_address: str
    temporal_namespace: str
    ui_url: str | None
    time_skipping: bool
    pid: int | None
    """The process that runs the embedded servers; None where they are real ones."""

    @property
    def embedded(self) -> bool:
        return self.pid is not None


def url_as(url: str, *, role: str | None = None, database: str | None = None) -> str:
    """The same PostgreSQL server as another role (without a password) or for another database."""
    parts = urlsplit(url)
    if role is not None:
        parts = parts._replace(netloc=f"{quote(role)}@{parts.netloc.rpartition('@')[2]}")
    if database is not None:
        parts = parts._replace(path=f"/{database}")
    return urlunsplit(parts)


def endpoints(settings: Settings) -> Endpoints:
    """The real servers if STANDPIPE_DATABASE_URL is set, else the running embedded ones.

    StackError when there are neither, saying what to do.
    """
    database_url = settings.worker_database_url()
    if database_url is not None:
        config = _temporal_environment()
        return Endpoints(
            database_url=database_url,
            admin_url=settings.migration_database_url(),
            temporal_address=config.get("target_host") or "localhost:7233",
            temporal_namespace=config.get("namespace") or NAMESPACE,
            ui_url=None,
            time_skipping=False,
            pid=None,
        )
    try:
        found = Endpoints.model_validate_json(record_path(settings.data_dir).read_bytes())
    except (OSError, ValidationError):
        found = None
    if found is not None and found.pid is not None and is_held_by(settings.data_dir, found.pid):
        return found
    hint = ""
    if "TEMPORAL_ADDRESS" in os.environ:
        hint = " (TEMPORAL_ADDRESS alone is not enough: set STANDPIPE_DATABASE_URL too)"
    raise StackError(f"Nothing runs in {settings.data_dir}: start it with `standpipe up`{hint}.")


async def connect_temporal(to: Endpoints) -> Client:
    """A client that speaks pydantic; StackError if Temporal does not answer.

    TLS, keys and headers for real servers come from TEMPORAL_*; the embedded one needs none.
    """
    config = ClientConnectConfig() if to.embedded else _temporal_environment()
    config["target_host"] = to.temporal_address
    config["namespace"] = to.temporal_namespace
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await Client.connect(**config, data_converter=pydantic_data_converter)
    except (RuntimeError, RPCError, TimeoutError):
        raise StackError(
            f"Temporal does not answer at {to.temporal_address}: is it running, and are its address"
            " and TLS right?"
        ) from None


def _temporal_environment() -> ClientConnectConfig:
    try:
        return ClientConfig.load_client_connect_config()
    except (RuntimeError, ValueError) as error:
        raise StackError(f"Temporal's own configuration (TEMPORAL_*) is wrong: {error}") from None
