"""Premises: which cases are open on them, and what arrears there must wait for (interlocks)."""

import re
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import (
    CaseCommand,
    CaseId,
    Code,
    Event,
    Organisation,
    Owner,
    Reference,
    Value,
)
from schemas.case import CaseState, SharedEvents
from schemas.envelope import RecordAnswer
from schemas.policy import CaseRules


def place_of(premises: Reference) -> Reference:
    """Premises as cases meet on them: the capitals of their number do not matter."""
    return premises.casefold()


def premises_id(organisation: Organisation, premises: Reference) -> CaseId:
    """The case that knows what is open on the premises; capitals do not matter.

    Names that cannot stand in a case's name, or could be mistaken, are hashed: the first half of
    their SHA-256, in hex.
    """
    known = place_of(premises)
    plain = re.fullmatch(r"[a-z0-9-]{1,27}", known) and not organisation.endswith("-")
    if plain and "--" not in organisation and "--" not in known:
        return f"premises-{organisation}--{known}"
    return f"premises-x{sha256(f'{organisation}/{known}'.encode()).hexdigest()[:32]}"


class Stage(StrEnum):
    """Whether anything is open on the premises."""

    UNOPENED = "Unopened"
    WATCHED = "Watched"
    """Some case is open there."""
    AT_REST = "AtRest"
    """None is: the workflow ends until the next."""


class RecordPresence(CaseCommand):
    """A case says whether it is open on the premises; its highest revision counts.

    Told twice, or late after a higher revision, it changes nothing. Opens the premises' case.
    """

    type: Literal["RecordPresence"] = "RecordPresence"
    premises: Reference
    case: CaseId
    open: bool
    revision: Annotated[int, Field(ge=1)]
    outage: bool = False
    """Whether the case is a network fault: supply is out anyway."""


PremisesCommand = Annotated[RecordPresence | RecordAnswer, Field(discriminator="type")]


# Events


class PremisesOpened(Event):
    """A first case was told of: the premises are watched."""

    type: Literal["PremisesOpened"] = "PremisesOpened"
    case: CaseId
    policy: str
    premises: Reference
    owner: Owner


class PresenceRecorded(Event):
    """A case is open on the premises, or is no longer."""

    type: Literal["PresenceRecorded"] = "PresenceRecorded"
    case: CaseId
    open: bool
    revision: int
    outage: bool


class HoldRequested(Event):
    """An arrears case is asked to wait for another case that is open on the premises."""

    type: Literal["HoldRequested"] = "HoldRequested"
    arrears: CaseId
    hold: Code
    kind: Literal["open_case", "outage"]
    source: CaseId


class HoldReleaseRequested(Event):
    """The other case has ended: an arrears case need not wait for it any more."""

    type: Literal["HoldReleaseRequested"] = "HoldReleaseRequested"
    arrears: CaseId
    hold: Code


class PremisesRested(Event):
    """Nothing is open on the premises: their case rests until something is."""

    type: Literal["PremisesRested"] = "PremisesRested"


PremisesEvents = (
    PremisesOpened | PresenceRecorded | HoldRequested | HoldReleaseRequested | PremisesRested
)
PremisesEvent = Annotated[PremisesEvents | SharedEvents, Field(discriminator="type")]


# State


class Presence(Value):
    """A case on the premises, by the highest revision that it told."""

    case: CaseId
    open: bool
    revision: int
    since: int
    """The revision from which it has been known as it is."""
    outage: bool

    @property
    def chased(self) -> bool:
        """Whether it is an arrears case, which waits for the others."""
        return self.case.startswith("arrears-")


class Interlock(Value):
    """An arrears case that was asked to wait for another case."""

    arrears: CaseId
    hold: Code
    kind: Literal["open_case", "outage"]
    source: CaseId


class PremisesState(CaseState[Stage]):
    """All that `decide` may consult."""

    stage: Stage = Stage.UNOPENED
    opened_at: datetime | None = None
    premises: Reference | None = None
    presences: tuple[Presence, ...] = ()
    interlocks: tuple[Interlock, ...] = ()
    """Holds that were asked for and not taken back, of arrears cases that are open."""

    @property
    def rules(self) -> CaseRules:
        """Those of repairs, which every policy has: premises promise nothing of their own."""
        return self.policy.repair
