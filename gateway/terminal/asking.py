"""`standpipe command`: something is asked of a case of whatever kind."""

import getpass
import json
import re
from pathlib import Path
from typing import Annotated, cast
from uuid import uuid4

import typer
from rich.text import Text

from gateway import commands
from gateway.commands import Invalid
from gateway.desk import desk
from gateway.drawing import drawn_next, event_lines, table
from gateway.fields import fields, usage
from gateway.terminal.elsewhere import said_by_token
from gateway.terminal.output import AsJson, OneLine, WrongInput, answered, run, show
from gateway.timeline import Timeline
from schemas.envelope import CommandOutcome, Json
from settings import Settings

LONGEST_REMARK = 10_000

IdOption = Annotated[
    str | None,
    typer.Option("--id", help="The command's own id: sent again under it, it is done once."),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--occurred-at", metavar="TIME", help="When it happened, with zone; now if left out."
    ),
]
AsOption = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="WHO",
        help="Staff number; your login if left out.",
        callback=said_by_token,
    ),
]
RoleOption = Annotated[str, typer.Option("--role", help="In which role.", callback=said_by_token)]


def fresh_id(given: str | None) -> str:
    """The command's id: as given, or one of its own."""
    return given or f"cli-{uuid4().hex}"


def send_command(
    context: typer.Context,
    case: Annotated[str, typer.Argument(metavar="CASE", help="Such as repair-1f2e3d.")],
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Such as RecordArrival.")
    ] = None,
    json_body: Annotated[
        str | None, typer.Option("--json-body", metavar="JSON", help="All fields as one object.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="The same from a file.", dir_okay=False)] = None,
    remark: Annotated[
        str | None, typer.Option(help="Free text: kept in the vault with the customer.")
    ] = None,
    occurred_at: AtOption = None,
    command_id: IdOption = None,
    who: AsOption = None,
    role: RoleOption = "clerk",
    as_json: AsJson = False,
) -> None:
    """Ask something of a case. Without NAME: what can be asked of it now, and with which fields.

    Each field is an option: `standpipe command CASE RecordArrival --crew crew-7`.

    JSON: {"outcome", "timeline"}; without NAME {"case_id", "stage", "possible": [command, …]}.
    """
    if name is None or name.startswith("-"):
        if name is not None:
            raise typer.BadParameter("say the command's name before its fields", param_hint="NAME")
        _what_now(case, as_json)
        return
    wanted = fresh_id(command_id)

    async def work() -> tuple[CommandOutcome, Timeline]:
        given = _given(json_body, file)
        command = _envelope(case, name, given, context.args, wanted, who, role, occurred_at, remark)
        async with desk(Settings()) as office, answered(wanted):
            party = None
            if remark is not None:
                party = _party(command["body"], await office.timeline(case))
                await office.check_party(party)
            outcome = await office.send(case, command)
            if remark is not None and party is not None:
                await office.add_note(party, remark, wanted)
            return outcome, await office.timeline(case)

    outcome, shown = run(work(), as_json=as_json)
    show_done(outcome, shown, as_json)


def show_done(outcome: CommandOutcome, shown: Timeline, as_json: bool) -> None:
    """What a command caused, and what comes next."""
    entries = [e for e in shown.events if e.command_id == outcome.command_id]
    drawn = (
        Text(f"{shown.case_id} is {outcome.stage}.", style="bold"),
        event_lines(shown, entries) if entries else Text("It was so already: nothing changed."),
        drawn_next(shown),
    )
    show({"outcome": outcome, "timeline": shown}, *drawn, as_json=as_json)


def _what_now(case: str, as_json: bool) -> None:
    async def work() -> Timeline:
        async with desk(Settings()) as office:
            return await office.timeline(commands.case_id(case))

    shown = run(work(), as_json=as_json)
    known = commands.models(commands.kind_of(case))
    possible = {name: known[name] for name in shown.possible if name in known}
    drawn = table("Command", "Fields", title=f"{case} is {shown.stage}. Possible now:")
    drawn.columns[0].no_wrap = True
    for name, model in possible.items():
        drawn.add_row(name, Text(usage(model)))
    listed = [
        {
            "name": name,
            "fields": [f.described() for f in fields(model)],
        }
        for name, model in possible.items()
    ]
    hint = OneLine(f"Send one with: standpipe command {case} NAME --field value …")
    show(
        {"case_id": case, "stage": shown.stage, "possible": listed},
        drawn,
        hint,
        as_json=as_json,
    )


def _given(json_body: str | None, file: Path | None) -> Json:
    """The fields that came as JSON."""
    if json_body is not None and file is not None:
        raise WrongInput("Give --json-body or --file, not both.")
    source = "--json-body" if file is None else "--file"
    try:
        text = json_body if file is None else file.read_text(encoding="utf-8")
        found: object = json.loads(text) if text is not None else {}
    except OSError as error:
        raise WrongInput(f"--file cannot be read: {error.strerror}.") from None
    except ValueError:
        raise WrongInput(f"{source} is not JSON: give one object.") from None
    if not isinstance(found, dict):
        raise WrongInput(f'{source} must be one object, such as {{"crew": "crew-7"}}.')
    return cast("Json", found)


def _envelope(
    case: str,
    name: str,
    given: Json,
    words: list[str],
    command_id: str,
    who: str | None,
    role: str,
    occurred_at: str | None,
    remark: str | None,
) -> Json:
    """The command as the case takes it. Raises `Invalid` with all that is wrong, at once."""
    wrong: list[str] = []
    body: Json = {}
    if remark is not None and not 1 <= len(remark.strip()) <= LONGEST_REMARK:
        wrong.append(f"--remark: give some text, of {LONGEST_REMARK} letters at most")
    kind = "repair"
    try:
        kind = commands.kind_of(commands.case_id(case))
    except Invalid as error:
        wrong += error.reasons
    try:
        found, model = commands.find(kind, name)
        typed, unread = commands.options(words, fields(model))
        wrong += unread
        twice = sorted(typed.keys() & given)
        wrong += [f"--{field}: stands in the JSON too; give it once" for field in twice]
        body = commands.body(model, found, {**given, **typed})
    except Invalid as error:
        wrong += error.reasons
    try:
        envelope = commands.envelope(body, command_id, who or login(), role, occurred_at)
    except Invalid as error:
        raise Invalid([*wrong, *error.reasons]) from None
    if wrong:
        raise Invalid(wrong)
    return envelope


def _party(body: Json, shown: Timeline) -> str:
    """Whom a remark belongs to: the party that the command names, or the one who reported."""
    known = [f["party"] for f in shown.state.get("follow_ups", ())] or [shown.state.get("party")]
    party = body.get("party") or known[0]
    if party is None:
        raise WrongInput("--remark: this case has no customer to keep it with.")
    return str(party)


def login() -> str:
    """Who is at this terminal, as a subject."""
    name = re.sub(r"[^A-Za-z0-9._:-]", "", getpass.getuser())[:64]
    return name.lstrip("._:-") or "local"
