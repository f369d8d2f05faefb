"""Cases per second that a billing run opens, against bare workflow starts."""

import asyncio
import statistics
import time
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from activities.cases import Cases
from activities.log_reader import LogReader
from bench.cases import Bare
from bench.lives import POLICIES
from bench.measure import Line, Report, Way, rate
from gateway.billing import Account, Bill, Payment
from gateway.billing_cases import Run
from gateway.billing_files import Books
from gateway.billing_runs import BillingRun
from gateway.policies import content_of
from schemas.premises import premises_id

AT_ONCE = 16
"""As many as `standpipe import arrears` opens at a time unless told otherwise."""


async def compare(
    report: Report, cases: Cases, log: LogReader, organisation: str, bare: Bare, count: int
) -> None:
    """A run over invented books, as `standpipe import arrears` runs over files that it has read.

    A bare start is one `start_workflow` call. Every way counts until all has happened that the
    starts lead to: the calls alone return several times faster than any workflow can begin. What
    they lead to is one local activity, as a case is recorded; or that and telling a neighbour, as
    every case of arrears tells its premises, which cost more than itself.
    """
    policy = content_of("water", POLICIES)
    recorded: list[float] = []

    async def run() -> float:
        as_of = datetime.now(UTC).date() - timedelta(days=1)
        books = _books(count, as_of)
        made = BillingRun(Run("bench", as_of, "CNY"), organisation, policy, cases=cases, log=log)
        begin = time.perf_counter()
        done = await made.over(books, concurrency=AT_ONCE, report=lambda _: None)
        recorded.append(count / (time.perf_counter() - begin))
        if not done.count("opened") == done.recorded == count:
            raise RuntimeError("the billing run did not open a case for every account")
        places = [premises_id(organisation, number) for number in books.accounts]
        while len(await log.recorded(organisation, places)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return count / (time.perf_counter() - begin)

    def starts(*, tells: bool) -> Way:
        return lambda: rate(count, lambda: bare.open_many(count, AT_ONCE, tells=tells))

    per_second = await report.interleaved(
        "cases opened",
        {
            "billing run": run,
            "bare starts that tell": starts(tells=True),
            "bare starts": starts(tells=False),
        },
    )
    report.facts["cases recorded"] = recorded
    report.lines.append(
        Line(
            "cases opened by a billing run, and premises told, against bare starts that tell",
            per_second["billing run"],
            per_second["bare starts that tell"],
            "cases/s",
            0.7,
        )
    )
    report.lines.append(
        Line(
            "cases opened by a billing run, against bare starts that tell nobody",
            statistics.median(recorded),
            per_second["bare starts"],
            "cases/s",
            0.7,
        )
    )


def _books(count: int, as_of: date) -> Books:
    """New accounts with two overdue bills each; every third has paid a part lately."""
    books = Books()
    for number in (uuid4().hex for _ in range(count)):
        account = Account(number, number, "north", 20, "household")
        account.bills = [
            Bill(f"{number}/1", 8_600, as_of - timedelta(days=75)),
            Bill(f"{number}/2", 7_900, as_of - timedelta(days=45)),
        ]
        if len(books.accounts) % 3 == 0:
            account.payments = [Payment(f"{number}/p1", 3_000, as_of - timedelta(days=12))]
        books.accounts[number] = account
    return books
