"""The command line with a gateway elsewhere: the same words, the same answers, other people."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from fastapi import Request
from typer.testing import CliRunner, Result

from activities.signing_keys import SigningKeys
from cli import app
from gateway import remote
from gateway.http.access import Principal, Unauthenticated
from gateway.http.app import build_app
from gateway.http.server import listening
from gateway.signing import create_key
from gateway.terminal import elsewhere
from settings import Settings, SettingsError
from tests.conftest import Database
from tests.gateway.http.conftest import idle_office, office, office_settings
from tests.gateway.http.office import Office
from tests.gateway.http.test_resources import asked
from tests.lifecycles.arrears_cases import OPEN
from tests.test_cli import COMPLAINT as REGISTER
from tests.test_cli import CUSTOMER, PERSONAL, REPORT, nowhere, read
from tests.test_cutoff_cli import always

__all__ = ["idle_office", "nowhere", "office", "office_settings"]

LOCAL = ("STANDPIPE_DATABASE_URL", "STANDPIPE_KEY", "STANDPIPE_TASK_QUEUE")


class Terminal:
    """A command line, by turns on the servers' own machine and elsewhere. It runs in a thread."""

    def __init__(self, url: str, here: dict[str, str], patch: pytest.MonkeyPatch) -> None:
        self._url = url
        self._here = here
        self._patch = patch

    async def here(self, *words: str) -> Result:
        for name in ("STANDPIPE_GATEWAY_URL", "STANDPIPE_GATEWAY_TOKEN"):
            self._patch.delenv(name, raising=False)
        for name, value in self._here.items():
            self._patch.setenv(name, value)
        return await self._run(words)

    async def there(self, *words: str, by: str = "clerk") -> Result:
        for name in self._here:
            self._patch.delenv(name, raising=False)
        self._patch.setenv("STANDPIPE_GATEWAY_URL", self._url)
        subject = f"{by.partition(',')[0]}-1"
        self._patch.setenv("STANDPIPE_GATEWAY_TOKEN", f"{subject}/{by}")
        return await self._run(words)

    async def read(self, *words: str, by: str = "clerk") -> Any:
        return read(await self.there(*words, "--json", by=by))

    async def refused(self, *words: str, by: str = "clerk") -> Any:
        result = await self.there(*words, "--json", by=by)
        assert result.exit_code == 1, (result.stdout, result.stderr)
        return json.loads(result.stdout)

    async def _run(self, words: tuple[str, ...]) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(words))


@pytest.fixture
async def terminal(
    office: Office, nowhere: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Terminal]:
    settings = office.session.settings
    assert settings.key is not None
    here = {
        "STANDPIPE_DATABASE_URL": database.url(),
        "STANDPIPE_KEY": settings.key.get_secret_value(),
        "STANDPIPE_TASK_QUEUE": settings.task_queue,
        "STANDPIPE_ORGANISATION": settings.organisation,
    }
    async with listening(office.app, "127.0.0.1", 0) as url:
        yield Terminal(url, here, monkeypatch)


def timeless(shown: Any) -> Any:
    """Without what depends on the moment at which it is shown."""
    if isinstance(shown, dict):
        moment = ("as_of", "margin_seconds", "text", "silence_text", "held")
        return {name: timeless(value) for name, value in shown.items() if name not in moment}
    return [timeless(value) for value in shown] if isinstance(shown, list) else shown


async def test_what_is_shown_elsewhere_is_what_is_shown_here(
    terminal: Terminal, office: Office
) -> None:
    waiting = await asked(office)
    case = await office.reported()
    await office.send(case, "TriageRepair", category="no-gas", severity="common")
    party = (await office.get(f"/v1/cases/{case}/timeline"))["state"]["party"]
    await office.http.get("/v1/outbox", headers={"Authorization": "Bearer crew-1/crew"})
    everything = "admin,supervisor,conduct_officer,clerk"
    for words in (
        *(("case", "list"), ("case", "list", "--limit", "1"), ("case", "show", case)),
        *(("case", "list", "--stage", "triaged", "--open"), ("case", "list", "--kind", "conduct")),
        *(("approvals",), ("approvals", "--case", waiting["case_id"], "--role", "supervisor")),
        *(("command", case), ("worklist",), ("outbox",), ("outbox", "--limit", "1")),
        *(("outbox", "--after", "2"), ("refusals",), ("party", "show", party)),
        *(("stops",), ("stops", "--open"), ("part-payments",), ("satisfaction",)),
        ("staff", "show", "s-1041"),
    ):
        here = await terminal.here(*words, "--json")
        there = await terminal.there(*words, "--json", by=everything)
        assert timeless(read(there)) == timeless(read(here)), words
        drawn = await terminal.there(*words, by=everything)
        assert drawn.exit_code == 0, drawn.stderr
        assert len(drawn.stdout.splitlines()) == len(
            (await terminal.here(*words)).stdout.splitlines()
        )


async def test_a_repair_is_reported_and_carried_on_from_elsewhere(terminal: Terminal) -> None:
    opened = await terminal.read(*REPORT, "--id", "call-1")
    case, party = opened["case_id"], opened["party_id"]
    again = await terminal.read(*REPORT, "--id", "call-1")
    assert again["case_id"] == case
    assert again["outcome"] == opened["outcome"]
    drawn = await terminal.there(*REPORT, "--id", "call-1")
    assert f"{case} is open. Its customer is {party}" in drawn.stdout
    assert "clerk-1" in drawn.stdout  # the event that this very command caused
    assert not [word for word in PERSONAL if word in drawn.stdout + drawn.stderr]

    triage = ("TriageRepair", "--category", "no-gas", "--severity", "common")
    remark = ("--remark", "Mind the dog.", "--id", "triage-1")
    at = datetime.now(UTC).isoformat()
    done = await terminal.read("command", case, *triage, *remark, "--occurred-at", at)
    assert done["outcome"]["stage"] == "Triaged"
    await terminal.read("command", case, *triage, *remark, "--occurred-at", at)
    actor = done["timeline"]["events"][-1]["actor"]
    assert actor == {"subject": "clerk-1", "role": "clerk", "proof": "token"}
    shown = await terminal.read("party", "show", party)
    assert shown["name"] == CUSTOMER["name"]
    assert [note["text"] for note in shown["notes"]] == ["Mind the dog."]

    cancelled = await terminal.there("command", case, "CancelRepair", "--reason", "mistake")
    assert "Cancelled" in cancelled.stdout
    watched = await terminal.there("case", "watch", case)
    assert watched.exit_code == 0, watched.stderr
    assert "The case has ended" in watched.stdout

    erased = await terminal.read("party", "erase", party, "--yes", by="admin")
    assert erased["party_id"] == party
    gone = await terminal.there("party", "show", party)
    assert gone.exit_code == 1
    assert "erased" in gone.stderr


async def test_a_case_is_watched_live_from_elsewhere(terminal: Terminal, office: Office) -> None:
    case = await office.reported()
    watching = asyncio.create_task(terminal.there("case", "watch", case, "--json"))
    await asyncio.sleep(2)
    await office.send(case, "CancelRepair", reason="mistake")
    async with asyncio.timeout(30):
        result = await watching
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [e["version"] for e in told] == list(range(1, len(told) + 1))
    assert "RepairCancelled" in {e["type"] for e in told}


async def test_an_informant_stays_sealed_from_elsewhere(terminal: Terminal) -> None:
    sealed = ("--confidential", "--seal-to", "division_head")
    opened = await terminal.read(*REGISTER, *sealed)
    asked = await terminal.there("party", "show", opened["party_id"])
    assert asked.exit_code == 1
    assert "sealed" in asked.stderr
    shown = await terminal.read("party", "show", opened["party_id"], by="division_head")
    assert shown["name"] == CUSTOMER["name"]


async def test_a_refusal_from_elsewhere_reads_as_one_here(
    terminal: Terminal, office: Office
) -> None:
    case = await office.reported()
    dispatch = ("command", case, "DispatchCrew", "--crew", "crew-7")
    here, there = await terminal.here(*dispatch), await terminal.there(*dispatch)
    assert (there.exit_code, there.stderr) == (here.exit_code, here.stderr)
    assert there.exit_code == 1
    for words in (
        ("case", "show", "repair-none"),
        ("approvals", "--case", "repair-none"),
        ("command", case, "DispatchCrew"),
        ("stops", "--after", "nonsense"),
    ):
        here, there = await terminal.here(*words), await terminal.there(*words)
        assert (there.exit_code, there.stderr) == (here.exit_code, here.stderr), words
        assert there.exit_code in (1, 2)
    take = ("command", case, "TakeCase", "--id", "once", "--json")
    assert (await terminal.there(*take)).exit_code == 0
    other = ("command", case, "TriageRepair", "--category", "no-gas", "--severity", "common")
    used = await terminal.refused(*other, "--id", "once")
    assert used["error"] == "refused"
    assert "used for another command" in used["message"]
    forbidden = await terminal.refused("refusals", by="crew")
    assert forbidden["error"] == "failed"
    assert "Only the role" in forbidden["reasons"][0]
    nobody = await terminal.read("staff", "show", "s-404", by="conduct_officer")
    assert nobody["file"] is None


async def test_an_approval_is_decided_from_elsewhere_by_whom_the_token_names(
    terminal: Terminal, office: Office
) -> None:
    waiting = await asked(office)
    place = (waiting["case_id"], waiting["id"])
    inbox = await terminal.there("approvals", by="supervisor")
    assert f"standpipe approve {place[0]} {place[1]}\n" in inbox.stdout
    no = await terminal.refused("reject", *place, "--yes", "--reason", "late", by="auditor")
    assert "Only the role" in no["reasons"][0]
    done = await terminal.read("approve", *place, "--yes", by="supervisor")
    assert "ApprovalGranted" in done["outcome"]["events"]
    assert done["timeline"]["events"][-1]["actor"]["subject"] == "supervisor-1"


async def test_a_cutoff_is_signed_here_for_a_gateway_elsewhere(
    terminal: Terminal, office: Office, tmp_path: Path
) -> None:
    office.app.state.policy = always()
    debt = {**OPEN, "party": None, "dn": 50, "occurred_at": ago(30)}
    case = (await office.done("/v1/arrears", debt, by="service"))["case_id"]
    for day in (29, 28):
        contact = {"how": "phone", "evidence": f"call/{day}", "occurred_at": ago(day)}
        await office.done(f"/v1/cases/{case}/commands/RecordContact", contact)
    notice = {"how": "door", "proof": "p/1", "occurred_at": ago(20)}
    await office.done(f"/v1/cases/{case}/commands/ServeNotice", notice)
    await office.done(f"/v1/cases/{case}/commands/RequestCutoff", {"reason": "unpaid"})
    file = tmp_path / "head.pem"
    key = create_key(file, None)
    enrolled = SigningKeys(office.session.pool)
    await enrolled.enrol(office.session.organisation, key, "division_head-1", "admin-1")

    approve = ("approve", case, "cutoff-1", "--yes", "--key", str(file))
    done = await terminal.read(*approve, by="division_head")
    assert done["outcome"]["stage"] == "Authorised"
    permit = await terminal.refused("permit", case, "--crew", "k-7", by="crew")
    assert permit["error"] == "refused"
    assert len(permit["reasons"]) > 1
    proven = await terminal.read("dossier", case, by="auditor")
    assert proven["dossier"]["case_id"] == case
    assert all(Path(file).exists() for file in proven["files"])


async def test_payments_are_imported_from_elsewhere_and_count_once(
    terminal: Terminal, office: Office, nowhere: Path
) -> None:
    pounds = json.loads(always())
    pounds["arrears"] |= {"currency": "GBP", "threshold": 100}
    office.app.state.policy = json.dumps(pounds)
    due = (datetime.now(UTC) - timedelta(days=20)).date()
    bills = [{"bill": "B-1", "amount": 9000, "due": due.isoformat()}]
    for account in ("C000001", "C000002"):
        debt = {**OPEN, "party": None, "account": account, "bills": bills}
        await office.done("/v1/arrears", {**debt, "currency": "GBP"}, by="service")
    paid = due + timedelta(days=3)
    (nowhere / "paid.csv").write_text(
        "customer_id,payment_date,amount,method\n"
        f"C000001,{paid},90.00,Cash\nC000002,{paid},1.00,Cash\nC000003,{paid},1.00,Cash\n"
    )
    done = await terminal.read("import", "payments", "paid.csv", by="service")
    assert (done["posted"], done["known"], done["settled"], done["rejected"]) == (2, 0, 1, 0)
    assert done["without_case"] == {"payments": 1, "accounts": ["C000003"]}
    again = await terminal.read("import", "payments", "paid.csv", by="service")
    assert (again["posted"], again["known"], again["changed"]) == (0, 2, False)
    forbidden = await terminal.refused("import", "payments", "paid.csv", by="auditor")
    assert "Only the role" in forbidden["reasons"][0]


def ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


async def test_who_acts_is_the_tokens_word_alone(terminal: Terminal, office: Office) -> None:
    case = await office.reported()
    for words in (
        ("command", case, "TakeCase", "--as", "boss-1"),
        ("command", case, "TakeCase", "--role", "clerk"),
        ("approve", case, "extension-1", "--role", "supervisor", "--yes"),
        ("permit", "arrears-1", "--crew", "k-7", "--as", "boss-1"),
        ("party", "show", "party-1", "--as", "boss-1"),
        (*REPORT, "--as", "boss-1"),
    ):
        result = await terminal.there(*words)
        assert result.exit_code == 2, words
        assert "the token says who you are" in " ".join(result.stderr.split()).replace("│ ", "")
        assert "boss-1" not in result.stderr
    policy = await terminal.there(*REPORT, "--policy", "water")
    assert policy.exit_code == 2
    assert "--policy: leave it out" in policy.stderr


@pytest.mark.parametrize(
    "words",
    [
        *(("up",), ("worker",), ("serve",), ("migrate",), ("recover",), ("rebuild",), ("demo",)),
        ("import", "arrears"),
        ("key", "enrol", "s-1", "x" * 43),
        ("webhook", "list"),
        ("assessment", "list"),
        ("party", "rewrap"),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_verbs_that_need_the_servers_say_so(
    words: tuple[str, ...], nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDPIPE_GATEWAY_URL", "https://gw.example.org")
    monkeypatch.setenv("STANDPIPE_GATEWAY_TOKEN", "t")
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 2, result.stderr
    assert "works on the servers themselves" in json.loads(result.stdout)["message"]
    assert list(nowhere.iterdir()) == []
    assert CliRunner().invoke(app, [*words[:2], "--help"]).exit_code == 0


def test_what_works_elsewhere_are_verbs_that_there_are() -> None:
    group: Any = typer.main.get_command(app)
    known: set[str] = set()
    for name, command in group.commands.items():
        below = getattr(command, "commands", None)
        known |= {name} if below is None else {f"{name} {verb}" for verb in below}
    assert known >= elsewhere.THERE | elsewhere.NOWHERE
    assert not elsewhere.THERE & elsewhere.NOWHERE


async def test_a_gateway_that_does_not_answer_or_know_one_is_told_in_a_sentence(
    terminal: Terminal, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        async def admit(self, token: str | None, request: Request) -> Principal:
            raise Unauthenticated("The token is over.")

    monkeypatch.setattr(remote, "PATIENCE", 0.5)
    async with listening(build_app(office.session, Closed()), "127.0.0.1", 0) as url:
        closed = await Terminal(url, {}, monkeypatch).there("case", "list")
    assert closed.exit_code == 1
    assert "does not take the token" in closed.stderr
    assert "The token is over." in closed.stderr
    gone = await Terminal(url, {}, monkeypatch).there("case", "list")
    assert gone.exit_code == 3
    assert "Check STANDPIPE_GATEWAY_URL" in gone.stderr
    assert "clerk-1" not in closed.stderr + gone.stderr


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"URL": "https://gw.example.org"}, "needs STANDPIPE_GATEWAY_TOKEN_FILE"),
        ({"TOKEN": "t"}, "needs STANDPIPE_GATEWAY_URL"),
        ({"URL": "http://gw.example.org", "TOKEN": "t"}, "must begin with https://"),
        ({"URL": "https://gw.example.org", "TOKEN": "t", "TOKEN_FILE": "f"}, "not both"),
        ({"URL": "https://gw.example.org", "TOKEN_FILE": "none"}, "cannot read none"),
    ],
)
@pytest.mark.usefixtures("nowhere")
def test_settings_that_lead_to_no_gateway_are_told(
    given: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"STANDPIPE_GATEWAY_{name}", value)
    with pytest.raises(SettingsError, match=told):
        Settings()


def test_a_token_is_read_anew_from_its_file(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = nowhere / "token"
    file.write_text("one\n")
    monkeypatch.setenv("STANDPIPE_GATEWAY_URL", "https://gw.example.org")
    monkeypatch.setenv("STANDPIPE_GATEWAY_TOKEN_FILE", str(file))
    settings = Settings()
    assert settings.gateway_bearer() == "one"
    file.write_text("two\n")
    assert settings.gateway_bearer() == "two"
