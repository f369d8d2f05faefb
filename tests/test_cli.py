"""The command line as people and scripts use it: on real servers, and where none runs."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from temporalio.client import Client
from typer.testing import CliRunner, Result

from activities.database import open_pool
from activities.event_log import EventLog
from activities.role_passwords import verifier
from cli import app
from gateway.terminal import output
from schemas.envelope import Json
from schemas.premises import premises_id
from stack import Endpoints
from tests.conftest import Database
from tests.workflows.desk import until
from worker import build_worker

ROOT = Path(__file__).parents[1]
CUSTOMER = {"name": "Ouyang Xiaoming", "phone": "13912345678", "address": "77 Plum Alley"}
PERSONAL = (*CUSTOMER.values(), "Ouyang", "Plum", "barking dog")
REPORT = (
    *("repair", "report", "--channel", "phone", "--category", "no-gas", "--district", "north"),
    *(word for name, value in CUSTOMER.items() for word in (f"--{name}", value)),
)
COMPLAINT = (
    *("complaint", "register", "--channel", "phone", "--about", "staff", "--category", "attitude"),
    *("--district", "north", "--accused", "s-1041:s-2001"),
    *("--name", CUSTOMER["name"], "--phone", CUSTOMER["phone"]),
)

Cli = Callable[..., Awaitable[Result]]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def read(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing runs here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
async def servers_alone(
    monkeypatch: pytest.MonkeyPatch,
    nowhere: Path,
    servers: Endpoints,
    database: Database,
    task_queue: str,
) -> Cli:
    """The command line on real servers; it runs in a thread, with a loop of its own."""
    for name, value in {
        "STANDPIPE_DATABASE_URL": database.url(),
        "STANDPIPE_ADMIN_DATABASE_URL": database.admin_url,
        "STANDPIPE_KEY": base64.b64encode(os.urandom(32)).decode(),
        "STANDPIPE_TASK_QUEUE": task_queue,
        # One's own: tests share Temporal, where the same report is the same case.
        "STANDPIPE_ORGANISATION": f"t-{uuid4().hex[:20]}",
        "TEMPORAL_ADDRESS": servers.temporal_address,
    }.items():
        monkeypatch.setenv(name, value)

    async def cli(*words: str) -> Result:
        return await asyncio.to_thread(run, *words)

    return cli


@pytest.fixture
async def cli(
    servers_alone: Cli, temporal: Client, database: Database, task_queue: str
) -> AsyncIterator[Cli]:
    """The same with a worker."""
    pool = await open_pool(database.url())
    organisation = os.environ["STANDPIPE_ORGANISATION"]
    async with build_worker(
        temporal, EventLog(pool), organisation=organisation, task_queue=task_queue
    ):
        yield servers_alone
    await pool.close()


async def reported(cli: Cli, *more: str) -> Json:
    return read(await cli(*REPORT, *more, "--json"))


async def asked(cli: Cli, case: str, *words: str) -> Json:
    return read(await cli("command", case, *words, "--json"))


# Without servers


def test_help_names_every_verb_and_the_exit_codes() -> None:
    text = run("--help").stdout
    verbs = "up demo worker migrate recover case repair complaint command approvals approve reject"
    more = "staff satisfaction import rehearse worklist outbox refusals party rebuild policy"
    for verb in (*verbs.split(), *more.split()):
        assert f" {verb} " in text
    assert "0 done; 1 refused, failed, or differences found; 2 wrong input; 3" in text


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    "words",
    [
        ("case", "list"),
        ("case", "show", "repair-1"),
        ("case", "watch", "repair-1"),
        ("command", "repair-1"),
        ("command", "repair-1", "TakeCase"),
        REPORT,
        ("outbox",),
        ("refusals",),
        ("worklist",),
        ("party", "show", "party-1"),
        COMPLAINT,
        ("approvals", "--role", "supervisor"),
        ("approve", "complaint-1", "extension-1", "--yes"),
        ("staff", "show", "s-1041"),
        ("satisfaction",),
        ("rebuild",),
        ("recover",),
        ("worker",),
        ("migrate",),
    ],
)
def test_where_nothing_runs_one_sentence_says_how_to_start_it(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr == (
        "Unreachable: Nothing runs in .standpipe: start it with `standpipe up`.\n"
    )


@pytest.mark.usefixtures("nowhere")
def test_everything_wrong_with_a_report_is_told_at_once_and_nothing_typed_is_repeated() -> None:
    result = run(
        *("repair", "report", "--channel", "pigeon", "--category", "No Gas!", "--party", "ouyang"),
        *("--name", CUSTOMER["name"], "--severity", "huge", "--role", "boss", "--json"),
        *("--occurred-at", "2026-05-01T08:00:00", "--as", "Ouyang Xiaoming"),
    )
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert answer["error"] == "wrong_input"
    about = ("channel", "category", "district", "severity", "party", "role", "occurred-at", "as")
    for option in about:
        assert sum(r.startswith(f"--{option}: ") for r in answer["reasons"]) >= 1, option
    assert "--occurred-at: a time with its zone, for example" in result.stderr
    for word in ("pigeon", "No Gas", "huge", "boss", *PERSONAL):
        assert word.lower() not in result.stderr.lower()


def test_a_name_without_quotes_is_not_repeated_either() -> None:
    result = run("repair", "report", "--channel", "phone", "--name", "Ouyang", "Xiaoming")
    assert result.exit_code == 2
    assert "put a value with spaces into quotes" in result.stderr
    assert "Xiaoming" not in result.stderr
    for words in (("case", "list", "--limit", "Ouyang"), ("case", "list", "--stage=Ouyang")):
        result = run(*words)
        assert result.exit_code == 2
        assert "Ouyang" not in result.stderr


def test_a_command_that_there_is_not_suggests_near_ones_beside_all_else_that_is_wrong() -> None:
    result = run("command", "REPAIR 1", "RecordArival", "--role", "boss", "--json")
    assert result.exit_code == 2
    case, name, role = json.loads(result.stdout)["reasons"]
    assert case.startswith("CASE: must look like repair-1f2e3d")
    assert "did you mean RecordArrival" in name
    assert role.startswith("--role: one of service, clerk, crew")


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        (
            ("RecordNoAccess", "--crew", "k 1", "--colour", "red"),
            [
                "--crew: must be a staff number, crew or unit",
                "--reason: missing; give a word from a code list",
                "--evidence: missing; give where it is kept",
                "--colour: no field of RecordNoAccess, which has --crew, --reason, --evidence",
            ],
        ),
        (
            ("hand-over-case", "--to.kind", "robot"),
            [
                "--to.kind: must be one of person, unit, role",
                "--to.id: missing",
                "--reason: missing",
            ],
        ),
        (("CompleteRepair", "valve"), ["a value stands alone", "--work: missing"]),
        (("RecordCallback", "--party"), ["--party: give it a value", "--party: missing", "--res"]),
        (("TakeCase", "--json-body", '{"crew": "k-1"}'), ["--crew: no field of TakeCase"]),
    ],
)
def test_every_wrong_field_is_told_with_what_would_be_right(
    words: tuple[str, ...], reasons: list[str]
) -> None:
    result = run("command", "repair-1", *words, "--json")
    assert result.exit_code == 2
    told = json.loads(result.stdout)["reasons"]
    assert len(told) == len(reasons)
    for reason, start in zip(told, reasons, strict=True):
        assert reason.startswith(start)


def test_a_case_of_no_kind_that_there_is_and_an_empty_remark_are_wrong_input() -> None:
    result = run("command", "enquiry-1", "TakeCase", "--remark", " ", "--json")
    assert result.exit_code == 2
    remark, case = json.loads(result.stdout)["reasons"]
    assert remark.startswith("--remark: give some text")
    assert case.startswith("CASE: must look like repair-1f2e3d")


@pytest.mark.parametrize(
    ("words", "starts"),
    [
        (("approvals", "--role", "boss", "--case", "x"), ["--role: one of", "--case: must look"]),
        (
            ("reject", "case 1", "Extension!", "--as", "s 1"),
            ["CASE: must", "APPROVAL: must be a word", "--as: a staff", "--reason: missing"],
        ),
        (("staff", "show", "Ouyang Xiaoming"), ["NUMBER: letters"]),
        (("satisfaction", "--since", "2026-13", "--until", "May"), ["--since: ", "--until: "]),
        (("case", "list", "--kind", "parrot", "--stage", "Dead"), ["--kind: one", "--stage: one"]),
    ],
)
def test_every_wrong_word_of_the_newer_verbs_is_told_too(
    words: tuple[str, ...], starts: list[str]
) -> None:
    result = run(*words, "--json")
    assert result.exit_code == 2
    reasons = json.loads(result.stdout)["reasons"]
    assert len(reasons) == len(starts), reasons
    for reason, start in zip(reasons, starts, strict=True):
        assert reason.startswith(start)
    assert "Ouyang" not in result.stderr


@pytest.mark.parametrize("body", ["{", "[1]", '"x"'])
def test_a_body_that_is_no_object_is_wrong_input(body: str) -> None:
    result = run("command", "repair-1", "TakeCase", "--json-body", body)
    assert result.exit_code == 2
    assert result.stderr.startswith("Wrong input: --json-body ")


@pytest.mark.usefixtures("nowhere")
def test_a_wrong_setting_is_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDPIPE_ORGANIZATION", "town")
    result = run("case", "list")
    assert result.exit_code == 2
    assert "STANDPIPE_ORGANIZATION: no such setting" in result.stderr


def test_a_policy_is_shown_and_checked_as_a_whole(tmp_path: Path) -> None:
    shown = read(run("policy", "show", "gas", "--json"))
    good = ROOT / "policies" / "gas.toml"
    assert read(run("policy", "check", str(good), "--json"))["hash"] == shown["hash"]
    assert shown["policy"]["name"] == "gas"
    bad = tmp_path / "bad.toml"
    bad.write_text(good.read_text().replace('"PT6H"', '"soon"').replace("no_access_limit", "limit"))
    result = run("policy", "check", str(bad))
    assert result.exit_code == 2
    assert "duration" in result.stderr
    assert "repair.limit" in result.stderr


def test_a_rehearsal_answers_in_the_promised_shape() -> None:
    file = str(ROOT / "tests" / "data" / "leaks-repaired.csv")
    answer = read(run("rehearse", "repairs", file, "--policy", "gas", "--json"))
    assert {"cases", "rejected", "rules"} <= answer.keys()
    for outcome in answer["rules"].values():
        assert {"kept", "broken"} <= outcome.keys()
    drawn = run("rehearse", "repairs", file, "--policy", "gas", "--against", "gas")
    assert drawn.exit_code == 0
    assert "0 cases come out otherwise" in drawn.stdout


def test_a_file_that_is_no_filing_is_wrong_input(tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text("name,phone\nOuyang,139\n")
    result = run("rehearse", "repairs", str(file), "--policy", "gas")
    assert result.exit_code == 2
    assert "the header lacks: " in result.stderr
    assert "Ouyang" not in result.stderr


# On real servers


async def test_a_case_on_premises_says_so_and_they_tell_what_is_open_on_them(cli: Cli) -> None:
    repair = (await reported(cli, "--premises", "P-1"))["case_id"]
    complaint = read(await cli(*COMPLAINT, "--premises", "p-1", "--json"))["case_id"]
    assert "premises P-1" in (await cli("case", "show", repair)).stdout
    assert "premises p-1" in (await cli("case", "show", complaint)).stdout
    place = premises_id(os.environ["STANDPIPE_ORGANISATION"], "P-1")

    async def both_are_there() -> bool:
        return {repair, complaint} <= set((await cli("case", "show", place)).stdout.split())

    await until(both_are_there)
    refused = await cli("command", place, "RecordPresence")
    assert refused.exit_code == 2
    assert "cases alone speak to premises" in refused.stderr


async def test_personal_data_is_shown_by_the_vault_and_by_nothing_else(cli: Cli) -> None:
    opened = await reported(cli, "--remarks", "barking dog", "--special-care")
    case, party = opened["case_id"], opened["party_id"]
    await asked(cli, case, "TriageRepair", "--category", "no-gas", "--severity", "common")
    await asked(cli, case, "DispatchCrew", "--crew", "crew-7")
    await asked(cli, case, "AcceptJob", "--crew", "crew-7", "--remark", "barking dog, ring Ouyang")
    outputs = [
        await cli(*words)
        for words in (
            ("case", "list"),
            ("case", "list", "--json"),
            ("case", "show", case),
            ("case", "show", case, "--json"),
            ("outbox",),
            ("outbox", "--json"),
            ("worklist", "--json"),
            ("command", case),
            ("refusals",),
        )
    ]
    for result in outputs:
        assert result.exit_code == 0
        for word in PERSONAL:
            assert word not in result.stdout + result.stderr
    kept = read(await cli("party", "show", party, "--json"))
    assert {name: kept[name] for name in CUSTOMER} == CUSTOMER
    assert kept["special_care"] is True
    assert [note["text"] for note in kept["notes"]] == ["barking dog, ring Ouyang"]
    shown = read(await cli("case", "show", case, "--json"))
    assert shown["state"]["priority"] is True

    assert read(await cli("party", "erase", party, "--yes", "--json"))["party_id"] == party
    gone = await cli("party", "show", party)
    assert gone.exit_code == 1
    assert "was erased" in gone.stderr


async def test_a_refused_report_leaves_nothing_behind(cli: Cli, database: Database) -> None:
    for words in (
        (*REPORT, "--category", "earthquake"),
        REPORT[:-2],  # no address
        (*REPORT, "--occurred-at", "2999-01-01T00:00:00Z"),
    ):
        result = await cli(*words, "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["error"] == "refused"
        for word in PERSONAL:
            assert word not in result.stdout + result.stderr
    connection = await asyncpg.connect(database.admin_url)
    counts = [
        await connection.fetchval(f"SELECT count(*) FROM standpipe.{table}")
        for table in ("parties", "streams", "events")
    ]
    await connection.close()
    assert counts == [0, 0, 0]


async def test_a_known_customer_reports_again_under_the_same_party(cli: Cli) -> None:
    party = (await reported(cli))["party_id"]
    again = read(await cli(*REPORT[:8], "--party", party, "--json"))
    assert again["party_id"] == party
    unknown = await cli(*REPORT[:8], "--party", "party-nobody")
    assert unknown.exit_code == 1
    assert "The vault knows no party-nobody." in unknown.stderr


async def test_the_same_id_is_done_once_and_never_with_other_content(cli: Cli) -> None:
    first, again = [await reported(cli, "--id", "call-1") for _ in range(2)]
    assert (first["case_id"], first["outcome"]) == (again["case_id"], again["outcome"])
    other = await cli(*REPORT, "--id", "call-1", "--district", "south")
    assert other.exit_code == 1
    moved = await cli(*REPORT, "--id", "call-1", "--address", "78 Plum Alley")
    assert moved.exit_code == 1
    assert "under a new id" in moved.stderr
    kept = read(await cli("party", "show", first["party_id"], "--json"))
    assert kept["address"] == CUSTOMER["address"]

    case = first["case_id"]
    once, twice = [await asked(cli, case, "TakeCase", "--id", "t-1") for _ in range(2)]
    assert once["outcome"] == twice["outcome"]
    assert (
        await cli("command", case, "CancelRepair", "--reason", "x", "--id", "t-1")
    ).exit_code == 1


async def test_a_case_tells_which_commands_it_takes_now_and_their_fields(cli: Cli) -> None:
    case = (await reported(cli))["case_id"]
    now = await asked(cli, case)
    assert now["stage"] == "Reported"
    names = {c["name"]: c["fields"] for c in now["possible"]}
    assert "TriageRepair" in names
    assert "CompleteRepair" not in names
    assert "ReportRepair" not in names
    category, severity = names["TriageRepair"]
    assert (category["option"], category["required"]) == ("--category", True)
    assert severity["form"] == "minor|common|major|hazard"
    drawn = (await cli("command", case)).stdout
    assert "--category WORD --severity minor|common|major|hazard" in drawn


async def test_what_the_stage_does_not_allow_is_refused_with_every_reason(cli: Cli) -> None:
    case = (await reported(cli))["case_id"]
    refused = await cli(
        *("command", case, "CompleteRepair", "--work", "valve"),
        *("--occurred-at", "2999-01-01T00:00:00Z", "--json"),
    )
    assert refused.exit_code == 1
    answer = json.loads(refused.stdout)
    assert answer["error"] == "refused"
    assert any("future" in r for r in answer["reasons"])
    assert any("possible now: TriageRepair" in r for r in answer["reasons"])
    assert (await asked(cli, case, "TakeCase"))["outcome"]["events"] == []
    nobody = await cli("command", "repair-nobody", "TakeCase")
    assert (nobody.exit_code, "There is no such case." in nobody.stderr) == (1, True)


async def test_a_watched_case_is_told_live_until_it_ends(cli: Cli) -> None:
    case = (await reported(cli))["case_id"]
    # A process of its own: two commands in one would share its standard output.
    watching = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "case", "watch", case, "--json"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert watching.stdout is not None
    first = await watching.stdout.readline()
    assert watching.returncode is None
    await asked(cli, case, "CancelRepair", "--reason", "mistake")
    rest, _ = await asyncio.wait_for(watching.communicate(), 30)
    assert watching.returncode == 0
    events = [json.loads(line) for line in (first + rest).splitlines()]
    assert [e["version"] for e in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "RepairReported"
    assert "RepairCancelled" in {e["type"] for e in events}


async def test_cases_are_listed_by_stage_and_district_and_page_by_page(cli: Cli) -> None:
    cases = sorted([(await reported(cli, "--district", d))["case_id"] for d in ("a", "b", "a")])
    first = read(await cli("case", "list", "--limit", "2", "--json"))
    assert [c["case_id"] for c in first["cases"]] == cases[:2]
    assert first["next"] == cases[1]
    rest = read(await cli("case", "list", "--after", cases[1], "--json"))
    assert [c["case_id"] for c in rest["cases"]] == cases[2:]
    assert rest["next"] is None
    assert len(read(await cli("case", "list", "--district", "a", "--json"))["cases"]) == 2
    await asked(cli, cases[0], "CancelRepair", "--reason", "mistake")
    open_ones = read(await cli("case", "list", "--open", "--json"))["cases"]
    assert [c["case_id"] for c in open_ones] == cases[1:]
    ended = read(await cli("case", "list", "--stage", "cancelled", "--json"))["cases"]
    assert [c["case_id"] for c in ended] == cases[:1]
    assert read(await cli("case", "list", "--late", "--json"))["cases"] == []


async def test_late_cases_are_those_that_still_owe_a_broken_promise(cli: Cli) -> None:
    late = (await reported(cli, "--occurred-at", "2026-01-05T08:00:00+08:00"))["case_id"]
    await reported(cli)
    found = read(await cli("case", "list", "--late", "--json"))["cases"]
    assert [c["case_id"] for c in found] == [late]
    assert read(await cli("worklist", "--json"))["cases"][0]["case_id"] == late


async def test_an_import_goes_on_where_it_was_interrupted_and_agrees_with_the_rehearsal(
    cli: Cli, nowhere: Path
) -> None:
    whole = ROOT / "tests" / "data" / "leaks-repaired.csv"
    part = nowhere / "part.csv"
    part.write_text("".join(whole.read_text().splitlines(keepends=True)[:3]))
    first = read(await cli("import", "repairs", str(part), "--policy", "gas", "--json"))
    assert first["opened"] == first["cases"] > 0
    rest = read(await cli("import", "repairs", str(whole), "--policy", "gas", "--json"))
    assert rest["known"] == first["cases"]
    again = read(await cli("import", "repairs", str(whole), "--policy", "gas", "--json"))
    assert (again["opened"], again["known"]) == (0, rest["cases"])
    rehearsed = read(await cli("rehearse", "repairs", str(whole), "--policy", "gas", "--json"))
    for key in ("cases", "rejected"):
        assert rest[key] == again[key] == rehearsed[key]
    counts = ("kept", "broken", "open", "cancelled", "escalations")
    for rule, outcome in rehearsed["rules"].items():
        assert {k: again["rules"][rule][k] for k in counts} == {k: outcome[k] for k in counts}
    rejects = nowhere / "leaks-repaired.rejects.csv"
    assert rejects.exists() == bool(rest["rejected"])


async def test_a_case_that_lost_its_workflow_is_taken_up_again(cli: Cli, temporal: Client) -> None:
    case = (await reported(cli))["case_id"]
    other = (await reported(cli))["case_id"]
    await temporal.get_workflow_handle(case).terminate("lost")
    assert read(await cli("recover", "--json")) == {"taken_up": 1, "running": 1}
    assert read(await cli("recover", "--json")) == {"taken_up": 0, "running": 2}
    assert (await asked(cli, case, "CancelRepair", "--reason", "x"))["outcome"][
        "stage"
    ] == "Cancelled"
    await temporal.get_workflow_handle(other).terminate("done")


async def test_a_rebuild_finds_what_was_changed_behind_the_log(
    cli: Cli, database: Database
) -> None:
    case = (await reported(cli))["case_id"]
    assert read(await cli("rebuild", "--json"))["differences"] == []
    connection = await asyncpg.connect(database.admin_url)
    await connection.execute("UPDATE standpipe.cases SET stage = 'Closed', final = true")
    await connection.close()
    result = await cli("rebuild", "--json")
    assert result.exit_code == 1
    found = {(d["case_id"], d["column"]) for d in json.loads(result.stdout)["differences"]}
    assert found == {(case, "stage"), (case, "final")}
    assert (await cli("rebuild")).exit_code == 0


async def test_without_a_worker_nobody_waits_for_ever(
    servers_alone: Cli, monkeypatch: pytest.MonkeyPatch, temporal: Client
) -> None:
    monkeypatch.setattr(output, "WORKER_SECONDS", 1.0)
    result = await servers_alone(*REPORT, "--id", "call-1", "--json")
    assert result.exit_code == 3, result.stderr
    assert "`standpipe worker` run?" in result.stderr
    assert "--id call-1" in result.stderr
    assert json.loads(result.stdout)["error"] == "unreachable"


async def test_a_worker_does_not_start_on_a_database_of_another_version(
    servers_alone: Cli, database: Database
) -> None:
    result = await servers_alone("migrate", "--json")
    assert read(result) == {"applied": [], "passwords": []}
    connection = await asyncpg.connect(database.admin_url)
    await connection.execute(
        "INSERT INTO standpipe.migrations (name, checksum) VALUES ('9999_future.sql', '')"
    )
    await connection.close()
    worker = await servers_alone("worker")
    assert worker.exit_code == 1
    assert "9999_future.sql of a newer Standpipe" in worker.stderr


def proves(password: str, stored: str) -> bool:
    salt = stored.split("$")[1].partition(":")[2]
    return stored == verifier(password, base64.b64decode(salt))


async def test_migrating_gives_roles_the_passwords_that_files_hold(
    servers_alone: Cli, database: Database, nowhere: Path
) -> None:
    (nowhere / "secret").write_text("pencil\n")
    done = await servers_alone("migrate", "--role-password", "standpipe_auditor=secret", "--json")
    assert read(done)["passwords"] == ["standpipe_auditor"]
    connection = await asyncpg.connect(database.admin_url)
    stored = "SELECT rolpassword FROM pg_authid WHERE rolname = $1"
    assert proves("pencil", await connection.fetchval(stored, "standpipe_auditor"))
    # What PostgreSQL itself makes of a password is proven in the same way.
    name = f"test_{uuid4().hex}"
    await connection.execute(f"CREATE ROLE {name} PASSWORD 'pencil'")
    assert proves("pencil", await connection.fetchval(stored, name))
    await connection.execute(f"DROP ROLE {name}")
    await connection.close()
    wrong = await servers_alone(
        *("migrate", "--role-password", "postgres=secret", "--role-password"),
        *("standpipe_worker=nowhere", "--role-password", "standpipe_gateway"),
    )
    assert wrong.exit_code == 2
    assert len(wrong.stderr.splitlines()) >= 3
    assert "pencil" not in done.stdout + done.stderr + wrong.stderr


def test_up_runs_until_sigterm_with_a_worker_and_keeps_its_data(nowhere: Path) -> None:
    with Running("up", "--port", "0", "--ui-port", "0", "--http-port", "0", "--json") as up:
        up.wait_for("stdout", '"pid"')
        opened = read(run(*REPORT, "--json"))
        with Running("up") as second:
            assert second.process.wait(30) == 1
            assert f"already running here (process {up.process.pid})" in second.said("stderr")
        with Running("worker") as worker:
            worker.wait_for("stderr", "A worker runs for town")
            assert worker.stopped(signal.SIGTERM) == 0
            assert "No checkpoint is signed" not in worker.said("stderr")
        signed = read(run("audit", "checkpoint", "--make", "--json"))
        assert signed["vkey"] == read(run("audit", "key", "--json"))["vkey"]
        assert signed["size"] > 0
        assert up.stopped(signal.SIGTERM) == 0, up.said("stderr")
        assert json.loads(up.said("stdout"))["pid"] == up.process.pid
        assert "Stopped. The data is kept" in up.said("stderr")
    assert run("case", "list").exit_code == 3

    with Running("up", "--port", "0", "--ui-port", "0", "--http-port", "0") as up:
        up.wait_for("stdout", "Ctrl-C")
        cases = read(run("case", "list", "--json"))["cases"]
        assert [c["case_id"] for c in cases] == [opened["case_id"]]
        taken = run("command", opened["case_id"], "CancelRepair", "--reason", "mistake", "--json")
        assert read(taken)["outcome"]["stage"] == "Cancelled"
        again = read(run("audit", "checkpoint", "--make", "--json"))
        assert again["size"] > signed["size"]
        assert again["vkey"] == signed["vkey"]
        assert Path(".standpipe/checkpoints/town/checkpoint").read_text() == again["note"]
        assert up.stopped(signal.SIGINT) == 0


class Running:
    """A `standpipe` process in the current directory, what it says in files beside."""

    def __init__(self, *words: str) -> None:
        self._files = {name: Path(f"{uuid4().hex}.{name}") for name in ("stdout", "stderr")}
        with self._files["stdout"].open("w") as out, self._files["stderr"].open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", *words],
                stdout=out,
                stderr=err,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def said(self, stream: str) -> str:
        return self._files[stream].read_text()

    def wait_for(self, stream: str, words: str) -> None:
        give_up = time.monotonic() + 60
        while words not in self.said(stream):
            assert self.process.poll() is None, self.said("stderr")
            assert time.monotonic() < give_up
            time.sleep(0.1)

    def stopped(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


async def test_after_rewrapping_only_the_new_key_opens_the_vault(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    party = read(await cli(*REPORT, "--json"))["party_id"]
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text(os.environ["STANDPIPE_KEY"])
    new.write_text(base64.b64encode(os.urandom(32)).decode())

    keys = ("--old-key-file", str(old), "--new-key-file", str(new))
    assert read(await cli("party", "rewrap", *keys, "--json")) == {"rewrapped": 1}

    assert "sealed under key" in (await cli("party", "show", party)).stderr
    monkeypatch.setenv("STANDPIPE_KEY", new.read_text())
    assert read(await cli("party", "show", party, "--json"))["name"] == CUSTOMER["name"]
