"""`standpipe key`: the keys with which people sign decisions such as a cutoff's approval."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from activities.database import open_pool, reached
from activities.signing_keys import MONTHS, SigningKey, SigningKeys
from gateway import commands, signing
from gateway.commands import Invalid
from gateway.drawing import table
from gateway.session import Session
from gateway.terminal.asking import AsOption, login
from gateway.terminal.output import AsJson, OneLine, run, show
from schemas.base import Subject
from schemas.signing import PublicKey
from settings import Settings

app = typer.Typer(no_args_is_help=True, help="The keys with which people sign their decisions.")

FileOption = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="The private key's file; else as configured."),
]
WhoArgument = Annotated[str, typer.Argument(metavar="WHO", help="Staff number, such as s-1041.")]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The public key, 43 characters.")]


@app.command("create")
def create(
    file: FileOption = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Do not seal the file with a passphrase.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key of your own in a file that nobody else can read; its public part is printed.

    JSON: {"key", "file"}.
    """

    async def work() -> tuple[str, Path]:
        path = key_file(Settings(), file)
        sealed = None if no_passphrase else _new_passphrase()
        return signing.create_key(path, sealed), path

    key, path = run(work(), as_json=as_json)
    say_next = f"Have an administrator enrol it: standpipe key enrol WHO {key}"
    drawn = (Text(f"Your key is in {path}; keep it to yourself.", style="bold"), OneLine(say_next))
    show({"key": key, "file": str(path)}, *drawn, as_json=as_json)


@app.command("enrol")
def enrol(
    subject: WhoArgument,
    key: KeyArgument,
    months: Annotated[
        int, typer.Option(min=1, max=MONTHS, help="For so long it is valid (WAT-F25b).")
    ] = MONTHS,
    who: AsOption = None,
    as_json: AsJson = False,
) -> None:
    """Say whose key it is. Needs the database's administrator; nobody enrols their own key.

    JSON: {"enrolled", "key", "subject"}.
    """

    async def work() -> bool:
        _checked(subject, key)
        async with _register() as (organisation, keys):
            return await keys.enrol(organisation, key, subject, who or login(), months=months)

    fresh = run(work(), as_json=as_json)
    words = f"{subject} signs with it from now on." if fresh else "It was enrolled already."
    found = {"enrolled": fresh, "key": key, "subject": subject}
    show(found, Text(words, style="bold"), as_json=as_json)


@app.command("lost")
def lost(key: KeyArgument, who: AsOption = None, as_json: AsJson = False) -> None:
    """Report a key as lost, at once (WAT-F25b): it signs nothing more, and no permit rests on it.

    JSON: {"reported", "key"}.
    """

    async def work() -> bool:
        _checked(None, key)
        async with _register() as (organisation, keys):
            return await keys.report_lost(organisation, key, who or login())

    done = run(work(), as_json=as_json)
    words = (
        "It signs nothing more. What it approved and is not carried out must be approved anew."
        if done
        else "There is no such key in use: see standpipe key list."
    )
    show({"reported": done, "key": key}, Text(words, style="bold"), as_json=as_json)


@app.command("list")
def list_keys(
    subject: Annotated[str | None, typer.Option("--who", help="Only this person's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Whose keys there are, and were.

    JSON: {"keys": [key, …]}.
    """

    async def work() -> list[SigningKey]:
        async with Session(Settings()) as session:
            return await SigningKeys(session.pool).list(session.organisation, subject)

    found, now = run(work(), as_json=as_json), datetime.now(UTC)
    drawn = table("Who", "Key", "Enrolled", "By", "State")
    for k in found:
        state = f"valid until {k.valid_until:%Y-%m-%d}" if k.holds(now) else "too old"
        if k.lost_at is not None:
            state = f"lost {k.lost_at:%Y-%m-%d}"
        drawn.add_row(k.subject, k.key, f"{k.enrolled_at:%Y-%m-%d}", k.enrolled_by, state)
    none = Text("Nobody has a key yet: standpipe key create.")
    show({"keys": found}, drawn if found else none, as_json=as_json)


def key_file(settings: Settings, given: Path | None) -> Path:
    """Where one's private key is. Raises `Invalid` where nobody said so."""
    path = given or settings.signing_key_file
    if path is None:
        raise Invalid(["--key: missing; name your key's file, or set STANDPIPE_SIGNING_KEY_FILE"])
    return path


def passphrase_of(path: Path) -> str | None:
    """Ask for the passphrase of a file that is sealed with one."""
    if not signing.needs_passphrase(path):
        return None
    return typer.prompt(f"Passphrase of {path}", hide_input=True, err=True)


def _new_passphrase() -> str:
    return typer.prompt("A passphrase for it", hide_input=True, confirmation_prompt=True, err=True)


def _checked(subject: str | None, key: str) -> None:
    def known_subject() -> None:
        if subject is not None:
            commands.valid(Subject, subject, "WHO: a staff number, such as s-1041")

    commands.together(
        known_subject,
        lambda: commands.valid(PublicKey, key, "KEY: 43 characters, as `key create` prints them"),
    )


@asynccontextmanager
async def _register() -> AsyncGenerator[tuple[str, SigningKeys]]:
    """The register as one may change it, with the database's administrator."""
    session = Session(Settings())  # only to find the servers: it is not opened
    async with reached():
        pool = await open_pool(session.admin_url, max_size=1, application_name="standpipe key")
    try:
        yield session.organisation, SigningKeys(pool)
    finally:
        pool.terminate()
