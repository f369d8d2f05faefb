"""Repair, the middle: crews, appointments, visits, work and parts (派修)."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from lifecycles import commitments, promises
from lifecycles.casework import not_before, unit
from lifecycles.commitments import Agreement
from lifecycles.decisions import By, No
from lifecycles.repair_stages import scope
from schemas.base import Code
from schemas.case import SharedEvents
from schemas.commitments import CommitmentEvents
from schemas.repair import (
    AcceptJob,
    AccessFailed,
    AnnounceInterruption,
    AppointmentBooked,
    AppointmentMissWithdrawn,
    AppointmentMoved,
    BookAppointment,
    CrewArrived,
    CrewDispatched,
    DeclineJob,
    DispatchCrew,
    GuardPosted,
    GuardRelieved,
    Interruption,
    InterruptionAnnounced,
    JobAccepted,
    JobDeclined,
    JobReassigned,
    MakeSafe,
    MoveAppointment,
    PartsArrived,
    PartsRequested,
    PartsShipped,
    PauseWork,
    PostGuard,
    ReassignJob,
    RecordArrival,
    RecordNoAccess,
    RecordPartsArrived,
    RecordPartsShipped,
    RepairEvents,
    RepairState,
    RequestParts,
    ResumeWork,
    SiteMadeSafe,
    Stage,
    StartWork,
    WorkPaused,
    WorkResumed,
    WorkStarted,
)

Results = Iterator[RepairEvents | SharedEvents | No]

_FAR = timedelta(days=366)

ABSENT: Code = "customer_absent"
"""The pause reason of a visit without access; it stops the time only where the policy allows it."""


def dispatch_crew(state: RepairState, c: DispatchCrew, by: By) -> Results:
    if state.stage == Stage.DISPATCHED and state.crew == c.crew:
        return
    if state.channel in state.policy.repair.receipt_channels and c.receipt is None:
        yield No("Pass the order on against a signature and name it in `receipt` (WAT-2.9).")
    yield CrewDispatched(at=by.at, crew=c.crew, receipt=c.receipt)
    yield from promises.reach(state, "dispatched", by, scope(state))


def accept_job(state: RepairState, c: AcceptJob, by: By) -> Results:
    if state.stage == Stage.ACCEPTED and state.crew == c.crew:
        return
    yield from _same_crew(state, c.crew)
    yield from not_before(state.dispatched_at, by, "the crew was dispatched")
    yield JobAccepted(at=by.at, crew=c.crew)


def decline_job(state: RepairState, c: DeclineJob, by: By) -> Results:
    yield from _same_crew(state, c.crew)
    yield from not_before(state.dispatched_at, by, "the crew was dispatched")
    yield JobDeclined(at=by.at, crew=c.crew, reason=c.reason, owner=unit(state))


def reassign_job(state: RepairState, c: ReassignJob, by: By) -> Results:
    if c.crew == state.crew:
        if state.stage == Stage.DISPATCHED:
            return
        yield No("This crew has the job already; name another.")
    if state.stage == Stage.PAUSED:
        yield from not_before(state.paused_at, by, "it was paused")
        yield from _go_on(state, by)
    yield JobReassigned(at=by.at, crew=c.crew, reason=c.reason, owner=unit(state))


def book_appointment(state: RepairState, c: BookAppointment, by: By) -> Results:
    if _agreed_already(state, c.start, c.end):
        return
    if state.appointment and not state.appointment.missed:
        yield No("There is an appointment already; use MoveAppointment (KUN-7.1.4).")
    wrong = list(_window(state, c.start, c.end, by))
    yield from wrong
    if wrong:
        return
    yield AppointmentBooked(at=by.at, start=c.start, end=c.end, consent=c.consent)
    yield from _agreed(state, c, by)


def move_appointment(state: RepairState, c: MoveAppointment, by: By) -> Results:
    if _agreed_already(state, c.start, c.end):
        return
    if state.appointment is None:
        yield No("There is no appointment to move; use BookAppointment.")
    wrong = list(_window(state, c.start, c.end, by))
    yield from wrong
    if wrong:
        return
    yield AppointmentMoved(at=by.at, start=c.start, end=c.end, consent=c.consent, reason=c.reason)
    yield from _agreed(state, c, by)


def record_arrival(state: RepairState, c: RecordArrival, by: By) -> Results:
    if state.stage == Stage.ON_SITE and state.crew == c.crew:
        return
    yield from _visit(state, c.crew, by)
    yield CrewArrived(at=by.at, crew=c.crew)
    if state.stage == Stage.PAUSED:
        for event in promises.resume(state, by):
            state = _with(state, event)
            yield event
    if state.guard:
        yield GuardRelieved(at=by.at, guard=state.guard)
    # Where nobody was posted yet, the crew itself guards the site from now on (WAT-1.5c).
    yield from promises.meet(state, "guarded", by)
    yield from promises.reach(state, "arrived", by, scope(state))


def record_no_access(state: RepairState, c: RecordNoAccess, by: By) -> Results:
    yield from _visit(state, c.crew, by)
    if state.appointment and by.at < state.appointment.start:
        yield No("The customer expects us later; come at the agreed time (KUN-7.1.4).")
    attempt = state.no_access + 1
    rules = state.policy.repair
    last = attempt >= rules.no_access_limit
    yield AccessFailed(
        at=by.at,
        crew=c.crew,
        reason=c.reason,
        evidence=c.evidence,
        attempt=attempt,
        wait_until=by.at + rules.no_access_wait if last else None,
    )
    for event in promises.reach(state, "arrived", by, scope(state)):
        state = _with(state, event)
        yield event
    if state.stage != Stage.PAUSED and ABSENT in rules.pause_reasons:
        yield from _pause(state, ABSENT, c.evidence, by)


def make_safe(state: RepairState, c: MakeSafe, by: By) -> Results:
    if state.stage == Stage.MADE_SAFE:
        return
    yield from not_before(state.arrived_at, by, "the crew arrived")
    yield SiteMadeSafe(at=by.at, evidence=c.evidence)
    yield from promises.reach(state, "made_safe", by, scope(state))


def start_work(state: RepairState, _: StartWork, by: By) -> Results:
    if state.stage == Stage.WORKING:
        return
    yield from not_before(state.arrived_at, by, "the crew arrived")
    yield WorkStarted(at=by.at)


def pause_work(state: RepairState, c: PauseWork, by: By) -> Results:
    if state.stage == Stage.PAUSED and state.pause_reason == c.reason:
        return
    known = state.policy.repair.pause_reasons
    if c.reason not in known:
        yield No(f"The policy allows no pause for this reason; it allows: {', '.join(known)}.")
        return
    yield from _pause(state, c.reason, c.evidence, by)


def resume_work(state: RepairState, _: ResumeWork, by: By) -> Results:
    if state.stage != Stage.PAUSED:
        return
    yield from not_before(state.paused_at, by, "it was paused")
    yield from _go_on(state, by)


def pause_expired(state: RepairState, by: By) -> Iterator[RepairEvents | SharedEvents]:
    """The pause lasted as long as the policy allows: the time runs again."""
    yield WorkResumed(at=by.at, expired=True)
    yield from promises.resume(state, by)


def request_parts(state: RepairState, c: RequestParts, by: By) -> Results:
    if (state.parts_wanted, state.parts_stock) == (c.parts, c.stock):
        return
    yield PartsRequested(at=by.at, parts=c.parts, stock=c.stock)
    milestone = "parts_local" if c.stock == "local" else "parts_elsewhere"
    yield from promises.reach(state, milestone, by, scope(state))


def parts_shipped(state: RepairState, c: RecordPartsShipped, by: By) -> Results:
    if state.waybill == c.waybill:
        return
    yield from _parts_wanted(state)
    yield PartsShipped(at=by.at, waybill=c.waybill)
    yield from promises.reach(state, "parts_shipped", by, scope(state))


def parts_arrived(state: RepairState, _: RecordPartsArrived, by: By) -> Results:
    yield from _parts_wanted(state)
    yield PartsArrived(at=by.at)
    yield from promises.meet(state, "parts_shipped", by)


def post_guard(state: RepairState, c: PostGuard, by: By) -> Results:
    if state.guard == c.guard:
        return
    yield GuardPosted(at=by.at, guard=c.guard)
    yield from promises.reach(state, "guarded", by, scope(state))


def announce_interruption(state: RepairState, c: AnnounceInterruption, by: By) -> Results:
    if state.interruption == Interruption(start=c.start, end=c.end, reason=c.reason):
        return
    notice = state.policy.repair.interruption_notice
    if c.end <= c.start:
        yield No("The interruption must end after it starts.")
    if state.severity not in ("major", "hazard") and c.start - by.at < notice:
        hours = notice.total_seconds() / 3600
        yield No(f"Customers are told {hours:g} hours ahead: choose a later start (KUN-2.2.2).")
    yield InterruptionAnnounced(at=by.at, start=c.start, end=c.end, reason=c.reason)


def _visit(state: RepairState, crew: str, by: By) -> Results:
    """What holds for a visit, whether or not somebody opened."""
    yield from _same_crew(state, crew)
    yield from not_before(state.dispatched_at, by, "the crew was dispatched")
    if state.stage == Stage.PAUSED:
        if state.pause_reason != ABSENT:
            yield No("The work is paused; resume it first.")
        yield from not_before(state.paused_at, by, "it was paused")
    if state.appointment and state.appointment.missed and by.at <= state.appointment.end:
        yield AppointmentMissWithdrawn(at=by.at, evidence=by.id)


def _same_crew(state: RepairState, crew: str) -> Iterator[No]:
    if state.crew is not None and crew != state.crew:
        yield No("Another crew has this job; reassign it first.")


def _parts_wanted(state: RepairState) -> Iterator[No]:
    if not state.parts_wanted:
        yield No("No parts were requested; use RequestParts first.")


def _agreed_already(state: RepairState, start: datetime, end: datetime) -> bool:
    visit = state.appointment
    return visit is not None and (visit.start, visit.end) == (start, end)


def _window(state: RepairState, start: datetime, end: datetime, by: By) -> Iterator[No]:
    if end <= start:
        yield No("The appointment must end after it starts.")
    if end <= by.at:
        yield No("The appointment must lie ahead.")
    if end - by.at > _FAR:
        yield No(f"The appointment must end within {_FAR.days} days.")
    if state.stage == Stage.PAUSED:
        if state.pause_reason != ABSENT:
            yield No("The work is paused; resume it before you agree a time.")
        yield from not_before(state.paused_at, by, "it was paused")


def _agreed(
    state: RepairState, c: BookAppointment | MoveAppointment, by: By
) -> Iterator[CommitmentEvents]:
    """The agreed time replaces the default deadlines (KUN-2.2.4a, ADM-8)."""
    earlier = state.appointment.end if state.appointment else None
    agreed = Agreement(c.start, c.end, c.consent, earlier)
    if state.stage == Stage.PAUSED:
        for event in promises.resume(state, by):
            state = _with(state, event)
            yield event
    clock = promises.timing(state)
    for o in state.commitments:
        terms = promises.terms_of(state.rules, o)
        if terms.by_appointment:
            yield from commitments.agree(o, terms, clock, by.at, agreed, by.id)


def _pause(
    state: RepairState, reason: Code, evidence: str, by: By
) -> Iterator[RepairEvents | SharedEvents]:
    terms = state.policy.repair.pause_reasons[reason]
    yield WorkPaused(at=by.at, reason=reason, evidence=evidence, until=by.at + terms.longest)
    yield from promises.pause(state, by, reason, evidence)


def _go_on(state: RepairState, by: By) -> Iterator[RepairEvents | SharedEvents]:
    yield WorkResumed(at=by.at, expired=False)
    yield from promises.resume(state, by)


def _with(state: RepairState, event: RepairEvents | SharedEvents) -> RepairState:
    """The state after a commitment's event, for what the same decision says next."""
    if isinstance(event, CommitmentEvents):
        return state.model_copy(
            update={"commitments": commitments.evolve(state.commitments, event)}
        )
    return state
