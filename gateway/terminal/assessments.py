"""`standpipe assessment`: the readers' half-yearly assessments (WAT-P1), listed and run by hand."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import RenderableType
from rich.text import Text
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client, WorkflowHandle

from gateway import commands
from gateway.commands import Invalid
from gateway.drawing import table
from gateway.policies import content_of
from gateway.schedules import assess_now
from gateway.session import Session, policy_folder
from gateway.terminal import output
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
from gateway.words import money
from lifecycles.assessment_runs import HalfYearSpan, end_of_day, half_year_before, half_year_of
from lifecycles.calendars import local
from lifecycles.policies import pinned
from schemas.assessment import Assessed, HalfYear
from schemas.calendar import Calendar
from schemas.read_models import AssessmentRow
from settings import Settings

app = typer.Typer(no_args_is_help=True, help="The readers' half-yearly assessments (考核, WAT-P1).")

HalfOption = Annotated[str | None, typer.Option("--half", metavar="HALF", help="Such as 2026-H1.")]
_LISTED = 20


@app.command("list")
def list_assessments(
    half: HalfOption = None,
    after: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Go on after this: the last one's `next`.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many at most.")] = 500,
    as_json: AsJson = False,
) -> None:
    """List assessments: reader, accounts that count and are excluded, what it comes to, stage.

    JSON: {"assessments": [assessment, …], "next": PLACE or null}; amounts in the smallest unit.
    """

    async def work() -> list[AssessmentRow]:
        wanted, place = commands.together(lambda: half and _half(half), lambda: _place(after))
        async with Session(Settings()) as session:
            return await session.log.assessments(
                session.organisation, half_year=wanted, after=place, limit=limit
            )

    rows = run(work(), as_json=as_json)
    following = f"{rows[-1].half_year}/{rows[-1].case_id}" if len(rows) == limit else None
    show({"assessments": rows, "next": following}, *drawn_rows(rows, following), as_json=as_json)


def drawn_rows(rows: Sequence[AssessmentRow], following: str | None) -> list[RenderableType]:
    """The list of assessments, as people see it."""
    if not rows:
        run_it = "standpipe assessment run --half 2026-H1"
        return [Text("There is no such assessment."), OneLine(f"Count a half-year: {run_it}")]
    drawn = table("Half-year", "Reader, case", "Overdue", "Excluded", "Comes to", "Stage")
    drawn.columns[0].no_wrap = True
    for column in drawn.columns[2:5]:
        column.justify = "right"
    for row in rows:
        stage = Text(row.stage, "green" if row.closed_at else "yellow")
        drawn.add_row(
            row.half_year,
            Text(f"{row.reader}\n{row.case_id}"),
            str(row.accounts),
            str(row.excluded or ""),
            money(row.amount, row.currency),
            stage,
        )
    more = f" More: add --after {following}" if following else ""
    count = f"{len(rows)} assessment{'s' * (len(rows) != 1)}."
    return [drawn, OneLine(count + more), OneLine(f"One in full: standpipe case show {_one(rows)}")]


def _one(rows: Sequence[AssessmentRow]) -> str:
    return next((row.case_id for row in rows if row.closed_at is None), rows[0].case_id)


@app.command("run")
def run_assessment(
    half: HalfOption = None,
    known_on: Annotated[
        str | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            help="Count what was told up to this day, for a history that was imported later. Else"
            " what was known when the fifth of the next month began, as every run does.",
        ),
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="The policy, by name or file; the worker's if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Assess every reader who had overdue accounts when a half-year ended: the last, if left out.

    A schedule does the same on 5 January and 5 July. Safe to interrupt and to run again:
    assessments that stand already stay as they are.

    JSON: {"half_year", "ended", "known_until", "accounts", "without_reader", "readers", "opened",
    "stood", "refused": [{"reader", "reasons"}]}.
    """

    async def work() -> Assessed:
        settings = Settings()
        content = content_of(policy or settings.policy, policy_folder(settings))
        rules = pinned(content).policy
        if rules.assessment is None:
            raise WrongInput(
                "This policy assesses nobody: choose another by --policy, or add an [assessment]"
                " section to it."
            )
        span, known_until = span_of(rules.calendar, half, known_on, datetime.now(UTC))
        async with Session(settings) as session:
            with progress() as bars:
                task = bars.add_task(f"readers of {span.name}", total=None, note="")
                client = await session.client()
                handle = await assess_now(
                    client,
                    session.organisation,
                    content,
                    settings.task_queue,
                    span.name,
                    known_until=known_until,
                )
                return await _followed(
                    client,
                    handle,
                    lambda done, of: bars.update(task, completed=done, total=of or None),
                )

    again = "Interrupted. The run goes on by itself, on the worker."
    done = run(work(), as_json=as_json, again=again)
    show(done, *drawn_run(done), as_json=as_json)
    if done.refused:
        raise typer.Exit(Exit.FAILED)


def _half(text: str) -> HalfYear:
    try:
        return TypeAdapter[str](HalfYear).validate_python(text)
    except ValidationError:
        raise Invalid(["--half: write a half-year as 2026-H1 or 2026-H2"]) from None


def _place(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    half, _, case = text.partition("/")
    try:
        return _half(half), commands.case_id(case)
    except Invalid:
        raise Invalid(["--after: give the `next` of an earlier answer"]) from None


def span_of(
    calendar: Calendar, half: str | None, known_on: str | None, now: datetime
) -> tuple[HalfYearSpan, datetime | None]:
    """Which half-year, and up to when the log is read. Raises `Invalid` with all that is wrong."""

    def day() -> date | None:
        try:
            return None if known_on is None else date.fromisoformat(known_on)
        except ValueError:
            raise Invalid(["--known-on: write a day as 2026-07-05"]) from None

    name, known = commands.together(lambda: half and _half(half), day)
    span = half_year_of(calendar, name) if name else half_year_before(calendar, now)
    known_until = None if known is None else min(end_of_day(calendar, known), now)
    if span.ended > now:
        raise Invalid([f"--half: {span.name} is not over yet"])
    if known_until is None and span.counted > now:
        raise Invalid(
            [
                f"--half: {span.name} is counted from {span.counted:%Y-%m-%d %H:%M} UTC on, when"
                " what was paid in time is booked; wait, or give --known-on"
            ]
        )
    today = local(calendar, now).date()
    if known and (known > today or (known_until or now) <= span.ended):
        raise Invalid(["--known-on: a day after the half-year's end, today at the latest"])
    return span, known_until


async def _followed(
    client: Client, handle: WorkflowHandle[Any, Assessed], report: Callable[[int, int], None]
) -> Assessed:
    """The run's result; meanwhile how many readers of how many are done."""
    loop = asyncio.get_running_loop()
    result = asyncio.ensure_future(handle.result())
    heard = loop.time()
    while not (await asyncio.wait({result}, timeout=1))[0]:
        found = await progress_of(client, handle)
        if found is not None:
            heard = loop.time()
            report(*found)
        elif loop.time() - heard > output.WORKER_SECONDS:
            result.cancel()
            raise Failure(
                Exit.UNREACHABLE,
                f"No worker took it within {output.WORKER_SECONDS:.0f} seconds: does `standpipe up`"
                " or `standpipe worker` run? The run begins as soon as one does.",
            )
    return result.result()


async def progress_of(client: Client, handle: WorkflowHandle[Any, Any]) -> tuple[int, int] | None:
    """Readers done, and of how many (0: they are still being counted); None: nobody is at it."""
    description = await handle.describe()
    for pending in description.raw_description.pending_activities:
        if pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED:
            payloads = pending.heartbeat_details.payloads
            told = await client.data_converter.decode(payloads, [int] * len(payloads))
            return (told[0], told[1]) if len(told) == 2 else (0, 0)
    return None


def drawn_run(done: Assessed) -> list[RenderableType]:
    """What the run did, and what to do next."""
    parts: list[RenderableType] = [
        Text(
            f"{done.half_year}: {done.accounts} accounts were overdue, on the rounds of"
            f" {done.readers} readers. Assessments opened: {done.opened}; stood already:"
            f" {done.stood}; refused: {len(done.refused)}.",
            style="bold",
        )
    ]
    if not done.accounts:
        parts.append(
            Text(
                f"Only what was told before {done.known_until:%Y-%m-%d %H:%M} UTC counts. Was the"
                " history imported later? Add --known-on with the day of the import."
            )
        )
    if done.without_reader:
        parts.append(
            Text(f"On nobody's round: {done.without_reader} accounts; nobody is assessed by them.")
        )
    parts += [
        Text(f"{unopened.reader}: {' '.join(unopened.reasons)}", style="red")
        for unopened in done.refused[:_LISTED]
    ]
    if done.readers:
        parts.append(OneLine(f"See them: standpipe assessment list --half {done.half_year}"))
        ask = "RequestExclusion --accounts ARREARS-CASE --ground WORD --evidence REFERENCE"
        parts.append(OneLine(f"Not the reader's fault? standpipe command CASE {ask}"))
    return parts
