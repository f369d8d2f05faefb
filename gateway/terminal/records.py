"""What the log keeps beside the cases: worklist, outbox, refusals, parties; and its read models."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from activities import rebuild as rebuilding
from activities.canonical import canonical
from activities.rebuild import RebuildResult
from activities.vault import rewrap
from gateway import commands
from gateway.desk import desk
from gateway.drawing import table
from gateway.session import Session
from gateway.terminal.asking import AsOption, RoleOption, login
from gateway.terminal.cases import case_cells
from gateway.terminal.output import AsJson, Exit, WrongInput, run, say, show
from gateway.words import span
from lifecycles.lifecycle import lifecycle_of
from lifecycles.policies import pinned
from schemas.envelope import CaseSummary, EventEnvelope, Json, Message
from schemas.party import Party, PartyNote
from schemas.read_models import OutboxRow, RefusalRow, WorkRow
from settings import Settings, decode_key
from stack import endpoints

party = typer.Typer(no_args_is_help=True, help="Customers in the vault.")

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="So many at most.")]
OfCase = Annotated[str | None, typer.Option("--case", metavar="CASE", help="Of this case alone.")]
PartyArgument = Annotated[str, typer.Argument(metavar="PARTY", help="Such as party-1f2e3d.")]


def worklist(limit: Limit = 30, as_json: AsJson = False) -> None:
    """Open cases in the order to work on them: special care first, then the longest owed.

    JSON: {"cases": [case, …]}; `waiting_since` is the earliest due time still owed.
    """

    async def work() -> list[WorkRow]:
        async with desk(Settings()) as office:
            return await office.worklist(limit)

    rows = run(work(), as_json=as_json)
    now = datetime.now(UTC)
    drawn = table("Case", "Stage, with", "Owed first")
    drawn.columns[0].no_wrap = True
    for row in rows:
        drawn.add_row(*case_cells(row), _owed(row.waiting_since, now))
    show({"cases": rows}, drawn if rows else Text("Nothing is open."), as_json=as_json)


def _owed(since: datetime | None, now: datetime) -> Text:
    if since is None:
        return Text("")
    if since < now:
        return Text(f"{span(now - since)} late", style="red")
    return Text(f"due in {span(since - now)}")


def outbox(
    case: OfCase = None,
    after: Annotated[
        str, typer.Option(metavar="POSITION", help="Go on after this: the last one's `next`.")
    ] = "0/-1",
    retry: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Deliver again: `dead` for all dead letters (or those of --case), or a POSITION.",
        ),
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """What is said to customers, crews and staff, and whether it got there: nothing personal.

    JSON: {"messages": [message, …], "next": POSITION or null}; with --retry {"retried"}.
    """
    if retry is not None:
        _retry(retry, case, as_json)
        return

    async def work() -> list[OutboxRow]:
        position, _, ordinal = after.partition("/")
        try:
            place = int(position), int(ordinal or -1)
        except ValueError:
            raise WrongInput("--after: give a message's position, such as 120/0.") from None
        stream = None if case is None else commands.case_id(case, "--case")
        async with desk(Settings()) as office:
            return await office.outbox(stream, after=place, limit=limit)

    rows = run(work(), as_json=as_json)
    drawn = table("Position", "Case", "Message", "")
    drawn.columns[1].no_wrap = True
    for row in rows:
        state = Text(row.state, style="red" if row.state == "dead" else "dim")
        if row.state != "delivered" and row.status:
            state.append(f": {row.status}")
        place = f"{row.position}/{row.ordinal}"
        drawn.add_row(place, row.case_id, Text(_told(row.message)), state)
    last = f"{rows[-1].position}/{rows[-1].ordinal}" if len(rows) == limit else None
    more = f" More: add --after {last}." if last else ""
    hint = Text(f"{len(rows)} messages; where they go stands in the workers' settings.{more}")
    show({"messages": rows, "next": last}, *((drawn, hint) if rows else (hint,)), as_json=as_json)


def _retry(what: str, case: str | None, as_json: bool) -> None:
    """Deliver dead letters again, or a message from before anything was delivered."""

    async def work() -> int:
        stream = None if case is None else commands.case_id(case, "--case")
        place = None if what == "dead" else _position(what)
        async with desk(Settings()) as office:
            return await office.redrive(stream, place)

    done = run(work(), as_json=as_json)
    text = f"{done} messages are tried again." if done else "Nothing there could be tried again."
    show({"retried": done}, Text(text), as_json=as_json)


def _position(text: str) -> tuple[int, int | None]:
    position, _, ordinal = text.partition("/")
    try:
        return int(position), int(ordinal) if ordinal else None
    except ValueError:
        raise WrongInput("--retry: say `dead`, or a message's position, such as 120/0.") from None


def _told(message: Message) -> str:
    to = message.recipient if message.to == "party" else f"{message.to} {message.recipient}"
    params = ", ".join(
        f"{name.replace('_', ' ')} {_readable(value)}"
        for name, value in message.params.items()
        if value is not None and name != "case"
    )
    return f"{message.template.replace('_', ' ')}, to {to}" + (f": {params}" if params else "")


def _readable(value: str | int | None) -> str:
    try:
        return f"{datetime.fromisoformat(str(value)):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return str(value)


def refusals(case: OfCase = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Commands that nobody waited for and that were refused, with all reasons.

    JSON: {"refusals": [refusal, …]}.
    """

    async def work() -> list[RefusalRow]:
        stream = None if case is None else commands.case_id(case, "--case")
        async with desk(Settings()) as office:
            return await office.refusals(stream, limit=limit)

    rows = run(work(), as_json=as_json)
    drawn = table("When (UTC)", "Case", "Command", "Who", "Why")
    for row in rows:
        when = f"{row.refused_at:%Y-%m-%d %H:%M}"
        drawn.add_row(when, row.stream, row.command_type, row.actor, "\n".join(row.reasons))
    show({"refusals": rows}, drawn if rows else Text("Nothing was refused."), as_json=as_json)


@party.command("show")
def show_party(
    party_id: PartyArgument,
    who: AsOption = None,
    role: RoleOption = "clerk",
    as_json: AsJson = False,
) -> None:
    """Show a customer's particulars and notes: personal, so mind who looks on.

    A customer who is sealed to roles is shown to these alone, and who looked is kept (WAT-2.5).

    JSON: {"party_id", "name", "phone", "address", "remarks", "special_care", "notes"}.
    """

    async def work() -> tuple[Party, Sequence[PartyNote]]:
        wanted, reader = commands.together(
            lambda: commands.party_id(party_id), lambda: commands.actor(who or login(), role)
        )
        async with desk(Settings()) as office:
            return await office.party(wanted, reader)

    found, notes = run(work(), as_json=as_json)
    drawn = table(party_id, "")
    for name, value in found:
        if value not in (None, False):
            drawn.add_row(name.replace("_", " "), Text("yes" if value is True else str(value)))
    for note in notes:
        drawn.add_row(f"note of {note.written_at:%Y-%m-%d %H:%M} UTC", Text(note.text))
    result = {"party_id": party_id, **found.model_dump(), "notes": notes}
    show(result, drawn, as_json=as_json)


@party.command("erase")
def erase_party(
    party_id: PartyArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase a customer for good: key, particulars and notes. Cases and proofs stay valid.

    JSON: {"party_id", "erased_at"}.
    """

    async def work() -> datetime:
        wanted = commands.party_id(party_id)
        async with desk(Settings()) as office:
            return await office.erase_party(wanted)

    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody is there to ask: add --yes", param_hint="--yes")
        typer.confirm(f"Erase {party_id} for good?", abort=True, err=True)
    erased_at = run(work(), as_json=as_json)
    show(
        {"party_id": party_id, "erased_at": erased_at.isoformat()},
        Text(f"{party_id} is erased since {erased_at:%Y-%m-%d %H:%M} UTC; nothing brings it back."),
        as_json=as_json,
    )


@party.command("rewrap")
def rewrap_keys(
    old_key_file: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="The key so far.")
    ],
    new_key_file: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The next key.")],
    as_json: AsJson = False,
) -> None:
    """Seal every customer's key under another key-encryption key. Stop the workers first.

    JSON: {"rewrapped"}.
    """

    async def work() -> int:
        old, new = (
            decode_key(file.read_text(encoding="utf-8"), str(file))
            for file in (old_key_file, new_key_file)
        )
        settings = Settings()
        admin_url = settings.migration_database_url() or endpoints(settings).admin_url
        if admin_url is None:
            raise WrongInput("Set STANDPIPE_ADMIN_DATABASE_URL to a role that may migrate.")
        return await rewrap(admin_url, old, new, say)

    done = run(work(), as_json=as_json)
    text = f"{done} keys are sealed under the new key: configure it before the workers start again."
    show({"rewrapped": done}, Text(text), as_json=as_json)


def rebuild(as_json: AsJson = False) -> None:
    """Fold the log into new read models, compare them with the live ones, swap. 1: they differed.

    JSON: {"events", "cases", "position", "differences": [difference, …]}.
    """

    async def work() -> RebuildResult:
        async with Session(Settings()) as session:
            return await rebuilding.rebuild(session.admin_url, session.organisation, project, say)

    result = run(work(), as_json=as_json)
    drawn = table("Case", "Column", "Was", "Is by the log")
    for d in result.differences:
        drawn.add_row(d.case_id, d.column, Text(str(d.live)), Text(str(d.rebuilt)))
    agreed = Text(
        f"{result.cases} cases from {result.events} events: the read models agree with the log."
    )
    show(result, drawn if result.differences else agreed, as_json=as_json)
    if result.differences:
        say("The rebuilt read models are in place. Find out who changed the former ones.")
        raise typer.Exit(Exit.FAILED)


def project(events: list[EventEnvelope], policy: Json) -> CaseSummary:
    """A case's summary from its events; pure."""
    first = events[0]
    lifecycle = lifecycle_of(first.stream)
    state = lifecycle.initial(first.stream, "rebuilt", *pinned(canonical(policy).decode()))
    return lifecycle.summary(lifecycle.fold(state, (lifecycle.event(e.body) for e in events)))
