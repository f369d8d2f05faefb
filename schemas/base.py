"""What every message is made of: frozen models, UTC times, opaque identifiers, the actor."""

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints


class Value(BaseModel):
    """A frozen model that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def nothing(value: object) -> bool:
    """For `exclude_if`: what came later to a message stays out of its bytes where it says nothing.

    So stored bodies and the hashes of commands are what they were.
    """
    return not value


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("needs a time zone, for example 2026-05-01T08:00:00+08:00")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the calendar in UTC; correct it") from None


UtcTime = Annotated[datetime, AfterValidator(_utc)]
"""An instant. Any time zone is accepted, UTC is kept; a naive time is refused."""


def _day(value: date) -> date:
    if not 1900 < value.year < 2199:
        raise ValueError("must lie between 1901 and 2198; correct it")
    return value


Day = Annotated[date, AfterValidator(_day)]
"""A date by the organisation's calendar, which is reckoned with."""

CaseId = Annotated[
    str,
    StringConstraints(
        pattern=(
            r"^(repair|complaint|arrears|conduct|satisfaction|premises|assessment|archive)"
            r"-[a-z0-9-]{1,60}$"
        )
    ),
]
"""A case's name: also its workflow id and its stream. Opaque, never personal."""

PartyId = Annotated[str, StringConstraints(pattern=r"^party-[a-z0-9-]{1,60}$")]
"""A customer in the vault."""

Organisation = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,30}$")]

Subject = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
"""A staff number, crew, unit or service: who, without saying their name."""

Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,59}$")]
"""A word from a code list (a reason, a fault, a part); free text belongs in the vault."""

Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9:/._#-]{0,119}$")]
"""Where evidence is kept: a photo's, a call's or a slip's number."""

RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Z]+-[A-Za-z0-9.]+$")]
"""A rule of the ledger, such as KUN-2.2.4b."""

CommandId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9:/._#+-]{0,199}$")]
"""A command's identity, given by its sender: the same id and content is done once."""

Role = Literal[
    "service",
    "clerk",
    "crew",
    "reader",
    "supervisor",
    "station_head",
    "division_head",
    "conduct_officer",
    "auditor",
    "admin",
    "system",
]


class Actor(Value):
    """Who did it, in which role, and how that was proven (KUN-8.4)."""

    subject: Subject
    role: Role
    proof: Literal["system", "local", "import", "token", "signature"]


SYSTEM = Actor(subject="standpipe", role="system", proof="system")
"""The clock and the case itself: deadlines and answers between cases."""


class Event(Value):
    """Something that happened, at a business time; never refused, never changed.

    Each has a literal `type`, and a new shape is a new `schema_version`.
    """

    schema_version: Literal[1] = 1
    at: UtcTime


class Command(Value):
    """Something that somebody asks of a case; it may be refused. Each has a literal `type`."""


class CaseCommand(Command):
    """Something that one case asks of another, and nobody else."""


class Owner(Value):
    """Who answers for the case (ADM-1): a person, or the unit or role until a person takes it."""

    kind: Literal["person", "unit", "role"]
    id: Subject


class Ownership(Value):
    """An owner and since when; it lasts until the next one begins."""

    owner: Owner
    since: UtcTime
