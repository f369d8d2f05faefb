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


def owed_again(state: AnyCase, main: str = "fixed") -> Callable[[Commitment], bool]:
    """Promises that the `main` milestone, or a side exit, ended and that hold again after all."""

    def owed(c: Commitment) -> bool:
        if c.met_at is not None:
            return terms_of(state.rules, c).ends == main
        return c.cancelled not in (None, *SETTLED)

    return owed
