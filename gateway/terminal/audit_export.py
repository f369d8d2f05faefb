"""`standpipe audit export` and `check-export`: the log in one file, and what that file proves."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.progress import Progress
from rich.text import Text

from audit import check_export as checking
from audit import proofs
from audit.export import Exported, Format, export
from audit.export_jsonl import Note
from audit.export_rows import Selection, select
from audit.export_table import NoParquet
from audit.log import LogDamaged
from audit.notes import Checkpoint, NoteError, split
from audit.session import Auditing, auditing
from gateway.terminal.output import (
    AsJson,
    Exit,
    Failure,
    OneLine,
    WrongInput,
    fail,
    progress,
    run,
    show,
)
from settings import Settings

_TIME = "A time with its offset, such as 2026-05-01T08:00+08:00, or a day (0:00 UTC)."


def export_log(
    format: Annotated[
        Format,
        typer.Option(help="jsonl proves itself; ocel2 and xes are for process mining."),
    ] = Format.JSONL,
    org: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another organisation than configured.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help=f"Recorded then or later. {_TIME}")
    ] = None,
    before: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Recorded before then.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, metavar="FILE", help="Replaced if it exists; packed if it ends in .gz."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The log in one file, for an auditor (jsonl) or for other tools: nothing personal is in it.

    --from and --to select by when an event was recorded. As that grows with its position in the
    log, a range has no gaps, and jsonl proves it, too. The file appears when it is whole.

    JSON: {"file", "format", "organisation", "first", "last", "events", "bytes", …}; of jsonl also
    "decisions", "without_events", "leaves", "signed", "root".
    """

    async def work() -> Exported:
        times = _times(since, before)
        settings = Settings() if org is None else Settings(organisation=org)
        file = out or Path(f"{settings.organisation}-log{format.ending}")
        if format is Format.PARQUET and file.suffix == ".gz":
            raise WrongInput("--out: Parquet is packed inside; leave out the .gz.")
        async with auditing(settings) as found:
            chosen = await select(found.connection, found.organisation, *times)
            notes = await _signed(found, chosen)
            with progress() as bars:
                try:
                    return await export(
                        found.connection,
                        chosen,
                        format,
                        file,
                        origin=settings.origin,
                        notes=notes,
                        done=_told(bars, chosen.total),
                    )
                except (NoParquet, LogDamaged) as error:
                    raise Failure(Exit.FAILED, str(error)) from None
                except OSError as error:
                    raise WrongInput(f"--out: {file} can't be written: {error.strerror}.") from None

    done = run(work(), as_json=as_json, again="Interrupted: nothing was written.")
    show(done, *_drawn(done), as_json=as_json)


def _told(bars: Progress, total: int) -> Callable[[int], None]:
    """A bar with the rate."""
    task = bars.add_task("exported", total=total, note="")
    begin = time.perf_counter()

    def done(events: int) -> None:
        rate = events / max(time.perf_counter() - begin, 1e-9)
        bars.update(task, completed=events, note=f"{rate:,.0f} rows/s")

    return done


async def _signed(found: Auditing, chosen: Selection) -> list[Note]:
    """The first checkpoint that covers all of the range, and the newest."""
    texts = [
        await proofs.checkpoint_covering(found.connection, found.organisation, chosen.last),
        await proofs.latest_checkpoint(found.connection, found.organisation),
    ]
    try:
        return [
            Note(text, Checkpoint.parse(split(text)[0]).size)
            for text in dict.fromkeys(texts)
            if text is not None
        ]
    except NoteError as error:
        why = f"A checkpoint in the database is damaged: {error}"
        raise Failure(Exit.FAILED, why) from None


def _times(since: str | None, before: str | None) -> tuple[datetime | None, datetime | None]:
    wrong: list[str] = []

    def read(text: str | None, name: str) -> datetime | None:
        try:
            at = None if text is None else datetime.fromisoformat(text)
            if at is not None and at.tzinfo is None:
                if len(text or "") > len("2026-05-01"):
                    raise ValueError
                at = at.replace(tzinfo=UTC)
            return None if at is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            wrong.append(f"{name}: {_TIME}")
            return None

    times = read(since, "--from"), read(before, "--to")
    if wrong:
        raise WrongInput("", wrong)
    return times


def _drawn(done: Exported) -> list[RenderableType]:
    drawn: list[RenderableType] = [
        Text(
            f"{done.events:,} events of {done.organisation}, from position {done.first} on.",
            style="bold",
        ),
        OneLine(f"Written: {done.file} ({done.bytes:,} bytes)"),
    ]
    if done.unfolded:
        drawn.append(
            Text(f"{done.unfolded} cases make no sense: run `standpipe audit verify`.", style="red")
        )
    if done.format != Format.JSONL:
        return [*drawn, Text("It proves nothing by itself: for that, take --format jsonl.")]
    if not done.signed:
        drawn.append(
            Text("No signed checkpoint is in it: `standpipe audit checkpoint --make` makes one.")
        )
    elif done.signed < done.last:
        later = done.last - done.signed
        drawn.append(Text(f"The last {later} events are under no checkpoint yet."))
    return [*drawn, OneLine(f"Check it with: standpipe audit check-export {done.file} --key VKEY")]


def check_export(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A jsonl export.")],
    key: Annotated[
        list[str],
        typer.Option(metavar="VKEY", help="The log's key as you pinned it, or a file with it."),
    ],
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, dir_okay=False, metavar="FILE", help="An older checkpoint that you kept."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an export with the pinned key alone. 1: something in it is wrong, all listed.

    Repeat --key for earlier keys and those of witnesses, --checkpoint for more of them. Needs no
    server, and asks nobody; audit/check_export.py does the same alone, on any computer.

    JSON: {"ok", "organisation", "origin", "first", "last", "events", "decisions", "size", "root",
    "signed", "unsigned", "checkpoints", "witnessed", "found", "findings": [finding, …]}.
    """
    try:
        keys = [
            checking.parse_key(each if "+" in each else checking.read(Path(each))) for each in key
        ]
        older = [checking.read(path) for path in checkpoint or ()]
        with progress() as bars:
            task = bars.add_task("checked", total=None, note="bytes")

            def done(now: int, total: int) -> None:
                bars.update(task, completed=now, total=total)

            verdict = checking.check(file, keys, older, done)
    except checking.Unusable as error:
        fail(WrongInput(str(error)), as_json=as_json)
    style = "" if verdict.ok else "red"
    show(
        checking.as_json(verdict),
        Text(checking.report(verdict), style=style),
        as_json=as_json,
    )
    if not verdict.ok:
        raise typer.Exit(Exit.FAILED)
