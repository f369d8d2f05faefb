"""`/v1/approvals`: the inbox, and deciding what is in it (separation of duties, ADM-5, ADM-7)."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from gateway.http.access import Caller, Principal, may_see
from gateway.http.asking import ask
from gateway.http.bodies import Body, body_of, command_of, envelope_of, takes
from gateway.http.commands import actor_for
from gateway.http.idempotency import Done, Once
from gateway.http.serving import (
    WRITES,
    After,
    ApprovalPath,
    AsRole,
    CasePath,
    Limit,
    OfCase,
    Serving,
    ends_in,
    shown,
)
from gateway.inbox import Waiting, inbox
from gateway.paging import Place, paged, place
from gateway.permissions import kinds_seen
from schemas.approvals import DecideApproval
from schemas.base import Role, Value
from schemas.envelope import CommandOutcome
from schemas.read_models import ApprovalRow

router = APIRouter(tags=["approvals"])

YES = {
    "decision": "approve",
    "facts_hash": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    "evidence": "minutes:2026-17",
}
Decision = body_of(DecideApproval, without=("approval",), name="Decision", examples=(YES,))


class ApprovalPage(Value):
    """What waits for a yes or no, the longest awaited first."""

    approvals: tuple[Waiting, ...]
    next: str | None
    """To go on with: `after` of the next page; null at the end."""


@router.get(
    "/approvals",
    name="list_approvals",
    summary="What waits for a yes or no",
    response_model=ApprovalPage,
    responses=ends_in("no-such-case"),
)
async def list_approvals(
    *,
    caller: Caller,
    session: Serving,
    role: Annotated[Role | None, Query(description="Only what this role may decide.")] = None,
    mine: Annotated[
        bool, Query(description="Only what you may decide, yourself or as somebody's delegate.")
    ] = False,
    case: OfCase = None,
    after: After = None,
    limit: Limit = 50,
) -> Response:
    """What is asked now, with the facts it rests on; a decision must name their `facts_hash`."""
    may_see(caller, "approvals")
    rows = await inbox(
        session,
        role=role,
        case=case,
        kinds=kinds_seen(caller.roles),
        decidable=lambda row: not mine or _decidable(row, caller),
        after=place(after),
        limit=limit + 1,
    )
    page, following = paged(rows, limit, lambda row: Place(row.due, row.case_id, row.id))
    return shown(ApprovalPage(approvals=page, next=following))


@router.post(
    "/cases/{case_id}/approvals/{approval}/decision",
    name="decide_approval",
    summary="Say yes or no",
    response_model=CommandOutcome,
    response_description="It is in the log, under your name.",
    responses=ends_in("no-such-case", of=WRITES),
)
@takes(Decision)
async def decide(
    *,
    case_id: CasePath,
    approval: ApprovalPath,
    body: Any,
    caller: Caller,
    once: Once,
    session: Serving,
    as_role: AsRole = None,
) -> Response:
    """Say yes or no, on the facts that you looked at; a no needs a reason (ADM-5)."""
    given: Body = body
    command = {**command_of("DecideApproval", given), "approval": approval}
    actor = await actor_for(session, caller, case_id, command, as_role)
    envelope = envelope_of(
        command, once.command_id, actor.model_dump(mode="json"), given.occurred_at
    )

    async def work() -> Done:
        return Done(await ask(session, case_id, envelope))

    return await once(work)


def _decidable(row: ApprovalRow, caller: Principal) -> bool:
    """Whether the caller may decide it; the case has the last word."""
    me = caller.subject.casefold()
    if me in {subject.casefold() for subject in row.barred}:
        return False
    if any(given.subject.casefold() == me for given in row.given):
        return False
    delegated = any(d.to.casefold() == me for d in row.delegations)
    return delegated or any(role in row.roles for role in caller.roles)
