"""One server process: started under a guard, asked whether it answers, stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pwd import struct_passwd
from typing import Self, TypeVar

import asyncpg
from temporalio.service import RPCError

from stack.lock import StackError

START_SECONDS = 60.0
STOP_SECONDS = 20.0
LOG_BYTES = 10_000_000

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a stack's servers run: its directory, and the lock on it that they inherit."""

    data_dir: Path
    lock: int


class Server:
    """A server that runs, or ran: its guard ends with it."""

    def __init__(
        self, name: str, guard: asyncio.subprocess.Process, pid_file: Path, log: Path, start: int
    ) -> None:
        self.name = name
        self._guard = guard
        self._pid_file = pid_file
        self._log = log
        self._log_start = start

    @classmethod
    async def launch(
        cls,
        name: str,
        command: list[str],
        place: Place,
        *,
        stop_signal: signal.Signals,
        account: struct_passwd | None = None,
    ) -> Self:
        """Start the command, as another account if given; its output goes to logs/NAME.log."""
        pid_file = place.data_dir / f"{name.lower()}.pid"
        log = place.data_dir / "logs" / f"{name.lower()}.log"
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        other = account if account is not None and account.pw_uid != os.geteuid() else None
        spec = {
            "command": command,
            "directory": str(place.data_dir),
            "inherit": [place.lock],  # as long as a server lives, the directory stays locked
            "uid": other.pw_uid if other else None,
            "gid": other.pw_gid if other else None,
            "stop_signal": stop_signal,
            "grace": STOP_SECONDS,
            "pid_file": str(pid_file),
        }
        with log.open("ab") as output:
            start = output.tell()
            guard = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))),
                json.dumps(spec),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=_environment(),
                pass_fds=[place.lock],
                start_new_session=True,  # the terminal's Ctrl-C is for us, who stop in good order
            )
        return cls(name, guard, pid_file, log, start)

    @property
    def pid(self) -> int:
        """The server's own process, not its guard's."""
        return int(self._pid_file.read_text())

    @property
    def status(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._guard.returncode

    async def ended(self) -> None:
        """Wait until it is gone."""
        await self._guard.wait()

    async def answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until it answers; StackError if it ends before, or takes START_SECONDS."""
        give_up = time.monotonic() + START_SECONDS
        while True:
            with suppress(
                OSError, asyncpg.PostgresError, asyncpg.InterfaceError, RPCError, StackError
            ):
                return await ask()
            if self.status is not None:
                raise StackError(f"{self.name} ended as it started: {self.last_words()}")
            if time.monotonic() > give_up:
                raise StackError(
                    f"{self.name} does not answer after {START_SECONDS:.0f} s: {self.last_words()}"
                )
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Ask it to stop, and wait; it is killed if it takes longer than STOP_SECONDS."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS + 5):
                await self._guard.wait()
        except TimeoutError:
            self._guard.kill()
            await self._guard.wait()

    def last_words(self) -> str:
        """The last line that this run wrote to its log, and where to read the rest."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        line = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return f"{line} (see {self._log})"


def _environment() -> dict[str, str]:
    # Settings meant for other servers (PGPORT, TEMPORAL_ADDRESS ...) and secrets must not reach it.
    foreign = ("PG", "TEMPORAL_", "STANDPIPE_", "LC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "LC_ALL": "C", "TEMPORAL_VERSION_CHECK_DISABLED": "1"}
