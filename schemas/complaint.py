"""Complaint (投诉): what may be asked of a case, what can happen to it, its state."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from schemas.approvals import ApprovalCommands, ApprovalEvents
from schemas.base import (
    CaseCommand,
    CaseId,
    Code,
    Command,
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
from schemas.policy import Cause, Channel, ComplaintPolicy, ContactField, Gravity, Outcome


class Stage(StrEnum):
    """Where a complaint stands."""

    UNREGISTERED = "Unregistered"
    REGISTERED = "Registered"
    SCREENED = "Screened"
    HANDED_OVER = "HandedOver"
    RETURNED = "Returned"
    ARBITRATED = "Arbitrated"
    ACKNOWLEDGED = "Acknowledged"
    INVESTIGATING = "Investigating"
    AWAITING_CUSTOMER = "AwaitingCustomer"
    ANSWERED = "Answered"
    FOLLOW_UP = "FollowUp"
    REDO = "Redo"
    APPEALED = "Appealed"
    OUT_OF_JURISDICTION = "OutOfJurisdiction"
    CLOSED = "Closed"
    REFERRED = "Referred"
    WITHDRAWN = "Withdrawn"
    MERGED_AS_REPEAT = "MergedAsRepeat"
    EXTERNAL = "External"


class Accused(Value):
    """A member of staff whom the complaint is about, and whom they report to."""

    staff: Subject
    reports_to: Subject | None = None


class Finding(Value):
    """What was found about one accused. A later revision replaces the earlier one."""

    staff: Subject
    revision: int
    outcome: Outcome
    gravity: Gravity
    cause: Cause
    conduct_at: UtcTime
    """When the conduct was."""
    decided_at: UtcTime
    decided_by: Subject
    apologised: Reference | None = None
    """The record of the apology (GAS-2.6)."""
    apology_waived: Code | None = None
    """Why none is owed after all."""


class AppealFinding(Value):
    """What the level above finds about one accused."""

    staff: Subject
    outcome: Outcome
    gravity: Gravity = "light"
    cause: Cause = "carelessness"


MOST_ACCUSED = 50
"""So many fit into whatever one case is told of another."""

Concerned = Annotated[tuple[Accused, ...], Field(max_length=MOST_ACCUSED)]


# Commands


class RegisterComplaint(Command):
    """Somebody complains (KUN-5.4.1), or informs in confidence (WAT-2.5)."""

    type: Literal["RegisterComplaint"] = "RegisterComplaint"
    channel: Channel
    about: Literal["staff", "case", "place", "service"]
    category: Code
    district: Code
    accused: Concerned = ()
    """Needed where it is about staff."""
    about_case: CaseId | None = None
    """Needed where it is about a case."""
    place: Reference | None = None
    """Needed where it is about a place: its number."""
    party: PartyId | None = None
    """Who complains; None where they stay anonymous."""
    anonymous: bool = False
    confidential: bool = False
    """An informant: their identity is sealed to the roles that the vault names (WAT-2.5)."""
    recorded: tuple[ContactField, ...] = ()
    """Which of the party's particulars are on record in the vault."""
    text: Reference | None = None
    """Where the complaint itself is kept (KUN-6.1.16): a letter's, a recording's number."""
    priority: bool = False
    premises: Reference | None = Field(default=None, exclude_if=nothing)
    """Where the complainant is supplied, as arrears know the place: no stop there meanwhile."""


class ScreenComplaint(Command):
    """It is ours to answer: what it is, how grave, and about whom."""

    type: Literal["ScreenComplaint"] = "ScreenComplaint"
    category: Code
    gravity: Gravity
    accused: Concerned = ()
    """Those found to be concerned beside whom the complainant named."""


class DeclareOutOfJurisdiction(Command):
    """It is not ours to answer; the complainant is told why."""

    type: Literal["DeclareOutOfJurisdiction"] = "DeclareOutOfJurisdiction"
    reason: Code


class ReferComplaint(Command):
    """It was passed on to whom it concerns."""

    type: Literal["ReferComplaint"] = "ReferComplaint"
    to: Code
    reference: Reference


class HandOverComplaint(Command):
    """Pass it to the responsible department (KUN-5.4.1)."""

    type: Literal["HandOverComplaint"] = "HandOverComplaint"
    department: Subject


class AcknowledgeComplaint(Command):
    """The department takes it: the actor owns it from here (ADM-1)."""

    type: Literal["AcknowledgeComplaint"] = "AcknowledgeComplaint"


class ReturnComplaint(Command):
    """The department gives it back as not its own, on a ground."""

    type: Literal["ReturnComplaint"] = "ReturnComplaint"
    ground: Code
    evidence: Reference


class ArbitrateReturn(Command):
    """A supervisor decides whose it is; it cannot be returned again."""

    type: Literal["ArbitrateReturn"] = "ArbitrateReturn"
    department: Subject
    reason: Code


class StartInvestigation(Command):
    """The actor looks into it (KUN-2.2.6)."""

    type: Literal["StartInvestigation"] = "StartInvestigation"


class AskCustomer(Command):
    """Something must be known from the complainant."""

    type: Literal["AskCustomer"] = "AskCustomer"
    question: Reference
    """Where the question is kept; its words are in the vault."""


class RecordCustomerReply(Command):
    """The complainant answered the question."""

    type: Literal["RecordCustomerReply"] = "RecordCustomerReply"
    evidence: Reference


class RequestExtension(Command):
    """Ask for more time for the answer; somebody must approve it."""

    type: Literal["RequestExtension"] = "RequestExtension"
    until: UtcTime
    reason: Code
    evidence: Reference


class EscalateComplaint(Command):
    """It can't be solved here: up to the next level; the complainant is told why (CNPC-2.6b)."""

    type: Literal["EscalateComplaint"] = "EscalateComplaint"
    to: Owner
    reason: Code


class DecideFinding(Command):
    """What is found about one accused; not upheld needs a reason (ADM-5)."""

    type: Literal["DecideFinding"] = "DecideFinding"
    staff: Subject
    outcome: Outcome
    gravity: Gravity = "light"
    cause: Cause = "carelessness"
    conduct_at: UtcTime
    evidence: Reference
    reason: Code | None = None


class AnswerComplaint(Command):
    """The answer to the complainant (KUN-2.2.6); not upheld needs a reason (ADM-5)."""

    type: Literal["AnswerComplaint"] = "AnswerComplaint"
    outcome: Outcome
    answer: Reference
    """Where the answer is kept."""
    reason: Code | None = None


class RecordFollowUp(Command):
    """The follow-up call (回访, KUN-5.6): consent first; without it the call ends there."""

    type: Literal["RecordFollowUp"] = "RecordFollowUp"
    consent: bool = False
    result: Literal["satisfied", "not_satisfied", "unreachable", "no_consent"]


class OrderRedo(Command):
    """The answer is not good enough: back to the investigation, on the original clock."""

    type: Literal["OrderRedo"] = "OrderRedo"
    reason: Code


class CloseComplaint(Command):
    """The complainant is not satisfied, and a supervisor finds the answer right all the same."""

    type: Literal["CloseComplaint"] = "CloseComplaint"
    reason: Code


class RecordApology(Command):
    """Whoever was at fault has apologised (GAS-2.6)."""

    type: Literal["RecordApology"] = "RecordApology"
    staff: Subject
    evidence: Reference


class WaiveApology(Command):
    """The complainant does not want the apology, or it cannot be made."""

    type: Literal["WaiveApology"] = "WaiveApology"
    staff: Subject
    reason: Code


class RewardInformant(Command):
    """The informant was rewarded (WAT-2.5)."""

    type: Literal["RewardInformant"] = "RewardInformant"
    evidence: Reference


class AppealComplaint(Command):
    """The complainant goes to the level above (WIN-3.4.3)."""

    type: Literal["AppealComplaint"] = "AppealComplaint"
    ground: Code
    evidence: Reference


class ConfirmDecision(Command):
    """The level above finds the decision right."""

    type: Literal["ConfirmDecision"] = "ConfirmDecision"
    reason: Code
    answer: Reference


class OverturnDecision(Command):
    """The level above decides otherwise, about each accused."""

    type: Literal["OverturnDecision"] = "OverturnDecision"
    outcome: Outcome
    findings: tuple[AppealFinding, ...] = ()
    reason: Code
    answer: Reference


class ReferExternal(Command):
    """The complainant goes to a body outside; our handling ends."""

    type: Literal["ReferExternal"] = "ReferExternal"
    body: Code
    reference: Reference


class WithdrawComplaint(Command):
    """The complainant withdraws it; a finding stays a finding."""

    type: Literal["WithdrawComplaint"] = "WithdrawComplaint"
    reason: Code


class MergeRepeat(Command):
    """The same matter is a complaint already: this one goes on there."""

    type: Literal["MergeRepeat"] = "MergeRepeat"
    case: CaseId


class AdoptComplaint(CaseCommand):
    """Another complaint asks this one to take it in as a repeat."""

    type: Literal["AdoptComplaint"] = "AdoptComplaint"
    case: CaseId
    registered_at: UtcTime
    party: PartyId | None = None
    accused: tuple[Accused, ...] = ()
    premises: tuple[Reference, ...] = Field(default=(), exclude_if=nothing)
    """Where it is: it stays open there in this one."""


ComplaintCommand = Annotated[
    RegisterComplaint
    | ScreenComplaint
    | DeclareOutOfJurisdiction
    | ReferComplaint
    | HandOverComplaint
    | AcknowledgeComplaint
    | ReturnComplaint
    | ArbitrateReturn
    | TakeCase
    | HandOverCase
    | EscalateComplaint
    | StartInvestigation
    | AskCustomer
    | RecordCustomerReply
    | RequestExtension
    | DecideFinding
    | AnswerComplaint
    | RecordFollowUp
    | OrderRedo
    | CloseComplaint
    | RecordApology
    | WaiveApology
    | RewardInformant
    | AppealComplaint
    | ConfirmDecision
    | OverturnDecision
    | ReferExternal
    | WithdrawComplaint
    | MergeRepeat
    | AdoptComplaint
    | ApprovalCommands
    | DeadlinePassed
    | RecordAnswer,
    Field(discriminator="type"),
]


# Events


class ComplaintRegistered(Event):
    """Somebody complained; the complainant's clock starts here and never starts again."""

    type: Literal["ComplaintRegistered"] = "ComplaintRegistered"
    case: CaseId
    policy: str
    """The pinned policy's hash."""
    channel: Channel
    about: Literal["staff", "case", "place", "service"]
    category: Code
    gravity: Gravity
    district: Code
    accused: tuple[Accused, ...]
    about_case: CaseId | None
    place: Reference | None
    party: PartyId | None
    anonymous: bool
    confidential: bool
    text: Reference | None
    priority: bool
    owner: Owner
    premises: Reference | None = Field(default=None, exclude_if=nothing)


class ComplaintScreened(Event):
    """It is ours: what it is, how grave, about whom."""

    type: Literal["ComplaintScreened"] = "ComplaintScreened"
    category: Code
    gravity: Gravity
    accused: tuple[Accused, ...]
    """All of them, now."""


class DeclaredOutOfJurisdiction(Event):
    """It is not ours to answer."""

    type: Literal["DeclaredOutOfJurisdiction"] = "DeclaredOutOfJurisdiction"
    reason: Code


class ComplaintReferred(Event):
    """It was passed on to whom it concerns, and ends here."""

    type: Literal["ComplaintReferred"] = "ComplaintReferred"
    to: Code
    reference: Reference


class ComplaintHandedOver(Event):
    """The responsible department has it; that owns it until a person takes it."""

    type: Literal["ComplaintHandedOver"] = "ComplaintHandedOver"
    department: Subject
    owner: Owner


class ComplaintAcknowledged(Event):
    """The department took it."""

    type: Literal["ComplaintAcknowledged"] = "ComplaintAcknowledged"
    owner: Owner


class ComplaintReturned(Event):
    """The department gave it back; `arbitrate` where a supervisor must now decide whose it is."""

    type: Literal["ComplaintReturned"] = "ComplaintReturned"
    department: Subject
    ground: Code
    evidence: Reference
    returns: int
    arbitrate: bool
    owner: Owner


class ReturnArbitrated(Event):
    """A supervisor decided whose it is, for good."""

    type: Literal["ReturnArbitrated"] = "ReturnArbitrated"
    department: Subject
    reason: Code
    owner: Owner


class InvestigationStarted(Event):
    """Somebody looks into it."""

    type: Literal["InvestigationStarted"] = "InvestigationStarted"
    investigator: Subject


class CustomerAsked(Event):
    """The complainant was asked for something; the wait ends by itself at `until`."""

    type: Literal["CustomerAsked"] = "CustomerAsked"
    question: Reference
    until: UtcTime


class CustomerReplied(Event):
    """The complainant answered, or did not within the time; `evidence` is None then."""

    type: Literal["CustomerReplied"] = "CustomerReplied"
    evidence: Reference | None


class ExtensionRequested(Event):
    """More time for the answer was asked for."""

    type: Literal["ExtensionRequested"] = "ExtensionRequested"
    until: UtcTime
    reason: Code
    evidence: Reference


class ExtensionGranted(Event):
    """The answer is due later; the complainant is told until when and why."""

    type: Literal["ExtensionGranted"] = "ExtensionGranted"
    until: UtcTime
    reason: Code


class ComplaintEscalated(Event):
    """It went up a level, and the complainant is told why (CNPC-2.6b)."""

    type: Literal["ComplaintEscalated"] = "ComplaintEscalated"
    owner: Owner
    reason: Code


class FindingDecided(Event):
    """What was found about one accused; the staff file is told of what counts."""

    type: Literal["FindingDecided"] = "FindingDecided"
    staff: Subject
    revision: int
    outcome: Outcome
    gravity: Gravity
    cause: Cause
    conduct_at: UtcTime
    decided_by: Subject
    evidence: Reference
    reason: Code | None
    appeal: bool
    """Whether the level above found it."""


class ComplaintAnswered(Event):
    """The complainant has the answer (KUN-2.2.6)."""

    type: Literal["ComplaintAnswered"] = "ComplaintAnswered"
    outcome: Outcome
    answer: Reference
    reason: Code | None
    answered_by: Subject


class FollowUpDue(Event):
    """The complainant is to be called (回访)."""

    type: Literal["FollowUpDue"] = "FollowUpDue"


class FollowUpRecorded(Event):
    """A follow-up call and its result."""

    type: Literal["FollowUpRecorded"] = "FollowUpRecorded"
    result: Literal["satisfied", "not_satisfied", "unreachable", "no_consent"]
    attempt: int
    done: bool


class RedoOrdered(Event):
    """The answer was not good enough; the original clock holds."""

    type: Literal["RedoOrdered"] = "RedoOrdered"
    reason: Code
    redo: int
    owner: Owner


class DissatisfactionReviewed(Event):
    """A supervisor found the answer right, though the complainant is not satisfied."""

    type: Literal["DissatisfactionReviewed"] = "DissatisfactionReviewed"
    reason: Code


class ApologyRecorded(Event):
    """Whoever was at fault has apologised (GAS-2.6)."""

    type: Literal["ApologyRecorded"] = "ApologyRecorded"
    staff: Subject
    evidence: Reference


class ApologyWaived(Event):
    """No apology is owed after all."""

    type: Literal["ApologyWaived"] = "ApologyWaived"
    staff: Subject
    reason: Code


class InformantRewarded(Event):
    """The informant was rewarded (WAT-2.5)."""

    type: Literal["InformantRewarded"] = "InformantRewarded"
    evidence: Reference


class ComplaintAppealed(Event):
    """The complainant went to the level above (WIN-3.4.3)."""

    type: Literal["ComplaintAppealed"] = "ComplaintAppealed"
    ground: Code
    evidence: Reference
    owner: Owner


class AppealDecided(Event):
    """The level above confirmed the decision, or decided otherwise."""

    type: Literal["AppealDecided"] = "AppealDecided"
    decision: Literal["confirmed", "overturned"]
    outcome: Outcome
    reason: Code
    answer: Reference
    decided_by: Subject


class ComplaintClosed(Event):
    """The case is done and the complainant told (ADM-6)."""

    type: Literal["ComplaintClosed"] = "ComplaintClosed"
    outcome: Outcome


class ReferredExternal(Event):
    """A body outside has it now."""

    type: Literal["ReferredExternal"] = "ReferredExternal"
    body: Code
    reference: Reference


class ComplaintWithdrawn(Event):
    """The complainant withdrew it."""

    type: Literal["ComplaintWithdrawn"] = "ComplaintWithdrawn"
    reason: Code


class RepeatMergeRequested(Event):
    """The other complaint was asked to take this one in."""

    type: Literal["RepeatMergeRequested"] = "RepeatMergeRequested"
    case: CaseId


class MergedAsRepeat(Event):
    """This complaint goes on in the other."""

    type: Literal["MergedAsRepeat"] = "MergedAsRepeat"
    case: CaseId


class RepeatMergeRefused(Event):
    """The other complaint would not take this one in; it goes on by itself."""

    type: Literal["RepeatMergeRefused"] = "RepeatMergeRefused"
    case: CaseId
    reasons: tuple[str, ...]


class ComplaintAdopted(Event):
    """A repeat was taken in; the earliest clock counts."""

    type: Literal["ComplaintAdopted"] = "ComplaintAdopted"
    case: CaseId
    registered_at: UtcTime
    party: PartyId | None
    accused: tuple[Accused, ...]
    premises: tuple[Reference, ...] = Field(default=(), exclude_if=nothing)


ComplaintEvents = (
    ComplaintRegistered
    | ComplaintScreened
    | DeclaredOutOfJurisdiction
    | ComplaintReferred
    | ComplaintHandedOver
    | ComplaintAcknowledged
    | ComplaintReturned
    | ReturnArbitrated
    | InvestigationStarted
    | CustomerAsked
    | CustomerReplied
    | ExtensionRequested
    | ExtensionGranted
    | ComplaintEscalated
    | FindingDecided
    | ComplaintAnswered
    | FollowUpDue
    | FollowUpRecorded
    | RedoOrdered
    | DissatisfactionReviewed
    | ApologyRecorded
    | ApologyWaived
    | InformantRewarded
    | ComplaintAppealed
    | AppealDecided
    | ComplaintClosed
    | ReferredExternal
    | ComplaintWithdrawn
    | RepeatMergeRequested
    | MergedAsRepeat
    | RepeatMergeRefused
    | ComplaintAdopted
)
ComplaintEvent = Annotated[
    ComplaintEvents | SharedEvents | ApprovalEvents, Field(discriminator="type")
]


# State


class Repeat(Value):
    """A complaint about the same matter that was taken in."""

    case: CaseId
    registered_at: UtcTime
    party: PartyId | None


class Extension(Value):
    """More time that was asked for."""

    until: UtcTime
    reason: Code


class ComplaintState(CaseState[Stage]):
    """All that `decide` may consult."""

    stage: Stage = Stage.UNREGISTERED
    registered_at: datetime | None = None
    channel: Channel | None = None
    about: Literal["staff", "case", "place", "service"] | None = None
    category: Code = "unknown"
    gravity: Gravity = "light"
    accused: tuple[Accused, ...] = ()
    about_case: CaseId | None = None
    place: Reference | None = None
    premises: Reference | None = None
    party: PartyId | None = None
    anonymous: bool = False
    confidential: bool = False
    text: Reference | None = None
    department: Subject | None = None
    returns: int = 0
    arbitrated: bool = False
    investigator: Subject | None = None
    investigating_since: datetime | None = None
    """Since when this answer is being worked on; not before the redo that asked for it."""
    question: Reference | None = None
    """What the complainant was asked and has not answered."""
    asked_at: datetime | None = None
    asked_until: datetime | None = None
    """The end of the wait for the complainant's reply."""
    waited: timedelta = timedelta(0)
    """How long the complainant was waited for before, whatever the questions were."""
    reply: Reference | None = None
    """The complainant's last reply."""
    extension: Extension | None = None
    """The one being asked for."""
    extensions: int = 0
    """Granted so far."""
    findings: tuple[Finding, ...] = ()
    """The last revision of each accused's."""
    outcome: Outcome | None = None
    answered_at: datetime | None = None
    answered_by: Subject | None = None
    attempts: int = 0
    follow_up: Literal["satisfied", "not_satisfied", "unreachable", "no_consent"] | None = None
    reviewed: bool = False
    """Whether a supervisor has looked at the dissatisfaction."""
    redo: int = 0
    redone_at: datetime | None = None
    """When the last redo was ordered."""
    appeals: int = 0
    appealed_at: datetime | None = None
    appeal_decision: Literal["confirmed", "overturned"] | None = None
    rewarded: bool = False
    declined: Code | None = None
    """Why it is not ours to answer."""
    merged_into: CaseId | None = None
    repeats: tuple[Repeat, ...] = ()

    @property
    def rules(self) -> ComplaintPolicy:
        if self.policy.complaint is None:
            raise LookupError("the policy has no complaint section")
        return self.policy.complaint
