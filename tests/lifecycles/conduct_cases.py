"""Sample staff files: driven by real commands, on fixed dates, with the shipped policies."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES, Plan, plan
from lifecycles.policies import Pinned, pinned
from schemas.base import SYSTEM, Actor, Event
from schemas.conduct import ConductState, Count, Stage
from schemas.envelope import CommandEnvelope, Message
from schemas.policy import Policy
from tests.lifecycles.repair_cases import GAS, said

CONDUCT = LIFECYCLES["conduct"]
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
"""08:00 in Shanghai: days count from here."""

PERSON = Actor(subject="E-7", role="crew", proof="token")
BOSS = Actor(subject="B-1", role="supervisor", proof="token")
OFFICER = Actor(subject="officer-1", role="conduct_officer", proof="token")
SECOND = Actor(subject="officer-2", role="conduct_officer", proof="token")
HEAD = Actor(subject="head-1", role="division_head", proof="token")
ADMIN = Actor(subject="admin-1", role="admin", proof="token")


def days(count: float) -> datetime:
    """So many days after Monday morning."""
    return MONDAY + timedelta(days=count)


def finding(number: int, staff: str = "E-7") -> str:
    return f"complaint-{number}/{staff}"


def told(number: int, day: float, **fields: Any) -> dict[str, Any]:
    """A complaint's finding: a slight one, upheld, of conduct and decision on the same `day`."""
    staff = fields.get("staff", "E-7")
    usual: dict[str, Any] = {
        "staff": staff,
        "reports_to": "B-1",
        "finding": finding(number, staff),
        "complaint": f"complaint-{number}",
        "revision": 1,
        "outcome": "upheld",
        "gravity": "light",
        "cause": "carelessness",
        "conduct_at": days(day),
        "decided_at": days(day),
    }
    return usual | fields


def command(
    name: str, at: float | None = None, /, *, id: str = "c", actor: Actor = OFFICER, **body: Any
) -> CommandEnvelope[Any]:
    """A command as it comes in: parsed from JSON-like input."""
    return CONDUCT.command(
        {
            "id": id,
            "actor": actor.model_dump(),
            "occurred_at": None if at is None else days(at),
            "body": {"type": name, **body},
        }
    )


class File:
    """A file as its workflow drives it: commands, and the deadlines between them, in order."""

    def __init__(self, policy: Pinned = GAS, state: ConductState | None = None) -> None:
        self.state: ConductState = state or CONDUCT.initial("conduct-e-7", "town", *policy)
        self.events: list[Event] = []
        self.messages: list[Message] = []
        self.version = 0
        self.sent = 0

    def tell(self, number: int, at: float, /, day: float | None = None, **fields: Any) -> list[str]:
        """What a finding causes that is told `at`, of conduct and decision `day` (the same day)."""
        body = told(number, at if day is None else day, **fields)
        return self.do("RecordFinding", at, actor=SYSTEM, **body)

    def overturn(self, number: int, at: float, revision: int = 2) -> list[str]:
        return self.tell(number, at, outcome="not_upheld", revision=revision)

    def do(
        self,
        name: str,
        at: float,
        /,
        *,
        late: float | None = None,
        actor: Actor = OFFICER,
        **body: Any,
    ) -> list[str]:
        """What a command causes that happened `at` (and was told only `late`): see `said`.

        Deadlines on the way pass first; they are in `events`. Raises `Rejected`.
        """
        self.sent += 1
        sent = command(name, at, id=f"c{self.sent}", actor=actor, **body)
        made = self._plan([sent], days(at if late is None else late))
        if made.refused:
            raise Rejected(made.refused[0][1])
        return [word for step in made.steps if step.command is sent for word in said(step.events)]

    def wait(self, until: float) -> list[str]:
        """What the clock causes up to then, both ends included."""
        made = self._plan([], days(until))
        return [word for step in made.steps for word in said(step.events)]

    def refusal(self, name: str, at: float, /, **fields: Any) -> list[str]:
        """The reasons against a command. The file must be as it was."""
        before, count = self.state, len(self.events)
        try:
            caused = self.do(name, at, **fields)
        except Rejected as refused:
            assert self.state == before or len(self.events) > count, "a refusal changed the file"
            return list(refused.reasons)
        raise AssertionError(f"{name} was not refused but caused {caused}")

    def choice(self, decision: str = "approve", **fields: Any) -> dict[str, Any]:
        """What a decision of the latest approval must name."""
        asked = self.state.approvals[-1]
        usual = {"approval": asked.id, "decision": decision, "facts_hash": asked.facts_hash}
        return usual | ({"reason": "unfounded"} if decision == "reject" else {}) | fields

    def count(self, number: int) -> Count:
        return next(k for k in self.state.counts if k.complaint == f"complaint-{number}")

    def happened(self) -> list[str]:
        return said(self.events)

    def at(self, name: str) -> list[float]:
        """When events of a type happened, in days."""
        return [(e.at - MONDAY) / timedelta(days=1) for e in self.events if e_type(e) == name]

    def told_to(self, recipient: str) -> list[str]:
        return [m.template for m in self.messages if m.recipient == recipient]

    def _plan(self, commands: Sequence[CommandEnvelope[Any]], now: datetime) -> Plan:
        made = plan(CONDUCT, self.state, self.version, commands, now)
        self.state, self.version = made.state, made.version
        for step in made.steps:
            self.events += step.events
            self.messages += [message for _, message in step.messages]
        return made


def e_type(event: Event) -> str:
    return type(event).__name__


def again(policy: Pinned, **conduct: Any) -> Pinned:
    """A policy with other figures in its conduct section; its approval's under `approval`."""
    content = json.loads(policy.policy.model_dump_json())
    content["conduct"]["approvals"]["reassignment"] |= conduct.pop("approval", {})
    content["conduct"] |= conduct
    return pinned(Policy.model_validate(content).model_dump_json())


@cache
def silent(meaning: str) -> Pinned:
    """A policy in which silence means something else."""
    conduct = GAS.policy.conduct
    assert conduct is not None
    terms = conduct.approvals["reassignment"].model_copy(update={"silence": meaning})
    conduct = conduct.model_copy(update={"approvals": {"reassignment": terms}})
    return Pinned(GAS.policy.model_copy(update={"conduct": conduct}), GAS.hash)


def marked(policy: Pinned = GAS) -> File:
    file = File(policy)
    file.tell(1, 0)
    return file


def investigated() -> File:
    file = File()
    file.tell(1, 0, gravity="serious", cause="breach_of_rules")
    return file


def proposed(policy: Pinned = GAS, **fields: Any) -> File:
    """Three strikes: the third on the second day, with a week to reply."""
    file = File(policy)
    for number in (1, 2, 3):
        file.tell(number, number - 1, **fields)
    return file


def awaiting(policy: Pinned = GAS) -> File:
    """Replied on the third day: somebody must decide within five days."""
    file = proposed(policy)
    file.do("RecordReply", 3, actor=PERSON, evidence="letter/1")
    return file


def reassigned(policy: Pinned = GAS) -> File:
    file = awaiting(policy)
    file.do("DecideApproval", 4, actor=HEAD, **file.choice())
    return file


def rested() -> File:
    file = marked()
    file.do("RecordMeasure", 1, finding=finding(1), evidence="minutes/1")
    file.wait(365)
    return file


SAMPLES: Mapping[Stage, Callable[[], File]] = {
    Stage.UNOPENED: File,
    Stage.AT_REST: rested,
    Stage.MARKED: marked,
    Stage.UNDER_INVESTIGATION: investigated,
    Stage.REASSIGNMENT_PROPOSED: proposed,
    Stage.AWAITING_APPROVAL: awaiting,
    Stage.REASSIGNED: reassigned,
}
"""A file at each stage, reached as a file reaches it, by the fifth day; at rest a year later."""
