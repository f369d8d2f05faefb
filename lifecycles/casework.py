"""What every kind of case does alike: preparing a decision, owner, clock, summary, story."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from lifecycles import approvals, commitments, promises
from lifecycles.changes import changed, made
from lifecycles.decisions import By, No, settle
from schemas.approvals import Approval, ApprovalEvent, ApprovalEvents, Facts
from schemas.base import Command, Event, Owner, Ownership
from schemas.case import (
    AnyCase,
    HandOverCase,
    OwnerChanged,
    RequestAnswered,
    SharedEvents,
    TakeCase,
)
from schemas.commitments import CommitmentEvents
from schemas.envelope import (
    ApprovalSummary,
    CaseRequest,
    CaseSummary,
    CommandEnvelope,
    CommitmentSummary,
    DeadlinePassed,
    Json,
    RecordAnswer,
)

S = TypeVar("S", bound=AnyCase)
E = TypeVar("E", bound=Event)

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Nothing that is told of a case lies before it."""


class Rulebook(NamedTuple, Generic[S]):
    """How one kind of case decides."""

    opening: tuple[str, ...]
    """The commands that open it: any one of them."""
    unopened: str
    """What to do where there is no such case yet."""
    opened_already: str
    deciders: Mapping[type[Command], Callable[[S, Any, By], Iterator[Any]]]
    allowed: Callable[[S, str], bool]
    possible: Callable[[S], tuple[str, ...]]
    begun_at: Callable[[S], datetime | None]
    """When it began: nothing that is told of it lies before."""
    evolve: Callable[[S, Any], S]
    facts: Callable[[S, Approval], Facts | None] | None = None
    """What an approval rests on now, for kinds that ask for approvals; None: it is used up."""
    against: Callable[[S, CommandEnvelope[Any]], Iterable[str]] | None = None
    """Reasons that hold against whatever such an actor sends: no decider can forget them."""
    follows: Callable[[S, S, By], Iterator[Any]] | None = None
    """What follows from a command's events, by the state before and after them."""


def decide(rules: Rulebook[S], state: S, command: CommandEnvelope[Any], now: datetime) -> list[Any]:
    """The events that the command causes; none where it is so already.

    `now` is the instant of deciding (UTC); the events carry the command's business time.
    Raises `Rejected` with every reason at once (ADM-4).
    """
    body = command.body
    kind = body.type
    at = command.occurred_at or now
    begun = rules.begun_at(state)
    earliest = begun or BEGINNING
    also: list[str] = []
    if isinstance(body, DeadlinePassed):
        # A backdated promise may have fallen due before the beginning of this very case.
        at, earliest = body.at, BEGINNING
    if at > now:
        also.append("This lies in the future; leave out `occurred_at` or correct it.")
    if at < earliest and begun:
        also.append("This lies before the report of the case; correct `occurred_at`.")
    elif at < earliest:
        also.append(f"This lies before {BEGINNING.year}; correct `occurred_at`.")
    if rules.against is not None:
        also.extend(rules.against(state, command))
    if begun is None and kind not in rules.opening:
        return settle((), (rules.unopened, *also))
    by = By(max(earliest, min(at, now)), command.actor, command.id, now)
    results = list(rules.deciders[type(body)](state, body, by))
    if results and not rules.allowed(state, kind):
        also.append(not_now(rules, state, kind))
    events = settle(results, also)
    if events and rules.follows is not None:
        events += settle(rules.follows(state, fold(rules.evolve, state, events), by))
    if events and rules.facts is not None:
        after = fold(rules.evolve, state, events)
        events += approvals.lapse(after, partial(rules.facts, after), by)
    return events


def fold(evolve: Callable[[S, E], S], state: S, events: Iterable[E]) -> S:
    """The state after `events`, for what the same decision says next."""
    for event in events:
        state = evolve(state, event)
    return state


def in_turn(
    evolve: Callable[[S, E], S], state: S, by: By, *steps: Callable[[S, By], Iterable[E | No]]
) -> Iterator[E | No]:
    """Each step decides on the state that those before it left."""
    for step in steps:
        for result in list(step(state, by)):
            if not isinstance(result, No):
                state = evolve(state, result)
            yield result


def not_now(rules: Rulebook[S], state: S, kind: str) -> str:
    """Why this kind of command is refused at the stage, and which are possible."""
    if kind in rules.opening:
        return rules.opened_already
    possible = ", ".join(rules.possible(state)) or "nothing"
    return f"{kind} is not possible at stage {state.stage}; possible now: {possible}."


def possible(
    state: S,
    commands: Iterable[str],
    allowed: Callable[[S, str], bool],
    sensible: Mapping[str, bool],
) -> tuple[str, ...]:
    """Those of the commands that somebody may send now.

    The stage must admit it, and it must make sense: what `sensible` does not name always does,
    but what only the case gives itself, and to decide an approval that nobody asks for.
    """
    asked = any(a.state == "requested" for a in state.approvals)
    idle = {"DeadlinePassed", "RecordAnswer"}
    if not asked:
        idle |= {"DecideApproval", "DelegateApproval", "WithdrawApproval"}
    return tuple(
        name
        for name in commands
        if name not in idle and sensible.get(name, True) and allowed(state, name)
    )


def owner_of(state: AnyCase) -> Owner | None:
    """Who answers for the case now (ADM-1); None only before it is opened."""
    return state.owners[-1].owner if state.owners else None


def unit(state: AnyCase) -> Owner:
    """The receiving unit: the owner until a person takes the case."""
    return Owner(kind="unit", id=state.rules.intake_unit)


def unowned_since(state: AnyCase) -> datetime | None:
    """Since when no person has had the case; None while one has it. It then escalates faster."""
    if not state.owners or state.owners[-1].owner.kind == "person":
        return None
    return state.owners[-1].since


def owned(state: AnyCase, owner: Owner, at: datetime) -> dict[str, Any]:
    """Exactly one owner at any time (ADM-1): a late fact never reaches behind the last change."""
    since = max(at, state.owners[-1].since) if state.owners else at
    return {"owners": (*state.owners, Ownership(owner=owner, since=since))}


def take_case(state: AnyCase, _: TakeCase, by: By) -> Iterator[OwnerChanged | No]:
    owner = owner_of(state)
    if owner and owner.kind == "person" and owner.id == by.actor.subject:
        return
    taker = Owner(kind="person", id=by.actor.subject)
    yield OwnerChanged(at=by.at, owner=taker, reason="taken")


def hand_over(state: AnyCase, c: HandOverCase, by: By) -> Iterator[OwnerChanged | No]:
    if c.to == owner_of(state):
        return
    yield OwnerChanged(at=by.at, owner=c.to, reason=c.reason)


def record_answer(state: AnyCase, c: RecordAnswer, by: By) -> Iterator[RequestAnswered]:
    """The other case's answer, told once."""
    if any(r.id == c.request for r in state.requests):
        yield RequestAnswered(at=by.at, request=c.request, accepted=c.accepted, reasons=c.reasons)


def not_before(earliest: datetime | None, by: By, what: str) -> Iterator[No]:
    """What is told of late cannot have happened before its cause."""
    if earliest is not None and by.at < earliest:
        yield No(f"This cannot have happened before {what}; correct `occurred_at`.")


def consent_first(consent: bool, result: str) -> Iterator[No]:
    """A follow-up call (回访) starts by asking consent and ends without it (KUN-5.6)."""
    if consent == (result == "no_consent") and result != "unreachable":
        yield No(
            "A call begins by asking consent: with consent it has a result,"
            " without it the result is no_consent (KUN-5.6)."
        )


def may_join(state: AnyCase, other: str, waits: bool) -> Iterator[No]:
    """Whether this case may ask the `other` to take it in; it `waits` where it asked already."""
    kind = state.case_id.partition("-")[0]
    if other == state.case_id:
        yield No("A case cannot take in itself; name another.")
    if not other.startswith(f"{kind}-"):
        yield No(f"Only a {kind} case can take in a {kind} case.")
    if waits:
        yield No("It has asked another case already; wait for that answer.")
    elif any(request.case_id == other for request in state.requests):
        # Requests travel side by side: an old one must not overtake a new one.
        yield No("That case has yet to answer an earlier request; wait for that answer.")


def may_adopt(since: datetime, field: str, by: By) -> Iterator[No]:
    """Whether a case that began `since` can be taken in; `field` names that in the command."""
    if since > by.at:
        yield No(f"The report lies in the future; correct `{field}`.")
    if since < BEGINNING:
        yield No(f"The report lies before {BEGINNING.year}; correct `{field}`.")


def ask(state: AnyCase, case: str, command: Json, *, opens: bool = False) -> dict[str, Any]:
    """One more thing to ask of another case."""
    request = CaseRequest(
        id=f"{state.case_id}/asks/{state.asked + 1}", case_id=case, command=command, opens=opens
    )
    return {"requests": (*state.requests, request), "asked": state.asked + 1}


def evolve(state: S, event: SharedEvents | ApprovalEvents) -> S:
    """The state after an event that every kind of case may have."""
    match event:
        case OwnerChanged():
            return changed(state, **owned(state, event.owner, event.at))
        case RequestAnswered():
            rest = tuple(r for r in state.requests if r.id != event.request)
            return changed(state, requests=rest)
        case ApprovalEvent():
            return changed(state, approvals=approvals.evolve(state.approvals, event))
        case _:
            return changed(state, commitments=commitments.evolve(state.commitments, event))


def passed(state: AnyCase, at: datetime) -> list[CommitmentEvents]:
    """Breaches and rungs up to `at`, promise by promise."""
    idle = unowned_since(state)
    due: list[CommitmentEvents] = []
    for c in state.commitments:
        due += commitments.due_events(c, promises.terms_of(state.rules, c), at, idle)
    return due


def passed_in_order(state: AnyCase, by: By) -> Iterator[CommitmentEvents]:
    """What has passed by now, in order of its time: a step for `in_turn`."""
    yield from sorted(passed(state, by.at), key=lambda event: event.at)


def next_deadline(state: AnyCase, *others: datetime | None) -> datetime | None:
    """The earliest instant at which a promise, or one of the `others`, needs the clock (UTC)."""
    idle = unowned_since(state)
    times = [commitments.next_deadline(c, idle) for c in state.commitments]
    return min([t for t in (*times, *others) if t is not None], default=None)


def last_together(
    state: AnyCase, first: datetime, limit: datetime, *others: datetime | None
) -> datetime:
    """The last deadline, up to `limit`, that can be decided together with the first (UTC).

    Breaches and rungs of promises change nothing but themselves. The `others` change what is due
    after them, so each is the last of its decision.
    """
    limit = min((t for t in others if t is not None and t <= limit), default=limit)
    idle = unowned_since(state)
    last = limit if limit in others else first
    for c in state.commitments:
        for when in commitments.deadlines(c, idle):
            if last < when <= limit:
                last = when
    return last


def summary(
    state: AnyCase,
    *,
    kind: str,
    stage: str,
    ended: bool,
    opened_at: datetime | None,
    next_deadline_at: datetime | None,
    category: str | None = None,
    severity: str | None = None,
) -> CaseSummary:
    """The case as the read models show it."""
    owner = owner_of(state)
    running = [c.due for c in state.commitments if c.state == "running"]
    due = {c.id: c.due for c in state.commitments}
    return made(
        CaseSummary,
        kind=kind,
        stage=stage,
        final=ended and not state.requests,
        owner_kind=owner.kind if owner else None,
        owner=owner.id if owner else None,
        district=state.district,
        category=category,
        severity=severity,
        priority=state.priority,
        opened_at=opened_at,
        closed_at=state.closed_at,
        next_due_at=min(running, default=None),
        next_deadline_at=next_deadline_at,
        commitments=tuple(
            made(
                CommitmentSummary,
                id=c.id,
                name=c.name,
                rule=c.rule,
                state=c.state,
                start=c.start,
                due=c.due,
                met_at=c.met_at,
                ended_at=c.ended_at,
                fired=c.fired,
            )
            for c in state.commitments
        ),
        approvals=tuple(
            ApprovalSummary(**a.model_dump(), due=due[a.commitment]) for a in state.approvals
        ),
        answers=state.answers,
        premises=state.places,
    )


def story(state: AnyCase, headline: str, deadline: datetime | None) -> str:
    """The case in a few lines of Markdown, for Temporal's own UI. Times are UTC."""
    owner = owner_of(state)
    lines = [
        headline,
        f"- owner: {owner.kind} {owner.id}" if owner else "- not opened yet",
        *(
            f"- {c.name} ({c.rule}): {c.state}, due {c.due:%Y-%m-%d %H:%M}"
            for c in state.commitments
        ),
        f"- wakes at {deadline:%Y-%m-%d %H:%M}" if deadline else "- waits for somebody, or is done",
    ]
    return "\n".join(lines)
