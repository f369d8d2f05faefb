"""The archive register: which runs' Temporal histories were archived, and the hash of each."""

import re
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.base import CaseCommand, CaseId, Event, Organisation, Owner, UtcTime, Value
from schemas.case import CaseState, SharedEvents
from schemas.envelope import DeadlinePassed
from schemas.policy import CaseRules

LONGER = timedelta(days=7)
"""So long after its month a register is open for histories that come late."""

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256, in hex."""

RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]
"""One run of a case's workflow, as Temporal names it."""

BuildId = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")]
"""The build of a worker: <version>+<hash of its sources>, if nobody named it otherwise."""

_NAMED = re.compile(r"--([0-9]{4})-(0[1-9]|1[0-2])(-[1-9][0-9]*)?$")


def register_id(organisation: Organisation, at: datetime, volume: int = 1) -> CaseId:
    """The register of a month (UTC); when a volume is full, the next one goes on."""
    further = "" if volume == 1 else f"-{volume}"
    return f"archive-{organisation}--{at.astimezone(UTC):%Y-%m}{further}"


def open_until(case_id: CaseId) -> datetime | None:
    """When the register of that name ends (UTC); None where its name names no month."""
    named = _NAMED.search(case_id)
    if named is None or named[1] in ("0000", "9999"):
        return None
    first = date(int(named[1]), int(named[2]), 1)
    after = (first + timedelta(days=31)).replace(day=1)
    return datetime(after.year, after.month, 1, tzinfo=UTC) + LONGER


class Stage(StrEnum):
    """Whether histories are still entered."""

    UNOPENED = "Unopened"
    OPEN = "Open"
    CLOSED = "Closed"
    """Its month is over, or it is full: the next one goes on."""


class RecordHistory(CaseCommand):
    """The archiver enters a run's history: what its hash is, and what made it.

    `sha256` is over the history as binary protobuf (temporal.api.history.v1.History, serialised
    deterministically), before compression. Opens the register.
    """

    type: Literal["RecordHistory"] = "RecordHistory"
    case: CaseId
    run: RunId
    sha256: Hash
    bytes: Annotated[int, Field(ge=1)]
    """Before compression."""
    events: Annotated[int, Field(ge=1)]
    """Of the history: Temporal's, not the log's."""
    build_id: BuildId | None
    """The build that the run ended under, as the history says it; the history names them all."""
    sdk: str
    """The version of Temporal's SDK that it ended under."""
    lock: Hash | None
    """Of the lock file that the archiving worker was installed from, as far as it is known."""
    original: bool
    """False: the server had deleted the run's own; this one is of a run that only read the log."""


ArchiveCommand = Annotated[RecordHistory | DeadlinePassed, Field(discriminator="type")]


# Events


class ArchiveOpened(Event):
    """A month's first history was archived, or the volume before is full."""

    type: Literal["ArchiveOpened"] = "ArchiveOpened"
    case: CaseId
    policy: str
    owner: Owner
    until: UtcTime
    """When it closes at the latest."""
    room: int
    """For so many histories."""


class HistoryArchived(Event):
    """A run's Temporal history is kept beside the log under this hash."""

    type: Literal["HistoryArchived"] = "HistoryArchived"
    case: CaseId
    run: RunId
    sha256: Hash
    bytes: int
    events: int
    build_id: BuildId | None
    sdk: str
    lock: Hash | None
    original: bool


class ArchiveClosed(Event):
    """Nothing more is entered: the next register goes on."""

    type: Literal["ArchiveClosed"] = "ArchiveClosed"
    reason: Literal["month_over", "full"]


ArchiveEvents = ArchiveOpened | HistoryArchived | ArchiveClosed
ArchiveEvent = Annotated[ArchiveEvents | SharedEvents, Field(discriminator="type")]


# State


class ArchiveState(CaseState[Stage]):
    """All that `decide` may consult."""

    stage: Stage = Stage.UNOPENED
    opened_at: datetime | None = None
    until: datetime | None = None
    room: int = 0
    entered: int = 0
    """Histories so far."""

    @property
    def rules(self) -> CaseRules:
        """Those of repairs, which every policy has: a register promises nothing of its own."""
        return self.policy.repair


# The archiver


class Archiving(Value):
    """What an archiver works for: its workflow's only argument."""

    organisation: Organisation


class Archived(Value):
    """What a stretch of archiving came to."""

    histories: int
    rebuilt: int = 0
    """Cases that were taken up from the log again, because the server had deleted them."""
