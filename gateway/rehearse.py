"""What a policy would have made of a file's cases: the pure lifecycle alone, no server.

Large files are shared out among the processors; the result is the same either way.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from gateway.filings import Filing, Reader, Record, Reject, Row, check, records
from gateway.rehearse_pool import shared_out
from lifecycles.policies import Pinned
from schemas.commitments import Commitment
from schemas.envelope import Json

States = Literal["kept", "broken", "open", "cancelled"]

_CHUNK = 250
_ALONE = 5_000
"""Up to so many rows, starting other processes takes longer than they save."""


class Promise(Protocol):
    """What is counted: a case's commitment, in its state or in the read model."""

    @property
    def rule(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def due(self) -> datetime: ...
    @property
    def met_at(self) -> datetime | None: ...
    @property
    def ended_at(self) -> datetime | None: ...
    @property
    def fired(self) -> int: ...


class Outcome(NamedTuple):
    """What became of one promise."""

    rule: str
    state: States
    delay_seconds: float | None
    """Of a broken one: from due until it was met, or until now where it is still owed."""


@dataclass
class RuleOutcome:
    """What became of all promises under one rule."""

    states: Counter[States] = field(default_factory=Counter[States])
    delays: list[float] = field(default_factory=list[float])
    """Of the broken ones, in seconds."""
    escalations: Counter[int] = field(default_factory=Counter[int])
    """How often each rung of the ladder was told; rungs count from 1."""

    @property
    def median_delay(self) -> float | None:
        """In seconds; None where nothing was broken."""
        return statistics.median(self.delays) if self.delays else None

    @property
    def worst_delay(self) -> float | None:
        """In seconds; None where nothing was broken."""
        return max(self.delays, default=None)

    def add(self, promise: Promise, now: datetime) -> Outcome:
        """Count a promise as it stands at `now` (UTC)."""
        outcome = _outcome(promise, now)
        self.states[outcome.state] += 1
        if outcome.delay_seconds is not None:
            self.delays.append(outcome.delay_seconds)
        for rung in range(1, promise.fired + 1):
            self.escalations[rung] += 1
        return outcome

    def to_json(self) -> Json:
        return {
            "kept": self.states["kept"],
            "broken": self.states["broken"],
            "open": self.states["open"],
            "cancelled": self.states["cancelled"],
            "median_delay_seconds": self.median_delay,
            "worst_delay_seconds": self.worst_delay,
            "escalations": {str(rung): self.escalations[rung] for rung in sorted(self.escalations)},
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """A case that comes out otherwise under the other policy."""

    line: int
    number: str
    case_id: str
    promises: dict[str, tuple[Outcome | None, Outcome | None]]
    """Those that come out otherwise, by name; None where a policy does not make them."""
    refused: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Why the lifecycle refuses the case under each policy."""

    def to_json(self) -> Json:
        a, b = self.refused
        return {
            "line": self.line,
            "number": self.number,
            "case": self.case_id,
            "promises": {
                name: {"a": a._asdict() if a else None, "b": b._asdict() if b else None}
                for name, (a, b) in self.promises.items()
            },
            "refused": {"a": list(a), "b": list(b)},
        }


@dataclass
class Rehearsal:
    """A file's cases under a policy and, where asked, beside it under another."""

    cases: int = 0
    rejects: list[Reject] = field(default_factory=list[Reject])
    rules: dict[str, RuleOutcome] = field(default_factory=dict[str, RuleOutcome])
    against: "Rehearsal | None" = None
    differences: list[Difference] = field(default_factory=list[Difference])

    def to_json(self) -> Json:
        result: Json = {
            "cases": self.cases,
            "rejected": len(self.rejects),
            "rules": {rule: self.rules[rule].to_json() for rule in sorted(self.rules)},
        }
        if self.against:
            result["against"] = self.against.to_json()
            result["differences"] = [difference.to_json() for difference in self.differences]
        return result

    def merge(self, later: "Rehearsal") -> None:
        """Take in what comes later in the file."""
        self.cases += later.cases
        self.rejects += later.rejects
        for rule, more in later.rules.items():
            total = self.rules.setdefault(rule, RuleOutcome())
            total.states.update(more.states)
            total.delays += more.delays
            total.escalations.update(more.escalations)
        if self.against and later.against:
            self.against.merge(later.against)
        self.differences += later.differences

    def take(self, row: Row, pinned: Pinned, now: datetime) -> dict[str, Outcome] | Reject:
        """Count a row; what became of its promises, by their names."""
        made = check(row, pinned, now)
        if isinstance(made, Reject):
            self.rejects.append(made)
            return made
        self.cases += 1
        promises: dict[str, Outcome] = {}
        commitments: tuple[Commitment, ...] = made.state.commitments
        for c in commitments:
            promises[c.id] = self.rules.setdefault(c.rule, RuleOutcome()).add(c, now)
        return promises


def rehearse(
    filing: Filing,
    organisation: str,
    pinned: Pinned,
    now: datetime,
    *,
    against: Pinned | None = None,
    report_progress: Callable[[int], None] = lambda done: None,
) -> Rehearsal:
    """Put every row of the file through the lifecycle as it would stand at `now` (UTC).

    `report_progress` hears how many rows are done; `filing.rows` is how many there are. Raises
    `FilingError` if the file changed since it was opened.
    """
    job = _Job(filing, organisation, now, pinned, against)
    result = Rehearsal(against=Rehearsal() if against else None)
    done = 0
    alone = filing.rows <= _ALONE
    for size, part in shared_out(job.run, records(filing), chunk=_CHUNK, alone=alone):
        result.merge(part)
        done += size
        report_progress(done)
    return result


class _Job(NamedTuple):
    filing: Filing
    organisation: str
    now: datetime
    pinned: Pinned
    against: Pinned | None

    def run(self, chunk: list[Record]) -> Rehearsal:
        reader = Reader(self.filing, self.organisation, self.now)
        result = Rehearsal(against=Rehearsal() if self.against else None)
        for record in chunk:
            row = reader.read(record)
            if isinstance(row, Reject):
                result.rejects.append(row)
                if result.against:
                    result.against.rejects.append(row)
                continue
            outcome = result.take(row, self.pinned, self.now)
            if result.against and self.against:
                other = result.against.take(row, self.against, self.now)
                result.differences += _differences(row, outcome, other)
        return result


def _outcome(promise: Promise, now: datetime) -> Outcome:
    if promise.state == "broken":
        end = promise.met_at or promise.ended_at or now
        return Outcome(promise.rule, "broken", (end - promise.due).total_seconds())
    if promise.state == "kept" or promise.state == "cancelled":
        return Outcome(promise.rule, promise.state, None)
    return Outcome(promise.rule, "open", None)


def _differences(
    row: Row, a: dict[str, Outcome] | Reject, b: dict[str, Outcome] | Reject
) -> Iterator[Difference]:
    if isinstance(a, Reject) or isinstance(b, Reject):
        refused = tuple(x.reasons if isinstance(x, Reject) else () for x in (a, b))
        if refused[0] != refused[1]:
            yield Difference(row.line, row.number, row.case_id, {}, (refused[0], refused[1]))
        return
    pairs = {name: (a.get(name), b.get(name)) for name in dict.fromkeys((*a, *b))}
    promises = {name: (x, y) for name, (x, y) in pairs.items() if _differ(x, y)}
    if promises:
        yield Difference(row.line, row.number, row.case_id, promises)


def _differ(a: Outcome | None, b: Outcome | None) -> bool:
    """Whether it came out otherwise; the same outcome under another rule's id is the same."""
    return a is None or b is None or a[1:] != b[1:]
