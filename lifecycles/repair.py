"""Repair (报修): from the first word to the last call.

Reported → Triaged → Dispatched → Accepted → OnSite → MadeSafe → Working ⇄ Paused → Fixed
→ Inspected (where the policy asks) → CallbackDue → Closed. Side exits: SolvedByPhone, NotOurs,
NoFaultFound, UnableToFix, Transferred, Merged, Cancelled; an end may be reopened, on the
original clock.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lifecycles import casework, promises
from lifecycles import repair_ends as ends
from lifecycles import repair_links as links
from lifecycles import repair_visits as visits
from lifecycles.casework import unit
from lifecycles.decisions import By, No
from lifecycles.promises import Scope
from lifecycles.repair_evolve import evolve
from lifecycles.repair_messages import effects
from lifecycles.repair_stages import (
    ACTIVE,
    ALLOWED,
    ENDED,
    allowed,
)
from schemas.base import Command, Owner
from schemas.case import HandOverCase, SharedEvents, TakeCase
from schemas.envelope import (
    CaseSummary,
    CommandEnvelope,
    DeadlinePassed,
    RecordAnswer,
)
from schemas.policy import Policy
from schemas.repair import (
    AcceptJob,
    AdoptReport,
    AnnounceInterruption,
    AppointmentMissed,
    BookAppointment,
    CancelRepair,
    CompleteRepair,
    DeclareNotOurs,
    DeclareUnableToFix,
    DeclineJob,
    DispatchCrew,
    FailInspection,
    LinkToFault,
    MakeSafe,
    MergeInto,
    MoveAppointment,
    PassInspection,
    PauseWork,
    PostGuard,
    ReassignJob,
    RecordArrival,
    RecordCallback,
    RecordFaultCleared,
    RecordNoAccess,
    RecordPartsArrived,
    RecordPartsShipped,
    RecordTransferReturned,
    ReleaseReport,
    ReopenCase,
    RepairEvents,
    RepairReported,
    RepairState,
    RepairTriaged,
    ReportNoFault,
    ReportRepair,
    RequestParts,
    ResumeWork,
    SolveByPhone,
    SplitOut,
    Stage,
    StartWork,
    TransferOut,
    TriageRepair,
)

__all__ = [
    "decide",
    "effects",
    "evolve",
    "initial",
    "last_together",
    "next_deadline",
    "possible",
    "story",
    "summary",
]

Results = Iterator[RepairEvents | SharedEvents | No]


def initial(case_id: str, organisation: str, policy: Policy, policy_hash: str) -> RepairState:
    """A case of which nothing is known yet."""
    return RepairState(
        case_id=case_id, organisation=organisation, policy=policy, policy_hash=policy_hash
    )


def decide(
    state: RepairState, command: CommandEnvelope[Any], now: datetime
) -> list[RepairEvents | SharedEvents]:
    """The events that the command causes; none where it is so already.

    `now` is the instant of deciding (UTC); the events carry the command's business time.
    Raises `Rejected` with every reason at once (ADM-4).
    """
    return casework.decide(RULEBOOK, state, command, now)


def possible(state: RepairState) -> tuple[str, ...]:
    """The commands that somebody may send now."""
    visit = state.appointment
    wanted = bool(state.parts_wanted)
    sensible = {
        "MoveAppointment": visit is not None,
        "BookAppointment": visit is None or visit.missed,
        "SplitOut": bool(state.merged_into or state.linked_to),
        "RecordPartsShipped": wanted,
        "RecordPartsArrived": wanted,
        # One case asks another for these.
        "AdoptReport": False,
        "ReleaseReport": False,
        "RecordFaultCleared": False,
    }
    return casework.possible(state, ALLOWED, allowed, sensible)


def _begun_at(state: RepairState) -> datetime | None:
    return state.reported_at


def report(state: RepairState, c: ReportRepair, by: By) -> Results:
    rules = state.policy.repair
    terms = rules.categories.get(c.category)
    if terms is None:
        yield No(f"The category is unknown; this policy has: {', '.join(rules.categories)}.")
        return
    if c.channel in rules.party_channels and c.party is None:
        yield No("Record who reports it: a party is needed (KUN-5.5.1).")
    missing = [f for f in rules.required_contact.get(c.channel, ()) if f not in c.recorded]
    if missing:
        yield No(f"Record the customer's {', '.join(missing)} (KUN-5.5.1).")
    taken = by.actor.role in ("clerk", "supervisor")
    yield RepairReported(
        at=by.at,
        case=state.case_id,
        policy=state.policy_hash,
        channel=c.channel,
        category=c.category,
        severity=c.severity,
        network=terms.network,
        asset=c.asset,
        district=c.district,
        party=c.party,
        priority=c.priority,
        source=c.source,
        owner=Owner(kind="person", id=by.actor.subject) if taken else unit(state),
        premises=c.premises,
    )
    facts = Scope(terms.network, c.severity, c.category, c.channel)
    yield from promises.begin(state, "reported", by, facts, priority=c.priority, once=True)


def triage(state: RepairState, c: TriageRepair, by: By) -> Results:
    terms = state.policy.repair.categories.get(c.category)
    if terms is None:
        known = ", ".join(state.policy.repair.categories)
        yield No(f"The category is unknown; this policy has: {known}.")
        return
    if any(a.how == "link" for a in state.adopted) and not terms.network:
        yield No("Reports are linked to it: it must stay a network fault, or split them out first.")
    same = (state.category, state.severity) == (c.category, c.severity)
    if same and state.stage == Stage.TRIAGED:
        return
    if state.linked_to and not same:
        yield No("It shares a network fault's clock: split it out before you judge it anew.")
    yield RepairTriaged(at=by.at, category=c.category, severity=c.severity, network=terms.network)
    if same:
        return
    facts = Scope(terms.network, c.severity, c.category, state.channel)
    yield from promises.judged_anew(state, "reported", by, facts, state.reported_at)


def passed(state: RepairState, c: DeadlinePassed, by: By) -> Results:
    """Everything that is due at or before the deadline, in order of its time."""
    due: list[RepairEvents | SharedEvents] = [*casework.passed(state, by.at)]
    visit = state.appointment
    if visit and _misses(state) and visit.end <= by.at:
        due.append(AppointmentMissed(at=visit.end, start=visit.start, end=visit.end))
    due.sort(key=lambda event: event.at)
    yield from due
    if state.wait_until and state.wait_until <= by.at:
        yield from ends.cancelled(state, "no_access", by)
    elif state.pause_ends and state.pause_ends <= by.at:
        yield from visits.pause_expired(state, by)


def next_deadline(state: RepairState) -> datetime | None:
    """When the case next needs the clock (UTC), or None: it then waits for somebody."""
    if state.stage in ENDED or state.stage == Stage.UNREPORTED:
        return None
    return casework.next_deadline(state, *_others(state))


def last_together(state: RepairState, first: datetime, limit: datetime) -> datetime:
    """The last deadline, up to `limit`, that can be decided together with the first (UTC)."""
    return casework.last_together(state, first, limit, *_others(state))


def _others(state: RepairState) -> tuple[datetime | None, ...]:
    """Deadlines beside those of the promises."""
    missed = state.appointment.end if state.appointment and _misses(state) else None
    return (missed, state.pause_ends, state.wait_until)


def _misses(state: RepairState) -> bool:
    """Whether we may still fail to come in the agreed time."""
    return (
        state.appointment is not None
        and not state.appointment.missed
        and state.arrived_at is None
        and state.stage in ACTIVE
    )


def summary(state: RepairState) -> CaseSummary:
    """The case as the read models show it."""
    return casework.summary(
        state,
        kind="repair",
        stage=state.stage,
        ended=state.stage in ENDED,
        opened_at=state.reported_at,
        next_deadline_at=next_deadline(state),
        category=state.category,
        severity=state.severity,
    )


def story(state: RepairState) -> str:
    """The case in a few lines of Markdown, for Temporal's own UI. Times are UTC."""
    headline = f"**{state.stage}** {state.category}, {state.severity}, district {state.district}"
    return casework.story(state, headline, next_deadline(state))


DECIDERS: Mapping[type[Command], Callable[[RepairState, Any, By], Results]] = {
    ReportRepair: report,
    TriageRepair: triage,
    SolveByPhone: ends.solve_by_phone,
    DispatchCrew: visits.dispatch_crew,
    AcceptJob: visits.accept_job,
    DeclineJob: visits.decline_job,
    ReassignJob: visits.reassign_job,
    TakeCase: casework.take_case,
    HandOverCase: casework.hand_over,
    BookAppointment: visits.book_appointment,
    MoveAppointment: visits.move_appointment,
    RecordArrival: visits.record_arrival,
    RecordNoAccess: visits.record_no_access,
    MakeSafe: visits.make_safe,
    StartWork: visits.start_work,
    PauseWork: visits.pause_work,
    ResumeWork: visits.resume_work,
    RequestParts: visits.request_parts,
    RecordPartsShipped: visits.parts_shipped,
    RecordPartsArrived: visits.parts_arrived,
    CompleteRepair: ends.complete,
    PassInspection: ends.pass_inspection,
    FailInspection: ends.fail_inspection,
    RecordCallback: ends.record_callback,
    ReopenCase: ends.reopen,
    TransferOut: ends.transfer_out,
    RecordTransferReturned: ends.transfer_returned,
    MergeInto: links.merge_into,
    SplitOut: links.split_out,
    LinkToFault: links.link_to_fault,
    AdoptReport: links.adopt_report,
    ReleaseReport: links.release_report,
    RecordFaultCleared: links.fault_cleared,
    PostGuard: visits.post_guard,
    AnnounceInterruption: visits.announce_interruption,
    ReportNoFault: ends.no_fault,
    DeclareNotOurs: ends.not_ours,
    DeclareUnableToFix: ends.unable_to_fix,
    CancelRepair: ends.cancel,
    DeadlinePassed: passed,
    RecordAnswer: links.record_answer,
}
RULEBOOK = casework.Rulebook[RepairState](
    opening=("ReportRepair",),
    unopened="There is no such case yet; report the repair first.",
    opened_already="This case is reported already; report another fault under a new case.",
    deciders=DECIDERS,
    allowed=allowed,
    possible=possible,
    begun_at=_begun_at,
    evolve=evolve,
)
