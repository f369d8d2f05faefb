"""Exports of the log: one file, all of it or nothing, at constant memory."""

import asyncio
import gzip
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, cast

from activities.database import Connection
from audit import export_jsonl, export_ocel, export_table, export_xes
from audit.export_jsonl import Note
from audit.export_rows import Selection
from schemas.base import Value


class Format(StrEnum):
    """What the file is for."""

    JSONL = "jsonl"
    """To be verified offline, by `check_export.py` alone."""
    OCEL2 = "ocel2"
    XES = "xes"
    CSV = "csv"
    PARQUET = "parquet"

    @property
    def ending(self) -> str:
        """Of a file's name."""
        return ".ocel.json" if self is Format.OCEL2 else f".{self}"


class Exported(Value):
    """What was written."""

    file: str
    format: str
    organisation: str
    first: int
    last: int
    """Positions; `first - 1` where there were none."""
    events: int
    bytes: int
    decisions: int | None = None
    """In jsonl alone, as what follows."""
    without_events: int | None = None
    leaves: int | None = None
    signed: int | None = None
    """How many leaves the newest checkpoint in the file covers; 0 where there is none."""
    root: str | None = None
    cases: int | None = None
    """In xes: traces."""
    objects: int | None = None
    """In ocel2."""
    unfolded: int | None = None
    """In ocel2: cases whose events make no sense to their lifecycle."""


async def export(
    connection: Connection,
    selection: Selection,
    format: Format,
    file: Path,
    *,
    origin: str = "",
    notes: Sequence[Note] = (),
    done: Callable[[int], None] = lambda count: None,
) -> Exported:
    """Write the selected events to a file, packed by gzip if its name ends so.

    `origin` and `notes`, the log's name and its signed checkpoints, go into jsonl. `done` hears how
    many events are written. The file appears when it is whole. Raises OSError, LogDamaged and
    NoParquet; then the connection may be in the midst of a COPY, and is to be terminated.
    """
    told: dict[str, object] = {}
    events = 0

    def count(written: int) -> None:
        nonlocal events
        events = written
        done(written)

    with whole(file) as out:
        match format:
            case Format.JSONL:
                written = await export_jsonl.write(
                    connection, selection, out, origin=origin, notes=notes, done=count
                )
                told = {
                    "decisions": written.decisions,
                    "without_events": written.without_events,
                    "leaves": written.leaves,
                    "signed": written.signed,
                    "root": written.root,
                }
            case Format.OCEL2:
                counts = await export_ocel.write(connection, selection, out, done=count)
                told = counts._asdict()
            case Format.XES:
                cases = await export_xes.write(connection, selection, out, done=count)
                told = {"cases": cases}
            case Format.CSV:
                await export_table.write_csv(connection, selection, out, done=count)
            case Format.PARQUET:
                await export_table.write_parquet(connection, selection, out, done=count)
    size = await asyncio.to_thread(os.path.getsize, file)
    return Exported.model_validate(
        {
            "file": str(file),
            "format": format.value,
            "organisation": selection.organisation,
            "first": selection.first,
            "last": selection.last,
            "events": events,
            "bytes": size,
            **told,
        }
    )


@contextmanager
def whole(file: Path) -> Generator[IO[bytes]]:
    """A file that appears when everything is in it, and on disk; until then it is FILE.part."""
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as plain:
            if file.suffix == ".gz":
                # Without name and time, so that the same content gives the same file.
                with gzip.GzipFile("", "wb", compresslevel=6, fileobj=plain, mtime=0) as packed:
                    yield cast("IO[bytes]", packed)
            else:
                yield plain
            plain.flush()
            os.fsync(plain.fileno())
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
