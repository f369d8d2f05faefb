"""Staff file: who must be told what, as messages for the outbox: ids and a template only."""

from collections.abc import Iterator

from lifecycles import approvals, messages
from lifecycles.conduct_stages import count_of
from lifecycles.messages import due, intake, message, role, time
from schemas.approvals import (
    ApprovalDelegated,
    ApprovalEvents,
    ApprovalLapsed,
    ApprovalWithdrawn,
)
from schemas.case import SharedEvents
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


def effects(
    state: ConductState, event: ConductEvents | SharedEvents | ApprovalEvents
) -> list[Message]:
    """What the outside is to be told of an event; `state` is the file after the whole decision."""
    return [
        *messages.promised(state, event, state.rules.next_level),
        *messages.asked(state, event),
        *_messages(state, event),
    ]


def _messages(
    s: ConductState, e: ConductEvents | SharedEvents | ApprovalEvents
) -> Iterator[Message]:
    match e:
        case MarkEntered():
            k = count_of(s, e.finding)
            until = k.counts_until.isoformat() if k else None
            yield _staff(s, "mark_entered", finding=e.finding, until=until, rule="WAT-3.2a")
        case MarkRemoved():
            yield _staff(s, "mark_removed", finding=e.finding, reason=e.reason)
        case MeasureDue():
            what = {"finding": e.finding, "measure": e.measure, "rule": "WIN-2.5.1"}
            yield _staff(s, "measure_due", **what)
            yield intake(s, "measure_due", **what, due=due(s, *e.commitments))
        case MeasureWithdrawn():
            yield _staff(s, "measure_withdrawn", finding=e.finding, measure=e.measure)
            yield intake(s, "measure_withdrawn", finding=e.finding, measure=e.measure)
        case InvestigationOpened():
            told = {"finding": e.finding, "due": due(s, *e.commitments), "rule": "WIN-2.5.2"}
            yield intake(s, "investigation_opened", **told)
        case InvestigationConcluded():
            judged = {"finding": e.finding, "penalty": e.penalty, "reason": e.reason}
            yield _staff(s, "investigation_concluded", **judged)
            if e.penalty is None:  # ADM-5: a no goes to the next level.
                yield role(s, s.rules.next_level, "no_penalty", **judged)
        case InvestigationDropped():
            yield intake(s, "investigation_dropped", finding=e.finding)
        case ReassignmentProposed():
            until = time(e.reply_until)
            what = {"findings": len(e.findings), "reply_until": until, "rule": "WAT-3.2b"}
            yield _staff(s, "reassignment_proposed", **what)
            yield intake(s, "reassignment_proposed", **what)
        case ReplyRecorded():
            yield intake(s, "reply_recorded", reply=e.evidence)
        case Reassigned():
            yield _staff(s, "reassigned", rule="WAT-3.2b")
            yield intake(s, "reassigned", rule="WAT-3.2b")
        case ReassignmentRejected():
            yield _staff(s, "reassignment_rejected")
            yield intake(s, "reassignment_rejected", reason=e.reason)
            level = s.rules.next_level
            yield role(s, level, "reassignment_rejected", reason=e.reason, rule="ADM-5")
        case ReassignmentWithdrawn():
            yield _staff(s, "reassignment_withdrawn")
            yield intake(s, "reassignment_withdrawn")
        case RedressDue():
            for what in e.of:
                yield _staff(s, "redress_due", finding=e.finding, of=what)
                yield intake(s, "redress_due", finding=e.finding, of=what)
        case RedressMade():
            yield _staff(s, "redress_made", finding=e.finding)
        case ApprovalDelegated():
            until = time(e.until)
            yield message(s, "staff", e.to, "approval_delegated", approval=e.approval, until=until)
        case ApprovalLapsed() | ApprovalWithdrawn():
            template = "approval_lapsed" if isinstance(e, ApprovalLapsed) else "approval_withdrawn"
            asked = approvals.find(s, e.approval)
            for name in asked.roles if asked else ():
                yield role(s, name, template, approval=e.approval)
        case _:
            return


def _staff(s: ConductState, template: str, /, **params: str | int | None) -> Message:
    return message(s, "staff", s.staff or s.rules.intake_unit, template, **params)
