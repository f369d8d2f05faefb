"""The dossier of a cutoff: every condition of every stop, its rule, and the event that proves it.

Folded anew from the case's decisions in the log, each condition evaluated anew beside what was
recorded. Pure; its form is in schemas/dossier.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from gateway.proofs import (
    AT_THE_VALVE,
    LOOKED_UP,
    Step,
    conditions,
    proving,
    title,
)
from gateway.proofs import steps as steps_of
from gateway.words import Clock, readable
from gateway.words.arrears import owed
from lifecycles.approvals import same
from lifecycles.arrears_guards import Look, Stopping, checks
from lifecycles.arrears_money import balance
from lifecycles.arrears_stages import ENDED
from lifecycles.lifecycle import LIFECYCLES
from lifecycles.policies import Pinned
from schemas.arrears import (
    ArrearsState,
    Permit,
    PermitIssued,
    PermitRevoked,
    SelfReopened,
    SupplyRestored,
    UnpermittedCut,
    ValveClosed,
)
from schemas.dossier import Condition, Dossier, PermitFile, Proof, StopFile
from schemas.envelope import RecordedDecision

_NOBODY = "nobody"


def dossier(
    organisation: str,
    case_id: str,
    policy: Pinned,
    decisions: Sequence[RecordedDecision],
    now: datetime,
) -> Dossier:
    """The dossier of an arrears case as of `now` (UTC), from its decisions in the log."""
    now = max([now, *(d.decided_at for d in decisions)])
    state: ArrearsState = LIFECYCLES["arrears"].initial(case_id, organisation, *policy)
    clock = Clock(policy.policy.calendar.time_zone, now)
    steps = list(steps_of(organisation, state, decisions, clock))
    state = steps[-1].after if steps else state
    permits = _permits(steps, state)
    stops = [
        _made(number, index, steps, permits)
        for number, index in enumerate(
            (i for i, s in enumerate(steps) if isinstance(s.event, ValveClosed)), 1
        )
    ]
    planned = _planned(len(stops) + 1, state, steps, permits, now)
    counted = stops or planned
    owing = balance(state)
    return Dossier(
        case_id=case_id,
        organisation=organisation,
        policy=f"{policy.policy.name} {policy.policy.version}",
        policy_hash=policy.hash,
        time_zone=policy.policy.calendar.time_zone,
        as_of=now,
        version=len(steps),
        stage=state.stage,
        supply=state.supply,
        account=state.account,
        premises=state.premises,
        dn=state.dn,
        customer_class=state.customer_class,
        boilers=state.boilers,
        continuous_production=state.continuous_production,
        currency=state.currency,
        balance=owing,
        balance_text=owed(owing, state.currency),
        threshold=state.rules.threshold,
        complete=all(stop.complete for stop in counted),
        missing=tuple(f"Stop {stop.number}: {why}" for stop in counted for why in stop.missing),
        stops=(*stops, *planned),
        permits=tuple(permits.values()),
        events=tuple(step.proof for step in steps),
    )


def _permits(steps: Sequence[Step], state: ArrearsState) -> Mapping[str, PermitFile]:
    """Every permit by its id."""
    found: dict[str, PermitFile] = {}
    for step in steps:
        e = step.event
        if isinstance(e, PermitIssued):
            permit = next(p for p in state.permits if p.permit == e.permit)
            found[e.permit] = _permit(permit, e, step, steps)
    return found


def _permit(permit: Permit, e: PermitIssued, step: Step, steps: Sequence[Step]) -> PermitFile:
    ends = ("PermitRevoked", "PermitExpired", "ValveClosed")
    return PermitFile(
        permit=e.permit,
        crew=e.crew,
        full=e.full,
        state=permit.state,
        issued_at=e.at,
        expires_at=e.expires_at,
        checked_at=e.checked_at,
        open_cases=tuple(step.command.get("premises_open", ())),
        issued=step.proof,
        # Told late, a closing may come after the word that the permit was over.
        ended=_first(
            s for s in reversed(steps) if s.proof.type in ends and s.event.permit == e.permit
        ),
    )


def _made(
    number: int, index: int, steps: Sequence[Step], permits: Mapping[str, PermitFile]
) -> StopFile:
    """A closing of a valve: on a permit, or as the incident that it is."""
    closing = steps[index]
    e: ValveClosed = closing.event
    later = steps[index + 1 :]
    cut = next((s for s in later[:1] if isinstance(s.event, UnpermittedCut)), None)
    permit = permits.get(e.permit or "")
    if permit is not None:
        found = _as_permitted(permit, steps)
        proven = _in_force(permit, closing, steps[:index])
    else:
        found = _as_it_was(closing, cut, steps[:index])
        claimed = permits.get(cut.event.permit or "") if cut else None
        proven, permit = _none_in_force(closing, cut), claimed
    every = (*found, proven)
    missing = tuple(c.missing for c in every if c.missing)
    again = next((i for i, s in enumerate(later) if isinstance(s.event, ValveClosed)), len(later))
    return StopFile(
        number=number,
        kind=e.kind,
        state="made",
        crew=e.crew,
        valve=e.valve,
        seal=e.seal,
        reading=e.reading,
        conditions=every,
        permit=permit,
        closing=closing.proof,
        incident=cut.proof if cut else None,
        reopened=_first(s for s in later[:again] if isinstance(s.event, SelfReopened)),
        restored=_first(s for s in later if isinstance(s.event, SupplyRestored)),
        complete=not missing,
        missing=missing,
    )


def _as_permitted(permit: PermitFile, steps: Sequence[Step]) -> tuple[Condition, ...]:
    """The conditions at the permit, as recorded and as the log says."""
    issued = steps[permit.issued.version - 1]
    stopping = Stopping(permit.crew, permit.issued_at, permit.full)
    again = checks(issued.before, stopping, Look(permit.open_cases, permit.checked_at))
    known = steps[: permit.issued.version - 1]
    return tuple(conditions(issued.event.guards, again, known, permit.issued))


def _as_it_was(closing: Step, cut: Step | None, known: Sequence[Step]) -> tuple[Condition, ...]:
    """The conditions at a closing without a permit; nobody looked into the log for it."""
    e: ValveClosed = closing.event
    again = checks(closing.before, Stopping(e.crew, e.at, e.kind == "full"), None)
    at_valve = (cut or closing).proof
    guards = cut.event.guards if cut else ()
    found = tuple(conditions(guards, again, known, at_valve))
    return (*found, *(_unseen(n, f"{title(n)}: nobody looked.", False) for n in LOOKED_UP))


def _in_force(permit: PermitFile, closing: Step, known: Iterable[Step]) -> Condition:
    """The closing redeems its permit: this crew, this kind of stop, in time, not revoked before."""
    e: ValveClosed = closing.event
    revoked = any(
        isinstance(s.event, PermitRevoked) and s.event.permit == e.permit and s.event.at <= e.at
        for s in known
    )
    mine = same(permit.crew, e.crew) and permit.full == (e.kind == "full")
    held = mine and not revoked and permit.issued_at <= e.at < permit.expires_at
    return Condition(
        name="permit",
        title=title("permit"),
        rule="WAT-C4b" if permit.full else "WAT-C2",
        held=held,
        again=held,
        proof=f"{permit.issued.stream}/{permit.issued.version}",
        evidence=(permit.issued, closing.proof),
        missing=None if held else f"{title('permit')}: it was not so.",
    )


def _none_in_force(closing: Step, cut: Step | None) -> Condition:
    why = f" ({readable(cut.event.reason)})" if cut else ""
    return Condition(
        name="permit",
        title=title("permit"),
        rule="WAT-C4b" if closing.event.kind == "full" else "WAT-C2",
        held=False,
        again=False,
        proof=None,
        evidence=(closing.proof, *([cut.proof] if cut else [])),
        missing=f"No permit covered this closing{why}: it is an incident.",
    )


def _planned(
    number: int,
    state: ArrearsState,
    steps: Sequence[Step],
    permits: Mapping[str, PermitFile],
    now: datetime,
) -> list[StopFile]:
    """The stop that comes next, if the case goes on as it stands; none where nothing is owed."""
    over = state.stage in ENDED or state.ends_as or state.settled_at or not steps
    if over or state.supply not in ("on", "self_reopened"):
        return []
    full = state.supply == "self_reopened"
    permit = next((p for p in permits.values() if p.state == "issued"), None)
    if permit is not None:
        found = [*_as_permitted(permit, steps), _unseen("permit", None, None, permit.issued)]
        last = "The valve is not closed yet."
    else:
        found = [*_so_far(state, steps, full, now), _unseen("permit", None, None)]
        last = "The crew asks for its permit at the valve."
    return [
        StopFile(
            number=number,
            kind="full" if full else "temporary",
            state="planned",
            crew=state.visit_crew,
            conditions=tuple(found),
            permit=permit,
            complete=False,
            missing=(*(c.missing for c in found if c.missing), last),
        )
    ]


def _so_far(
    state: ArrearsState, steps: Sequence[Step], full: bool, now: datetime
) -> list[Condition]:
    """The conditions as they stand, at the beginning of the visit where one is scheduled."""
    visit = None if full else state.visit_start
    stopping = Stopping(state.visit_crew or _NOBODY, max(visit, now) if visit else now, full)
    found = [_unseen(name, None, None) for name in LOOKED_UP]
    for check in checks(state, stopping, None):
        g = check.guard
        if g.name in AT_THE_VALVE and not visit:
            found.append(_unseen(g.name, None, None))
            continue
        found.append(
            Condition(
                name=g.name,
                title=title(g.name),
                rule=g.rule,
                held=g.holds,
                again=g.holds,
                proof=g.proof,
                evidence=() if g.name in AT_THE_VALVE else proving(g.name, steps),
                missing=None if g.holds else check.otherwise,
            )
        )
    return sorted(found, key=lambda c: c.name in AT_THE_VALVE)


def _unseen(name: str, missing: str | None, held: bool | None, *evidence: Proof) -> Condition:
    """A condition that nobody has looked at."""
    return Condition(
        name=name,
        title=title(name),
        rule=None,
        held=held,
        again=None,
        proof=None,
        evidence=evidence,
        missing=missing,
    )


def _first(steps: Iterable[Step]) -> Proof | None:
    return next((step.proof for step in steps), None)
