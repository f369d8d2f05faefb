"""Repair, the end: completion, inspection, follow-up calls (回访), side exits, reopening."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from lifecycles import commitments, promises
from lifecycles.calendars import local, months_later
from lifecycles.casework import consent_first, unit
from lifecycles.decisions import By, No
from lifecycles.repair_evolve import staying
from lifecycles.repair_stages import CLOSING, scope
from schemas.base import Code, Owner
from schemas.case import SharedEvents
from schemas.repair import (
    CallbackDue,
    CallbackRecorded,
    CancelRepair,
    CompleteRepair,
    DeclaredNotOurs,
    DeclaredUnableToFix,
    DeclareNotOurs,
    DeclareUnableToFix,
    FailInspection,
    FollowUp,
    GuardRelieved,
    InspectionFailed,
    InspectionPassed,
    LinkedCaseTold,
    NoFaultReported,
    PassInspection,
    RecordCallback,
    RecordTransferReturned,
    ReleaseRequested,
    ReopenCase,
    RepairCancelled,
    RepairClosed,
    RepairCompleted,
    RepairEvents,
    RepairReopened,
    RepairSolvedByPhone,
    RepairState,
    RepairTransferred,
    ReportNoFault,
    SolveByPhone,
    Stage,
    TransferOut,
    TransferReturned,
)

Events = Iterator[RepairEvents | SharedEvents]
Results = Iterator[RepairEvents | SharedEvents | No]


def complete(state: RepairState, c: CompleteRepair, by: By) -> Results:
    if state.stage in CLOSING:
        return
    if state.arrived_at and by.at < state.arrived_at:
        yield No("It cannot be repaired before the crew arrived; correct `occurred_at`.")
    inspect = state.severity in state.policy.repair.inspect
    yield RepairCompleted(
        at=by.at,
        work=c.work,
        evidence=c.evidence,
        warranty_parts=c.warranty_parts,
        warranty_until=_warranty(state, by.at) if c.warranty_parts else None,
        inspect=inspect,
    )
    if state.guard:
        yield GuardRelieved(at=by.at, guard=state.guard)
    yield from _leave_fault(state, by)
    for milestone in ("dispatched", "arrived", "fixed"):
        yield from promises.meet(state, milestone, by)
    yield from promises.cancel_all(
        state, by, "closed", but=("dispatched", "arrived", "fixed", "followed_up")
    )
    if not inspect:
        yield from _fixed(state, by)


def pass_inspection(state: RepairState, c: PassInspection, by: By) -> Results:
    inspected = state.severity in state.policy.repair.inspect
    if inspected and state.stage in (Stage.INSPECTED, Stage.CALLBACK_DUE):
        return
    yield from _not_before_fixed(state, by)
    yield InspectionPassed(at=by.at, evidence=c.evidence)
    yield from _fixed(state, by)


def fail_inspection(state: RepairState, c: FailInspection, by: By) -> Results:
    yield from _not_before_fixed(state, by)
    yield InspectionFailed(at=by.at, reason=c.reason, evidence=c.evidence)
    yield from promises.restore(state, by, "rework", promises.owed_again(state))


def _fixed(state: RepairState, by: By) -> Events:
    """Repaired for good: tell the linked reports, then call each customer, or close."""
    for a in state.adopted:
        if a.how == "link":
            yield LinkedCaseTold(at=by.at, case=a.case, cleared_at=state.fixed_at or by.at)
    yield from follow_up(state, by)


def follow_up(state: RepairState, by: By) -> Events:
    """Call each customer (KUN-5.6), or close where there is nobody to call."""
    parties = tuple(f.party for f in state.follow_ups)
    if parties:
        yield CallbackDue(at=by.at, parties=parties)
        yield from promises.begin(state, "fixed", by, scope(state))
    else:
        yield RepairClosed(at=by.at)


def record_callback(state: RepairState, c: RecordCallback, by: By) -> Results:
    call = next((f for f in state.follow_ups if f.party == c.party), None)
    if call and call.result == c.result:
        return
    yield from _not_before_fixed(state, by)
    if call is None:
        yield No("This party is not among those to be called.")
        return
    if call.result is not None:
        yield No("This party's follow-up is done.")
    yield from consent_first(c.consent, c.result)
    rules = state.policy.repair.follow_up
    attempt = call.attempts + 1
    done = c.result != "unreachable" or attempt >= rules.attempts
    yield CallbackRecorded(at=by.at, party=c.party, result=c.result, attempt=attempt, done=done)
    if c.result == "not_satisfied":
        failed = state.unhappy + 1 >= rules.failures_to_supervisor
        owner = Owner(kind="role", id=rules.supervisor) if failed else unit(state)
        yield from _reopen(state, "not_satisfied", owner, by)
    elif done:
        yield from _close_if_called([f for f in state.follow_ups if f.party != c.party], state, by)


def let_go(state: RepairState, case: str, by: By) -> Events:
    """A merged case leaves and takes its customers along; the last one may have been waited for."""
    if state.stage == Stage.CALLBACK_DUE:
        rest = tuple(a for a in state.adopted if a.case != case)
        yield from _close_if_called(staying(state, rest), state, by)


def _close_if_called(others: Sequence[FollowUp], state: RepairState, by: By) -> Events:
    if all(f.result is not None for f in others):
        yield from promises.meet(state, "followed_up", by)
        yield from promises.cancel_all(state, by, "closed", but=("followed_up",))
        yield RepairClosed(at=by.at)


def reopen(state: RepairState, c: ReopenCase, by: By) -> Results:
    window = state.policy.repair.reopen_within
    if state.closed_at and by.at > state.closed_at + window:
        yield No(f"It ended more than {window.days} days ago: report a new repair instead.")
    if state.closed_at and by.at < state.closed_at:
        yield No("It cannot be reopened before it ended; correct `occurred_at`.")
    yield from _reopen(state, c.reason, unit(state), by)


def _reopen(state: RepairState, reason: Code, owner: Owner, by: By) -> Events:
    yield RepairReopened(at=by.at, reason=reason, owner=owner, rework=state.rework + 1)
    for c in state.commitments:
        if c.outstanding and promises.terms_of(state.rules, c).ends == "followed_up":
            yield from commitments.cancel(c, by.at, "reopened")
    yield from promises.restore(state, by, "reopened", promises.owed_again(state))


def solve_by_phone(state: RepairState, c: SolveByPhone, by: By) -> Results:
    if state.stage == Stage.SOLVED_BY_PHONE:
        return
    terms = state.policy.repair.categories.get(state.category)
    if terms is None or not terms.by_phone:
        yield No("This kind of fault needs a visit; dispatch a crew (KUN-5.5.2).")
    yield RepairSolvedByPhone(at=by.at, solution=c.solution)
    yield from _leave_fault(state, by)
    yield from promises.meet(state, "fixed", by)
    yield from promises.cancel_all(state, by, "solved_by_phone", but=("fixed",))


def transfer_out(state: RepairState, c: TransferOut, by: By) -> Results:
    if state.transferred_to == c.to:
        return
    yield from _no_linked(state)
    yield RepairTransferred(at=by.at, to=c.to, reference=c.reference)
    yield from _leave_fault(state, by)
    yield from promises.cancel_all(state, by, "transferred")


def transfer_returned(state: RepairState, c: RecordTransferReturned, by: By) -> Results:
    if state.closed_at and by.at < state.closed_at:
        yield No("It cannot come back before it was transferred; correct `occurred_at`.")
    yield TransferReturned(at=by.at, reason=c.reason, owner=unit(state))
    yield from promises.restore(state, by, "transfer_returned", promises.owed_again(state))


def no_fault(state: RepairState, c: ReportNoFault, by: By) -> Results:
    if state.stage == Stage.NO_FAULT_FOUND:
        return
    yield from _no_linked(state)
    yield NoFaultReported(at=by.at, evidence=c.evidence)
    yield from _leave_fault(state, by)
    yield from promises.cancel_all(state, by, "no_fault_found")


def not_ours(state: RepairState, c: DeclareNotOurs, by: By) -> Results:
    if state.stage == Stage.NOT_OURS:
        return
    yield from _no_linked(state)
    yield DeclaredNotOurs(at=by.at, reason=c.reason, channel=c.channel)
    yield from _leave_fault(state, by)
    yield from promises.cancel_all(state, by, "not_ours")


def unable_to_fix(state: RepairState, c: DeclareUnableToFix, by: By) -> Results:
    if state.stage == Stage.UNABLE_TO_FIX:
        return
    yield from _no_linked(state)
    yield DeclaredUnableToFix(at=by.at, reason=c.reason, channel=c.channel)
    yield from _leave_fault(state, by)
    yield from promises.cancel_all(state, by, "unable_to_fix")


def cancel(state: RepairState, c: CancelRepair, by: By) -> Results:
    if state.stage == Stage.CANCELLED:
        return
    yield from _no_linked(state)
    yield from cancelled(state, c.reason, by)


def cancelled(state: RepairState, reason: Code, by: By) -> Events:
    yield RepairCancelled(at=by.at, reason=reason)
    yield from _leave_fault(state, by)
    yield from promises.cancel_all(state, by, "cancelled")


def _leave_fault(state: RepairState, by: By) -> Events:
    """A report that ends by itself waits for its network fault no more, nor that for it."""
    if state.linked_to:
        yield ReleaseRequested(at=by.at, case=state.linked_to)


def _no_linked(state: RepairState) -> Iterator[No]:
    linked = sum(a.how == "link" for a in state.adopted)
    if linked:
        yield No(f"{linked} linked reports wait for this fault: clear it, or split them out first.")


def _not_before_fixed(state: RepairState, by: By) -> Iterator[No]:
    if state.fixed_at and by.at < state.fixed_at:
        yield No(
            "This cannot have happened before the repair was completed; correct `occurred_at`."
        )


def _warranty(state: RepairState, at: datetime) -> date | None:
    """A replaced part's warranty begins anew (AFT-1): the same day so many months on."""
    months = state.policy.repair.warranty_months
    if months is None:
        return None
    return months_later(local(state.policy.calendar, at).date(), months)
