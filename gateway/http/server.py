"""The API on a socket, for as long as whoever runs it wants."""

import asyncio
import gc
import logging
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from gateway.http.access import access_of
from gateway.http.app import build_app
from gateway.http.guards import SERVER
from gateway.session import Session
from gateway.tokens import trusted
from settings import Settings
from stack import StackError

STOP_SECONDS = 10
"""Requests that are being answered may take so long when the gateway stops."""
BACKLOG = 2048
FILE = "gateway.log"
CONNECTIONS = 20
"""To PostgreSQL: what waits for one waits in this process, and no longer than a request may."""


class _Server(uvicorn.Server):
    """Stops when it is told; signals are for whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def gateway(settings: Settings, host: str, port: int) -> AsyncGenerator[str]:
    """The API of an organisation, at the address that this gives, on the servers that run.

    PolicyError, SettingsError, MigrationError or StackError where it cannot be.
    """
    async with (
        Session(settings, connections=CONNECTIONS, role="standpipe_gateway") as session,
        trusted(settings) as tokens,
    ):
        await session.check_schema()
        app = build_app(session, access_of(settings, tokens, session))
        async with listening(app, host, port) as address:
            gc.collect()
            gc.freeze()  # all that stays: else the collector walks through it again and again
            yield address


@asynccontextmanager
async def listening(app: FastAPI, host: str, port: int) -> AsyncGenerator[str]:
    """The application answers at the address that this gives, such as http://127.0.0.1:8080.

    It ends with the body, once what is being answered is answered. StackError where nobody may
    listen there.
    """
    listener = _bound(host, port)
    try:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            http="h11",
            loop="none",
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_SECONDS,
            backlog=BACKLOG,
            **SERVER,
        )
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started:
                if running.done():
                    running.result()
                    raise StackError("The gateway did not start.")
                await asyncio.sleep(0.01)
            yield _address(host, listener)
        finally:
            app.state.feed.stop()
            server.should_exit = True
            await running
    finally:
        listener.close()


def log_to(folder: Path | None) -> None:
    """Faults go to standard error, or to gateway.log in the folder."""
    handler = logging.StreamHandler() if folder is None else logging.FileHandler(folder / FILE)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("standpipe", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    logging.getLogger("asyncio").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """A call that was given up leaves its end behind in Temporal's client: no news to anybody."""
    return "exception=CancelledError" not in record.getMessage()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError:
        raise StackError(f"STANDPIPE_HTTP_HOST: {host} is no address of this machine.") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise StackError(
            f"The gateway cannot listen at {host}, port {port}: {error.strerror}. Set"
            " STANDPIPE_HTTP_PORT to another port, or to 0 for any free one."
        ) from None
    listener.setblocking(False)
    return listener


def _address(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
