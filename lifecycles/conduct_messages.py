"""Staff file: who must be told what, as messages for the outbox: ids and a template only."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from lifecycles import approvals
from lifecycles.changes import made
from lifecycles.conduct_stages import count_of
from schemas.approvals import (
    ApprovalDelegated,
    ApprovalEscalated,
    ApprovalEvents,
    ApprovalLapsed,
    ApprovalRequested,
    ApprovalWithdrawn,
)
from schemas.case import SharedEvents
from schemas.commitments import BreachWithdrawn, EscalationRaised
from schemas.conduct import (
    ConductEvents,
    ConductState,
    InvestigationConcluded,
    InvestigationDropped,
    InvestigationOpened,
    MarkEntered,
    MarkRemoved,
    MeasureDue,
    MeasureWithdrawn,
    Reassigned,
    ReassignmentProposed,
    ReassignmentRejected,
    ReassignmentWithdrawn,
    RedressDue,
    RedressMade,
    ReplyRecorded,
)
from schemas.envelope import Message

Param = str | int | None


def effects(
    state: ConductState, event: ConductEvents | SharedEvents | ApprovalEvents
) -> list[Message]:
    """What the outside is to be told of an event; `state` is the file after the whole decision."""
    return list(_messages(state, event))


def _messages(
    s: ConductState, e: ConductEvents | SharedEvents | ApprovalEvents
) -> Iterator[Message]:
    match e:
        case EscalationRaised():
            yield _role(s, e.tell, "escalation", rule=e.rule, rung=e.rung, commitment=e.commitment)
        case BreachWithdrawn():
            yield _role(s, s.rules.next_level, "breach_withdrawn", commitment=e.commitment)
        case MarkEntered():
            k = count_of(s, e.finding)
            until = k.counts_until.isoformat() if k else None
            yield _staff(s, "mark_entered", finding=e.finding, until=until, rule="WAT-3.2a")
        case MarkRemoved():
            yield _staff(s, "mark_removed", finding=e.finding, reason=e.reason)
        case MeasureDue():
            due = _due(s, *e.commitments)
            what = {"finding": e.finding, "measure": e.measure, "rule": "WIN-2.5.1"}
            yield _staff(s, "measure_due", **what)
            yield _office(s, "measure_due", **what, due=due)
        case MeasureWithdrawn():
            yield _staff(s, "measure_withdrawn", finding=e.finding, measure=e.measure)
            yield _office(s, "measure_withdrawn", finding=e.finding, measure=e.measure)
        case InvestigationOpened():
            due = _due(s, *e.commitments)
            yield _office(s, "investigation_opened", finding=e.finding, due=due, rule="WIN-2.5.2")
        case InvestigationConcluded():
            judged = {"finding": e.finding, "penalty": e.penalty, "reason": e.reason}
            yield _staff(s, "investigation_concluded", **judged)
            if e.penalty is None:  # ADM-5: a no goes to the next level.
                yield _role(s, s.rules.next_level, "no_penalty", **judged)
        case InvestigationDropped():
            yield _office(s, "investigation_dropped", finding=e.finding)
        case ReassignmentProposed():
            until = _time(e.reply_until)
            what = {"findings": len(e.findings), "reply_until": until, "rule": "WAT-3.2b"}
            yield _staff(s, "reassignment_proposed", **what)
            yield _office(s, "reassignment_proposed", **what)
        case ReplyRecorded():
            yield _office(s, "reply_recorded", reply=e.evidence)
        case Reassigned():
            yield _staff(s, "reassigned", rule="WAT-3.2b")
            yield _office(s, "reassigned", rule="WAT-3.2b")
        case ReassignmentRejected():
            yield _staff(s, "reassignment_rejected")
            yield _office(s, "reassignment_rejected", reason=e.reason)
            level = s.rules.next_level
            yield _role(s, level, "reassignment_rejected", reason=e.reason, rule="ADM-5")
        case ReassignmentWithdrawn():
            yield _staff(s, "reassignment_withdrawn")
            yield _office(s, "reassignment_withdrawn")
        case RedressDue():
            for what in e.of:
                yield _staff(s, "redress_due", finding=e.finding, of=what)
                yield _office(s, "redress_due", finding=e.finding, of=what)
        case RedressMade():
            yield _staff(s, "redress_made", finding=e.finding)
        case ApprovalRequested():
            asked = {"approval": e.approval, "kind": e.kind, "rule": e.rule}
            due = _due(s, e.commitment)
            yield _role(s, e.role, "approval_requested", **asked, due=due)
        case ApprovalDelegated():
            yield _message(
                s, "staff", e.to, "approval_delegated", approval=e.approval, until=_time(e.until)
            )
        case ApprovalEscalated():
            yield _role(s, e.to, "approval_escalated", approval=e.approval, rule="ADM-7")
        case ApprovalLapsed() | ApprovalWithdrawn():
            template = "approval_lapsed" if isinstance(e, ApprovalLapsed) else "approval_withdrawn"
            asked = approvals.find(s, e.approval)
            for role in asked.roles if asked else ():
                yield _role(s, role, template, approval=e.approval)
        case _:
            return


def _message(
    s: ConductState,
    to: Literal["staff", "role", "unit"],
    recipient: str,
    template: str,
    /,
    **params: Param,
) -> Message:
    told: dict[str, Param] = {"case": s.case_id, **params}
    return made(Message, to=to, recipient=recipient, template=template, params=told)


def _staff(s: ConductState, template: str, /, **params: Param) -> Message:
    return _message(s, "staff", s.staff or s.rules.intake_unit, template, **params)


def _office(s: ConductState, template: str, /, **params: Param) -> Message:
    return _message(s, "unit", s.rules.intake_unit, template, **params)


def _role(s: ConductState, role: str, template: str, /, **params: Param) -> Message:
    return _message(s, "role", role, template, **params)


def _due(s: ConductState, *commitments: str) -> str | None:
    """When the first of these promises is due."""
    return _time(min((c.due for c in s.commitments if c.id in commitments), default=None))


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
