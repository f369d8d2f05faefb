"""Posts a file of payments to the open arrears cases of their accounts; each counts once."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from activities.cases import Cases, Conflict
from activities.log_reader import LogReader
from gateway.billing import Payment
from gateway.billing_cases import Latest, day_of, latest_cases, payments_news, state_of, tell
from gateway.billing_files import Reject
from gateway.importing import BATCH
from lifecycles.decisions import Rejected
from schemas.envelope import Json


@dataclass
class Posting:
    """How far it is; every payment ends up in one of the counts, or its account is listed."""

    posted: int = 0
    known: int = 0
    """Recorded earlier, or counted when the case was opened."""
    settled: int = 0
    """Cases whose debt ended by them."""
    without_case: list[str] = field(default_factory=list[str])
    """Accounts with no open case."""
    payments_without_case: int = 0
    refused: list[Reject] = field(default_factory=list[Reject])
    payments_refused: int = 0

    @property
    def payments(self) -> int:
        return self.posted + self.known + self.payments_without_case + self.payments_refused


async def post_payments(
    payments: Mapping[str, Sequence[Payment]],
    currency: str,
    organisation: str,
    now: datetime,
    *,
    cases: Cases,
    log: LogReader,
    concurrency: int,
    report: Callable[[Posting], None],
) -> Posting:
    """Post the payments, by account, to the cases that are open, `concurrency` at a time."""
    posting = Posting()
    room = asyncio.Semaphore(concurrency)

    async def one(account: str, latest: Latest) -> None:
        mine = payments[account]
        if not latest.open or latest.row is None:
            posting.without_case.append(account)
            posting.payments_without_case += len(mine)
            return
        case_id = latest.row.case_id
        async with room:
            try:
                state = await state_of(log, organisation, case_id)
                today = day_of(state.policy.calendar, now)
                if state.currency != currency:
                    raise Rejected([f"The open case is in {state.currency}: correct the mapping."])
                if any(payment.paid > today for payment in mine):
                    raise Rejected(["A payment lies in the future; correct its date."])
                commands = payments_news(mine, today, currency, state)
                said = await tell(cases, case_id, commands)
            except (Rejected, Conflict) as refusal:
                reasons = refusal.reasons if isinstance(refusal, Rejected) else (str(refusal),)
                posting.refused.append(Reject(None, None, account, reasons))
                posting.payments_refused += len(mine)
            else:
                posting.posted += said.done
                posting.known += len(mine) - said.done
                posting.settled += said.settled
        report(posting)

    accounts = iter(payments)
    while batch := list(islice(accounts, BATCH)):
        latest = await latest_cases(log, organisation, batch)
        await asyncio.gather(*(one(account, latest[account]) for account in batch))
    posting.without_case.sort()
    posting.refused.sort(key=lambda reject: reject.account)
    report(posting)
    return posting


def to_json(posting: Posting, rejected: int) -> Json:
    """The JSON form of a posting."""
    return {
        "changed": posting.posted > 0,
        "payments": posting.payments,
        "posted": posting.posted,
        "known": posting.known,
        "settled": posting.settled,
        "rejected": rejected + len(posting.refused),
        "without_case": {
            "payments": posting.payments_without_case,
            "accounts": posting.without_case,
        },
    }
