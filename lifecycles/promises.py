"""Which commitments a case owes: milestones start and keep them, as the policy's table says."""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import NamedTuple

from lifecycles import commitments
from lifecycles.commitments import Timing
from lifecycles.decisions import By
from schemas.base import Code
from schemas.case import AnyCase
from schemas.commitments import Commitment, CommitmentEvents, CommitmentStarted, CommitmentTerms
from schemas.policy import CaseRules

SETTLED = ("retriaged", "reopened", "closed")
"""Reasons of a cancellation that reopening does not undo."""


class Scope(NamedTuple):
    """The facts on which a commitment's terms may depend."""

    network: bool | None = None
    severity: str | None = None
    category: str | None = None
    channel: str | None = None


ANY = Scope()


def timing(state: AnyCase, priority: bool = False) -> Timing:
    return Timing(state.policy.calendar, state.rules.hasten, state.priority or priority)


def applies(terms: CommitmentTerms, facts: Scope) -> bool:
    """Whether the policy makes this promise for such a case."""
    return (
        (terms.network is None or terms.network == facts.network)
        and (terms.severities is None or facts.severity in terms.severities)
        and (terms.categories is None or facts.category in terms.categories)
        and (terms.channels is None or facts.channel in terms.channels)
    )


def terms_of(rules: CaseRules, c: Commitment) -> CommitmentTerms:
    """The terms under which a commitment was made."""
    return rules.terms[c.name, c.rule]


def begin(
    state: AnyCase,
    milestone: str,
    by: By,
    facts: Scope = ANY,
    *,
    since: datetime | None = None,
    priority: bool = False,
    once: bool = False,
) -> Iterator[CommitmentStarted]:
    """Promises that a milestone starts; none is made twice while it is outstanding.

    Those made `once` (their clock never starts anew) are not made again after they ended either.
    """
    clock = timing(state, priority)
    made: list[Commitment | CommitmentStarted] = [*state.commitments]
    for terms in state.rules.commitments:
        if terms.starts != milestone or not applies(terms, facts):
            continue
        held = any(
            c.name == terms.name and c.rule == terms.rule and c.state != "cancelled"
            for c in state.commitments
            if c.outstanding or once
        )
        if not held:
            started = commitments.start(terms, clock, made, since or by.at, by.at)
            made.append(started)
            yield started


def meet(state: AnyCase, milestone: str, by: By) -> Iterator[CommitmentEvents]:
    """Promises that a milestone keeps."""
    for c in state.commitments:
        if c.outstanding and terms_of(state.rules, c).ends == milestone:
            yield from commitments.meet(c, by.at, by.id)


def reach(state: AnyCase, milestone: str, by: By, facts: Scope = ANY) -> Iterator[CommitmentEvents]:
    """A milestone: what it keeps, then what it starts."""
    yield from meet(state, milestone, by)
    yield from begin(state, milestone, by, facts)


def pause(state: AnyCase, by: By, reason: Code, evidence: str) -> Iterator[CommitmentEvents]:
    """Stop the time of those promises for which the policy allows this reason."""
    for c in state.commitments:
        if c.name in state.rules.pause_reasons[reason].pauses:
            yield from commitments.pause(c, by.at, reason, evidence, by.id)


def resume(state: AnyCase, by: By) -> Iterator[CommitmentEvents]:
    """Let the time of every promise that stands still run again."""
    clock = timing(state)
    for c in state.commitments:
        if c.state == "paused":
            yield commitments.resume(c, terms_of(state.rules, c), clock, by.at)


def cancel_all(
    state: AnyCase, by: By, reason: Code, but: Collection[str] = ()
) -> Iterator[CommitmentEvents]:
    """End every outstanding promise, except those that the named milestones keep."""
    for c in state.commitments:
        if terms_of(state.rules, c).ends not in but:
            yield from commitments.cancel(c, by.at, reason)


def restore(
    state: AnyCase,
    by: By,
    reason: Code,
    which: Callable[[Commitment], bool],
    since: datetime | None = None,
) -> Iterator[CommitmentEvents]:
    """Owe promises again on their original clock, or on an earlier one."""
    clock = timing(state)
    for c in state.commitments:
        if which(c):
            terms = terms_of(state.rules, c)
            yield commitments.restore(c, terms, clock, by.at, reason, since)


def judged_anew(
    state: AnyCase, milestone: str, by: By, facts: Scope, since: datetime | None
) -> Iterator[CommitmentEvents]:
    """The case is of another kind than was thought: other promises, on the same clock."""
    for c in state.commitments:
        if not applies(terms_of(state.rules, c), facts):
            yield from commitments.cancel(c, by.at, "retriaged")
    yield from begin(state, milestone, by, facts, since=since, once=True)


def backdate(
    state: AnyCase,
    milestone: str,
    by: By,
    since: datetime,
    states: Collection[str] = ("running", "paused"),
) -> Iterator[CommitmentEvents]:
    """The `milestone` was reached earlier than this case knew: the earliest clock counts."""

    def later(c: Commitment) -> bool:
        started_by = terms_of(state.rules, c).starts
        late = c.outstanding and c.start > since
        return late and c.state in states and started_by == milestone

    return restore(state, by, "backdated", later, since)


def met_by(state: AnyCase, milestone: str) -> Callable[[Commitment], bool]:
    """Promises that the milestone kept, in time or late."""
    return lambda c: c.met_at is not None and terms_of(state.rules, c).ends == milestone


def owed_again(state: AnyCase, main: str = "fixed") -> Callable[[Commitment], bool]:
    """Promises that the `main` milestone, or a side exit, ended and that hold again after all."""

    met = met_by(state, main)

    def owed(c: Commitment) -> bool:
        if c.met_at is not None:
            return met(c)
        return c.cancelled not in (None, *SETTLED)

    return owed
