"""An account's arrears case as a billing system speaks of it: opened, and told of payments.

The account has one open case at most; its name is made of the account (see billing_cases).
"""

from datetime import UTC, date, datetime
from typing import NamedTuple

from gateway.billing import Payment
from gateway.billing_cases import (
    Latest,
    case_of_account,
    day_of,
    latest_cases,
    payments_news,
    state_of,
    tell,
)
from gateway.session import Session
from lifecycles.decisions import Rejected
from schemas.arrears import ArrearsState
from schemas.envelope import CommandOutcome, Json


class Posted(NamedTuple):
    """What came of a payment."""

    case_id: str | None
    """None: the account has no open case, and nobody waits for its money."""
    known: bool
    """Whether the case knew it, or had it in what its bills had left when it was opened."""
    events: tuple[str, ...]
    settled: bool
    """Whether the debt ended by it."""


async def open_arrears(
    session: Session, policy: str, account: str, command: Json
) -> tuple[str, CommandOutcome]:
    """Open the account's next case. Raises `Rejected` with every reason where one is open.

    The same command again is the same case, even where that one has ended by now.
    """
    latest = await _latest(session, account)
    cases = await session.cases()
    case_id = case_of_account(session.organisation, account, latest.next_number)
    if latest.row is not None:
        known = latest.row.case_id
        if await session.log.holds(session.organisation, known, command["id"]):
            case_id = known
        elif latest.open:
            raise Rejected(
                [f"The account has an open case, {known}: add the bills to it (AddBills)."]
            )
    try:
        return case_id, await cases.open(case_id, policy, command)
    except Rejected:
        # Perhaps another command opened it at this moment.
        if (now := await _latest(session, account)).number == latest.number or now.row is None:
            raise
        raise Rejected(
            [f"The account has an open case, {now.row.case_id}: add the bills to it (AddBills)."]
        ) from None


async def post_payment(
    session: Session,
    account: str,
    payment: Payment,
    currency: str,
    command_id: str,
    actor: Json,
) -> Posted:
    """Tell the account's open case of a payment; each counts once, by its number.

    Raises `Rejected` where its day lies in the future, or it is in another currency.
    """
    latest = await _latest(session, account)
    if latest.row is None:
        return Posted(None, False, (), False)
    case_id = latest.row.case_id
    state: ArrearsState = await state_of(session.log, session.organisation, case_id)
    if not latest.open:
        known = any(p.payment == payment.payment for p in state.payments)
        return Posted(case_id if known else None, known, (), False)
    today: date = day_of(state.policy.calendar, datetime.now(UTC))
    wrong: list[str] = []
    if state.currency != currency:
        wrong.append(f"currency: the open case is in {state.currency}, and nothing is converted.")
    if payment.paid > today:
        wrong.append("paid_on: lies in the future; correct it.")
    if wrong:
        raise Rejected(wrong)
    news = payments_news([payment], today, currency, state)
    if not news:
        return Posted(case_id, True, (), False)
    cases = await session.cases()
    said = await tell(cases, case_id, [{**news[0], "id": command_id, "actor": actor}])
    return Posted(case_id, not said.done, said.events, said.settled)


async def _latest(session: Session, account: str) -> Latest:
    return (await latest_cases(session.log, session.organisation, [account]))[account]
