"""`standpipe satisfaction`: how satisfied customers are and what they complain of, by month."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import RenderableType
from rich.text import Text

from gateway.commands import Invalid
from gateway.desk import Here, desk
from gateway.drawing import drawn_approval, table
from gateway.policies import content_of
from gateway.satisfaction import DueCheck, MonthComplaints, Satisfaction
from gateway.schedules import report_now
from gateway.session import Session, policy_folder
from gateway.terminal import output
from gateway.terminal.output import (
    AsJson,
    Exit,
    Failure,
    OneLine,
    WrongInput,
    run,
    show,
)
from gateway.timeline import Timeline
from gateway.words import Clock, listed
from gateway.words.satisfaction import percent
from lifecycles.policies import pinned
from schemas.satisfaction import Entered, Measured, Month, What
from settings import Settings

WHAT: Mapping[str, What] = {"day": "sample", "month": "month", "year": "year"}
MonthOption = Annotated[str | None, typer.Option(metavar="MONTH", help="Such as 2026-03.")]


def show_satisfaction(
    since: Annotated[
        str | None,
        typer.Option(metavar="MONTH", help="From this month on; a year back if left out."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="MONTH", help="Up to this month; the present one.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="Whose target and clock, where no register is open yet."),
    ] = None,
    enter: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="First enter in the register what a schedule would: the last day (the draw of"
            " calls), month or year that is over.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Satisfaction (满意度) and complaints by department and month, the last ranking, yellow cards
    (黄牌) and checks that are due.

    JSON: {"since", "until", "target", "months", "complaints", "ranking", "cards", "checks",
    "removals", "entered"}; rates are in hundredths of a percent, with their 95 % Wilson interval.
    `entered` is null, or what --enter came to: {"command_id", "accepted", "events", "reasons"}.
    """

    async def work() -> tuple[Satisfaction, Timeline | None]:
        _check(since, until, enter)
        async with desk(Settings()) as office:
            entered = None
            if enter is not None or policy is not None:
                if not isinstance(office, Here):
                    raise WrongInput(
                        "--enter and --policy: leave them out with a gateway elsewhere."
                    )
                entered = enter and await _entered(office, WHAT[enter], policy)
            shown, register = await office.satisfaction(policy, since, until)
            return shown.model_copy(update={"entered": entered or None}), register

    found, register = run(work(), as_json=as_json)
    show(found, *drawn_figures(found, register), as_json=as_json)


async def _entered(session: Session, what: What, policy: str | None) -> Entered:
    """What the register made of the last day, month or year that is over."""
    settings = session.settings
    content = content_of(policy or settings.policy, policy_folder(settings))
    if pinned(content).policy.satisfaction is None:
        raise WrongInput("This policy says nothing of satisfaction: choose another by --policy.")
    client = await session.client()
    try:
        async with asyncio.timeout(output.WORKER_SECONDS):
            entered = await report_now(
                client, session.organisation, content, settings.task_queue, what
            )
    except TimeoutError:
        raise Failure(
            Exit.UNREACHABLE,
            f"No worker entered it within {output.WORKER_SECONDS:.0f} seconds: does `standpipe up`"
            " or `standpipe worker` run? It is entered as soon as one does, and counts once.",
        ) from None
    if not entered.accepted:
        raise Failure(Exit.FAILED, "", entered.reasons, refused=True)
    return entered


def _check(since: str | None, until: str | None, enter: str | None) -> None:
    wrong: list[str] = []
    if enter is not None and enter not in WHAT:
        wrong.append(f"--enter: one of {', '.join(WHAT)}")
    for option, month in (("--since", since), ("--until", until)):
        try:
            TypeAdapter[str | None](Month | None).validate_python(month)
        except ValidationError:
            wrong.append(f"{option}: write a month as 2026-03")
        else:
            if month is not None and not 1970 <= int(month[:4]) <= 9998:
                wrong.append(f"{option}: a month between 1970-01 and 9998-12")
    if wrong:
        raise Invalid(wrong)


def drawn_figures(found: Satisfaction, register: Timeline | None) -> list[RenderableType]:
    """All that `standpipe satisfaction` shows people."""
    head = (
        f"Satisfied of those who answered, {found.since} to {found.until},"
        f" target {found.target} % (CNPC-2.5)"
    )
    parts: list[RenderableType] = [Text(head, style="bold")]
    if found.entered:
        what = listed(found.entered.events) or "nothing new, for it stands there already"
        parts.insert(0, Text(f"Entered in the register: {what}.", style="green"))
    if found.months:
        rows = [(f.month, f.departments) for f in found.months]
        parts.append(_figures("Month", rows))
    else:
        parts.append(Text("Nobody was asked in that time."))
    if found.complaints:
        parts.append(Text("Complaints (投诉) by category and department (WIN-1.7)", style="bold"))
        parts.append(_complaints(found.complaints))
    if found.ranking:
        year = str(found.ranking.year)
        parts.append(Text(f"Last ranking, of {year} (GAS-3.4)", style="bold"))
        parts.append(_figures("Year", [(year, found.ranking.ranking)]))
        if found.ranking.unranked:
            few = listed(m.department for m in found.ranking.unranked)
            parts.append(Text(f"Not ranked, too few answers: {few}"))
        parts.append(Text(f"Lowest: {listed(found.ranking.lowest) or 'nobody'}"))
    parts += [
        Text(f"Yellow card (黄牌) of {c.year}: {c.department} must improve, {c.text}", "yellow")
        for c in found.cards
    ]
    parts += [Text(line) for line in _awaited(found.checks)]
    if register is None:
        parts.append(Text("The register is not open yet: the first report opens it."))
        return parts
    clock = Clock(register.time_zone, register.as_of)
    parts += [drawn_approval(a, clock) for a in found.removals]
    if found.checks:
        check = found.checks[0]
        record = f"--department {check.department} --kind {check.kind} --period {check.period}"
        send = f"standpipe command {register.case_id} RecordCheck {record} --evidence REFERENCE"
        parts.append(OneLine(f"Is it checked? {send}"))
    if found.cards:
        card = found.cards[0].department
        record = f"RecordImprovement --department {card} --evidence REFERENCE"
        parts.append(OneLine(f"Has it improved? standpipe command {register.case_id} {record}"))
    parts.append(OneLine(f"The register in full: standpipe case show {register.case_id}"))
    return parts


def _awaited(checks: Sequence[DueCheck]) -> Iterator[str]:
    """The checks that are due, a line for those of one kind, time and deadline."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for check in checks:
        alike.setdefault((check.kind, check.period, check.text), []).append(check.department)
    for (kind, period, text), departments in alike.items():
        whose = "Departments check themselves" if kind == "self" else "The company checks"
        yield f"{whose} for {period} (GAS-3.1), {text}: {listed(departments)}"


def _complaints(months: Sequence[MonthComplaints]) -> RenderableType:
    counts = ("New", "Answered", "Open", "Upheld, partly, not", "Appeals")
    drawn = table("Month", "Category", "Department", *counts)
    drawn.columns[0].no_wrap = True
    for column in drawn.columns[3:]:
        column.justify = "right"
    for month in months:
        for i, c in enumerate(month.complaints):
            answered = c.in_time + c.late
            outcomes = f"{c.upheld}, {c.partly_upheld}, {c.not_upheld}" if answered else ""
            drawn.add_row(
                "" if i else month.month,
                c.category,
                c.department or "–",
                str(c.registered or ""),
                _of_which(answered, c.late, "late"),
                str(c.open or ""),
                outcomes,
                _of_which(c.appealed, c.overturned, "won"),
            )
    return drawn


def _of_which(count: int, some: int, how: str) -> str:
    if count or some:
        return f"{count}, {some} {how}" if some else str(count)
    return ""


def _figures(heading: str, rows: list[tuple[str, tuple[Measured, ...]]]) -> RenderableType:
    drawn = table(heading, "Department", "Asked", "Answered", "Satisfied", "Rate", "95 % between")
    for column in drawn.columns[2:6]:
        column.justify = "right"
    for period, departments in rows:
        for i, m in enumerate(departments):
            style = {True: "green", False: "red", None: "dim"}[m.on_target]
            between = "" if m.low is None else f"{percent(m.low)[:-2]}–{percent(m.high)}"
            counts = (str(m.asked), str(m.answered), str(m.satisfied))
            drawn.add_row(
                "" if i else period, m.department, *counts, Text(percent(m.rate), style), between
            )
    return drawn
