"""`standpipe audit redecide` and `replay`: the log against its rules, and against Temporal."""

import os
from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from activities.builds import build_id
from audit import log
from audit.agreement import CaseReplayed
from audit.findings import Finding
from audit.redecide_log import Redecided, redecide_log
from audit.replay import Replaying
from audit.replay_log import CaseReplayer
from audit.session import Auditing, auditing
from gateway import commands
from gateway.drawing import table
from gateway.session import NoSuchCase
from gateway.terminal.audit_dossier import drawn_findings
from gateway.terminal.output import AsJson, Exit, OneLine, WrongInput, progress, run, show
from settings import Settings

CaseArgument = Annotated[
    str | None, typer.Argument(metavar="CASE", help="Such as repair-1f2e3d; or --all.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Every case.", show_default=False)]
SHOWN = 50
"""Findings that are drawn."""


def redecide(
    case: CaseArgument = None,
    every: AllOption = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="As many as there are processors, if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decide each command again by the rules and the pinned policy: 1 if an event is not lawful.

    Also deadlines that were passed over, messages that do not follow, and signatures.

    JSON: {"findings": [finding, …] (the first thousand), "wrong", "cases", "commands", "events",
    "signatures", "position"}.
    """

    async def work() -> Redecided:
        stream = _one_or_all(case, every)
        async with auditing(Settings()) as found:
            if stream is not None:
                await _known(found, stream)
            total = await log.head(found.connection, found.organisation)
            with progress() as bars:
                bar = bars.add_task("events", total=total if stream is None else None, note="")

                def report(events: int, wrong: int) -> None:
                    note = f"{wrong} findings" if wrong else ""
                    bars.update(bar, completed=events, note=note)

                return await redecide_log(
                    found.connection,
                    found.organisation,
                    stream,
                    report=report,
                    processes=processes or os.cpu_count() or 1,
                )

    done = run(work(), as_json=as_json)
    told = (
        f"Decided again: {_many(done.commands, 'command')} of {_many(done.cases, 'case')},"
        f" {_many(done.events, 'event')}, {_many(done.signatures, 'signature')}; the log ended at"
        f" {done.position}."
    )
    show(done, *_verdict(told, done.findings, done.wrong, _REDECIDED), as_json=as_json)
    if done.wrong:
        raise typer.Exit(Exit.FAILED)


_REDECIDED = (
    "Every event is the lawful outcome of its command. Next, that these are the commands which were"
    " given: standpipe audit replay --all",
    "The events above could not have come from the commands that they name. See what Temporal knows"
    " of a case: standpipe audit replay CASE",
)


def replay(
    case: CaseArgument = None,
    every: AllOption = False,
    archive_alone: Annotated[
        bool,
        typer.Option("--archive-alone", help="Ask no Temporal: only what is archived in the log."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replay what Temporal knows of a case, and compare what it decides with the log: 1 if not so.

    Says which builds made each history, and which events have no history any more.

    JSON: {"build", "cases": [{"case", "events", "runs": [run, …], "findings", "notes"}, …]}; with
    --all only cases with findings or notes, and "replayed": how many there were.
    """

    async def work() -> tuple[list[CaseReplayed], int, int]:
        stream = _one_or_all(case, every)
        async with auditing(Settings()) as found:
            client = None if archive_alone else await found.client()
            # No snapshot: the log must be read after the histories, which go on.
            connection = await found.another()
            await connection.execute("COMMIT")
            async with Replaying.begun() as replaying:
                replayer = CaseReplayer(connection, client, found.organisation, replaying)
                if stream is not None:
                    one = await replayer.replay(stream)
                    if not one.runs and not one.events:
                        raise NoSuchCase(f"There is no case {stream}: see `standpipe case list`.")
                    return [one], 1, len(one.runs)
                return await _replay_all(replayer)

    cases, count, runs = run(work(), as_json=as_json)
    findings = [finding for one in cases for finding in one.findings]
    histories = f"{runs} histories" if runs != 1 else "1 history"
    told = f"Replayed with build {build_id()}: {histories} of {_many(count, 'case')}."
    drawn: list[RenderableType] = [_drawn_runs(cases)] if not every else []
    for one in cases:
        drawn += [Text(f"{one.case}: {note}", style="dim") for note in one.notes[:SHOWN]]
    drawn += _verdict(told, findings, len(findings), _REPLAYED)
    result = {"build": build_id(), "replayed": count, "histories": runs, "cases": cases}
    show(result, *drawn, as_json=as_json)
    if findings:
        raise typer.Exit(Exit.FAILED)


_REPLAYED = (
    "The log holds what these histories say was written, byte for byte. Next, that nobody altered"
    " it since: standpipe audit verify",
    "The log and Temporal do not agree. If PostgreSQL came back from a backup: standpipe audit"
    " restore-log. If not, keep both as they are, and find out who changed which.",
)


async def _replay_all(replayer: CaseReplayer) -> tuple[list[CaseReplayed], int, int]:
    told: list[CaseReplayed] = []
    count = runs = wrong = 0
    with progress() as bars:
        bar = bars.add_task("cases", total=None, note="")
        async with aclosing(replayer.replay_all()) as cases:
            async for one in cases:
                count, runs, wrong = count + 1, runs + len(one.runs), wrong + len(one.findings)
                if one.findings or one.notes:
                    told.append(one)
                note = f"{runs} histories" + (f", {wrong} findings" if wrong else "")
                bars.update(bar, completed=count, note=note)
    return told, count, runs


def _drawn_runs(cases: Sequence[CaseReplayed]) -> RenderableType:
    drawn = table("Run", "From", "Made by (build, SDK)", "Written", "Found written", "Refused")
    for one in cases:
        for r in one.runs:
            made = ", ".join((*(r.builds or ("unknown",)), f"SDK {r.sdk or 'unknown'}"))
            source = r.source if r.original else f"{r.source}, stands in"
            drawn.add_row(
                r.run_id, source, Text(made), str(r.appended), str(r.behind), str(r.unproven)
            )
    return drawn


def _one_or_all(case: str | None, every: bool) -> str | None:
    """The case's id; None for all of them."""
    if (case is None) != every:
        raise WrongInput("Name a case, or say --all: one of the two.")
    return None if case is None else commands.case_id(case)


async def _known(found: Auditing, stream: str) -> None:
    async with aclosing(log.cases(found.connection, found.organisation, stream)) as cases:
        if await anext(cases, None) is None:
            raise NoSuchCase(f"There is no case {stream}: see `standpipe case list`.")


def _verdict(
    told: str, findings: Sequence[Finding], wrong: int, then: tuple[str, str]
) -> list[RenderableType]:
    """What was done, what is wrong, and what to do next."""
    if not wrong:
        return [Text(told, style="bold"), OneLine(then[0])]
    more = f" The first {SHOWN} are shown; --json has more." if wrong > SHOWN else ""
    return [
        drawn_findings(findings[:SHOWN]),
        Text(f"{told} {_many(wrong, 'finding')}.{more}", style="bold red"),
        OneLine(then[1]),
    ]


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
