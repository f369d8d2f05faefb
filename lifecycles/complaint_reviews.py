"""Complaint, after the answer: follow-up (回访), redo, review, appeal, and the way outside."""

from collections.abc import Iterable, Iterator

from lifecycles import commitments, promises
from lifecycles.approvals import same
from lifecycles.casework import consent_first, fold, not_before, owner_of
from lifecycles.complaint_answers import agrees, close_if_done, follow_up, found
from lifecycles.complaint_evolve import AnyEvent, evolve
from lifecycles.complaint_intake import conclude
from lifecycles.complaint_stages import FOUND, finding_of, not_by, only, scope
from lifecycles.decisions import By, No
from schemas.base import Code, Owner, Reference, Subject
from schemas.case import OwnerChanged
from schemas.complaint import (
    AppealComplaint,
    AppealDecided,
    AppealFinding,
    CloseComplaint,
    ComplaintAppealed,
    ComplaintState,
    ConfirmDecision,
    DissatisfactionReviewed,
    FindingDecided,
    FollowUpRecorded,
    InformantRewarded,
    OrderRedo,
    OverturnDecision,
    RecordFollowUp,
    RedoOrdered,
    ReferExternal,
    ReferredExternal,
    RewardInformant,
    Stage,
)

Events = Iterator[AnyEvent]
Results = Iterator[AnyEvent | No]


def record_follow_up(state: ComplaintState, c: RecordFollowUp, by: By) -> Results:
    if state.follow_up == c.result:
        return
    yield from not_before(state.answered_at, by, "the complaint was answered")
    if state.follow_up:
        yield No("The follow-up is done.")
    yield from consent_first(c.consent, c.result)
    rules = state.rules.follow_up
    attempt = state.attempts + 1
    done = c.result != "unreachable" or attempt >= rules.attempts
    call = FollowUpRecorded(at=by.at, result=c.result, attempt=attempt, done=done)
    yield call
    if not done:
        return
    met = list(promises.reach(state, "followed_up", by, scope(state)))
    yield from met
    if c.result != "not_satisfied":
        yield from close_if_done(fold(evolve, state, (call, *met)), by)
        return
    supervisor = Owner(kind="role", id=rules.supervisor)
    if owner_of(state) != supervisor:
        yield OwnerChanged(at=by.at, owner=supervisor, reason="not_satisfied")
    yield from promises.begin(state, "dissatisfied", by, scope(state))


def order_redo(state: ComplaintState, c: OrderRedo, by: By) -> Results:
    if state.stage == Stage.REDO:
        return
    yield from _may_review(state, by)
    if state.appeals:
        yield No("The level above has decided: it is not done again.")
    department = state.department or state.rules.intake_unit
    owner = Owner(kind="unit", id=department)
    yield RedoOrdered(at=by.at, reason=c.reason, redo=state.redo + 1, owner=owner)
    yield from promises.meet(state, "reviewed", by)
    for o in state.commitments:
        if promises.terms_of(state.rules, o).ends == "followed_up":
            yield from commitments.cancel(o, by.at, "reopened")
    yield from promises.restore(state, by, "redo", promises.met_by(state, "answered"))


def close(state: ComplaintState, c: CloseComplaint, by: By) -> Results:
    if state.reviewed:
        return
    yield from _may_review(state, by)
    if state.follow_up != "not_satisfied":
        yield No("The complainant has not said that they are dissatisfied: follow it up first.")
    reviewed = DissatisfactionReviewed(at=by.at, reason=c.reason)
    yield reviewed
    met = list(promises.reach(state, "reviewed", by, scope(state)))
    yield from met
    yield from close_if_done(fold(evolve, state, (reviewed, *met)), by)


def _may_review(state: ComplaintState, by: By) -> Iterator[No]:
    yield from only(by, state.rules.follow_up.supervisor, state.rules.next_level)
    yield from not_by(by, *_decided_before(state))
    yield from not_before(state.answered_at, by, "the complaint was answered")


def _decided_before(state: ComplaintState) -> Iterator[Subject | None]:
    """Whose work the answer is."""
    yield from (state.answered_by, state.investigator)
    yield from (f.decided_by for f in state.findings)


def reward(state: ComplaintState, c: RewardInformant, by: By) -> Results:
    if state.rewarded:
        return
    if not state.confidential:
        yield No("Only an informant is rewarded (WAT-2.5).")
    yield InformantRewarded(at=by.at, evidence=c.evidence)


def appeal(state: ComplaintState, c: AppealComplaint, by: By) -> Results:
    if state.stage == Stage.APPEALED:
        return
    if state.appeals:
        yield No("The level above has decided already: refer it outside (ReferExternal).")
    window = state.rules.appeal_within
    if state.answered_at and by.at > state.answered_at + window:
        yield No(f"It was answered more than {window.days} days ago: open a new complaint.")
    yield from not_before(state.answered_at, by, "the complaint was answered")
    above = Owner(kind="role", id=state.rules.next_level)
    yield ComplaintAppealed(at=by.at, ground=c.ground, evidence=c.evidence, owner=above)
    yield from promises.cancel_all(state, by, "appealed", but=("apologised",))
    yield from promises.begin(state, "appealed", by, scope(state))


def confirm(state: ComplaintState, c: ConfirmDecision, by: By) -> Results:
    if state.appeal_decision == "confirmed":
        return
    yield from _may_judge(state, by)
    found_again = [
        AppealFinding(staff=f.staff, outcome=f.outcome, gravity=f.gravity, cause=f.cause)
        for f in state.findings
        if f.outcome in FOUND
    ]
    decided = AppealDecided(
        at=by.at,
        decision="confirmed",
        outcome=state.outcome or "not_upheld",
        reason=c.reason,
        answer=c.answer,
        decided_by=by.actor.subject,
    )
    yield from _decided(state, decided, found_again, by)


def overturn(state: ComplaintState, c: OverturnDecision, by: By) -> Results:
    if state.appeal_decision == "overturned" and state.outcome == c.outcome:
        return
    yield from _may_judge(state, by)
    named = sorted(f.staff.casefold() for f in c.findings)
    if named != sorted(a.staff.casefold() for a in state.accused):
        yield No("Say what is found about each of the accused, once, and about nobody else.")
        return
    yield from agrees(c.outcome, [f.outcome for f in c.findings])
    if state.outcome == c.outcome and all(_stands(state, f) for f in c.findings):
        yield No("This is what was decided before: confirm it instead.")
    decided = AppealDecided(
        at=by.at,
        decision="overturned",
        outcome=c.outcome,
        reason=c.reason,
        answer=c.answer,
        decided_by=by.actor.subject,
    )
    yield from _decided(state, decided, c.findings, by)


def _may_judge(state: ComplaintState, by: By) -> Iterator[No]:
    """An appeal is decided by the level above, and by somebody new (WIN-3.4.3)."""
    yield from only(by, state.rules.next_level, "admin")
    yield from not_by(by, *_decided_before(state))
    yield from not_before(state.appealed_at, by, "the appeal")


def _stands(state: ComplaintState, finding: AppealFinding) -> bool:
    before = finding_of(state, finding.staff)
    return before is not None and (before.outcome, before.gravity, before.cause) == (
        finding.outcome,
        finding.gravity,
        finding.cause,
    )


def _decided(
    state: ComplaintState, decided: AppealDecided, findings: Iterable[AppealFinding], by: By
) -> Events:
    """Every finding is decided anew, so that the staff file knows the final decision's day."""
    for f in findings:
        events = list(found(state, _found_above(state, f, decided.reason, decided.answer, by), by))
        yield from events
        state = fold(evolve, state, events)
    yield decided
    state = evolve(state, decided)
    reached = list(promises.reach(state, "appeal_decided", by, scope(state)))
    yield from reached
    yield from follow_up(fold(evolve, state, reached), by)


def _found_above(
    state: ComplaintState, finding: AppealFinding, reason: Code, answer: Reference, by: By
) -> FindingDecided:
    before = finding_of(state, finding.staff)
    staff = next((a.staff for a in state.accused if same(a.staff, finding.staff)), finding.staff)
    return FindingDecided(
        at=by.at,
        staff=staff,
        revision=before.revision + 1 if before else 1,
        outcome=finding.outcome,
        gravity=finding.gravity,
        cause=finding.cause,
        conduct_at=before.conduct_at if before else state.registered_at or by.at,
        decided_by=by.actor.subject,
        evidence=answer,
        reason=reason,
        appeal=True,
    )


def refer_external(state: ComplaintState, c: ReferExternal, by: By) -> Results:
    if state.stage == Stage.EXTERNAL:
        return
    if not state.appeals:
        yield No("The complainant goes to the level above first: AppealComplaint (WIN-3.4.3).")
    yield ReferredExternal(at=by.at, body=c.body, reference=c.reference)
    yield from conclude(state, "external", by)
