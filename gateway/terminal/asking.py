"""`standpipe repair report` and `standpipe command`: something is asked of a case."""

import getpass
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, cast, get_args
from uuid import NAMESPACE_URL, uuid4, uuid5

import typer
from pydantic import ValidationError
from rich.text import Text

from gateway import commands, policies
from gateway.commands import Invalid
from gateway.drawing import drawn_next, event_lines, table
from gateway.reporting import Opened, report
from gateway.session import Session, policy_folder
from gateway.terminal.output import AsJson, OneLine, WrongInput, answered, run, show
from gateway.timeline import Timeline
from schemas.envelope import CommandOutcome, Json
from schemas.party import Party
from schemas.policy import Channel, Severity
from schemas.repair import ReportRepair
from settings import Settings

LONGEST_REMARK = 10_000

repair = typer.Typer(no_args_is_help=True, help="Open repair cases.")

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
    str | None, typer.Option("--as", metavar="WHO", help="Staff number; your login if left out.")
]
RoleOption = Annotated[str, typer.Option("--role", help="In which role.")]


@repair.command("report")
def report_repair(
    channel: Annotated[
        str | None, typer.Option(help=f"How it came in: {', '.join(get_args(Channel))}. Needed.")
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="The kind of fault, as the policy calls it. Needed.")
    ] = None,
    district: Annotated[str | None, typer.Option(help="The district's code word. Needed.")] = None,
    severity: Annotated[
        str, typer.Option(help=f"One of {', '.join(get_args(Severity))}.")
    ] = "common",
    asset: Annotated[
        str | None, typer.Option(help="The meter's, valve's or main's number.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Its number in another register.")] = None,
    party: Annotated[
        str | None, typer.Option(help="A customer whom the vault knows already.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The customer's name: for the vault.")] = None,
    phone: Annotated[str | None, typer.Option(help="The phone number: for the vault.")] = None,
    address: Annotated[str | None, typer.Option(help="The address: for the vault.")] = None,
    remarks: Annotated[str | None, typer.Option(help="Free text: for the vault.")] = None,
    special_care: Annotated[
        bool, typer.Option("--special-care", help="Old, disabled, in hardship: goes first.")
    ] = False,
    policy: Annotated[str, typer.Option(help="The policy, by name or file.")] = "gas",
    occurred_at: AtOption = None,
    command_id: IdOption = None,
    who: AsOption = None,
    role: RoleOption = "clerk",
    as_json: AsJson = False,
) -> None:
    """Report a fault. Personal data goes to the vault, the case knows an opaque id alone.

    JSON: {"case_id", "party_id", "command_id", "outcome", "timeline"}.
    """
    fields: Json = {
        "channel": channel,
        "category": category,
        "district": district,
        "severity": severity,
        "asset": asset,
        "source": source,
        "party": party,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    personal: Json = {"name": name, "phone": phone, "address": address, "remarks": remarks}
    wanted = command_id or f"cli-{uuid4().hex}"

    async def work() -> tuple[Opened, Timeline]:
        envelope, customer = _checked(
            given, personal, special_care, wanted, who or _login(), role, occurred_at
        )
        settings = Settings()
        content = policies.content_of(policy, policy_folder(settings))
        async with Session(settings) as session, answered(wanted):
            opened = await report(
                await session.cases(),
                session.vault,
                session.organisation,
                content,
                envelope,
                customer,
                datetime.now(UTC),
            )
            return opened, await session.timeline(opened.case_id)

    opened, shown = run(work(), as_json=as_json)
    result = {**opened._asdict(), "command_id": wanted, "timeline": shown}
    known = f" Its customer is {opened.party_id} in the vault." if opened.party_id else ""
    drawn = (
        Text(f"{opened.case_id} is open.{known}", style="bold"),
        event_lines(shown, [e for e in shown.events if e.command_id == wanted]),
        drawn_next(shown),
        OneLine(f"Go on with: standpipe command {opened.case_id}"),
    )
    show(result, *drawn, as_json=as_json)


def _checked(
    given: Json,
    personal: Json,
    special_care: bool,
    command_id: str,
    who: str,
    role: str,
    occurred_at: str | None,
) -> tuple[Json, Party | None]:
    wrong: list[str] = []
    envelope: Json = {}
    customer: Party | None = None
    body: Json = {}
    try:
        body = commands.body(ReportRepair, "ReportRepair", given)
    except Invalid as error:
        wrong += error.reasons
    try:
        envelope = commands.envelope(body, command_id, who, role, occurred_at)
    except Invalid as error:
        wrong += error.reasons
    if special_care or any(v is not None for v in personal.values()):
        if given.get("party"):
            wrong.append("--party: leave it out where you give --name, --phone and the like")
        try:
            customer = Party.model_validate({**personal, "special_care": special_care})
        except ValidationError as error:
            fields = dict.fromkeys(str(item["loc"][0]) for item in error.errors())
            wrong += [f"--{field}: must hold some text, and not too long a one" for field in fields]
    if wrong:
        raise Invalid(wrong)
    return envelope, customer


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
    wanted = command_id or f"cli-{uuid4().hex}"

    async def work() -> tuple[CommandOutcome, Timeline]:
        given = _given(json_body, file)
        command = _envelope(case, name, given, context.args, wanted, who, role, occurred_at, remark)
        async with Session(Settings()) as session, answered(wanted):
            party = None
            if remark is not None:
                party = _party(command["body"], await session.timeline(case))
                await session.vault.show(session.organisation, party)  # there, and not erased
            outcome = await (await session.cases()).send(case, command)
            if remark is not None and party is not None:
                # Under an id of the command's: sent again, it is kept once.
                note = uuid5(NAMESPACE_URL, f"standpipe/note/{wanted}")
                await session.vault.add_note(session.organisation, party, remark, note)
            return outcome, await session.timeline(case)

    outcome, shown = run(work(), as_json=as_json)
    entries = [e for e in shown.events if e.command_id == wanted]
    drawn = (
        Text(f"{case} is {outcome.stage}.", style="bold"),
        event_lines(shown, entries) if entries else Text("It was so already: nothing changed."),
        drawn_next(shown),
    )
    show({"outcome": outcome, "timeline": shown}, *drawn, as_json=as_json)


def _what_now(case: str, as_json: bool) -> None:
    async def work() -> Timeline:
        async with Session(Settings()) as session:
            return await session.timeline(commands.case_id(case))

    shown = run(work(), as_json=as_json)
    known = commands.models(case.partition("-")[0])
    possible = {name: known[name] for name in shown.possible if name in known}
    drawn = table("Command", "Fields", title=f"{case} is {shown.stage}. Possible now:")
    drawn.columns[0].no_wrap = True
    for name, model in possible.items():
        drawn.add_row(name, Text(commands.usage(model)))
    listed = [
        {
            "name": name,
            "fields": [f._asdict() | {"option": f.option} for f in commands.fields(model)],
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
    try:
        commands.case_id(case)
    except Invalid as error:
        wrong += error.reasons
    try:
        found, model = commands.find("repair", name)
        typed, unread = commands.options(words, commands.fields(model))
        wrong += unread
        twice = sorted(typed.keys() & given)
        wrong += [f"--{field}: stands in the JSON too; give it once" for field in twice]
        body = commands.body(model, found, {**given, **typed})
    except Invalid as error:
        wrong += error.reasons
    try:
        envelope = commands.envelope(body, command_id, who or _login(), role, occurred_at)
    except Invalid as error:
        raise Invalid([*wrong, *error.reasons]) from None
    if wrong:
        raise Invalid(wrong)
    return envelope


def _party(body: Json, shown: Timeline) -> str:
    """Whom a remark belongs to: the party that the command names, or the one who reported."""
    known = [f["party"] for f in shown.state["follow_ups"]]
    party = body.get("party") or (known[0] if known else None)
    if party is None:
        raise WrongInput("--remark: this case has no customer to keep it with.")
    return str(party)


def _login() -> str:
    """Who is at this terminal, as a subject."""
    name = re.sub(r"[^A-Za-z0-9._:-]", "", getpass.getuser())[:64]
    return name.lstrip("._:-") or "local"
