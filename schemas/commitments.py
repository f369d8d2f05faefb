"""Commitments: a promise's terms in the policy, its state in a case, and what can happen to it."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter, model_validator

from schemas.base import Code, CommandId, Event, Reference, RuleId, UtcTime, Value

LONGEST = timedelta(days=3660)
"""No promise, pause or wait lasts longer."""

_DELAY = TypeAdapter(timedelta)

Basis = Literal["clock", "working", "same_day"]
"""How the time runs: round the clock, on the working calendar, or to the end of the local day."""


class RungTerms(Value):
    """A rung of an escalation ladder: when it fires and which role is told."""

    at: Annotated[
        str,
        StringConstraints(
            pattern=r"^(\d{1,2}%|100%|\+P(\d{1,4}D|(\d{1,4}D)?T(\d{1,4}H(\d{1,4}M)?|\d{1,4}M)))$"
        ),
    ]
    """A share of the time ("80%") or a delay after it is due ("+PT4H", "+P2D")."""
    tell: Code


class CommitmentTerms(Value):
    """One promise as the organisation's policy words it."""

    name: Code
    rule: RuleId
    duration: timedelta
    """Ignored where the basis is same_day."""
    basis: Basis = "clock"
    starts: Code
    """The milestone that starts the time, such as `reported`, at its business time."""
    ends: Code
    """The milestone that keeps the promise, such as `arrived`."""
    ladder: tuple[RungTerms, ...] = ()
    by_appointment: bool = False
    """Whether a time agreed with the customer replaces the due time (KUN-2.2.4a, ADM-8)."""
    network: bool | None = None
    """Only for network faults (true), only for customers' faults (false), or for both."""
    severities: tuple[Code, ...] | None = None
    categories: tuple[Code, ...] | None = None
    channels: tuple[Code, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> "CommitmentTerms":
        wrong: list[str] = []
        if self.basis != "same_day" and not timedelta(0) < self.duration <= LONGEST:
            wrong.append(f"duration must be longer than nothing and at most {LONGEST.days} days")
        if re.search(r"-\d+$|.{51}", self.name):
            wrong.append(
                "name must have at most 50 characters and not end in a hyphen and a number,"
                " which tell a repeated promise from the first"
            )
        if self.starts == self.ends:
            wrong.append("starts and ends must be two different milestones")
        shares = [int(r.at[:-1]) for r in self.ladder if r.at.endswith("%")]
        delays = [_DELAY.validate_python(r.at[1:]) for r in self.ladder if r.at.startswith("+")]
        mixed = any(r.at.endswith("%") for r in self.ladder[len(shares) :])
        if mixed or shares != sorted(shares) or delays != sorted(delays):
            wrong.append("ladder must rise: shares first, then delays after due, each in order")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class Pause(Value):
    """A stretch in which the time did not run, why, and what shows it."""

    reason: Code
    evidence: Reference
    since: UtcTime
    until: UtcTime | None = None
    """None while it lasts, and where the promise ended before its time ran again."""


class Commitment(Value):
    """A promise inside a case. All times are UTC.

    `rungs` are the ladder's instants, `hastened` the earlier ones that hold while nobody has taken
    the case; `fired` says how many have been told. A broken promise stays outstanding, and its
    ladder climbs on, until `met_at`.
    """

    id: Code
    name: Code
    rule: RuleId
    start: UtcTime
    due: UtcTime
    rungs: tuple[UtcTime, ...]
    hastened: tuple[UtcTime, ...]
    state: Literal["running", "paused", "kept", "broken", "cancelled"] = "running"
    fired: int = 0
    pauses: tuple[Pause, ...] = ()
    agreed: bool = False
    met_at: datetime | None = None
    """When it was fulfilled, in time or late."""
    ended_at: datetime | None = None
    """When it stopped running: met or cancelled."""
    cancelled: Code | None = None
    """Why it no longer applies."""

    @property
    def outstanding(self) -> bool:
        """Whether the customer is still waiting for it."""
        return self.state in ("running", "paused") or (
            self.state == "broken" and self.ended_at is None
        )


class CommitmentEvent(Event):
    """Something that happened to one commitment."""

    commitment: Code


class CommitmentStarted(CommitmentEvent):
    """A promise was made to the customer (服务承诺)."""

    type: Literal["CommitmentStarted"] = "CommitmentStarted"
    name: Code
    rule: RuleId
    start: UtcTime
    due: UtcTime
    rungs: tuple[UtcTime, ...]
    hastened: tuple[UtcTime, ...]


class CommitmentPaused(CommitmentEvent):
    """Its time stopped, for a reason that the policy allows, with evidence."""

    type: Literal["CommitmentPaused"] = "CommitmentPaused"
    reason: Code
    evidence: Reference


class CommitmentResumed(CommitmentEvent):
    """Its time runs again; what was left is still left."""

    type: Literal["CommitmentResumed"] = "CommitmentResumed"
    due: UtcTime
    rungs: tuple[UtcTime, ...]
    hastened: tuple[UtcTime, ...]


class CommitmentReset(CommitmentEvent):
    """The customer agreed to another time (ADM-8); `consent` is the record of that."""

    type: Literal["CommitmentReset"] = "CommitmentReset"
    due: UtcTime
    rungs: tuple[UtcTime, ...]
    hastened: tuple[UtcTime, ...]
    consent: Reference


class CommitmentRestored(CommitmentEvent):
    """It is owed again on its original clock: reopened, returned, split or backdated."""

    type: Literal["CommitmentRestored"] = "CommitmentRestored"
    reason: Code
    start: UtcTime
    due: UtcTime
    rungs: tuple[UtcTime, ...]
    hastened: tuple[UtcTime, ...]


class CommitmentKept(CommitmentEvent):
    """It was fulfilled in time."""

    type: Literal["CommitmentKept"] = "CommitmentKept"


class CommitmentBroken(CommitmentEvent):
    """It fell due and was not fulfilled."""

    type: Literal["CommitmentBroken"] = "CommitmentBroken"
    rule: RuleId


class CommitmentMetLate(CommitmentEvent):
    """A broken promise was fulfilled after all."""

    type: Literal["CommitmentMetLate"] = "CommitmentMetLate"


class CommitmentCancelled(CommitmentEvent):
    """It no longer applies."""

    type: Literal["CommitmentCancelled"] = "CommitmentCancelled"
    reason: Code


class BreachWithdrawn(CommitmentEvent):
    """A recorded breach was none: `evidence` names the fact, arrived late, that shows it."""

    type: Literal["BreachWithdrawn"] = "BreachWithdrawn"
    evidence: CommandId


class EscalationRaised(CommitmentEvent):
    """A rung of the ladder fired: this role is told (督办)."""

    type: Literal["EscalationRaised"] = "EscalationRaised"
    rule: RuleId
    rung: int
    """Counted from 1."""
    tell: Code


CommitmentEvents = (
    CommitmentStarted
    | CommitmentPaused
    | CommitmentResumed
    | CommitmentReset
    | CommitmentRestored
    | CommitmentKept
    | CommitmentBroken
    | CommitmentMetLate
    | CommitmentCancelled
    | BreachWithdrawn
    | EscalationRaised
)
AnyCommitmentEvent = Annotated[CommitmentEvents, Field(discriminator="type")]
