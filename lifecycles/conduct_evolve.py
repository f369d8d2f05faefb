"""Staff file: the state after an event. Total: it refuses nothing and ignores nothing."""

from collections.abc import Iterator
from typing import Any, assert_never

from lifecycles import casework
from lifecycles.calendars import local
from lifecycles.changes import changed, made
from lifecycles.conduct_stages import (
    REASSIGNMENT,
    count_of,
    open_proposal,
    stage_of,
    strikes,
    wronged,
)
from lifecycles.decisions import No
from schemas.approvals import ApprovalEvents
from schemas.base import Ownership
from schemas.case import SharedEvents
from schemas.conduct import (
    ConductEvents,
    ConductState,
    Count,
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
    Proposal,
    Reassigned,
    ReassignmentProposed,
    ReassignmentRejected,
    ReassignmentWithdrawn,
    RedressDue,
    RedressMade,
    ReplyRecorded,
    StaffFileOpened,
    StaffFileRested,
)

Results = Iterator[ConductEvents | SharedEvents | ApprovalEvents | No]


def evolve(
    state: ConductState, event: ConductEvents | SharedEvents | ApprovalEvents
) -> ConductState:
    """The state after `event`."""
    if isinstance(event, SharedEvents | ApprovalEvents):
        after = casework.evolve(state, event)
    else:
        after = changed(state, **_update(state, event))
    return changed(after, stage=stage_of(after))


def _update(s: ConductState, e: ConductEvents) -> dict[str, Any]:
    match e:
        case StaffFileOpened():
            owners = (made(Ownership, owner=e.owner, since=e.at),)
            return {"opened_at": e.at, "staff": e.staff, "owners": owners}
        case FindingRecorded():
            return {
                "closed_at": None,
                "reports_to": e.reports_to or s.reports_to,
                "counts": _recorded(s, e),
            }
        case FindingOverturned():
            return {"counts": _overturned(s, e)}
        case FindingExpired():
            return _count(s, e.finding, live=False)
        case MarkEntered():
            return _count(s, e.finding, marked=True)
        case MarkRemoved():
            return _count(s, e.finding, marked=False)
        case MeasureDue():
            return _count(
                s, e.finding, measure=e.measure, measure_taken=False, promised=e.commitments
            )
        case MeasureTaken():
            return _count(s, e.finding, measure_taken=True)
        case MeasureWithdrawn():
            return _count(s, e.finding, measure=None)
        case InvestigationOpened():
            return _count(s, e.finding, investigation="open", penalty=None, promised=e.commitments)
        case InvestigationConcluded():
            return _count(s, e.finding, investigation="concluded", penalty=e.penalty)
        case InvestigationDropped():
            return _count(s, e.finding, investigation="dropped")
        case ReassignmentProposed():
            proposal = made(
                Proposal,
                number=e.proposal,
                findings=e.findings,
                considered=tuple(k.finding for k in strikes(s)),
                reply_until=e.reply_until,
            )
            return {"proposals": (*s.proposals, proposal)}
        case ReplyRecorded():
            proposed = open_proposal(s)
            number = proposed.number if proposed else 0
            return _proposal(s, number, replied=True, reply=e.evidence)
        case Reassigned():
            return _proposal(s, e.proposal, state="reassigned")
        case ReassignmentRejected():
            return _proposal(s, e.proposal, state="rejected")
        case ReassignmentWithdrawn():
            return _proposal(s, e.proposal, state="withdrawn")
        case RedressDue():
            undone = [
                p.number
                for p in s.proposals
                if REASSIGNMENT in e.of and p.state == "reassigned" and e.finding in p.findings
            ]
            return {
                "closed_at": None,
                **_count(s, e.finding, redress=e.of, redress_promised=e.commitments),
                **_proposal(s, *undone, state="withdrawn"),
            }
        case RedressMade():
            return _count(s, e.finding, **_made_good(s, e))
        case StaffFileRested():
            return {"closed_at": e.at}
        case _:
            assert_never(e)


def _recorded(s: ConductState, e: FindingRecorded) -> tuple[Count, ...]:
    told: dict[str, Any] = {
        "revision": e.revision,
        "outcome": e.outcome,
        "gravity": e.gravity,
        "cause": e.cause,
        "counts_on": e.counts_on,
        "counts_until": e.counts_until,
        "strike": e.strike,
        "live": True,
        "overturned": False,
    }
    known = count_of(s, e.finding)
    if known is None:
        return (*s.counts, made(Count, finding=e.finding, complaint=e.complaint, **told))
    after = changed(s, **_count(s, e.finding, **told))
    # What stands again need not be made good.
    owed = tuple(what for what in known.redress if what in wronged(after, changed(known, **told)))
    return _count(after, e.finding, redress=owed)["counts"]


def _overturned(s: ConductState, e: FindingOverturned) -> tuple[Count, ...]:
    gone: dict[str, Any] = {
        "revision": e.revision,
        "outcome": "not_upheld",
        "strike": False,
        "live": False,
        "overturned": True,
    }
    if count_of(s, e.finding):
        return _count(s, e.finding, **gone)["counts"]
    # Overturned before it was ever told: kept, so that a late lower revision changes nothing.
    day = local(s.policy.calendar, e.at).date()
    unknown = made(
        Count,
        finding=e.finding,
        complaint=e.complaint,
        gravity="light",
        cause="circumstances",
        counts_on=day,
        counts_until=day,
        **gone,
    )
    return (*s.counts, unknown)


def _made_good(s: ConductState, e: RedressMade) -> dict[str, Any]:
    k = count_of(s, e.finding)
    good: dict[str, Any] = {"redress": ()}
    if k and k.measure in k.redress:
        good |= {"measure": None, "measure_taken": False}
    if k and k.penalty in k.redress:
        good |= {"penalty": None, "investigation": None}
    return good


def _count(s: ConductState, finding: str, **fields: Any) -> dict[str, Any]:
    return {
        "counts": tuple([changed(k, **fields) if k.finding == finding else k for k in s.counts])
    }


def _proposal(s: ConductState, *numbers: int, **fields: Any) -> dict[str, Any]:
    return {
        "proposals": tuple(
            [changed(p, **fields) if p.number in numbers else p for p in s.proposals]
        )
    }
