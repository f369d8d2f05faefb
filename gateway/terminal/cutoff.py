"""`standpipe permit` and `dossier`: may this valve be closed, and was it closed rightly."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from gateway.desk import desk
from gateway.dossier_page import page
from gateway.drawing import table
from gateway.permit import Asking, arrears_case, checked
from gateway.terminal.asking import IdOption, RoleOption, fresh_id
from gateway.terminal.elsewhere import acting, said_by_token
from gateway.terminal.output import AsJson, Exit, OneLine, answered, run, show
from gateway.timeline import Timeline
from gateway.words import Clock
from gateway.words.arrears import GUARDS
from schemas.arrears import Guard, Permit
from schemas.dossier import Condition, Dossier, StopFile
from settings import Settings

CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="Such as arrears-1f2e3d.")]


def permit(
    case: CaseArgument,
    crew: Annotated[str, typer.Option(metavar="WHO", help="The crew at the valve. Needed.")],
    full: Annotated[
        bool, typer.Option("--full", help="For a full stop, after a stop order (WAT-C4b).")
    ] = False,
    command_id: IdOption = None,
    who: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="WHO",
            help="Who asks; the crew if left out.",
            callback=said_by_token,
        ),
    ] = None,
    role: RoleOption = "crew",
    as_json: AsJson = False,
) -> None:
    """May this crew close the valve, now? A permit for minutes, or every reason against it.

    JSON: {"permit", "seconds_left", "timeline"}.
    """
    asking = Asking(case, crew, full, fresh_id(command_id), who or crew, role)

    async def work() -> tuple[Permit, Timeline]:
        checked(asking)
        async with desk(Settings()) as office, answered(asking.command_id):
            return await office.permit(asking)

    issued, shown = run(work(), as_json=as_json)
    left = max(0, int((issued.expires_at - datetime.now(UTC)).total_seconds()))
    if issued.state != "issued":
        left = 0
    show(
        {"permit": issued, "seconds_left": left, "timeline": shown},
        *_drawn_permit(case, issued, left, Clock(shown.time_zone, shown.as_of)),
        as_json=as_json,
    )
    if not left:
        raise typer.Exit(Exit.FAILED)


def _drawn_permit(case: str, p: Permit, left: int, clock: Clock) -> Iterator[RenderableType]:
    kind = "full" if p.full else "temporary"
    if not left:
        state = "is over" if p.state == "issued" else f"is {p.state}"
        yield Text(f"{p.permit} {state}: leave the valve as it is.", style="bold red")
        return
    minutes = f"{left // 60}:{left % 60:02}"
    yield Text.assemble(
        (f"{p.crew} may close the valve of {case} once, a {kind} stop.", "bold"),
        f"\nPermit (停供许可) {p.permit}, before {clock.write(p.expires_at)}: ",
        (f"{minutes} minutes left", "bold cyan"),
    )
    drawn = table("", "Condition", "Rule")
    for guard in p.guards:
        drawn.add_row(_mark(guard.holds), _named(guard), guard.rule or "")
    yield drawn
    fields = f"--permit {p.permit} --crew {p.crew}{' --full' if p.full else ''}"
    yield OneLine(
        f"Then: standpipe command {case} RecordValveClosed {fields} --valve … --seal … --reading …"
        f"{acting(p.crew, 'crew')}"
    )


def _named(guard: Guard) -> str:
    return GUARDS.get(guard.name, guard.name)


def _mark(held: bool | None) -> Text:
    if held is None:
        return Text("·", style="dim")
    return Text("✓", style="green") if held else Text("✗", style="red")


def show_dossier(
    case: CaseArgument,
    out: Annotated[
        Path, typer.Option(file_okay=False, metavar="FOLDER", help="Where to write the two files.")
    ] = Path(),
    as_json: AsJson = False,
) -> None:
    """Every condition of every stop, its rule, and the event that proves it: JSON and HTML files.

    JSON: {"dossier", "files": [PATH, PATH]}; the file holds the dossier alone.
    """

    async def work() -> Dossier:
        arrears_case(case)
        async with desk(Settings()) as office:
            return await office.dossier(case)

    found = run(work(), as_json=as_json)
    files = _written(found, out)
    show(
        {"dossier": found, "files": [str(file) for file in files]},
        *_drawn_dossier(found),
        OneLine(f"\nWritten: {files[0]} and {files[1]}"),
        as_json=as_json,
    )


def _written(found: Dossier, out: Path) -> tuple[Path, Path]:
    data, html = (out / f"{found.case_id}.dossier.{form}" for form in ("json", "html"))
    text = json.dumps(found.model_dump(mode="json"), ensure_ascii=False, indent=2)
    try:
        out.mkdir(parents=True, exist_ok=True)
        data.write_text(f"{text}\n", encoding="utf-8")
        html.write_text(page(found), encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(
            f"cannot be written: {error.strerror}", param_hint="--out"
        ) from None
    return data, html


def _drawn_dossier(found: Dossier) -> Iterator[RenderableType]:
    clock = Clock(found.time_zone, found.as_of)
    yield Text.assemble(
        (f"Dossier of {found.case_id}", "bold"), f"  {found.stage}, {found.balance_text}\n",
        (f"all times {found.time_zone}", "dim"),
    )  # fmt: skip
    if not found.stops:
        yield Text("No valve was closed, and none is to be.")
    for stop in found.stops:
        yield from _drawn_stop(stop, clock)


def _drawn_stop(stop: StopFile, clock: Clock) -> Iterator[RenderableType]:
    made = stop.closing
    when = f"made {clock.write(made.at)} by {stop.crew}, valve {stop.valve}" if made else "planned"
    verdict = ("proven", "green") if stop.complete else ("incomplete", "red")
    yield Text.assemble(
        (f"\n{stop.number}. {stop.kind.capitalize()} stop", "bold"), f", {when}: ", verdict
    )
    drawn = table("", "Condition", "Rule", "Shown by")
    drawn.columns[2].no_wrap = True
    for c in stop.conditions:
        drawn.add_row(_mark(c.held), c.title, c.rule or "", _shown_by(c, clock))
    yield drawn
    for what, event in (
        ("closed", made),
        ("incident", stop.incident),
        ("opened by the customer", stop.reopened),
        ("restored", stop.restored),
    ):
        if event is not None:
            where = f"{event.stream}/{event.version}, {event.actor.subject}"
            yield Text(f"{what} {clock.write(event.at)} ({where})")
    if stop.missing:
        yield Text("Missing:", style="bold red")
        yield Text("\n".join(f"  - {why}" for why in stop.missing))


def _shown_by(c: Condition, clock: Clock) -> str:
    if not c.evidence:
        return c.proof or ""
    # Who did it says more than what the clock made of it.
    people = [e for e in c.evidence if e.actor.role != "system"]
    last = (people or c.evidence)[-1]
    more = f" and {len(c.evidence) - 1} more" if len(c.evidence) > 1 else ""
    return f"{last.type} #{last.version} by {last.actor.subject}, {clock.write(last.at)}{more}"
