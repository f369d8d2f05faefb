"""The cut permit (停供许可): a crew at the valve asks whether it may close it, now.

The case decides; what it cannot know is looked up in the log just before: what is open there,
and what the billing system says is owed, where one is configured.
"""

from datetime import UTC, datetime
from typing import Literal, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from activities.cases import Conflict
from gateway import commands
from gateway.balance import against_permit
from gateway.commands import Invalid
from gateway.session import Session
from gateway.timeline import Timeline
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import lifecycle_of
from schemas.arrears import IssuePermit, Permit
from schemas.base import Code
from schemas.envelope import Json


class Asking(NamedTuple):
    """Which case, which crew, which kind of stop; under which id, who asks, and in which role."""

    case: str
    crew: str
    full: bool
    command_id: str
    who: str
    role: str
    proof: Literal["local", "token"] = "local"
    """How it was proven who asks."""


def permit_id(command_id: str) -> Code:
    """The permit that a command asks for: asked again under the same id, it is the same."""
    return f"permit-{uuid5(NAMESPACE_URL, f'standpipe/permit/{command_id}').hex[:12]}"


def arrears_case(text: str, place: str = "CASE") -> str:
    """An arrears case's id, checked. Raises `Invalid`; `place` is what people call it."""
    if commands.kind_of(commands.case_id(text, place)) != "arrears":
        raise Invalid([f"{place}: name an arrears case, such as arrears-1f2e3d."])
    return text


def checked(asking: Asking) -> Json:
    """What is asked, before anything is looked up. Raises `Invalid` with all that is wrong."""

    _, command = commands.together(
        lambda: arrears_case(asking.case), lambda: _command(asking, (), datetime.now(UTC))
    )
    return command


async def ask(session: Session, asking: Asking) -> tuple[Permit, Timeline]:
    """The permit and the case with it. Raises `Rejected` with every condition that fails.

    A permit that was issued under this very id is not asked for again but told as it stands now.
    """
    before = await session.timeline(asking.case)
    if known := _found(before, asking):
        return known, before
    state = before.state
    looked_at = datetime.now(UTC)
    places = [place for place in (state["premises"], *state["shared_valve"]) if place]
    there = await session.log.open_on(session.organisation, places)
    others = tuple(case for case in there if case != asking.case)
    command = _command(asking, others, looked_at)
    if against := await against_permit(session.settings, state):
        raise Rejected([*against, *await _refused(session, asking.case, command, looked_at)])
    cases = await session.cases()
    try:
        await cases.send(asking.case, command)
    except Conflict:
        # Sent before under this id, on an earlier look: it may have been issued since.
        after = await session.timeline(asking.case)
        if _found(after, asking) is None:
            raise
    else:
        after = await session.timeline(asking.case)
    permit = _found(after, asking)
    assert permit is not None, "what was not refused was issued"
    return permit, after


async def _refused(session: Session, case: str, command: Json, now: datetime) -> tuple[str, ...]:
    """What the case itself has against it, so that everything is told at once (ADM-4)."""
    lifecycle = lifecycle_of(case)
    policy = await session.policy_of(case)
    events = await session.log.read_stream(session.organisation, case)
    state = lifecycle.initial(case, session.organisation, *policy)
    state = lifecycle.fold(state, (lifecycle.event(e.body) for e in events))
    try:
        lifecycle.decide(state, lifecycle.command(command), now)
    except Rejected as refusal:
        return refusal.reasons
    return ()


def _command(asking: Asking, others: tuple[str, ...], looked_at: datetime) -> Json:
    fields: Json = {
        "permit": permit_id(asking.command_id),
        "crew": asking.crew,
        "for_full_stop": asking.full,
        "premises_open": others,
        "checked_at": looked_at,
    }
    body, envelope = commands.together(
        lambda: commands.body(IssuePermit, "IssuePermit", fields),
        lambda: commands.envelope({}, asking.command_id, asking.who, asking.role, None),
    )
    return {**envelope, "actor": {**envelope["actor"], "proof": asking.proof}, "body": body}


def _found(shown: Timeline, asking: Asking) -> Permit | None:
    name = permit_id(asking.command_id)
    found = next((p for p in shown.state["permits"] if p["permit"] == name), None)
    if found is None:
        return None
    permit = Permit.model_validate(found)
    if (permit.crew, permit.full) != (asking.crew, asking.full):
        raise Invalid(["--id: another permit was issued under it; leave it out, or give a new one"])
    return permit
