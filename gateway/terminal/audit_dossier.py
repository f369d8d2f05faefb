"""`standpipe audit dossier` and `check-dossier`: a cutoff's dossier that proves itself."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from audit import dossier as proving
from audit.check_dossier import Checked, check
from audit.dossier import Content, DossierFile
from audit.notes import NoteError, Signer
from audit.session import auditing
from audit.tree import ProofError
from gateway import dossier_page
from gateway.checkpoints import log_signer
from gateway.permit import arrears_case
from gateway.terminal.audit_case import case_in_log, drawn_findings, write
from gateway.terminal.audit_checkpoints import pinned_key
from gateway.terminal.output import AsJson, Exit, Failure, OneLine, WrongInput, run, show
from settings import Settings


def prove(
    case: Annotated[str, typer.Argument(metavar="CASE", help="Such as arrears-1f2e3d.")],
    out: Annotated[
        Path, typer.Option(file_okay=False, metavar="FOLDER", help="Where to write the two files.")
    ] = Path(),
    as_json: AsJson = False,
) -> None:
    """A cutoff's dossier that proves itself: with every decision and its proof, signed if we may.

    Whoever can read the log's key signs the file; without it the proofs and the signed checkpoint
    show that all in it is true, but not that nothing came after.

    JSON: {"case_id", "complete", "signed", "events", "files": [PATH, PATH]}.
    """

    async def work() -> DossierFile:
        arrears_case(case)
        settings = Settings()
        async with auditing(settings) as found:
            raw = await case_in_log(found, case)
            try:
                content = await proving.content_of(found.connection, found.organisation, raw)
            except (proving.NotProven, NoteError, ProofError) as error:
                raise Failure(Exit.FAILED, str(error)) from None
        return _signed(content, log_signer(settings))

    file = run(work(), as_json=as_json)
    data, html = (out / f"{file.case_id}.proven.{form}" for form in ("json", "html"))
    write(data, proving.text(file), "--out")
    write(html, dossier_page.page(file.dossier), "--out")
    events = sum(len(d.events) for d in file.decisions)
    by = "It is signed by the log's key." if file.signature else _UNSIGNED
    show(
        {
            "case_id": file.case_id,
            "complete": file.dossier.complete,
            "signed": file.signature is not None,
            "events": events,
            "files": [str(data), str(html)],
        },
        Text(f"The dossier of {file.case_id} proves its {events} events. {by}", style="bold"),
        OneLine(f"Written: {data} and {html} (for people; the first one is what counts)"),
        OneLine(f"Anybody checks it with: standpipe audit check-dossier {data} --key …"),
        as_json=as_json,
    )


def _signed(content: Content, signer: Signer | None) -> DossierFile:
    """The file; what does not check is never signed."""
    file = proving.signed(content, signer)
    if signer is not None:
        found = check(proving.text(file).encode(), [signer.verifier])
        if found.findings:
            reasons = [f"{f.check}: {f.what}" for f in found.findings]
            why = "The log does not prove this dossier: see `standpipe audit verify`."
            raise Failure(Exit.FAILED, why, reasons)
    return file


_UNSIGNED = "It is not signed: that nothing came after them, it does not show."


def check_dossier(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What was written.")],
    key: Annotated[
        list[str],
        typer.Option(metavar="VKEY", help="The log's key as you pinned it, or a file with it."),
    ],
    need_signature: Annotated[
        bool, typer.Option("--signed", help="A file that is not signed as a whole is wrong.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a proven dossier with the pinned key alone. 1: something in it is wrong, all listed.

    Repeat --key for the keys of witnesses. Needs no server, and asks nobody.

    JSON: {"ok", "case_id", "signed", "proven", "unproven", "checkpoint": {"origin", "size",
    "root"}, "findings": [finding, …]}.
    """

    async def work() -> Checked:
        keys = [pinned_key(each) for each in key]
        try:
            content = await asyncio.to_thread(file.read_bytes)
        except OSError as error:
            raise WrongInput(f"FILE cannot be read: {error.strerror}.") from None
        return check(content, keys, need_signature=need_signature)

    found = run(work(), as_json=as_json)
    at = found.checkpoint
    show(
        {
            "ok": not found.findings,
            "case_id": found.file.case_id if found.file else None,
            "signed": found.signed,
            "proven": found.proven,
            "unproven": found.unproven,
            "checkpoint": at and {"origin": at.origin, "size": at.size, "root": at.root.hex()},
            "findings": found.findings,
        },
        *_drawn_check(found),
        as_json=as_json,
    )
    if found.findings:
        raise typer.Exit(Exit.FAILED)


def _drawn_check(found: Checked) -> Iterator[RenderableType]:
    if found.findings:
        yield Text(f"Wrong: {len(found.findings)} findings. Do not rely on it.", style="bold red")
        yield drawn_findings(found.findings)
        return
    file, at = found.file, found.checkpoint
    assert file is not None, "what cannot be read is a finding"
    assert at is not None, "what is not signed is a finding"
    verdict = "complete" if file.dossier.complete else "NOT complete: see `missing` in it"
    yield Text(f"In order: the dossier of {file.case_id} is {verdict}.", style="bold green")
    yield Text(
        f"{found.proven} events stand in the log {at.origin} of {at.size} events, root"
        f" {at.root.hex()}; decided and folded again, they come to exactly this dossier."
    )
    yield Text("The whole file is signed by the log's key." if found.signed else _UNSIGNED)
    if found.unproven:
        yield Text(
            f"Commands that caused nothing: {found.unproven}; nothing in the log commits to them.",
            style="dim",
        )
