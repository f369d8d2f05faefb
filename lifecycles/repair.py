"""Repair (报修): from the first word to the last call.

Reported → Triaged → Dispatched → Accepted → OnSite → MadeSafe → Working ⇄ Paused → Fixed
→ Inspected (where the policy asks) → CallbackDue → Closed. Side exits: SolvedByPhone, NotOurs,
NoFaultFound, UnableToFix, Transferred, Merged, Cancelled; an end may be reopened, on the
original clock.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lifecycles import commitments, promises
from lifecycles import repair_ends as ends
from lifecycles import repair_links as links
from lifecycles import repair_visits as visits
from lifecycles.decisions import By, No, settle
from lifecycles.promises import Scope
from lifecycles.repair_evolve import evolve
from lifecycles.repair_messages import effects
from lifecycles.repair_stages import (
    ACTIVE,
    ALLOWED,
    BEGINNING,
    ENDED,
    allowed,
    owner_of,
    unit,
    unowned_since,
)
from schemas.base import Command, Owner
from schemas.commitments import CommitmentEvents
from schemas.envelope import (
    CaseSummary,
    CommandEnvelope,
    CommitmentSummary,
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
    HandOverCase,
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
    TakeCase,
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

Results = Iterator[RepairEvents | CommitmentEvents | No]


def initial(case_id: str, organisation: str, policy: Policy, policy_hash: str) -> RepairState:
    """A case of which nothing is known yet."""
    return RepairState(
        case_id=case_id, organisation=organisation, policy=policy, policy_hash=policy_hash
    )


def decide(
    state: RepairState, command: CommandEnvelope[Any], now: datetime
) -> list[RepairEvents | CommitmentEvents]:
    """The events that the command causes; none where it is so already.

    `now` is the instant of deciding (UTC); the events carry the command's business time.
    Raises `Rejected` with every reason at once (ADM-4).
    """
    body = command.body
    kind = body.type
    at = command.occurred_at or now
    earliest = state.reported_at or BEGINNING
    also: list[str] = []
    if isinstance(body, DeadlinePassed):
        # A backdated promise may have fallen due before the report of this very case.
        at, earliest = body.at, BEGINNING
    if at > now:
        also.append("This lies in the future; leave out `occurred_at` or correct it.")
    if at < earliest and state.reported_at:
        also.append("This lies before the report of the case; correct `occurred_at`.")
    elif at < earliest:
        also.append(f"This lies before {BEGINNING.year}; correct `occurred_at`.")
    if state.stage == Stage.UNREPORTED and kind != "ReportRepair":
        return settle((), ("There is no such case yet; report the repair first.", *also))
    at = max(earliest, min(at, now))
    results = list(DECIDERS[type(body)](state, body, By(at, command.actor, command.id)))
    if results and not allowed(state, kind):
        also.append(_not_now(state, kind))
    return settle(results, also)


def _not_now(state: RepairState, kind: str) -> str:
    if kind == "ReportRepair":
        return "This case is reported already; report another fault under a new case."
    return (
        f"{kind} is not possible at stage {state.stage};"
        f" possible now: {', '.join(possible(state)) or 'nothing'}."
    )


def possible(state: RepairState) -> tuple[str, ...]:
    """The commands that somebody may send now."""
    idle = {"DeadlinePassed", "RecordAnswer", "AdoptReport", "ReleaseReport", "RecordFaultCleared"}
    if state.appointment is None:
        idle.add("MoveAppointment")
    elif not state.appointment.missed:
        idle.add("BookAppointment")
    if not (state.merged_into or state.linked_to):
        idle.add("SplitOut")
    if not state.parts_wanted:
        idle |= {"RecordPartsShipped", "RecordPartsArrived"}
    return tuple(name for name in ALLOWED if name not in idle and allowed(state, name))


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
    )
    facts = Scope(terms.network, c.severity, c.category, c.channel)
    yield from promises.begin(state, "reported", by, facts, priority=c.priority)


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
    for o in state.commitments:
        if not promises.applies(promises.terms_of(state.policy, o), facts):
            yield from commitments.cancel(o, by.at, "retriaged")
    yield from promises.begin(state, "reported", by, facts, since=state.reported_at)


def passed(state: RepairState, c: DeadlinePassed, by: By) -> Results:
    """Everything that is due at or before the deadline, in order of its time."""
    due: list[RepairEvents | CommitmentEvents] = []
    idle = unowned_since(state)
    for o in state.commitments:
        due += commitments.due_events(o, promises.terms_of(state.policy, o), by.at, idle)
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
    idle = unowned_since(state)
    times = [commitments.next_deadline(c, idle) for c in state.commitments]
    if state.appointment and _misses(state):
        times.append(state.appointment.end)
    times += (state.pause_ends, state.wait_until)
    return min([t for t in times if t is not None], default=None)


def last_together(state: RepairState, first: datetime, limit: datetime) -> datetime:
    """The last deadline, up to `limit`, that can be decided together with the first (UTC).

    Breaches and rungs of promises change nothing but themselves. The other deadlines change what
    is due after them, so each is the last of its decision.
    """
    times = [state.pause_ends, state.wait_until]
    if state.appointment and _misses(state):
        times.append(state.appointment.end)
    limit = min((t for t in times if t is not None and t <= limit), default=limit)
    idle = unowned_since(state)
    last = limit if limit in times else first
    for c in state.commitments:
        for when in commitments.deadlines(c, idle):
            if last < when <= limit:
                last = when
    return last


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
    owner = owner_of(state)
    running = [c.due for c in state.commitments if c.state == "running"]
    return CaseSummary(
        kind="repair",
        stage=state.stage,
        final=state.stage in ENDED and not state.requests,
        owner_kind=owner.kind if owner else None,
        owner=owner.id if owner else None,
        district=state.district,
        category=state.category,
        severity=state.severity,
        priority=state.priority,
        opened_at=state.reported_at,
        closed_at=state.closed_at,
        next_due_at=min(running, default=None),
        next_deadline_at=next_deadline(state),
        commitments=tuple(
            CommitmentSummary(
                id=c.id,
                name=c.name,
                rule=c.rule,
                state=c.state,
                start=c.start,
                due=c.due,
                met_at=c.met_at,
                ended_at=c.ended_at,
                fired=c.fired,
            )
            for c in state.commitments
        ),
    )


def story(state: RepairState) -> str:
    """The case in a few lines of Markdown, for Temporal's own UI. Times are UTC."""
    owner = owner_of(state)
    deadline = next_deadline(state)
    lines = [
        f"**{state.stage}** {state.category}, {state.severity}, district {state.district}",
        f"- owner: {owner.kind} {owner.id}" if owner else "- not reported yet",
        *(
            f"- {c.name} ({c.rule}): {c.state}, due {c.due:%Y-%m-%d %H:%M}"
            for c in state.commitments
        ),
        f"- wakes at {deadline:%Y-%m-%d %H:%M}" if deadline else "- waits for somebody, or is done",
    ]
    return "\n".join(lines)


DECIDERS: Mapping[type[Command], Callable[[RepairState, Any, By], Results]] = {
    ReportRepair: report,
    TriageRepair: triage,
    SolveByPhone: ends.solve_by_phone,
    DispatchCrew: visits.dispatch_crew,
    AcceptJob: visits.accept_job,
    DeclineJob: visits.decline_job,
    ReassignJob: visits.reassign_job,
    TakeCase: visits.take_case,
    HandOverCase: visits.hand_over,
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
