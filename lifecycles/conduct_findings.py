"""Staff file, what complaints tell: strikes, marks (黑板), measures, investigations and redress."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from functools import partial

from lifecycles import commitments, promises
from lifecycles.approvals import among, same
from lifecycles.calendars import local, months_later
from lifecycles.casework import BEGINNING, in_turn, owner_of, unit
from lifecycles.conduct_evolve import Results, evolve
from lifecycles.conduct_stages import barred, count_of, expires_at, founded, wronged
from lifecycles.decisions import By, No
from schemas.base import SYSTEM, Code
from schemas.case import OwnerChanged
from schemas.commitments import CommitmentEvents, CommitmentStarted
from schemas.conduct import (
    ConcludeInvestigation,
    ConductState,
    FindingExpired,
    FindingOverturned,
    FindingRecorded,
    InvestigationConcluded,
    InvestigationDropped,
    InvestigationOpened,
    MarkEntered,
    MarkRemoved,
    MeasureDue,
    MeasureTaken,
    MeasureWithdrawn,
    RecordFinding,
    RecordMeasure,
    RecordRedress,
    RedressDue,
    RedressMade,
    StaffFileOpened,
)

JUDGES = ("conduct_officer", "division_head", "supervisor", "admin")
"""The roles that may take a measure, judge a breach and make good."""

_SKEW = timedelta(days=1)
"""So far may the clock of the case that tells be ahead: a finding must not be lost to that."""


def record_finding(state: ConductState, c: RecordFinding, by: By) -> Results:
    if by.actor != SYSTEM:
        yield No("A finding comes from its complaint: decide it there (WAT-3.2a).")
    wrong = list(_wrong(state, c, by))
    yield from wrong
    known = count_of(state, c.finding)
    if wrong or (known and c.revision <= known.revision):
        return
    finding = known.finding if known else c.finding
    steps = (_told, _undone, _follows)
    told = (partial(step, c, finding) for step in steps)
    yield from in_turn(evolve, state, by, *told, _owner_free)


def _wrong(state: ConductState, c: RecordFinding, by: By) -> Iterator[No]:
    if state.staff is not None and not same(c.staff, state.staff):
        yield No("This is another person's file: tell it of its own findings only.")
    complaint, _, staff = c.finding.partition("/")
    if complaint != c.complaint or not same(staff, c.staff):
        yield No("`finding` must be the complaint and the staff number, with a slash between.")
    for name, at in (("conduct_at", c.conduct_at), ("decided_at", c.decided_at)):
        if at > by.at + _SKEW:
            yield No(f"The finding lies in the future; correct `{name}`.")
        if at < BEGINNING:
            yield No(f"The finding lies before {BEGINNING.year}; correct `{name}`.")


def _told(c: RecordFinding, finding: str, state: ConductState, by: By) -> Results:
    if state.opened_at is None:
        yield StaffFileOpened(
            at=by.at,
            case=state.case_id,
            policy=state.policy_hash,
            staff=c.staff,
            owner=unit(state),
        )
    if c.outcome == "not_upheld":
        yield FindingOverturned(
            at=by.at, finding=finding, complaint=c.complaint, revision=c.revision
        )
        return
    rules = state.rules
    counted = c.conduct_at if rules.counts_from == "conduct" else c.decided_at
    counts_on = local(state.policy.calendar, counted).date()
    yield FindingRecorded(
        at=by.at,
        finding=finding,
        complaint=c.complaint,
        revision=c.revision,
        outcome=c.outcome,
        gravity=c.gravity,
        cause=c.cause,
        reports_to=c.reports_to,
        counts_on=counts_on,
        counts_until=months_later(counts_on, rules.window_months),
        strike=c.outcome in rules.counts,
    )


def _undone(_: RecordFinding, finding: str, state: ConductState, by: By) -> Results:
    """What the finding led to and does not bear any more, after it was overturned or changed."""
    k = count_of(state, finding)
    if k is None:
        return
    if k.marked and (k.overturned or k.cause not in state.rules.mark_causes):
        yield MarkRemoved(at=by.at, finding=finding, reason="overturned")
    if k.measure and not k.measure_taken and (k.overturned or k.gravity != "light"):
        yield MeasureWithdrawn(at=by.at, finding=finding, measure=k.measure)
        yield from _off(state, k.promised, "overturned", by)
    if k.investigation == "open" and (k.overturned or k.gravity != "serious"):
        yield InvestigationDropped(at=by.at, finding=finding)
        yield from _off(state, k.promised, "overturned", by)
    of = tuple(dict.fromkeys((*k.redress, *wronged(state, k))))
    if not of:
        yield from _off(state, k.redress_promised, "reinstated", by)
    elif of != k.redress or any(
        p.state == "reassigned" and finding in p.findings and not founded(state, p.findings)
        for p in state.proposals
    ):
        # What is owed already keeps its clock, whatever is added to it.
        old = k.redress_promised if k.redress else ()
        owed = [] if old else _promised(state, "redress_due", by)
        ids = (*old, *(e.commitment for e in owed))
        yield RedressDue(at=by.at, finding=finding, of=of, commitments=ids)
        yield from owed


def _follows(_: RecordFinding, finding: str, state: ConductState, by: By) -> Results:
    """What a finding that stands leads to, as far as it has not yet."""
    k = count_of(state, finding)
    if k is None or k.overturned:
        return
    rules = state.rules
    if k.cause in rules.mark_causes and not k.marked and by.at < expires_at(state, k):
        yield MarkEntered(at=by.at, finding=finding)
    if k.gravity == "light" and k.measure is None:
        step = sum(other.live and other.gravity == "light" for other in state.counts)
        owed = _promised(state, "measure_due", by)
        yield MeasureDue(
            at=by.at,
            finding=finding,
            measure=rules.measures[min(step, len(rules.measures)) - 1],
            step=step,
            commitments=tuple(e.commitment for e in owed),
        )
        yield from owed
    if k.gravity == "serious" and k.investigation in (None, "dropped"):
        owed = _promised(state, "breach_found", by)
        ids = tuple(e.commitment for e in owed)
        yield InvestigationOpened(at=by.at, finding=finding, commitments=ids)
        yield from owed


def _owner_free(state: ConductState, by: By) -> Results:
    """Somebody to whom the person turns out to report cannot keep the file."""
    owner = owner_of(state)
    if owner and owner != unit(state) and among(owner.id, barred(state)):
        yield OwnerChanged(at=by.at, owner=unit(state), reason="part_of_the_case")


def record_measure(state: ConductState, c: RecordMeasure, by: By) -> Results:
    k = count_of(state, c.finding)
    if k and k.measure and k.measure_taken and not k.overturned:
        return
    yield from _judges(by)
    if k is None or k.measure is None or k.overturned:
        yield No("No measure is due for this finding.")
        return
    yield from _not_before(state, k.promised, by, "the measure fell due")
    yield MeasureTaken(
        at=by.at,
        finding=k.finding,
        measure=k.measure,
        by=by.actor.subject,
        evidence=c.evidence,
    )
    yield from _done(state, k.promised, "measure_taken", by)


def conclude_investigation(state: ConductState, c: ConcludeInvestigation, by: By) -> Results:
    k = count_of(state, c.finding)
    if k and k.investigation == "concluded" and k.penalty == c.penalty:
        return
    yield from _judges(by)
    known = state.rules.penalties
    if c.penalty is not None and c.penalty not in known:
        yield No(f"The policy knows no such penalty; it knows: {', '.join(known)} (WIN-2.5.2).")
    if c.penalty is None and c.reason is None:
        yield No("A serious breach without a penalty needs a reason (ADM-5).")
    if k is None or k.investigation != "open":
        yield No("No investigation is open for this finding.")
        return
    yield from _not_before(state, k.promised, by, "the investigation was opened")
    yield InvestigationConcluded(
        at=by.at,
        finding=k.finding,
        penalty=c.penalty,
        reason=c.reason,
        by=by.actor.subject,
        evidence=c.evidence,
    )
    yield from _done(state, k.promised, "breach_judged", by)


def record_redress(state: ConductState, c: RecordRedress, by: By) -> Results:
    k = count_of(state, c.finding)
    yield from _judges(by)
    if k is None or not k.redress:
        yield No("Nothing is to be made good for this finding.")
        return
    yield from _not_before(state, k.redress_promised, by, "it fell due")
    yield RedressMade(at=by.at, finding=k.finding, evidence=c.evidence)
    yield from _done(state, k.redress_promised, "redress_made", by)


def expired(state: ConductState, by: By) -> Results:
    """The window rolled on: findings count no more, and their marks come off the board."""
    gone = [(expires_at(state, k), k) for k in state.counts if k.live]
    for at, k in sorted(gone, key=lambda pair: pair[0]):
        if at > by.at:
            break
        yield FindingExpired(at=at, finding=k.finding)
        if k.marked:
            yield MarkRemoved(at=at, finding=k.finding, reason="expired")


def _judges(by: By) -> Iterator[No]:
    if by.actor.role not in JUDGES:
        yield No(f"It is for one of these roles: {', '.join(JUDGES)}.")


def _not_before(state: ConductState, promised: Collection[Code], by: By, what: str) -> Iterator[No]:
    if any(c.id in promised and by.at < c.start for c in state.commitments):
        yield No(f"This cannot have happened before {what}; correct `occurred_at`.")


# Promises: each finding has its own, so that several of a kind can be owed at once.


def _promised(state: ConductState, milestone: str, by: By) -> list[CommitmentStarted]:
    clock = promises.timing(state)
    owed: list[CommitmentStarted] = []
    for terms in state.rules.commitments:
        if terms.starts == milestone and promises.applies(terms, promises.ANY):
            existing = (*state.commitments, *owed)
            owed.append(commitments.start(terms, clock, existing, by.at, by.at))
    return owed


def _done(
    state: ConductState, promised: Collection[Code], milestone: str, by: By
) -> Iterator[CommitmentEvents]:
    """What it was promised for is done; a promise that something else was to keep ends with it."""
    for c in state.commitments:
        if c.id not in promised:
            continue
        if promises.terms_of(state.rules, c).ends == milestone:
            yield from commitments.meet(c, by.at, by.id)
        else:
            yield from commitments.cancel(c, by.at, "closed")


def _off(
    state: ConductState, promised: Collection[Code], reason: Code, by: By
) -> Iterator[CommitmentEvents]:
    """It is not to be done any more."""
    for c in state.commitments:
        if c.id in promised:
            yield from commitments.cancel(c, by.at, reason)
