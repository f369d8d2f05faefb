"""Staff file (投诉记录): what upheld complaints mean for somebody; its events and state."""

import re
from datetime import date, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field

from schemas.approvals import ApprovalCommands, ApprovalEvents
from schemas.base import (
    CaseCommand,
    CaseId,
    Code,
    Command,
    Event,
    Organisation,
    Owner,
    Reference,
    Subject,
    UtcTime,
    Value,
)
from schemas.case import CaseState, HandOverCase, SharedEvents, TakeCase
from schemas.envelope import DeadlinePassed, RecordAnswer
from schemas.policy import Cause, ConductPolicy, Gravity, Outcome


def conduct_id(organisation: Organisation, staff: Subject) -> CaseId:
    """The case that is a member of staff's file; a staff number's capitals do not matter.

    Names that cannot stand in a case's name, or could be mistaken, are hashed: the first half of
    their SHA-256, in hex.
    """
    known = staff.casefold()
    name = f"{organisation}--{known}"
    plain = re.fullmatch(r"[a-z0-9-]{1,60}", name) and not organisation.endswith("-")
    if plain and name.count("--") == 1:
        return f"conduct-{name}"
    return f"conduct-x{sha256(f'{organisation}/{known}'.encode()).hexdigest()[:32]}"


class Stage(StrEnum):
    """Where a staff file stands. What is most grave names it."""

    UNOPENED = "Unopened"
    AT_REST = "AtRest"
    """Nothing counts and nothing is to be done: the workflow ends until the next finding."""
    MARKED = "Marked"
    """A finding still counts."""
    UNDER_INVESTIGATION = "UnderInvestigation"
    REASSIGNMENT_PROPOSED = "ReassignmentProposed"
    """The right of reply runs."""
    AWAITING_APPROVAL = "AwaitingApproval"
    REASSIGNED = "Reassigned"


FindingId = Annotated[str, Field(pattern=r"^complaint-[a-z0-9-]{1,60}/[A-Za-z0-9._:-]{1,64}$")]
"""The complaint's case id and the staff number: the same however often it is told."""


class RecordFinding(CaseCommand):
    """A complaint tells of its finding about this person; the highest revision counts.

    Told twice, or late after a higher revision, it changes nothing. Opens the file.
    """

    type: Literal["RecordFinding"] = "RecordFinding"
    staff: Subject
    reports_to: Subject | None = None
    finding: FindingId
    complaint: CaseId
    revision: Annotated[int, Field(ge=1)]
    outcome: Outcome
    gravity: Gravity
    cause: Cause
    conduct_at: UtcTime
    decided_at: UtcTime
    """When the final decision was made."""


class RecordMeasure(Command):
    """The measure that fell due was taken: a warning was given, a grade lowered (WIN-2.5.1)."""

    type: Literal["RecordMeasure"] = "RecordMeasure"
    finding: FindingId
    evidence: Reference


class ConcludeInvestigation(Command):
    """A serious breach was judged (WIN-2.5.2); without a penalty a reason is needed (ADM-5)."""

    type: Literal["ConcludeInvestigation"] = "ConcludeInvestigation"
    finding: FindingId
    penalty: Code | None = None
    reason: Code | None = None
    evidence: Reference


class RecordReply(Command):
    """The person replied to the proposed reassignment."""

    type: Literal["RecordReply"] = "RecordReply"
    evidence: Reference


class RecordRedress(Command):
    """What an overturned finding had led to was made good."""

    type: Literal["RecordRedress"] = "RecordRedress"
    finding: FindingId
    evidence: Reference


ConductCommand = Annotated[
    RecordFinding
    | RecordMeasure
    | ConcludeInvestigation
    | RecordReply
    | RecordRedress
    | TakeCase
    | HandOverCase
    | ApprovalCommands
    | DeadlinePassed
    | RecordAnswer,
    Field(discriminator="type"),
]


# Events


class StaffFileOpened(Event):
    """A first finding was told: the file begins."""

    type: Literal["StaffFileOpened"] = "StaffFileOpened"
    case: CaseId
    policy: str
    staff: Subject
    owner: Owner


class FindingRecorded(Event):
    """A finding counts, from which day and until which (the day on which it no longer does)."""

    type: Literal["FindingRecorded"] = "FindingRecorded"
    finding: FindingId
    complaint: CaseId
    revision: int
    outcome: Outcome
    gravity: Gravity
    cause: Cause
    reports_to: Subject | None
    counts_on: date
    counts_until: date
    strike: bool
    """Whether it counts towards a reassignment (WAT-3.2b)."""


class FindingOverturned(Event):
    """A finding does not stand: its strike and mark are gone."""

    type: Literal["FindingOverturned"] = "FindingOverturned"
    finding: FindingId
    complaint: CaseId
    revision: int


class MarkEntered(Event):
    """A black mark went on the board (WAT-3.2a)."""

    type: Literal["MarkEntered"] = "MarkEntered"
    finding: FindingId


class MarkRemoved(Event):
    """The mark was taken off: it expired, or its finding was overturned."""

    type: Literal["MarkRemoved"] = "MarkRemoved"
    finding: FindingId
    reason: Literal["expired", "overturned"]


class FindingExpired(Event):
    """The window rolled on: the finding counts no more."""

    type: Literal["FindingExpired"] = "FindingExpired"
    finding: FindingId


class MeasureDue(Event):
    """A measure is to be taken: the next step of the ladder (WIN-2.5.1)."""

    type: Literal["MeasureDue"] = "MeasureDue"
    finding: FindingId
    measure: Code
    step: int
    commitments: tuple[Code, ...] = ()
    """The promises to do it in time."""


class MeasureTaken(Event):
    """The measure was taken."""

    type: Literal["MeasureTaken"] = "MeasureTaken"
    finding: FindingId
    measure: Code
    by: Subject
    evidence: Reference


class MeasureWithdrawn(Event):
    """The measure is no longer to be taken: its finding was overturned."""

    type: Literal["MeasureWithdrawn"] = "MeasureWithdrawn"
    finding: FindingId
    measure: Code


class InvestigationOpened(Event):
    """A serious breach is investigated at once (WIN-2.5.2)."""

    type: Literal["InvestigationOpened"] = "InvestigationOpened"
    finding: FindingId
    commitments: tuple[Code, ...] = ()
    """The promises to do it in time."""


class InvestigationConcluded(Event):
    """It was judged, with a penalty or without."""

    type: Literal["InvestigationConcluded"] = "InvestigationConcluded"
    finding: FindingId
    penalty: Code | None
    reason: Code | None
    by: Subject
    evidence: Reference


class InvestigationDropped(Event):
    """The finding was overturned before it was judged."""

    type: Literal["InvestigationDropped"] = "InvestigationDropped"
    finding: FindingId


class ReassignmentProposed(Event):
    """So many findings within the window: moved out of the post, unless a human says no."""

    type: Literal["ReassignmentProposed"] = "ReassignmentProposed"
    proposal: int
    findings: tuple[FindingId, ...]
    reply_until: UtcTime


class ReplyRecorded(Event):
    """The person replied; None where the time for it passed in silence."""

    type: Literal["ReplyRecorded"] = "ReplyRecorded"
    evidence: Reference | None


class Reassigned(Event):
    """Moved out of the post (WAT-3.2b)."""

    type: Literal["Reassigned"] = "Reassigned"
    proposal: int
    findings: tuple[FindingId, ...]


class ReassignmentRejected(Event):
    """The proposal was refused; these findings alone will not propose it again."""

    type: Literal["ReassignmentRejected"] = "ReassignmentRejected"
    proposal: int
    reason: Code


class ReassignmentWithdrawn(Event):
    """A finding that the proposal rests on was overturned, or moved out of the window."""

    type: Literal["ReassignmentWithdrawn"] = "ReassignmentWithdrawn"
    proposal: int


class RedressDue(Event):
    """What an overturned finding had led to must be made good: a measure, a reassignment."""

    type: Literal["RedressDue"] = "RedressDue"
    finding: FindingId
    of: tuple[Code, ...]
    commitments: tuple[Code, ...] = ()
    """The promises to do it in time."""


class RedressMade(Event):
    """It was made good."""

    type: Literal["RedressMade"] = "RedressMade"
    finding: FindingId
    evidence: Reference


class StaffFileRested(Event):
    """Nothing counts any more and nothing is to be done: the file rests until the next finding."""

    type: Literal["StaffFileRested"] = "StaffFileRested"


ConductEvents = (
    StaffFileOpened
    | FindingRecorded
    | FindingOverturned
    | MarkEntered
    | MarkRemoved
    | FindingExpired
    | MeasureDue
    | MeasureTaken
    | MeasureWithdrawn
    | InvestigationOpened
    | InvestigationConcluded
    | InvestigationDropped
    | ReassignmentProposed
    | ReplyRecorded
    | Reassigned
    | ReassignmentRejected
    | ReassignmentWithdrawn
    | RedressDue
    | RedressMade
    | StaffFileRested
)
ConductEvent = Annotated[ConductEvents | SharedEvents | ApprovalEvents, Field(discriminator="type")]


# State


class Count(Value):
    """A finding as the file knows it, by its highest revision."""

    finding: FindingId
    complaint: CaseId
    revision: int
    outcome: Outcome
    gravity: Gravity
    cause: Cause
    counts_on: date
    counts_until: date
    strike: bool
    """Whether it is of the kind that counts; see also `live` and `overturned`."""
    live: bool = True
    """It still counts: neither overturned nor expired."""
    overturned: bool = False
    marked: bool = False
    measure: Code | None = None
    measure_taken: bool = False
    investigation: Literal["open", "concluded", "dropped"] | None = None
    penalty: Code | None = None
    redress: tuple[Code, ...] = ()
    """What must still be made good."""
    promised: tuple[Code, ...] = ()
    """The commitments to take the measure, or to judge the breach, in time."""
    redress_promised: tuple[Code, ...] = ()


class Proposal(Value):
    """A proposed reassignment."""

    number: int
    findings: tuple[FindingId, ...]
    considered: tuple[FindingId, ...] = ()
    """All strikes that the file knew then: once it is rejected, they alone propose nothing."""
    reply_until: UtcTime
    replied: bool = False
    """Whether the right of reply is used or over."""
    reply: Reference | None = None
    state: Literal["open", "reassigned", "rejected", "withdrawn"] = "open"


class ConductState(CaseState[Stage]):
    """All that `decide` may consult."""

    stage: Stage = Stage.UNOPENED
    opened_at: datetime | None = None
    staff: Subject | None = None
    reports_to: Subject | None = None
    """Whom the person reports to, as last told."""
    counts: tuple[Count, ...] = ()
    proposals: tuple[Proposal, ...] = ()

    @property
    def rules(self) -> ConductPolicy:
        if self.policy.conduct is None:
            raise LookupError("the policy has no conduct section")
        return self.policy.conduct
