"""Repair: who must be told what, as messages for the outbox: ids and a template only."""

from collections.abc import Iterator

from lifecycles import messages
from lifecycles.messages import intake, message, role, time
from schemas.case import SharedEvents
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


def effects(state: RepairState, event: RepairEvents | SharedEvents) -> list[Message]:
    """What the outside is to be told of an event; `state` is the case after the whole decision."""
    supervisor = state.policy.repair.follow_up.supervisor
    return [*messages.promised(state, event, supervisor), *_messages(state, event)]


def _messages(s: RepairState, e: RepairEvents | SharedEvents) -> Iterator[Message]:
    match e:
        case RepairReported():
            # ADM-2: the customer learns by when we promise to be done.
            due = max((c.due for c in s.commitments if c.start == e.at), default=None)
            yield from _parties(s, "report_received", due=time(due))
            yield intake(s, "new_repair", category=e.category, severity=e.severity)
            if s.guard_needed:
                yield intake(s, "post_guard", rule="WAT-1.5c")
        case CrewDispatched() | JobReassigned():
            # PROP-1.2: the slip's parts go to crew, office and customer, as the policy says.
            for copy in s.policy.repair.slip_copies:
                if copy == "crew":
                    yield message(s, "crew", e.crew, "dispatch_slip", asset=s.asset)
                elif copy == "office":
                    yield intake(s, "dispatch_slip", crew=e.crew)
                else:
                    yield from _parties(s, "crew_on_its_way")
        case JobDeclined():
            yield intake(s, "job_declined", crew=e.crew, reason=e.reason)
        case AppointmentBooked() | AppointmentMoved():
            yield from _parties(s, "appointment", start=time(e.start), end=time(e.end))
            if s.crew:
                yield message(s, "crew", s.crew, "appointment", start=time(e.start))
        case AppointmentMissed():
            yield from _parties(s, "appointment_missed", start=time(e.start))
        case AccessFailed():
            yield from _parties(s, "card_left", attempt=e.attempt, wait_until=time(e.wait_until))
            if e.wait_until:
                yield intake(s, "no_access", attempt=e.attempt, rule="KUN-7.4.3")
        case WorkPaused():
            yield from _parties(s, "work_paused", reason=e.reason)
        case InterruptionAnnounced():
            yield from _parties(
                s, "interruption", start=time(e.start), end=time(e.end), reason=e.reason
            )
        case CallbackDue():
            yield intake(s, "callback_due", calls=len(e.parties))
        case RepairReopened():
            yield message(s, "role" if e.owner.kind == "role" else "unit", e.owner.id, "reopened")
            yield from _parties(s, "reopened")
        case DeclaredNotOurs() | DeclaredUnableToFix():
            # KUN-2.2.4d tells the customer where to turn; ADM-5 reports a no to the next level.
            template = "not_ours" if isinstance(e, DeclaredNotOurs) else "unable_to_fix"
            yield from _parties(s, template, reason=e.reason, channel=e.channel)
            yield role(s, s.policy.repair.follow_up.supervisor, template, reason=e.reason)
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


def _parties(s: RepairState, template: str, /, **params: str | int | None) -> Iterator[Message]:
    for follow_up in s.follow_ups:
        yield message(s, "party", follow_up.party, template, **params)
