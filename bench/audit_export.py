"""Exports: rows per second of every format, and memory, of a small log and of one much larger.

Each measurement is a process of its own, so that its peak of memory is that export's alone.
"""

import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.check_export import check, parse_key
from audit.export import Format, export
from audit.export_jsonl import Note
from audit.export_rows import Selection, select
from audit.notes import Checkpoint, Signer, sign
from bench.audit_logs import Log
from bench.measure import Line, Report, peak_megabytes

ORIGIN = "standpipe/bench"
CHECK = "check-export"
WAYS = (*(format.value for format in Format), CHECK)
_KEY = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))


class Measured(NamedTuple):
    """One process's figures."""

    per_second: float
    megabytes: float
    """The most memory that it had at a time."""


async def compare(report: Report, admin_url: str, small: Log, large: Log) -> None:
    """Every format and the check of an export, of both logs.

    The large one is measured once, between two measurements of the small one for each round.
    """
    with TemporaryDirectory(prefix="standpipe-exports-") as folder:
        for way in WAYS:
            report.console.print(f"exports: {way} ...")
            few = [await _measured(admin_url, small, way, folder) for _ in range(report.rounds)]
            many = await _measured(admin_url, large, way, folder)
            few += [await _measured(admin_url, small, way, folder) for _ in range(report.rounds)]
            _tell(report, way, small, large, few, many)


def _tell(
    report: Report, way: str, small: Log, large: Log, few: Sequence[Measured], many: Measured
) -> None:
    usual = statistics.median(measured.per_second for measured in few)
    memory = max(measured.megabytes for measured in few)
    what = f"{way}, {large.events} events, against {small.events}"
    report.facts[f"exports: {way}"] = {
        f"{small.events} events": [measured._asdict() for measured in few],
        f"{large.events} events": many._asdict(),
    }
    report.lines.append(Line(what, many.per_second, usual, "rows/s", 0.9))
    report.lines.append(Line(f"memory of {what}", many.megabytes, memory, "MB", 1.25, at_most=True))


async def _measured(admin_url: str, log: Log, way: str, folder: str) -> Measured:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.audit_export", log.organisation, way, folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    # Not in its arguments, where everybody on the machine could read it.
    told, _ = await process.communicate(admin_url.encode())
    if process.returncode:
        raise RuntimeError(f"The measurement of {way} ended with {process.returncode}.")
    return Measured(*json.loads(told))


async def _measure(admin_url: str, organisation: str, way: str, folder: Path) -> Measured:
    if way == CHECK:
        return _checked(folder / f"{organisation}.jsonl")
    format = Format(way)
    connection = await asyncpg.connect(
        admin_url, server_settings={"search_path": "standpipe", "timezone": "UTC", "jit": "off"}
    )
    try:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        chosen = await select(connection, organisation)
        # First what is done once in a process: imports, plans, caches.
        await _export(connection, chosen._replace(last=1_000), format, folder / "warm")
        gc.collect()
        begin = time.perf_counter()
        file = folder / f"{organisation}{format.ending}"
        root = await _export(connection, chosen, format, file)
        took = time.perf_counter() - begin
    finally:
        connection.terminate()
    if root is not None:
        note = sign(Checkpoint(ORIGIN, chosen.last, bytes.fromhex(root)), _KEY)
        file.with_suffix(".note").write_text(note, encoding="utf-8")
    else:
        file.unlink()
    return Measured(chosen.total / took, peak_megabytes())


async def _export(
    connection: asyncpg.Connection, chosen: Selection, format: Format, file: Path
) -> str | None:
    notes: list[Note] = []
    done = await export(connection, chosen, format, file, origin=ORIGIN, notes=notes)
    return done.root


def _checked(file: Path) -> Measured:
    """Of the file that the export before has left."""
    begin = time.perf_counter()
    note = file.with_suffix(".note").read_text(encoding="utf-8")
    verdict = check(file, [parse_key(_KEY.vkey)], [note])
    took = time.perf_counter() - begin
    assert verdict.ok, verdict.findings[:3]
    return Measured(verdict.events / took, peak_megabytes())


if __name__ == "__main__":
    organisation, way, folder = sys.argv[1:]
    found = asyncio.run(_measure(sys.stdin.read(), organisation, way, Path(folder)))
    print(json.dumps(found))
