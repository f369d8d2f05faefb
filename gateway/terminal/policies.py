"""`standpipe policy …`: policies shown and checked, and their public holidays filled in."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from gateway import policies
from gateway.drawing import table
from gateway.holidays import HolidayChange, fill_holidays
from gateway.session import policy_folder
from gateway.terminal.output import AsJson, WrongInput, fail, show
from gateway.words import span
from lifecycles.policies import Pinned
from schemas.commitments import CommitmentTerms
from settings import Settings, SettingsError

app = typer.Typer(no_args_is_help=True, help="Policies: one organisation's figures and ladders.")

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False)]


@app.command("show")
def show_policy(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="By name, such as gas, or file.")],
    as_json: AsJson = False,
) -> None:
    """Show a policy: its promises, ladders and the hash that cases pin.

    JSON: {"hash", "policy"}.
    """
    found = _load(policy, as_json)
    show({"hash": found.hash, "policy": found.policy}, *_drawn(found), as_json=as_json)


@app.command("check")
def check_policy(file: FileArgument, as_json: AsJson = False) -> None:
    """Check a policy file as a whole; everything that is wrong is listed at once.

    JSON: {"name", "version", "hash"}.
    """
    found = _load(str(file), as_json)
    p = found.policy
    text = Text(f"{file} can be used: {p.name} {p.version}, hash {found.hash[:12]}.")
    show({"name": p.name, "version": p.version, "hash": found.hash}, text, as_json=as_json)


@app.command("holidays")
def holidays(
    file: FileArgument,
    year: Annotated[int, typer.Option(min=2000, max=2199, help="Which year.")],
    as_json: AsJson = False,
) -> None:
    """Fill a year's Chinese public holidays and make-up working days into a policy file.

    JSON: the change: "version_before", "version", "holidays_added", "workdays_added", ….
    """
    try:
        change = fill_holidays(file, year)
    except (ValueError, RuntimeError) as error:
        fail(WrongInput(f"{error}."), as_json=as_json)
    except OSError as error:
        fail(WrongInput(f"{file}: {error.strerror}."), as_json=as_json)
    show(change, _told(file, change), as_json=as_json)


def _load(policy: str, as_json: bool) -> Pinned:
    try:
        return policies.load(policy, policy_folder(Settings()))
    except (policies.PolicyError, SettingsError) as error:
        fail(WrongInput(str(error)), as_json=as_json)


def _drawn(found: Pinned) -> list[RenderableType]:
    p = found.policy
    promises = table("Promise", "Rule", "Time", "From, to", "Who is told, when")
    for terms in p.repair.commitments:
        ladder = ", ".join(f"{r.tell.replace('_', ' ')} {r.at}" for r in terms.ladder)
        promises.add_row(
            f"{terms.name}{_only(terms)}",
            terms.rule,
            _time(terms),
            f"{terms.starts}, {terms.ends}",
            ladder,
        )
    return [
        Text.assemble((p.title, "bold"), f"  {p.name} {p.version}\nhash {found.hash}"),
        Text(f"calendar {p.calendar.version}, {p.calendar.time_zone}"),
        promises,
        Text(f"Also obeys: {', '.join(p.rules)}"),
        Text(f"Kinds of fault: {', '.join(p.repair.categories)}"),
        Text(f"Reasons for a pause: {', '.join(p.repair.pause_reasons)}"),
    ]


def _time(terms: CommitmentTerms) -> str:
    if terms.basis == "same_day":
        return "same day"
    return f"{span(terms.duration)}{' working' if terms.basis == 'working' else ''}"


def _only(terms: CommitmentTerms) -> str:
    limits: list[str] = []
    if terms.network is not None:
        limits.append("network" if terms.network else "customer")
    for names in (terms.severities, terms.categories, terms.channels):
        limits += names or ()
    return f" ({', '.join(limits)})" if limits else ""


def _told(file: Path, change: HolidayChange) -> Text:
    if not change.changed:
        return Text(f"{file} has {change.year} already (calendar {change.version}).")
    gone = len(change.holidays_removed) + len(change.workdays_removed)
    text = (
        f"{file}: {len(change.holidays_added)} holidays and {len(change.workdays_added)} make-up"
        f" working days of {change.year} added, {gone} dates removed;"
        f" calendar {change.version_before} is now {change.version}."
    )
    if not change.arranged:
        text += " The year's arrangement is not announced yet: run it again when it is."
    return Text(f"{text}\nCheck it with: standpipe policy check {file}")
