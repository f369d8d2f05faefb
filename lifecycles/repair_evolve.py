"""Repair: the state after an event. Total: it refuses nothing and ignores nothing."""

from datetime import datetime
from typing import Any, assert_never

from lifecycles import casework
from lifecycles.casework import ask, owned
from lifecycles.changes import changed
from lifecycles.presence import places, registered
from schemas.base import Owner, Ownership
from schemas.case import SharedEvents
from schemas.envelope import Json, SatisfactionAnswer
from schemas.repair import (
    AccessFailed,
    Adopted,
    AdoptionRefused,
    AdoptReport,
    Appointment,
    AppointmentBooked,
    AppointmentMissed,
    AppointmentMissWithdrawn,
    AppointmentMoved,
    CallbackDue,
    CallbackRecorded,
    CrewArrived,
    CrewDispatched,
    DeclaredNotOurs,
    DeclaredUnableToFix,
    FaultCleared,
    FaultLinked,
    FollowUp,
    GuardPosted,
    GuardRelieved,
    InspectionFailed,
    InspectionPassed,
    Interruption,
    InterruptionAnnounced,
    JobAccepted,
    JobDeclined,
    JobReassigned,
    LinkedCaseTold,
    LinkRequested,
    MergeRequested,
    NoFaultReported,
    PartsArrived,
    PartsRequested,
    PartsShipped,
    RecordFaultCleared,
    ReleaseReport,
    ReleaseRequested,
    RepairCancelled,
    RepairClosed,
    RepairCompleted,
    RepairEvents,
    RepairMerged,
    RepairReopened,
    RepairReported,
    RepairSolvedByPhone,
    RepairState,
    RepairTransferred,
    RepairTriaged,
    ReportAdopted,
    ReportReleased,
    ReportSplit,
    SiteMadeSafe,
    Stage,
    TransferReturned,
    WorkPaused,
    WorkResumed,
    WorkStarted,
)


def evolve(state: RepairState, event: RepairEvents | SharedEvents) -> RepairState:
    """The state after `event`."""
    if isinstance(event, SharedEvents):
        return casework.evolve(state, event)
    after = changed(state, **_update(state, event))
    return registered(state, after, outage=after.network)


def _update(s: RepairState, e: RepairEvents) -> dict[str, Any]:
    match e:
        case RepairReported():
            terms = s.policy.repair.categories[e.category]
            return {
                "stage": Stage.REPORTED,
                "reported_at": e.at,
                "channel": e.channel,
                "category": e.category,
                "severity": e.severity,
                "network": e.network,
                "asset": e.asset,
                "district": e.district,
                "party": e.party,
                "priority": e.priority,
                "source": e.source,
                "premises": e.premises,
                "places": places(e.premises),
                "owners": (Ownership(owner=e.owner, since=e.at),),
                "follow_ups": (FollowUp(party=e.party),) if e.party else (),
                "guard_needed": terms.guard,
            }
        case RepairTriaged():
            return {
                "stage": Stage.TRIAGED,
                "category": e.category,
                "severity": e.severity,
                "network": e.network,
                "guard_needed": s.policy.repair.categories[e.category].guard,
            }
        case CrewDispatched():
            return {"stage": Stage.DISPATCHED, "crew": e.crew, "dispatched_at": e.at}
        case JobAccepted():
            return {
                "stage": Stage.ACCEPTED,
                **owned(s, Owner(kind="person", id=e.crew), e.at),
            }
        case JobDeclined():
            return {
                "stage": Stage.TRIAGED,
                "crew": None,
                "dispatched_at": None,
                **owned(s, e.owner, e.at),
            }
        case JobReassigned():
            return {
                "stage": Stage.DISPATCHED,
                "crew": e.crew,
                "dispatched_at": e.at,
                "arrived_at": None,
                "wait_until": None,
                **_UNPAUSED,
                **owned(s, e.owner, e.at),
            }
        case AppointmentBooked() | AppointmentMoved():
            back = {"stage": s.stage_before, **_UNPAUSED} if s.stage == Stage.PAUSED else {}
            return {
                "appointment": Appointment(start=e.start, end=e.end),
                "wait_until": None,
                **back,
            }
        case AppointmentMissed():
            return {"appointment": Appointment(start=e.start, end=e.end, missed=True)}
        case AppointmentMissWithdrawn():
            return {"appointment": None}
        case CrewArrived():
            return {
                "stage": Stage.ON_SITE,
                "crew": e.crew,
                "arrived_at": e.at,
                "appointment": None,
                "wait_until": None,
                **_UNPAUSED,
            }
        case AccessFailed():
            return {
                "no_access": e.attempt,
                "appointment": None,
                "arrived_at": None,
                "wait_until": e.wait_until,
                "stage": Stage.DISPATCHED if s.stage == Stage.ON_SITE else s.stage,
            }
        case SiteMadeSafe():
            return {"stage": Stage.MADE_SAFE}
        case WorkStarted():
            return {"stage": Stage.WORKING}
        case WorkPaused():
            return {
                "stage": Stage.PAUSED,
                "stage_before": s.stage,
                "pause_reason": e.reason,
                "paused_at": e.at,
                "pause_ends": e.until,
            }
        case WorkResumed():
            # Somebody who goes on does not wait for the customer any more; the clock still does.
            waits = {"wait_until": s.wait_until if e.expired else None}
            return {"stage": s.stage_before, **_UNPAUSED, **waits}
        case PartsRequested():
            return {"parts_wanted": e.parts, "parts_stock": e.stock, "waybill": None}
        case PartsShipped():
            return {"waybill": e.waybill}
        case PartsArrived():
            return _NO_PARTS
        case RepairCompleted():
            return {
                "stage": Stage.FIXED,
                "fixed_at": e.at,
                "appointment": None,
                "wait_until": None,
                **_NO_PARTS,
                **_UNPAUSED,
            }
        case InspectionPassed():
            return {"stage": Stage.INSPECTED}
        case InspectionFailed():
            return {"stage": Stage.WORKING, "fixed_at": None, "rework": s.rework + 1}
        case CallbackDue():
            return {"stage": Stage.CALLBACK_DUE}
        case CallbackRecorded():
            return {
                "unhappy": s.unhappy + (e.result == "not_satisfied"),
                "answers": (*s.answers, _answer(s, e)) if e.done else s.answers,
                "follow_ups": tuple(
                    FollowUp(party=f.party, attempts=e.attempt, result=e.result if e.done else None)
                    if f.party == e.party
                    else f
                    for f in s.follow_ups
                ),
            }
        case RepairClosed():
            return {"stage": Stage.CLOSED, "closed_at": e.at}
        case RepairSolvedByPhone():
            return _ended(Stage.SOLVED_BY_PHONE, e.at)
        case NoFaultReported():
            return _ended(Stage.NO_FAULT_FOUND, e.at)
        case DeclaredNotOurs():
            return _ended(Stage.NOT_OURS, e.at)
        case DeclaredUnableToFix():
            return _ended(Stage.UNABLE_TO_FIX, e.at)
        case RepairCancelled():
            return _ended(Stage.CANCELLED, e.at)
        case RepairReopened():
            return {
                "stage": Stage.TRIAGED,
                "closed_at": None,
                "fixed_at": None,
                "arrived_at": None,
                "dispatched_at": None,
                "crew": None,
                "no_access": 0,
                "linked_to": None,
                "rework": e.rework,
                "follow_ups": tuple(FollowUp(party=f.party) for f in s.follow_ups),
                **_NO_PARTS,
                **owned(s, e.owner, e.at),
            }
        case RepairTransferred():
            return {
                **_ended(Stage.TRANSFERRED, e.at),
                "stage_before": _resting(s),
                "transferred_to": e.to,
            }
        case RepairMerged():
            return {
                **_ended(Stage.MERGED, e.at),
                "stage_before": _resting(s),
                "merged_into": e.case,
            }
        case TransferReturned():
            return {
                "stage": s.stage_before,
                "stage_before": None,
                "transferred_to": None,
                "closed_at": None,
                **owned(s, e.owner, e.at),
            }
        case MergeRequested():
            return ask(s, e.case, _adoption(s, "merge"))
        case LinkRequested():
            return ask(s, e.fault, _adoption(s, "link"))
        case FaultLinked():
            return {"linked_to": e.fault}
        case ReportSplit():
            back = (
                {"stage": s.stage_before, "stage_before": None, "closed_at": None}
                if s.stage == Stage.MERGED
                else {}
            )
            return {
                **ask(s, e.case, ReleaseReport(case=s.case_id).model_dump(mode="json")),
                **owned(s, e.owner, e.at),
                **back,
                "merged_into": None,
                "linked_to": None,
            }
        case ReleaseRequested():
            release = ReleaseReport(case=s.case_id).model_dump(mode="json")
            linked = {"linked_to": None} if s.linked_to == e.case else {}
            return {**ask(s, e.case, release), **linked}
        case ReportAdopted():
            parties = e.parties if e.how == "merge" else ()
            taken = Adopted(
                case=e.case,
                how=e.how,
                reported_at=e.reported_at,
                parties=parties,
                premises=e.premises,
            )
            known = [f.party for f in s.follow_ups]
            more = [p for p in dict.fromkeys(parties) if p not in known]
            return {
                "adopted": (*s.adopted, taken),
                "places": places(*s.places, *e.premises),
                "follow_ups": (*s.follow_ups, *(FollowUp(party=p) for p in more)),
            }
        case ReportReleased():
            rest = tuple(a for a in s.adopted if a.case != e.case)
            return {
                "adopted": rest,
                "places": places(s.premises, *(p for a in rest for p in a.premises)),
                "follow_ups": staying(s, rest),
            }
        case LinkedCaseTold():
            told = RecordFaultCleared(fault=s.case_id, cleared_at=e.cleared_at)
            rest = tuple(a for a in s.adopted if a.case != e.case)
            return {**ask(s, e.case, told.model_dump(mode="json")), "adopted": rest}
        case FaultCleared():
            return {
                "stage": Stage.FIXED,
                "fixed_at": e.at,
                "appointment": None,
                "wait_until": None,
                **_NO_PARTS,
                **_UNPAUSED,
            }
        case GuardPosted():
            return {"guard": e.guard, "guard_needed": False}
        case GuardRelieved():
            return {"guard": None}
        case InterruptionAnnounced():
            return {"interruption": Interruption(start=e.start, end=e.end, reason=e.reason)}
        case AdoptionRefused():
            return {}
        case _:
            assert_never(e)


_UNPAUSED: dict[str, Any] = {
    "stage_before": None,
    "pause_reason": None,
    "paused_at": None,
    "pause_ends": None,
}
_NO_PARTS: dict[str, Any] = {"parts_wanted": (), "parts_stock": None, "waybill": None}


def _ended(stage: Stage, at: datetime) -> dict[str, Any]:
    return {
        "stage": stage,
        "closed_at": at,
        "appointment": None,
        "wait_until": None,
        "guard": None,
        **_UNPAUSED,
    }


def _resting(s: RepairState) -> Stage | None:
    """The stage to come back to: a pause is not one."""
    return s.stage_before if s.stage == Stage.PAUSED else s.stage


def staying(s: RepairState, adopted: tuple[Adopted, ...]) -> tuple[FollowUp, ...]:
    """The customers who are still called here when only the `adopted` are left."""
    known = [s.party, *(p for a in adopted for p in a.parties)]
    return tuple(f for f in s.follow_ups if f.party in known)


def _answer(s: RepairState, e: CallbackRecorded) -> SatisfactionAnswer:
    department = s.policy.department_of(s.district)
    return SatisfactionAnswer(at=e.at, department=department, result=e.result)


def _adoption(s: RepairState, how: str) -> Json:
    clocks = (s.reported_at, *(a.reported_at for a in s.adopted))
    return AdoptReport.model_validate(
        {
            "case": s.case_id,
            "how": how,
            "reported_at": min(at for at in clocks if at is not None),
            "parties": [f.party for f in s.follow_ups],
            "premises": s.places if how == "merge" else (),
        }
    ).model_dump(mode="json")
