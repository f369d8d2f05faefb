"""`/v1/cases`: cases listed, shown, their timelines; a permit at the valve; a stop's dossier."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from gateway.commands import KINDS
from gateway.dossier import dossier
from gateway.http.access import Caller, Principal, acting, may_see, may_see_case
from gateway.http.asking import refused
from gateway.http.idempotency import Done, Once
from gateway.http.problems import Failed
from gateway.http.serving import WRITES, AsRole, CasePath, Limit, Serving, ends_in, shown
from gateway.listing import case_filter
from gateway.paging import paged
from gateway.permissions import kinds_seen, resource_of
from gateway.permit import Asking
from gateway.permit import ask as ask_permit
from gateway.session import Session
from gateway.timeline import Timeline
from lifecycles.decisions import Rejected
from schemas.arrears import Permit
from schemas.base import CaseId, Code, Subject, Value
from schemas.conduct import conduct_id
from schemas.dossier import Dossier
from schemas.read_models import CaseRow, WorkRow

router = APIRouter(tags=["cases"])


class CasePage(Value):
    """Some cases, by id."""

    cases: tuple[CaseRow, ...]
    next: CaseId | None
    """To go on with: `after` of the next page; null at the end."""


class Worklist(Value):
    """Open cases in the order to work on them."""

    cases: tuple[WorkRow, ...]


class PermitAsked(Value):
    """A crew at a valve asks whether it may close it, now."""

    crew: Subject
    full_stop: bool = Field(
        default=False, description="For a full stop, after a stop order (WAT-C4b)."
    )


@router.get(
    "/cases", name="list_cases", summary="List cases", response_model=CasePage, responses=ends_in()
)
async def list_cases(
    *,
    caller: Caller,
    session: Serving,
    kind: Annotated[
        str | None, Query(description="Of this kind alone.", json_schema_extra={"enum": [*KINDS]})
    ] = None,
    stage: Annotated[
        str | None, Query(max_length=40, description="At this stage alone, such as Closed.")
    ] = None,
    district: Annotated[Code | None, Query(description="In this district alone.")] = None,
    open: Annotated[bool, Query(description="Only those that have not ended.")] = False,
    late: Annotated[bool, Query(description="Only where a broken promise is still owed.")] = False,
    after: Annotated[
        CaseId | None, Query(description="Go on after this: the `next` of the page before.")
    ] = None,
    limit: Limit = 50,
) -> Response:
    """Cases by id, of the kinds that your roles may see."""
    filters = case_filter(kind, stage, district, only_open=open)
    if kind is not None:
        may_see(caller, resource_of(kind))
    rows = await session.log.list_cases(
        session.organisation,
        filters,
        kinds=kinds_seen(caller.roles),
        late=late,
        after=after or "",
        limit=limit + 1,
    )
    page, following = paged(rows, limit, lambda row: row.case_id)
    return shown(CasePage(cases=page, next=following))


@router.get(
    "/worklist",
    name="list_work",
    summary="What to work on",
    response_model=Worklist,
    responses=ends_in(),
)
async def list_work(*, caller: Caller, session: Serving, limit: Limit = 50) -> Response:
    """Open cases that your roles may see: special care first, then the longest owed."""
    seen = kinds_seen(caller.roles)
    rows = await session.log.worklist(session.organisation, limit=limit, kinds=seen)
    return shown(Worklist(cases=tuple(rows)))


@router.get(
    "/cases/{case_id}",
    name="show_case",
    summary="Show a case",
    response_model=CaseRow,
    responses=ends_in("no-such-case"),
)
async def show_case(*, case_id: CasePath, caller: Caller, session: Serving) -> Response:
    """A case as the lists have it: where it stands, with whom, what it owes, what it asks."""
    row = await session.log.case(session.organisation, case_id)
    _seen(session, caller, case_id, row)
    if row is None:
        raise Failed("no-such-case")
    return shown(row)


@router.get(
    "/cases/{case_id}/timeline",
    name="show_timeline",
    summary="Show a case's timeline",
    response_model=Timeline,
    responses=ends_in("no-such-case"),
)
async def show_timeline(
    *,
    case_id: CasePath,
    caller: Caller,
    session: Serving,
    ahead: Annotated[int, Query(ge=0, le=100, description="So many of the clock's steps.")] = 3,
) -> Response:
    """What happened, on which rule, what is owed, what comes next, unless; what is possible now."""
    _seen(session, caller, case_id, await session.log.case(session.organisation, case_id))
    return shown(await session.timeline(case_id, ahead=ahead))


@router.post(
    "/cases/{case_id}/permits",
    name="IssuePermit",
    summary="May this valve be closed, now?",
    status_code=201,
    response_model=Permit,
    response_description="A permit for minutes, with every condition that held.",
    responses=ends_in("no-such-case", "no-such-command", of=WRITES),
)
async def issue_permit(
    *,
    case_id: CasePath,
    body: PermitAsked,
    caller: Caller,
    once: Once,
    session: Serving,
    as_role: AsRole = None,
) -> Response:
    """A permit (停供许可), or every reason against it; good until its `expires_at` alone."""
    if not case_id.startswith("arrears-"):
        raise Failed("no-such-command", ["Permits are asked of arrears cases."])
    actor = acting(caller, case_id, "IssuePermit", as_role=as_role)
    asking = Asking(
        case_id, body.crew, body.full_stop, once.command_id, actor.subject, actor.role, "token"
    )

    async def work() -> Done:
        try:
            permit, _ = await ask_permit(session, asking)
        except Rejected as refusal:
            raise await refused(session, case_id, refusal) from None
        return Done(permit, 201)

    return await once(work)


@router.get(
    "/cases/{case_id}/dossier",
    name="show_dossier",
    summary="Prove every stop of an arrears case",
    response_model=Dossier,
    responses=ends_in("no-such-case"),
)
async def show_dossier(*, case_id: CasePath, caller: Caller, session: Serving) -> Response:
    """Every condition of every stop, its rule, and the event that proves it."""
    may_see_case(caller, case_id)
    if not case_id.startswith("arrears-"):
        raise Failed("no-such-case", ["Arrears cases alone have a dossier."])
    policy = await session.policy_of(case_id)
    decisions = await session.log.read_decisions(session.organisation, case_id)
    now = datetime.now(UTC)
    return shown(dossier(session.organisation, case_id, policy, decisions, now))


def _seen(session: Session, caller: Principal, case_id: str, row: CaseRow | None) -> None:
    """Whether a caller may look at a case: by its kind, or because it is about them."""
    about: Subject | None = None
    if case_id == conduct_id(session.organisation, caller.subject):
        about = caller.subject
    elif row is not None and row.assessment is not None:
        about = row.assessment.reader
    may_see_case(caller, case_id, about=about)
