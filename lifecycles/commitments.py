"""Commitments (服务承诺): time as a fold.

running → kept | broken | cancelled, with pauses in between. A broken one stays outstanding, and its
ladder climbs on, until it is met late. All functions are pure; all times are UTC.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, assert_never

from lifecycles.calendars import add_working, end_of_day, working_between
from lifecycles.changes import changed, made
from schemas.base import Code, Owner, Ownership
from schemas.calendar import Calendar
from schemas.commitments import (
    BreachWithdrawn,
    Commitment,
    CommitmentBroken,
    CommitmentCancelled,
    CommitmentEvents,
    CommitmentKept,
    CommitmentMetLate,
    CommitmentPaused,
    CommitmentReset,
    CommitmentRestored,
    CommitmentResumed,
    CommitmentStarted,
    CommitmentTerms,
    EscalationRaised,
    Pause,
)
from schemas.policy import HastenTerms

Commitments = tuple[Commitment, ...]


class Agreement(NamedTuple):
    """A time agreed with the customer, and the record of the consent."""

    start: datetime
    end: datetime
    consent: str
    earlier: datetime | None
    """The end of the agreed time that it replaces: until then the time stood still already."""


class Timing(NamedTuple):
    """What the time of a case's commitments is reckoned with."""

    calendar: Calendar
    hasten: HastenTerms
    priority: bool


def start(
    terms: CommitmentTerms,
    timing: Timing,
    existing: Iterable[Commitment | CommitmentStarted],
    since: datetime,
    at: datetime,
) -> CommitmentStarted:
    """Promise it from `since` on; rungs that would lie before `at` are told at `at`."""
    earlier = sum(c.name == terms.name for c in existing)
    due = _due(terms, timing.calendar, since)
    rungs, hastened = _ladder(terms, timing, since, due, at)
    return CommitmentStarted(
        at=at,
        commitment=terms.name if not earlier else f"{terms.name}-{earlier + 1}",
        name=terms.name,
        rule=terms.rule,
        start=since,
        due=due,
        rungs=rungs,
        hastened=hastened,
    )


def meet(c: Commitment, at: datetime, fact: str) -> Iterator[CommitmentEvents]:
    """It was fulfilled at `at`, whenever we hear of it; `fact` is the command that says so."""
    if not c.outstanding:
        return
    if at <= c.due or c.state == "paused":
        if c.state == "broken":
            yield BreachWithdrawn(at=at, commitment=c.id, evidence=fact)
        yield CommitmentKept(at=at, commitment=c.id)
    else:
        if c.state == "running":
            yield CommitmentBroken(at=c.due, commitment=c.id, rule=c.rule)
        yield CommitmentMetLate(at=at, commitment=c.id)


def pause(
    c: Commitment, at: datetime, reason: Code, evidence: str, fact: str
) -> Iterator[CommitmentEvents]:
    """Stop its time at `at`; one that was broken before that stays broken."""
    if c.state == "running" or _was_running(c, at):
        if c.state == "broken":
            yield BreachWithdrawn(at=at, commitment=c.id, evidence=fact)
        yield CommitmentPaused(
            at=_after_pauses(c, at), commitment=c.id, reason=reason, evidence=evidence
        )


def resume(
    c: Commitment, terms: CommitmentTerms, timing: Timing, at: datetime
) -> CommitmentResumed:
    """Let its time run again from `at`: what was left at the pause is still left."""
    since = c.pauses[-1].since
    at = max(at, since)
    return CommitmentResumed(
        at=at,
        commitment=c.id,
        due=_shift(terms, timing.calendar, since, at, c.due),
        rungs=tuple(_shift(terms, timing.calendar, since, at, r) for r in c.rungs),
        hastened=tuple(_shift(terms, timing.calendar, since, at, r) for r in c.hastened),
    )


def agree(
    c: Commitment,
    terms: CommitmentTerms,
    timing: Timing,
    at: datetime,
    agreed: Agreement,
    fact: str,
) -> Iterator[CommitmentEvents]:
    """Another time was agreed with the customer (ADM-8).

    A promise to leave is due when the agreed time begins, one to come when it ends; any other has
    what was left of it from there on. An agreement that replaces another one adds nothing to it.
    """
    if c.state != "running" and not _was_running(c, at):
        return
    if c.state == "broken":
        yield BreachWithdrawn(at=at, commitment=c.id, evidence=fact)
    if terms.ends == "dispatched":
        due = max(at, agreed.start)
    elif terms.ends == "arrived":
        due = agreed.end
    else:
        since = max(_after_pauses(c, at), agreed.earlier or at)
        due = max(agreed.end, _shift(terms, timing.calendar, since, agreed.end, c.due))
    rungs, hastened = _spread(terms, timing, at, due)
    yield CommitmentReset(
        at=at, commitment=c.id, due=due, rungs=rungs, hastened=hastened, consent=agreed.consent
    )


def extend(
    c: Commitment,
    terms: CommitmentTerms,
    timing: Timing,
    at: datetime,
    until: datetime,
    approval: str,
    fact: str,
) -> Iterator[CommitmentEvents]:
    """More time was granted at `at`: it is due at `until`, and its ladder stretches with it.

    One that was broken before stays broken and keeps its ladder. One that stands still has what
    was left at its pause and the time granted. `approval` is the consent on record.
    """
    if c.state not in ("running", "paused") and not _was_running(c, at):
        return
    if c.state == "broken":
        yield BreachWithdrawn(at=at, commitment=c.id, evidence=fact)
    due = max(c.due, until)
    told = c.pauses[-1].since if c.state == "paused" else at
    rungs, hastened = _ladder(terms, timing, c.start, due, told)
    yield CommitmentReset(
        at=at, commitment=c.id, due=due, rungs=rungs, hastened=hastened, consent=approval
    )


def promised(c: Commitment, terms: CommitmentTerms, timing: Timing) -> datetime:
    """When it would be due (UTC) had nobody agreed or granted another time: its pauses included."""
    due = _due(terms, timing.calendar, c.start)
    for p in c.pauses:
        if p.until is not None:
            due = _shift(terms, timing.calendar, p.since, p.until, due)
    return due


def restore(
    c: Commitment,
    terms: CommitmentTerms,
    timing: Timing,
    at: datetime,
    reason: Code,
    since: datetime | None = None,
) -> CommitmentRestored:
    """It is owed again, on its original clock, or on an earlier one that starts at `since`.

    Rungs not yet told are told at `at` at the earliest; a due time may well lie in the past.
    """
    began = min(c.start, since) if since else c.start
    due = c.due
    pauses = c.pauses[-1:] if c.pauses and c.pauses[-1].until is None else ()
    if began < c.start and not c.agreed:
        due = _due(terms, timing.calendar, began)
        pauses = c.pauses
    for p in pauses:
        if until := p.until or c.ended_at:
            due = _shift(terms, timing.calendar, p.since, max(p.since, until), due)
    rungs, hastened = _ladder(terms, timing, began, due, at)
    return CommitmentRestored(
        at=at,
        commitment=c.id,
        reason=reason,
        start=began,
        due=due,
        rungs=rungs,
        hastened=hastened,
    )


def cancel(c: Commitment, at: datetime, reason: Code) -> Iterator[CommitmentEvents]:
    """It no longer applies. A breach stays on record, its ladder stops."""
    if c.outstanding:
        yield CommitmentCancelled(at=at, commitment=c.id, reason=reason)


def due_events(
    c: Commitment, terms: CommitmentTerms, at: datetime, unowned_since: datetime | None
) -> Iterator[CommitmentEvents]:
    """Breach and rungs of one commitment up to `at`, in order of their time."""
    while (when := next_deadline(c, unowned_since)) is not None and when <= at:
        if c.state == "running" and c.due == when:
            event: CommitmentEvents = made(CommitmentBroken, at=when, commitment=c.id, rule=c.rule)
        else:
            event = made(
                EscalationRaised,
                at=when,
                commitment=c.id,
                rule=c.rule,
                rung=c.fired + 1,
                tell=terms.ladder[c.fired].tell,
            )
        c = _changed(c, event)
        yield event


def next_deadline(c: Commitment, unowned_since: datetime | None) -> datetime | None:
    """When this commitment next needs the clock: its due time or its ladder's next rung."""
    if c.state == "paused" or not c.outstanding:
        return None
    due = c.due if c.state == "running" else None
    if c.fired >= len(c.rungs):
        return due
    rung = c.rungs[c.fired]
    if unowned_since is not None:
        rung = min(rung, max(c.hastened[c.fired], unowned_since))
    return rung if due is None or rung < due else due


def deadlines(c: Commitment, unowned_since: datetime | None) -> Iterator[datetime]:
    """Every instant at which this commitment still needs the clock, if nothing else happens."""
    if c.state == "paused" or not c.outstanding:
        return
    if c.state == "running":
        yield c.due
    for usual, fast in zip(c.rungs[c.fired :], c.hastened[c.fired :], strict=True):
        yield usual if unowned_since is None else min(usual, max(fast, unowned_since))


def evolve(commitments: Commitments, event: CommitmentEvents) -> Commitments:
    """The commitments after one of their events."""
    if isinstance(event, CommitmentStarted):
        return (
            *commitments,
            made(
                Commitment,
                id=event.commitment,
                name=event.name,
                rule=event.rule,
                start=event.start,
                due=event.due,
                rungs=event.rungs,
                hastened=event.hastened,
            ),
        )
    return tuple([_changed(c, event) if c.id == event.commitment else c for c in commitments])


def _changed(c: Commitment, event: CommitmentEvents) -> Commitment:
    match event:
        case EscalationRaised():
            return changed(c, fired=event.rung)
        case CommitmentBroken():
            return changed(c, state="broken")
        case CommitmentKept():
            return changed(c, state="kept", met_at=event.at, ended_at=event.at)
        case CommitmentMetLate():
            return changed(c, met_at=event.at, ended_at=event.at)
        case BreachWithdrawn():
            return changed(c, state="running")
        case CommitmentCancelled():
            return changed(
                c,
                state="broken" if c.state == "broken" else "cancelled",
                ended_at=event.at,
                cancelled=event.reason,
            )
        case CommitmentPaused():
            stretch = Pause(reason=event.reason, evidence=event.evidence, since=event.at)
            return changed(c, state="paused", pauses=(*c.pauses, stretch))
        case CommitmentResumed():
            return changed(
                c,
                state="running",
                due=event.due,
                rungs=event.rungs,
                hastened=event.hastened,
                **_closed_pause(c, event.at),
            )
        case CommitmentReset():
            return changed(
                c, due=event.due, rungs=event.rungs, hastened=event.hastened, agreed=True
            )
        case CommitmentRestored():
            return changed(
                c,
                state=c.state if c.state in ("paused", "broken") else "running",
                start=event.start,
                due=event.due,
                rungs=event.rungs,
                hastened=event.hastened,
                met_at=None,
                ended_at=None,
                cancelled=None,
                **_closed_pause(c, c.ended_at),
            )
        case CommitmentStarted():
            return c
        case _:
            assert_never(event)


class Held(NamedTuple):
    """A stretch of a commitment's running time and who had the case while it ran."""

    owner: Owner
    since: datetime
    until: datetime


def attribution(c: Commitment, owners: Iterable[Ownership], now: datetime) -> list[Held]:
    """Every second of the commitment's running time, by holder, up to its end or `now`."""
    end = c.ended_at or max(now, c.start)
    history = list(owners)
    held: list[Held] = []
    for i, o in enumerate(history):
        since = c.start if i == 0 else o.since
        until = history[i + 1].since if i + 1 < len(history) else end
        since, until = max(since, c.start), min(until, end)
        for p in c.pauses:
            if since < until and p.since < until and (p.until or end) > since:
                if since < p.since:
                    held.append(Held(o.owner, since, p.since))
                since = p.until or end
        if since < until:
            held.append(Held(o.owner, since, until))
    return held


def _was_running(c: Commitment, at: datetime) -> bool:
    """Whether a recorded breach lies after `at`, so that a late fact may undo it."""
    return c.state == "broken" and c.outstanding and at <= c.due


def _after_pauses(c: Commitment, at: datetime) -> datetime:
    """`at`, or the end of the last pause: no stretch of time is given back twice."""
    return max(at, c.start, *(p.until for p in c.pauses[-1:] if p.until))


def _closed_pause(c: Commitment, at: datetime | None) -> dict[str, object]:
    if at is None or not c.pauses or c.pauses[-1].until is not None:
        return {}
    last = c.pauses[-1]
    return {"pauses": (*c.pauses[:-1], changed(last, until=max(at, last.since)))}


def _due(terms: CommitmentTerms, calendar: Calendar, since: datetime) -> datetime:
    match terms.basis:
        case "clock":
            return since + terms.duration
        case "working":
            return add_working(calendar, since, terms.duration)
        case "same_day":
            return end_of_day(calendar, since)
        case _:
            assert_never(terms.basis)


def _shift(
    terms: CommitmentTerms, calendar: Calendar, since: datetime, until: datetime, when: datetime
) -> datetime:
    """Move `when` so that as much time lies between `until` and it as lay from `since` to it."""
    if when < since:
        return when
    match terms.basis:
        case "clock":
            return when + (until - since)
        case "working":
            return add_working(calendar, until, working_between(calendar, since, when))
        case "same_day":
            return max(when, end_of_day(calendar, until))
        case _:
            assert_never(terms.basis)


def _percents(timing: Timing) -> tuple[int, int]:
    usual = timing.hasten.priority if timing.priority else 100
    return usual, min(usual, timing.hasten.unowned)


def _ladder(
    terms: CommitmentTerms, timing: Timing, since: datetime, due: datetime, at: datetime
) -> tuple[tuple[datetime, ...], tuple[datetime, ...]]:
    """When the rungs fire, usually and while nobody has taken the case; never before `at`."""

    def rungs(percent: int) -> Iterator[datetime]:
        for r in terms.ladder:
            share = _share(r.at)
            if share is None:
                when = due + delay(r.at) * percent / 100
            elif terms.basis == "working":
                when = add_working(timing.calendar, since, span * (share * percent) / 10_000)
            else:
                when = since + span * (share * percent) / 10_000
            yield when if when > at else at

    # Not the promise's own duration: a restored one may have pauses or an agreed time behind it.
    worked = terms.basis == "working"
    span = working_between(timing.calendar, since, due) if worked else due - since
    usual, fast = _percents(timing)
    return tuple(rungs(usual)), tuple(rungs(fast))


def _spread(
    terms: CommitmentTerms, timing: Timing, since: datetime, due: datetime
) -> tuple[tuple[datetime, ...], tuple[datetime, ...]]:
    """A ladder over an agreed stretch, which runs round the clock whatever the basis."""
    return _ladder(terms.model_copy(update={"basis": "clock"}), timing, since, due, since)


@lru_cache(maxsize=1024)
def _share(text: str) -> int | None:
    """A rung's share of the time in percent; None where it is a delay after due."""
    return int(text[:-1]) if text.endswith("%") else None


@lru_cache(maxsize=1024)
def delay(text: str) -> timedelta:
    """A rung's delay after due: "+P2D", "+PT4H30M"."""
    days, _, rest = text.removeprefix("+P").partition("T")
    hours, _, minutes = rest.rpartition("H")
    return timedelta(
        days=int(days.removesuffix("D") or 0),
        hours=int(hours or 0),
        minutes=int(minutes.removesuffix("M") or 0),
    )
