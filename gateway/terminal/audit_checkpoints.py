"""`standpipe audit checkpoint`, `key` and `witness`: what was signed of a log, and who holds it."""

import asyncio
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from cryptography import x509
from rich.text import Text

from activities.checkpoints import Contradiction, Folder, NotKept, check_marks
from activities.database import Connection, reached
from audit.notes import Checkpoint, Kind, NoteError, Signer, Verifier, split
from audit.proofs import latest_checkpoint
from audit.session import auditing
from audit.timestamps import NotStamped, stamped_at
from audit.witness import InDatabase, Seen, SplitView, StateError, Witness
from gateway.checkpoints import checkpoints, log_signer
from gateway.session import Session
from gateway.terminal.output import (
    AsJson,
    Exit,
    Failure,
    OneLine,
    WrongInput,
    explain,
    fail,
    run,
    say,
    show,
)
from schemas.envelope import Json
from settings import Settings
from stack.embedded import ed25519_key

_HEAD = "SELECT position FROM heads WHERE organisation = $1"
_NO_KEY = (
    "The log's key is not here: run this where STANDPIPE_CHECKPOINT_KEY_FILE is set, or beside"
    " `standpipe up`."
)


_STAMPS = """
    SELECT authority, answer FROM timestamps WHERE organisation = $1 AND size = $2
    ORDER BY recorded_at
"""


class _Shown(NamedTuple):
    note: str
    checkpoint: Checkpoint
    later: int
    stamps: Mapping[str, bytes]


def checkpoint(
    make: Annotated[
        bool, typer.Option("--make", help="Sign one now, if anything is new. Needs the log's key.")
    ] = False,
    roots: Annotated[
        Path | None,
        typer.Option(
            "--timestamp-roots",
            metavar="FILE",
            help="Check its time stamps under these certificates, in PEM. 1: one does not hold.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The newest signed checkpoint, and whether the log still is what was signed. 1: it is not.

    JSON: {"origin", "size", "root", "note", "later": events after it, "vkey", "stamps":
    {authority: time or null}}; "note" is null before the first, "vkey" where the log's key is not
    at hand, a time where --timestamp-roots is not given.
    """

    async def work() -> tuple[_Shown | None, str | None]:
        settings = Settings()
        signer = log_signer(settings)
        shown = await (_make(settings) if make else _newest(settings))
        return shown, signer.vkey if signer is not None else None

    trusted = _certificates(roots) if roots is not None else None
    found, vkey = run(work(), as_json=as_json)
    if found is None:
        nothing = dict.fromkeys(("origin", "root", "note", "later"))
        show(
            {**nothing, "size": 0, "vkey": vkey, "stamps": {}},
            Text("No checkpoint is signed yet. A worker with the log's key signs one within a"),
            Text("minute of the first event; `standpipe audit checkpoint --make` does it now."),
            as_json=as_json,
        )
        return
    note, signed, later, answers = found
    try:
        stamps = {name: _stamped(answer, note, trusted) for name, answer in answers.items()}
    except NotStamped as error:
        fail(Failure(Exit.FAILED, str(error)), as_json=as_json)
    show(
        {
            "origin": signed.origin,
            "size": signed.size,
            "root": signed.root.hex(),
            "note": note,
            "later": later,
            "vkey": vkey,
            "stamps": stamps,
        },
        *(OneLine(line) for line in note.splitlines()),
        Text(""),
        Text(f"The log still is what was signed; {later} events came after it."),
        *(Text(f"Stamped by {name}: {at or 'not checked'}.") for name, at in stamps.items()),
        *(_pinning(vkey) if vkey is not None else ()),
        as_json=as_json,
    )


def key(as_json: AsJson = False) -> None:
    """The public half of the log's key, for auditors to pin.

    JSON: {"vkey", "origin"}.
    """

    async def work() -> Signer:
        signer = log_signer(Settings())
        if signer is None:
            raise Failure(Exit.FAILED, _NO_KEY)
        return signer

    signer = run(work(), as_json=as_json)
    drawn = (OneLine(signer.vkey), *_pinning(None))
    show({"vkey": signer.vkey, "origin": signer.name}, *drawn, as_json=as_json)


def witness(
    log_key: Annotated[
        str,
        typer.Option("--key", metavar="VKEY", help="The log's key as you pinned it, or a file."),
    ],
    state: Annotated[
        Path,
        typer.Option(file_okay=False, metavar="FOLDER", help="What the witness knows. Keep it."),
    ],
    cosign_key: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            metavar="FILE",
            help="Also sign what is consistent, with this Ed25519 key in PEM; made if missing.",
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="The name of that key, such as auditor.example/w1.")
    ] = "witness",
    every: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Again and again, until Ctrl-C.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take the newest checkpoint, if the log has only grown since the last one that was taken.

    Run it elsewhere than the log, under somebody else. 1: the log shows another past than it did;
    nothing is taken, and both sides are kept in the folder `evidence`.

    JSON: {"origin", "size", "root", "before", "cosigned_by", "cosigner": its vkey, "note": the
    file}, one for each look.
    """

    async def work() -> None:
        cosigner = _cosigner(cosign_key, name)
        watching = Witness(state, _pinned(log_key), cosigner)
        if cosigner is not None and not as_json:
            say(f"Whoever is to believe this witness pins: {cosigner.vkey}")
        while True:
            try:
                seen = await _look(watching)
            except (Exception, asyncio.CancelledError) as error:
                failure = explain(error)
                if every is None or failure is None or failure.code is not Exit.UNREACHABLE:
                    raise
                say(f"{failure.message} It is tried again.")
            else:
                _tell(seen, watching, cosigner, as_json=as_json)
            if every is None:
                return
            await asyncio.sleep(every)

    run(work(), as_json=as_json, again="The witness has stopped; what it knows is kept.")


async def _make(settings: Settings) -> _Shown | None:
    """With a worker's rights, which an auditor does not have."""
    async with Session(settings) as session:
        making = checkpoints(session)
        if making is None:
            raise Failure(Exit.FAILED, _NO_KEY)
        with _findings():
            signed = await making.make()
        await making.stamped()
        if signed is None:
            return None
        async with reached(), session.pool.acquire() as connection:
            note = await latest_checkpoint(connection, session.organisation)
            assert note is not None, "it was signed just now"
            return await _shown(connection, session.organisation, note)


async def _newest(settings: Settings) -> _Shown | None:
    # The folder is the workers'; an auditor elsewhere has none. It is read first, because what a
    # log is compared with must not be younger than what is read of it.
    with _findings():
        kept = Folder(settings.checkpoint_folder, settings.organisation).read()
        async with auditing(settings) as found:
            marks = await check_marks(found.connection, found.organisation, kept)
            if not marks:
                return None
            newest = max(marks, key=lambda mark: mark.size)
            return await _shown(found.connection, found.organisation, newest.note)


async def _shown(connection: Connection, organisation: str, note: str) -> _Shown:
    signed = Checkpoint.parse(split(note)[0])
    head: int = await connection.fetchval(_HEAD, organisation)
    rows = await connection.fetch(_STAMPS, organisation, signed.size)
    stamps = {row["authority"]: row["answer"] for row in rows}
    return _Shown(note, signed, head - signed.size, stamps)


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        raise typer.BadParameter(
            "cannot be read: give certificates in PEM", param_hint="--timestamp-roots"
        ) from None


def _stamped(answer: bytes, note: str, roots: Sequence[x509.Certificate] | None) -> str | None:
    if roots is None:
        return None
    return stamped_at(answer, note, roots).isoformat()


async def _look(watching: Witness) -> Seen | None:
    try:
        async with auditing(Settings()) as found:
            return await watching.look(InDatabase(found.connection, found.organisation))
    except SplitView as split_view:
        raise Failure(
            Exit.FAILED,
            f"{split_view.why} Nothing was taken. The evidence is in {split_view.evidence}: keep"
            " it, ask the log's operator, and let nobody tell you to start anew.",
        ) from None
    except StateError as error:
        raise WrongInput(str(error)) from None


def _tell(seen: Seen | None, watching: Witness, cosigner: Signer | None, *, as_json: bool) -> None:
    if seen is None:
        show(None, Text("The log shows no checkpoint yet."), as_json=as_json)
        return
    told: Json = {
        **seen.model_dump(mode="json"),
        "cosigner": cosigner.vkey if cosigner is not None else None,
        "note": str(watching.note),
    }
    if seen.before is None:
        was = "This is the first that the witness has seen: it vouches for nothing before it."
    elif seen.before == seen.size:
        was = "Nothing new since the last look."
    else:
        was = f"The log has only grown since the last look, from {seen.before} events."
    show(
        told,
        Text(f"{seen.origin}: {seen.size} events, root {seen.root}."),
        Text(was),
        OneLine(f"Kept in {watching.note}."),
        as_json=as_json,
    )


@contextmanager
def _findings() -> Generator[None]:
    """What contradicts is a finding, and what cannot be written is a failure; both end it."""
    try:
        yield
    except Contradiction as error:
        raise Failure(
            Exit.FAILED,
            f"{error} No checkpoint is signed any more. `standpipe audit verify` says what is"
            " wrong; after a restore, `standpipe audit restore-log` brings back what is missing.",
        ) from None
    except NotKept as error:
        raise Failure(Exit.FAILED, str(error)) from None


def _pinned(given: str) -> Verifier:
    pinned = pinned_key(given)
    if pinned.kind is not Kind.LOG:
        raise WrongInput("--key: that is a witness's key, not a log's")
    return pinned


def pinned_key(given: str) -> Verifier:
    """A key that somebody pinned: its line, or a file that holds it. Raises `WrongInput`."""
    try:
        text = given if "+" in given else Path(given).read_text(encoding="utf-8")
        return Verifier.parse(text)
    except NoteError as error:
        raise WrongInput(f"--key: {error}") from None
    except (OSError, UnicodeDecodeError):
        raise WrongInput("--key: it is neither a verifier key nor a file that holds one") from None


def _cosigner(path: Path | None, name: str) -> Signer | None:
    if path is None:
        return None
    try:
        return Signer.from_pem(name, ed25519_key(path), Kind.COSIGNER)
    except NoteError as error:
        raise WrongInput(f"--cosign-key: {error}") from None
    except OSError as error:
        raise WrongInput(f"--cosign-key: {error.strerror}") from None


def _pinning(vkey: str | None) -> list[Text]:
    lines = [OneLine(f"The log's key: {vkey}")] if vkey is not None else []
    return [
        *lines,
        Text("Auditors pin this line and give it as --key; they must have it from you in person,"),
        Text("not from a server that they are to audit."),
    ]
