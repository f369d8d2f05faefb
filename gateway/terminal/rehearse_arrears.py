"""`standpipe rehearse arrears`: a policy's notices, stops and dry taps, before anybody has them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway import policies
from gateway.billing_cases import day_of
from gateway.billing_files import Books, read_books
from gateway.billing_runs import terms_of
from gateway.drawing import table
from gateway.rehearse_arrears import rehearse, to_json
from gateway.rehearse_diary import Runs, Years, assumed, without_holidays
from gateway.rehearse_tally import Outcome, Rehearsal, Tally
from gateway.session import policy_folder
from gateway.terminal.arrears import MapOption, opened_files, write_all_rejects
from gateway.terminal.output import AsJson, WrongInput, progress, run, say, show
from lifecycles.policies import Pinned, pinned
from settings import Settings

_DAY = 86_400
_AVOIDED = (
    "Avoided: a notice was delivered, and no valve closed after it, for what was owed had fallen"
    " below the threshold (by payment), or a permit had been refused for a hold (by hold)."
)


class _Rehearsed(NamedTuple):
    books: Books
    years: Years
    found: Rehearsal
    policies: list[Pinned]


def rehearse_arrears(
    customers: Annotated[Path, typer.Option(help="The accounts: a CSV file.")],
    bills: Annotated[Path, typer.Option(help="All their bills.")],
    payments: Annotated[Path, typer.Option(help="All their payments.")],
    policy: Annotated[str, typer.Option(help="The policy, by name or file.")],
    against: Annotated[
        str | None, typer.Option(help="A second policy: every account that comes out otherwise.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM-DD", help="First day; the first due date if left out."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM-DD", help="Last day; that of the last payment if left out."),
    ] = None,
    runs: Annotated[
        Runs, typer.Option(help="Billing runs on the first of each month, or on Mondays.")
    ] = "monthly",
    map_file: MapOption = None,
    rejects: Annotated[
        Path | None, typer.Option(help="Where to write what cannot be used, with all reasons.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, help="So many differing accounts are drawn; JSON has them all.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """What a policy would have done to these customers: no server, nothing is stored.

    Month by month: notices, holds, permits refused, stops made and avoided, days without water. The
    files are those of `standpipe import arrears`, and so is the need for a policy in their
    currency. Each account's cases are lived through by the lifecycle itself; how quick the company
    is, and that customers pay as the files say whatever is done to them, is assumed and printed.

    JSON: {"since", "until", "runs", "assumed", "years_without_holidays", "accounts", "set_aside",
    "rejected", "months": {"2022-03": {"opened", "reminders", "notices", "holds",
    "permits_refused", "refused_by_guard", "stops", "avoided", "restored",
    "without_water_seconds"}}, "total", "customers_chased", "customers_stopped",
    "longest_without_water_seconds", "without_water_at_end", "notices_pending"}; with --against
    also "against" and "differences".
    """

    async def work() -> _Rehearsed:
        settings = Settings()
        names = [policy] if against is None else [policy, against]
        both = [pinned(policies.content_of(name, policy_folder(settings))) for name in names]
        today = day_of(both[0].policy.calendar, datetime.now(UTC))
        first, last = _day("--since", since), _day("--until", until)
        files = opened_files(
            settings, {"customers": customers, "bills": bills, "payments": payments}, map_file
        )
        for one in both:
            terms_of(one, files.mapping.currency)
        books = read_books(files, today)
        years = Years(
            settings.organisation,
            files.mapping.source,
            files.mapping.currency,
            *_period(books, first, last, today),
            runs,
        )
        # Redrawn at each report alone: a thread that redraws would forbid quick forks.
        with progress(auto_refresh=False) as bars:
            total = len(books.accounts) - len(books.set_aside & books.accounts.keys())
            task = bars.add_task("accounts rehearsed", total=total, note="")
            found = rehearse(
                books,
                years,
                both[0],
                against=both[1] if len(both) > 1 else None,
                report_progress=lambda done: bars.update(task, completed=done, refresh=True),
            )
        return _Rehearsed(books, years, found, both)

    done = run(work(), as_json=as_json)
    if rejects is not None:
        write_all_rejects(rejects, done.found.rejects)
    elif done.found.rejects:
        say("Add --rejects FILE for the rejected rows and their reasons.")
    bare = without_holidays(done.policies[0].policy.calendar, done.years)
    value = {**to_json(done.books, done.years, done.found), "years_without_holidays": bare}
    show(value, *_drawn(done, _labels(policy, against), bare, limit), as_json=as_json)


def _day(option: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise WrongInput(f"{option}: no date; write one like 2025-12-31.") from None


def _period(books: Books, since: date | None, until: date | None, today: date) -> tuple[date, date]:
    """First and last day. Beyond what the files hold, everybody would seem to owe."""
    due = min((b.due for a in books.accounts.values() for b in a.bills), default=None)
    paid = max((p.paid for a in books.accounts.values() for p in a.payments), default=None)
    first, last = since or due, until or paid
    if first is None or last is None:
        raise WrongInput("The files hold no bill or no payment that can be used; name both days.")
    if last > today:
        raise WrongInput("--until: lies in the future.")
    if first > last:
        raise WrongInput(f"--since must not lie after --until; they are {first} and {last}.")
    if paid and last > paid:
        say(f"The files' last payment is of {paid}: after it everybody seems to owe.")
    return first, last


def _labels(policy: str, against: str | None) -> list[str]:
    return [Path(name).stem for name in (policy, against) if name is not None]


def _drawn(
    done: _Rehearsed, labels: list[str], bare: list[int], limit: int
) -> Iterator[RenderableType]:
    found, years = done.found, done.years
    both = [(labels[0], found)]
    if found.against:
        both.append((labels[-1], found.against))
    head = (
        f"{found.accounts} accounts from {years.since} to {years.until}, billing runs {years.runs};"
        f" set aside: {len(done.books.set_aside)}; rejected: {len(found.rejects)}."
    )
    yield Text(head, style="bold")
    yield _months(both)
    for label, part in both:
        yield Text(label, style="bold")
        yield from map(_below, _lines(part))
    yield Text(_AVOIDED, style="dim")
    yield Text("Assumed", style="bold")
    yield from map(_below, assumed(years))
    if bare:
        yield _below(
            f"The policy's calendar names no public holiday in {', '.join(map(str, bare))}:"
            " nobody is spared on one then."
        )
    if found.against:
        yield from _differing(found, labels, limit)


def _below(text: str) -> Padding:
    return Padding(Text(f"- {text}"), (0, 0, 0, 2), expand=False)


def _months(both: list[tuple[str, Rehearsal]]) -> Table:
    """A line for each month; with two policies one for each, under each other."""
    names = ["Month"] if len(both) == 1 else ["Month", "Policy"]
    drawn = table(
        *names, "Cases\nopened", "Reminded", "Notices", "Holds", "Permits\nrefused", "Stops\nmade",
        "Stops\navoided", "Supply\nback", "Days\ndry",
    )  # fmt: skip
    drawn.padding, drawn.show_edge = 0, False  # it fits 80 columns
    drawn.columns[0].no_wrap = True
    for column in drawn.columns[len(names) :]:
        column.justify = "right"
    months = sorted({month for _, part in both for month in part.months})
    for month in months:
        for n, (label, part) in enumerate(both):
            named = [month if n == 0 else "", *([label] if len(both) > 1 else [])]
            drawn.add_row(*named, *_cells(part.months.get(month, Tally())))
    drawn.add_section()
    for n, (label, part) in enumerate(both):
        named = ["Total" if n == 0 else "", *([label] if len(both) > 1 else [])]
        drawn.add_row(*named, *_cells(part.total), style="bold")
    return drawn


def _cells(tally: Tally) -> tuple[str, ...]:
    numbers = (
        tally.opened,
        tally.reminders,
        tally.notices,
        tally.holds.total(),
        tally.refused,
        tally.made,
        tally.avoided.total(),
        tally.restored,
        round(tally.without_water / _DAY),
    )
    return tuple(str(number) for number in numbers)


def _lines(part: Rehearsal) -> Iterator[str]:
    total = part.total
    yield (
        f"Customers chased: {part.chased}; stopped at least once: {part.stopped}; without water at"
        f" the end: {part.off}; the longest without it, all stops together:"
        f" {part.longest / _DAY:.1f} days."
    )
    yield (
        f"Stops avoided: {total.avoided['payment']} by payment, {total.avoided['hold']} by hold;"
        f" notices not settled at the end: {part.pending}."
    )
    if total.holds:
        yield f"Holds: {_counted(total.holds)}."
    if total.guards:
        yield f"Guards that refused a permit: {_counted(total.guards)}."


def _counted(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(numbers.items()))


def _differing(found: Rehearsal, labels: list[str], limit: int) -> Iterator[RenderableType]:
    number = len(found.differences)
    otherwise = "1 account comes" if number == 1 else f"{number} accounts come"
    yield Text(f"{otherwise} out otherwise.", style="bold")
    drawn = table("Account", *labels)
    for account, a, b in found.differences[:limit]:
        drawn.add_row(account, _outcome(a), _outcome(b))
    if drawn.rows:
        yield drawn
    if number > limit:
        yield Text(f"The first {limit} of them; --json has all.")


def _outcome(o: Outcome) -> str:
    if o.refused:
        return " ".join(o.refused)
    stopped = ""
    if o.stopped_on:
        times = "once, on" if len(o.stopped_on) == 1 else f"{len(o.stopped_on)} times, first on"
        dry = f"{o.without_water / _DAY:.1f} days dry"
        stopped = f"; stopped {times} {o.stopped_on[0]}; {dry}"
    held = f", {o.avoided_by_hold} by hold" if o.avoided_by_hold else ""
    return f"notices {o.notices}{stopped}; avoided {o.avoided_by_payment} by payment{held}"
