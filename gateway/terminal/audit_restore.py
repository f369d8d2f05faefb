"""`standpipe audit restore-log`: PostgreSQL came back from an older backup."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import asyncpg
import typer
from rich.console import RenderableType
from rich.text import Text

from activities.database import COMMAND_SECONDS, reached
from audit.findings import Finding
from audit.missing import Missing, find_missing
from audit.notes import Checkpoint, NoteError, Verifier, open_note
from audit.replay import Replaying
from audit.restore import LostAppend, NotRestored, check_root, restore
from gateway.drawing import table
from gateway.terminal.audit_dossier import drawn_findings
from gateway.terminal.output import AsJson, Exit, OneLine, WrongInput, progress, run, say, show
from settings import Settings
from stack import connect_temporal, endpoints, url_as

SHOWN = 50
"""Findings and appends that are drawn; JSON has them all."""


def restore_log(
    yes: Annotated[bool, typer.Option("--yes", help="Append it again.")] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="The last checkpoint that was kept elsewhere: its root must be the log's then.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="VKEY", help="The key that signed it: origin+id+base64."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """PostgreSQL came back from an older backup: give the log what it lost since, from Temporal.

    Stop the workers first: what they write meanwhile takes the places of what was lost. Without
    --yes it only shows what is missing; 1 if it cannot be given back, and nothing is written then.
    Needs a worker's rights, not an auditor's.

    JSON: {"head", "until", "appends": [append, …], "findings", "restored", "checkpoint"}.
    """

    async def work() -> tuple[Missing, tuple[Finding, ...], bool]:
        kept = None if checkpoint is None else _checkpoint(checkpoint, key)
        settings = Settings()
        async with _writing(settings) as connection:
            client = await connect_temporal(endpoints(settings))
            organisation = settings.organisation
            with progress() as bars:
                bar = bars.add_task("histories", total=None, note="")

                def found(histories: int, lost: int) -> None:
                    bars.update(bar, completed=histories, note=f"{lost} appends are missing")

                async with Replaying.begun() as replaying:
                    missing = await find_missing(connection, client, organisation, replaying, found)
            if missing.findings:
                return missing, missing.findings, False
            try:
                if yes and missing.appends:
                    with progress() as bars:
                        bar = bars.add_task("appends", total=len(missing.appends), note="")
                        await restore(
                            connection,
                            organisation,
                            missing,
                            kept,
                            lambda number: bars.update(bar, completed=number),
                        )
                    return missing, (), True
                if kept is not None and not missing.appends:
                    await check_root(connection, organisation, kept)
            except NotRestored as why:
                return missing, why.findings, False
            return missing, (), False

    missing, findings, restored = run(work(), as_json=as_json)
    drawn = table("Position", "Case", "Version", "Events")
    for lost in (shown := [LostAppend.of(lost) for lost in missing.appends])[:SHOWN]:
        what = ", ".join(lost.events) or "none: it was so already"
        drawn.add_row(str(lost.position), lost.case, str(lost.version), Text(what))
    result = {
        "head": missing.head,
        "until": missing.until,
        "appends": shown,
        "findings": findings,
        "restored": restored,
        "checkpoint": None if checkpoint is None else str(checkpoint),
    }
    parts = [drawn] if shown else []
    show(result, *parts, *_restored(missing, findings, restored), as_json=as_json)
    if findings:
        raise typer.Exit(Exit.FAILED)


def _restored(
    missing: Missing, findings: Sequence[Finding], restored: bool
) -> list[RenderableType]:
    count = len(missing.appends)
    if findings:
        return [
            drawn_findings(findings[:SHOWN]),
            Text("It cannot be given back as it was, so nothing was written.", style="bold red"),
        ]
    if not count:
        told = f"The log ends at {missing.head}; Temporal knows of nothing that it has lost."
        return [Text(told, style="bold")]
    where = f"{count} appends, positions {missing.head + 1} to {missing.until}"
    if not restored:
        return [
            Text(f"Missing: {where}. Nothing was written yet.", style="bold"),
            OneLine("With the workers stopped: standpipe audit restore-log --yes"),
        ]
    return [
        Text(f"Given back: {where}; every leaf is as its receipt says.", style="bold"),
        OneLine("Next: standpipe rebuild, standpipe audit verify, then start the workers."),
        Text(
            "Messages since the backup are delivered again, under the same ids. What was never in"
            " the log is as old as the backup: parties in the vault, enrolled keys, who listens.",
            style="dim",
        ),
    ]


@asynccontextmanager
async def _writing(settings: Settings) -> AsyncGenerator[asyncpg.Connection]:
    """The log with a worker's rights, and without its limits of time."""
    found = endpoints(settings)
    url = found.database_url
    if found.embedded:
        url = url_as(url, role="standpipe_worker")
    async with reached():
        connection = await asyncpg.connect(
            url,
            timeout=COMMAND_SECONDS,
            server_settings={
                "search_path": "standpipe",
                "timezone": "UTC",
                "jit": "off",
                "application_name": "standpipe restore-log",
            },
        )
    try:
        yield connection
    finally:
        connection.terminate()


def _checkpoint(file: Path, key: str | None) -> Checkpoint:
    try:
        text = file.read_text(encoding="utf-8")
        if key is None:
            say("Whose checkpoint it is was not checked: give --key for that.")
            return Checkpoint.parse(text.partition("\n\n")[0] + "\n")
        return open_note(text, [Verifier.parse(key)])
    except (OSError, UnicodeDecodeError, NoteError) as error:
        raise WrongInput(f"--checkpoint: {error}") from None
