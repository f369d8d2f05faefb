"""A policy: one organisation's figures and ladders, pinned to a case when it opens."""

from datetime import timedelta
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from schemas.base import Code, RuleId, Subject, Value
from schemas.calendar import Calendar
from schemas.commitments import LONGEST, CommitmentTerms

Length = Annotated[timedelta, Field(gt=timedelta(0), le=LONGEST)]
Percent = Annotated[int, Field(ge=1, le=100)]
Channel = Literal["phone", "counter", "app", "patrol", "meter_reader", "service", "filing"]
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


class RepairPolicy(Value):
    """How this organisation handles repairs."""

    intake_unit: Subject
    """Owns a case until a person takes it."""
    commitments: tuple[CommitmentTerms, ...]
    categories: dict[Code, CategoryTerms]
    required_contact: dict[Channel, tuple[ContactField, ...]]
    """What must be on record (in the vault) per channel (KUN-5.5.1)."""
    party_channels: tuple[Channel, ...]
    """Channels through which a customer reports: they need a party."""
    receipt_channels: tuple[Channel, ...] = ()
    """Channels whose orders are passed on against a signature (WAT-2.9)."""
    pause_reasons: dict[Code, PauseTerms]
    hasten: HastenTerms = HastenTerms()
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

    @model_validator(mode="after")
    def _check(self) -> "RepairPolicy":
        wrong: list[str] = []
        names = [t.name for t in self.commitments]
        known = set(names)
        wrong += [
            f"commitment {name} and rule {rule} stand twice"
            for (name, rule) in dict.fromkeys((t.name, t.rule) for t in self.commitments)
            if sum(t.name == name and t.rule == rule for t in self.commitments) > 1
        ]
        for reason, terms in self.pause_reasons.items():
            wrong += [
                f"pause reason {reason} stops an unknown commitment: {name}"
                for name in terms.pauses
                if name not in known
            ]
        milestones = get_args(Milestone)
        for terms in self.commitments:
            wrong += [
                f"commitment {terms.name} names an unknown milestone;"
                f" known: {', '.join(milestones)}"
                for milestone in (terms.starts, terms.ends)
                if milestone not in milestones
            ]
            wrong += [
                f"commitment {terms.name} names an unknown category: {category}"
                for category in terms.categories or ()
                if category not in self.categories
            ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class Policy(Value):
    """One organisation's figures: read from a TOML file, hashed over its canonical JSON."""

    name: Code
    version: Code
    title: str
    rules: tuple[RuleId, ...] = ()
    """Rules of the ledger that the file obeys beyond those its commitments name."""
    calendar: Calendar
    repair: RepairPolicy
