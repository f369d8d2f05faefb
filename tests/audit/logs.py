"""Logs to audit: random lives, made by the pure rules and appended to a real PostgreSQL.

No Temporal is needed. Logs of a million events, for the benchmark, are made by bench/audit_logs.py.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

from activities.event_log import EventLog
from gateway.policies import content_of
from lifecycles.lifecycle import lifecycle_of, plan
from lifecycles.policies import pinned
from schemas.base import SYSTEM, Actor
from schemas.envelope import AppendRequest, CommandEnvelope, Json
from tests.lifecycles import arrears_cases, complaint_cases, conduct_cases, repair_cases
from tests.lifecycles.repair_cases import MONDAY, POLICIES

GAS, WATER = content_of("gas", POLICIES), content_of("water", POLICIES)
HEAD = Actor(subject="head-1", role="division_head", proof="token")


class Word(NamedTuple):
    """Something that somebody may say to a case."""

    name: str
    actor: Actor
    body: Mapping[str, Any]


def _words(commands: Mapping[str, Mapping[str, Any]], actor: Actor) -> list[Word]:
    own = {"DeadlinePassed", "RecordAnswer"}
    return [
        Word(name, actor, {**body, **({"crew": "crew-1"} if "crew" in body else {})})
        for name, body in commands.items()
        if name not in own
    ]


WORDS: Mapping[str, Sequence[Word]] = {
    "repair": _words(repair_cases.COMMANDS, repair_cases.CLERK),
    "complaint": _words(complaint_cases.COMMANDS, HEAD),
    "arrears": [
        Word(name, actor, body)
        for name, (actor, body) in arrears_cases.COMMANDS.items()
        if name not in ("DeadlinePassed", "RecordAnswer")
    ],
    "conduct": [
        Word("RecordFinding", SYSTEM, conduct_cases.told(number, 0, gravity=gravity))
        for number in (1, 2, 3)
        for gravity in ("light", "serious")
    ],
    "premises": [
        Word("RecordPresence", SYSTEM, {"premises": "P-1", "case": c, "open": o, "revision": n})
        for c in ("repair-9", "arrears-9")
        for n, o in ((1, True), (2, False), (3, True))
    ],
}
"""By kind of case; the first opens it."""


class Life:
    """One case as it is lived: an append for each time that somebody speaks."""

    def __init__(self, organisation: str, case_id: str, random: Random) -> None:
        kind = case_id.partition("-")[0]
        self.case_id = case_id
        self._organisation = organisation
        self._random = random
        self._policy = WATER if kind in ("arrears", "premises") else GAS
        self._lifecycle = lifecycle_of(case_id)
        self._words = WORDS[kind]
        self._now = MONDAY + timedelta(
            minutes=random.randrange(600), microseconds=random.choice((0, 7))
        )
        self.state = self._lifecycle.initial(case_id, organisation, *pinned(self._policy))
        self.version = 0
        self._said = 0

    def next(self) -> AppendRequest | None:
        """What is appended next; None where nothing that was tried is possible any more."""
        for _ in range(12):
            count = self._random.choice((1, 1, 1, 2))
            made = plan(
                self._lifecycle,
                self.state,
                self.version,
                [self._command() for _ in range(count)],
                self._now,
            )
            if made.steps:
                break
        else:
            return None
        request = AppendRequest(
            organisation=self._organisation,
            stream=self.case_id,
            expected_version=self.version,
            policy=self._policy if self.version == 0 else None,
            decisions=tuple(step.decision() for step in made.steps),
            summary=self._lifecycle.summary(made.state),
        )
        self.state, self.version = made.state, made.version
        return request

    def _command(self) -> CommandEnvelope[Any]:
        self._said += 1
        self._now += timedelta(minutes=self._random.choice((1, 5, 5, 30, 60, 600)))
        possible = set(self._lifecycle.possible(self.state))
        fitting = [word for word in self._words if word.name in possible]
        first = self._words[0]
        word = first if self.version == 0 else self._random.choice(fitting or self._words)
        raw: Json = {
            "id": f"{self.case_id}/{self._said}",
            "actor": word.actor.model_dump(),
            "occurred_at": None,
            "body": {"type": word.name, **word.body},
        }
        return self._lifecycle.command(raw)


async def make_log(log: EventLog, organisation: str, seed: int, *, appends: int = 30) -> int:
    """A log of random lives, side by side; how many appends it took."""
    random = Random(seed)
    lives = [
        Life(organisation, f"{random.choice(list(WORDS))}-{seed}-{number}", random)
        for number in range(random.randint(3, 6))
    ]
    done = 0
    while lives and done < appends:
        life = random.choice(lives)
        request = life.next()
        if request is None:
            lives.remove(life)
            continue
        result = await log.append_events(request)
        if result.status != "appended":  # it rests on a signature, which nobody here gives
            lives.remove(life)
            continue
        done += 1
    return done
