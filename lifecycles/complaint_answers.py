"""Complaint, the middle: investigating, asking, finding, apologising, answering (KUN-2.2.6)."""

from collections.abc import Iterator
from datetime import datetime

from lifecycles import commitments, promises
from lifecycles.approvals import among, same
from lifecycles.casework import BEGINNING, fold, not_before
from lifecycles.complaint_evolve import AnyEvent, evolve
from lifecycles.complaint_intake import conclude
from lifecycles.complaint_stages import (
    ACTIVE,
    FOUND,
    apologies_owed,
    asks,
    barred,
    complainants,
    finding_of,
    owes,
    scope,
)
from lifecycles.decisions import By, No
from schemas.base import Subject
from schemas.complaint import (
    AnswerComplaint,
    ApologyRecorded,
    ApologyWaived,
    AskCustomer,
    ComplaintAnswered,
    ComplaintClosed,
    ComplaintState,
    CustomerAsked,
    CustomerReplied,
    DecideFinding,
    Finding,
    FindingDecided,
    FollowUpDue,
    InvestigationStarted,
    RecordApology,
    RecordCustomerReply,
    Stage,
    StartInvestigation,
    WaiveApology,
)
from schemas.policy import Outcome

Events = Iterator[AnyEvent]
Results = Iterator[AnyEvent | No]

AWAITING = "awaiting_customer"
"""The pause reason of a question; it stops the time of those promises that the policy says."""


def start(state: ComplaintState, _: StartInvestigation, by: By) -> Results:
    judge = state.investigator
    if state.stage == Stage.INVESTIGATING and judge and same(judge, by.actor.subject):
        return
    yield from not_before(state.redone_at, by, "the redo was ordered")
    yield InvestigationStarted(at=by.at, investigator=by.actor.subject)


def ask_customer(state: ComplaintState, c: AskCustomer, by: By) -> Results:
    if state.question == c.question:
        return
    if not complainants(state):
        yield No("The complainant stayed anonymous: there is nobody to ask.")
    terms = state.rules.pause_reasons.get(AWAITING)
    if terms is None:
        yield No("This policy does not wait for the complainant: ask, and go on investigating.")
        return
    yield from _since_it_started(state, by)
    left = terms.longest - state.waited
    if not left:
        yield No(
            "The complainant was waited for as long as the policy allows:"
            " answer it, or escalate it (CNPC-2.6b)."
        )
    yield CustomerAsked(at=by.at, question=c.question, until=by.at + left)
    yield from promises.pause(state, by, AWAITING, c.question)


def record_reply(state: ComplaintState, c: RecordCustomerReply, by: By) -> Results:
    if state.asked_until is None and state.reply == c.evidence:
        return
    yield from not_before(state.asked_at, by, "the question was asked")
    yield CustomerReplied(at=by.at, evidence=c.evidence)
    yield from promises.resume(state, by)


def no_reply(state: ComplaintState, by: By) -> Events:
    """The complainant did not reply within the time: it runs again."""
    until = asked_until(state)
    if until and until <= by.at:
        yield CustomerReplied(at=until, evidence=None)
        yield from promises.resume(state, by._replace(at=until))


def decide_finding(state: ComplaintState, c: DecideFinding, by: By) -> Results:
    before = finding_of(state, c.staff)
    said = (c.outcome, c.gravity, c.cause, c.conduct_at)
    if (
        before
        and said == (before.outcome, before.gravity, before.cause, before.conduct_at)
        and not _partial(state, before)
    ):
        return
    yield from _investigated(state, by)
    if asks(state):
        yield No("It is about to join another complaint: wait for that one's answer.")
    staff = next((a.staff for a in state.accused if same(a.staff, c.staff)), None)
    if staff is None:
        yield No("The complaint is not about this person; name one of the accused.")
    if c.outcome == "not_upheld" and c.reason is None:
        yield No("Not upheld: say why in `reason` (ADM-5).")
    if c.conduct_at > by.at:
        yield No("The conduct lies in the future; correct `conduct_at`.")
    if c.conduct_at < BEGINNING:
        yield No(f"The conduct lies before {BEGINNING.year}; correct `conduct_at`.")
    finding = FindingDecided(
        at=by.at,
        staff=staff or c.staff,
        revision=before.revision + 1 if before else 1,
        outcome=c.outcome,
        gravity=c.gravity,
        cause=c.cause,
        conduct_at=c.conduct_at,
        decided_by=by.actor.subject,
        evidence=c.evidence,
        reason=c.reason,
        appeal=False,
    )
    yield from found(state, finding, by)


def may_wait(state: ComplaintState) -> bool:
    """Whether the complainant can be asked, and time is left to wait for the reply."""
    terms = state.rules.pause_reasons.get(AWAITING)
    return bool(complainants(state)) and terms is not None and state.waited < terms.longest


def _since_it_started(state: ComplaintState, by: By) -> Iterator[No]:
    yield from not_before(state.investigating_since, by, "the investigation was started")


def _investigated(state: ComplaintState, by: By) -> Iterator[No]:
    yield from _since_it_started(state, by)
    if state.stage == Stage.INVESTIGATING and state.investigator is None:
        yield No("Who investigated it cannot any more: somebody else starts an investigation.")


def _partial(state: ComplaintState, finding: Finding) -> bool:
    """Whether somebody decided it whom a complaint that was taken in is about."""
    return among(finding.decided_by, barred(state.rules, state.accused))


def found(state: ComplaintState, finding: FindingDecided, by: By) -> Events:
    """A finding, and the apology that is owed for it (GAS-2.6) or no longer owed."""
    before, staff = state, finding.staff
    yield finding
    state = evolve(state, finding)
    if owes(state, finding_of(state, staff)):
        yield from promises.begin(state, "upheld", by, scope(state))
    elif owes(before, finding_of(before, staff)):
        waived = ApologyWaived(at=by.at, staff=staff, reason="overturned")
        yield waived
        yield from _apologies_settled(evolve(state, waived), by)


def _apologies_settled(state: ComplaintState, by: By) -> Events:
    """Who was at fault has apologised, or nobody was at fault after all."""
    if apologies_owed(state):
        return
    if any(f.outcome in FOUND for f in state.findings):
        yield from promises.meet(state, "apologised", by)
        return
    for c in state.commitments:
        if promises.terms_of(state.rules, c).ends == "apologised":
            yield from commitments.cancel(c, by.at, "overturned")


def record_apology(state: ComplaintState, c: RecordApology, by: By) -> Results:
    finding = finding_of(state, c.staff)
    if finding and finding.apologised:
        return
    yield from _may_apologise(state, c.staff, by)
    done = ApologyRecorded(at=by.at, staff=c.staff, evidence=c.evidence)
    yield from _apologised(state, done, by)


def waive_apology(state: ComplaintState, c: WaiveApology, by: By) -> Results:
    finding = finding_of(state, c.staff)
    if finding and finding.apology_waived:
        return
    yield from _may_apologise(state, c.staff, by)
    waived = ApologyWaived(at=by.at, staff=c.staff, reason=c.reason)
    yield from _apologised(state, waived, by)


def _may_apologise(state: ComplaintState, staff: Subject, by: By) -> Iterator[No]:
    finding = finding_of(state, staff)
    if not owes(state, finding):
        yield No("This person owes no apology in this complaint.")
    elif finding:
        yield from not_before(finding.decided_at, by, "the finding")


def _apologised(state: ComplaintState, event: ApologyRecorded | ApologyWaived, by: By) -> Events:
    yield event
    state = evolve(state, event)
    settled = list(_apologies_settled(state, by))
    yield from settled
    yield from close_if_done(fold(evolve, state, settled), by)


def answer(state: ComplaintState, c: AnswerComplaint, by: By) -> Results:
    if state.stage not in ACTIVE and state.outcome == c.outcome:
        return
    yield from _investigated(state, by)
    decided = max((f.decided_at for f in state.findings), default=None)
    yield from not_before(decided, by, "the findings")
    missing = sum(finding_of(state, a.staff) is None for a in state.accused)
    if missing:
        yield No(f"Decide a finding about each of the accused first; {missing} have none.")
    if any(_partial(state, f) for f in state.findings):
        yield No("Somebody whom it is about by now decided a finding in it: decide that one anew.")
    yield from agrees(c.outcome, [f.outcome for f in state.findings])
    if c.outcome == "not_upheld" and c.reason is None:
        yield No("Not upheld: say why in `reason` (ADM-5).")
    told = ComplaintAnswered(
        at=by.at,
        outcome=c.outcome,
        answer=c.answer,
        reason=c.reason,
        answered_by=by.actor.subject,
    )
    settled = [
        told,
        *promises.meet(state, "answered", by),
        *conclude(state, "answered", by, but=("answered", "apologised")),
    ]
    yield from settled
    yield from follow_up(fold(evolve, state, settled), by)


def agrees(outcome: Outcome, findings: list[Outcome]) -> Iterator[No]:
    """What the complainant is told agrees with what was found about people."""
    if findings and (outcome == "not_upheld") == any(f in FOUND for f in findings):
        yield No("The outcome contradicts the findings: correct it, or decide the findings anew.")


def follow_up(state: ComplaintState, by: By) -> Events:
    """Call the complainant (CNPC-2.6a), or close where nobody can be called."""
    if complainants(state):
        yield FollowUpDue(at=by.at)
        yield from promises.begin(state, "answered", by, scope(state))
    else:
        yield from close_if_done(state, by)


def close_if_done(state: ComplaintState, by: By) -> Events:
    """Close it where it was answered, followed up and apologised for; `state` is the latest."""
    if state.stage == Stage.ANSWERED and state.outcome and not apologies_owed(state):
        yield ComplaintClosed(at=by.at, outcome=state.outcome)
        yield from promises.cancel_all(state, by, "closed")


def asked_until(state: ComplaintState) -> datetime | None:
    """When the wait for the complainant's reply ends by itself."""
    return state.asked_until if state.stage == Stage.AWAITING_CUSTOMER else None
