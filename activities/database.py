"""Connections to PostgreSQL: a pool with limits on everything, and the owner's for maintenance."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection = asyncpg.Connection | PoolConnectionProxy
"""One's own, or borrowed from a pool."""

COMMAND_SECONDS = 20.0
"""What a caller waits. Longer than the server's own limits, so the server gives up first."""

_SETTINGS = {"search_path": "standpipe", "timezone": "UTC", "jit": "off"}
_LIMITS = {
    "statement_timeout": "15s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
}


async def open_pool(
    url: str, *, min_size: int = 1, max_size: int = 10, application_name: str = "standpipe"
) -> asyncpg.Pool:
    """A pool on which nothing waits for ever: a lost network is an error after 20 seconds."""
    return await asyncpg.create_pool(
        url,
        min_size=min_size,
        max_size=max_size,
        timeout=COMMAND_SECONDS,
        command_timeout=COMMAND_SECONDS,
        server_settings=_SETTINGS | _LIMITS | {"application_name": application_name},
        reset=_keep,
    )


async def _keep(connection: object) -> None:
    """No session state to reset: asyncpg's own query would double every call's round trips."""


class DatabaseUnavailable(Exception):
    """PostgreSQL could not be reached, or was too busy. The same call again is safe."""


@asynccontextmanager
async def reached() -> AsyncGenerator[None]:
    """Turns every way of not reaching PostgreSQL into DatabaseUnavailable."""
    try:
        yield
    except (
        OSError,  # TimeoutError is one
        asyncpg.InterfaceError,
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.LockNotAvailableError,
        asyncpg.TransactionRollbackError,
        asyncpg.IdleInTransactionSessionTimeoutError,
    ) as error:
        raise DatabaseUnavailable(
            f"PostgreSQL could not be reached or was too busy ({type(error).__name__})."
        ) from error


@asynccontextmanager
async def as_owner(admin_url: str) -> AsyncGenerator[asyncpg.Connection]:
    """A connection acting as standpipe_owner, without time limits: for maintenance."""
    connection = await asyncpg.connect(
        admin_url,
        timeout=COMMAND_SECONDS,
        server_settings=_SETTINGS | {"application_name": "standpipe maintenance"},
    )
    try:
        await connection.execute("SET ROLE standpipe_owner")
        yield connection
    except BaseException:
        connection.terminate()  # perhaps in the middle of a COPY
        raise
    await connection.close(timeout=COMMAND_SECONDS)
