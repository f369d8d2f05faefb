"""What happens to an unpaid account (欠费停供), in plain words. Pure."""

from collections.abc import Iterable, Mapping
from typing import assert_never

from gateway.words.plain import When, listed, money, owner_words, readable
from schemas.arrears import (
    ArrearsClosed,
    ArrearsEvents,
    ArrearsOpened,
    ArrearsWithdrawn,
    AuthorisationLapsed,
    BalanceCorrected,
    BecameEligible,
    BillsAdded,
    ContactRecorded,
    CutoffAuthorised,
    DebtRevived,
    DebtSettled,
    DebtWrittenOff,
    Guard,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    MovedOut,
    NoticeServed,
    NoticeVoided,
    PaymentReceived,
    PaymentReversed,
    PermitExpired,
    PermitIssued,
    PermitRevoked,
    PlanAgreed,
    PlanBroken,
    PlanKept,
    ReconnectionFailed,
    SelfReopened,
    StopOrderServed,
    SupplyRestored,
    UnpermittedCut,
    ValveClosed,
    VisitCancelled,
    VisitFailed,
    VisitMissed,
    VisitScheduled,
    WriteOffRequested,
)

RULES: Mapping[str, tuple[str, ...]] = {
    "ContactRecorded": ("WAT-C1",),
    "NoticeServed": ("WAT-C2",),
    "BecameEligible": ("WAT-C2",),
    "CutoffAuthorised": ("WAT-C3",),
    "PermitIssued": ("WAT-C2",),
    "ValveClosed": ("WAT-C2", "WAT-C4c"),
    "SelfReopened": ("WAT-C4a",),
    "StopOrderServed": ("WAT-C4a",),
    "BalanceCorrected": ("WAT-B6",),
    "SupplyRestored": ("WAT-C4c",),
    "WriteOffRequested": ("WAT-B3",),
    "DebtWrittenOff": ("WAT-B3",),
    "ArrearsClosed": ("ADM-6",),
}

BEFORE: Mapping[str, str] = {
    "opened": "the account is overdue before",
    "reminded": "the customer is reminded often enough before",
    "notice_served": "the written notice is served before",
    "eligible": "the notice's period is over before",
    "authorised": "the stop is authorised before",
    "visit_due": "a visit is scheduled before",
    "stopped": "supply is stopped before",
    "self_reopened": "the customer opens the valve before",
    "stop_order_served": "the stop order is served before",
    "fully_stopped": "supply is stopped in full before",
    "reconnect_due": "it is paid before",
    "reconnected": "supply is restored before",
    # Not milestones: what else keeps the clock from acting.
    "paid": "it is paid before",
    "released": "it is released before",
    "redeemed": "the valve is closed on it before",
    "instalment_paid": "the instalment is paid before",
    "reversed": "a payment is taken back before",
}

HOLDS: Mapping[str, str] = {
    "dispute": "the bill is disputed",
    "payment_plan": "payment by instalments is agreed",
    "payment_in_flight": "a payment is on its way",
    "vulnerable": "somebody vulnerable lives there",
    "medical": "somebody ill depends on supply",
    "open_case": "another case is open on the premises",
    "outage": "an outage on the premises",
    "weather": "the weather",
    "public_holiday": "a public holiday",
    "neighbours": "neighbours are on the same valve",
}
"""By the kind of hold: why supply must not be stopped."""

GUARDS: Mapping[str, str] = {
    "reminders": "the customer was reminded often enough (催缴)",
    "notice": "the written notice was served and its period is over (停供通知)",
    "balance": "as much as the threshold is owed, after all payments (欠费)",
    "stop-order": "the stop order was served and its time limit is over",
    "first-stop": "the first stop was rightful",
    "approval": "the division head has approved it in writing, on these very facts",
    "authorisation": "a supervisor has authorised it by name",
    "vulnerable": "nobody vulnerable or ill lives there",
    "holds": "nothing else holds it",
    "neighbours": "no other premises are on this valve",
    "fresh-look": "the log was looked into just before",
    "premises": "no repair, complaint or outage is open there",
    "hours": "within the hours for stops, not at night",
    "working-days": "on a working day, not before a weekend or public holiday",
    "season": "not in a protected season",
    "stage": "the case stands where a stop comes next",
    "separation": "who carries it out neither reads the meter nor authorised it",
    "crew": "it is the crew of the visit",
    "visit": "within the time of the visit",
    "permit": "the crew had a permit in force when it closed the valve (停供许可)",
}
"""By the name of a condition of a stop: what must hold."""

_SERVED = {
    "door": "at the door",
    "registered_letter": "by registered letter",
    "posted_on_door": "posted on the door",
}


def rules_of(event: object) -> tuple[str, ...]:
    """Rules that hang on what an event says, not on its type alone."""
    match event:
        case PaymentReceived(part=True):
            return ("WAT-B9",)
        case ValveClosed(kind="full"):
            return ("WAT-C4b", "WAT-C4c")
        case PermitIssued(full=True):
            return ("WAT-C4b",)
        case CutoffAuthorised(approval=None):
            return ("WAT-C2",)
        case _:
            return ()


def owed(balance: int, currency: str | None) -> str:
    """What is owed, as the end of a sentence."""
    if balance > 0:
        return f"{money(balance, currency)} is owed"
    if balance == 0:
        return "nothing is owed"
    return f"{money(-balance, currency)} too much was paid"


def guards_in_words(guards: Iterable[Guard]) -> str:
    """Conditions of a stop, each with ✓ or ✗ and its rule."""
    return listed(
        f"{'✓' if g.holds else '✗'} {readable(g.name)}" + (f" ({g.rule})" if g.rule else "")
        for g in guards
    )


def words(e: ArrearsEvents, when: When, currency: str | None) -> str:
    """What happened; amounts are in `currency`, or bare where a sentence has none."""
    match e:
        case ArrearsOpened():
            return _opened(e)
        case BillsAdded():
            added = money(sum(b.amount for b in e.bills), currency)
            return f"{_bills(len(e.bills))} more overdue, {added}; {owed(e.balance, currency)}"
        case ContactRecorded():
            how = {"door": "at the door", "phone": "by phone"}[e.how]
            enough = "; that is enough" if e.reminded else ""
            return f"asked to pay (催缴) {how}, time {e.number} ({e.evidence}){enough}"
        case NoticeServed():
            until = when(e.effective_at)
            what = f"written notice (停供通知) {_SERVED[e.how]} ({e.proof})"
            return f"{what}: {money(e.balance, currency)} to be paid before {until}"
        case NoticeVoided():
            what = "stop order" if e.kind == "stop_order" else "notice"
            return f"the {what} no longer counts ({readable(e.reason)}): a fresh one is needed"
        case BecameEligible():
            who = (
                "the division head must approve" if e.approval_needed else "somebody must authorise"
            )
            return f"still unpaid at the end of the notice's period; {who} a stop"
        case HoldPlaced():
            until = f", until {when(e.until)} at most" if e.until else ""
            return f"no stop: {HOLDS[e.kind]} ({e.hold}, {e.source}){until}"
        case HoldReleased():
            return f"hold {e.hold} is released ({readable(e.reason)})"
        case HoldExpired():
            return f"hold {e.hold} ends by itself: its time is over"
        case PlanAgreed():
            parts = listed(f"{money(i.amount, currency)} by {i.due}" for i in e.instalments)
            return f"payment by instalments is agreed ({e.consent}): {parts}"
        case PlanBroken():
            came = f"{money(e.received, currency)} came of {money(e.expected, currency)}"
            return f"the plan is broken: {came} due by {e.due}; the case goes on where it stood"
        case PlanKept():
            return "the plan is kept"
        case CutoffAuthorised():
            ground = f" by approval {e.approval}" if e.approval else ""
            return f"{e.by} authorises a stop of supply (停供){ground}"
        case AuthorisationLapsed():
            return f"no stop is authorised any more ({readable(e.reason)})"
        case VisitScheduled():
            return f"{e.crew} is to stop supply between {when(e.start)} and {when(e.end)}"
        case VisitMissed():
            return "the time of the visit is over and supply was not stopped"
        case VisitCancelled():
            return f"the visit is off ({readable(e.reason)}): {e.crew} stays away"
        case PermitIssued():
            return _permitted(e, when)
        case PermitRevoked():
            return f"permit {e.permit} is revoked ({readable(e.reason)}): the valve stays open"
        case PermitExpired():
            return f"permit {e.permit} was not used in time: the valve stays open"
        case ValveClosed():
            ground = f"on permit {e.permit}" if e.permit else "WITHOUT a permit that held"
            where = f"valve {e.valve}, seal {e.seal}, meter at {e.reading} l"
            return f"{e.crew} closed the valve (停供), {e.kind} stop, {ground}: {where}"
        case UnpermittedCut():
            claimed = f", {e.permit} was claimed" if e.permit else ""
            stood = guards_in_words(e.guards)
            return f"incident: no right to close the valve ({readable(e.reason)}{claimed}): {stood}"
        case VisitFailed():
            return f"{e.crew} did not stop supply ({readable(e.reason)}, {e.evidence})"
        case SelfReopened():
            return f"the customer opened the valve himself ({e.evidence})"
        case StopOrderServed():
            what = f"stop order served {_SERVED[e.how]} ({e.proof})"
            return (
                f"{what}: supply is stopped in full unless it is paid before {when(e.effective_at)}"
            )
        case PaymentReceived():
            part = "; it covers no whole bill and stands on the register" if e.part else ""
            paid = f"{money(e.amount, currency)} paid on {when(e.paid_at)} ({e.payment})"
            return f"{paid}; {owed(e.balance, currency)}{part}"
        case PaymentReversed():
            what = f"payment {e.payment} is taken back ({readable(e.reason)})"
            return f"{what}; {owed(e.balance, currency)}"
        case BalanceCorrected():
            amount = money(e.amount, currency)
            what = f"bill {e.bill} is {amount} now ({readable(e.reason)}, {e.evidence})"
            return f"{what}; {owed(e.balance, currency)}"
        case DebtSettled():
            return f"settled: {owed(e.balance, currency)}"
        case DebtRevived():
            return f"{owed(e.balance, currency)} again: the case goes on at {e.stage}"
        case SupplyRestored():
            seal = f"seal {e.seal_removed} removed, meter at {e.reading} l"
            return f"{e.crew} restored supply (复供): {seal}"
        case ReconnectionFailed():
            why = f"{readable(e.reason)}, {e.evidence}"
            return f"{e.crew} could not restore supply ({why}); it stays due"
        case MovedOut():
            left = owed(e.balance, currency)
            return f"the customer moved out on {when(e.moved_at)} ({e.evidence}); {left}"
        case WriteOffRequested():
            return f"to give up the debt is asked for ({readable(e.reason)})"
        case DebtWrittenOff():
            return f"the debt is given up: {money(e.balance, currency)}"
        case ArrearsWithdrawn():
            return f"withdrawn: opened by mistake ({readable(e.reason)})"
        case ArrearsClosed():
            return "closed: paid, supply on, and no payment can be taken back (办结告知)"
        case _:
            assert_never(e)


def _opened(e: ArrearsOpened) -> str:
    what = [
        f"DN{e.dn}",
        e.customer_class,
        "boilers" if e.boilers else "",
        "continuous production" if e.continuous_production else "",
        f"shared valve with {listed(e.shared_valve)}" if e.shared_valve else "",
        f"district {e.district}",
    ]
    total = money(sum(b.amount for b in e.bills), e.currency)
    return (
        f"account {e.account} is overdue (欠费): {_bills(len(e.bills))}, {total} in all;"
        f" {listed(part for part in what if part)}; {owner_words(e.owner)} has it"
    )


def _permitted(e: PermitIssued, when: When) -> str:
    kind = "a full" if e.full else "a temporary"
    may = f"{e.crew} may close the valve once, {kind} stop, before {when(e.expires_at)}"
    return f"{may}: permit (停供许可) {e.permit}, {guards_in_words(e.guards)}"


def _bills(count: int) -> str:
    return "1 bill" if count == 1 else f"{count} bills"
