"""CSV (RFC 4180) and Parquet: one flat row for each event, the same columns in both."""

import csv
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from importlib import import_module
from io import StringIO
from typing import IO, Any

from activities.database import Connection
from audit.export_rows import Row, Selection, rows

COLUMNS: dict[str, str] = {
    "organisation": "string",
    "position": "integer",
    "stream": "string",
    "kind": "string",
    "version": "integer",
    "event_id": "string",
    "type": "string",
    "schema_version": "integer",
    "occurred_at": "time",
    "decided_at": "time",
    "recorded_at": "time",
    "actor": "string",
    "role": "string",
    "proof": "string",
    "command_id": "string",
    "command": "string",
    "leaf": "string",
    "body": "string",
}
"""Names and types, in order. `kind` is the case's, `command` the command's type, `leaf` the hash in
the tree (hex), `body` JSON."""
ROW_GROUP = 20_000


class NoParquet(Exception):
    """The optional extra is not installed; the message says how to."""


def _cells(organisation: str, row: Row) -> tuple[Any, ...]:
    header, actor = row.header, row.actor
    return (
        organisation,
        row.position,
        header["stream"],
        row.kind,
        header["version"],
        header["event_id"],
        header["type"],
        header["schema_version"],
        header["occurred_at"],
        header["decided_at"],
        row.recorded_at,
        actor["subject"],
        actor["role"],
        actor["proof"],
        header["command_id"],
        row.command,
        row.leaf.hex(),
        row.text,
    )


async def write_csv(
    connection: Connection,
    selection: Selection,
    out: IO[bytes],
    *,
    done: Callable[[int], None] = lambda count: None,
) -> None:
    """Write a whole export, UTF-8 with a header line, by position. Raises LogDamaged."""
    text = StringIO(newline="")
    sheet = csv.writer(text, lineterminator="\r\n")
    sheet.writerow(COLUMNS)
    events = 0
    async with aclosing(rows(connection, selection)) as chunks:
        async for chunk in chunks:
            sheet.writerows(_cells(selection.organisation, row) for row in chunk)
            _pour(text, out)
            events += len(chunk)
            done(events)
    _pour(text, out)


def _pour(text: StringIO, out: IO[bytes]) -> None:
    out.write(text.getvalue().encode())
    text.seek(0)
    text.truncate()


async def write_parquet(
    connection: Connection,
    selection: Selection,
    out: IO[bytes],
    *,
    done: Callable[[int], None] = lambda count: None,
) -> None:
    """Write a whole export, by position. Raises LogDamaged and NoParquet."""
    try:
        # An optional extra without types, and slow to import.
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError:
        raise NoParquet(
            "Parquet needs one more package: pip install 'standpipe[parquet]'; or take csv."
        ) from None
    types: dict[str, Any] = {
        "string": arrow.string(),
        "integer": arrow.int64(),
        "time": arrow.timestamp("us", tz="UTC"),
    }
    schema = arrow.schema([(name, types[type]) for name, type in COLUMNS.items()])
    events = 0
    waiting: list[tuple[Any, ...]] = []
    with parquet.ParquetWriter(out, schema, compression="zstd") as file:

        def pour() -> None:
            columns = [
                arrow.array(
                    [_instant(value) for value in column] if type == "time" else column, types[type]
                )
                for type, column in zip(COLUMNS.values(), zip(*waiting, strict=True), strict=True)
            ]
            file.write_table(arrow.Table.from_arrays(columns, schema=schema))
            waiting.clear()

        async with aclosing(rows(connection, selection)) as chunks:
            async for chunk in chunks:
                waiting += [_cells(selection.organisation, row) for row in chunk]
                if len(waiting) >= ROW_GROUP:
                    pour()
                events += len(chunk)
                done(events)
        if waiting:
            pour()


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
