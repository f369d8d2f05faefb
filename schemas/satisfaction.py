"""Satisfaction (满意度): samples, months, ranking, checks; one register per organisation."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.approvals import ApprovalCommands, ApprovalEvents
from schemas.base import (
    CaseId,
    Code,
    Command,
    CommandId,
    Event,
    Organisation,
    Owner,
    Reference,
    Subject,
    UtcTime,
    Value,
    nothing,
)
from schemas.case import CaseState, HandOverCase, SharedEvents, TakeCase
from schemas.envelope import DeadlinePassed, Json, RecordAnswer
from schemas.policy import SatisfactionPolicy


def register_of(organisation: Organisation) -> CaseId:
    """The one case of this kind in an organisation."""
    return f"satisfaction-{organisation}"


Month = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Quarter = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-Q[1-4]$")]
CheckPeriod = Month | Quarter
CheckKind = Literal["self", "company"]
"""A department checks itself; or the company checks it (GAS-3.1)."""
Seed = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Year = Annotated[int, Field(ge=1970, le=9999)]
What = Literal["sample", "month", "year"]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
BasisPoints = Annotated[int, Field(ge=0, le=10_000)]
"""Hundredths of a percent: 9_025 is 90.25 %."""


class Stage(StrEnum):
    """Where the register stands."""

    UNOPENED = "Unopened"
    AT_REST = "AtRest"
    AWAITING = "Awaiting"
    """A department must improve or be checked, or an approval is asked for."""


class Tally(Value):
    """What the customers of one department answered in a period."""

    department: Subject
    asked: Count
    """Follow-ups that were carried to their end."""
    answered: Count
    satisfied: Count


Tallies = Annotated[tuple[Tally, ...], Field(max_length=200)]
"""By department, each once. So many at most, for a decision must fit into one append."""


class Measured(Tally):
    """A tally with its rate and the Wilson score interval at 95 %; None where nobody answered."""

    rate: BasisPoints | None
    low: BasisPoints | None
    high: BasisPoints | None
    on_target: bool | None
    """Whether the rate reaches the policy's target (CNPC-2.5)."""


class ComplaintCounts(Value):
    """What a month's complaints of one category came to in one department (WIN-1.7)."""

    category: Code
    department: Subject | None
    """None: not handed over to any yet."""
    registered: Count
    """In the month."""
    in_time: Count
    """Those that got their first answer in the month, before its promise was broken."""
    late: Count
    """Those that got it in the month, after that."""
    open: Count
    """Those that waited for an answer, a better one or the level above when the month was over."""
    upheld: Count
    """The outcomes of those that were answered: together they are as many."""
    partly_upheld: Count
    not_upheld: Count
    appealed: Count
    """Appeals in the month (WIN-3.4.3), whenever the complaint was registered."""
    overturned: Count
    """Appeals on which the level above decided otherwise in the month."""


Collation = Annotated[tuple[ComplaintCounts, ...], Field(max_length=1000)]
"""By category and department, each pair once; so many at most, as with tallies."""


def _uncounted(complaints: Collation | None) -> bool:
    """Stays out of the command's bytes, as before there was such a thing; no complaints do not."""
    return complaints is None


class Counted(Value):
    """All that a month's report counts in the log."""

    tallies: tuple[Tally, ...]
    complaints: tuple[ComplaintCounts, ...] | None = None
    """None: not asked for."""


# Commands


class DrawSample(Command):
    """Draw whom the office calls, of the follow-ups that became due (KUN-5.3.6)."""

    type: Literal["DrawSample"] = "DrawSample"
    since: UtcTime
    until: UtcTime
    population: Annotated[tuple[CaseId, ...], Field(max_length=10_000)]
    """The cases whose follow-up became due in that time."""
    seed: Seed


class ReportMonth(Command):
    """Put a month's figures on record (CNPC-2.5); told again with other figures, they are new."""

    type: Literal["ReportMonth"] = "ReportMonth"
    month: Month
    tallies: Tallies
    complaints: Collation | None = Field(default=None, exclude_if=_uncounted)
    """The month's complaints (WIN-1.7); None where nobody counted them."""
    seed: Seed | None = Field(default=None, exclude_if=nothing)
    """To draw the department that the company checks unannounced (GAS-3.1); None: none is drawn."""


class RankYear(Command):
    """Rank the departments by a year's figures (GAS-3.4)."""

    type: Literal["RankYear"] = "RankYear"
    year: Year
    tallies: Tallies


class RecordImprovement(Command):
    """A department with a yellow card has improved."""

    type: Literal["RecordImprovement"] = "RecordImprovement"
    department: Subject
    evidence: Reference


class RecordCheck(Command):
    """A department has checked itself, or the company has checked it (GAS-3.1)."""

    type: Literal["RecordCheck"] = "RecordCheck"
    department: Subject
    kind: CheckKind
    period: CheckPeriod
    """A month, or for the company's quarterly check a quarter: "2026-Q2"."""
    evidence: Reference
    findings: Annotated[tuple[Code, ...], Field(max_length=50)] = ()
    """What was found wanting."""


SatisfactionCommand = Annotated[
    DrawSample
    | ReportMonth
    | RankYear
    | RecordImprovement
    | RecordCheck
    | TakeCase
    | HandOverCase
    | ApprovalCommands
    | DeadlinePassed
    | RecordAnswer,
    Field(discriminator="type"),
]


# Events


class RegisterOpened(Event):
    """The organisation's satisfaction register begins."""

    type: Literal["RegisterOpened"] = "RegisterOpened"
    case: CaseId
    policy: str
    owner: Owner


class SampleDrawn(Event):
    """Who is called was drawn: of the population, those with the smallest SHA-256(seed/case)."""

    type: Literal["SampleDrawn"] = "SampleDrawn"
    since: UtcTime
    until: UtcTime
    seed: str
    population: int
    population_hash: str
    """SHA-256, in hex, of the sorted case ids, one a line."""
    drawn: tuple[CaseId, ...]


class MonthReported(Event):
    """A month's figures by department."""

    type: Literal["MonthReported"] = "MonthReported"
    month: Month
    departments: tuple[Measured, ...]


class ComplaintsCollated(Event):
    """A month's complaints by category and department, fed back to improve (WIN-1.7)."""

    type: Literal["ComplaintsCollated"] = "ComplaintsCollated"
    month: Month
    complaints: tuple[ComplaintCounts, ...]


class SelfCheckDue(Event):
    """A department is to check itself for a month (GAS-3.1)."""

    type: Literal["SelfCheckDue"] = "SelfCheckDue"
    department: Subject
    month: Month
    commitment: Code


class CheckDrawn(Event):
    """Whom the company checks unannounced was drawn: the smallest SHA-256(seed/department)."""

    type: Literal["CheckDrawn"] = "CheckDrawn"
    month: Month
    seed: str
    departments: tuple[Subject, ...]
    """From which it was drawn."""
    drawn: Subject


class CompanyCheckDue(Event):
    """The company is to check a department: each quarter, and whichever is drawn (GAS-3.1)."""

    type: Literal["CompanyCheckDue"] = "CompanyCheckDue"
    department: Subject
    period: CheckPeriod
    """A quarter; the month, where the department was drawn."""
    commitment: Code


class CheckRecorded(Event):
    """A department has checked itself, or the company has checked it (GAS-3.1)."""

    type: Literal["CheckRecorded"] = "CheckRecorded"
    department: Subject
    kind: CheckKind
    period: CheckPeriod
    evidence: Reference
    findings: tuple[Code, ...]
    checked_by: Subject


class YearRanked(Event):
    """The departments by their year's rate, the best first; too small ones are not ranked."""

    type: Literal["YearRanked"] = "YearRanked"
    year: Year
    ranking: tuple[Measured, ...]
    unranked: tuple[Measured, ...]
    lowest: tuple[Subject, ...]


class YellowCardGiven(Event):
    """The lowest department got a yellow card and a deadline to improve (GAS-3.4)."""

    type: Literal["YellowCardGiven"] = "YellowCardGiven"
    department: Subject
    year: Year
    commitment: Code
    """The deadline to improve."""


class ImprovementRecorded(Event):
    """A department with a yellow card has improved."""

    type: Literal["ImprovementRecorded"] = "ImprovementRecorded"
    department: Subject
    evidence: Reference


class HeadRemovalProposed(Event):
    """Lowest twice running: its head loses the post, once that is approved (GAS-3.4)."""

    type: Literal["HeadRemovalProposed"] = "HeadRemovalProposed"
    department: Subject
    year: Year
    approval: Code


class HeadRemoved(Event):
    """The head of the department lost the post."""

    type: Literal["HeadRemoved"] = "HeadRemoved"
    department: Subject
    year: Year


class HeadRemovalRejected(Event):
    """The head stays."""

    type: Literal["HeadRemovalRejected"] = "HeadRemovalRejected"
    department: Subject
    year: Year
    reason: str


SatisfactionEvents = (
    RegisterOpened
    | SampleDrawn
    | MonthReported
    | ComplaintsCollated
    | SelfCheckDue
    | CheckDrawn
    | CompanyCheckDue
    | CheckRecorded
    | YearRanked
    | YellowCardGiven
    | ImprovementRecorded
    | HeadRemovalProposed
    | HeadRemoved
    | HeadRemovalRejected
)
SatisfactionEvent = Annotated[
    SatisfactionEvents | SharedEvents | ApprovalEvents, Field(discriminator="type")
]


# State


class YearResult(Value):
    """What a year came to, as later years need it."""

    year: Year
    departments: tuple[Measured, ...]
    """By name, those too small to be ranked among them."""
    lowest: tuple[Subject, ...]


class Card(Value):
    """A yellow card that waits for improvement; its deadline is the commitment."""

    department: Subject
    year: Year
    commitment: Code


class Check(Value):
    """A check that is due or done; its deadline, if it ever had one, is the commitment."""

    department: Subject
    kind: CheckKind
    period: CheckPeriod
    commitment: Code | None = None
    checked_by: Subject | None = None
    """None until it is recorded."""
    evidence: Reference | None = None
    findings: tuple[Code, ...] = ()


class Removal(Value):
    """A proposed removal and the approval that it waits for."""

    department: Subject
    year: Year
    approval: Code


class SatisfactionState(CaseState[Stage]):
    """All that `decide` may consult."""

    stage: Stage = Stage.UNOPENED
    opened_at: datetime | None = None
    sample: SampleDrawn | None = None
    """The latest."""
    months: tuple[MonthReported, ...] = ()
    """The last report of each of the latest 24 months."""
    collated: tuple[ComplaintsCollated, ...] = ()
    """The last collation of each of the latest 24 months."""
    checks: tuple[Check, ...] = ()
    """Those of the latest 24 months, and older ones that are still due."""
    checks_due: int = 0
    """How many ever fell due: their promises are numbered by it."""
    years: tuple[YearResult, ...] = ()
    cards: tuple[Card, ...] = ()
    removals: tuple[Removal, ...] = ()

    @property
    def rules(self) -> SatisfactionPolicy:
        if self.policy.satisfaction is None:
            raise LookupError("the policy has no satisfaction section")
        return self.policy.satisfaction


# How the register gets its figures


class SatisfactionReport(Value):
    """A report workflow's only argument: about the last day, month or year that is over at `at`."""

    organisation: Organisation
    what: What
    policy: str
    """Says when a day ends, and opens the register if there is none yet: canonical JSON."""
    register_id: CaseId
    at: UtcTime | None = None
    """None: when the schedule meant it to run."""


class Stretch(Value):
    """A time in an organisation's log, up to just before `until`."""

    organisation: Organisation
    since: UtcTime
    until: UtcTime
    complaints: bool = False
    """Whether the complaints of that time are to be collated too."""


class Entry(Value):
    """A command for the register, and the policy to open it under if there is none yet."""

    organisation: Organisation
    register_id: CaseId
    policy: str
    command: Json


class Entered(Value):
    """What became of it: the events that it caused, none where it was so already."""

    command_id: CommandId
    accepted: bool
    events: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
