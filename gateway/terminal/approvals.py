"""`standpipe approvals`, `approve` and `reject`: what waits for a yes or no, and giving it."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, cast, get_args

import typer
from rich.console import RenderableType
from rich.text import Text

from gateway import commands, signing
from gateway.commands import Invalid
from gateway.desk import desk
from gateway.drawing import drawn_approval
from gateway.inbox import Waiting
from gateway.standing import Asked
from gateway.terminal.asking import (
    AsOption,
    AtOption,
    IdOption,
    RoleOption,
    fresh_id,
    login,
    show_done,
)
from gateway.terminal.elsewhere import acting
from gateway.terminal.keys import key_file, passphrase_of
from gateway.terminal.output import AsJson, OneLine, answered, err, run, show
from gateway.timeline import Timeline
from gateway.words import Clock, span
from schemas.approvals import DecideApproval
from schemas.base import Role
from schemas.envelope import CommandOutcome, Json
from schemas.signing import Signature
from settings import Settings

CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="Such as complaint-1f2e3d.")]
ApprovalArgument = Annotated[str, typer.Argument(metavar="APPROVAL", help="Such as extension-1.")]
EvidenceOption = Annotated[
    str | None, typer.Option(metavar="REFERENCE", help="Where the grounds are kept.")
]
ForOption = Annotated[
    str | None,
    typer.Option("--on-behalf-of", metavar="WHO", help="Whose delegate decides; else for oneself."),
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="Your key's file, where it must be signed."),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask, once the facts are shown.")]


class _By(NamedTuple):
    """Under which id, who, in which role, and when."""

    command_id: str
    who: str
    role: str
    occurred_at: str | None


def list_approvals(
    role: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Only what this role may decide.")
    ] = None,
    case: Annotated[
        str | None, typer.Option(metavar="CASE", help="Only what this case asks.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """What waits for a yes or no, the longest awaited first, with the facts it rests on.

    JSON: {"approvals": [approval, …]}; `facts_hash` is what a decision must name.
    """

    async def work() -> list[Waiting]:
        wanted = _checked(role, case)
        async with desk(Settings()) as office:
            return await office.inbox(wanted, case, limit=limit)

    found = run(work(), as_json=as_json)
    show({"approvals": found}, *_drawn(found), as_json=as_json)


def _checked(role: str | None, case: str | None) -> Role | None:
    def known_role() -> Role | None:
        if role is not None and role not in get_args(Role):
            raise Invalid([f"--role: one of {', '.join(get_args(Role))}"])
        return cast("Role | None", role)

    found, _ = commands.together(known_role, lambda: case and commands.case_id(case, "--case"))
    return found


def _drawn(found: list[Waiting]) -> Iterator[RenderableType]:
    now = datetime.now(UTC)
    if not found:
        yield Text("Nothing waits for a yes or no.")
    for asked in found:
        clock = Clock(asked.time_zone, now)
        late = asked.due < now
        left = f"{span(now - asked.due)} late" if late else f"{span(asked.due - now)} left"
        yield Text.assemble(
            (asked.case_id, "bold"), "  ", (left, "red" if late else "cyan"), f", {asked.time_zone}"
        )
        yield drawn_approval(asked, clock)
        words = f"{asked.case_id} {asked.id}{acting('WHO', asked.roles[-1])}"
        yield OneLine(f"  standpipe approve {words}")
        yield OneLine(f"  standpipe reject {words} --reason WORD\n")


def approve(
    case: CaseArgument,
    approval: ApprovalArgument,
    reason: Annotated[str | None, typer.Option(metavar="WORD", help="Why.")] = None,
    evidence: EvidenceOption = None,
    on_behalf_of: ForOption = None,
    key: KeyOption = None,
    yes: YesOption = False,
    occurred_at: AtOption = None,
    command_id: IdOption = None,
    who: AsOption = None,
    role: RoleOption = "supervisor",
    as_json: AsJson = False,
) -> None:
    """Say yes to what a case asks, on the facts as they are shown now.

    JSON: {"outcome", "timeline"}.
    """
    fields: Json = {"reason": reason, "evidence": evidence, "on_behalf_of": on_behalf_of}
    by = _By(fresh_id(command_id), who or login(), role, occurred_at)
    _decide(case, approval, "approve", fields, by, key, yes, as_json)


def reject(
    case: CaseArgument,
    approval: ApprovalArgument,
    reason: Annotated[
        str | None, typer.Option(metavar="WORD", help="Why: a no needs a reason (ADM-5). Needed.")
    ] = None,
    evidence: EvidenceOption = None,
    on_behalf_of: ForOption = None,
    key: KeyOption = None,
    yes: YesOption = False,
    occurred_at: AtOption = None,
    command_id: IdOption = None,
    who: AsOption = None,
    role: RoleOption = "supervisor",
    as_json: AsJson = False,
) -> None:
    """Say no to what a case asks, with a reason, on the facts as they are shown now.

    JSON: {"outcome", "timeline"}.
    """
    fields: Json = {"reason": reason, "evidence": evidence, "on_behalf_of": on_behalf_of}
    by = _By(fresh_id(command_id), who or login(), role, occurred_at)
    _decide(case, approval, "reject", fields, by, key, yes, as_json)


def _decide(
    case: str,
    approval: str,
    decision: Literal["approve", "reject"],
    fields: Json,
    by: _By,
    key: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    given = {"approval": approval, "decision": decision, **fields}
    given = {name: value for name, value in given.items() if value is not None}

    async def look() -> tuple[Timeline, Asked, str]:
        _envelope(case, given, "0" * 64, by)
        async with desk(Settings()) as office:
            shown = await office.timeline(case)
            return shown, _named(shown, approval), office.subject or by.who

    async def send(signature: Signature | None) -> tuple[CommandOutcome, Timeline]:
        async with desk(Settings()) as office, answered(by.command_id):
            signed = {"signature": signature.model_dump(mode="json")} if signature else {}
            command = _envelope(case, given | signed, asked.facts_hash, by)
            outcome = await office.send(case, command)
            return outcome, await office.timeline(case)

    shown, asked, who = run(look(), as_json=as_json)
    err.print(drawn_approval(asked, Clock(shown.time_zone, shown.as_of)))
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody is there to ask: add --yes", param_hint="--yes")
        typer.confirm(f"{decision.capitalize()} {asked.id} of {case}?", abort=True, err=True)
    signature = run(_signed(shown, asked, decision, given, who, key), as_json=as_json)
    outcome, after = run(send(signature), as_json=as_json)
    show_done(outcome, after, as_json)


async def _signed(
    shown: Timeline,
    asked: Asked,
    decision: Literal["approve", "reject"],
    given: Json,
    who: str,
    file: Path | None,
) -> Signature | None:
    """The signature of whoever decides, here, with their own key; None where none is needed."""
    if not asked.signed:
        return None
    path = key_file(Settings(), file)
    key = signing.load_key(path, passphrase_of(path))
    said = signing.statement(shown, asked, decision, who, given.get("on_behalf_of"))
    err.print(f"Signed with the key {signing.public_key(key)}.")
    return signing.sign(key, said)


def _named(shown: Timeline, approval: str) -> Asked:
    found = next((a for a in shown.approvals if a.id == approval), None)
    if found is None:
        asked = ", ".join(a.id for a in shown.approvals if a.state == "requested") or "nothing"
        raise Invalid([f"APPROVAL: there is no such one in this case, which asks now: {asked}."])
    return found


def _envelope(case: str, given: Json, facts_hash: str, by: _By) -> Json:
    """The decision as the case takes it. Raises `Invalid` with all that is wrong, at once."""

    def body() -> Json:
        try:
            fields = {**given, "facts_hash": facts_hash}
            return commands.body(DecideApproval, "DecideApproval", fields)
        except Invalid as error:
            named = [reason.replace("--approval:", "APPROVAL:") for reason in error.reasons]
            raise Invalid(named) from None

    def reason() -> None:
        if given["decision"] == "reject" and "reason" not in given:
            raise Invalid(["--reason: missing; a no needs one (ADM-5), such as not_justified"])

    _, found, envelope, _ = commands.together(
        lambda: commands.case_id(case), body, lambda: commands.envelope({}, *by), reason
    )
    return {**envelope, "body": found}
