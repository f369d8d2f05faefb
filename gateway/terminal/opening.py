"""`standpipe repair report`, `complaint register`: a case opens, personal data in the vault."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple, get_args

import typer
from pydantic import ValidationError
from rich.text import Text

from gateway import commands
from gateway.commands import Invalid
from gateway.desk import desk, new_cases_policy
from gateway.drawing import drawn_next, event_lines
from gateway.fields import composed
from gateway.fields import fields as fields_of
from gateway.reporting import Opened
from gateway.terminal.asking import AsOption, AtOption, IdOption, RoleOption, fresh_id, login
from gateway.terminal.output import AsJson, OneLine, answered, run, show
from gateway.timeline import Timeline
from schemas.base import Command, Role
from schemas.complaint import RegisterComplaint
from schemas.envelope import Json
from schemas.party import Party
from schemas.policy import Channel, Severity
from schemas.repair import ReportRepair
from settings import Settings

repair = typer.Typer(no_args_is_help=True, help="Open repair cases.")
complaint = typer.Typer(no_args_is_help=True, help="Open complaint cases.")

ChannelOption = Annotated[
    str | None, typer.Option(help=f"How it came in: {', '.join(get_args(Channel))}. Needed.")
]
DistrictOption = Annotated[str | None, typer.Option(help="The district's code word. Needed.")]
PartyOption = Annotated[str | None, typer.Option(help="A customer whom the vault knows already.")]
NameOption = Annotated[str | None, typer.Option(help="The customer's name: for the vault.")]
PhoneOption = Annotated[str | None, typer.Option(help="The phone number: for the vault.")]
EmailOption = Annotated[str | None, typer.Option(help="The e-mail address: for the vault.")]
LanguageOption = Annotated[
    str | None, typer.Option(help="In which messages are written: zh-CN or en.")
]
AddressOption = Annotated[str | None, typer.Option(help="The address: for the vault.")]
PremisesOption = Annotated[
    str | None, typer.Option(help="The premises' number: no supply is stopped there meanwhile.")
]
RemarksOption = Annotated[str | None, typer.Option(help="Free text: for the vault.")]
CareOption = Annotated[
    bool, typer.Option("--special-care", help="Old, disabled, in hardship: goes first.")
]
PolicyOption = Annotated[
    str | None, typer.Option(help="The policy, by name or file; STANDPIPE_POLICY if left out.")
]


class _Given(NamedTuple):
    """What was typed to open a case."""

    model: type[Command]
    fields: Json
    personal: Json
    """The customer's particulars: for the vault alone."""
    policy: str | None
    command_id: str | None
    who: str | None
    role: str
    occurred_at: str | None
    wrong: Sequence[str] = ()
    """What is wrong beyond the fields by themselves."""
    sealed_to: Sequence[Role] = ()


@repair.command("report")
def report_repair(
    channel: ChannelOption = None,
    category: Annotated[
        str | None, typer.Option(help="The kind of fault, as the policy calls it. Needed.")
    ] = None,
    district: DistrictOption = None,
    severity: Annotated[
        str, typer.Option(help=f"One of {', '.join(get_args(Severity))}.")
    ] = "common",
    asset: Annotated[
        str | None, typer.Option(help="The meter's, valve's or main's number.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Its number in another register.")] = None,
    premises: PremisesOption = None,
    party: PartyOption = None,
    name: NameOption = None,
    phone: PhoneOption = None,
    email: EmailOption = None,
    language: LanguageOption = None,
    address: AddressOption = None,
    remarks: RemarksOption = None,
    special_care: CareOption = False,
    policy: PolicyOption = None,
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
        "premises": premises,
        "party": party,
    }
    personal = _personal(name, phone, email, language, address, remarks, special_care)
    given = _Given(ReportRepair, fields, personal, policy, command_id, who, role, occurred_at)
    _open(given, as_json)


@complaint.command("register")
def register_complaint(
    channel: ChannelOption = None,
    about: Annotated[
        str | None, typer.Option(help="What it is about: staff, case, place or service. Needed.")
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="The kind of complaint, as the policy calls it. Needed.")
    ] = None,
    district: DistrictOption = None,
    accused: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAFF[:REPORTS_TO]",
            help="A member of staff, and whom they report to. Again for more.",
        ),
    ] = None,
    case: Annotated[
        str | None,
        typer.Option("--case", "--about-case", metavar="CASE", help="The case that it is about."),
    ] = None,
    place: Annotated[str | None, typer.Option(help="The number of the place it is about.")] = None,
    text: Annotated[
        str | None, typer.Option(help="Where the letter or recording is kept (KUN-6.1.16).")
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Nobody is told the answer; no follow-up.")
    ] = False,
    confidential: Annotated[
        bool, typer.Option("--confidential", help="An informant: see --seal-to (WAT-2.5).")
    ] = False,
    seal_to: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE", help="Who alone may see the informant. Again for more."),
    ] = None,
    premises: PremisesOption = None,
    party: PartyOption = None,
    name: NameOption = None,
    phone: PhoneOption = None,
    email: EmailOption = None,
    language: LanguageOption = None,
    address: AddressOption = None,
    remarks: RemarksOption = None,
    special_care: CareOption = False,
    policy: PolicyOption = None,
    occurred_at: AtOption = None,
    command_id: IdOption = None,
    who: AsOption = None,
    role: RoleOption = "clerk",
    as_json: AsJson = False,
) -> None:
    """Register a complaint. Its 48 hours start now, or at --occurred-at (KUN-2.2.6).

    Personal data goes to the vault, the case knows an opaque id alone; what was said is kept where
    --text tells, or in the vault as --remarks.

    JSON: {"case_id", "party_id", "command_id", "outcome", "timeline"}.
    """
    known = {field.name: field for field in fields_of(RegisterComplaint)}
    fields: Json = {
        "channel": channel,
        "about": about,
        "category": category,
        "district": district,
        "accused": [composed(a, known["accused"]) for a in accused or ()] or None,
        "about_case": case,
        "place": place,
        "text": text,
        "anonymous": anonymous or None,
        "confidential": confidential or None,
        "premises": premises,
        "party": party,
    }
    personal = _personal(name, phone, email, language, address, remarks, special_care)
    wrong: list[str] = []
    if anonymous and (personal or party):
        wrong.append("--anonymous: leave out --party, --name, --phone and the like")
    roles = [r for r in get_args(Role) if r in (seal_to or ())]
    if len(roles) < len(set(seal_to or ())):
        wrong.append(f"--seal-to: one of {', '.join(get_args(Role))}")
    if seal_to and not confidential:
        wrong.append("--seal-to: only with --confidential")
    if seal_to and party:
        wrong.append("--seal-to: whom the vault knows keeps their seal; leave it out, or --party")
    if confidential and personal and not seal_to:
        wrong.append("--seal-to: missing; say which roles alone may see who it is")
    given = _Given(
        RegisterComplaint,
        fields,
        personal,
        policy,
        command_id,
        who,
        role,
        occurred_at,
        wrong,
        roles,
    )
    _open(given, as_json)


def _personal(
    name: str | None,
    phone: str | None,
    email: str | None,
    language: str | None,
    address: str | None,
    remarks: str | None,
    care: bool,
) -> Json:
    """The particulars that were given."""
    given = {
        "name": name,
        "phone": phone,
        "email": email,
        "language": language,
        "address": address,
        "remarks": remarks,
    }
    found: Json = {field: value for field, value in given.items() if value is not None}
    return {**found, "special_care": True} if care else found


def _open(given: _Given, as_json: bool) -> None:
    """Open the case and show what is owed from here."""
    wanted = fresh_id(given.command_id)

    async def work() -> tuple[Opened, Timeline]:
        envelope, customer = _checked(given, wanted)
        settings = Settings()
        policy = new_cases_policy(settings, given.policy)
        async with desk(settings) as office, answered(wanted):
            opened = await office.report(policy, envelope, customer, given.sealed_to)
            return opened, await office.timeline(opened.case_id)

    opened, shown = run(work(), as_json=as_json)
    result = {**opened._asdict(), "command_id": wanted, "timeline": shown}
    drawn = (
        Text(f"{opened.case_id} is open.{_customer(opened, given.sealed_to)}", style="bold"),
        event_lines(shown, [e for e in shown.events if e.command_id == opened.outcome.command_id]),
        drawn_next(shown),
        OneLine(f"Go on with: standpipe command {opened.case_id}"),
    )
    show(result, *drawn, as_json=as_json)


def _customer(opened: Opened, sealed_to: Sequence[Role]) -> str:
    if opened.party_id is None:
        return ""
    sealed = f", sealed to {' and '.join(sealed_to)}" if sealed_to else ""
    return f" Its customer is {opened.party_id} in the vault{sealed}."


def _checked(given: _Given, command_id: str) -> tuple[Json, Party | None]:
    """The envelope and the customer. Raises `Invalid` with all that is wrong, at once."""
    fields = {name: value for name, value in given.fields.items() if value is not None}
    who = given.who or login()

    def beyond() -> None:
        if given.wrong:
            raise Invalid(given.wrong)

    _, body, envelope, customer = commands.together(
        beyond,
        lambda: commands.body(given.model, given.model.__name__, fields),
        lambda: commands.envelope({}, command_id, who, given.role, given.occurred_at),
        lambda: _particulars(given.personal, fields.get("party")),
    )
    return {**envelope, "body": body}, customer


_SOME_TEXT = "must hold some text, and not too long a one"
_WANTED = {"email": "must be one e-mail address", "language": "must be zh-CN or en"}


def _particulars(personal: Json, party: str | None) -> Party | None:
    """Whom the vault is to keep. Raises `Invalid`, without repeating anything."""
    if not personal:
        return None
    wrong: list[str] = []
    if party:
        wrong.append("--party: leave it out where you give --name, --phone and the like")
    customer: Party | None = None
    try:
        customer = Party.model_validate(personal)
    except ValidationError as error:
        places = dict.fromkeys(str(item["loc"][0]) for item in error.errors())
        wrong += [f"--{place}: {_WANTED.get(place, _SOME_TEXT)}" for place in places]
    if wrong:
        raise Invalid(wrong)
    return customer
