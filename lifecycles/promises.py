"""Which commitments a repair owes: milestones start and keep them, as the policy's table says."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from lifecycles import commitments
from lifecycles.commitments import Timing
from lifecycles.decisions import By
from schemas.base import Code
from schemas.commitments import Commitment, CommitmentEvents, CommitmentStarted, CommitmentTerms
from schemas.policy import Milestone, Policy
from schemas.repair import RepairState

SETTLED = ("retriaged", "reopened", "closed")
"""Reasons of a cancellation that reopening does not undo."""


class Scope(NamedTuple):
    """The facts on which a commitment's terms may depend."""

    network: bool
    severity: str
    category: str
    channel: str | None


def scope(state: RepairState) -> Scope:
    return Scope(state.network, state.severity, state.category, state.channel)


def timing(policy: Policy, priority: bool) -> Timing:
    return Timing(policy.calendar, policy.repair.hasten, priority)


def applies(terms: CommitmentTerms, facts: Scope) -> bool:
    """Whether the policy makes this promise for such a fault."""
    return (
        (terms.network is None or terms.network == facts.network)
        and (terms.severities is None or facts.severity in terms.severities)
        and (terms.categories is None or facts.category in terms.categories)
        and (terms.channels is None or facts.channel in terms.channels)
    )


def terms_of(policy: Policy, c: Commitment) -> CommitmentTerms:
    """The terms under which a commitment was made."""
    for terms in policy.repair.commitments:
        if terms.name == c.name and terms.rule == c.rule:
            return terms
    raise LookupError(f"the policy has no commitment {c.name} under {c.rule}")


def begin(
    state: RepairState,
    milestone: Milestone,
    by: By,
    facts: Scope,
    *,
    since: datetime | None = None,
    priority: bool = False,
) -> Iterator[CommitmentStarted]:
    """Promises that a milestone starts; one that the case already has is not made twice."""
    clock = timing(state.policy, state.priority or priority)
    made: list[Commitment | CommitmentStarted] = [*state.commitments]
    for terms in state.policy.repair.commitments:
        if terms.starts != milestone or not applies(terms, facts):
            continue
        held = any(
            c.name == terms.name and c.rule == terms.rule and c.state != "cancelled"
            for c in state.commitments
            if c.outstanding or milestone == "reported"
        )
        if not held:
            started = commitments.start(terms, clock, made, since or by.at, by.at)
            made.append(started)
            yield started


def meet(state: RepairState, milestone: Milestone, by: By) -> Iterator[CommitmentEvents]:
    """Promises that a milestone keeps."""
    for c in state.commitments:
        if c.outstanding and terms_of(state.policy, c).ends == milestone:
            yield from commitments.meet(c, by.at, by.id)


def reach(state: RepairState, milestone: Milestone, by: By) -> Iterator[CommitmentEvents]:
    """A milestone: what it keeps, then what it starts."""
    yield from meet(state, milestone, by)
    yield from begin(state, milestone, by, scope(state))


def cancel_all(
    state: RepairState, by: By, reason: Code, but: Iterable[Milestone] = ()
) -> Iterator[CommitmentEvents]:
    """End every outstanding promise, except those that the named milestones keep."""
    spared = tuple(but)
    for c in state.commitments:
        if terms_of(state.policy, c).ends not in spared:
            yield from commitments.cancel(c, by.at, reason)


def restore(
    state: RepairState,
    by: By,
    reason: Code,
    which: Callable[[Commitment], bool],
    since: datetime | None = None,
) -> Iterator[CommitmentEvents]:
    """Owe promises again on their original clock, or on an earlier one."""
    clock = timing(state.policy, state.priority)
    for c in state.commitments:
        if which(c):
            yield commitments.restore(c, terms_of(state.policy, c), clock, by.at, reason, since)


def owed_again(state: RepairState) -> Callable[[Commitment], bool]:
    """Promises that a repair, or a side exit, ended and that hold again when the case goes on."""

    def owed(c: Commitment) -> bool:
        if c.met_at is not None:
            return terms_of(state.policy, c).ends == "fixed"
        return c.cancelled not in (None, *SETTLED)

    return owed
