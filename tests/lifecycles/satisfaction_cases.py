"""The satisfaction register as its workflow drives it, on fixed dates, under the gas policy."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES, plan
from lifecycles.policies import Pinned
from schemas.base import SYSTEM, Actor, Event
from schemas.satisfaction import ComplaintCounts, SatisfactionState
from tests.lifecycles.repair_cases import GAS

SATISFACTION = LIFECYCLES["satisfaction"]
HEAD = Actor(subject="head-1", role="division_head", proof="token")
ADMIN = Actor(subject="admin-1", role="admin", proof="token")
CLERK = Actor(subject="clerk-1", role="clerk", proof="token")
SEED = "0123456789abcdef" * 2

Counts = Mapping[str, tuple[int, int]]
"""By department: how many answered, how many of them were satisfied."""


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def tallies(counts: Counts) -> list[dict[str, Any]]:
    return [
        {"department": d, "asked": answered + 1, "answered": answered, "satisfied": satisfied}
        for d, (answered, satisfied) in counts.items()
    ]


def counts(
    category: str = "late", department: str | None = "counter", **numbers: int
) -> dict[str, Any]:
    """A month's complaints of one kind; what is left out is none."""
    names = [n for n in ComplaintCounts.model_fields if n not in ("category", "department")]
    return {"category": category, "department": department, **dict.fromkeys(names, 0), **numbers}


class Register:
    """The register as its workflow drives it: commands, and the deadlines between them."""

    def __init__(self, policy: Pinned = GAS) -> None:
        self.state: SatisfactionState = SATISFACTION.initial(
            "satisfaction-register", "town", *policy
        )
        self.events: list[Event] = []
        self.version = 0
        self.said: list[tuple[str, str, str]] = []

    def do(
        self, name: str, at: str | datetime, /, *, actor: Actor = SYSTEM, **body: Any
    ) -> list[str]:
        """What a command causes, by type; deadlines on the way pass first. Raises `Rejected`."""
        when = day(at) if isinstance(at, str) else at
        sent = SATISFACTION.command(
            {
                "id": f"c{self.version}/{name}",
                "actor": actor.model_dump(),
                "body": {"type": name, **body},
            }
        )
        made = plan(SATISFACTION, self.state, self.version, [sent], when)
        if made.refused:
            raise Rejected(made.refused[0][1])
        for step in made.steps:
            # What is kept must come back the same from its stored form.
            for event in step.events:
                stored = event.model_dump(mode="json")
                assert SATISFACTION.event(stored) == event
            self.events += step.events
            self.said += [(m.to, m.recipient, m.template) for _, m in step.messages]
        self.state, self.version = made.state, made.version
        (mine,) = (step for step in made.steps if step.command is sent)
        return [e.type for e in mine.events]  # pyright: ignore

    def wait(self, until: str) -> list[str]:
        """What the clock causes up to then."""
        made = plan(SATISFACTION, self.state, self.version, [], day(until))
        caused = [event for step in made.steps for event in step.events]
        self.said += [(m.to, m.recipient, m.template) for s in made.steps for _, m in s.messages]
        self.state, self.version = made.state, made.version
        self.events += caused
        return [e.type for e in caused]  # pyright: ignore

    def refusal(self, name: str, at: str, /, **body: Any) -> list[str]:
        before = self.state
        with pytest.raises(Rejected) as refused:
            self.do(name, at, **body)
        assert self.state == before
        return list(refused.value.reasons)

    def month(self, month: str, at: str, counts: Counts, **more: Any) -> list[str]:
        return self.do("ReportMonth", at, month=month, tallies=tallies(counts), **more)

    def year(self, year: int, counts: Counts, *, at: str | None = None) -> list[str]:
        return self.do("RankYear", at or f"{year + 1}-01-10", year=year, tallies=tallies(counts))

    def sample(self, population: Sequence[str], *, seed: str = SEED, **times: str) -> list[str]:
        since, until = times.get("since", "2026-05-03"), times.get("until", "2026-05-04")
        return self.do(
            "DrawSample",
            times.get("at", "2026-05-04T06:00"),
            since=day(since),
            until=day(until),
            population=population,
            seed=seed,
        )

    def last(self, type: str) -> Any:
        return next(e for e in reversed(self.events) if getattr(e, "type", None) == type)
