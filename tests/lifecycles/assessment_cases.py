"""Sample assessments: driven by real commands, on fixed dates, with the shipped water policy."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES, Plan, plan
from lifecycles.policies import Pinned, pinned
from schemas.assessment import AssessmentState, Stage
from schemas.base import SYSTEM, Actor, Event
from schemas.envelope import CommandEnvelope, Message
from schemas.policy import Policy
from tests.lifecycles.repair_cases import WATER, said

ASSESSMENT = LIFECYCLES["assessment"]
FIFTH = datetime(2026, 7, 4, 22, tzinfo=UTC)
"""06:00 in Shanghai on 5 July 2026, when the first half of the year is counted: day 0."""
ENDED = datetime(2026, 6, 30, 16, tzinfo=UTC)
"""Where the half-year ends there."""
COUNTED = datetime(2026, 7, 4, 16, tzinfo=UTC)
"""When 5 July begins there."""

READER = Actor(subject="E-7", role="reader", proof="token")
OTHER_READER = Actor(subject="E-8", role="reader", proof="token")
CLERK = Actor(subject="clerk-1", role="clerk", proof="token")
STATION = Actor(subject="station-1", role="station_head", proof="token")
OTHER_STATION = Actor(subject="station-2", role="station_head", proof="token")
HEAD = Actor(subject="head-1", role="division_head", proof="token")
SECOND_HEAD = Actor(subject="head-2", role="division_head", proof="token")
ADMIN = Actor(subject="admin-1", role="admin", proof="token")

WHY: Mapping[str, Any] = {"ground": "vacant", "evidence": "photo/1"}


def days(count: float) -> datetime:
    """So many days after the run."""
    return FIFTH + timedelta(seconds=round(count * 86_400))


def accounts(*numbers: int) -> list[str]:
    return [f"arrears-{number}" for number in numbers]


def opening(many: int = 3, **fields: Any) -> dict[str, Any]:
    usual = {"reader": "E-7", "half_year": "2026-H1", "known_until": COUNTED}
    return {**usual, "accounts": accounts(*range(1, many + 1)), **fields}


def command(
    name: str, at: float | None = None, /, *, id: str = "c", actor: Actor = CLERK, **body: Any
) -> CommandEnvelope[Any]:
    """A command as it comes in: parsed from JSON-like input."""
    return ASSESSMENT.command(
        {
            "id": id,
            "actor": actor.model_dump(),
            "occurred_at": None if at is None else days(at),
            "body": {"type": name, **body},
        }
    )


class File:
    """An assessment as its workflow drives it: commands, and the deadlines between, in order."""

    def __init__(self, policy: Pinned = WATER) -> None:
        self.state: AssessmentState = ASSESSMENT.initial("assessment-1", "town", *policy)
        self.events: list[Event] = []
        self.messages: list[Message] = []
        self.version = 0
        self.sent = 0

    def do(
        self,
        name: str,
        at: float,
        /,
        *,
        told: float | None = None,
        actor: Actor = CLERK,
        **body: Any,
    ) -> list[str]:
        """What a command causes that happened `at` (and was `told` only later): see `said`.

        Deadlines on the way pass first; they are in `events`. Raises `Rejected`.
        """
        self.sent += 1
        sent = command(name, at, id=f"c{self.sent}", actor=actor, **body)
        made = self._plan([sent], days(at if told is None else told))
        if made.refused:
            raise Rejected(made.refused[0][1])
        return [word for step in made.steps if step.command is sent for word in said(step.events)]

    def wait(self, until: float) -> list[str]:
        """What the clock causes up to then, both ends included."""
        made = self._plan([], days(until))
        return [word for step in made.steps for word in said(step.events)]

    def refusal(self, name: str, at: float, /, **fields: Any) -> list[str]:
        """The reasons against a command. The case must be as it was."""
        before, count = self.state, len(self.events)
        try:
            caused = self.do(name, at, **fields)
        except Rejected as refused:
            assert self.state == before or len(self.events) > count, "a refusal changed the case"
            return list(refused.reasons)
        raise AssertionError(f"{name} was not refused but caused {caused}")

    def ask(self, at: float, *numbers: int, actor: Actor = CLERK, **fields: Any) -> list[str]:
        """Ask not to count some accounts."""
        body = {**WHY, "accounts": accounts(*numbers), **fields}
        return self.do("RequestExclusion", at, actor=actor, **body)

    def choice(self, decision: str = "approve", **fields: Any) -> dict[str, Any]:
        """What a decision of the latest approval that is asked must name."""
        asked = [a for a in self.state.approvals if a.state == "requested"][-1]
        usual = {"approval": asked.id, "decision": decision, "facts_hash": asked.facts_hash}
        return usual | ({"reason": "unfounded"} if decision == "reject" else {}) | fields

    def decided(self, at: float, actor: Actor, decision: str = "approve") -> list[str]:
        return self.do("DecideApproval", at, actor=actor, **self.choice(decision))

    def happened(self) -> list[str]:
        return said(self.events)

    def told_to(self, recipient: str) -> list[str]:
        return [m.template for m in self.messages if m.recipient == recipient]

    def _plan(self, commands: Sequence[CommandEnvelope[Any]], now: datetime) -> Plan:
        made = plan(ASSESSMENT, self.state, self.version, commands, now)
        self.state, self.version = made.state, made.version
        for step in made.steps:
            for event in step.events:
                # What is kept must come back the same from its stored form.
                assert ASSESSMENT.event(event.model_dump(mode="json")) == event
            self.events += step.events
            self.messages += [message for _, message in step.messages]
        return made


def with_silence(confirmation: str, exclusion: str) -> Pinned:
    """The water policy, where silence means something else."""
    content = json.loads(WATER.policy.model_dump_json())
    asked = content["assessment"]["approvals"]
    asked["confirmation"]["silence"] = confirmation
    asked["exclusion"]["silence"] = exclusion
    return pinned(Policy.model_validate(content).model_dump_json())


def opened(many: int = 3, policy: Pinned = WATER) -> File:
    file = File(policy)
    file.do("OpenAssessment", 0, actor=SYSTEM, **opening(many))
    return file


def asked(policy: Pinned = WATER) -> File:
    file = opened(policy=policy)
    file.ask(1, 1, 2)
    return file


def confirmed(policy: Pinned = WATER) -> File:
    file = asked(policy)
    file.decided(2, STATION)
    return file


def excluded() -> File:
    file = confirmed()
    file.decided(3, HEAD)
    return file


def closed() -> File:
    file = opened()
    file.wait(10)
    return file


SAMPLES: Mapping[Stage, Callable[[], File]] = {
    Stage.UNOPENED: File,
    Stage.OPEN: opened,
    Stage.AWAITING_CONFIRMATION: asked,
    Stage.AWAITING_APPROVAL: confirmed,
    Stage.CLOSED: closed,
}
"""An assessment at each stage, reached as a case reaches it."""
