"""`standpipe staff show`: what upheld complaints mean for a member of staff, in plain words."""

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Group, RenderableType
from rich.text import Text

from gateway.commands import Invalid
from gateway.desk import desk
from gateway.drawing import drawn_approval, table
from gateway.staff_file import StaffFile
from gateway.terminal.output import AsJson, OneLine, run, show
from gateway.timeline import Timeline
from gateway.words import Clock, listed, readable
from gateway.words.conduct import complaint_of
from schemas.base import Subject
from schemas.conduct import Proposal, conduct_id
from settings import Settings

app = typer.Typer(no_args_is_help=True, help="Staff files.")


@app.command("show")
def show_staff(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="The staff number.")],
    as_json: AsJson = False,
) -> None:
    """Show a staff file: findings and until when they count, marks, measures, proposals.

    JSON: {"staff", "case_id", "file", "timeline"}; the last two are null where there is no file.
    """

    async def work() -> tuple[str, StaffFile | None, Timeline | None]:
        checked = _checked(number)
        async with desk(Settings()) as office:
            file, shown = await office.staff_file(checked) or (None, None)
            return conduct_id(office.organisation, checked), file, shown

    case_id, file, shown = run(work(), as_json=as_json)
    if file is None or shown is None:
        nothing = {"staff": number, "case_id": case_id, "file": None, "timeline": None}
        text = f"{number} has no staff file: no complaint ever told of a finding."
        show(nothing, Text(text), as_json=as_json)
        return
    result = {"staff": number, "case_id": case_id, "file": file, "timeline": shown}
    show(result, _drawn(file, shown), _onwards(file, shown), as_json=as_json)


def _checked(number: str) -> str:
    try:
        return TypeAdapter[str](Subject).validate_python(number)
    except ValidationError:
        raise Invalid(["NUMBER: letters, digits and ._:- only, 64 at most."]) from None


def _drawn(file: StaffFile, shown: Timeline) -> RenderableType:
    clock = Clock(shown.time_zone, shown.as_of)
    above = f", reports to {file.reports_to}" if file.reports_to else ""
    head = Text.assemble(
        (file.staff, "bold"),
        (f"  {file.stage}", "bold cyan"),
        f"{above}\n{file.strikes} of {file.needed} strikes within {file.window_months} months,",
        f" {file.marks} black mark{'s' * (file.marks != 1)}, on {file.on}",
    )
    findings = table("Complaint", "Finding", "Counts", "What became of it")
    findings.columns[0].no_wrap = True
    for f in file.findings:
        what = f"{readable(f.outcome)}, {f.gravity}, {readable(f.cause)}"
        when = f"{f.counts_on}\nuntil {f.counts_until}" if f.strike else "–"
        findings.add_row(f.complaint, what, when, Text(f.text, "red" if f.counts_now else "dim"))
    parts: list[RenderableType] = [head, findings]
    parts += [Text(_proposal(p, clock)) for p in file.proposals]
    parts += [Text(f"Owed: {c.name} ({c.rule}), {c.text}") for c in file.owed]
    parts += [drawn_approval(a, clock) for a in file.approvals if a.state == "requested"]
    return Group(*parts)


def _proposal(proposal: Proposal, clock: Clock) -> str:
    rests = listed(complaint_of(finding) for finding in proposal.findings)
    match proposal.state:
        case "open" if proposal.reply:
            stands = f"the person replied ({proposal.reply}); somebody must decide"
        case "open" if proposal.replied:
            stands = "no reply came in time; somebody must decide"
        case "open":
            stands = f"the person may reply until {clock.write(proposal.reply_until)}"
        case "reassigned":
            stands = "approved: moved out of the post"
        case ended:
            stands = ended
    return f"Proposal {proposal.number}, a move out of the post, rests on {rests}: {stands}"


def _onwards(file: StaffFile, shown: Timeline) -> RenderableType:
    possible = f"Possible now: {', '.join(shown.possible)}\n" if shown.possible else ""
    return OneLine(f"{possible}In full: standpipe case show {file.case_id}")
