"""What is kept over the years: staff files, assessments, satisfaction, stops, part payments."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from gateway import satisfaction
from gateway.http.access import Caller, may_see
from gateway.http.problems import Failed
from gateway.http.serving import (
    After,
    Limit,
    NewCasesPolicy,
    OfCase,
    Serving,
    StaffPath,
    ends_in,
    shown,
)
from gateway.paging import Place, numbered, paged, pair
from gateway.satisfaction import Satisfaction
from gateway.staff_file import StaffFile, find_staff_file
from lifecycles.policies import pinned
from schemas.assessment import HalfYear
from schemas.base import Value
from schemas.conduct import conduct_id
from schemas.read_models import AssessmentRow, PartPaymentRow, StopRow
from schemas.satisfaction import Month

router = APIRouter(tags=["registers"])

AMonth = Annotated[Month | None, Query(description="Such as 2026-03.")]


class StopPage(Value):
    """Lines of the stop register (WAT-C4c), the earliest first."""

    stops: tuple[StopRow, ...]
    next: str | None
    """To go on with: `after` of the next page; null at the end."""


class PartPaymentPage(Value):
    """Lines of the register of part payments (WAT-B9), the earliest first."""

    part_payments: tuple[PartPaymentRow, ...]
    next: str | None
    """To go on with: `after` of the next page; null at the end."""


class AssessmentPage(Value):
    """Readers' half-yearly assessments (WAT-P1)."""

    assessments: tuple[AssessmentRow, ...]
    next: str | None
    """To go on with: `after` of the next page; null at the end."""


@router.get(
    "/assessments",
    name="list_assessments",
    summary="Readers' assessments",
    response_model=AssessmentPage,
    responses=ends_in(),
)
async def list_assessments(
    *,
    caller: Caller,
    session: Serving,
    half_year: Annotated[HalfYear | None, Query(description="Such as 2026-H1.")] = None,
    after: After = None,
    limit: Limit = 50,
) -> Response:
    """What each reader's overdue accounts of a half-year come to (WAT-P1, WAT-P2)."""
    may_see(caller, "assessments")
    rows = await session.log.assessments(
        session.organisation, half_year=half_year, after=pair(after), limit=limit + 1
    )
    page, following = paged(rows, limit, lambda row: f"{row.half_year}/{row.case_id}")
    return shown(AssessmentPage(assessments=page, next=following))


@router.get(
    "/staff/{number}",
    name="show_staff",
    summary="Show a staff file",
    response_model=StaffFile,
    responses=ends_in("no-such-entry"),
)
async def show_staff(*, number: StaffPath, caller: Caller, session: Serving) -> Response:
    """Findings and until when they count, marks, measures, proposals. Your own is yours to see."""
    may_see(caller, "staff_files", about=number, of=conduct_id(session.organisation, number))
    found = await find_staff_file(session, number)
    if found is None:
        raise Failed("no-such-entry", ["No complaint ever told of a finding: there is no file."])
    return shown(found[0])


@router.get(
    "/satisfaction",
    name="show_satisfaction",
    summary="How satisfied customers are",
    response_model=Satisfaction,
    responses=ends_in(),
)
async def show_satisfaction(
    *,
    caller: Caller,
    session: Serving,
    policy: NewCasesPolicy,
    since: AMonth = None,
    until: AMonth = None,
) -> Response:
    """Satisfaction (满意度) and complaints by department and month; ranking, cards, checks."""
    may_see(caller, "satisfaction")
    register = await satisfaction.register_of_session(session)
    found = pinned(policy) if register is None else await session.policy_of(register.case_id)
    return shown(await satisfaction.shown(session, found.policy, register, since, until))


@router.get(
    "/stops",
    name="list_stops",
    summary="The stop register",
    response_model=StopPage,
    responses=ends_in(),
)
async def list_stops(
    *,
    caller: Caller,
    session: Serving,
    open: Annotated[bool, Query(description="Only where supply is not restored yet.")] = False,
    case: OfCase = None,
    after: After = None,
    limit: Limit = 50,
) -> Response:
    """Every closed valve, and whether supply is restored (WAT-C4c)."""
    may_see(caller, "stops")
    rows = await session.log.stop_register(
        session.organisation,
        case_id=case,
        only_stopped=open,
        after=numbered(after),
        limit=limit + 1,
    )
    page, following = paged(rows, limit, lambda row: Place(row.since, row.case_id, str(row.number)))
    return shown(StopPage(stops=page, next=following))


@router.get(
    "/part-payments",
    name="list_part_payments",
    summary="The register of part payments",
    response_model=PartPaymentPage,
    responses=ends_in(),
)
async def list_part_payments(
    *,
    caller: Caller,
    session: Serving,
    case: OfCase = None,
    after: After = None,
    limit: Limit = 50,
) -> Response:
    """Payments that covered no whole bill and do not clear it (WAT-B9)."""
    may_see(caller, "part_payments")
    rows = await session.log.part_payments(
        session.organisation, case_id=case, after=numbered(after), limit=limit + 1
    )
    page, following = paged(
        rows, limit, lambda row: Place(row.paid_at, row.case_id, str(row.number))
    )
    return shown(PartPaymentPage(part_payments=page, next=following))
