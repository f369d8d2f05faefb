"""`standpipe case …`: cases listed, shown and watched, from the log alone."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from gateway import commands
from gateway.commands import KINDS
from gateway.desk import Desk, desk
from gateway.drawing import draw, drawn_next, event_lines, table
from gateway.listing import case_filter
from gateway.terminal.output import AsJson, Exit, OneLine, out, run, show
from gateway.timeline import Timeline
from gateway.words import listed, owner_words, span
from schemas.base import Owner
from schemas.read_models import CaseFilter, CaseRow
from settings import Settings

POLL_SECONDS = 0.5

app = typer.Typer(no_args_is_help=True, help="List, show and watch cases.")

CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="Such as repair-1f2e3d.")]


@app.command("list")
def list_cases(
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help=f"Only of this kind: {', '.join(KINDS)}.")
    ] = None,
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Only at this stage, such as Closed.")
    ] = None,
    district: Annotated[str | None, typer.Option(help="Only in this district.")] = None,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only cases that have not ended.")
    ] = False,
    late: Annotated[
        bool, typer.Option("--late", help="Only where a broken promise is still owed.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many at most.")] = 50,
    after: Annotated[
        str, typer.Option(metavar="CASE", help="Go on after this case: the last one's `next`.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List cases by id.

    JSON: {"cases": [case, …], "next": CASE or null}; each case has its commitments.
    """

    async def work() -> tuple[list[CaseRow], bool]:
        filters = case_filter(kind, stage, district, only_open=only_open)
        return await _list(filters, late, limit, after)

    rows, more = run(work(), as_json=as_json)
    show(
        {"cases": rows, "next": rows[-1].case_id if more else None},
        *_drawn_list(rows, more),
        as_json=as_json,
    )


async def _list(
    filters: CaseFilter, late: bool, limit: int, after: str
) -> tuple[list[CaseRow], bool]:
    async with desk(Settings()) as office:
        found = await office.list_cases(filters, late=late, after=after, limit=limit + 1)
    return found[:limit], len(found) > limit


def _drawn_list(rows: list[CaseRow], more: bool) -> list[RenderableType]:
    now = datetime.now(UTC)
    drawn = table("Case", "Stage, with", "Owed first")
    drawn.columns[0].no_wrap = True
    for row in rows:
        drawn.add_row(*case_cells(row), _owed(row, now))
    if not rows:
        opens = "`standpipe repair report …` or `standpipe complaint register …`"
        return [Text(f"No such case. Open one with {opens}.")]
    last = rows[-1].case_id
    hint = f"More: add --after {last}" if more else f"{len(rows)} case{'s' * (len(rows) != 1)}"
    return [drawn, OneLine(f"{hint}. One in full: standpipe case show {last}")]


def case_cells(row: CaseRow) -> tuple[Text, Text]:
    """A case in two lines: id and what it is, stage and owner."""
    care = "special care" if row.priority else None
    fault = listed(part for part in (row.category, row.severity, row.district, care) if part)
    owner = None
    if row.owner_kind and row.owner and not row.final:
        owner = Owner.model_validate({"kind": row.owner_kind, "id": row.owner})
    with_whom = owner_words(owner) if owner else ""
    return (
        Text.assemble(row.case_id, ("\n" + fault, "dim")),
        Text.assemble(row.stage, ("\n" + with_whom, "dim")),
    )


def _owed(row: CaseRow, now: datetime) -> Text:
    owed = [
        c
        for c in row.commitments
        if c.state == "running" or (c.state == "broken" and c.ended_at is None)
    ]
    if not owed or row.closed_at:
        return Text("")
    first = min(owed, key=lambda c: c.due)
    if first.due < now:
        return Text(f"{first.id}, {span(now - first.due)} late", style="red")
    return Text(f"{first.id}, {span(first.due - now)} left")


@app.command("show")
def show_case(
    case: CaseArgument,
    ahead: Annotated[
        int, typer.Option(min=0, max=100, help="So many of the clock's next steps.")
    ] = 3,
    as_json: AsJson = False,
) -> None:
    """Draw a case's timeline: what happened, what is owed, what comes next, unless.

    JSON: the timeline, with "events", "commitments", "next", "possible" and the folded "state".
    """

    async def work() -> Timeline:
        async with desk(Settings()) as office:
            return await office.timeline(commands.case_id(case), ahead=ahead)

    shown = run(work(), as_json=as_json)
    show(shown, draw(shown), as_json=as_json)


@app.command("watch")
def watch_case(case: CaseArgument, as_json: AsJson = False) -> None:
    """Follow a case live until it ends, or until Ctrl-C.

    JSON: one event a line, as in `case show`.
    """
    try:
        run(_watch(case, as_json), as_json=as_json, again="No longer watching; it goes on.")
    except typer.Exit as ended:
        if ended.exit_code != Exit.INTERRUPTED:
            raise


async def _watch(case: str, as_json: bool) -> None:
    async with desk(Settings()) as office:
        version = 0
        while True:
            shown = await office.timeline(commands.case_id(case))
            _tell(shown, version, as_json)
            version = shown.version
            if shown.ended:
                return
            await _news(office, case, version)


async def _news(office: Desk, case: str, version: int) -> None:
    """Wait until the log holds something new of the case."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        if (await office.case(case)).version > version:
            return


def _tell(shown: Timeline, after: int, as_json: bool) -> None:
    fresh = [e for e in shown.events if e.version > after]
    if as_json:
        for e in fresh:
            print(e.model_dump_json(), flush=True)
        return
    if after == 0:
        out.print(Text.assemble((shown.case_id, "bold"), f"  all times {shown.time_zone}"))
    out.print(event_lines(shown, fresh))
    if shown.ended or after == 0:
        out.print(drawn_next(shown))
