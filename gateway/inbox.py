"""The supervisors' inbox: what waits for somebody's yes or no, whatever case it belongs to."""

from datetime import UTC, datetime

from gateway.session import NoSuchCase, Session
from gateway.standing import Asked, approval
from gateway.words import Clock
from lifecycles.policies import Pinned
from schemas.approvals import Approval
from schemas.base import CaseId, Code, Role
from schemas.policy import CaseRules
from schemas.read_models import ApprovalRow


class Waiting(Asked):
    """An approval of some case, in plain words."""

    case_id: CaseId
    case_kind: Code
    district: Code | None
    time_zone: str
    due_local: str
    """`due` by the organisation's clock, with its offset."""


async def inbox(
    session: Session, *, role: Role | None = None, case: str | None = None, limit: int = 50
) -> list[Waiting]:
    """What is asked now, the longest awaited first; of one role or case alone where these say so.

    Raises NoSuchCase.
    """
    rows = await _rows(session, role, case, limit)
    policies = {case_id: await session.policy_of(case_id) for case_id in {r.case_id for r in rows}}
    now = datetime.now(UTC)
    return [_waiting(row, policies[row.case_id], now) for row in rows]


async def _rows(
    session: Session, role: Role | None, case: str | None, limit: int
) -> list[ApprovalRow]:
    if case is None:
        return await session.log.approvals(session.organisation, role=role, limit=limit)
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
    return sorted(asked, key=lambda a: (a.due, a.id))[:limit]


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
