"""Who uses a data directory: a lock that its starter and every server of it hold while they live.

The lock is the truth; the process ids beside it only tell whom to name.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

LEFTOVER_SECONDS = 30.0


class StackError(Exception):
    """The servers can't be started or reached; the message is a sentence for a person."""


def record_path(data_dir: Path) -> Path:
    """The file that says where the running servers are."""
    return data_dir / "running.json"


async def take(data_dir: Path, report: Callable[[str], None]) -> int:
    """Lock the directory for this process; the servers inherit the returned file descriptor.

    Whoever runs here already is named in a StackError. Servers of a killed run get the time that
    they need to stop, and are named if they don't.
    """
    path = data_dir / "lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        give_up = time.monotonic() + LEFTOVER_SECONDS
        waiting = False
        while not _lock_now(lock):
            owner = living(path)
            if owner is not None:
                raise StackError(_already(data_dir, owner))
            if time.monotonic() > give_up:
                raise StackError(_leftovers(data_dir))
            if not waiting:
                report("Waiting for the servers of a run that was killed to stop ...")
            waiting = True
            await asyncio.sleep(0.1)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BaseException:
        os.close(lock)
        raise
    return lock


def is_held_by(data_dir: Path, pid: int) -> bool:
    """Whether this process runs servers on this directory now."""
    try:
        lock = os.open(data_dir / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return living(data_dir / "lock") == pid
    finally:
        os.close(lock)
    return False


def living(pid_file: Path) -> int | None:
    """The living process that a file names, if any."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return None
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass  # it lives, as somebody else
    except OSError:
        return None
    return pid


def _lock_now(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _already(data_dir: Path, owner: int) -> str:
    try:
        ui_url = json.loads(record_path(data_dir).read_text())["ui_url"]
    except (OSError, ValueError, KeyError):
        ui_url = None  # it is starting, and has not said where yet
    where = f": web UI {ui_url}" if ui_url else ""
    return (
        f"Standpipe is already running here (process {owner}){where}; stop it there or use another"
        " --data-dir."
    )


def _leftovers(data_dir: Path) -> str:
    left = [str(pid) for file in data_dir.glob("*.pid") if (pid := living(file)) is not None]
    return (
        f"Servers of a run that was killed still use {data_dir}: stop them first (process"
        f" {', '.join(left) or 'unknown'})."
    )
