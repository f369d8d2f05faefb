"""Complaint, the beginning: registering, screening, and whose it is to answer (转办)."""

from collections.abc import Iterator

from lifecycles import approvals, casework, commitments, promises
from lifecycles.approvals import among
from lifecycles.casework import owner_of, unit
from lifecycles.complaint_evolve import AnyEvent, merged
from lifecycles.complaint_stages import (
    arbitration_due,
    barred,
    earliest,
    may_own,
    only,
    scope,
)
from lifecycles.decisions import By, No
from lifecycles.promises import Scope
from schemas.base import SYSTEM, Code, Owner, Subject
from schemas.case import HandOverCase, OwnerChanged
from schemas.complaint import (
    MOST_ACCUSED,
    Accused,
    AcknowledgeComplaint,
    ArbitrateReturn,
    ComplaintAcknowledged,
    ComplaintEscalated,
    ComplaintHandedOver,
    ComplaintReferred,
    ComplaintRegistered,
    ComplaintReturned,
    ComplaintScreened,
    ComplaintState,
    ComplaintWithdrawn,
    DeclaredOutOfJurisdiction,
    DeclareOutOfJurisdiction,
    EscalateComplaint,
    HandOverComplaint,
    ReferComplaint,
    RegisterComplaint,
    ReturnArbitrated,
    ReturnComplaint,
    ScreenComplaint,
    Stage,
    WithdrawComplaint,
)
from schemas.policy import ComplaintPolicy

Events = Iterator[AnyEvent]
Results = Iterator[AnyEvent | No]


def register(state: ComplaintState, c: RegisterComplaint, by: By) -> Results:
    rules = state.rules
    yield from _known_category(rules, c.category)
    yield from _who_complains(rules, c)
    if c.about == "staff" and not c.accused:
        yield No("Say whom it is about: name the accused.")
    if c.about == "case" and c.about_case is None:
        yield No("Say which case it is about in `about_case`.")
    if c.about == "place" and c.place is None:
        yield No("Say which place it is about in `place`.")
    yield from _may_be_accused(rules, c.accused)
    terms = rules.categories.get(c.category)
    gravity = terms.gravity if terms else "light"
    # Whoever takes the call registers it, even against themselves; but then it is not theirs.
    taken = by.actor.role in ("clerk", "supervisor") and not among(
        by.actor.subject, barred(rules, c.accused)
    )
    yield ComplaintRegistered(
        at=by.at,
        case=state.case_id,
        policy=state.policy_hash,
        channel=c.channel,
        about=c.about,
        category=c.category,
        gravity=gravity,
        district=c.district,
        accused=c.accused,
        about_case=c.about_case,
        place=c.place,
        party=c.party,
        anonymous=c.anonymous,
        confidential=c.confidential,
        text=c.text,
        priority=c.priority,
        owner=Owner(kind="person", id=by.actor.subject) if taken else unit(state),
        premises=c.premises,
    )
    facts = Scope(None, gravity, c.category, c.channel)
    yield from promises.begin(state, "registered", by, facts, priority=c.priority, once=True)


def _known_category(rules: ComplaintPolicy, category: Code) -> Iterator[No]:
    if category not in rules.categories:
        yield No(f"The category is unknown; this policy has: {', '.join(rules.categories)}.")


def _who_complains(rules: ComplaintPolicy, c: RegisterComplaint) -> Iterator[No]:
    if c.anonymous:
        if c.party is not None:
            yield No("Who stays anonymous is no party: leave out `party` or `anonymous`.")
        if c.confidential:
            yield No("An informant's identity is registered and sealed: name a party (WAT-2.5).")
        return
    if c.party is None:
        yield No("Record who complains: a party is needed, unless they stay anonymous (KUN-5.4.1).")
    missing = [f for f in rules.required_contact.get(c.channel, ()) if f not in c.recorded]
    if missing:
        yield No(f"Record the complainant's {', '.join(missing)} (KUN-5.4.1).")


def _may_be_accused(rules: ComplaintPolicy, accused: tuple[Accused, ...]) -> Iterator[No]:
    """Only people are accused, each once."""
    staff = [a.staff for a in accused]
    if len({s.casefold() for s in staff}) < len(staff):
        yield No("Somebody is named twice among the accused: name each once.")
    roles = (rules.follow_up.supervisor, rules.next_level)
    no_people = (SYSTEM.subject, rules.intake_unit, *rules.departments, *roles)
    if any(among(s, no_people) for s in barred(rules, accused)):
        yield No("Only people can be accused or be reported to: name their staff numbers.")


def screen(state: ComplaintState, c: ScreenComplaint, by: By) -> Results:
    accused = merged(state.accused, c.accused)
    before = (state.category, state.gravity)
    again = state.stage == Stage.SCREENED
    if again and (*before, state.accused) == (c.category, c.gravity, accused):
        return
    yield from _known_category(state.rules, c.category)
    yield from _may_be_accused(state.rules, c.accused)
    if len(accused) > MOST_ACCUSED:
        yield No(
            f"More than {MOST_ACCUSED} are accused: register another complaint about the others."
        )
    yield ComplaintScreened(at=by.at, category=c.category, gravity=c.gravity, accused=accused)
    if before != (c.category, c.gravity):
        facts = Scope(None, c.gravity, c.category, state.channel)
        yield from promises.judged_anew(state, "registered", by, facts, earliest(state))
    yield from relieved(state, accused, by)


def relieved(state: ComplaintState, accused: tuple[Accused, ...], by: By) -> Events:
    """An owner who turns out to be accused, or to answer for one, has it no longer."""
    owner = owner_of(state)
    if owner and among(owner.id, barred(state.rules, accused)):
        yield OwnerChanged(at=by.at, owner=unit(state), reason="accused")


def decline(state: ComplaintState, c: DeclareOutOfJurisdiction, by: By) -> Results:
    if state.stage == Stage.OUT_OF_JURISDICTION and state.declined == c.reason:
        return
    if state.findings:
        yield No("Findings were decided in it: answer it instead.")
    yield DeclaredOutOfJurisdiction(at=by.at, reason=c.reason)
    yield from conclude(state, "declined", by)
    yield from promises.begin(state, "declined", by, scope(state))


def refer(state: ComplaintState, c: ReferComplaint, by: By) -> Results:
    if state.stage == Stage.REFERRED:
        return
    yield ComplaintReferred(at=by.at, to=c.to, reference=c.reference)
    yield from promises.meet(state, "referred", by)
    yield from conclude(state, "referred", by, but=("referred",))


def hand_over(state: ComplaintState, c: HandOverComplaint, by: By) -> Results:
    if state.stage == Stage.HANDED_OVER and state.department == c.department:
        return
    yield from _known_department(state, c.department)
    if arbitration_due(state):
        yield No("It was returned too often: a supervisor decides whose it is (ArbitrateReturn).")
    owner = Owner(kind="unit", id=c.department)
    yield ComplaintHandedOver(at=by.at, department=c.department, owner=owner)
    yield from promises.reach(state, "handed_over", by, scope(state))


def acknowledge(state: ComplaintState, _: AcknowledgeComplaint, by: By) -> Results:
    mine = Owner(kind="person", id=by.actor.subject)
    if state.stage == Stage.ACKNOWLEDGED and owner_of(state) == mine:
        return
    yield ComplaintAcknowledged(at=by.at, owner=mine)
    yield from promises.reach(state, "acknowledged", by, scope(state))


def give_back(state: ComplaintState, c: ReturnComplaint, by: By) -> Results:
    if state.stage == Stage.RETURNED:
        return
    if state.arbitrated:
        yield No("A supervisor decided whose it is: it cannot be returned again.")
    returns = state.returns + 1
    arbitrate = returns >= state.rules.returns_limit
    supervisor = Owner(kind="role", id=state.rules.follow_up.supervisor)
    yield ComplaintReturned(
        at=by.at,
        department=state.department or state.rules.intake_unit,
        ground=c.ground,
        evidence=c.evidence,
        returns=returns,
        arbitrate=arbitrate,
        owner=supervisor if arbitrate else unit(state),
    )
    yield from approvals.withdraw_all(state, "returned", by)
    for o in state.commitments:
        if promises.terms_of(state.rules, o).ends == "acknowledged":
            yield from commitments.cancel(o, by.at, "returned")
    if arbitrate:
        yield from promises.begin(state, "returned", by, scope(state))


def arbitrate(state: ComplaintState, c: ArbitrateReturn, by: By) -> Results:
    if state.stage == Stage.ARBITRATED and state.department == c.department:
        return
    yield from only(by, state.rules.follow_up.supervisor, state.rules.next_level)
    yield from _known_department(state, c.department)
    if not arbitration_due(state):
        yield No("There is nothing to arbitrate: hand it over to a department.")
    owner = Owner(kind="unit", id=c.department)
    yield ReturnArbitrated(at=by.at, department=c.department, reason=c.reason, owner=owner)
    yield from promises.reach(state, "arbitrated", by, scope(state))
    yield from promises.begin(state, "handed_over", by, scope(state))


def _known_department(state: ComplaintState, department: Subject) -> Iterator[No]:
    known = state.rules.departments
    if department not in known:
        yield No(f"The department is unknown; this policy has: {', '.join(known)}.")


def hand_over_case(state: ComplaintState, c: HandOverCase, by: By) -> Results:
    """A call too hard, a caller too agitated: somebody else takes it (KUN-5.4.2, GAS-3.8.5)."""
    yield from may_own(state, c.to)
    yield from casework.hand_over(state, c, by)


def escalate(state: ComplaintState, c: EscalateComplaint, by: By) -> Results:
    if c.to == owner_of(state):
        return
    yield from may_own(state, c.to)
    yield ComplaintEscalated(at=by.at, owner=c.to, reason=c.reason)


def withdraw(state: ComplaintState, c: WithdrawComplaint, by: By) -> Results:
    if state.stage == Stage.WITHDRAWN:
        return
    yield ComplaintWithdrawn(at=by.at, reason=c.reason)
    yield from conclude(state, "withdrawn", by)


def conclude(state: ComplaintState, reason: Code, by: By, but: tuple[str, ...] = ()) -> Events:
    """Nothing is asked or owed any more, except what the named milestones keep."""
    yield from approvals.withdraw_all(state, reason, by)
    yield from promises.cancel_all(state, by, reason, but=("approval_decided", *but))
