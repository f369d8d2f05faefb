"""Cutoffs on the command line: on real servers, from the reminder to the rebuilt stop register."""

import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from temporalio.client import Client

from activities.cases import Cases
from activities.database import open_pool
from activities.log_reader import LogReader
from schemas.calendar import WEEKDAYS
from schemas.envelope import Json
from tests.conftest import Database
from tests.lifecycles.arrears_cases import OPEN
from tests.lifecycles.repair_cases import WATER
from tests.test_cli import REPORT, Cli, asked, cli, nowhere, read, run, servers_alone

__all__ = ["cli", "nowhere", "servers_alone"]

CASE = "arrears-1"
SHANGHAI = ZoneInfo("Asia/Shanghai")
CREW = ("--crew", "k-7")
BY_CREW = (*CREW, "--as", "k-7", "--role", "crew")


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def always() -> str:
    """The water policy, but supply may be stopped whenever these tests run."""
    content: Any = WATER.policy.model_dump(mode="json")
    every = {day: ["00:00-24:00"] for day in WEEKDAYS}
    content["calendar"] |= {"week": every, "holidays": [], "workdays": [], "version": "always"}
    content["arrears"]["permit"] |= {"hours": "00:00-24:00", "protected_seasons": []}
    return json.dumps(content)


class Debt(NamedTuple):
    """An account that is overdue, and the command line."""

    case: str
    cli: Cli
    log: LogReader

    async def do(self, name: str, *words: str) -> Json:
        return await asked(self.cli, self.case, name, *words)

    async def refused(self, *words: str) -> list[str]:
        result = await self.cli(*words, "--json")
        assert result.exit_code == 1, result.stdout
        answer = json.loads(result.stdout)
        assert answer["error"] == "refused"
        return answer["reasons"]

    async def read(self, *words: str) -> Any:
        return read(await self.cli(*words, "--json"))

    async def chased(self) -> None:
        """Reminded twice, served notice, and authorised."""
        for day in (29, 28):
            evidence = ("--how", "phone", "--evidence", f"call/{day}")
            await self.do("RecordContact", *evidence, "--occurred-at", ago(day))
        notice = ("--how", "door", "--proof", "photo/1", "--occurred-at", ago(20))
        await self.do("ServeNotice", *notice)
        await self.do("AuthoriseCutoff", "--as", "boss-1", "--role", "supervisor")

    async def scheduled(self) -> None:
        """A visit is due now, and ends with the local day at the latest."""
        await self.chased()
        now = datetime.now(SHANGHAI)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        start = max(midnight, now - timedelta(hours=1))
        end = min(midnight + timedelta(days=1), now + timedelta(hours=1))
        window = ("--start", start.isoformat(), "--end", end.isoformat())
        await self.do("ScheduleVisit", *CREW, *window)


@pytest.fixture
async def debt(
    request: pytest.FixtureRequest,
    cli: Cli,
    temporal: Client,
    database: Database,
    task_queue: str,
) -> AsyncIterator[Debt]:
    """An account of its own; a test may say what is particular about it."""
    organisation = os.environ["STANDPIPE_ORGANISATION"]
    async with await open_pool(database.url()) as pool:
        log = LogReader(pool)
        bills = [{"bill": "B-1", "amount": 8000, "due": "2026-01-31"}]
        opening = {
            "id": "open-1",
            "actor": {"subject": "billing", "role": "service", "proof": "local"},
            "occurred_at": ago(30),
            "body": {
                **{"type": "OpenArrears", **OPEN, "bills": bills, "reader": "r-1"},
                **getattr(request, "param", {}),
            },
        }
        cases = Cases(temporal, log, organisation, task_queue)
        # One's own: tests share Temporal.
        case = f"arrears-{uuid4().hex}"
        await cases.open(case, always(), opening)
        yield Debt(case, cli, log)


# Without servers


def test_help_names_the_verbs_of_cutoffs() -> None:
    text = run("--help").stdout
    for verb in ("permit", "dossier", "stops", "part-payments"):
        assert f" {verb} " in text


@pytest.mark.usefixtures("nowhere")
def test_everything_wrong_with_asking_for_a_permit_is_told_at_once() -> None:
    result = run("permit", "repair-1", "--crew", "K 7!", "--role", "boss", "--as", "a b", "--json")
    assert result.exit_code == 2
    case, crew, who, role = json.loads(result.stdout)["reasons"]
    assert case == "CASE: name an arrears case, such as arrears-1f2e3d."
    assert crew.startswith("--crew: must be a staff number, crew or unit")
    assert who.startswith("--as: ")
    assert role.startswith("--role: one of ")
    assert "K 7" not in result.stderr


@pytest.mark.usefixtures("nowhere")
def test_registers_and_dossiers_say_all_that_is_wrong_with_what_is_asked() -> None:
    for verb in ("stops", "part-payments"):
        result = run(verb, "--case", "repair-1", "--after", "yesterday", "--json")
        assert result.exit_code == 2
        case, after = json.loads(result.stdout)["reasons"]
        assert case.startswith("--case: name an arrears case")
        assert after.startswith("--after: give the `next`")
    assert run("dossier", "complaint-1").exit_code == 2
    for words in (("permit", CASE, *CREW), ("dossier", CASE), ("stops",), ("part-payments",)):
        assert run(*words).exit_code == 3


def test_a_policy_shows_when_supply_may_be_stopped() -> None:
    result = run("policy", "show", "water")
    text = re.sub(r"\s+", " ", result.stdout)
    for line in (
        "Arrears and cutoff (欠费停供)",
        "Chased from CNY 50.00 on, not below",
        "A permit (停供许可) lives 10 min, on a look into the log of the last 1 min",
        "Stops only from 09:00 to 15:00, with 1 working day after; never from 12-01 to 02-29",
        "Written approval by the division head: from DN40 on",
        "supply is restored for: medical, payment plan, vulnerable",
    ):
        assert line in text, line


# On real servers


async def test_a_refused_permit_lists_every_condition_that_fails(debt: Debt) -> None:
    reasons = await debt.refused("permit", debt.case, *CREW)
    assert len(reasons) >= 5
    told = " ".join(reasons)
    for why in ("(WAT-C1)", "(WAT-C2)", "Have a supervisor authorise", "Come within the time"):
        assert why in told
    drawn = await debt.cli("permit", debt.case, *CREW)
    assert drawn.exit_code == 1
    assert drawn.stderr.count("  - ") == len(reasons)
    shown = await debt.read("case", "show", debt.case)
    assert shown["state"]["permits"] == []


async def test_a_repair_on_the_premises_is_seen_in_the_log_and_named(debt: Debt) -> None:
    await debt.scheduled()
    repair = read(await debt.cli(*REPORT, "--premises", "P-1", "--json"))["case_id"]
    reasons = await debt.refused("permit", debt.case, *CREW)
    assert any(f"or the same valve end: {repair}." in why for why in reasons), reasons


async def test_a_supply_is_stopped_on_a_permit_reopened_paid_and_restored(
    debt: Debt, database: Database, tmp_path: Path
) -> None:
    await debt.scheduled()
    issued = await debt.read("permit", debt.case, *CREW, "--id", "ask-1")
    assert 500 < issued["seconds_left"] <= 600
    permit = issued["permit"]
    assert permit["state"] == "issued"
    assert all(guard["holds"] for guard in permit["guards"])
    again = await debt.cli("permit", debt.case, *CREW, "--id", "ask-1")
    assert again.exit_code == 0
    assert "minutes left" in again.stdout
    assert permit["permit"] in again.stdout
    assert f"standpipe command {debt.case} RecordValveClosed" in again.stdout
    other = await debt.cli("permit", debt.case, "--crew", "k-8", "--id", "ask-1")
    assert other.exit_code == 2
    assert "another permit was issued under it" in other.stderr
    assert await debt.refused("permit", debt.case, *CREW)  # one at a time

    await debt.read("dossier", debt.case, "--out", str(tmp_path / "before"))
    closed = ("--permit", permit["permit"], "--valve", "V-1", "--seal", "S-1", "--reading", "120")
    await debt.do("RecordValveClosed", *closed, *BY_CREW)
    over = await debt.cli("permit", debt.case, *CREW, "--id", "ask-1")
    assert over.exit_code == 1
    assert "is redeemed: leave the valve as it is" in over.stdout
    (stop,) = (await debt.read("stops", "--open"))["stops"]
    assert (stop["case_id"], stop["account"], stop["premises"]) == (debt.case, "A-1", "P-1")
    assert (stop["permitted"], stop["restored_at"]) == (True, None)
    assert "not restored" in (await debt.cli("stops")).stdout

    out = tmp_path / "files" / "deep"
    answer = await debt.read("dossier", debt.case, "--out", str(out))
    assert answer["dossier"]["complete"] is True
    data, page = (Path(file) for file in answer["files"])
    assert json.loads(data.read_text())["stops"] == answer["dossier"]["stops"]
    assert "Every closing of a valve is proven." in page.read_text()
    told = (await debt.cli("dossier", debt.case, "--out", str(out))).stdout
    assert "Temporary stop" in told
    assert "proven" in told
    await matches_the_log(debt, answer["dossier"])

    await debt.do("ReportSelfReopened", "--evidence", "photo/open")
    paid = ("--currency", "CNY", "--paid-at", ago(0.0001))
    await debt.do("RecordPayment", "--payment", "pay-1", "--amount", "100", *paid)
    await debt.do("RecordPayment", "--payment", "pay-2", "--amount", "7900", *paid)
    (part,) = (await debt.read("part-payments"))["part_payments"]
    assert (part["payment"], part["amount"], part["currency"]) == ("pay-1", 100, "CNY")
    assert "CNY 1.00" in (await debt.cli("part-payments", "--case", debt.case)).stdout
    await debt.do("RecordReconnected", *BY_CREW, "--seal-removed", "S-1", "--reading", "121")
    assert (await debt.read("stops", "--open"))["stops"] == []
    assert (await debt.cli("stops", "--open")).stdout == "No supply is stopped.\n"
    (stop,) = (await debt.read("stops", "--case", debt.case, "--limit", "1"))["stops"]
    assert stop["reopened_at"] < stop["restored_at"]
    following = (await debt.read("stops", "--limit", "1"))["next"]
    assert (await debt.read("stops", "--after", following))["stops"] == []

    assert (await debt.read("rebuild"))["differences"] == []
    admin = await asyncpg.connect(database.admin_url)
    await admin.execute("UPDATE standpipe.cases SET stops = '[]', part_payments = '[]'"
                        " WHERE case_id = $1", debt.case)  # fmt: skip
    await admin.close()
    result = await debt.cli("rebuild", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)["differences"]
    assert {d["column"] for d in found} == {"stops", "part_payments"}
    assert (await debt.read("stops"))["stops"] == [stop]


async def matches_the_log(debt: Debt, dossier: Json) -> None:
    """Every event of the dossier is the log's: place, identity, type and actor."""
    events = await debt.log.read_stream(os.environ["STANDPIPE_ORGANISATION"], debt.case)
    assert [
        (e["version"], e["position"], e["event_id"], e["type"], e["actor"]["subject"])
        for e in dossier["events"]
    ] == [(e.version, e.position, str(e.event_id), e.type, e.actor.subject) for e in events]


async def test_a_closing_without_a_permit_is_an_incident_in_register_and_dossier(
    debt: Debt, tmp_path: Path
) -> None:
    closed = ("--valve", "V-1", "--seal", "S-1", "--reading", "120")
    await debt.do("RecordValveClosed", *closed, *BY_CREW)
    assert "WITHOUT a permit" in (await debt.cli("stops")).stdout
    answer = await debt.read("dossier", debt.case, "--out", str(tmp_path))
    assert answer["dossier"]["complete"] is False
    assert answer["dossier"]["stops"][0]["incident"]["type"] == "UnpermittedCut"
    told = await debt.cli("dossier", debt.case, "--out", str(tmp_path))
    assert told.exit_code == 0
    assert "No permit covered this closing" in re.sub(r"\s+", " ", told.stdout)


async def test_a_dossier_that_cannot_be_written_says_so(debt: Debt, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    result = await debt.cli("dossier", debt.case, "--out", str(tmp_path / "taken" / "deep"))
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    unknown = await debt.cli("dossier", "arrears-nowhere", "--out", str(tmp_path))
    assert unknown.exit_code == 1
    assert "There is no case arrears-nowhere" in unknown.stderr
