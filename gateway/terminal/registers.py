"""`standpipe stops` and `part-payments`: the stop register and the register of part payments."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from gateway import commands
from gateway.desk import desk
from gateway.drawing import table
from gateway.paging import Place, numbered
from gateway.permit import arrears_case
from gateway.terminal.output import AsJson, OneLine, run, show
from gateway.terminal.records import Limit, OfCase
from gateway.words import money, span
from schemas.read_models import PartPaymentRow, StopRow
from settings import Settings

After = Annotated[
    str | None, typer.Option(metavar="PLACE", help="Go on after this: the last one's `next`.")
]


def list_stops(
    only_stopped: Annotated[
        bool, typer.Option("--open", help="Only where supply is not restored yet.")
    ] = False,
    case: OfCase = None,
    after: After = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """The stop register (WAT-C4c): every closed valve, and whether supply is restored.

    JSON: {"stops": [stop, …], "next": PLACE or null}.
    """

    async def work() -> list[StopRow]:
        place = _checked(case, after)
        async with desk(Settings()) as office:
            return await office.stops(case, only_stopped=only_stopped, after=place, limit=limit)

    rows = run(work(), as_json=as_json)
    drawn = table("Since (UTC)", "Case, account, premises", "Stop", "Restored (UTC)")
    drawn.columns[0].no_wrap = True
    for row in rows:
        drawn.add_row(
            f"{row.since:%Y-%m-%d %H:%M}",
            Text(f"{row.case_id}\n{row.account}, {row.premises}"),
            _stop_cell(row),
            _restored_cell(row),
        )
    following = _next([Place(r.since, r.case_id, str(r.number)) for r in rows], limit)
    hint = OneLine(f"{len(rows)} stop{'s' * (len(rows) != 1)}.{_more(following)}")
    nothing = Text("No supply is stopped." if only_stopped else "No supply was stopped.")
    drawn_all = (drawn, hint) if rows else (nothing,)
    show({"stops": rows, "next": following}, *drawn_all, as_json=as_json)


def _stop_cell(row: StopRow) -> Text:
    right = Text() if row.permitted else Text("\nWITHOUT a permit that held", style="red")
    where = f"valve {row.valve}, seal {row.seal}, {row.reading} l"
    return Text.assemble(f"{row.kind}, by {row.crew}\n", (where, "dim"), right)


def _restored_cell(row: StopRow) -> Text:
    opened = f"opened by the customer {row.reopened_at:%Y-%m-%d %H:%M}" if row.reopened_at else ""
    if row.restored_at is None:
        since = f"not restored, {span(datetime.now(UTC) - row.since)}"
        return Text.assemble((since, "yellow"), f"\n{opened}" if opened else "")
    return Text(f"{row.restored_at:%Y-%m-%d %H:%M}" + (f"\n{opened}" if opened else ""))


def list_part_payments(
    case: OfCase = None, after: After = None, limit: Limit = 50, as_json: AsJson = False
) -> None:
    """The register of payments that covered no whole bill and do not clear it (WAT-B9).

    JSON: {"part_payments": [payment, …], "next": PLACE or null}; amounts in the smallest unit.
    """

    async def work() -> list[PartPaymentRow]:
        place = _checked(case, after)
        async with desk(Settings()) as office:
            return await office.part_payments(case, after=place, limit=limit)

    rows = run(work(), as_json=as_json)
    drawn = table("Paid (UTC)", "Case, account", "Payment", "Amount")
    drawn.columns[0].no_wrap = True
    drawn.columns[3].justify = "right"
    for row in rows:
        back = f"\ntaken back {row.reversed_at:%Y-%m-%d %H:%M}" if row.reversed_at else ""
        drawn.add_row(
            f"{row.paid_at:%Y-%m-%d %H:%M}",
            Text(f"{row.case_id}\n{row.account}"),
            Text(f"{row.payment}{back}"),
            money(row.amount, row.currency),
        )
    following = _next([Place(r.paid_at, r.case_id, str(r.number)) for r in rows], limit)
    hint = OneLine(f"{len(rows)} part payment{'s' * (len(rows) != 1)}.{_more(following)}")
    drawn_all = (drawn, hint) if rows else (Text("No part payment is on the register."),)
    show({"part_payments": rows, "next": following}, *drawn_all, as_json=as_json)


def _checked(case: str | None, after: str | None) -> tuple[datetime, str, int] | None:
    """Where to go on. Raises `Invalid` with all that is wrong, at once."""
    _, found = commands.together(
        lambda: case and arrears_case(case, "--case"), lambda: numbered(after)
    )
    return found


def _next(places: list[Place], limit: int) -> str | None:
    return str(places[-1]) if len(places) == limit else None


def _more(following: str | None) -> str:
    return f" More: add --after {following}" if following else ""
