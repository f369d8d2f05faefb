"""`standpipe import arrears` and `import payments`: a billing system's files as patient cases."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gateway import billing_payments, billing_runs, policies
from gateway.accounts import (
    AccountsMapping,
    Part,
    load_accounts_mapping,
    load_accounts_mappings,
)
from gateway.billing_cases import Run, day_of
from gateway.billing_files import (
    Books,
    Files,
    Reject,
    open_files,
    read_books,
    read_payments,
    write_rejects,
)
from gateway.billing_payments import Posting
from gateway.billing_runs import BillingRun, Progress, terms_of
from gateway.desk import desk
from gateway.drawing import table
from gateway.session import Session, policy_folder
from gateway.terminal.output import AsJson, WrongInput, progress, run, say, show
from lifecycles.policies import pinned
from settings import Settings

MapOption = Annotated[
    Path | None,
    typer.Option(
        "--mapping", "--map", help="The mapping; found by the files' headers if left out."
    ),
]
ConcurrencyOption = Annotated[
    int, typer.Option(min=1, max=200, help="So many cases are worked on at a time.")
]
RejectsOption = Annotated[
    Path | None,
    typer.Option(help="Where to write what cannot be used; FILE.rejects.csv if left out."),
]
_LISTED = 20


def import_arrears(
    customers: Annotated[Path, typer.Option(help="The accounts: a CSV file.")],
    bills: Annotated[Path, typer.Option(help="All their bills.")],
    payments: Annotated[Path, typer.Option(help="All their payments.")],
    as_of: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="Who is overdue on this day; not after today.")
    ],
    policy: Annotated[str, typer.Option(help="The policy, by name or file.")],
    map_file: MapOption = None,
    concurrency: ConcurrencyOption = 16,
    rejects: RejectsOption = None,
    as_json: AsJson = False,
) -> None:
    """A billing run: one case per account that owes enough, and news for cases that are open.

    Safe to interrupt and to run again: the same run twice changes nothing. A bill is overdue when
    its due date lies before the day; payments up to and including the day are taken off, the oldest
    bill first. Accounts with a row that cannot be used are set aside.

    The files' currency (the mapping says it) must be the policy's. To make a policy in another
    one: copy policies/water.toml, set `currency` and `threshold` (in the smallest unit) under
    [arrears], give it a `name` or `version` of its own, and name the file in --policy.

    JSON: {"run", "changed", "accounts", "opened", "updated", "settled", "unchanged", "below",
    "clear", "set_aside", "rejected", "differences": [{"account", "case_id", "amount"}]}.
    """

    async def work() -> tuple[Run, Books, Progress]:
        settings = Settings()
        content = policies.content_of(policy, policy_folder(settings))
        today = day_of(pinned(content).policy.calendar, datetime.now(UTC))
        day = _day(as_of, today)
        files = opened_files(
            settings, {"customers": customers, "bills": bills, "payments": payments}, map_file
        )
        terms_of(pinned(content), files.mapping.currency)
        books = read_books(files, today)
        billing = Run(files.mapping.source, day, files.mapping.currency)
        async with Session(settings) as session:
            with progress() as bars:
                looked = bars.add_task("accounts", total=len(books.accounts), note="")
                stored = bars.add_task("cases recorded", total=0, note="")

                def report(now: Progress) -> None:
                    wrong = f"{len(now.refused)} refused" if now.refused else ""
                    total = max(len(books.accounts), now.accounts)
                    bars.update(looked, completed=now.accounts, total=total, note=wrong)
                    bars.update(stored, completed=now.recorded, total=len(now.cases))

                made = BillingRun(
                    billing,
                    session.organisation,
                    content,
                    cases=await session.cases(),
                    log=session.log,
                )
                return (
                    billing,
                    books,
                    await made.over(books, concurrency=concurrency, report=report),
                )

    again = "Interrupted. The same run again goes on from here; nothing is done twice."
    billing, books, done = run(work(), as_json=as_json, again=again)
    write_all_rejects(rejects or _beside(bills), [*books.rejects, *done.refused])
    drawn = table("Account", "Case", f"Case claims more by ({billing.currency}, smallest unit)")
    for difference in done.differences[:_LISTED]:
        drawn.add_row(difference.account, difference.case_id, str(difference.amount))
    show(
        billing_runs.to_json(billing, books, done),
        Text(_headline(billing, books, done), style="bold"),
        *_differing(done, drawn),
        Text("Look at them with: standpipe case list --kind arrears --open"),
        as_json=as_json,
    )


def import_payments(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV file.")],
    map_file: MapOption = None,
    concurrency: ConcurrencyOption = 16,
    rejects: RejectsOption = None,
    as_json: AsJson = False,
) -> None:
    """Post payments to their accounts' open arrears cases. Safe to interrupt and to run again.

    Each payment counts once, also if a billing run brings it too: by its number or, where the file
    has none, by account, date, amount, method, and which of several such it is in the file.

    JSON: {"changed", "payments", "posted", "known", "settled", "rejected",
    "without_case": {"payments", "accounts"}}.
    """

    async def work() -> tuple[Posting, list[Reject]]:
        settings = Settings()
        files = opened_files(settings, {"payments": file}, map_file)
        now = datetime.now(UTC)
        # Today begins first in the east; each case's own calendar decides when it hears of it.
        found, wrong = read_payments(files, (now + timedelta(hours=14)).date())
        async with desk(settings) as office:
            with progress() as bars:
                posted = bars.add_task("payments", total=sum(map(len, found.values())), note="")
                done = await office.post_payments(
                    found,
                    files.mapping.currency,
                    now,
                    concurrency=concurrency,
                    report=lambda now: bars.update(posted, completed=now.payments),
                )
        return done, wrong

    again = "Interrupted. The same import again goes on from here; nothing is posted twice."
    done, wrong = run(work(), as_json=as_json, again=again)
    write_all_rejects(rejects or _beside(file), [*wrong, *done.refused])
    head = (
        f"Payments posted: {done.posted}; known: {done.known}; cases settled: {done.settled};"
        f" rejected: {len(wrong) + len(done.refused)}."
    )
    lines = [Text(head if done.posted else f"Nothing changed. {head}", style="bold")]
    if done.without_case:
        some = ", ".join(done.without_case[:_LISTED])
        more = len(done.without_case) - _LISTED
        rest = f" and {more} more (--json has all)" if more > 0 else ""
        lines.append(Text(f"Accounts without an open case: {some}{rest}."))
    show(billing_payments.to_json(done, len(wrong)), *lines, as_json=as_json)


def _headline(billing: Run, books: Books, done: Progress) -> str:
    counts = (
        f"Cases opened: {done.count('opened')}; updated: {done.count('updated')};"
        f" settled: {done.count('settled')}; unchanged: {done.count('unchanged')}."
        f" Accounts below the threshold: {done.count('below')};"
        f" set aside: {done.set_aside}; rejected: {len(books.rejects) + len(done.refused)}."
    )
    return counts if done.changed else f"Nothing changed by run {billing.id}. {counts}"


def _differing(done: Progress, drawn: Table) -> Sequence[RenderableType]:
    if not done.differences:
        return ()
    head = (
        f"{len(done.differences)} cases and the files do not add up: a payment was booked late, or"
        " recorded twice, or a bill changed. Look at them before anybody closes a valve."
    )
    return (Text(head, style="bold yellow"), drawn)


def _day(text: str, today: date) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise WrongInput("--as-of: no date; write one like 2026-03-31.") from None
    if day > today:
        raise WrongInput("--as-of: lies in the future; nobody is overdue then yet.")
    return day


def opened_files(settings: Settings, paths: dict[Part, Path], map_file: Path | None) -> Files:
    """The files, looked over, with their mapping. Raises `FilingError`."""
    if map_file is not None:
        mappings: list[AccountsMapping] = [load_accounts_mapping(map_file)]
    else:
        mappings = load_accounts_mappings(policy_folder(settings) / "mappings" / "accounts")
    return open_files(paths, mappings)


def _beside(file: Path) -> Path:
    return Path(f"{file.stem}.rejects.csv")


def write_all_rejects(path: Path, rejects: list[Reject]) -> None:
    """Write what could not be used, where there is any, and say where."""
    if rejects:
        try:
            write_rejects(path, rejects)
        except OSError as error:
            raise typer.BadParameter(
                f"{path} cannot be written: {error.strerror}", param_hint="--rejects"
            ) from None
        say(f"Rejected, with all reasons: {path}")
