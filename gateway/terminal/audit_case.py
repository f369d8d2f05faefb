"""`standpipe audit explain`, `dossier` and `check-dossier`: one case, then and for good."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit import dossier as proving
from audit import log
from audit.check_dossier import Checked, check
from audit.dossier import DossierFile
from audit.explain import Decided, Explanation, explain, moment, recorded
from audit.explain_page import page, sequel, unknown
from audit.findings import Finding
from audit.notes import NoteError, Signer, Verifier, open_note
from audit.session import Auditing, auditing
from gateway import commands, dossier_page
from gateway.drawing import drawn_approval, drawn_head, drawn_next, drawn_promises, table
from gateway.permit import arrears_case
from gateway.session import NoSuchCase
from gateway.terminal.output import AsJson, Exit, Failure, OneLine, WrongInput, fail, run, show
from gateway.timeline import Entry, Timeline
from gateway.words import Clock, listed, readable
from lifecycles.policies import pinned
from settings import Settings

CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="Such as repair-1f2e3d.")]


def explain_case(
    case: CaseArgument,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="As the log knew it then: a day (its end), or a day and a time, by the case's own"
            " clock or with an offset. Now if left out.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(dir_okay=False, metavar="FILE", help="Write one self-contained page as well."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A case's state and story at any moment: who had it, what was owed, what was known.

    JSON: the explanation: "at", "known", "timeline" (as `case show` gives it), "story", "stages",
    "owners", "escalations", "holds", "permits", "requests", "told_later".
    """

    async def work() -> Explanation:
        wanted = commands.case_id(case)
        async with auditing(Settings()) as found:
            raw = await _case(found, wanted)
            if raw.policy is None:
                raise Failure(Exit.FAILED, f"The policy that {wanted} pinned is not in the log.")
            policy, decisions = pinned(raw.policy), recorded(raw)
            now = max([datetime.now(UTC), *(d.decided_at for d in decisions)])
            when = now if at is None else moment(at, policy.policy.calendar.time_zone, now)
            return explain(found.organisation, wanted, policy, decisions, when)

    shown = run(work(), as_json=as_json)
    drawn = list(drawn_explanation(shown))
    if html is not None:
        _write(html, page(shown), "--html")
        drawn.append(OneLine(f"\nWritten: {html}"))
    show(shown, *drawn, as_json=as_json)


async def _case(found: Auditing, case_id: str) -> log.RawCase:
    async for raw in log.cases(found.connection, found.organisation, case_id):
        return raw
    raise NoSuchCase(f"There is no case {case_id}: see `standpipe case list`.")


def drawn_explanation(shown: Explanation) -> Iterator[RenderableType]:
    """An explanation for a terminal."""
    clock = Clock(shown.time_zone, shown.at)
    then = shown.timeline
    yield Text(f"As the log of {shown.organisation} knew it at {shown.local}", style="bold")
    if then is None:
        yield Text(unknown(shown))
    else:
        yield from _drawn_then(shown, then, clock)
    if shown.told_later:
        yield Text("\nTold only later about that time", style="bold yellow")
        yield _told_later(shown.told_later, clock)
    yield Text(sequel(shown), style="dim")


def _drawn_then(shown: Explanation, then: Timeline, clock: Clock) -> Iterator[RenderableType]:
    yield drawn_head(then)
    yield _story(shown.story, then, clock)
    if then.commitments:
        yield drawn_promises(then.commitments)
        yield from _pauses(then, clock)
    for asked in then.approvals:
        yield drawn_approval(asked, clock)
        if asked.ended_at:
            yield Text(f"  {asked.state}, {clock.write(asked.ended_at)}", style="dim")
    for hold in shown.holds:
        state = f"{hold.ended} {clock.write(hold.ended_at)}" if hold.ended_at else "stands"
        until = f", until {clock.write(hold.until)} at the latest" if hold.until else ""
        yield Text(f"No stop: {hold.text} ({hold.hold}, {hold.source}), {state}{until}")
    for permit in shown.permits:
        times = f"{clock.write(permit.issued_at)} to {clock.write(permit.expires_at)}"
        yield Text(f"Permit {permit.permit} for {permit.crew}, {times}: {permit.state}")
    for asking in shown.requests:
        yield Text(f"Waits for the answer of {asking.case_id} to {asking.command}")
    yield drawn_next(then)


def _story(story: Iterable[Decided], then: Timeline, clock: Clock) -> Table:
    events = {e.version: e for e in then.events}
    drawn = table("When", "Who, how proven", "What", "Rule")
    drawn.columns[0].no_wrap = drawn.columns[3].no_wrap = True
    drawn.columns[1].max_width = 20
    for d in story:
        caused = [events[v] for v in d.versions]
        told = f"\ntold {clock.write(d.decided_at)}" if d.told_late else ""
        role = readable(d.actor.role)
        who = "the clock" if d.by_clock else f"{d.actor.subject} ({role}, {d.actor.proof})"
        what = "\n".join(e.text for e in caused) or f"{d.command}: it was so already"
        rules = dict.fromkeys(e.rule for e in caused if e.rule)
        drawn.add_row(clock.write(d.at) + told, who, Text(what), "\n".join(rules))
    return drawn


def _pauses(then: Timeline, clock: Clock) -> Iterator[Text]:
    for c in then.commitments:
        for p in c.pauses:
            until = f" to {clock.write(p.until)}" if p.until else ""
            why = f"{readable(p.reason)} ({p.evidence})"
            yield Text(f"{c.id} stood still {clock.write(p.since)}{until}: {why}", style="dim")


def _told_later(entries: Iterable[Entry], clock: Clock) -> Table:
    drawn = table("When", "Told", "Who", "What")
    for e in entries:
        when = (clock.write(e.at), clock.write(e.decided_at))
        drawn.add_row(*when, e.actor.subject, Text(e.text))
    return drawn


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
            raw = await _case(found, case)
            try:
                content = await proving.content_of(found.connection, found.organisation, raw)
            except proving.NotProven as error:
                raise Failure(Exit.FAILED, str(error)) from None
        return proving.signed(content, _signer(settings, content.checkpoint))

    file = run(work(), as_json=as_json)
    data, html = (out / f"{file.case_id}.proven.{form}" for form in ("json", "html"))
    _write(data, proving.text(file), "--out")
    _write(html, dossier_page.page(file.dossier), "--out")
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

    try:
        keys = [Verifier.parse(_pinned(each)) for each in key]
        found = check(file.read_bytes(), keys, need_signature=need_signature)
    except NoteError as error:
        fail(WrongInput(f"--key: {error}"), as_json=as_json)
    except OSError as error:
        fail(WrongInput(f"FILE or --key cannot be read: {error.strerror}."), as_json=as_json)
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


def _pinned(key: str) -> str:
    return key if "+" in key else Path(key).read_text(encoding="utf-8")


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


def drawn_findings(findings: Iterable[Finding]) -> Table:
    """Findings in a table, each with its place."""
    drawn = table("Where", "Check", "What")
    for f in findings:
        place = [
            f"position {f.position}" if f.position is not None else "",
            f"{f.stream or ''}{f'/{f.version}' if f.version is not None else ''}",
        ]
        drawn.add_row(listed(part for part in place if part), f.check, Text(f.what))
    return drawn


def _write(path: Path, content: str, option: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(
            f"cannot be written: {error.strerror}", param_hint=option
        ) from None


def _signer(settings: Settings, checkpoint: str) -> Signer | None:
    """The log's own key, where whoever asks can read it."""
    pem = settings.checkpoint_key()
    if pem is None:
        return None
    try:
        signer = Signer.from_pem(settings.origin, pem)
        open_note(checkpoint, [signer.verifier])
    except NoteError as error:
        raise WrongInput(f"This key did not sign the log's checkpoint. {error}") from None
    return signer
