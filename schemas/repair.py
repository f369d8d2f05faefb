"""Repair (报修): what may be asked of a case, what can happen to it, its state."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import (
    CaseCommand,
    CaseId,
    Code,
    Command,
    CommandId,
    Event,
    Owner,
    PartyId,
    Reference,
    Subject,
    UtcTime,
    Value,
    nothing,
)
from schemas.case import CaseState, HandOverCase, SharedEvents, TakeCase
from schemas.envelope import DeadlinePassed, RecordAnswer
from schemas.policy import Channel, ContactField, RepairPolicy, Severity


class Stage(StrEnum):
    """Where a repair stands."""

    UNREPORTED = "Unreported"
    REPORTED = "Reported"
    TRIAGED = "Triaged"
    DISPATCHED = "Dispatched"
    ACCEPTED = "Accepted"
    ON_SITE = "OnSite"
    MADE_SAFE = "MadeSafe"
    WORKING = "Working"
    PAUSED = "Paused"
    FIXED = "Fixed"
    INSPECTED = "Inspected"
    CALLBACK_DUE = "CallbackDue"
    CLOSED = "Closed"
    MERGED = "Merged"
    TRANSFERRED = "Transferred"
    SOLVED_BY_PHONE = "SolvedByPhone"
    NOT_OURS = "NotOurs"
    NO_FAULT_FOUND = "NoFaultFound"
    UNABLE_TO_FIX = "UnableToFix"
    CANCELLED = "Cancelled"


# Commands


class ReportRepair(Command):
    """Somebody reports a fault (KUN-5.5.1)."""

    type: Literal["ReportRepair"] = "ReportRepair"
    channel: Channel
    category: Code
    severity: Severity = "common"
    asset: Reference | None = None
    """The meter, valve or main, by its number."""
    district: Code
    party: PartyId | None = None
    recorded: tuple[ContactField, ...] = ()
    """Which of the party's particulars are on record in the vault."""
    priority: bool = False
    """Registered for special care (CNPC-3.1.9, KUN-2.2.7)."""
    source: Reference | None = None
    """The number under which another register knows it."""
    premises: Reference | None = Field(default=None, exclude_if=nothing)
    """Where it is, as arrears know the place: no supply is stopped there meanwhile."""


class TriageRepair(Command):
    """A clerk settles what it is and how grave."""

    type: Literal["TriageRepair"] = "TriageRepair"
    category: Code
    severity: Severity


class SolveByPhone(Command):
    """It was solved on the phone and never becomes a visit (KUN-5.5.2)."""

    type: Literal["SolveByPhone"] = "SolveByPhone"
    solution: Code


class DispatchCrew(Command):
    """Send a crew (派修, CNPC-2.1)."""

    type: Literal["DispatchCrew"] = "DispatchCrew"
    crew: Subject
    receipt: Reference | None = None
    """The signature against which the order was passed on (WAT-2.9)."""


class AcceptJob(Command):
    """The crew takes the job: it owns the case from here (ADM-1)."""

    type: Literal["AcceptJob"] = "AcceptJob"
    crew: Subject


class DeclineJob(Command):
    """The crew cannot take it: the unit owns it again, and it escalates faster."""

    type: Literal["DeclineJob"] = "DeclineJob"
    crew: Subject
    reason: Code


class ReassignJob(Command):
    """Another crew shall do it."""

    type: Literal["ReassignJob"] = "ReassignJob"
    crew: Subject
    reason: Code


class BookAppointment(Command):
    """Agree a time with the customer (ADM-8, KUN-2.2.4a)."""

    type: Literal["BookAppointment"] = "BookAppointment"
    start: UtcTime
    end: UtcTime
    consent: Reference
    """The record of the customer's consent."""


class MoveAppointment(Command):
    """It cannot be kept: agree to another, told at once (KUN-7.1.4)."""

    type: Literal["MoveAppointment"] = "MoveAppointment"
    start: UtcTime
    end: UtcTime
    consent: Reference
    reason: Code


class RecordArrival(Command):
    """The crew is on site."""

    type: Literal["RecordArrival"] = "RecordArrival"
    crew: Subject


class RecordNoAccess(Command):
    """Nobody there, or the door stayed shut: a card was left (KUN-7.4.3)."""

    type: Literal["RecordNoAccess"] = "RecordNoAccess"
    crew: Subject
    reason: Code
    evidence: Reference
    """The card left, or its photo."""


class MakeSafe(Command):
    """The danger is over; the repair may still take time."""

    type: Literal["MakeSafe"] = "MakeSafe"
    evidence: Reference


class StartWork(Command):
    """The repair itself begins."""

    type: Literal["StartWork"] = "StartWork"


class PauseWork(Command):
    """It must wait, for a reason that the policy allows, with evidence."""

    type: Literal["PauseWork"] = "PauseWork"
    reason: Code
    evidence: Reference


class ResumeWork(Command):
    """It goes on."""

    type: Literal["ResumeWork"] = "ResumeWork"


class RequestParts(Command):
    """Parts are needed, from local stock or from elsewhere (AFT-4)."""

    type: Literal["RequestParts"] = "RequestParts"
    parts: Annotated[tuple[Code, ...], Field(min_length=1)]
    stock: Literal["local", "elsewhere"]


class RecordPartsShipped(Command):
    """The parts from elsewhere are on their way (AFT-4)."""

    type: Literal["RecordPartsShipped"] = "RecordPartsShipped"
    waybill: Reference


class RecordPartsArrived(Command):
    """The parts are here."""

    type: Literal["RecordPartsArrived"] = "RecordPartsArrived"


class CompleteRepair(Command):
    """It is repaired: what was done, and what shows it."""

    type: Literal["CompleteRepair"] = "CompleteRepair"
    work: Annotated[tuple[Code, ...], Field(min_length=1)]
    evidence: tuple[Reference, ...] = ()
    warranty_parts: tuple[Code, ...] = ()
    """Parts replaced under warranty (AFT-1)."""


class PassInspection(Command):
    """The work is found good."""

    type: Literal["PassInspection"] = "PassInspection"
    evidence: Reference


class FailInspection(Command):
    """The work is not good: back to it, on the original clock."""

    type: Literal["FailInspection"] = "FailInspection"
    reason: Code
    evidence: Reference


class RecordCallback(Command):
    """The follow-up call (回访, KUN-5.6): consent first; without it the call ends there."""

    type: Literal["RecordCallback"] = "RecordCallback"
    party: PartyId
    consent: bool = False
    result: Literal["satisfied", "not_satisfied", "unreachable", "no_consent"]


class ReopenCase(Command):
    """It was not done after all: reopened on the original clock."""

    type: Literal["ReopenCase"] = "ReopenCase"
    reason: Code


class TransferOut(Command):
    """Another organisation's to do: the job moves there (KUN-2.2.4d)."""

    type: Literal["TransferOut"] = "TransferOut"
    to: Code
    reference: Reference


class RecordTransferReturned(Command):
    """They sent it back: it is ours again, on the original clock."""

    type: Literal["RecordTransferReturned"] = "RecordTransferReturned"
    reason: Code


class MergeInto(Command):
    """The same fault is a case already: this one goes on there."""

    type: Literal["MergeInto"] = "MergeInto"
    case: CaseId


class SplitOut(Command):
    """It was another fault after all: back out of the case it was merged into."""

    type: Literal["SplitOut"] = "SplitOut"
    reason: Code


class LinkToFault(Command):
    """A network fault causes this one: share its clock."""

    type: Literal["LinkToFault"] = "LinkToFault"
    fault: CaseId


class AdoptReport(CaseCommand):
    """Another case asks this one to take it in, merged or linked."""

    type: Literal["AdoptReport"] = "AdoptReport"
    case: CaseId
    how: Literal["merge", "link"]
    reported_at: UtcTime
    parties: tuple[PartyId, ...] = ()
    premises: tuple[Reference, ...] = Field(default=(), exclude_if=nothing)
    """Where a merged one is: it stays open there in this one."""


class ReleaseReport(CaseCommand):
    """A case that was taken in goes its own way again."""

    type: Literal["ReleaseReport"] = "ReleaseReport"
    case: CaseId


class RecordFaultCleared(CaseCommand):
    """The network fault that caused this one is repaired."""

    type: Literal["RecordFaultCleared"] = "RecordFaultCleared"
    fault: CaseId
    cleared_at: UtcTime


class PostGuard(Command):
    """Somebody stays on site until the repairers arrive (WAT-1.5c)."""

    type: Literal["PostGuard"] = "PostGuard"
    guard: Subject


class AnnounceInterruption(Command):
    """Supply will be interrupted; customers are told ahead and told why (KUN-2.2.2, GAS-8.4)."""

    type: Literal["AnnounceInterruption"] = "AnnounceInterruption"
    start: UtcTime
    end: UtcTime
    reason: Code


class ReportNoFault(Command):
    """On site, no fault was found."""

    type: Literal["ReportNoFault"] = "ReportNoFault"
    evidence: Reference


class DeclareNotOurs(Command):
    """Outside the repair scope: the customer is told promptly where to turn (KUN-2.2.4d)."""

    type: Literal["DeclareNotOurs"] = "DeclareNotOurs"
    reason: Code
    channel: Code
    """Where the customer can turn instead."""


class DeclareUnableToFix(Command):
    """No matching parts, or beyond our means (KUN-2.2.4d)."""

    type: Literal["DeclareUnableToFix"] = "DeclareUnableToFix"
    reason: Code
    channel: Code


class CancelRepair(Command):
    """Whoever reported it withdraws it, or it was a mistake."""

    type: Literal["CancelRepair"] = "CancelRepair"
    reason: Code


RepairCommand = Annotated[
    ReportRepair
    | TriageRepair
    | SolveByPhone
    | DispatchCrew
    | AcceptJob
    | DeclineJob
    | ReassignJob
    | TakeCase
    | HandOverCase
    | BookAppointment
    | MoveAppointment
    | RecordArrival
    | RecordNoAccess
    | MakeSafe
    | StartWork
    | PauseWork
    | ResumeWork
    | RequestParts
    | RecordPartsShipped
    | RecordPartsArrived
    | CompleteRepair
    | PassInspection
    | FailInspection
    | RecordCallback
    | ReopenCase
    | TransferOut
    | RecordTransferReturned
    | MergeInto
    | SplitOut
    | LinkToFault
    | AdoptReport
    | ReleaseReport
    | RecordFaultCleared
    | PostGuard
    | AnnounceInterruption
    | ReportNoFault
    | DeclareNotOurs
    | DeclareUnableToFix
    | CancelRepair
    | DeadlinePassed
    | RecordAnswer,
    Field(discriminator="type"),
]


# Events


class RepairReported(Event):
    """A fault was reported; the customer's clock starts here."""

    type: Literal["RepairReported"] = "RepairReported"
    case: CaseId
    policy: str
    """The pinned policy's hash."""
    channel: Channel
    category: Code
    severity: Severity
    network: bool
    asset: Reference | None
    district: Code
    party: PartyId | None
    priority: bool
    source: Reference | None
    owner: Owner
    premises: Reference | None = Field(default=None, exclude_if=nothing)


class RepairTriaged(Event):
    """What it is and how grave was settled."""

    type: Literal["RepairTriaged"] = "RepairTriaged"
    category: Code
    severity: Severity
    network: bool


class RepairSolvedByPhone(Event):
    """It was solved on the phone."""

    type: Literal["RepairSolvedByPhone"] = "RepairSolvedByPhone"
    solution: Code


class CrewDispatched(Event):
    """A crew was sent (派修)."""

    type: Literal["CrewDispatched"] = "CrewDispatched"
    crew: Subject
    receipt: Reference | None


class JobAccepted(Event):
    """The crew took the job and owns the case."""

    type: Literal["JobAccepted"] = "JobAccepted"
    crew: Subject


class JobDeclined(Event):
    """The crew declined; the unit owns the case."""

    type: Literal["JobDeclined"] = "JobDeclined"
    crew: Subject
    reason: Code
    owner: Owner


class JobReassigned(Event):
    """Another crew was sent instead; the unit owns the case until it accepts."""

    type: Literal["JobReassigned"] = "JobReassigned"
    crew: Subject
    reason: Code
    owner: Owner


class AppointmentBooked(Event):
    """A time was agreed with the customer."""

    type: Literal["AppointmentBooked"] = "AppointmentBooked"
    start: UtcTime
    end: UtcTime
    consent: Reference


class AppointmentMoved(Event):
    """Another time was agreed with the customer."""

    type: Literal["AppointmentMoved"] = "AppointmentMoved"
    start: UtcTime
    end: UtcTime
    consent: Reference
    reason: Code


class AppointmentMissed(Event):
    """We did not come in the agreed time (kept apart for compensation)."""

    type: Literal["AppointmentMissed"] = "AppointmentMissed"
    start: UtcTime
    end: UtcTime


class AppointmentMissWithdrawn(Event):
    """We were there in time after all: a fact that arrived late shows it."""

    type: Literal["AppointmentMissWithdrawn"] = "AppointmentMissWithdrawn"
    evidence: CommandId


class CrewArrived(Event):
    """The crew is on site."""

    type: Literal["CrewArrived"] = "CrewArrived"
    crew: Subject


class AccessFailed(Event):
    """The crew was there and did not get in."""

    type: Literal["AccessFailed"] = "AccessFailed"
    crew: Subject
    reason: Code
    evidence: Reference
    attempt: int
    wait_until: UtcTime | None
    """Set when the limit of visits is reached: the case ends then, unless the customer answers."""


class SiteMadeSafe(Event):
    """The danger is over."""

    type: Literal["SiteMadeSafe"] = "SiteMadeSafe"
    evidence: Reference


class WorkStarted(Event):
    """The repair itself began."""

    type: Literal["WorkStarted"] = "WorkStarted"


class WorkPaused(Event):
    """The work waits."""

    type: Literal["WorkPaused"] = "WorkPaused"
    reason: Code
    evidence: Reference
    until: UtcTime
    """The longest that the policy lets it wait."""


class WorkResumed(Event):
    """The work goes on; `expired` where the pause had lasted as long as the policy allows."""

    type: Literal["WorkResumed"] = "WorkResumed"
    expired: bool


class PartsRequested(Event):
    """Parts were asked for."""

    type: Literal["PartsRequested"] = "PartsRequested"
    parts: tuple[Code, ...]
    stock: Literal["local", "elsewhere"]


class PartsShipped(Event):
    """The parts are on their way."""

    type: Literal["PartsShipped"] = "PartsShipped"
    waybill: Reference


class PartsArrived(Event):
    """The parts are here."""

    type: Literal["PartsArrived"] = "PartsArrived"


class RepairCompleted(Event):
    """It is repaired."""

    type: Literal["RepairCompleted"] = "RepairCompleted"
    work: tuple[Code, ...]
    evidence: tuple[Reference, ...]
    warranty_parts: tuple[Code, ...]
    warranty_until: date | None
    inspect: bool
    """Whether the policy wants it inspected first."""


class InspectionPassed(Event):
    """The work was found good."""

    type: Literal["InspectionPassed"] = "InspectionPassed"
    evidence: Reference


class InspectionFailed(Event):
    """The work was not good; it counts as rework."""

    type: Literal["InspectionFailed"] = "InspectionFailed"
    reason: Code
    evidence: Reference


class CallbackDue(Event):
    """Each customer is to be called (回访)."""

    type: Literal["CallbackDue"] = "CallbackDue"
    parties: tuple[PartyId, ...]


class CallbackRecorded(Event):
    """A follow-up call and its result."""

    type: Literal["CallbackRecorded"] = "CallbackRecorded"
    party: PartyId
    result: Literal["satisfied", "not_satisfied", "unreachable", "no_consent"]
    attempt: int
    done: bool


class RepairClosed(Event):
    """The case is done and the customer told (ADM-6)."""

    type: Literal["RepairClosed"] = "RepairClosed"


class RepairReopened(Event):
    """It was not done after all; the original clock holds, and it counts as rework."""

    type: Literal["RepairReopened"] = "RepairReopened"
    reason: Code
    owner: Owner
    rework: int


class RepairTransferred(Event):
    """The job moved to another organisation."""

    type: Literal["RepairTransferred"] = "RepairTransferred"
    to: Code
    reference: Reference


class TransferReturned(Event):
    """The job came back."""

    type: Literal["TransferReturned"] = "TransferReturned"
    reason: Code
    owner: Owner


class MergeRequested(Event):
    """The other case was asked to take this one in."""

    type: Literal["MergeRequested"] = "MergeRequested"
    case: CaseId


class LinkRequested(Event):
    """The network fault was asked to take this report in."""

    type: Literal["LinkRequested"] = "LinkRequested"
    fault: CaseId


class RepairMerged(Event):
    """This case goes on in the other."""

    type: Literal["RepairMerged"] = "RepairMerged"
    case: CaseId


class FaultLinked(Event):
    """This report shares the network fault's clock."""

    type: Literal["FaultLinked"] = "FaultLinked"
    fault: CaseId


class AdoptionRefused(Event):
    """The other case would not take this one in; it goes on by itself."""

    type: Literal["AdoptionRefused"] = "AdoptionRefused"
    case: CaseId
    reasons: tuple[str, ...]


class ReportSplit(Event):
    """It left the case that it was merged into and is its own again, on its original clock."""

    type: Literal["ReportSplit"] = "ReportSplit"
    case: CaseId
    reason: Code
    owner: Owner


class ReleaseRequested(Event):
    """This case ended by itself: the other, which took it in or was asked to, is to let it go."""

    type: Literal["ReleaseRequested"] = "ReleaseRequested"
    case: CaseId


class ReportAdopted(Event):
    """Another case was taken in; the earliest clock counts."""

    type: Literal["ReportAdopted"] = "ReportAdopted"
    case: CaseId
    how: Literal["merge", "link"]
    reported_at: UtcTime
    parties: tuple[PartyId, ...]
    premises: tuple[Reference, ...] = Field(default=(), exclude_if=nothing)


class ReportReleased(Event):
    """A case that was taken in went its own way again."""

    type: Literal["ReportReleased"] = "ReportReleased"
    case: CaseId


class LinkedCaseTold(Event):
    """A report linked to this fault is being told that it is cleared."""

    type: Literal["LinkedCaseTold"] = "LinkedCaseTold"
    case: CaseId
    cleared_at: UtcTime


class FaultCleared(Event):
    """The network fault that caused this one is repaired."""

    type: Literal["FaultCleared"] = "FaultCleared"
    fault: CaseId


class GuardPosted(Event):
    """Somebody stays on site."""

    type: Literal["GuardPosted"] = "GuardPosted"
    guard: Subject


class GuardRelieved(Event):
    """The repairers are there; the guard may go."""

    type: Literal["GuardRelieved"] = "GuardRelieved"
    guard: Subject


class InterruptionAnnounced(Event):
    """Customers are told of an interruption and why."""

    type: Literal["InterruptionAnnounced"] = "InterruptionAnnounced"
    start: UtcTime
    end: UtcTime
    reason: Code


class NoFaultReported(Event):
    """No fault was found on site."""

    type: Literal["NoFaultReported"] = "NoFaultReported"
    evidence: Reference


class DeclaredNotOurs(Event):
    """Outside the repair scope; the customer was told where to turn."""

    type: Literal["DeclaredNotOurs"] = "DeclaredNotOurs"
    reason: Code
    channel: Code


class DeclaredUnableToFix(Event):
    """It cannot be repaired by us; the customer was told where to turn."""

    type: Literal["DeclaredUnableToFix"] = "DeclaredUnableToFix"
    reason: Code
    channel: Code


class RepairCancelled(Event):
    """The case ended without a repair."""

    type: Literal["RepairCancelled"] = "RepairCancelled"
    reason: Code


RepairEvents = (
    RepairReported
    | RepairTriaged
    | RepairSolvedByPhone
    | CrewDispatched
    | JobAccepted
    | JobDeclined
    | JobReassigned
    | AppointmentBooked
    | AppointmentMoved
    | AppointmentMissed
    | AppointmentMissWithdrawn
    | CrewArrived
    | AccessFailed
    | SiteMadeSafe
    | WorkStarted
    | WorkPaused
    | WorkResumed
    | PartsRequested
    | PartsShipped
    | PartsArrived
    | RepairCompleted
    | InspectionPassed
    | InspectionFailed
    | CallbackDue
    | CallbackRecorded
    | RepairClosed
    | RepairReopened
    | RepairTransferred
    | TransferReturned
    | MergeRequested
    | LinkRequested
    | RepairMerged
    | FaultLinked
    | AdoptionRefused
    | ReportSplit
    | ReleaseRequested
    | ReportAdopted
    | ReportReleased
    | LinkedCaseTold
    | FaultCleared
    | GuardPosted
    | GuardRelieved
    | InterruptionAnnounced
    | NoFaultReported
    | DeclaredNotOurs
    | DeclaredUnableToFix
    | RepairCancelled
)
RepairEvent = Annotated[RepairEvents | SharedEvents, Field(discriminator="type")]


# State


class Appointment(Value):
    """The time agreed with the customer."""

    start: UtcTime
    end: UtcTime
    missed: bool = False


class Interruption(Value):
    """An interruption of supply that customers were told of."""

    start: UtcTime
    end: UtcTime
    reason: Code


class FollowUp(Value):
    """One customer who is to be called after the repair."""

    party: PartyId
    attempts: int = 0
    result: Literal["satisfied", "not_satisfied", "unreachable", "no_consent"] | None = None


class Adopted(Value):
    """A case that was taken in, merged or linked."""

    case: CaseId
    how: Literal["merge", "link"]
    reported_at: UtcTime
    parties: tuple[PartyId, ...]
    """Customers of a merged case, who are called here; a linked one calls its own."""
    premises: tuple[Reference, ...] = ()
    """Where a merged case is."""


class RepairState(CaseState[Stage]):
    """All that `decide` may consult."""

    stage: Stage = Stage.UNREPORTED
    stage_before: Stage | None = None
    """The stage to return to after a pause, a transfer or a split."""
    reported_at: datetime | None = None
    channel: Channel | None = None
    category: Code = "unknown"
    severity: Severity = "common"
    network: bool = False
    asset: Reference | None = None
    party: PartyId | None = None
    source: Reference | None = None
    premises: Reference | None = None
    follow_ups: tuple[FollowUp, ...] = ()
    crew: Subject | None = None
    dispatched_at: datetime | None = None
    arrived_at: datetime | None = None
    fixed_at: datetime | None = None
    appointment: Appointment | None = None
    pause_reason: Code | None = None
    paused_at: datetime | None = None
    pause_ends: datetime | None = None
    parts_wanted: tuple[Code, ...] = ()
    parts_stock: Literal["local", "elsewhere"] | None = None
    waybill: Reference | None = None
    interruption: Interruption | None = None
    """The one announced last."""
    no_access: int = 0
    wait_until: datetime | None = None
    guard: Subject | None = None
    guard_needed: bool = False
    rework: int = 0
    unhappy: int = 0
    transferred_to: Code | None = None
    merged_into: CaseId | None = None
    linked_to: CaseId | None = None
    adopted: tuple[Adopted, ...] = ()

    @property
    def rules(self) -> RepairPolicy:
        return self.policy.repair
