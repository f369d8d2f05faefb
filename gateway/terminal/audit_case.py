"""`standpipe audit explain`: one case at any moment."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit import log
from audit.explain import Decided, Explanation, explain, moment, recorded
from audit.explain_page import page, sequel, unknown
from audit.findings import Finding
from audit.session import Auditing, auditing
from gateway import commands
from gateway.drawing import drawn_approval, drawn_head, drawn_next, drawn_promises, table
from gateway.session import NoSuchCase
from gateway.terminal.output import AsJson, Exit, Failure, OneLine, run, show
from gateway.timeline import Entry, Timeline
from gateway.words import Clock, listed, readable
from lifecycles.policies import pinned
from settings import Settings

CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="Such as repair-1f2e3d.")]


def explain_case(
    case: CaseArgument,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="As the log knew it then: a day (its end), or a day and a time, by the case's own"
            " clock or with an offset. Now if left out.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(dir_okay=False, metavar="FILE", help="Write one self-contained page as well."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A case's state and story at any moment: who had it, what was owed, what was known.

    JSON: the explanation: "at", "known", "timeline" (as `case show` gives it), "story", "stages",
    "owners", "escalations", "holds", "permits", "requests", "told_later".
    """

    async def work() -> Explanation:
        wanted = commands.case_id(case)
        async with auditing(Settings()) as found:
            raw = await case_in_log(found, wanted)
            if raw.policy is None:
                raise Failure(Exit.FAILED, f"The policy that {wanted} pinned is not in the log.")
            policy, decisions = pinned(raw.policy), recorded(raw)
            now = max([datetime.now(UTC), *(d.decided_at for d in decisions)])
            when = now if at is None else moment(at, policy.policy.calendar.time_zone, now)
            return explain(found.organisation, wanted, policy, decisions, when)

    shown = run(work(), as_json=as_json)
    drawn = list(drawn_explanation(shown))
    if html is not None:
        write(html, page(shown), "--html")
        drawn.append(OneLine(f"\nWritten: {html}"))
    show(shown, *drawn, as_json=as_json)


async def case_in_log(found: Auditing, case_id: str) -> log.RawCase:
    """A case as it stands in the log. Raises `NoSuchCase`."""
    try:
        async for raw in log.cases(found.connection, found.organisation, case_id):
            return raw
    except log.LogDamaged as error:
        raise Failure(Exit.FAILED, str(error)) from None
    raise NoSuchCase(f"There is no case {case_id}: see `standpipe case list`.")


def drawn_explanation(shown: Explanation) -> Iterator[RenderableType]:
    """An explanation for a terminal."""
    clock = Clock(shown.time_zone, shown.at)
    then = shown.timeline
    yield Text(f"As the log of {shown.organisation} knew it at {shown.local}", style="bold")
    if then is None:
        yield Text(unknown(shown))
    else:
        yield from _drawn_then(shown, then, clock)
    if shown.told_later:
        yield Text("\nTold only later about that time", style="bold yellow")
        yield _told_later(shown.told_later, clock)
    yield Text(sequel(shown), style="dim")


def _drawn_then(shown: Explanation, then: Timeline, clock: Clock) -> Iterator[RenderableType]:
    yield drawn_head(then)
    yield _story(shown.story, then, clock)
    if then.commitments:
        yield drawn_promises(then.commitments)
        yield from _pauses(then, clock)
    for asked in then.approvals:
        yield drawn_approval(asked, clock)
        if asked.ended_at:
            yield Text(f"  {asked.state}, {clock.write(asked.ended_at)}", style="dim")
    for hold in shown.holds:
        state = f"{hold.ended} {clock.write(hold.ended_at)}" if hold.ended_at else "stands"
        until = f", until {clock.write(hold.until)} at the latest" if hold.until else ""
        yield Text(f"No stop: {hold.text} ({hold.hold}, {hold.source}), {state}{until}")
    for permit in shown.permits:
        times = f"{clock.write(permit.issued_at)} to {clock.write(permit.expires_at)}"
        yield Text(f"Permit {permit.permit} for {permit.crew}, {times}: {permit.state}")
    for asking in shown.requests:
        yield Text(f"Waits for the answer of {asking.case_id} to {asking.command}")
    yield drawn_next(then)


def _story(story: Iterable[Decided], then: Timeline, clock: Clock) -> Table:
    events = {e.version: e for e in then.events}
    drawn = table("When", "Who, how proven", "What", "Rule")
    drawn.columns[0].no_wrap = drawn.columns[3].no_wrap = True
    drawn.columns[1].max_width = 20
    for d in story:
        caused = [events[v] for v in d.versions]
        told = f"\ntold {clock.write(d.decided_at)}" if d.told_late else ""
        role = readable(d.actor.role)
        who = "the clock" if d.by_clock else f"{d.actor.subject} ({role}, {d.actor.proof})"
        what = "\n".join(e.text for e in caused) or f"{d.command}: it was so already"
        rules = dict.fromkeys(e.rule for e in caused if e.rule)
        drawn.add_row(clock.write(d.at) + told, who, Text(what), "\n".join(rules))
    return drawn


def _pauses(then: Timeline, clock: Clock) -> Iterator[Text]:
    for c in then.commitments:
        for p in c.pauses:
            until = f" to {clock.write(p.until)}" if p.until else ""
            why = f"{readable(p.reason)} ({p.evidence})"
            yield Text(f"{c.id} stood still {clock.write(p.since)}{until}: {why}", style="dim")


def _told_later(entries: Iterable[Entry], clock: Clock) -> Table:
    drawn = table("When", "Told", "Who", "What")
    for e in entries:
        when = (clock.write(e.at), clock.write(e.decided_at))
        drawn.add_row(*when, e.actor.subject, Text(e.text))
    return drawn


def drawn_findings(findings: Iterable[Finding]) -> Table:
    """Findings in a table, each with its place."""
    drawn = table("Where", "Check", "What")
    for f in findings:
        place = [
            f"position {f.position}" if f.position is not None else "",
            f"{f.stream or ''}{f'/{f.version}' if f.version is not None else ''}",
        ]
        drawn.add_row(listed(part for part in place if part), f.check, Text(f.what))
    return drawn


def write(path: Path, content: str, option: str) -> None:
    """Write a file that was asked for by an option."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(
            f"cannot be written: {error.strerror}", param_hint=option
        ) from None
