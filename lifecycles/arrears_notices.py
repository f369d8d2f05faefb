"""Arrears, before any stop: opened, reminded (WAT-C1), notice (WAT-C2) and stop order (WAT-C4a)."""

from lifecycles.arrears_evolve import Events, Results
from lifecycles.arrears_money import balance, enough, same_currency, sound
from lifecycles.arrears_stages import approval_needed, reminded_at
from lifecycles.casework import not_before, unit
from lifecycles.decisions import By, No
from schemas.arrears import (
    ArrearsOpened,
    ArrearsState,
    BecameEligible,
    ContactRecorded,
    HoldPlaced,
    NoticeServed,
    OpenArrears,
    RecordContact,
    ServeNotice,
    ServeStopOrder,
    Stage,
    StopOrderServed,
)
from schemas.base import Reference

VULNERABLE = "vulnerable"


def open_case(state: ArrearsState, c: OpenArrears, by: By) -> Results:
    if (state.account, state.run) == (c.account, c.run):
        return
    yield from same_currency(state, c.currency)
    yield from sound(state, c.bills, by)
    if not enough(state, sum(b.amount for b in c.bills)):
        yield No("Less is owed than the threshold: this account is not chased.")
    yield ArrearsOpened(
        at=by.at,
        case=state.case_id,
        policy=state.policy_hash,
        account=c.account,
        premises=c.premises,
        reader=c.reader,
        dn=c.dn,
        customer_class=c.customer_class,
        boilers=c.boilers,
        continuous_production=c.continuous_production,
        shared_valve=c.shared_valve,
        vulnerable=c.vulnerable,
        party=c.party,
        district=c.district,
        currency=c.currency,
        bills=c.bills,
        run=c.run,
        owner=unit(state),
    )
    if c.vulnerable:
        yield HoldPlaced(at=by.at, hold=VULNERABLE, kind="vulnerable", source=c.run, until=None)


def record_contact(state: ArrearsState, c: RecordContact, by: By) -> Results:
    known = next((k for k in state.contacts if k.evidence == c.evidence), None)
    if known and known.how == c.how:
        return
    if known:
        yield No("This evidence shows another contact already; name this one's own.")
    times = (*(k.at for k in state.contacts), by.at)
    yield ContactRecorded(
        at=by.at,
        how=c.how,
        evidence=c.evidence,
        number=len(times),
        reminded=reminded_at(state, times) is not None,
    )


def serve_notice(state: ArrearsState, c: ServeNotice, by: By) -> Results:
    if state.notice and (state.notice.how, state.notice.proof) == (c.how, c.proof):
        return
    yield from not_before(state.reminded_at, by, "the customer was reminded (WAT-C1)")
    yield from _fresh(state, c.proof, by)
    yield NoticeServed(
        at=by.at,
        how=c.how,
        proof=c.proof,
        balance=balance(state),
        effective_at=by.at + state.rules.notice_period,
    )


def serve_stop_order(state: ArrearsState, c: ServeStopOrder, by: By) -> Results:
    known = state.stop_order
    if known and (known.how, known.proof) == (c.how, c.proof):
        return
    last = max((stop.at for stop in state.stops), default=None)
    yield from not_before(last, by, "supply was stopped")
    yield from _fresh(state, c.proof, by)
    yield StopOrderServed(
        at=by.at,
        how=c.how,
        proof=c.proof,
        effective_at=by.at + state.rules.stop_order_period,
    )


def _fresh(state: ArrearsState, proof: Reference, by: By) -> Results:
    """A notice that no longer counts is not served again with the same proof."""
    if proof in state.voided:
        yield No("This proof is of a notice that no longer counts: serve a fresh one.")
    yield from not_before(state.voided_at, by, "the earlier notice ceased to count")


def eligible(state: ArrearsState, by: By) -> Events:
    """The notice's period is over, and it is still unpaid."""
    notice = state.notice
    if state.stage == Stage.NOTICE_SERVED and notice and notice.effective_at <= by.at:
        yield BecameEligible(at=by.at, approval_needed=approval_needed(state))
