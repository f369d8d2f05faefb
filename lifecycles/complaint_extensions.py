"""Complaint, more time for the answer: asked for, approved by somebody else, told (ADM-2)."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from lifecycles import approvals, commitments, promises
from lifecycles.approvals import among
from lifecycles.casework import owner_of
from lifecycles.complaint_evolve import AnyEvent, evolve
from lifecycles.complaint_stages import barred
from lifecycles.decisions import By, No
from schemas.approvals import Approval, ApprovalGranted, DecideApproval, Facts
from schemas.base import Subject
from schemas.commitments import Commitment
from schemas.complaint import (
    ComplaintState,
    Extension,
    ExtensionGranted,
    ExtensionRequested,
    RequestExtension,
)

Events = Iterator[AnyEvent]
Results = Iterator[AnyEvent | No]

KIND = "extension"


def request_extension(state: ComplaintState, c: RequestExtension, by: By) -> Results:
    asked = approvals.pending(state, KIND)
    if asked and state.extension == Extension(until=c.until, reason=c.reason):
        return
    if asked:
        yield No("More time is asked for already: withdraw that first, or wait for the answer.")
    terms = state.rules.extension
    if state.extensions >= terms.most:
        yield No(f"More time is granted at most {terms.most} times: escalate it (CNPC-2.6b).")
    due = [*_answers(state)]
    if not due:
        yield No("No answer is due that could be put off.")
    if any(o.state == "broken" and by.at > o.due for o in due):
        yield No("The answer is late already: answer, or escalate it (CNPC-2.6b).")
    if any(c.until <= o.due for o in due):
        yield No("The answer is not due before that: ask for a later time.")
    clock = promises.timing(state)
    for o in due:
        first = commitments.promised(o, promises.terms_of(state.rules, o), clock)
        if c.until > first + terms.longest:
            yield No(f"At most {_length(terms.longest)} beyond the first due time can be granted.")
    wanted = ExtensionRequested(at=by.at, until=c.until, reason=c.reason, evidence=c.evidence)
    yield wanted
    state = evolve(state, wanted)
    yield from approvals.request(state, KIND, _facts(state), by, _cannot_grant(state))


def may_ask(state: ComplaintState) -> bool:
    """Whether none is asked for now, and the policy grants one more."""
    asked = approvals.pending(state, KIND)
    return asked is None and state.extensions < state.rules.extension.most


def _answers(state: ComplaintState) -> Iterator[Commitment]:
    """The promises to answer, where the answer is still due."""
    for c in state.commitments:
        if c.outstanding and promises.terms_of(state.rules, c).ends == "answered":
            yield c


def _length(time: timedelta) -> str:
    whole = time % timedelta(days=1) == timedelta(0)
    return f"{time.days} days" if whole else f"{time / timedelta(hours=1):g} hours"


def _cannot_grant(state: ComplaintState) -> Iterator[Subject]:
    """Whom the complaint is about, and those whom the policy excludes by their part in it."""
    yield from barred(state.rules, state.accused)
    excluded = state.rules.approvals[KIND].exclude
    if "superior" in excluded:
        yield from (a.reports_to for a in state.accused if a.reports_to)
    if "investigator" in excluded and state.investigator:
        yield state.investigator
    owner = owner_of(state)
    if "owner" in excluded and owner and owner.kind == "person":
        yield owner.id


def facts(state: ComplaintState, approval: Approval) -> Facts | None:
    """What a request for more time rests on now; None where it was used or is over."""
    if approval.kind != KIND or approval.state != "requested" or state.extension is None:
        return None
    return _facts(state)


def _facts(state: ComplaintState) -> Facts:
    due = min((c.due for c in _answers(state)), default=None)
    wanted = state.extension
    return {
        "answer_due": due.isoformat() if due else None,
        "until": wanted.until.isoformat() if wanted else None,
        "reason": wanted.reason if wanted else None,
        "category": state.category,
        "gravity": state.gravity,
        "accused": tuple(a.staff for a in state.accused),
        "granted_before": state.extensions,
    }


def decide_approval(state: ComplaintState, c: DecideApproval, by: By) -> Results:
    asked = approvals.find(state, c.approval)
    mine = (by.actor.subject, c.on_behalf_of or by.actor.subject)
    excluded = tuple(_cannot_grant(state))
    if asked and asked.state == "requested" and any(among(who, excluded) for who in mine):
        # Who took a part in the case after it was asked for is as little free to decide.
        yield No("Who asked for it, or is part of the case, cannot decide it.")
    results = list(approvals.decide_approval(state, c, by))
    yield from (*results, *_granted(state, results, by))


def silence(state: ComplaintState, by: By) -> Events:
    """What it means that nobody decided in time (ADM-7)."""
    spoken = list(approvals.silent(state, by))
    yield from (*spoken, *_granted(state, spoken, by))


def _granted(state: ComplaintState, decided: Iterable[AnyEvent | No], by: By) -> Events:
    """The answer is due later where that was approved."""
    yes = next((e for e in decided if isinstance(e, ApprovalGranted)), None)
    wanted = state.extension
    if yes is None or wanted is None:
        return
    yield ExtensionGranted(at=yes.at, until=wanted.until, reason=wanted.reason)
    clock = promises.timing(state)
    for c in _answers(state):
        terms = promises.terms_of(state.rules, c)
        yield from commitments.extend(c, terms, clock, yes.at, wanted.until, yes.approval, by.id)
