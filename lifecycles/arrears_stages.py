"""Arrears: how a case stands, what is allowed at which stage, and who may not decide."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

from lifecycles.approvals import pending, same
from lifecycles.calendars import local
from lifecycles.decisions import By, No
from schemas.arrears import ArrearsState, Stage
from schemas.base import Code, Reference, Subject
from schemas.envelope import CommandEnvelope

S = Stage
CHASED = (
    S.OVERDUE,
    S.REMINDED,
    S.NOTICE_SERVED,
    S.ELIGIBLE,
    S.AWAITING_APPROVAL,
    S.AUTHORISED,
    S.VISIT_DUE,
)
STOPPED = (S.TEMPORARILY_STOPPED, S.SELF_REOPENED, S.STOP_ORDER_SERVED, S.FULLY_STOPPED)
OWING = (*CHASED, *STOPPED, S.PLAN_ACTIVE)
LIVE = (*OWING, S.RECONNECT_DUE, S.PAID)
ENDED = (S.CLOSED, S.MOVED_OUT, S.WRITTEN_OFF, S.WITHDRAWN)
"""The workflow ends here; a valve that is closed all the same starts it again from the log."""
OFF = (*STOPPED, S.PLAN_ACTIVE, S.RECONNECT_DUE)
"""Supply may be off."""

ALLOWED: Mapping[str, tuple[Stage, ...]] = {
    "OpenArrears": (S.UNOPENED,),
    "AddBills": LIVE,
    "RecordContact": OWING,
    "ServeNotice": (S.REMINDED,),
    "PlaceHold": LIVE,
    "ReleaseHold": LIVE,
    "AgreePlan": (*CHASED, *STOPPED),
    "RequestCutoff": (S.ELIGIBLE, S.STOP_ORDER_SERVED),
    "AuthoriseCutoff": (S.ELIGIBLE,),
    "ScheduleVisit": (S.AUTHORISED, S.VISIT_DUE),
    # A permit is refused with every guard that fails, the stage's among them.
    "IssuePermit": LIVE,
    # Whatever the stage: it happened.
    "RecordValveClosed": (*LIVE, *ENDED),
    "RecordVisitFailed": LIVE,
    "ReportSelfReopened": (S.TEMPORARILY_STOPPED, S.PLAN_ACTIVE, S.RECONNECT_DUE),
    "ServeStopOrder": (S.SELF_REOPENED,),
    "RecordPayment": LIVE,
    "ReversePayment": LIVE,
    "CorrectBalance": LIVE,
    "RecordReconnected": OFF,
    "RecordReconnectionFailed": OFF,
    "RecordMoveOut": LIVE,
    "WriteOff": (*OWING, S.RECONNECT_DUE),
    "WithdrawArrears": (*CHASED, S.PLAN_ACTIVE, S.PAID),
    "TakeCase": LIVE,
    "HandOverCase": LIVE,
    "DecideApproval": LIVE,
    "DelegateApproval": LIVE,
    "WithdrawApproval": LIVE,
    "DeadlinePassed": LIVE,
    "RecordAnswer": (*LIVE, *ENDED),
}

CUTOFF, WRITE_OFF = "cutoff", "write_off"
"""The kinds of approval."""


def allowed(state: ArrearsState, command: str) -> bool:
    """Whether the case's stage admits the command."""
    return state.stage in ALLOWED[command]


def stage_of(s: ArrearsState) -> Stage:
    """Where the facts put the case: so it goes on, whatever came between, where it stood."""
    if s.opened_at is None:
        return Stage.UNOPENED
    if s.supply != "on" and (s.ends_as or s.settled_at or s.reconnect):
        return Stage.RECONNECT_DUE
    if s.ends_as:
        return s.ends_as
    if s.settled_at:
        return Stage.PAID
    if s.plan:
        return Stage.PLAN_ACTIVE
    return _chased(s) if s.supply == "on" else _stopped(s)


def _stopped(s: ArrearsState) -> Stage:
    if s.supply == "fully_stopped":
        return Stage.FULLY_STOPPED
    if s.supply == "temporarily_stopped":
        return Stage.TEMPORARILY_STOPPED
    return Stage.STOP_ORDER_SERVED if s.stop_order else Stage.SELF_REOPENED


def _chased(s: ArrearsState) -> Stage:
    if s.notice is None:
        return Stage.REMINDED if s.reminded_at else Stage.OVERDUE
    if not s.eligible:
        return Stage.NOTICE_SERVED
    if s.authorised_by:
        return Stage.VISIT_DUE if s.visit_crew else Stage.AUTHORISED
    return Stage.AWAITING_APPROVAL if pending(s, CUTOFF) else Stage.ELIGIBLE


def approval_needed(s: ArrearsState) -> bool:
    """Whether any stop needs the division head's written approval (WAT-C3)."""
    return s.dn >= s.rules.large_meter or s.boilers or s.continuous_production


def reminded_at(s: ArrearsState, times: Iterable[datetime]) -> datetime | None:
    """Since when enough contacts are evidenced (UTC): not the calls count, but the local days."""
    days: set[date] = set()
    for at in sorted(times):
        days.add(local(s.policy.calendar, at).date())
        if len(days) >= s.rules.reminders:
            return at
    return None


def shown_by(s: ArrearsState, condition: Code) -> Reference | None:
    """The event that last settled a condition of a stop, by stream and version."""
    version = s.shown_by.get(condition)
    return None if version is None else f"{s.case_id}/{version}"


def closes_at(s: ArrearsState) -> datetime | None:
    """When no payment can be taken back any more (UTC); None while the case is not Paid."""
    if s.stage != Stage.PAID or s.settled_at is None:
        return None
    came = (p.paid_at for p in s.payments if p.reversed_at is None)
    last = max((s.settled_at, *came))
    return max(last + s.rules.reversal_window, s.restored_at or last)


# Who may not decide

DECIDING = ("AuthoriseCutoff", "DecideApproval", "DelegateApproval", "IssuePermit")


def against(state: ArrearsState, command: CommandEnvelope[Any]) -> Iterator[str]:
    """Separation of duties: whose round the account is on decides nothing about its stop."""
    if command.body.type in DECIDING and is_reader(state, command.actor.subject):
        yield (
            "Whose round the account is on cannot authorise, approve or carry out its stop:"
            " leave it to somebody else."
        )


def is_reader(state: ArrearsState, subject: Subject) -> bool:
    return state.reader is not None and same(state.reader, subject)


def own_number(crew: Subject, by: By) -> Iterator[No]:
    """Nobody handles business under another's staff number (KUN-8.4)."""
    if by.actor.role == "crew" and not same(by.actor.subject, crew):
        yield No("A crew acts under its own number only (KUN-8.4): correct `crew`.")
