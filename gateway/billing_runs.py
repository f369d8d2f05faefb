"""A billing run: one arrears case for every account that owes enough, and news for those that do.

Safe to interrupt and to run again: every command's name is made of the run, the account and the
bill or payment, and a case hears only what the log says that it does not know.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple

from activities.cases import Cases, Conflict
from activities.log_reader import LogReader
from gateway.billing import Account, opening, overdue, told
from gateway.billing_cases import (
    Latest,
    Run,
    begun,
    case_of_account,
    day_of,
    forgiven,
    latest_cases,
    news,
    opening_commands,
    state_of,
    tell,
    told_to,
)
from gateway.billing_files import Books, Reject
from gateway.importing import BATCH, until_recorded
from gateway.mappings import FilingError
from lifecycles.decisions import Rejected
from lifecycles.policies import Pinned, pinned
from schemas.arrears import ArrearsState
from schemas.envelope import Json
from schemas.policy import ArrearsPolicy

Outcome = Literal["opened", "updated", "settled", "unchanged", "below", "clear"]


class Difference(NamedTuple):
    """The files and a case do not add up: somebody must look at it."""

    account: str
    case_id: str
    amount: int
    """By so much the case claims more than the files, in the smallest unit."""


@dataclass
class Progress:
    """How far a run is; every account ends up in one of the outcomes, or is set aside."""

    outcomes: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    """By account."""
    set_aside: int = 0
    refused: list[Reject] = field(default_factory=list[Reject])
    """Accounts whose case refused what the files say."""
    differences: list[Difference] = field(default_factory=list[Difference])
    cases: list[str] = field(default_factory=list[str])
    """Opened, by this run or at the same time by another."""
    recorded: int = 0
    """Of those, how many the log holds."""

    @property
    def accounts(self) -> int:
        return len(self.outcomes) + self.set_aside + len(self.refused)

    @property
    def changed(self) -> bool:
        return any(o in ("opened", "updated", "settled") for o in self.outcomes.values())

    def count(self, outcome: Outcome) -> int:
        return sum(o == outcome for o in self.outcomes.values())


Report = Callable[[Progress], None]


def terms_of(policy: Pinned, currency: str) -> ArrearsPolicy:
    """The policy's terms. Raises `FilingError` where it has none, or another currency."""
    terms = policy.policy.arrears
    if terms is None:
        raise FilingError(
            f"Policy {policy.policy.name} has no terms for arrears: add [arrears], or name another."
        )
    if terms.currency != currency:
        raise FilingError(
            f"The files are in {currency}, policy {policy.policy.name} reckons in {terms.currency},"
            " and nothing is ever converted: name a policy file in that currency"
            " (`standpipe import arrears --help` says how to make one)."
        )
    return terms


class BillingRun:
    """One run over one organisation's accounts."""

    def __init__(
        self, run: Run, organisation: str, policy: str, *, cases: Cases, log: LogReader
    ) -> None:
        """FilingError where the policy does not fit; see `terms_of`."""
        self._run = run
        self._organisation = organisation
        self._policy = policy
        self._calendar = pinned(policy).policy.calendar
        self._threshold = max(terms_of(pinned(policy), run.currency).threshold, 1)
        self._cases = cases
        self._log = log
        self._progress = Progress()

    async def over(self, books: Books, *, concurrency: int, report: Report) -> Progress:
        """Open and update the accounts' cases, `concurrency` at a time.

        Returns when the log holds all of them. Raises NothingRecorded if nobody works on them.
        """
        progress = self._progress
        room = asyncio.Semaphore(concurrency)

        async def one(account: Account, latest: Latest) -> None:
            async with room:
                await self._account(account, latest)
            report(progress)

        progress.set_aside = len(books.set_aside)
        whole = (a for a in books.accounts.values() if a.number not in books.set_aside)
        for batch in _batches(whole):
            numbers = [account.number for account in batch]
            latest = await latest_cases(self._log, self._organisation, numbers)
            await asyncio.gather(*(one(a, latest[a.number]) for a in batch))

        def recorded(waiting: int) -> None:
            progress.recorded = len(progress.cases) - waiting
            report(progress)

        await until_recorded(progress.cases, self._organisation, self._log, recorded)
        progress.refused.sort(key=lambda reject: reject.account)
        progress.differences.sort()
        return progress

    async def _account(self, account: Account, latest: Latest) -> None:
        progress = self._progress
        try:
            try:
                outcome = await self._bring(account, latest)
            except Rejected:
                # Perhaps the case ended meanwhile: then it is another one's turn.
                found = await latest_cases(self._log, self._organisation, [account.number])
                if found[account.number].open or not latest.open:
                    raise
                outcome = await self._bring(account, found[account.number])
        except Rejected as refusal:
            progress.refused.append(Reject(None, None, account.number, refusal.reasons))
        except Conflict as conflict:
            progress.refused.append(Reject(None, None, account.number, (str(conflict),)))
        else:
            progress.outcomes[account.number] = outcome

    async def _bring(self, account: Account, latest: Latest) -> Outcome:
        if latest.open and latest.row is not None:
            return await self._update(account, latest.row.case_id, latest.number)
        return await self._open(account, latest)

    async def _open(self, account: Account, latest: Latest) -> Outcome:
        as_of, owed = self._run.as_of, overdue(account, self._run.as_of).balance
        less = 0
        if owed >= self._threshold and latest.number:
            less = await forgiven(self._log, self._organisation, account.number, latest.number)
            owed = overdue(account, as_of, less).balance
        if owed < self._threshold:
            return "below" if owed else "clear"
        ended = latest.row.closed_at if latest.row else None
        if ended is not None and as_of <= day_of(self._calendar, ended):
            return "unchanged"  # an older run again: that debt had its case
        case_id = case_of_account(self._organisation, account.number, latest.next_number)
        begins = opening(account, as_of, less)
        commands = opening_commands(self._run, account, begins, self._calendar)
        new = await self._cases.open_with_history(case_id, self._policy, commands)
        self._progress.cases.append(case_id)
        return "opened" if new else "unchanged"

    async def _update(self, account: Account, case_id: str, number: int) -> Outcome:
        state = await state_of(self._log, self._organisation, case_id)
        if state.currency != self._run.currency:
            raise Rejected([f"The open case is in {state.currency}: correct the mapping."])
        if self._run.as_of < day_of(state.policy.calendar, begun(state)):
            return "unchanged"  # an older run again: the case knows more
        commands = news(self._run, account, state)
        said = await tell(self._cases, case_id, commands)
        if said.settled:
            return "settled"
        await self._compare(account, state, commands, number)
        return "updated" if said.done else "unchanged"

    async def _compare(
        self, account: Account, before: ArrearsState, commands: list[Json], number: int
    ) -> None:
        """Whether what the case was told adds up to what the files say."""
        as_of, calendar = self._run.as_of, before.policy.calendar
        later = any(day_of(calendar, p.paid_at) > as_of for p in before.payments)
        if later or any(b.due >= as_of for b in before.bills):
            return  # it knows more than this run
        if before.ends_as is not None:
            return
        claimed = told_to(before)
        for command in commands:
            body = command["body"]
            claimed += sum(bill["amount"] for bill in body.get("bills", ()))
            claimed -= body["amount"] if body["type"] == "RecordPayment" else 0
        less = await forgiven(self._log, self._organisation, account.number, number - 1)
        if amount := claimed - (told(account, as_of) - less):
            self._progress.differences.append(Difference(account.number, before.case_id, amount))


def _batches(accounts: Iterator[Account]) -> Iterator[list[Account]]:
    return iter(lambda: list(islice(accounts, BATCH)), [])


def to_json(run: Run, books: Books, done: Progress) -> Json:
    """The JSON form of a run; amounts in the currency's smallest unit."""
    return {
        "run": run.id,
        "currency": run.currency,
        "changed": done.changed,
        "accounts": done.accounts,
        **{
            outcome: done.count(outcome)
            for outcome in ("opened", "updated", "settled", "unchanged", "below", "clear")
        },
        "set_aside": done.set_aside,
        "rejected": len(books.rejects) + len(done.refused),
        "differences": [d._asdict() for d in done.differences],
    }
