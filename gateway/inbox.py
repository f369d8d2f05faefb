"""The supervisors' inbox: what waits for somebody's yes or no, whatever case it belongs to."""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

from gateway.paging import Place
from gateway.session import NoSuchCase, Session
from gateway.standing import Asked, approval
from gateway.words import Clock
from lifecycles.policies import Pinned
from schemas.approvals import Approval
from schemas.base import CaseId, Code, Role
from schemas.policy import CaseRules
from schemas.read_models import ApprovalRow

Decidable = Callable[[ApprovalRow], bool]


class Waiting(Asked):
    """An approval of some case, in plain words."""

    case_id: CaseId
    case_kind: Code
    district: Code | None
    time_zone: str
    due_local: str
    """`due` by the organisation's clock, with its offset."""


async def inbox(
    session: Session,
    *,
    role: Role | None = None,
    case: str | None = None,
    kinds: Collection[str] | None = None,
    decidable: Decidable = lambda _: True,
    after: Place | None = None,
    limit: int = 50,
) -> list[Waiting]:
    """What is asked now, the longest awaited first; of one role or case alone where these say so.

    Of these kinds of case, and what somebody can decide, where they do. `after` names the due time,
    case and approval to go on after. Raises NoSuchCase.
    """
    if case is not None:
        rows = [row for row in await _of_case(session, role, case) if decidable(row)]
        if kinds is not None:
            rows = [row for row in rows if row.case_kind in kinds]
        rows = [row for row in rows if after is None or Place(row.due, row.case_id, row.id) > after]
    else:
        rows = await _of_all(session, role, kinds, decidable, after, limit)
    return await _worded(session, rows[:limit])


async def _worded(session: Session, rows: Sequence[ApprovalRow]) -> list[Waiting]:
    policies = {case_id: await session.policy_of(case_id) for case_id in {r.case_id for r in rows}}
    now = datetime.now(UTC)
    return [_waiting(row, policies[row.case_id], now) for row in rows]


async def _of_all(
    session: Session,
    role: Role | None,
    kinds: Collection[str] | None,
    decidable: Decidable,
    after: Place | None,
    limit: int,
) -> list[ApprovalRow]:
    found: list[ApprovalRow] = []
    while len(found) < limit:
        page = await session.log.approvals(
            session.organisation, role=role, kinds=kinds, after=after, limit=limit
        )
        found += [row for row in page if decidable(row)]
        if len(page) < limit:
            break
        after = Place(page[-1].due, page[-1].case_id, page[-1].id)
    return found


async def _of_case(session: Session, role: Role | None, case: str) -> list[ApprovalRow]:
    found = await session.log.case(session.organisation, case)
    if found is None:
        raise NoSuchCase(f"There is no case {case}: see `standpipe case list`.")
    asked = [
        ApprovalRow(
            **{name: getattr(a, name) for name in type(a).model_fields},
            case_id=found.case_id,
            case_kind=found.kind,
            district=found.district,
        )
        for a in found.approvals
        if a.state == "requested" and (role is None or role in a.roles)
    ]
    return sorted(asked, key=lambda a: (a.due, a.id))


def _waiting(row: ApprovalRow, policy: Pinned, now: datetime) -> Waiting:
    rules: CaseRules = getattr(policy.policy, row.case_kind)
    clock = Clock(policy.policy.calendar.time_zone, now)
    asked = Approval(**{name: getattr(row, name) for name in Approval.model_fields})
    words = approval(asked, row.due, rules.approvals[row.kind], clock)
    return Waiting(
        **{name: getattr(words, name) for name in Asked.model_fields},
        case_id=row.case_id,
        case_kind=row.case_kind,
        district=row.district,
        time_zone=policy.policy.calendar.time_zone,
        due_local=clock.local(row.due),
    )
