"""Asking something of a case for a caller: its outcome, or the reasons and what is possible now."""

from datetime import UTC, datetime

from activities.event_log import EventLog
from gateway.http.problems import Failed
from gateway.session import NoSuchCase, Session
from lifecycles.decisions import Rejected
from schemas.envelope import CommandOutcome, Json, Refusal

APPROVALS = ("DecideApproval", "DelegateApproval", "WithdrawApproval", "AuthoriseCutoff")
"""Whose refusals are kept: somebody tried to approve what was not theirs to."""


async def ask(session: Session, case_id: str, command: Json) -> CommandOutcome:
    """Send a command. Raises `Failed` where the case refuses it, or where there is none."""
    cases = await session.cases()
    try:
        return await cases.send(case_id, command)
    except Rejected as refusal:
        if command["body"]["type"] in APPROVALS:
            await _keep(session, case_id, command, refusal)
        raise await refused(session, case_id, refusal) from None


async def refused(session: Session, case_id: str, refusal: Rejected) -> Failed:
    """The problem of a refusal: all its reasons, and the commands that the case takes now."""
    try:
        shown = await session.timeline(case_id, ahead=0)
    except NoSuchCase:
        return Failed("no-such-case")
    return Failed("refused", refusal.reasons, possible=shown.possible)


async def _keep(session: Session, case_id: str, command: Json, refusal: Rejected) -> None:
    await EventLog(session.pool).record_refusal(
        Refusal(
            organisation=session.organisation,
            stream=case_id,
            command_id=command["id"],
            command_type=command["body"]["type"],
            actor=command["actor"]["subject"],
            refused_at=datetime.now(UTC),
            reasons=refusal.reasons,
        )
    )
