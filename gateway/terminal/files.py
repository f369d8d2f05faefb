"""`standpipe import repairs` and `rehearse repairs`: a company's own file, live or rehearsed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gateway import importing as imports
from gateway import policies
from gateway import rehearse as rehearsals
from gateway.drawing import table
from gateway.filings import Filing, Reject, open_filing, write_rejects
from gateway.mappings import load_mapping, load_mappings
from gateway.rehearse import Outcome, Rehearsal, RuleOutcome
from gateway.session import Session, policy_folder
from gateway.terminal.output import AsJson, progress, run, say, show
from gateway.words import span
from lifecycles.policies import pinned
from settings import Settings

importing = typer.Typer(no_args_is_help=True, help="Open cases from a company's own file.")
rehearsing = typer.Typer(
    no_args_is_help=True,
    help="What a policy would have made of a company's own files: no server, nothing is stored.",
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A CSV file.")]
PolicyOption = Annotated[str, typer.Option(help="The policy, by name or file.")]
MapOption = Annotated[
    Path | None,
    typer.Option("--map", help="The mapping; found by the file's header if left out."),
]
RejectsOption = Annotated[
    Path | None,
    typer.Option(help="Where to write rows that make no sense; FILE.rejects.csv if left out."),
]


@importing.command("repairs")
def import_repairs(
    file: FileArgument,
    policy: PolicyOption,
    map_file: MapOption = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=200, help="So many cases are opened at a time.")
    ] = 16,
    rejects: RejectsOption = None,
    as_json: AsJson = False,
) -> None:
    """Open one case per row, with its true report date. Safe to interrupt and to run again.

    JSON: {"cases", "opened", "known", "rejected", "rules": {RULE_ID: {"kept", "broken", …}}}.
    """

    async def work() -> tuple[imports.Progress, dict[str, RuleOutcome]]:
        settings = Settings()
        filing, (content,) = _opened(settings, file, [policy], map_file)
        async with Session(settings) as session:
            with progress() as bars:
                opened = bars.add_task("opened", total=filing.rows, note="")
                recorded = bars.add_task("recorded", total=filing.rows, note="")

                def report(now: imports.Progress) -> None:
                    wrong = f"{len(now.rejects)} rejected" if now.rejects else ""
                    bars.update(opened, completed=now.rows, note=wrong)
                    bars.update(
                        recorded, completed=now.recorded, total=filing.rows - len(now.rejects)
                    )

                done = await imports.import_rows(
                    filing,
                    session.organisation,
                    content,
                    datetime.now(UTC),
                    cases=await session.cases(),
                    log=session.log,
                    vault=session.vault,
                    concurrency=concurrency,
                    report=report,
                )
            rules = await imports.outcomes(
                session.log, session.organisation, done.cases, datetime.now(UTC)
            )
            return done, rules

    again = "Interrupted. The same import again goes on from here; nothing is opened twice."
    done, rules = run(work(), as_json=as_json, again=again)
    _write_rejects(rejects or _beside(file), done.rejects)
    head = f"Cases opened: {done.opened}; known: {done.known}; rows rejected: {len(done.rejects)}."
    drawn = (
        Text(head, style="bold"),
        _drawn_rules(rules),
        Text("Look at them with: standpipe case list --open --late; standpipe worklist"),
    )
    show(imports.to_json(done, rules), *drawn, as_json=as_json)


@rehearsing.command("repairs")
def rehearse_repairs(
    file: FileArgument,
    policy: PolicyOption,
    against: Annotated[
        str | None, typer.Option(help="A second policy: every case that comes out otherwise.")
    ] = None,
    map_file: MapOption = None,
    rejects: RejectsOption = None,
    limit: Annotated[
        int, typer.Option(min=0, help="So many differing cases are drawn; JSON has them all.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Put a file's rows through the pure rules alone: no server, nothing is stored.

    JSON: {"cases", "rejected", "rules": {RULE_ID: {"kept", "broken", …}}}; with --against also
    "against" and "differences".
    """

    async def work() -> Rehearsal:
        settings = Settings()
        names = [policy] if against is None else [policy, against]
        filing, contents = _opened(settings, file, names, map_file)
        # Redrawn at each report alone: a thread that redraws would forbid quick forks.
        with progress(auto_refresh=False) as bars:
            task = bars.add_task("rehearsed", total=filing.rows, note="")
            return rehearsals.rehearse(
                filing,
                settings.organisation,
                pinned(contents[0]),
                datetime.now(UTC),
                against=pinned(contents[1]) if len(contents) > 1 else None,
                report_progress=lambda rows: bars.update(task, completed=rows, refresh=True),
            )

    result = run(work(), as_json=as_json)
    if rejects is not None:
        _write_rejects(rejects, result.rejects)
    elif result.rejects:
        say("Add --rejects FILE for the rejected rows and their reasons.")
    show(result.to_json(), *_drawn_rehearsal(result, policy, against, limit), as_json=as_json)


def _opened(
    settings: Settings, file: Path, names: list[str], map_file: Path | None
) -> tuple[Filing, list[str]]:
    """The file with its mapping, and the policies' content."""
    folder = policy_folder(settings)
    contents = [policies.content_of(name, folder) for name in names]
    mappings = load_mappings(folder / "mappings") if map_file is None else [load_mapping(map_file)]
    return open_filing(file, mappings, [pinned(content) for content in contents]), contents


def _beside(file: Path) -> Path:
    return Path(f"{file.stem}.rejects.csv")


def _write_rejects(path: Path, rejects: list[Reject]) -> None:
    if rejects:
        try:
            write_rejects(path, rejects)
        except OSError as error:
            raise typer.BadParameter(
                f"{path} cannot be written: {error.strerror}", param_hint="--rejects"
            ) from None
        say(f"Rejected rows, with all reasons: {path}")


def _drawn_rules(rules: dict[str, RuleOutcome]) -> Table:
    drawn = table(
        "Rule", "Kept", "Broken", "Open", "Median late", "Worst late", "Told, rung by rung"
    )
    for column in drawn.columns[1:6]:
        column.justify = "right"
    for rule, outcome in rules.items():
        found = outcome.to_json()
        told = "  ".join(str(count) for count in found["escalations"].values())
        late = (_late(found["median_delay_seconds"]), _late(found["worst_delay_seconds"]))
        counts = (str(found[state]) for state in ("kept", "broken", "open"))
        drawn.add_row(rule, *counts, *late, told)
    return drawn


def _late(seconds: float | None) -> str:
    return "" if seconds is None else span(timedelta(seconds=seconds))


def _drawn_rehearsal(
    result: Rehearsal, policy: str, against: str | None, limit: int
) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for name, part in ((policy, result), (against, result.against)):
        if part is not None:
            head = f"{name}: cases {part.cases}, rows rejected {len(part.rejects)}"
            parts += [Text(head, style="bold"), _drawn_rules(dict(sorted(part.rules.items())))]
    if result.against is not None:
        parts.append(Text(f"{len(result.differences)} cases come out otherwise.", style="bold"))
        drawn = table("Line", "Case", "Promise", str(policy), str(against))
        for d in result.differences[:limit]:
            for name, (a, b) in d.promises.items():
                drawn.add_row(str(d.line), d.number, name, _outcome(a), _outcome(b))
            if any(d.refused):
                drawn.add_row(str(d.line), d.number, "", *("\n".join(r) for r in d.refused))
        parts.append(drawn)
        if len(result.differences) > limit:
            parts.append(Text(f"The first {limit} of them; --json has all."))
    return parts


def _outcome(outcome: Outcome | None) -> str:
    if outcome is None:
        return "not promised"
    late = f", {_late(outcome.delay_seconds)} late" if outcome.delay_seconds is not None else ""
    return f"{outcome.rule} {outcome.state}{late}"
