"""Assessment: the state after an event. Total: it refuses nothing and ignores nothing."""

from typing import Any, assert_never

from lifecycles import casework
from lifecycles.changes import changed, made
from schemas.approvals import ApprovalEvents, ApprovalRequested
from schemas.assessment import (
    AccountsExcluded,
    AssessmentEvents,
    AssessmentOpened,
    AssessmentSettled,
    AssessmentState,
    Exclusion,
    ExclusionConfirmed,
    ExclusionRefused,
    ExclusionRequested,
    ExclusionWithdrawn,
    Stage,
)
from schemas.base import Ownership
from schemas.case import SharedEvents

Events = AssessmentEvents | SharedEvents | ApprovalEvents


def evolve(state: AssessmentState, event: Events) -> AssessmentState:
    """The state after `event`."""
    if isinstance(event, SharedEvents | ApprovalEvents):
        after = casework.evolve(state, event)
        if isinstance(event, ApprovalRequested):
            after = changed(after, **_asked(after, event))
    else:
        after = changed(state, **_update(state, event))
    return changed(after, stage=stage_of(after))


def stage_of(s: AssessmentState) -> Stage:
    """What is most advanced names the stage."""
    if s.opened_at is None:
        return Stage.UNOPENED
    if s.settled is not None:
        return Stage.CLOSED
    states = {x.state for x in s.exclusions}
    if "confirmed" in states:
        return Stage.AWAITING_APPROVAL
    return Stage.AWAITING_CONFIRMATION if "asked" in states else Stage.OPEN


def _update(s: AssessmentState, e: AssessmentEvents) -> dict[str, Any]:
    match e:
        case AssessmentOpened():
            return {
                "opened_at": e.at,
                "reader": e.reader,
                "half_year": e.half_year,
                "known_until": e.known_until,
                "accounts": e.accounts,
                "objections_until": e.objections_until,
                "owners": (made(Ownership, owner=e.owner, since=e.at),),
            }
        case ExclusionRequested():
            exclusion = made(
                Exclusion,
                request=e.request,
                accounts=e.accounts,
                ground=e.ground,
                evidence=e.evidence,
                asked_by=e.asked_by,
            )
            return {"exclusions": (*s.exclusions, exclusion)}
        case ExclusionConfirmed():
            return _exclusion(s, e.request, state="confirmed", confirmed_by=e.by)
        case AccountsExcluded():
            return _exclusion(s, e.request, state="excluded")
        case ExclusionRefused():
            return _exclusion(s, e.request, state="refused", reason=e.reason)
        case ExclusionWithdrawn():
            return _exclusion(s, e.request, state="withdrawn", reason=e.reason)
        case AssessmentSettled():
            return {"settled": e, "closed_at": e.at}
        case _:
            assert_never(e)


def _asked(s: AssessmentState, e: ApprovalRequested) -> dict[str, Any]:
    """The approval stands with the exclusion that it is asked for."""
    request = e.facts.get("request")
    asked = next((x.approvals for x in s.exclusions if x.request == request), ())
    return _exclusion(s, request, approvals=(*asked, e.approval))


def _exclusion(s: AssessmentState, request: object, **fields: Any) -> dict[str, Any]:
    return {
        "exclusions": tuple(
            [changed(x, **fields) if x.request == request else x for x in s.exclusions]
        )
    }
