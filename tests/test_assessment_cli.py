"""Assessments, and satisfaction entered by hand, on the command line: on real servers."""

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client

from activities.cases import Cases
from activities.database import open_pool
from activities.log_reader import LogReader
from gateway.terminal import output
from lifecycles.assessment_runs import half_year_before
from lifecycles.calendars import local
from schemas.envelope import Json
from tests.conftest import Database
from tests.lifecycles.arrears_cases import BILL, OPEN
from tests.lifecycles.repair_cases import WATER
from tests.test_cli import Cli, asked, cli, nowhere, read, run, servers_alone
from tests.workflows.desk import until

__all__ = ["cli", "nowhere", "servers_alone"]

CALENDAR = WATER.policy.calendar
HALF = half_year_before(CALENDAR, datetime.now(UTC) - timedelta(days=10))
TODAY = local(CALENDAR, datetime.now(UTC)).date().isoformat()
OF_WATER = ("--policy", "water")


def test_help_names_the_verbs_of_assessments() -> None:
    assert " assessment " in run("--help").stdout
    text = run("assessment", "--help").stdout
    assert " list " in text
    assert " run " in text


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("words", "starts"),
    [
        (("list", "--half", "2026", "--after", "x"), ["--half: ", "--after: "]),
        (("run", "--half", "H1", "--known-on", "May", *OF_WATER), ["--half: ", "--known-on: "]),
        (("run", "--half", "2188-H1", *OF_WATER), ["--half: 2188-H1 is not over yet"]),
    ],
)
def test_everything_wrong_with_what_is_asked_is_told_at_once(
    words: tuple[str, ...], starts: list[str]
) -> None:
    result = run("assessment", *words, "--json")
    assert result.exit_code == 2, result.stderr
    reasons = json.loads(result.stdout)["reasons"]
    assert len(reasons) == len(starts)
    assert all(r.startswith(s) for r, s in zip(reasons, starts, strict=True))


@pytest.mark.usefixtures("nowhere")
def test_a_policy_that_assesses_nobody_is_no_policy_for_a_run() -> None:
    result = run("assessment", "run", "--half", HALF.name, "--policy", "gas")
    assert result.exit_code == 2
    assert "assesses nobody" in result.stderr


async def overdue(temporal: Client, database: Database, task_queue: str, many: int) -> list[str]:
    """Accounts that an import brings now, overdue since before the half-year's end."""
    organisation = os.environ["STANDPIPE_ORGANISATION"]
    at = HALF.ended - timedelta(days=20)
    due = (at - timedelta(days=9)).date().isoformat()
    async with await open_pool(database.url()) as pool:
        log = LogReader(pool)
        cases = Cases(temporal, log, organisation, task_queue)
        names: list[str] = []
        for number in range(many):
            case = f"arrears-{uuid4().hex}"  # one's own: tests share Temporal
            about: dict[str, Any] = {"account": f"A-{number}", "premises": f"P-{number}"}
            opening: Json = {
                "id": "open-1",
                "actor": {"subject": "billing", "role": "service", "proof": "import"},
                "occurred_at": at.isoformat(),
                "body": {
                    **{"type": "OpenArrears", **OPEN, **about, "reader": "E-7"},
                    "bills": [{**BILL, "due": due}],
                },
            }
            await cases.open_with_history(case, WATER.policy.model_dump_json(), [opening])
            names.append(case)

        async def recorded() -> bool:
            return len(await log.recorded(organisation, names)) == many

        await until(recorded)
        return sorted(names)


async def test_a_half_year_is_run_listed_objected_to_and_run_again(
    cli: Cli, temporal: Client, database: Database, task_queue: str
) -> None:
    accounts = await overdue(temporal, database, task_queue, 3)
    half = ("--half", HALF.name)
    assert read(await cli("assessment", "list", "--json")) == {"assessments": [], "next": None}
    nothing = read(await cli("assessment", "run", *half, *OF_WATER, "--json"))
    assert (nothing["accounts"], nothing["readers"]) == (0, 0)

    known = (*half, *OF_WATER, "--known-on", TODAY)
    done = read(await cli("assessment", "run", *known, "--json"))
    assert (done["accounts"], done["readers"], done["opened"], done["stood"]) == (3, 1, 1, 0)
    (listed,) = read(await cli("assessment", "list", *half, "--json"))["assessments"]
    assert (listed["reader"], listed["counted"], listed["amount"]) == ("E-7", 3, 600)

    why = ("--ground", "vacant", "--evidence", "photo/1")
    asked_for = await asked(
        cli, listed["case_id"], "RequestExclusion", "--accounts", accounts[0], *why
    )
    assert asked_for["outcome"]["events"][0] == "ExclusionRequested"
    for approval, role in (("confirmation-1", "station_head"), ("exclusion-1", "division_head")):
        (waiting,) = read(await cli("approvals", "--role", role, "--json"))["approvals"]
        assert (waiting["case_id"], waiting["id"]) == (listed["case_id"], approval)
        who = ("--as", f"{role}-1".replace("_", "-"), "--role", role, "--yes")
        read(await cli("approve", listed["case_id"], approval, *who, "--json"))
    again = await cli("assessment", "run", *known)
    assert again.exit_code == 0, again.stderr
    assert "opened: 0; stood already: 1" in " ".join(again.stdout.split())
    (listed,) = read(await cli("assessment", "list", "--json"))["assessments"]
    assert (listed["excluded"], listed["counted"], listed["amount"]) == (1, 2, 400)
    shown = await cli("assessment", "list", *half)
    assert "CNY 4.00" in shown.stdout
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    rebuilt = read(await cli("rebuild", "--json"))
    assert rebuilt["differences"] == []


async def test_where_no_worker_runs_the_run_says_so_and_begins_later(
    servers_alone: Cli, monkeypatch: pytest.MonkeyPatch, temporal: Client
) -> None:
    monkeypatch.setattr(output, "WORKER_SECONDS", 1.0)
    for words in (
        ("assessment", "run", "--half", HALF.name, *OF_WATER),
        ("satisfaction", "--enter", "month", *OF_WATER),
    ):
        result = await servers_alone(*words, "--json")
        assert result.exit_code == 3, result.stderr
        assert "`standpipe worker` run?" in " ".join(result.stderr.split())


async def test_a_months_satisfaction_is_entered_by_hand_and_counts_once(cli: Cli) -> None:
    first = read(await cli("satisfaction", "--enter", "month", "--json"))["entered"]
    assert first["accepted"]
    assert "MonthReported" in first["events"]
    again = await cli("satisfaction", "--enter", "month")
    assert again.exit_code == 0, again.stderr
    assert "nothing new" in again.stdout
    year = read(await cli("satisfaction", "--enter", "year", "--json"))["entered"]
    assert year["events"] == ["YearRanked"]
    day = read(await cli("satisfaction", "--enter", "day", "--json"))["entered"]
    assert day["events"] == ["SampleDrawn"]
    assert read(await cli("satisfaction", "--json"))["entered"] is None
    wrong = await cli("satisfaction", "--enter", "week", "--json")
    assert wrong.exit_code == 2
    assert json.loads(wrong.stdout)["reasons"] == ["--enter: one of day, month, year"]
