"""Starts PostgreSQL and Temporal on one data directory, and stops both."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import stat
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from settings import KEY_BYTES, SettingsError, decode_key
from stack import lock, postgres, temporal
from stack.connect import NAMESPACE, Endpoints, url_as
from stack.lock import StackError
from stack.server import Place, Server

LOGIN_ROLES = ("standpipe_worker", "standpipe_gateway", "standpipe_auditor")

Migrate = Callable[[str], Awaitable[list[str]]]


async def apply_migrations(admin_url: str) -> list[str]:
    """Bring the database's schema and roles up to date; the names of what was applied."""
    from activities.migrations import migrate

    return await migrate(admin_url)


class Stack:
    """PostgreSQL and Temporal; `async with` starts and stops them.

    Ports of 0 mean any free one. `tuned=False` starts Temporal as it comes, to compare with.
    Every failure to start is a StackError with nothing left running.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        time_skipping: bool = False,
        temporal: bool = True,
        tuned: bool = True,
        temporal_port: int = 7233,
        ui_port: int = 8233,
        migrate: Migrate = apply_migrations,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self._time_skipping = time_skipping
        self._temporal = temporal
        self._tuned = tuned
        self._ports = temporal_port, ui_port
        self._migrate = migrate
        self._report = report
        self._servers: list[Server] = []
        self._sockets: Path | None = None
        self._undo = AsyncExitStack()
        self._endpoints: Endpoints | None = None

    @property
    def endpoints(self) -> Endpoints:
        """Where the servers are; StackError while they don't run."""
        if self._endpoints is None:
            raise StackError("The servers are not running.")
        return self._endpoints

    @property
    def pids(self) -> Mapping[str, int]:
        """The process id of each server, by name."""
        return {server.name: server.pid for server in self._servers}

    async def __aenter__(self) -> Self:
        try:
            self._endpoints = await self._start()
        except BaseException as error:
            await self._undo.aclose()
            if isinstance(error, OSError):
                raise StackError(f"{error.filename or self.data_dir}: {error.strerror}.") from error
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._endpoints = None
        await self._undo.aclose()

    async def until_stopped(self) -> None:
        """Wait for Ctrl-C or SIGTERM; StackError if a server ends by itself before that."""
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in signals:
            loop.add_signal_handler(number, asked.set)
        endings = [server.ended() for server in self._servers]
        waits = [asyncio.ensure_future(wait) for wait in (asked.wait(), *endings)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
            for task in waits:
                task.cancel()
        for server in self._servers:
            if not asked.is_set() and server.status is not None:
                raise StackError(f"{server.name} ended by itself: {server.last_words()}")

    async def _start(self) -> Endpoints:
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
        place = Place(self.data_dir, await lock.take(self.data_dir, self._report))
        self._undo.callback(os.close, place.lock)
        record = lock.record_path(self.data_dir)
        record.unlink(missing_ok=True)
        ensure_key(self.data_dir)
        ed25519_key(self.data_dir / "checkpoint-key")
        port, ui_port = temporal.claim_ports(*self._ports) if self._temporal else (0, 0)

        self._undo.push_async_callback(self._stop)
        database, sockets = await postgres.launch(place, self._report)
        self._servers.append(database)
        self._sockets = sockets
        url = postgres.url(sockets)
        found = Endpoints(
            database_url=url_as(url, role=LOGIN_ROLES[0]),
            admin_url=url,
            temporal_address=f"127.0.0.1:{port}",
            temporal_namespace=NAMESPACE,
            ui_url=f"http://localhost:{ui_port}" if self._temporal else None,
            time_skipping=self._time_skipping,
            pid=os.getpid(),
        )
        if self._temporal:
            self._servers.append(
                await temporal.launch(
                    place, port, ui_port, tuned=self._tuned, time_skipping=self._time_skipping
                )
            )
        await self._prepare_database(database, url)
        if self._temporal:
            await self._servers[-1].answer(lambda: temporal.check(found))
            self._report(f"Temporal answers at {found.temporal_address}.")

        self._undo.callback(record.unlink, missing_ok=True)
        part = record.with_suffix(".part")
        part.write_text(found.model_dump_json(indent=2) + "\n")
        part.replace(record)
        return found

    async def _prepare_database(self, server: Server, url: str) -> None:
        plain = url_as(url, database="postgres")
        connection = await server.answer(lambda: asyncpg.connect(plain, timeout=5))
        try:
            if not await connection.fetchval(
                "SELECT true FROM pg_database WHERE datname = $1", postgres.DATABASE
            ):
                await connection.execute(f"CREATE DATABASE {postgres.DATABASE}")
            applied = await self._migrate(url)
            # Migrations leave logging in to whoever runs the server: here, a private socket.
            for role in await connection.fetch(
                "SELECT rolname FROM pg_roles WHERE rolname = ANY($1) AND NOT rolcanlogin",
                LOGIN_ROLES,
            ):
                await connection.execute(f"ALTER ROLE {role['rolname']} LOGIN")
        finally:
            await connection.close()
        self._report(f"PostgreSQL answers; {len(applied)} migrations applied.")

    async def _stop(self) -> None:
        await asyncio.gather(*(server.stop() for server in self._servers))
        self._servers.clear()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)


def ensure_key(data_dir: Path) -> Path:
    """The vault's key-encryption key, made on first use: 32 random bytes as base64, mode 0600.

    StackError if it is open to others or is no key: who can read it can read every party.
    """
    path = data_dir / "key"
    content = kept_secret(path, lambda: base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
    try:
        decode_key(content.decode("ascii", errors="replace"), str(path))
    except SettingsError as error:
        raise StackError(str(error)) from None
    return path


def ed25519_key(path: Path) -> bytes:
    """A private key in PEM, made on first use, mode 0600.

    StackError if it is open to others: who can read it can sign another past.
    """
    return kept_secret(
        path,
        lambda: Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
    )


def kept_secret(path: Path, make: Callable[[], bytes]) -> bytes:
    """A file that is its owner's alone (mode 0600), made on first use; what it holds.

    StackError if it is open to others or cannot be read.
    """
    if not path.exists():
        new = path.with_name(f"{path.name}.{os.getpid()}")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(new, path)  # never replaces one that somebody else made meanwhile
        new.unlink()
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StackError(f"{path} is open to others: make it yours alone with `chmod 600 {path}`.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise StackError(f"{path}: {error.strerror}.") from None
