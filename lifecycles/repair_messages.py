"""Repair: who must be told what, as messages for the outbox: ids and a template only."""

from collections.abc import Iterator
from datetime import datetime

from schemas.case import SharedEvents
from schemas.commitments import BreachWithdrawn, EscalationRaised
from schemas.envelope import Message
from schemas.repair import (
    AccessFailed,
    AppointmentBooked,
    AppointmentMissed,
    AppointmentMoved,
    CallbackDue,
    CrewDispatched,
    DeclaredNotOurs,
    DeclaredUnableToFix,
    FaultLinked,
    InterruptionAnnounced,
    JobDeclined,
    JobReassigned,
    NoFaultReported,
    RepairCancelled,
    RepairClosed,
    RepairEvents,
    RepairMerged,
    RepairReopened,
    RepairReported,
    RepairSolvedByPhone,
    RepairState,
    RepairTransferred,
    WorkPaused,
)

Params = dict[str, str | int | None]


def effects(state: RepairState, event: RepairEvents | SharedEvents) -> list[Message]:
    """What the outside is to be told of an event; `state` is the case after the whole decision."""
    return list(_messages(state, event))


def _messages(s: RepairState, e: RepairEvents | SharedEvents) -> Iterator[Message]:
    match e:
        case EscalationRaised():
            yield _role(s, e.tell, "escalation", rule=e.rule, rung=e.rung, commitment=e.commitment)
        case BreachWithdrawn():
            supervisor = s.policy.repair.follow_up.supervisor
            yield _role(s, supervisor, "breach_withdrawn", commitment=e.commitment)
        case RepairReported():
            # ADM-2: the customer learns by when we promise to be done.
            due = max((c.due for c in s.commitments if c.start == e.at), default=None)
            yield from _parties(s, "report_received", due=_time(due))
            yield _unit(s, "new_repair", category=e.category, severity=e.severity)
            if s.guard_needed:
                yield _unit(s, "post_guard", rule="WAT-1.5c")
        case CrewDispatched() | JobReassigned():
            # PROP-1.2: the slip's parts go to crew, office and customer, as the policy says.
            for copy in s.policy.repair.slip_copies:
                if copy == "crew":
                    yield _message(s, "crew", e.crew, "dispatch_slip", asset=s.asset)
                elif copy == "office":
                    yield _unit(s, "dispatch_slip", crew=e.crew)
                else:
                    yield from _parties(s, "crew_on_its_way")
        case JobDeclined():
            yield _unit(s, "job_declined", crew=e.crew, reason=e.reason)
        case AppointmentBooked() | AppointmentMoved():
            yield from _parties(s, "appointment", start=_time(e.start), end=_time(e.end))
            if s.crew:
                yield _message(s, "crew", s.crew, "appointment", start=_time(e.start))
        case AppointmentMissed():
            yield from _parties(s, "appointment_missed", start=_time(e.start))
        case AccessFailed():
            yield from _parties(s, "card_left", attempt=e.attempt, wait_until=_time(e.wait_until))
            if e.wait_until:
                yield _unit(s, "no_access", attempt=e.attempt, rule="KUN-7.4.3")
        case WorkPaused():
            yield from _parties(s, "work_paused", reason=e.reason)
        case InterruptionAnnounced():
            yield from _parties(
                s, "interruption", start=_time(e.start), end=_time(e.end), reason=e.reason
            )
        case CallbackDue():
            yield _unit(s, "callback_due", calls=len(e.parties))
        case RepairReopened():
            yield _message(s, "role" if e.owner.kind == "role" else "unit", e.owner.id, "reopened")
            yield from _parties(s, "reopened")
        case DeclaredNotOurs() | DeclaredUnableToFix():
            # KUN-2.2.4d tells the customer where to turn; ADM-5 reports a no to the next level.
            template = "not_ours" if isinstance(e, DeclaredNotOurs) else "unable_to_fix"
            yield from _parties(s, template, reason=e.reason, channel=e.channel)
            yield _role(s, s.policy.repair.follow_up.supervisor, template, reason=e.reason)
        case RepairTransferred():
            yield from _parties(s, "transferred", to=e.to)
        case RepairMerged():
            yield from _parties(s, "merged", case_joined=e.case)
        case FaultLinked():
            yield from _parties(s, "linked", case_joined=e.fault)
        case RepairClosed():
            yield from _parties(s, "done")  # ADM-6
        case RepairSolvedByPhone():
            yield from _parties(s, "solved_by_phone")
        case NoFaultReported():
            yield from _parties(s, "no_fault_found")
        case RepairCancelled():
            yield from _parties(s, "cancelled", reason=e.reason)
        case _:
            return


def _message(
    s: RepairState, to: str, recipient: str, template: str, /, **params: str | int | None
) -> Message:
    return Message.model_validate(
        {
            "to": to,
            "recipient": recipient,
            "template": template,
            "params": {"case": s.case_id, **params},
        }
    )


def _role(s: RepairState, role: str, template: str, /, **params: str | int | None) -> Message:
    return _message(s, "role", role, template, **params)


def _unit(s: RepairState, template: str, /, **params: str | int | None) -> Message:
    return _message(s, "unit", s.policy.repair.intake_unit, template, **params)


def _parties(s: RepairState, template: str, /, **params: str | int | None) -> Iterator[Message]:
    for follow_up in s.follow_ups:
        yield _message(s, "party", follow_up.party, template, **params)


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
