"""Arrears and cutoff (欠费停供): from the first overdue bill until no payment can be taken back.

Overdue → Reminded → NoticeServed → Eligible → AwaitingApproval (WAT-C3) → Authorised → VisitDue →
TemporarilyStopped; opened by the customer: SelfReopened → StopOrderServed → FullyStopped. Paid at
any stage: Paid, with supply off first ReconnectDue; then Closed. Side exits: PlanActive, MovedOut,
WrittenOff, Withdrawn. The stage follows from the facts: a payment taken back puts the case where it
stood. No valve closes rightly without a permit; none is issued unless every guard holds just then.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from lifecycles import approvals, casework, holds
from lifecycles import arrears_approvals as authority
from lifecycles import arrears_ends as ends
from lifecycles import arrears_money as money
from lifecycles import arrears_notices as notices
from lifecycles import arrears_plans as plans
from lifecycles import arrears_stops as stops
from lifecycles import arrears_visits as visits
from lifecycles.arrears_evolve import AnyEvent, Results, evolve
from lifecycles.arrears_messages import effects
from lifecycles.arrears_stages import (
    ALLOWED,
    CUTOFF,
    ENDED,
    STOPPED,
    against,
    allowed,
    approval_needed,
    closes_at,
)
from lifecycles.changes import changed
from lifecycles.decisions import By, Rejected
from schemas.approvals import DecideApproval, DelegateApproval, WithdrawApproval
from schemas.arrears import (
    AddBills,
    AgreePlan,
    ArrearsState,
    AuthoriseCutoff,
    CorrectBalance,
    IssuePermit,
    OpenArrears,
    PlaceHold,
    RecordContact,
    RecordMoveOut,
    RecordPayment,
    RecordReconnected,
    RecordReconnectionFailed,
    RecordValveClosed,
    RecordVisitFailed,
    ReleaseHold,
    ReportSelfReopened,
    RequestCutoff,
    ReversePayment,
    ScheduleVisit,
    ServeNotice,
    ServeStopOrder,
    Stage,
    WithdrawArrears,
    WriteOff,
)
from schemas.base import Command
from schemas.case import HandOverCase, TakeCase
from schemas.envelope import CaseSummary, CommandEnvelope, DeadlinePassed, RecordAnswer
from schemas.policy import Policy

__all__ = [
    "DECIDERS",
    "RULEBOOK",
    "decide",
    "effects",
    "evolve",
    "initial",
    "last_together",
    "next_deadline",
    "possible",
    "story",
    "summary",
]


def initial(case_id: str, organisation: str, policy: Policy, policy_hash: str) -> ArrearsState:
    """A case of which nothing is known yet. `Rejected` if the policy has no arrears section."""
    if policy.arrears is None:
        raise Rejected(
            ["This policy has no terms for arrears; add an [arrears] section, or name another."]
        )
    return ArrearsState(
        case_id=case_id, organisation=organisation, policy=policy, policy_hash=policy_hash
    )


def decide(state: ArrearsState, command: CommandEnvelope[Any], now: datetime) -> list[AnyEvent]:
    """The events that the command causes; none where it is so already.

    `now` is the instant of deciding (UTC); the events carry the command's business time.
    Raises `Rejected` with every reason at once (ADM-4).
    """
    return casework.decide(RULEBOOK, state, command, now)


def possible(state: ArrearsState) -> tuple[str, ...]:
    """The commands that somebody may send now."""
    s = state
    needed = s.stage in (Stage.ELIGIBLE, Stage.STOP_ORDER_SERVED) and approval_needed(s)
    at_valve = s.stage in (Stage.VISIT_DUE, Stage.STOP_ORDER_SERVED)
    sensible = {
        "ReleaseHold": bool(s.holds),
        "RequestCutoff": needed and not approvals.pending(s, CUTOFF) and not s.authorised_by,
        "AuthoriseCutoff": not needed,
        "IssuePermit": at_valve and not s.holds,
        "RecordVisitFailed": at_valve,
        "ReportSelfReopened": s.supply == "temporarily_stopped",
        "ReversePayment": any(p.reversed_at is None for p in s.payments),
        "RecordReconnected": s.supply != "on",
        "RecordReconnectionFailed": stops.reconnection_due(s),
        "WriteOff": money.owes(s) and not s.write_off,
        "WithdrawArrears": not s.stops,
    }
    return casework.possible(s, ALLOWED, allowed, sensible)


def _begun_at(state: ArrearsState) -> datetime | None:
    return state.opened_at


def _follows(before: ArrearsState, state: ArrearsState, by: By) -> Results:
    """What follows from a command, whatever it was: no decider can forget it."""
    yield from casework.in_turn(
        evolve,
        state,
        by,
        partial(money.settled, before),
        plans.kept,
        notices.eligible,
        partial(ends.ended, before),
        partial(authority.lapsed, before),
        visits.cancelled,
        partial(visits.revoked, before),
        partial(ends.milestones, before),
        stops.reconnection,
    )


def passed(state: ArrearsState, _: DeadlinePassed, by: By) -> Results:
    """Everything that is due at or before the deadline."""
    yield from casework.in_turn(
        evolve,
        state,
        by,
        casework.passed_in_order,
        holds.expired,
        visits.expired,
        visits.missed,
        plans.broken,
        notices.eligible,
        authority.silence,
        ends.closed,
    )


def next_deadline(state: ArrearsState) -> datetime | None:
    """When the case next needs the clock (UTC), or None: it then waits for somebody."""
    if state.stage in ENDED or state.stage == Stage.UNOPENED:
        return None
    return casework.next_deadline(state, *_others(state))


def last_together(state: ArrearsState, first: datetime, limit: datetime) -> datetime:
    """The last deadline, up to `limit`, that can be decided together with the first (UTC)."""
    return casework.last_together(state, first, limit, *_others(state))


def _others(state: ArrearsState) -> tuple[datetime | None, ...]:
    """Deadlines beside those of the promises."""
    s = state
    permit = visits.in_flight(s)
    return (
        s.notice.effective_at if s.notice and s.stage == Stage.NOTICE_SERVED else None,
        holds.next_expiry(s),
        permit.expires_at if permit else None,
        s.visit_end if s.stage == Stage.VISIT_DUE else None,
        plans.next_late(s),
        approvals.silence_at(s),
        closes_at(s),
    )


def summary(state: ArrearsState) -> CaseSummary:
    """The case as the read models show it, with its part of the two registers."""
    shown = casework.summary(
        state,
        kind="arrears",
        stage=state.stage,
        ended=state.stage in ENDED,
        opened_at=state.opened_at,
        next_deadline_at=next_deadline(state),
        category=state.customer_class if state.opened_at else None,
    )
    return changed(shown, stops=stops.register(state), part_payments=money.register(state))


def story(state: ArrearsState) -> str:
    """The case in a few lines of Markdown, for Temporal's own UI. Times are UTC."""
    held = f", held: {', '.join(h.hold for h in state.holds)}" if state.holds else ""
    supply = f", supply {state.supply}" if state.stage in (*STOPPED, Stage.RECONNECT_DUE) else ""
    owed = f"owes {money.balance(state)} {state.currency} (smallest unit)"
    return casework.story(state, f"**{state.stage}** {owed}{supply}{held}", next_deadline(state))


DECIDERS: Mapping[type[Command], Callable[[ArrearsState, Any, By], Results]] = {
    OpenArrears: notices.open_case,
    AddBills: money.add_bills,
    RecordContact: notices.record_contact,
    ServeNotice: notices.serve_notice,
    PlaceHold: holds.place,
    ReleaseHold: holds.release,
    AgreePlan: plans.agree,
    RequestCutoff: authority.request_cutoff,
    AuthoriseCutoff: authority.authorise,
    ScheduleVisit: visits.schedule,
    IssuePermit: visits.issue_permit,
    RecordValveClosed: stops.record_closed,
    RecordVisitFailed: visits.record_failed,
    ReportSelfReopened: stops.report_reopened,
    ServeStopOrder: notices.serve_stop_order,
    RecordPayment: money.record_payment,
    ReversePayment: money.reverse_payment,
    CorrectBalance: money.correct_balance,
    RecordReconnected: stops.record_reconnected,
    RecordReconnectionFailed: stops.record_reconnection_failed,
    RecordMoveOut: ends.move_out,
    WriteOff: authority.write_off,
    WithdrawArrears: ends.withdraw,
    TakeCase: casework.take_case,
    HandOverCase: casework.hand_over,
    DecideApproval: authority.decide_approval,
    DelegateApproval: approvals.delegate_approval,
    WithdrawApproval: authority.withdraw_approval,
    DeadlinePassed: passed,
    RecordAnswer: casework.record_answer,
}
RULEBOOK = casework.Rulebook[ArrearsState](
    opening=("OpenArrears",),
    unopened="There is no such case yet; open the arrears first.",
    opened_already="This case is open already; add bills to it (AddBills).",
    deciders=DECIDERS,
    allowed=allowed,
    possible=possible,
    begun_at=_begun_at,
    evolve=evolve,
    facts=authority.facts,
    against=against,
    follows=_follows,
)
