"""A reader's half-yearly assessment by overdue accounts (WAT-P1): its messages and state."""

from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

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
from schemas.envelope import DeadlinePassed
from schemas.policy import AssessmentPolicy

HalfYear = Annotated[str, StringConstraints(pattern=r"^(19[7-9]|20[0-9]|21[0-8])[0-9]-H[12]$")]
"""January to June or July to December: "2026-H1"."""

MOST_ACCOUNTS = 10_000
"""In one assessment: they must fit into one command."""

Arrears = Annotated[str, StringConstraints(pattern=r"^arrears-[a-z0-9-]{1,60}$")]
"""An overdue account, by its arrears case."""


def assessment_id(organisation: Organisation, reader: Subject, half_year: HalfYear) -> CaseId:
    """The one assessment of a reader in a half-year; a staff number's capitals do not matter.

    The first 16 hex digits of a SHA-256: it tells nothing of whom it is about.
    """
    known = f"{organisation}/{reader.casefold()}/{half_year}"
    return f"assessment-{sha256(known.encode()).hexdigest()[:16]}"


class Stage(StrEnum):
    """Where an assessment stands. What is most advanced names it."""

    UNOPENED = "Unopened"
    OPEN = "Open"
    """Exclusions may be asked for, and none is being decided."""
    AWAITING_CONFIRMATION = "AwaitingConfirmation"
    AWAITING_APPROVAL = "AwaitingApproval"
    CLOSED = "Closed"
    """Settled: what it comes to stands."""


# Commands


class OpenAssessment(CaseCommand):
    """The half-yearly run found these accounts overdue on the reader's round (WAT-P1)."""

    type: Literal["OpenAssessment"] = "OpenAssessment"
    reader: Subject
    half_year: HalfYear
    known_until: UtcTime
    """Up to when the log was read: what was told later is not counted."""
    accounts: Annotated[tuple[Arrears, ...], Field(min_length=1, max_length=MOST_ACCOUNTS)]


class RequestExclusion(Command):
    """Ask that accounts are not counted, because they are not the reader's fault (WAT-P2)."""

    type: Literal["RequestExclusion"] = "RequestExclusion"
    accounts: Annotated[tuple[Arrears, ...], Field(min_length=1, max_length=200)]
    ground: Code
    evidence: Reference


AssessmentCommand = Annotated[
    OpenAssessment | RequestExclusion | TakeCase | HandOverCase | ApprovalCommands | DeadlinePassed,
    Field(discriminator="type"),
]


# Events


class AssessmentOpened(Event):
    """So many accounts of the reader were overdue when the half-year ended (WAT-P1)."""

    type: Literal["AssessmentOpened"] = "AssessmentOpened"
    case: CaseId
    policy: str
    reader: Subject
    half_year: HalfYear
    half_year_ended: UtcTime
    known_until: UtcTime
    accounts: tuple[Arrears, ...]
    objections_until: UtcTime
    owner: Owner


class ExclusionRequested(Event):
    """Accounts are said not to be the reader's fault (WAT-P2); the station head is asked."""

    type: Literal["ExclusionRequested"] = "ExclusionRequested"
    request: int
    accounts: tuple[Arrears, ...]
    ground: Code
    evidence: Reference
    asked_by: Subject


class ExclusionConfirmed(Event):
    """The station head confirms it; the division is asked (WAT-P2)."""

    type: Literal["ExclusionConfirmed"] = "ExclusionConfirmed"
    request: int
    by: tuple[Subject, ...]
    """Whoever confirmed it, and in whose place: none of them decides the second step."""


class AccountsExcluded(Event):
    """Confirmed and approved: these accounts are not counted (WAT-P2)."""

    type: Literal["AccountsExcluded"] = "AccountsExcluded"
    request: int
    accounts: tuple[Arrears, ...]


class ExclusionRefused(Event):
    """One of the two said no, with a reason (ADM-5): the accounts stay counted."""

    type: Literal["ExclusionRefused"] = "ExclusionRefused"
    request: int
    accounts: tuple[Arrears, ...]
    step: Literal["confirmation", "exclusion"]
    reason: Code


class ExclusionWithdrawn(Event):
    """Whoever asked does not want it any more: the accounts stay counted."""

    type: Literal["ExclusionWithdrawn"] = "ExclusionWithdrawn"
    request: int
    accounts: tuple[Arrears, ...]
    reason: Code


class AssessmentSettled(Event):
    """The time to object is over and nothing is being decided: this is what it comes to."""

    type: Literal["AssessmentSettled"] = "AssessmentSettled"
    counted: int
    excluded: int
    amount: int
    """In the currency's smallest unit."""
    currency: str


AssessmentEvents = (
    AssessmentOpened
    | ExclusionRequested
    | ExclusionConfirmed
    | AccountsExcluded
    | ExclusionRefused
    | ExclusionWithdrawn
    | AssessmentSettled
)
AssessmentEvent = Annotated[
    AssessmentEvents | SharedEvents | ApprovalEvents, Field(discriminator="type")
]


# State


class Exclusion(Value):
    """Accounts that are said not to be the reader's fault, and what came of it."""

    request: int
    accounts: tuple[Arrears, ...]
    ground: Code
    evidence: Reference
    asked_by: Subject
    confirmed_by: tuple[Subject, ...] = ()
    approvals: tuple[Code, ...] = ()
    """What was asked for it: the confirmation, then the approval."""
    state: Literal["asked", "confirmed", "excluded", "refused", "withdrawn"] = "asked"
    reason: Code | None = None

    @property
    def pending(self) -> bool:
        """Whether somebody has yet to decide it."""
        return self.state in ("asked", "confirmed")


class AssessmentState(CaseState[Stage]):
    """All that `decide` may consult."""

    stage: Stage = Stage.UNOPENED
    opened_at: datetime | None = None
    reader: Subject | None = None
    half_year: HalfYear | None = None
    known_until: datetime | None = None
    accounts: tuple[Arrears, ...] = ()
    objections_until: datetime | None = None
    exclusions: tuple[Exclusion, ...] = ()
    settled: AssessmentSettled | None = None

    @property
    def rules(self) -> AssessmentPolicy:
        if self.policy.assessment is None:
            raise LookupError("the policy has no assessment section")
        return self.policy.assessment


# How assessments begin


class AssessmentRun(Value):
    """The run's only argument: about one half-year, or the last one that is over."""

    organisation: Organisation
    policy: str
    """Says when a half-year ends, what is chased, and opens the assessments: canonical JSON."""
    half_year: HalfYear | None = None
    """None: the last that is over when the schedule meant it to run."""
    known_until: UtcTime | None = None
    """None: the day on which every run counts, so that a late one counts the same."""


class AssessmentCount(Value):
    """What the run's activity counts: accounts overdue at `ended`, by what was told until then."""

    organisation: Organisation
    policy: str
    half_year: HalfYear
    ended: UtcTime
    known_until: UtcTime


class Unopened(Value):
    """An assessment that could not be opened, and why."""

    reader: Subject
    reasons: tuple[str, ...]


class Assessed(Value):
    """What came of a run."""

    half_year: HalfYear
    ended: UtcTime
    known_until: UtcTime
    accounts: int
    """Overdue when the half-year ended, each once."""
    without_reader: int
    """Those of them that are on nobody's round: nobody is assessed by them."""
    readers: int
    opened: int
    stood: int
    """Assessments that an earlier run had opened: they stay as they are."""
    refused: tuple[Unopened, ...] = ()
