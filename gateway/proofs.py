"""What in a case's events proves each condition of a stop of supply. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from activities.canonical import event_id
from gateway.words import Clock, words
from gateway.words.arrears import GUARDS
from lifecycles.arrears_guards import Check
from lifecycles.arrears_stages import CUTOFF
from lifecycles.holds import PERSONAL
from lifecycles.lifecycle import lifecycle_of
from schemas.approvals import ApprovalEvents
from schemas.arrears import (
    ArrearsState,
    CutoffAuthorised,
    Guard,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
)
from schemas.base import Actor
from schemas.dossier import Condition, Proof
from schemas.envelope import Json, RecordedDecision


class Step(NamedTuple):
    """An event with the state that it met, the one that it left, and the command behind it."""

    proof: Proof
    event: Any
    before: ArrearsState
    after: ArrearsState
    command: Json


LOOKED_UP = ("fresh-look", "premises")
"""Conditions that need a look into the log."""
AT_THE_VALVE = (*LOOKED_UP, "hours", "working-days", "season")
"""Conditions of the instant at which the crew asks for its permit."""

_EVERY: Mapping[str, tuple[str, ...]] = {
    "reminders": ("ContactRecorded",),
    "balance": (
        "ArrearsOpened",
        "BillsAdded",
        "BalanceCorrected",
        "PaymentReceived",
        "PaymentReversed",
    ),
    "first-stop": ("ValveClosed", "UnpermittedCut", "SelfReopened"),
    "neighbours": ("ArrearsOpened",),
}
"""Conditions that all events of these types prove together."""
_SINCE: Mapping[str, tuple[str, ...]] = {
    "notice": ("NoticeServed", "NoticeVoided", "BecameEligible"),
    "stop-order": ("StopOrderServed", "NoticeVoided"),
    "authorisation": ("CutoffAuthorised", "AuthorisationLapsed"),
    "crew": ("VisitScheduled", "VisitMissed", "VisitCancelled", "VisitFailed"),
    "visit": ("VisitScheduled", "VisitMissed", "VisitCancelled", "VisitFailed"),
}
"""Conditions that the last event of the first type proves, unless one of the others undid it."""
_LAST: Mapping[str, tuple[str, ...]] = {
    "stage": ("BecameEligible", "VisitScheduled", "StopOrderServed"),
    "separation": ("CutoffAuthorised", "VisitScheduled"),
}
"""Conditions that the last event of each type proves."""


def steps(
    organisation: str,
    state: ArrearsState,
    decisions: Iterable[RecordedDecision],
    clock: Clock,
) -> Iterator[Step]:
    """Every event of a case, in order, folded onto the state that it begins with."""
    lifecycle = lifecycle_of(state.case_id)
    version = 0
    for decision in decisions:
        actor = Actor.model_validate(decision.command["actor"])
        for body in decision.bodies:
            event: Any = lifecycle.event(body)
            before, state = state, lifecycle.evolve(state, event)
            version += 1
            proof = Proof(
                stream=state.case_id,
                version=version,
                position=decision.position - (decision.version - version),
                event_id=event_id(organisation, state.case_id, version),
                type=event.type,
                at=event.at,
                decided_at=decision.decided_at,
                actor=actor,
                command_id=decision.command_id,
                text=words(event, clock.write, state.currency),
            )
            yield Step(proof, event, before, state, decision.command["body"])


def conditions(
    recorded: Sequence[Guard],
    again: Iterable[Check],
    known: Sequence[Step],
    at_valve: Proof,
) -> Iterator[Condition]:
    """Conditions as they were recorded and as they are evaluated anew; `known` happened before.

    `at_valve` proves what was true of that very instant: the permit, or the incident.
    """
    anew = {check.guard.name: check.guard for check in again}
    names = dict.fromkeys((*(g.name for g in recorded), *anew))
    for name in names:
        guard = next((g for g in recorded if g.name == name), None)
        evaluated = anew.get(name)
        evidence = (at_valve,) if name in AT_THE_VALVE else proving(name, known)
        shown = guard or evaluated
        assert shown is not None, "a name comes from one of them"
        yield Condition(
            name=name,
            title=title(name),
            rule=shown.rule,
            held=guard.holds if guard else None,
            again=evaluated.holds if evaluated else None,
            proof=shown.proof,
            evidence=evidence,
            missing=_missing(guard, evaluated, known, evidence),
        )


def _missing(
    guard: Guard | None,
    evaluated: Guard | None,
    known: Sequence[Step],
    evidence: Sequence[Proof],
) -> str | None:
    """What a recorded condition lacks; None where it is proven."""
    if guard is None or evaluated is None:
        name = (guard or evaluated or _NONE).name
        where = "evaluated when the permit was issued" if guard is None else "to be evaluated anew"
        return f"{title(name)}: it was not {where}."
    if not guard.holds:
        return f"{title(guard.name)}: it was not so."
    if not evaluated.holds:
        return f"{title(guard.name)}: it is on record, but by the log it was not so."
    if _in_the_log(guard.proof, known) and (evidence or guard.name in _BY_ABSENCE):
        return None
    return f"{title(guard.name)}: no event in the log proves it."


_NONE = Guard(name="none", rule=None, holds=False, proof=None)
_BY_ABSENCE = ("vulnerable", "holds", "neighbours")
"""Conditions that hold where nothing says otherwise, up to the version that they name."""


def _in_the_log(proof: str | None, known: Sequence[Step]) -> bool:
    """Whether what a condition names is there: an event by its version, or no event at all."""
    stream, _, version = (proof or "").rpartition("/")
    if known and stream == known[0].proof.stream:
        return version.isdigit() and 1 <= int(version) <= known[-1].proof.version
    return proof is not None


def title(name: str) -> str:
    """A condition as a person reads it."""
    return GUARDS.get(name, name)


def proving(name: str, known: Sequence[Step]) -> tuple[Proof, ...]:
    """The events, among those known, that prove a condition; those that undid it too."""
    if name == "approval":
        found = [s for s in known if _of_approval(s.event, known[-1].after)]
    elif name in ("vulnerable", "holds"):
        found = list(_holds(known, personal=name == "vulnerable"))
    elif name in _EVERY:
        found = [s for s in known if s.proof.type in _EVERY[name]]
    elif name in _SINCE:
        types = _SINCE[name]
        first = max((s.proof.version for s in known if s.proof.type == types[0]), default=0)
        found = [s for s in known if first and s.proof.type in types and s.proof.version >= first]
    else:
        last = {s.proof.type: s for s in known if s.proof.type in _LAST.get(name, ())}
        found = sorted(last.values(), key=lambda s: s.proof.version)
    return tuple(s.proof for s in found)


def _of_approval(event: Any, state: ArrearsState) -> bool:
    """Whether an event belongs to the approval that authorises the stop, or to the last one."""
    asked = [a.id for a in state.approvals if a.kind == CUTOFF]
    wanted = state.approval or next(reversed(asked), None)
    mine = isinstance(event, ApprovalEvents | CutoffAuthorised) and event.approval == wanted
    return wanted is not None and mine


def _holds(known: Iterable[Step], *, personal: bool) -> Iterator[Step]:
    kinds: dict[str, str] = {}
    for step in known:
        if isinstance(step.event, HoldPlaced):
            kinds[step.event.hold] = step.event.kind
        if isinstance(step.event, HoldPlaced | HoldReleased | HoldExpired):
            kind = kinds.get(step.event.hold)
            if kind is not None and (kind in PERSONAL) == personal:
                yield step
