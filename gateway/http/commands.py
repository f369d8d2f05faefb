"""`POST /v1/cases/{case}/commands/{Name}`: one operation for every command that callers may send.

What only cases ask of each other, and what only the clock says, is no operation.
"""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from gateway import commands
from gateway.commands import Invalid, kind_of
from gateway.http.access import Caller, Principal, acting
from gateway.http.asking import ask
from gateway.http.bodies import Body, body_of, command_of, envelope_of, takes
from gateway.http.idempotency import Done, Once
from gateway.http.problems import Failed
from gateway.http.serving import WRITES, AsRole, CasePath, Serving, ends_in
from gateway.session import Session
from schemas.arrears import AddBills
from schemas.base import Actor, CaseCommand, Command
from schemas.envelope import CommandOutcome, Json

BY_SYSTEMS: Mapping[str, tuple[type[Command], ...]] = {"arrears": (AddBills,)}
"""By kind of case: what people do not type, but a billing system sends."""

EXAMPLES: Mapping[str, Json] = {
    "TriageRepair": {"category": "no-gas", "severity": "common"},
    "DispatchCrew": {"crew": "crew-7"},
    "AcceptJob": {"crew": "crew-7"},
    "RecordArrival": {"crew": "crew-7", "occurred_at": "2026-05-01T08:40:00+08:00"},
    "CompleteRepair": {"work": ["valve-replaced"], "evidence": ["photo:4711"]},
    "RecordCallback": {"party": "party-1f2e3d", "consent": True, "result": "satisfied"},
    "HandOverCase": {"to": {"kind": "person", "id": "s-1041"}, "reason": "end_of_shift"},
    "RecordContact": {"how": "phone", "evidence": "call:8812"},
    "ServeNotice": {"how": "door", "proof": "photo:4712"},
    "ScreenComplaint": {"category": "attitude", "gravity": "light"},
}


class CommandRoute(APIRoute):
    """One of many routes of one form: whether it is this one is seen without its pattern."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # The last part is the command's name, here and in the path that was asked for.
        if not scope["path"].endswith(self.path[self.path.rindex("/") :]):
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(tags=["commands"])


def sendable() -> dict[str, tuple[type[Command], tuple[str, ...]]]:
    """By name: each command that callers may send, and the kinds of case that take it."""
    found: dict[str, tuple[type[Command], tuple[str, ...]]] = {}
    for kind in commands.KINDS:
        named = {model.__name__: model for model in BY_SYSTEMS.get(kind, ())}
        for name, model in {**commands.models(kind), **named}.items():
            if issubclass(model, CaseCommand):
                continue
            known, kinds = found.get(name, (model, ()))
            assert known is model, f"{name} means two things"
            found[name] = (model, (*kinds, kind))
    return dict(sorted(found.items()))


async def actor_for(
    session: Session, caller: Principal, case_id: str, command: Json, as_role: AsRole
) -> Actor:
    """In which role the caller sends a command; to an approval, in one that it asks for."""
    wanted = ()
    name = command["type"]
    if "approval" in command:
        row = await session.log.case(session.organisation, case_id)
        asked = row.approvals if row else ()
        wanted = next((a.roles for a in asked if a.id == command["approval"]), ())
    return acting(caller, case_id, name, as_role=as_role, wanted=wanted)


def _add(name: str, model: type[Command], kinds: tuple[str, ...]) -> None:
    example = EXAMPLES.get(name)
    taken = body_of(model, examples=(example,) if example else ())

    @takes(taken)
    async def send(
        *,
        case_id: CasePath,
        body: Any,
        caller: Caller,
        once: Once,
        session: Serving,
        as_role: AsRole = None,
    ) -> Response:
        if kind_of(case_id) not in kinds:
            raise Failed("no-such-command", [_unknown(kind_of(case_id), name)])
        given: Body = body or taken()
        command = command_of(name, given)
        actor = await actor_for(session, caller, case_id, command, as_role)
        envelope = envelope_of(
            command, once.command_id, actor.model_dump(mode="json"), given.occurred_at
        )

        async def work() -> Done:
            return Done(await ask(session, case_id, envelope))

        return await once(work)

    about = inspect.getdoc(model) or ""
    router.add_api_route(
        f"/cases/{{case_id}}/commands/{name}",
        send,
        methods=["POST"],
        route_class_override=CommandRoute,
        name=name,
        summary=_words(name),
        description=f"{about}\n\nSent to: {', '.join(kinds)}.",
        response_model=CommandOutcome,
        response_description="It is in the log: what it caused, or that it was so already.",
        responses=ends_in("no-such-case", "no-such-command", of=WRITES),
    )


def _unknown(kind: str, name: str) -> str:
    try:
        commands.find(kind, name)
    except Invalid as error:
        told = error.reasons[0].removeprefix("NAME: ")
        return told[:1].upper() + told[1:]
    return "Write the command's name as it is listed, with its capitals."


def _words(name: str) -> str:
    """RecordArrival as words: Record arrival."""
    spaced = "".join(f" {c.lower()}" if c.isupper() else c for c in name)
    return spaced.strip().capitalize()


for _name, (_model, _kinds) in sendable().items():
    _add(_name, _model, _kinds)


@router.post("/cases/{case_id}/commands/{name}", include_in_schema=False)
async def send_unknown(
    case_id: CasePath, name: Annotated[str, Path(max_length=100)], caller: Caller
) -> Response:
    """No command, or none that callers may send."""
    raise Failed("no-such-command", [_unknown(kind_of(case_id), name)])
