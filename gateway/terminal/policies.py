"""`standpipe policy …`: policies shown and checked, and their public holidays filled in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gateway import policies
from gateway.drawing import table
from gateway.holidays import HolidayChange, fill_holidays
from gateway.session import policy_folder
from gateway.terminal.output import AsJson, WrongInput, fail, show
from gateway.words import listed, money, readable, span
from gateway.words.case import asked, silence_in_words
from lifecycles.policies import Pinned
from schemas.commitments import CommitmentTerms, RungTerms
from schemas.policy import (
    ArrearsPolicy,
    CaseRules,
    ComplaintPolicy,
    ConductPolicy,
    Policy,
    RepairPolicy,
    SatisfactionPolicy,
)
from settings import Settings, SettingsError

app = typer.Typer(no_args_is_help=True, help="Policies: one organisation's figures and ladders.")

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False)]


@app.command("show")
def show_policy(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="By name, such as gas, or file.")],
    as_json: AsJson = False,
) -> None:
    """Show a policy: promises, ladders, approvals, and the hash that cases pin.

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
    parts: list[RenderableType] = [
        Text.assemble((p.title, "bold"), f"  {p.name} {p.version}\nhash {found.hash}"),
        Text(f"calendar {p.calendar.version}, {p.calendar.time_zone}"),
        Text(f"Also obeys: {', '.join(p.rules)}"),
    ]
    kinds: tuple[tuple[str, CaseRules | None, Sequence[str]], ...] = (
        ("Repair (报修)", p.repair, _repair(p.repair)),
        ("Complaint (投诉)", p.complaint, _complaint(p.complaint)),
        ("Staff file", p.conduct, _conduct(p.conduct)),
        ("Satisfaction (满意度)", p.satisfaction, _satisfaction(p.satisfaction)),
        ("Arrears and cutoff (欠费停供)", p.arrears, _arrears(p.arrears)),
        ("Readers' assessment (考核)", p.assessment, _assessment(p)),
    )
    for title, rules, lines in kinds:
        parts.append(Text(f"\n{title}", style="bold"))
        if rules is None:
            parts.append(Text("This policy says nothing of it."))
            continue
        if rules.commitments:
            parts.append(_promises(rules))
        if rules.approvals:
            parts.append(_approvals(rules))
        parts += [Text(line) for line in lines]
    return parts


def _promises(rules: CaseRules) -> Table:
    promises = table("Promise", "Rule", "Time", "From, to", "Who is told, when")
    for terms in rules.commitments:
        promises.add_row(
            f"{terms.name}{_only(terms)}",
            terms.rule,
            _time(terms),
            f"{terms.starts}, {terms.ends}",
            _ladder(terms.ladder),
        )
    return promises


def _approvals(rules: CaseRules) -> Table:
    drawn = table("Approval", "Rule", "Who decides", "Time, then (超时默认)", "Who is told, when")
    for kind, terms in rules.approvals.items():
        people = f", {terms.needed} people" if terms.needed > 1 else ""
        but = f", but not {listed(terms.exclude)}" if terms.exclude else ""
        silence = silence_in_words(terms.silence, (terms.role,), terms.escalates_to)
        drawn.add_row(
            asked(kind),
            terms.rule,
            f"{readable(terms.role)}{people}{but}",
            f"{_time(rules.terms[f'approve-{kind}', terms.rule])}, then {silence}",
            _ladder(terms.ladder),
        )
    return drawn


def _repair(rules: RepairPolicy) -> list[str]:
    return [
        f"Kinds of fault: {listed(rules.categories)}",
        f"Reasons for a pause: {listed(rules.pause_reasons)}",
    ]


def _complaint(rules: ComplaintPolicy | None) -> list[str]:
    if rules is None:
        return []
    grave = [name for name, terms in rules.categories.items() if terms.gravity == "serious"]
    too = " and whom they report to" if rules.superiors_barred else ""
    return [
        f"Kinds of complaint: {listed(rules.categories)}; serious: {listed(grave) or 'none'}",
        f"Departments: {listed(rules.departments)}",
        f"Given back {rules.returns_limit} times, a supervisor decides whose it is",
        f"More time: {span(rules.extension.longest)} at most, {_often(rules.extension.most)}",
        f"Appeal within {span(rules.appeal_within)}, decided by the {readable(rules.next_level)}",
        f"Who is accused{too} can't judge it",
    ]


def _conduct(rules: ConductPolicy | None) -> list[str]:
    if rules is None:
        return []
    since = {"conduct": "the conduct", "decision": "the final decision"}[rules.counts_from]
    return [
        f"A strike: {listed(readable(o) for o in rules.counts)}; counts {rules.window_months}"
        f" months from {since}",
        f"{rules.strikes} strikes propose a move out of the post; reply within"
        f" {span(rules.reply_within)}",
        f"Black mark for: {listed(readable(c) for c in rules.mark_causes)}",
        f"Light breach, step by step: {listed(readable(m) for m in rules.measures)}",
        f"Serious breach, investigated at once: {listed(readable(p) for p in rules.penalties)}",
    ]


def _satisfaction(rules: SatisfactionPolicy | None) -> list[str]:
    if rules is None:
        return []
    districts = listed(f"{district} {unit}" for district, unit in rules.departments.items())
    return [
        f"Target: {rules.target} %; ranked with {rules.fewest} answers a year or more",
        f"Drawn for a call by the office: {rules.sample} % of a day's follow-ups",
        f"Who answers for a district's repairs: {districts or 'the repairs intake unit'}",
    ]


def _arrears(rules: ArrearsPolicy | None) -> list[str]:
    if rules is None:
        return []
    permit, plan = rules.permit, rules.plan
    holds = sorted(rules.holds.items())
    hours = f"{_clock(permit.hours.start)} to {_clock(permit.hours.end)}"
    seasons = listed(f"{s.first} to {s.last}" for s in permit.protected_seasons)
    ends = listed(f"{readable(kind)} {span(t.longest)}" for kind, t in holds if t.longest)
    restores = listed(readable(kind) for kind, t in holds if t.restores)
    fresh = "needs a fresh notice" if rules.fresh_notice else "goes on with the notice as served"
    return [
        f"Chased from {money(rules.threshold, rules.currency)} on, not below",
        f"Before the notice: reminders on {rules.reminders} different days (WAT-C1)",
        f"From the notice to a stop: {span(rules.notice_period)} (WAT-C2); from the stop order to a"
        f" full stop: {span(rules.stop_order_period)} (WAT-C4a)",
        f"Written approval by the division head: from DN{rules.large_meter} on, boilers, continuous"
        " production (WAT-C3)",
        f"A permit (停供许可) lives {span(permit.lifetime)}, on a look into the log of the last"
        f" {span(permit.freshness)}",
        f"Stops only from {hours}, with {_so_many(permit.working_days_after, 'working day')} after;"
        f" never from {seasons or '(no season is protected)'}",
        f"Holds that end by themselves: {ends or 'none'}; supply is restored for:"
        f" {restores or 'none'}",
        f"Instalments: {plan.most} at most, within {span(plan.longest)}; broken {span(plan.grace)}"
        " after an instalment is due",
        f"A payment taken back within {span(rules.reversal_window)} {fresh}",
        f"A closing without a permit is told to the {readable(rules.next_level)}",
    ]


def _assessment(policy: Policy) -> list[str]:
    rules, arrears = policy.assessment, policy.arrears
    if rules is None or arrears is None:
        return []
    first = 1
    costs: list[str] = []
    for band in rules.bands:
        reach = "and every further one" if band.up_to is None else f"to {band.up_to}"
        costs.append(f"number {first} {reach} {money(band.each, arrears.currency)} each")
        first = (band.up_to or 0) + 1
    grounds = listed(readable(ground) for ground in rules.grounds)
    return [
        f"Overdue accounts of a half-year: {listed(costs)} (WAT-P1)",
        f"Not the reader's fault (WAT-P2): {grounds}",
        f"An exclusion is asked for within {span(rules.objection_period)}",
        f"What it comes to is told to {rules.payroll}",
    ]


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _so_many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _ladder(rungs: Sequence[RungTerms]) -> str:
    return listed(f"{readable(r.tell)} {r.at}" for r in rungs)


def _often(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


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
