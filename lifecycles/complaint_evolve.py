"""Complaint: the state after an event. Total: it refuses nothing and ignores nothing."""

from datetime import datetime
from typing import Any, assert_never

from lifecycles import casework
from lifecycles.approvals import among, same
from lifecycles.casework import ask, owned
from lifecycles.changes import changed
from lifecycles.complaint_stages import FOUND, barred, earliest, finding_of
from lifecycles.presence import places, registered
from schemas.approvals import (
    ApprovalEvents,
    ApprovalLapsed,
    ApprovalRejected,
    ApprovalWithdrawn,
)
from schemas.base import Ownership
from schemas.case import SharedEvents
from schemas.complaint import (
    Accused,
    AdoptComplaint,
    ApologyRecorded,
    ApologyWaived,
    AppealDecided,
    ComplaintAcknowledged,
    ComplaintAdopted,
    ComplaintAnswered,
    ComplaintAppealed,
    ComplaintClosed,
    ComplaintEscalated,
    ComplaintEvents,
    ComplaintHandedOver,
    ComplaintReferred,
    ComplaintRegistered,
    ComplaintReturned,
    ComplaintScreened,
    ComplaintState,
    ComplaintWithdrawn,
    CustomerAsked,
    CustomerReplied,
    DeclaredOutOfJurisdiction,
    DissatisfactionReviewed,
    Extension,
    ExtensionGranted,
    ExtensionRequested,
    Finding,
    FindingDecided,
    FollowUpDue,
    FollowUpRecorded,
    InformantRewarded,
    InvestigationStarted,
    MergedAsRepeat,
    RedoOrdered,
    ReferredExternal,
    Repeat,
    RepeatMergeRefused,
    RepeatMergeRequested,
    ReturnArbitrated,
    Stage,
)
from schemas.conduct import RecordFinding, conduct_id
from schemas.envelope import SatisfactionAnswer

AnyEvent = ComplaintEvents | SharedEvents | ApprovalEvents


def evolve(state: ComplaintState, event: AnyEvent) -> ComplaintState:
    """The state after `event`."""
    if isinstance(event, SharedEvents | ApprovalEvents):
        state = casework.evolve(state, event)
        if isinstance(event, ApprovalRejected | ApprovalLapsed | ApprovalWithdrawn):
            return changed(state, extension=None)
        return state
    return registered(state, changed(state, **_update(state, event)))


def _update(s: ComplaintState, e: ComplaintEvents) -> dict[str, Any]:
    match e:
        case ComplaintRegistered():
            return {
                "stage": Stage.REGISTERED,
                "registered_at": e.at,
                "channel": e.channel,
                "about": e.about,
                "category": e.category,
                "gravity": e.gravity,
                "district": e.district,
                "accused": e.accused,
                "about_case": e.about_case,
                "place": e.place,
                "premises": e.premises,
                "places": places(e.premises),
                "party": e.party,
                "anonymous": e.anonymous,
                "confidential": e.confidential,
                "text": e.text,
                "priority": e.priority,
                "owners": (Ownership(owner=e.owner, since=e.at),),
            }
        case ComplaintScreened():
            return {
                "stage": Stage.SCREENED,
                "category": e.category,
                "gravity": e.gravity,
                **_accused(s, e.accused),
            }
        case DeclaredOutOfJurisdiction():
            return {"stage": Stage.OUT_OF_JURISDICTION, "declined": e.reason}
        case ComplaintReferred():
            return _ended(Stage.REFERRED, e.at)
        case ComplaintHandedOver():
            return {
                "stage": Stage.HANDED_OVER,
                "department": e.department,
                **owned(s, e.owner, e.at),
            }
        case ComplaintAcknowledged():
            return {"stage": Stage.ACKNOWLEDGED, **owned(s, e.owner, e.at)}
        case ComplaintReturned():
            return {
                "stage": Stage.RETURNED,
                "department": None,
                "returns": e.returns,
                **owned(s, e.owner, e.at),
            }
        case ReturnArbitrated():
            return {
                "stage": Stage.ARBITRATED,
                "department": e.department,
                "arbitrated": True,
                **owned(s, e.owner, e.at),
            }
        case InvestigationStarted():
            return {
                "stage": Stage.INVESTIGATING,
                "investigator": e.investigator,
                "investigating_since": s.investigating_since or e.at,
            }
        case CustomerAsked():
            return {
                "stage": Stage.AWAITING_CUSTOMER,
                "question": e.question,
                "asked_at": e.at,
                "asked_until": e.until,
            }
        case CustomerReplied():
            return {
                "stage": Stage.INVESTIGATING,
                "reply": e.evidence,
                "waited": s.waited + (e.at - (s.asked_at or e.at)),
                **_UNASKED,
            }
        case ExtensionRequested():
            return {"extension": Extension(until=e.until, reason=e.reason)}
        case ExtensionGranted():
            return {"extension": None, "extensions": s.extensions + 1}
        case ComplaintEscalated():
            return owned(s, e.owner, e.at)
        case FindingDecided():
            return _found(s, e)
        case ComplaintAnswered():
            return {
                "stage": Stage.ANSWERED,
                "outcome": e.outcome,
                "answered_at": e.at,
                "answered_by": e.answered_by,
            }
        case FollowUpDue():
            return {"stage": Stage.FOLLOW_UP}
        case FollowUpRecorded():
            if not e.done:
                return {"attempts": e.attempt}
            return {
                "stage": Stage.FOLLOW_UP if e.result == "not_satisfied" else Stage.ANSWERED,
                "attempts": e.attempt,
                "follow_up": e.result,
                "answers": (*s.answers, _answer(s, e)),
            }
        case RedoOrdered():
            return {
                "stage": Stage.REDO,
                "redo": e.redo,
                "redone_at": e.at,
                "investigator": None,
                "investigating_since": None,
                "outcome": None,
                "answered_at": None,
                "answered_by": None,
                **_UNCALLED,
                **owned(s, e.owner, e.at),
            }
        case DissatisfactionReviewed():
            return {"stage": Stage.ANSWERED, "reviewed": True}
        case ApologyRecorded():
            return _apology(s, e.staff, apologised=e.evidence)
        case ApologyWaived():
            return _apology(s, e.staff, apology_waived=e.reason)
        case InformantRewarded():
            return {"rewarded": True}
        case ComplaintAppealed():
            return {
                "stage": Stage.APPEALED,
                "appeals": s.appeals + 1,
                "appealed_at": e.at,
                "closed_at": None,
                **owned(s, e.owner, e.at),
            }
        case AppealDecided():
            return {
                "stage": Stage.ANSWERED,
                "outcome": e.outcome,
                "answered_at": e.at,
                "answered_by": e.decided_by,
                "appeal_decision": e.decision,
                **_UNCALLED,
            }
        case ComplaintClosed():
            return _ended(Stage.CLOSED, e.at)
        case ReferredExternal():
            return _ended(Stage.EXTERNAL, e.at)
        case ComplaintWithdrawn():
            return _ended(Stage.WITHDRAWN, e.at)
        case RepeatMergeRequested():
            asked = AdoptComplaint(
                case=s.case_id,
                registered_at=earliest(s) or e.at,
                party=s.party,
                accused=s.accused,
                premises=s.places,
            )
            return ask(s, e.case, asked.model_dump(mode="json"))
        case MergedAsRepeat():
            return {**_ended(Stage.MERGED_AS_REPEAT, e.at), "merged_into": e.case}
        case ComplaintAdopted():
            taken = Repeat(case=e.case, registered_at=e.registered_at, party=e.party)
            return {
                "repeats": (*s.repeats, taken),
                "places": places(*s.places, *e.premises),
                **_accused(s, merged(s.accused, e.accused)),
            }
        case RepeatMergeRefused():
            return {}
        case _:
            assert_never(e)


_UNASKED: dict[str, Any] = {"question": None, "asked_at": None, "asked_until": None}
_UNCALLED: dict[str, Any] = {"attempts": 0, "follow_up": None, "reviewed": False}


def _ended(stage: Stage, at: datetime) -> dict[str, Any]:
    return {"stage": stage, "closed_at": at, **_UNASKED}


def merged(known: tuple[Accused, ...], more: tuple[Accused, ...]) -> tuple[Accused, ...]:
    """All the accused, each once; whom somebody reports to is added where it was not known."""
    people = list(known)
    for a in more:
        index = next((i for i, k in enumerate(people) if same(k.staff, a.staff)), None)
        if index is None:
            people.append(a)
        elif people[index].reports_to is None:
            people[index] = Accused(staff=people[index].staff, reports_to=a.reports_to)
    return tuple(people)


def _accused(s: ComplaintState, accused: tuple[Accused, ...]) -> dict[str, Any]:
    """Who turns out to be accused, or to answer for one, investigates no longer."""
    judge = s.investigator
    relieved = judge is not None and among(judge, barred(s.rules, accused))
    return {"accused": accused, "investigator": None if relieved else judge}


def _found(s: ComplaintState, e: FindingDecided) -> dict[str, Any]:
    """A revision takes the earlier one's place; an apology that was made stays made.

    The staff file hears of whatever was upheld, and of what no longer is.
    """
    before = finding_of(s, e.staff)
    stands = before is not None and before.outcome in FOUND and e.outcome in FOUND
    finding = Finding(
        staff=e.staff,
        revision=e.revision,
        outcome=e.outcome,
        gravity=e.gravity,
        cause=e.cause,
        conduct_at=e.conduct_at,
        decided_at=e.at,
        decided_by=e.decided_by,
        apologised=before.apologised if before else None,
        apology_waived=before.apology_waived if before and stands else None,
    )
    others = tuple(f for f in s.findings if not same(f.staff, e.staff))
    update: dict[str, Any] = {"findings": (*others, finding)}
    matters = e.outcome in FOUND or (before is not None and before.outcome in FOUND)
    if matters and s.policy.conduct is not None:
        told = RecordFinding(
            staff=e.staff,
            reports_to=next((a.reports_to for a in s.accused if same(a.staff, e.staff)), None),
            finding=f"{s.case_id}/{e.staff.casefold()}",
            complaint=s.case_id,
            revision=e.revision,
            outcome=e.outcome,
            gravity=e.gravity,
            cause=e.cause,
            conduct_at=e.conduct_at,
            decided_at=e.at,
        )
        update |= ask(
            s, conduct_id(s.organisation, e.staff), told.model_dump(mode="json"), opens=True
        )
    return update


def _apology(s: ComplaintState, staff: str, **settled: str) -> dict[str, Any]:
    return {
        "findings": tuple(changed(f, **settled) if same(f.staff, staff) else f for f in s.findings)
    }


def _answer(s: ComplaintState, e: FollowUpRecorded) -> SatisfactionAnswer:
    department = s.department or s.rules.intake_unit
    return SatisfactionAnswer(at=e.at, department=department, result=e.result)
