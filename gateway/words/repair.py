"""What happens in a repair (报修), in plain words. Pure."""

from collections.abc import Mapping
from typing import assert_never

from gateway.words.plain import When, owner_words
from schemas.repair import (
    AccessFailed,
    AdoptionRefused,
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
    GuardPosted,
    GuardRelieved,
    InspectionFailed,
    InspectionPassed,
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
    ReleaseRequested,
    RepairCancelled,
    RepairClosed,
    RepairCompleted,
    RepairEvents,
    RepairMerged,
    RepairReopened,
    RepairReported,
    RepairSolvedByPhone,
    RepairTransferred,
    RepairTriaged,
    ReportAdopted,
    ReportReleased,
    ReportSplit,
    SiteMadeSafe,
    TransferReturned,
    WorkPaused,
    WorkResumed,
    WorkStarted,
)

RULES: Mapping[str, tuple[str, ...]] = {
    "RepairReported": ("KUN-5.5.1", "WAT-1.5a"),
    "RepairSolvedByPhone": ("KUN-5.5.2",),
    "CrewDispatched": ("CNPC-2.1", "PROP-1.2"),
    "JobAccepted": ("ADM-1",),
    "JobDeclined": ("ADM-1",),
    "JobReassigned": ("ADM-1",),
    "AppointmentBooked": ("ADM-8",),
    "AppointmentMoved": ("KUN-7.1.4", "ADM-8"),
    "AppointmentMissed": ("KUN-7.1.4", "ADM-8"),
    "AccessFailed": ("KUN-7.4.3",),
    "CallbackDue": ("KUN-5.6", "CNPC-2.1"),
    "CallbackRecorded": ("KUN-5.6", "CNPC-2.1"),
    "RepairClosed": ("ADM-6",),
    "RepairTransferred": ("KUN-2.2.4d",),
    "DeclaredNotOurs": ("KUN-2.2.4d", "ADM-5"),
    "DeclaredUnableToFix": ("KUN-2.2.4d", "ADM-5"),
    "GuardPosted": ("WAT-1.5c",),
    "InterruptionAnnounced": ("KUN-2.2.2",),
}
"""By event type: rules that it obeys."""

BEFORE: Mapping[str, str] = {
    "dispatched": "a crew is dispatched before",
    "arrived": "the crew arrives before",
    "made_safe": "the site is made safe before",
    "fixed": "it is repaired before",
    "followed_up": "every customer was called before",
    "guarded": "a guard is posted before",
    "parts_shipped": "the parts are shipped before",
}


def words(e: RepairEvents, when: When) -> str:
    match e:
        case RepairReported():
            care = ", special care" if e.priority else ""
            what = f"{e.category}, {e.severity}, district {e.district}{care}"
            return f"reported by {e.channel}: {what}; {owner_words(e.owner)} has it"
        case RepairTriaged():
            return f"triaged: {e.category}, {e.severity}"
        case RepairSolvedByPhone():
            return f"solved on the phone: {e.solution}"
        case CrewDispatched():
            return f"{e.crew} is dispatched" + (f" against {e.receipt}" if e.receipt else "")
        case JobAccepted():
            return f"{e.crew} accepts and has the case"
        case JobDeclined():
            return f"{e.crew} declines ({e.reason}); {owner_words(e.owner)} has it again"
        case JobReassigned():
            return f"{e.crew} is sent instead ({e.reason})"
        case AppointmentBooked():
            return f"appointment {when(e.start)} to {when(e.end)} ({e.consent})"
        case AppointmentMoved():
            return (
                f"appointment moved to {when(e.start)} to {when(e.end)} ({e.reason}, {e.consent})"
            )
        case AppointmentMissed():
            return f"appointment of {when(e.start)} missed by us"
        case AppointmentMissWithdrawn():
            return f"appointment was kept after all ({e.evidence})"
        case CrewArrived():
            return f"{e.crew} is on site"
        case AccessFailed():
            waits = f"; waits for the customer until {when(e.wait_until)}" if e.wait_until else ""
            return f"no access, visit {e.attempt} ({e.reason}, {e.evidence}){waits}"
        case SiteMadeSafe():
            return f"made safe ({e.evidence})"
        case WorkStarted():
            return "work begins"
        case WorkPaused():
            return f"work waits: {e.reason}, until {when(e.until)} at most ({e.evidence})"
        case WorkResumed():
            return "the longest pause is over, work goes on" if e.expired else "work goes on"
        case PartsRequested():
            return f"parts requested from {e.stock} stock: {', '.join(e.parts)}"
        case PartsShipped():
            return f"parts shipped ({e.waybill})"
        case PartsArrived():
            return "parts arrived"
        case RepairCompleted():
            then = "; to be inspected" if e.inspect else ""
            return f"repaired: {', '.join(e.work)}{then}"
        case InspectionPassed():
            return f"inspection passed ({e.evidence})"
        case InspectionFailed():
            return f"inspection failed: {e.reason} ({e.evidence})"
        case CallbackDue():
            return f"follow-up due: {len(e.parties)} to call"
        case CallbackRecorded():
            more = "" if e.done else "; to be called again"
            return f"follow-up call {e.attempt}: {e.result.replace('_', ' ')}{more}"
        case RepairClosed():
            return "closed, the customer is told"
        case RepairReopened():
            return f"reopened ({e.reason}), rework {e.rework}; {owner_words(e.owner)} has it"
        case RepairTransferred():
            return f"transferred to {e.to} ({e.reference})"
        case TransferReturned():
            return f"came back ({e.reason}); {owner_words(e.owner)} has it"
        case MergeRequested():
            return f"asks {e.case} to take it in"
        case LinkRequested():
            return f"asks fault {e.fault} to take it in"
        case RepairMerged():
            return f"goes on in {e.case}"
        case FaultLinked():
            return f"shares the clock of fault {e.fault}"
        case AdoptionRefused():
            return f"{e.case} would not take it in: {' '.join(e.reasons)}"
        case ReportSplit():
            return f"split from {e.case} ({e.reason}); {owner_words(e.owner)} has it"
        case ReleaseRequested():
            return f"asks {e.case} to let it go"
        case ReportAdopted():
            how = "a double" if e.how == "merge" else "a report"
            return f"takes in {how}, {e.case}, reported {when(e.reported_at)}"
        case ReportReleased():
            return f"lets {e.case} go"
        case LinkedCaseTold():
            return f"tells {e.case} that the fault is cleared"
        case FaultCleared():
            return f"fault {e.fault} is cleared"
        case GuardPosted():
            return f"guard {e.guard} stays on site"
        case GuardRelieved():
            return f"guard {e.guard} relieved"
        case InterruptionAnnounced():
            return f"interruption announced: {when(e.start)} to {when(e.end)} ({e.reason})"
        case NoFaultReported():
            return f"no fault found ({e.evidence})"
        case DeclaredNotOurs():
            return f"not ours: {e.reason}; customer sent to {e.channel}"
        case DeclaredUnableToFix():
            return f"unable to fix: {e.reason}; customer sent to {e.channel}"
        case RepairCancelled():
            return f"ended without a repair ({e.reason})"
        case _:
            assert_never(e)
