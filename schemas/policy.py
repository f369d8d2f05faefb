"""A policy: one organisation's figures and ladders, pinned to a case when it opens."""

from datetime import timedelta
from functools import cached_property
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, StringConstraints, model_validator

from schemas.approvals import Silence
from schemas.base import Code, Role, RuleId, Subject, Value, nothing
from schemas.calendar import Calendar, Window
from schemas.commitments import LONGEST, Basis, CommitmentTerms, RungTerms

Length = Annotated[timedelta, Field(gt=timedelta(0), le=LONGEST)]
Percent = Annotated[int, Field(ge=1, le=100)]
Channel = Literal[
    "phone", "counter", "app", "letter", "patrol", "meter_reader", "service", "filing"
]
Severity = Literal["minor", "common", "major", "hazard"]
ContactField = Literal["name", "address", "phone"]


Milestone = Literal[
    "reported",
    "guarded",
    "dispatched",
    "arrived",
    "made_safe",
    "parts_local",
    "parts_elsewhere",
    "parts_shipped",
    "fixed",
    "followed_up",
]
"""What starts or keeps a repair's commitments."""

ComplaintMilestone = Literal[
    "registered",
    "handed_over",
    "acknowledged",
    "returned",
    "arbitrated",
    "upheld",
    "apologised",
    "answered",
    "followed_up",
    "dissatisfied",
    "reviewed",
    "appealed",
    "appeal_decided",
    "declined",
    "referred",
]
ConductMilestone = Literal[
    "measure_due",
    "measure_taken",
    "breach_found",
    "breach_judged",
    "redress_due",
    "redress_made",
]
SatisfactionMilestone = Literal[
    "carded",
    "improved",
    "self_check_due",
    "self_checked",
    "company_check_due",
    "company_checked",
]

ArrearsMilestone = Literal[
    "opened",
    "reminded",
    "notice_served",
    "eligible",
    "authorised",
    "visit_due",
    "stopped",
    "self_reopened",
    "stop_order_served",
    "fully_stopped",
    "reconnect_due",
    "reconnected",
]

CustomerClass = Literal["household", "commercial", "industrial", "public"]
HoldKind = Literal[
    "dispute",
    "payment_plan",
    "payment_in_flight",
    "vulnerable",
    "medical",
    "open_case",
    "outage",
    "weather",
    "public_holiday",
    "neighbours",
]

Gravity = Literal["light", "serious"]
"""Of a breach: a warning at first, or an investigation at once (WIN-2.5.1, WIN-2.5.2)."""
Outcome = Literal["upheld", "partly_upheld", "not_upheld"]
Cause = Literal["carelessness", "breach_of_rules", "circumstances"]
"""Why a complaint was justified; only the first two are the person's (WAT-3.2a)."""


class CategoryTerms(Value):
    """One kind of fault."""

    network: bool = False
    """A fault of the network rather than of one customer's equipment."""
    by_phone: bool = False
    """Whether it may be solved on the phone (KUN-5.5.2)."""
    guard: bool = False
    """Whether somebody must stay on site until the repairers arrive (WAT-1.5c)."""


class PauseTerms(Value):
    """A reason for which promises may stand still."""

    pauses: tuple[Code, ...]
    """The names of the commitments that it stops."""
    longest: Length
    """After this the time runs again by itself."""


class HastenTerms(Value):
    """How much earlier rungs fire: the share of the time that is left of a hundred percent."""

    unowned: Percent = 50
    """While no person has taken the case, or a crew declined it (ADM-1)."""
    priority: Percent = 75
    """For customers registered for special care (CNPC-3.1.9)."""


class FollowUpTerms(Value):
    """The call after the repair (回访; KUN-5.6, KUN-5.3.6)."""

    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """Unreachable this often ends the follow-up."""
    failures_to_supervisor: Annotated[int, Field(ge=1, le=5)] = 2
    """The so-many-th unhappy answer reopens the case with a supervisor as its owner."""
    supervisor: Subject


class ApprovalTerms(Value):
    """A decision that a role must take, as the organisation's policy words it."""

    role: Role
    rule: RuleId
    duration: Length
    basis: Basis = "clock"
    ladder: tuple[RungTerms, ...] = ()
    silence: Silence = "escalate"
    """What it means when nobody decides in time (ADM-7)."""
    escalates_to: Role | None = None
    """The role above; needed where silence escalates, and told of every *no* (ADM-5)."""
    needed: Annotated[int, Field(ge=1, le=2)] = 1
    """How many different people must say yes."""
    exclude: tuple[Code, ...] = ()
    """Who else cannot give it, by the part they play in the case, such as `investigator`."""
    signed: bool = Field(default=False, exclude_if=nothing)
    """Whether a yes or no needs the signature of whoever gives it (WAT-C3: written approval)."""

    @model_validator(mode="after")
    def _check(self) -> "ApprovalTerms":
        if self.silence == "escalate" and self.escalates_to is None:
            raise ValueError("silence escalates: say to which role in escalates_to")
        return self


class CaseRules(Value):
    """What a policy says of every kind of case."""

    milestones: ClassVar[tuple[str, ...]] = ()
    """What starts or keeps commitments of this kind of case."""
    asks: ClassVar[tuple[str, ...]] = ()
    """The kinds of approval that this kind of case asks for."""
    parts: ClassVar[tuple[str, ...]] = ()
    """The parts that people play in it, for an approval's `exclude`."""

    intake_unit: Subject
    """Owns a case until a person takes it."""
    commitments: tuple[CommitmentTerms, ...]
    pause_reasons: dict[Code, PauseTerms] = Field(default_factory=dict[Code, PauseTerms])
    approvals: dict[Code, ApprovalTerms] = Field(default_factory=dict[Code, ApprovalTerms])
    hasten: HastenTerms = HastenTerms()

    asks_people: ClassVar[tuple[str, ...]] = ()
    """Those of `asks` that only a human may grant: silence never does (ADM-7)."""

    @cached_property
    def terms(self) -> dict[tuple[str, str], CommitmentTerms]:
        """The commitments by name and rule, those of approvals included."""
        promised = {(terms.name, terms.rule): terms for terms in self.commitments}
        for kind, terms in self.approvals.items():
            promised[f"approve-{kind}", terms.rule] = CommitmentTerms(
                name=f"approve-{kind}",
                rule=terms.rule,
                duration=terms.duration,
                basis=terms.basis,
                starts="approval_requested",
                ends="approval_decided",
                ladder=terms.ladder,
            )
        return promised

    @model_validator(mode="after")
    def _check(self) -> "CaseRules":
        if wrong := self.wrong():
            raise ValueError("; ".join(wrong))
        return self

    def wrong(self) -> list[str]:
        """Everything in which its parts contradict each other."""
        wrong: list[str] = []
        promised = [(terms.name, terms.rule) for terms in self.commitments]
        wrong += [
            f"commitment {name} and rule {rule} stand twice"
            for (name, rule) in dict.fromkeys(promised)
            if promised.count((name, rule)) > 1
        ]
        names = {name for name, _ in promised}
        for reason, terms in self.pause_reasons.items():
            wrong += [
                f"pause reason {reason} stops an unknown commitment: {name}"
                for name in terms.pauses
                if name not in names
            ]
        for terms in self.commitments:
            wrong += [
                f"commitment {terms.name} names an unknown milestone;"
                f" known: {', '.join(self.milestones)}"
                for milestone in (terms.starts, terms.ends)
                if milestone not in self.milestones
            ]
            if terms.name.startswith("approve-"):
                wrong.append("commitments of approvals are named by the approval: choose another")
        if set(self.approvals) != set(self.asks):
            wrong.append(f"approvals must be just these: {', '.join(self.asks) or 'none'}")
        for kind, terms in self.approvals.items():
            if kind in self.asks_people and terms.silence == "approve":
                wrong.append(f"approval {kind}: silence never grants it, a human does (ADM-7)")
            if terms.needed > 1 and terms.silence == "approve":
                wrong.append(f"approval {kind}: what needs two people is not granted by silence")
            wrong += [
                f"approval {kind} excludes an unknown part; known: {', '.join(self.parts)}"
                for part in terms.exclude
                if part not in self.parts
            ]
        return wrong


class RepairPolicy(CaseRules):
    """How this organisation handles repairs."""

    milestones: ClassVar[tuple[str, ...]] = get_args(Milestone)

    categories: dict[Code, CategoryTerms]
    required_contact: dict[Channel, tuple[ContactField, ...]]
    """What must be on record (in the vault) per channel (KUN-5.5.1)."""
    party_channels: tuple[Channel, ...]
    """Channels through which a customer reports: they need a party."""
    receipt_channels: tuple[Channel, ...] = ()
    """Channels whose orders are passed on against a signature (WAT-2.9)."""
    inspect: tuple[Severity, ...] = ()
    """Severities whose repair is inspected before it counts as done."""
    follow_up: FollowUpTerms
    no_access_limit: Annotated[int, Field(ge=1, le=10)] = 2
    """Visits without access before the case waits for the customer alone (KUN-7.4.3)."""
    no_access_wait: Length
    """How long it then waits before it ends."""
    reopen_within: Length
    """After this a new case is opened instead."""
    interruption_notice: Annotated[timedelta, Field(ge=timedelta(0), le=LONGEST)]
    """How long ahead customers are told of an interruption (KUN-2.2.2); major faults can't wait."""
    warranty_months: Annotated[int, Field(ge=1, le=600)] | None = None
    """A part replaced under warranty starts its warranty anew (AFT-1)."""
    slip_copies: tuple[Code, ...] = ("crew",)
    """Who gets a part of the dispatch slip (PROP-1.2): crew, office, customer."""

    def wrong(self) -> list[str]:
        wrong = super().wrong()
        for terms in self.commitments:
            wrong += [
                f"commitment {terms.name} names an unknown category: {category}"
                for category in terms.categories or ()
                if category not in self.categories
            ]
        return wrong


class ComplaintCategory(Value):
    """One kind of complaint."""

    department: Subject | None = None
    """Who usually answers it; None: whoever screens it decides."""
    gravity: Gravity = "light"


class ExtensionTerms(Value):
    """More time for the answer, which somebody must approve."""

    longest: Length
    """At most so much later than it was first due."""
    most: Annotated[int, Field(ge=1, le=5)] = 1
    """So often in one complaint."""


class ComplaintPolicy(CaseRules):
    """How this organisation handles complaints."""

    milestones: ClassVar[tuple[str, ...]] = get_args(ComplaintMilestone)
    asks: ClassVar[tuple[str, ...]] = ("extension",)
    parts: ClassVar[tuple[str, ...]] = ("owner", "investigator", "superior")

    categories: dict[Code, ComplaintCategory]
    departments: tuple[Subject, ...]
    """Those that may be given a complaint to answer."""
    required_contact: dict[Channel, tuple[ContactField, ...]]
    """What must be on record (in the vault) per channel, unless anonymous (KUN-5.4.1)."""
    superiors_barred: bool = True
    """Whether those whom an accused reports to are as little allowed to judge as the accused."""
    returns_limit: Annotated[int, Field(ge=1, le=9)] = 2
    """Given back so often, a supervisor decides whose it is."""
    extension: ExtensionTerms
    appeal_within: Length
    """Dissatisfied with the answer, the complainant may go to the level above (WIN-3.4.3)."""
    follow_up: FollowUpTerms
    next_level: Role
    """The role that is told of a *no* (ADM-5) and decides appeals."""

    def wrong(self) -> list[str]:
        wrong = super().wrong()
        if not any((c.starts, c.ends) == ("registered", "answered") for c in self.commitments):
            wrong.append("a commitment must run from registered to answered (KUN-2.2.6)")
        for name, terms in self.categories.items():
            if terms.department is not None and terms.department not in self.departments:
                wrong.append(f"category {name} names an unknown department")
        for terms in self.commitments:
            wrong += [
                f"commitment {terms.name} names an unknown category: {category}"
                for category in terms.categories or ()
                if category not in self.categories
            ]
        return wrong


class ConductPolicy(CaseRules):
    """What follows for a member of staff from complaints that are upheld."""

    milestones: ClassVar[tuple[str, ...]] = get_args(ConductMilestone)
    asks: ClassVar[tuple[str, ...]] = ("reassignment",)
    asks_people: ClassVar[tuple[str, ...]] = asks
    parts: ClassVar[tuple[str, ...]] = ("superior",)

    counts: tuple[Outcome, ...] = ("upheld",)
    """Which findings are a strike."""
    counts_from: Literal["conduct", "decision"]
    """Which day starts a strike's time: that of the conduct, or that of the final decision."""
    window_months: Annotated[int, Field(ge=1, le=120)] = 12
    """How long a strike counts, in calendar months (WAT-3.2b)."""
    strikes: Annotated[int, Field(ge=2, le=10)] = 3
    """So many within the window propose a reassignment (WAT-3.2b)."""
    mark_causes: tuple[Cause, ...] = ("carelessness", "breach_of_rules")
    """Causes for which a black mark goes on the board (WAT-3.2a)."""
    measures: Annotated[tuple[Code, ...], Field(min_length=1)]
    """What follows the first, second, … light breach in the window (WIN-2.5.1); then the last."""
    penalties: Annotated[tuple[Code, ...], Field(min_length=1)]
    """What the investigation of a serious breach may end in (WIN-2.5.2)."""
    reply_within: Length
    """How long the person has to reply to a proposed reassignment."""
    next_level: Subject
    """The role that is told of a *no* (ADM-5)."""


class SatisfactionPolicy(CaseRules):
    """How satisfaction is measured and what follows (CNPC-2.5, GAS-3.4); who checks (GAS-3.1)."""

    milestones: ClassVar[tuple[str, ...]] = get_args(SatisfactionMilestone)
    asks: ClassVar[tuple[str, ...]] = ("head_removal",)
    asks_people: ClassVar[tuple[str, ...]] = asks

    departments: dict[Code, Subject] = Field(default_factory=dict[Code, Subject])
    """Which department answers for a district's repairs; the repairs' intake unit if none."""
    target: Percent = 90
    """The satisfied among those who answered, in percent (CNPC-2.5)."""
    fewest: Annotated[int, Field(ge=1, le=100_000)] = 1
    """A department with fewer answers in a year is not ranked."""
    sample: Percent = 10
    """How many of a day's follow-ups are drawn for a call by the office, in percent (KUN-5.3.6)."""
    next_level: Role = "division_head"
    """Checks the departments for the company (GAS-3.1); told of a month's complaints (WIN-1.7)."""

    def wrong(self) -> list[str]:
        wrong = super().wrong()
        promised = [(terms.starts, terms.ends) for terms in self.commitments]
        if promised.count(("carded", "improved")) != 1:
            wrong.append("commitments must be just one, from carded to improved (GAS-3.4)")
        checks = [
            ("self_check_due", "self_checked"),
            ("company_check_due", "company_checked"),
        ]
        if [promised.count(check) for check in checks] not in ([0, 0], [1, 1]):
            wrong.append(
                "commitments must be one from self_check_due to self_checked and one from"
                " company_check_due to company_checked, or neither (GAS-3.1)"
            )
        if not {("carded", "improved"), *checks}.issuperset(promised):
            wrong.append(
                "commitments must go from carded to improved, from self_check_due to self_checked"
                " or from company_check_due to company_checked"
            )
        return wrong


class HoldTerms(Value):
    """How long a reason may stop a cutoff."""

    longest: Length | None = None
    """After this it ends by itself; None: only by being released."""
    restores: bool = False
    """Whether a supply that is stopped already is restored for it."""


class Season(Value):
    """A part of every year, both days included; it may reach over New Year."""

    first: Annotated[str, StringConstraints(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]
    last: Annotated[str, StringConstraints(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]


class PermitTerms(Value):
    """When a valve may be closed, and how long the right to do it lasts."""

    lifetime: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(hours=1))]
    """Minutes, not more: what it was issued on may change."""
    freshness: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(minutes=15))]
    """How old the look into the log may be when it is issued."""
    hours: Window
    """Local hours in which supply may be stopped: never at night."""
    working_days_after: Annotated[int, Field(ge=0, le=5)] = 1
    """So many days after the stop must be working days too: not before a weekend or holiday."""
    protected_seasons: tuple[Season, ...] = ()
    """Parts of the year in which nobody is cut off, such as the frost."""


class PlanTerms(Value):
    """What may be agreed about payment by instalments."""

    most: Annotated[int, Field(ge=1, le=60)] = 12
    """Instalments."""
    longest: Length
    grace: Length
    """An instalment may be so late."""


class ArrearsPolicy(CaseRules):
    """How this organisation chases what it is owed, and when it may stop supply."""

    milestones: ClassVar[tuple[str, ...]] = get_args(ArrearsMilestone)
    asks: ClassVar[tuple[str, ...]] = ("cutoff", "write_off")
    asks_people: ClassVar[tuple[str, ...]] = asks
    parts: ClassVar[tuple[str, ...]] = ("reader", "crew", "owner")

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    threshold: Annotated[int, Field(ge=0, le=10**12)]
    """Below this, in the currency's smallest unit, nobody is chased or cut off."""
    reminders: Annotated[int, Field(ge=1, le=10)]
    """So many contacts, on different days, before the notice (WAT-C1)."""
    notice_period: Length
    """From the delivery of the notice to the first day of a stop (WAT-C2)."""
    stop_order_period: Length
    """The time limit of a stop-supply order (WAT-C4a)."""
    large_meter: Annotated[int, Field(ge=15, le=2000)] = 40
    """From this DN on a stop needs the division head's written approval (WAT-C3)."""
    holds: dict[HoldKind, HoldTerms]
    permit: PermitTerms
    plan: PlanTerms
    fresh_notice: bool = True
    """Whether a reversed payment, or one that emptied the account, needs a new notice."""
    reversal_window: Length
    """How long after payment the case stays open, because money may be taken back."""
    next_level: Subject
    """The top of the ladder: told of incidents and of every *no* (ADM-5)."""

    def wrong(self) -> list[str]:
        wrong = super().wrong()
        wrong += [
            f"holds must say how long a {k} lasts"
            for k in get_args(HoldKind)
            if k not in self.holds
        ]
        promised = [(terms.starts, terms.ends) for terms in self.commitments]
        if ("reconnect_due", "reconnected") not in promised:
            wrong.append("commitments must hold one from reconnect_due to reconnected (WAT-C4c)")
        if self.permit.hours.end <= self.permit.hours.start:
            wrong.append("permit hours must end after they start")

        return wrong


class Band(Value):
    """What each overdue account costs, as far as the band reaches (WAT-P1)."""

    up_to: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """The last account, counted from the first, that costs so much; None: all the rest."""
    each: Annotated[int, Field(ge=0, le=10**9)]
    """In the smallest unit of the arrears' currency."""


class AssessmentPolicy(CaseRules):
    """The readers' half-yearly assessment by overdue accounts (WAT-P1, WAT-P2)."""

    asks: ClassVar[tuple[str, ...]] = ("confirmation", "exclusion")
    """One after the other, by two different people (WAT-P2)."""
    asks_people: ClassVar[tuple[str, ...]] = asks

    commitments: tuple[CommitmentTerms, ...] = ()
    """None: what is waited for are approvals, which have clocks of their own."""
    bands: Annotated[tuple[Band, ...], Field(min_length=1, max_length=20)]
    """Each account costs what its own band says: the 21st never makes the first twenty dearer."""
    objection_period: Length
    """How long, from the opening, an exclusion may be asked for."""
    grounds: Annotated[tuple[Code, ...], Field(min_length=1)]
    """Why an account may be not the reader's fault (WAT-P2)."""
    payroll: Subject
    """The unit that is told of what a settled assessment comes to."""
    next_level: Subject
    """The role that is told of a *no* (ADM-5)."""

    def wrong(self) -> list[str]:
        wrong = super().wrong()
        ends = [band.up_to for band in self.bands]
        reached = [0, *(end for end in ends[:-1] if end is not None)]
        if len(reached) < len(ends) or ends[-1] is not None:
            wrong.append("bands must all say up_to, but for the last one (WAT-P1)")
        elif any(one >= other for one, other in pairwise(reached)):
            wrong.append("bands must reach further one by one: correct up_to (WAT-P1)")
        return wrong


class Policy(Value):
    """One organisation's figures: read from a TOML file, hashed over its canonical JSON."""

    name: Code
    version: Code
    title: str
    rules: tuple[RuleId, ...] = ()
    """Rules of the ledger that the file obeys beyond those its commitments name."""
    calendar: Calendar
    repair: RepairPolicy
    complaint: ComplaintPolicy | None = None
    conduct: ConductPolicy | None = None
    satisfaction: SatisfactionPolicy | None = None
    arrears: ArrearsPolicy | None = None
    assessment: AssessmentPolicy | None = Field(default=None, exclude_if=nothing)

    @model_validator(mode="after")
    def _check(self) -> "Policy":
        if self.assessment is not None and self.arrears is None:
            raise ValueError("assessment counts overdue accounts: add a section on arrears, too")
        return self

    def department_of(self, district: str | None) -> str:
        """Who answers for the repairs of a district."""
        known = self.satisfaction.departments if self.satisfaction else {}
        return known.get(district or "", self.repair.intake_unit)
