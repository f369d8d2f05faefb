"""Arrears and cutoff (欠费停供): what may be asked of a case, what can happen to it, its state."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.approvals import ApprovalCommands, ApprovalEvents
from schemas.base import (
    CaseId,
    Code,
    Command,
    Day,
    Event,
    Owner,
    PartyId,
    Reference,
    RuleId,
    Subject,
    UtcTime,
    Value,
)
from schemas.case import CaseState, HandOverCase, SharedEvents, TakeCase
from schemas.envelope import DeadlinePassed, RecordAnswer
from schemas.policy import ArrearsPolicy, CustomerClass, HoldKind

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217. A case has one; amounts are integers of its smallest unit (fen, pence)."""
Minor = Annotated[int, Field(gt=0, le=10**12)]
"""An amount in the currency's smallest unit."""
Reading = Annotated[int, Field(ge=0, le=10**12)]
"""A meter's, in litres."""
Diameter = Annotated[int, Field(ge=8, le=2000)]
"""A meter's nominal diameter (DN), in millimetres."""


class Stage(StrEnum):
    """Where a case stands. Holds stop it in any of them; see `holds`."""

    UNOPENED = "Unopened"
    OVERDUE = "Overdue"
    REMINDED = "Reminded"
    NOTICE_SERVED = "NoticeServed"
    ELIGIBLE = "Eligible"
    AWAITING_APPROVAL = "AwaitingApproval"
    AUTHORISED = "Authorised"
    VISIT_DUE = "VisitDue"
    TEMPORARILY_STOPPED = "TemporarilyStopped"
    SELF_REOPENED = "SelfReopened"
    STOP_ORDER_SERVED = "StopOrderServed"
    FULLY_STOPPED = "FullyStopped"
    RECONNECT_DUE = "ReconnectDue"
    PLAN_ACTIVE = "PlanActive"
    PAID = "Paid"
    """Nothing is owed and supply is on; for a while a payment may yet be reversed."""
    CLOSED = "Closed"
    MOVED_OUT = "MovedOut"
    WRITTEN_OFF = "WrittenOff"
    WITHDRAWN = "Withdrawn"


# Values


class Bill(Value):
    """A bill that was not paid in time."""

    bill: Reference
    amount: Minor
    due: Day


class Charge(Value):
    """A bill as the case keeps it: what was billed, and what it should have been (WAT-B6)."""

    bill: Reference
    billed: Minor
    amount: Annotated[int, Field(ge=0, le=10**12)]
    due: date


class Payment(Value):
    """Money that came in. `reversed_at` where it was taken back."""

    payment: Reference
    amount: Minor
    paid_at: UtcTime
    reversed_at: UtcTime | None = None
    covers_month: bool = True
    """False: it covered no whole bill when it came, and stands on the register (WAT-B9)."""


class Contact(Value):
    """A reminder, at the door or by phone, with what shows it (WAT-C1)."""

    at: UtcTime
    how: Literal["door", "phone"]
    evidence: Reference


class Notice(Value):
    """A written notice, and how we know that it arrived (WAT-C2)."""

    kind: Literal["notice", "stop_order"]
    served_at: UtcTime
    how: Literal["door", "registered_letter", "posted_on_door"]
    proof: Reference
    effective_at: UtcTime
    """Its period is over then."""


class Hold(Value):
    """A reason why supply must not be stopped, until it is released or expires."""

    hold: Code
    kind: HoldKind
    source: Reference
    """What shows it, or the other case that placed it."""
    placed_at: UtcTime
    until: UtcTime | None = None
    """When it ends by itself; None: only when it is released."""


class Instalment(Value):
    """A part of what is owed, and by when."""

    amount: Minor
    due: Day


class Plan(Value):
    """What was agreed with the customer; `paid_before` counts what had come in until then."""

    agreed_at: UtcTime
    consent: Reference
    instalments: tuple[Instalment, ...]
    paid_before: int
    hold: Code
    """The hold that stands while it is kept."""


class Guard(Value):
    """One condition of a stop, and whether it held at that instant."""

    name: Code
    rule: RuleId | None
    holds: bool
    proof: Reference | None
    """What shows it: an event by stream and version, a look into the log, a calendar, a case."""


class Permit(Value):
    """A short-lived right to close one valve once."""

    permit: Code
    crew: Subject
    full: bool
    issued_at: UtcTime
    expires_at: UtcTime
    """It ends before this instant, and with the hours and the visit that it was issued in."""
    guards: tuple[Guard, ...]
    state: Literal["issued", "redeemed", "revoked", "expired"] = "issued"
    ended_at: UtcTime | None = None


class Stop(Value):
    """A closed valve."""

    kind: Literal["temporary", "full"]
    at: UtcTime
    crew: Subject
    valve: Reference
    seal: Reference
    reading: int
    permitted: bool
    reopened_at: UtcTime | None = None
    """When the customer opened it himself (WAT-C4a)."""
    restored_at: UtcTime | None = None


# Commands


class OpenArrears(Command):
    """An account is overdue (WAT-C1). One open case per account: its id is made of the account."""

    type: Literal["OpenArrears"] = "OpenArrears"
    account: Reference
    premises: Reference
    reader: Subject | None = None
    """Whose round the account is on (WAT-P1)."""
    dn: Diameter
    customer_class: CustomerClass
    boilers: bool = False
    continuous_production: bool = False
    shared_valve: tuple[Reference, ...] = ()
    """Other premises behind the same valve: nobody may cut them off by the way."""
    vulnerable: bool = False
    """Somebody vulnerable is known to live there: a hold from the beginning."""
    party: PartyId | None = None
    district: Code
    currency: Currency
    bills: Annotated[tuple[Bill, ...], Field(min_length=1)]
    run: Reference
    """The billing run that found it."""


class AddBills(Command):
    """More bills are overdue. Bills that the case knows already change nothing."""

    type: Literal["AddBills"] = "AddBills"
    currency: Currency
    bills: Annotated[tuple[Bill, ...], Field(min_length=1)]
    run: Reference


class RecordContact(Command):
    """The customer was asked to pay, at the door or by phone (WAT-C1)."""

    type: Literal["RecordContact"] = "RecordContact"
    how: Literal["door", "phone"]
    evidence: Reference


class ServeNotice(Command):
    """The written notice was delivered, with proof (WAT-C2)."""

    type: Literal["ServeNotice"] = "ServeNotice"
    how: Literal["door", "registered_letter", "posted_on_door"]
    proof: Reference


class PlaceHold(Command):
    """There is a reason not to stop supply; it revokes a permit in flight."""

    type: Literal["PlaceHold"] = "PlaceHold"
    hold: Code
    """Its name in this case: placed again under it, it is the same, and over once released."""
    kind: HoldKind
    source: Reference
    until: UtcTime | None = None


class ReleaseHold(Command):
    """The reason is gone."""

    type: Literal["ReleaseHold"] = "ReleaseHold"
    hold: Code
    reason: Code


class AgreePlan(Command):
    """Payment by instalments was agreed with the customer."""

    type: Literal["AgreePlan"] = "AgreePlan"
    instalments: Annotated[tuple[Instalment, ...], Field(min_length=1)]
    consent: Reference


class RequestCutoff(Command):
    """Ask for the division head's written approval (WAT-C3)."""

    type: Literal["RequestCutoff"] = "RequestCutoff"
    reason: Code


class AuthoriseCutoff(Command):
    """Where no approval is needed, a supervisor authorises the stop, by name."""

    type: Literal["AuthoriseCutoff"] = "AuthoriseCutoff"


class ScheduleVisit(Command):
    """A crew is to stop supply, in this window."""

    type: Literal["ScheduleVisit"] = "ScheduleVisit"
    crew: Subject
    start: UtcTime
    end: UtcTime


class IssuePermit(Command):
    """The crew at the valve asks whether it may close it, now. Refused with every failed guard."""

    type: Literal["IssuePermit"] = "IssuePermit"
    permit: Code
    crew: Subject
    for_full_stop: bool = False
    premises_open: tuple[CaseId, ...]
    """Open cases on the premises and those on the same valve, as the log shows them now."""
    checked_at: UtcTime
    """When the log was read."""


class RecordValveClosed(Command):
    """A valve was closed (WAT-C2, WAT-C4b). Without a permit it is on record, too: an incident."""

    type: Literal["RecordValveClosed"] = "RecordValveClosed"
    permit: Code | None = None
    crew: Subject
    full: bool = False
    valve: Reference
    seal: Reference
    reading: Reading
    """The meter's, in litres."""


class RecordVisitFailed(Command):
    """Supply was not stopped: nobody in, danger, a vulnerable person at the door."""

    type: Literal["RecordVisitFailed"] = "RecordVisitFailed"
    crew: Subject
    reason: Code
    evidence: Reference
    vulnerable: bool = False
    """Somebody vulnerable lives there: a hold of its own."""


class ReportSelfReopened(Command):
    """The customer has opened the valve himself (WAT-C4a)."""

    type: Literal["ReportSelfReopened"] = "ReportSelfReopened"
    evidence: Reference


class ServeStopOrder(Command):
    """The stop-supply order was served, with its time limit (WAT-C4a)."""

    type: Literal["ServeStopOrder"] = "ServeStopOrder"
    how: Literal["door", "registered_letter", "posted_on_door"]
    proof: Reference


class RecordPayment(Command):
    """Money came in; the same payment again changes nothing."""

    type: Literal["RecordPayment"] = "RecordPayment"
    payment: Reference
    amount: Minor
    currency: Currency
    paid_at: UtcTime


class ReversePayment(Command):
    """Money was taken back: the case goes on where it stood."""

    type: Literal["ReversePayment"] = "ReversePayment"
    payment: Reference
    reason: Code


class CorrectBalance(Command):
    """A bill was wrong: what it should be; 0 where it is none (WAT-B6)."""

    type: Literal["CorrectBalance"] = "CorrectBalance"
    bill: Reference
    amount: Annotated[int, Field(ge=0, le=10**12)]
    currency: Currency
    reason: Code
    evidence: Reference


class RecordReconnected(Command):
    """Supply is on again; the stop register says so (WAT-C4c)."""

    type: Literal["RecordReconnected"] = "RecordReconnected"
    crew: Subject
    seal_removed: Reference
    reading: Reading


class RecordReconnectionFailed(Command):
    """Supply could not be restored; it stays due."""

    type: Literal["RecordReconnectionFailed"] = "RecordReconnectionFailed"
    crew: Subject
    reason: Code
    evidence: Reference


class RecordMoveOut(Command):
    """The customer has left; a new occupant inherits nothing."""

    type: Literal["RecordMoveOut"] = "RecordMoveOut"
    moved_at: UtcTime
    evidence: Reference


class WriteOff(Command):
    """The debt is given up; somebody must approve it (WAT-B3)."""

    type: Literal["WriteOff"] = "WriteOff"
    reason: Code


class WithdrawArrears(Command):
    """It was opened by mistake."""

    type: Literal["WithdrawArrears"] = "WithdrawArrears"
    reason: Code


ArrearsCommand = Annotated[
    OpenArrears
    | AddBills
    | RecordContact
    | ServeNotice
    | PlaceHold
    | ReleaseHold
    | AgreePlan
    | RequestCutoff
    | AuthoriseCutoff
    | ScheduleVisit
    | IssuePermit
    | RecordValveClosed
    | RecordVisitFailed
    | ReportSelfReopened
    | ServeStopOrder
    | RecordPayment
    | ReversePayment
    | CorrectBalance
    | RecordReconnected
    | RecordReconnectionFailed
    | RecordMoveOut
    | WriteOff
    | WithdrawArrears
    | TakeCase
    | HandOverCase
    | ApprovalCommands
    | DeadlinePassed
    | RecordAnswer,
    Field(discriminator="type"),
]


# Events


class ArrearsOpened(Event):
    """An account is overdue; chasing it begins."""

    type: Literal["ArrearsOpened"] = "ArrearsOpened"
    case: CaseId
    policy: str
    account: Reference
    premises: Reference
    reader: Subject | None
    dn: Diameter
    customer_class: CustomerClass
    boilers: bool
    continuous_production: bool
    shared_valve: tuple[Reference, ...]
    vulnerable: bool
    party: PartyId | None
    district: Code
    currency: Currency
    bills: tuple[Bill, ...]
    run: Reference
    owner: Owner


class BillsAdded(Event):
    """More bills are overdue."""

    type: Literal["BillsAdded"] = "BillsAdded"
    bills: tuple[Bill, ...]
    run: Reference
    balance: int


class ContactRecorded(Event):
    """The customer was asked to pay (WAT-C1); `reminded` where enough of it is evidenced now."""

    type: Literal["ContactRecorded"] = "ContactRecorded"
    how: Literal["door", "phone"]
    evidence: Reference
    number: int
    reminded: bool


class NoticeServed(Event):
    """The written notice was delivered (WAT-C2); its period is over at `effective_at`."""

    type: Literal["NoticeServed"] = "NoticeServed"
    how: Literal["door", "registered_letter", "posted_on_door"]
    proof: Reference
    balance: int
    effective_at: UtcTime


class NoticeVoided(Event):
    """The notice, or stop order, no longer counts: a fresh one is needed."""

    type: Literal["NoticeVoided"] = "NoticeVoided"
    kind: Literal["notice", "stop_order"]
    reason: Code


class BecameEligible(Event):
    """The notice's period is over, and it is still unpaid."""

    type: Literal["BecameEligible"] = "BecameEligible"
    approval_needed: bool
    """DN ≥ 40, boilers or continuous production (WAT-C3)."""


class HoldPlaced(Event):
    """There is a reason not to stop supply."""

    type: Literal["HoldPlaced"] = "HoldPlaced"
    hold: Code
    kind: HoldKind
    source: Reference
    until: UtcTime | None


class HoldReleased(Event):
    """The reason is gone."""

    type: Literal["HoldReleased"] = "HoldReleased"
    hold: Code
    reason: Code


class HoldExpired(Event):
    """The hold ended by itself."""

    type: Literal["HoldExpired"] = "HoldExpired"
    hold: Code


class PlanAgreed(Event):
    """Payment by instalments was agreed: no stop while it is kept."""

    type: Literal["PlanAgreed"] = "PlanAgreed"
    hold: Code
    instalments: tuple[Instalment, ...]
    consent: Reference


class PlanBroken(Event):
    """An instalment was not paid in time: the case goes on where it stood."""

    type: Literal["PlanBroken"] = "PlanBroken"
    due: date
    expected: int
    received: int


class PlanKept(Event):
    """The last instalment is paid."""

    type: Literal["PlanKept"] = "PlanKept"


class CutoffAuthorised(Event):
    """The stop may be scheduled: by approval where WAT-C3 needs one, else by a supervisor."""

    type: Literal["CutoffAuthorised"] = "CutoffAuthorised"
    approval: Code | None
    by: Subject


class AuthorisationLapsed(Event):
    """What it rested on changed, or it was refused: it must be authorised anew."""

    type: Literal["AuthorisationLapsed"] = "AuthorisationLapsed"
    reason: Code


class VisitScheduled(Event):
    """A crew is to stop supply in this window."""

    type: Literal["VisitScheduled"] = "VisitScheduled"
    crew: Subject
    start: UtcTime
    end: UtcTime


class VisitMissed(Event):
    """The window passed and supply was not stopped."""

    type: Literal["VisitMissed"] = "VisitMissed"
    end: UtcTime


class VisitCancelled(Event):
    """The visit is off: what it rested on is gone."""

    type: Literal["VisitCancelled"] = "VisitCancelled"
    crew: Subject
    reason: Code


class PermitIssued(Event):
    """The crew may close the valve once, before `expires_at`; every guard held at that instant."""

    type: Literal["PermitIssued"] = "PermitIssued"
    permit: Code
    crew: Subject
    full: bool
    expires_at: UtcTime
    checked_at: UtcTime
    guards: tuple[Guard, ...]


class PermitRevoked(Event):
    """A payment, dispute or vulnerability came in between: the valve stays open.

    It is revoked from when we heard of that, not from when it happened.
    """

    type: Literal["PermitRevoked"] = "PermitRevoked"
    permit: Code
    reason: Code


class PermitExpired(Event):
    """It was not used in time."""

    type: Literal["PermitExpired"] = "PermitExpired"
    permit: Code


class ValveClosed(Event):
    """A valve was closed; the stop register says so (WAT-C4c)."""

    type: Literal["ValveClosed"] = "ValveClosed"
    kind: Literal["temporary", "full"]
    permit: Code | None
    """The one that it redeems; None where there was none that held: see `UnpermittedCut`."""
    crew: Subject
    valve: Reference
    seal: Reference
    reading: int


class UnpermittedCut(Event):
    """A valve was closed without a permit that held: an incident for the top of the ladder."""

    type: Literal["UnpermittedCut"] = "UnpermittedCut"
    crew: Subject
    permit: Code | None
    """The one that was claimed."""
    reason: Code
    guards: tuple[Guard, ...]
    """As they stood at the closing, by what the case knew when it heard of it."""


class VisitFailed(Event):
    """Supply was not stopped."""

    type: Literal["VisitFailed"] = "VisitFailed"
    crew: Subject
    reason: Code
    evidence: Reference


class SelfReopened(Event):
    """The customer opened the valve himself (WAT-C4a)."""

    type: Literal["SelfReopened"] = "SelfReopened"
    evidence: Reference


class StopOrderServed(Event):
    """The stop-supply order was served; unpaid at `effective_at`, supply is stopped in full."""

    type: Literal["StopOrderServed"] = "StopOrderServed"
    how: Literal["door", "registered_letter", "posted_on_door"]
    proof: Reference
    effective_at: UtcTime


class PaymentReceived(Event):
    """Money came in; `part` where it covered no whole bill and stands on the register (WAT-B9)."""

    type: Literal["PaymentReceived"] = "PaymentReceived"
    payment: Reference
    amount: Minor
    paid_at: UtcTime
    balance: int
    part: bool


class PaymentReversed(Event):
    """Money was taken back."""

    type: Literal["PaymentReversed"] = "PaymentReversed"
    payment: Reference
    reason: Code
    balance: int


class BalanceCorrected(Event):
    """A bill was wrong."""

    type: Literal["BalanceCorrected"] = "BalanceCorrected"
    bill: Reference
    amount: int
    reason: Code
    evidence: Reference
    balance: int


class DebtSettled(Event):
    """What is owed fell below the threshold: chasing ends, and a stopped supply is restored."""

    type: Literal["DebtSettled"] = "DebtSettled"
    balance: int


class DebtRevived(Event):
    """A payment was taken back, or a bill came: the case goes on at the stage where it stood."""

    type: Literal["DebtRevived"] = "DebtRevived"
    balance: int
    stage: Stage


class SupplyRestored(Event):
    """Supply is on again; the stop register says so (WAT-C4c)."""

    type: Literal["SupplyRestored"] = "SupplyRestored"
    crew: Subject
    seal_removed: Reference
    reading: int


class ReconnectionFailed(Event):
    """Supply could not be restored yet; it stays due."""

    type: Literal["ReconnectionFailed"] = "ReconnectionFailed"
    crew: Subject
    reason: Code
    evidence: Reference


class MovedOut(Event):
    """The customer left; a stopped supply is to be restored for whoever comes."""

    type: Literal["MovedOut"] = "MovedOut"
    moved_at: UtcTime
    evidence: Reference
    balance: int


class WriteOffRequested(Event):
    """Giving up the debt was asked for."""

    type: Literal["WriteOffRequested"] = "WriteOffRequested"
    reason: Code


class DebtWrittenOff(Event):
    """The debt was given up, with approval (WAT-B3)."""

    type: Literal["DebtWrittenOff"] = "DebtWrittenOff"
    balance: int


class ArrearsWithdrawn(Event):
    """It was opened by mistake."""

    type: Literal["ArrearsWithdrawn"] = "ArrearsWithdrawn"
    reason: Code


class ArrearsClosed(Event):
    """Paid, supply on, and no payment can be reversed any more."""

    type: Literal["ArrearsClosed"] = "ArrearsClosed"


ArrearsEvents = (
    ArrearsOpened
    | BillsAdded
    | ContactRecorded
    | NoticeServed
    | NoticeVoided
    | BecameEligible
    | HoldPlaced
    | HoldReleased
    | HoldExpired
    | PlanAgreed
    | PlanBroken
    | PlanKept
    | CutoffAuthorised
    | AuthorisationLapsed
    | VisitScheduled
    | VisitMissed
    | VisitCancelled
    | PermitIssued
    | PermitRevoked
    | PermitExpired
    | ValveClosed
    | UnpermittedCut
    | VisitFailed
    | SelfReopened
    | StopOrderServed
    | PaymentReceived
    | PaymentReversed
    | BalanceCorrected
    | DebtSettled
    | DebtRevived
    | SupplyRestored
    | ReconnectionFailed
    | MovedOut
    | WriteOffRequested
    | DebtWrittenOff
    | ArrearsWithdrawn
    | ArrearsClosed
)
ArrearsEvent = Annotated[ArrearsEvents | SharedEvents | ApprovalEvents, Field(discriminator="type")]


# State


class ArrearsState(CaseState[Stage]):
    """All that `decide` may consult. The stage follows from the rest."""

    stage: Stage = Stage.UNOPENED
    happened: int = 0
    """So many events: the stream's version."""
    shown_by: dict[Code, int] = Field(default_factory=dict[Code, int])
    """The version of the event that last settled each condition of a stop."""
    opened_at: datetime | None = None
    account: Reference | None = None
    premises: Reference | None = None
    run: Reference | None = None
    reader: Subject | None = None
    dn: int = 0
    customer_class: CustomerClass = "household"
    boilers: bool = False
    continuous_production: bool = False
    shared_valve: tuple[Reference, ...] = ()
    party: PartyId | None = None
    currency: Currency | None = None
    bills: tuple[Charge, ...] = ()
    payments: tuple[Payment, ...] = ()
    settled_at: datetime | None = None
    """Since when less than the threshold has been owed; None: it is owed."""
    contacts: tuple[Contact, ...] = ()
    reminded_at: datetime | None = None
    notice: Notice | None = None
    eligible: bool = False
    """The notice's period is over."""
    stop_order: Notice | None = None
    voided: tuple[Reference, ...] = ()
    """Proofs of notices that no longer count."""
    voided_at: datetime | None = None
    holds: tuple[Hold, ...] = ()
    """Those that stand now."""
    released: tuple[Code, ...] = ()
    """The names of those that are over."""
    plan: Plan | None = None
    plans: int = 0
    authorised_by: Subject | None = None
    approval: Code | None = None
    """The approval that authorises the stop (WAT-C3)."""
    visit_crew: Subject | None = None
    visit_start: datetime | None = None
    visit_end: datetime | None = None
    failed_visits: tuple[Reference, ...] = ()
    """What shows each of them."""
    permits: tuple[Permit, ...] = ()
    stops: tuple[Stop, ...] = ()
    """Every closing of a valve, in order."""
    supply: Literal["on", "temporarily_stopped", "self_reopened", "fully_stopped"] = "on"
    """As the stop register has it (WAT-C4c)."""
    wrongful: bool = False
    """Supply is off by a closing without a permit: it is to be restored, whatever is owed."""
    reconnect: bool = False
    """What supply was stopped for was paid, but something else is owed by now."""
    restored_at: datetime | None = None
    seal_removed: Reference | None = None
    failed_reconnections: tuple[Reference, ...] = ()
    """What shows each of them."""
    write_off: Code | None = None
    """Why giving up the debt is asked for."""
    incidents: int = 0
    ends_as: Stage | None = None
    """How it ends, as soon as supply is on."""

    @property
    def rules(self) -> ArrearsPolicy:
        if self.policy.arrears is None:
            raise LookupError("the policy has no arrears section")
        return self.policy.arrears
