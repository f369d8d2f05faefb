"""Sample repairs: cases driven by real commands, on fixed dates, with the shipped policies."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.policies import load
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES, Lifecycle, Plan, plan
from lifecycles.policies import Pinned
from schemas.base import SYSTEM, Actor, Event
from schemas.commitments import (
    Commitment,
    CommitmentBroken,
    CommitmentEvent,
    EscalationRaised,
)
from schemas.envelope import CaseRequest, CommandEnvelope
from schemas.repair import RepairState, Stage

REPAIR = LIFECYCLES["repair"]
POLICIES = Path(__file__).parents[2] / "policies"
GAS, WATER, ESTATE = (load(name, POLICIES) for name in ("gas", "water", "estate"))

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
"""08:00 in Shanghai: all cases are reported then, and hours count from here."""

CLERK = Actor(subject="clerk-1", role="clerk", proof="token")
CREW = Actor(subject="crew-1", role="crew", proof="token")
APP = Actor(subject="app", role="service", proof="token")

REPORT: Mapping[str, Any] = {
    "channel": "phone",
    "category": "no-gas",
    "district": "north",
    "party": "party-1",
    "recorded": ["name", "address", "phone"],
}
ABSENT: dict[str, Any] = {"crew": "crew-1", "reason": "nobody-in", "evidence": "card/1"}
CONSENT = "call/77"


def hours(count: float) -> datetime:
    """So many hours after the report."""
    return MONDAY + timedelta(hours=count)


def command(
    name: str,
    at: float | None = None,
    /,
    *,
    id: str = "c",
    actor: Actor = CLERK,
    lifecycle: Lifecycle = REPAIR,
    **body: Any,
) -> CommandEnvelope[Any]:
    """A command as it comes in: parsed from JSON-like input."""
    return lifecycle.command(
        {
            "id": id,
            "actor": actor.model_dump(),
            "occurred_at": None if at is None else hours(at),
            "body": {"type": name, **body},
        }
    )


class Case:
    """A case as its workflow drives it: commands, and the deadlines between them, in order."""

    lifecycle = REPAIR
    state: RepairState

    def __init__(
        self, policy: Pinned = GAS, id: str = "repair-1", state: RepairState | None = None
    ) -> None:
        self.state = state or self.lifecycle.initial(id, "town", *policy)
        self.events: list[Event] = []
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
        """What a command causes that happened `at` (and was told only later): see `said`.

        Deadlines on the way pass first; they are in `events`. Raises `Rejected`.
        """
        self.sent += 1
        lifecycle = self.lifecycle
        sent = command(name, at, id=f"c{self.sent}", actor=actor, lifecycle=lifecycle, **body)
        made = self._plan([sent], hours(at if told is None else told))
        if made.refused:
            raise Rejected(made.refused[0][1])
        return [word for step in made.steps if step.command is sent for word in said(step.events)]

    def wait(self, until: float) -> list[str]:
        """What the clock causes up to then, both ends included."""
        made = self._plan([], hours(until))
        return [word for step in made.steps for word in said(step.events)]

    def refusal(
        self, name: str, at: float, /, *, told: float | None = None, **body: Any
    ) -> list[str]:
        """The reasons against a command. The case must be as it was."""
        before, count = self.state, len(self.events)
        try:
            caused = self.do(name, at, told=told, **body)
        except Rejected as refused:
            assert self.state == before or len(self.events) > count, "a refusal changed the case"
            return list(refused.reasons)
        raise AssertionError(f"{name} was not refused but caused {caused}")

    def answer(self, request: CaseRequest, at: float, *reasons: str) -> list[str]:
        """The other case's answer: consent, or reasons against it."""
        return self.do(
            "RecordAnswer",
            at,
            actor=SYSTEM,
            request=request.id,
            accepted=not reasons,
            reasons=reasons,
        )

    def promise(self, name: str) -> Commitment:
        """A commitment by its id."""
        return next(c for c in self.state.commitments if c.id == name)

    def happened(self) -> list[str]:
        return said(self.events)

    def _plan(self, commands: Sequence[CommandEnvelope[Any]], now: datetime) -> Plan:
        made = plan(self.lifecycle, self.state, self.version, commands, now)
        self.state, self.version = made.state, made.version
        self.events += [event for step in made.steps for event in step.events]
        return made


def said(events: Sequence[Event]) -> list[str]:
    """Events as words: their type and, for a promise's event, the promise."""
    return [
        f"{type(e).__name__} {e.commitment}" if isinstance(e, CommitmentEvent) else type(e).__name__
        for e in events
    ]


def broken_at(case: Case) -> dict[str, float]:
    """When promises were broken, in hours after the report."""
    return {
        e.commitment: (e.at - hours(0)).total_seconds() / 3600
        for e in case.events
        if isinstance(e, CommitmentBroken)
    }


def told(case: Case, commitment: str) -> list[tuple[float, str]]:
    """Who was told of a promise, and when, in hours after the report."""
    return [
        (round((e.at - hours(0)).total_seconds() / 3600, 4), e.tell)
        for e in case.events
        if isinstance(e, EscalationRaised) and e.commitment == commitment
    ]


def reported(policy: Pinned = GAS, id: str = "repair-1", **fields: Any) -> Case:
    case = Case(policy, id)
    actor = fields.pop("actor", CLERK)
    case.do("ReportRepair", 0, actor=actor, **{**REPORT, **fields})
    return case


def triaged(policy: Pinned = GAS, **fields: Any) -> Case:
    case = reported(policy, **fields)
    facts: dict[str, Any] = {"category": case.state.category, "severity": case.state.severity}
    case.do("TriageRepair", 0.05, **facts)
    return case


def dispatched(policy: Pinned = GAS, **fields: Any) -> Case:
    case = triaged(policy, **fields)
    receipt: dict[str, Any] = (
        {"receipt": "slip/1"} if fields.get("channel") == "meter_reader" else {}
    )
    case.do("DispatchCrew", 0.1, crew="crew-1", **receipt)
    return case


def accepted(policy: Pinned = GAS, **fields: Any) -> Case:
    case = dispatched(policy, **fields)
    case.do("AcceptJob", 0.2, crew="crew-1", actor=CREW)
    return case


def on_site(policy: Pinned = GAS, at: float = 1, **fields: Any) -> Case:
    case = accepted(policy, **fields)
    case.do("RecordArrival", at, crew="crew-1", actor=CREW)
    return case


def working(policy: Pinned = GAS, **fields: Any) -> Case:
    case = on_site(policy, **fields)
    case.do("MakeSafe", 1.2, evidence="photo/1", actor=CREW)
    case.do("StartWork", 1.3, actor=CREW)
    return case


def paused(reason: str = "awaiting_parts", **fields: Any) -> Case:
    case = working(**fields)
    case.do("PauseWork", 2, reason=reason, evidence="photo/2", actor=CREW)
    return case


def fixed(at: float = 3, **fields: Any) -> Case:
    """Repaired: waiting for its inspection if it was a hazard, else for the follow-up calls."""
    case = working(**fields)
    case.do("CompleteRepair", at, work=["valve"], evidence=["photo/3"], actor=CREW)
    return case


def closed(at: float = 4, **fields: Any) -> Case:
    case = fixed(**fields)
    for call in case.state.follow_ups:
        case.do("RecordCallback", at, party=call.party, consent=True, result="satisfied")
    return case


def unhappy(at: float = 4, **fields: Any) -> Case:
    """Repaired, and the customer says that it is not."""
    case = fixed(**fields)
    case.do("RecordCallback", at, party="party-1", consent=True, result="not_satisfied")
    return case


def merged(**fields: Any) -> Case:
    case = accepted(**fields)
    case.do("MergeInto", 0.3, case="repair-2")
    case.answer(case.state.requests[0], 0.4)
    return case


def linked(**fields: Any) -> Case:
    case = accepted(**fields)
    case.do("LinkToFault", 0.3, fault="repair-2")
    case.answer(case.state.requests[0], 0.4)
    return case


def fault(id: str = "repair-2", **fields: Any) -> Case:
    """A fault of the network, reported by nobody who could be called."""
    report: dict[str, Any] = {
        "channel": "patrol",
        "category": "pipe-leak",
        "party": None,
        "recorded": [],
    }
    return reported(id=id, **{**report, **fields})


def ended(name: str, start: Callable[[], Case] = on_site, **body: Any) -> Case:
    case = start()
    case.do(name, 1.5, **body)
    return case


def inspected() -> Case:
    """The moment between the two events of a passed inspection: nothing rests here."""
    case = fixed(category="smell-of-gas", severity="hazard")
    passed = command("PassInspection", 3.5, evidence="photo/4")
    events = REPAIR.decide(case.state, passed, hours(3.5))
    return Case(state=REPAIR.evolve(case.state, events[0]))


SAMPLES: Mapping[Stage, Callable[[], Case]] = {
    Stage.UNREPORTED: Case,
    Stage.REPORTED: reported,
    Stage.TRIAGED: triaged,
    Stage.DISPATCHED: dispatched,
    Stage.ACCEPTED: accepted,
    Stage.ON_SITE: on_site,
    Stage.MADE_SAFE: lambda: ended("MakeSafe", evidence="photo/1"),
    Stage.WORKING: working,
    Stage.PAUSED: paused,
    Stage.FIXED: lambda: fixed(category="smell-of-gas", severity="hazard"),
    Stage.INSPECTED: inspected,
    Stage.CALLBACK_DUE: fixed,
    Stage.CLOSED: closed,
    Stage.MERGED: merged,
    Stage.TRANSFERRED: lambda: ended("TransferOut", to="heating", reference="letter/1"),
    Stage.SOLVED_BY_PHONE: lambda: ended(
        "SolveByPhone", lambda: reported(category="ic-card"), solution="card-cleaned"
    ),
    Stage.NOT_OURS: lambda: ended("DeclareNotOurs", reason="boiler", channel="maker"),
    Stage.NO_FAULT_FOUND: lambda: ended("ReportNoFault", evidence="photo/1"),
    Stage.UNABLE_TO_FIX: lambda: ended("DeclareUnableToFix", reason="no-part", channel="maker"),
    Stage.CANCELLED: lambda: ended("CancelRepair", reason="mistake"),
}
"""A case at each stage, reached as a case reaches it, by five hours after the report."""

COMMANDS: Mapping[str, Mapping[str, Any]] = {
    "ReportRepair": REPORT,
    "TriageRepair": {"category": "meter", "severity": "major"},
    "SolveByPhone": {"solution": "card-cleaned"},
    "DispatchCrew": {"crew": "crew-2"},
    "AcceptJob": {"crew": "crew-1"},
    "DeclineJob": {"crew": "crew-1", "reason": "busy"},
    "ReassignJob": {"crew": "crew-2", "reason": "nearer"},
    "TakeCase": {},
    "HandOverCase": {"to": {"kind": "role", "id": "supervisor"}, "reason": "hard"},
    "BookAppointment": {"start": hours(30), "end": hours(32), "consent": CONSENT},
    "MoveAppointment": {
        "start": hours(40),
        "end": hours(42),
        "consent": CONSENT,
        "reason": "storm",
    },
    "RecordArrival": {"crew": "crew-1"},
    "RecordNoAccess": {"crew": "crew-1", "reason": "nobody-in", "evidence": "card/1"},
    "MakeSafe": {"evidence": "photo/1"},
    "StartWork": {},
    "PauseWork": {"reason": "customer_request", "evidence": "call/1"},
    "ResumeWork": {},
    "RequestParts": {"parts": ["valve"], "stock": "local"},
    "RecordPartsShipped": {"waybill": "waybill/1"},
    "RecordPartsArrived": {},
    "CompleteRepair": {"work": ["valve"]},
    "PassInspection": {"evidence": "photo/4"},
    "FailInspection": {"reason": "leaks", "evidence": "photo/4"},
    "RecordCallback": {"party": "party-1", "consent": True, "result": "satisfied"},
    "ReopenCase": {"reason": "again"},
    "TransferOut": {"to": "water", "reference": "letter/2"},
    "RecordTransferReturned": {"reason": "theirs"},
    "MergeInto": {"case": "repair-3"},
    "SplitOut": {"reason": "another"},
    "LinkToFault": {"fault": "repair-3"},
    "AdoptReport": {"case": "repair-9", "how": "merge", "reported_at": hours(1)},
    "ReleaseReport": {"case": "repair-9"},
    "RecordFaultCleared": {"fault": "repair-2", "cleared_at": hours(4)},
    "PostGuard": {"guard": "guard-1"},
    "AnnounceInterruption": {"start": hours(48), "end": hours(50), "reason": "valve"},
    "ReportNoFault": {"evidence": "photo/1"},
    "DeclareNotOurs": {"reason": "boiler", "channel": "maker"},
    "DeclareUnableToFix": {"reason": "no-part", "channel": "maker"},
    "CancelRepair": {"reason": "mistake"},
    "DeadlinePassed": {"at": hours(5)},
    "RecordAnswer": {"request": "repair-1/asks/1", "accepted": True},
}
"""A well-formed command of every type, as sent five hours after the report."""
