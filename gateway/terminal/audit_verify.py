"""`standpipe audit verify`: is anything missing or altered?"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import RenderableType
from rich.progress import Progress as Bars
from rich.text import Text

from activities.checkpoints import Contradiction, Folder, NotKept
from audit.notes import Checkpoint, Kind, NoteError, Verifier, open_note
from audit.session import auditing
from audit.verdict import Verdict
from audit.verify import Progress, verify
from gateway.checkpoints import log_signer
from gateway.terminal.audit_case import drawn_findings
from gateway.terminal.output import (
    AsJson,
    Exit,
    Failure,
    OneLine,
    WrongInput,
    progress,
    run,
    show,
)
from settings import Settings

SHOWN = 50
"""Findings that are drawn."""
_PHASES = {"leaves": "events", "commands": "commands", "cases": "events of cases"}


def verify_log(
    org: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another organisation than configured.")
    ] = None,
    from_checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="A signed checkpoint that you kept elsewhere. More than one if you like.",
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VKEY",
            help="The log's key as you pinned it, or a witness's; again for another. Without it,"
            " the key of this machine, if there is one.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check every event, the Merkle tree and all that is kept of the log: 1 if anything is wrong.

    Hashes, positions, versions, event ids, signatures, decisions, policies, schemas, read models
    and messages. Reads one moment of the log; appends go on.

    JSON: {"organisation", "events", "decisions", "cases", "size", "root", "tiles", "checkpoints",
    "external", "covered": up to this position a checkpoint kept elsewhere says what the log was,
    "counts": {check: how many}, "findings": [finding, …], "leaves_seconds", "meaning_seconds",
    "keys": whether signatures were checked}; of each check the first fifty findings.
    """

    async def work() -> tuple[Verdict, _Held]:
        settings = Settings() if org is None else Settings(organisation=org)
        held = _held(settings, from_checkpoint or (), key or ())
        async with auditing(settings) as found:
            with progress() as bars:
                verdict = await verify(
                    found.connection,
                    found.organisation,
                    external=held.checkpoints,
                    verifiers=[v for v in held.verifiers if v.kind is Kind.LOG],
                    origin=settings.origin,
                    report=_reporting(bars),
                )
        return verdict, held

    verdict, held = run(work(), as_json=as_json)
    keys = bool(held.verifiers)
    show(
        verdict.model_dump(mode="json") | {"keys": keys},
        *_drawn(verdict, keys),
        as_json=as_json,
    )
    if not verdict.clean:
        raise typer.Exit(Exit.FAILED)


class _Held(NamedTuple):
    """What the log is held against."""

    verifiers: Sequence[Verifier]
    checkpoints: Sequence[Checkpoint]


def _held(settings: Settings, files: Sequence[Path], keys: Sequence[str]) -> _Held:
    """Keys, and checkpoints kept outside the database that they have signed."""
    try:
        verifiers = [Verifier.parse(each) for each in keys]
    except NoteError as error:
        raise WrongInput(f"--key: {error}") from None
    if not verifiers and (signer := log_signer(settings)) is not None:
        verifiers = [signer.verifier]
    if files and not verifiers:
        raise WrongInput(
            "--from-checkpoint: say whose signature it has to bear: --key, with the line that"
            " `standpipe audit key` printed for you."
        )
    checkpoints: list[Checkpoint] = []
    for file in files:
        try:
            checkpoints.append(open_note(file.read_text(encoding="utf-8"), verifiers))
        except NoteError as error:
            raise WrongInput(f"--from-checkpoint {file}: {error}") from None
        except (OSError, UnicodeDecodeError):
            raise WrongInput(f"--from-checkpoint {file}: it cannot be read as text.") from None
    try:
        # A worker on this machine keeps its newest outside the database, too.
        newest = Folder(settings.checkpoint_folder, settings.organisation).read()
        if newest is not None and verifiers:
            with suppress(NoteError):
                checkpoints.append(open_note(newest.note, verifiers))
    except (Contradiction, NotKept) as error:
        raise Failure(Exit.FAILED, str(error)) from None
    return _Held(verifiers, checkpoints)


def _reporting(bars: Bars) -> Callable[[Progress], None]:
    """A bar for each phase, with how many a second."""
    tasks = {
        phase: bars.add_task(name, total=None, note="", start=False)
        for phase, name in _PHASES.items()
    }

    def report(progress: Progress) -> None:
        task = bars.tasks[tasks[progress.phase]]
        if not task.started:
            bars.start_task(task.id)
        seconds = task.elapsed or 0.0
        note = f"{progress.done / seconds:,.0f} a second" if seconds > 0.5 else ""
        bars.update(task.id, completed=progress.done, total=progress.total or None, note=note)

    return report


def _drawn(verdict: Verdict, keys: bool) -> list[RenderableType]:
    """What was done, what is wrong, and what to do next."""
    seconds = verdict.leaves_seconds + verdict.meaning_seconds
    rate = f", {verdict.events / seconds:,.0f} events a second" if seconds > 0.5 else ""
    told = (
        f"{verdict.organisation}: {verdict.events:,} events and {verdict.decisions:,} decisions of"
        f" {verdict.cases:,} cases, {verdict.tiles} tiles, {verdict.checkpoints} checkpoints"
        f" ({seconds:.1f} s{rate})."
    )
    root = OneLine(f"The tree of {verdict.size} events has the root {verdict.root}.")
    if not verdict.clean:
        wrong = sum(verdict.counts.values())
        listed = ", ".join(f"{check} {count}" for check, count in verdict.counts.items())
        more = f" The first {SHOWN} are shown; --json has more." if wrong > SHOWN else ""
        return [
            drawn_findings(verdict.findings[:SHOWN]),
            Text(told),
            root,
            Text(f"{wrong} findings: {listed}.{more}", style="bold red"),
            Text("Keep the database as it is, and a copy of it. What was written first, Temporal"),
            OneLine("still knows: standpipe audit replay --all"),
        ]
    drawn: list[RenderableType] = [Text(told), root]
    drawn.append(Text("Nothing is missing or altered, as far as the log itself can tell.", "bold"))
    if not keys:
        drawn.append(Text("No signature was checked: give the log's key as --key."))
    if verdict.external:
        later = verdict.events - verdict.covered
        drawn.append(
            Text(
                f"Up to position {verdict.covered} it is what a checkpoint kept outside the"
                f" database says; {later} events came later."
            )
        )
    else:
        drawn.append(
            Text(
                "Whoever can write all of the database could still have written another log: give"
                " a checkpoint that you kept elsewhere as --from-checkpoint."
            )
        )
    drawn.append(OneLine("Next, against what Temporal knows: standpipe audit replay --all"))
    return drawn
