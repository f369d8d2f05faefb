"""Nothing personal is found anywhere but in the vault, where it is sealed.

Somebody's name, phone and addresses are planted in every way into the system; then the database's
tables and files, Temporal's, histories, exports, logs and all that was said are searched for them.
"""

import asyncio
import json
import os
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import asyncpg
import httpx
import pytest
from pyarrow import parquet
from temporalio.client import Client

from schemas.envelope import Json
from stack import Endpoints, connect_temporal
from tests.audit.marks import (
    CONTROL,
    SOMEBODY,
    Marks,
    in_files,
    in_tables,
    needles,
    packed,
    seen,
    written,
)
from tests.audit.town import APP_KEY, COMMANDS, WAYS, Town, listening
from tests.test_cli import Running

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
EXPORTS = ("jsonl", "csv", "ocel2", "xes", "parquet")
FILLED = {
    *("events", "decisions", "outbox", "refusals", "cases", "streams", "idempotency", "deliveries"),
    *("histories", "parties", "vault_readings", "subscriptions", "rate_counts"),
}
"""What is searched is not empty."""


# The marks are found however they are written


@pytest.mark.parametrize("marks", [SOMEBODY, CONTROL], ids=["somebody", "control"])
def test_a_mark_is_seen_in_every_form_and_place(marks: Marks) -> None:
    wanted = needles(marks)
    for text in marks:
        for form, needle in written(text).items():
            for before in (b"", b"x", b"xy"):
                data = before + needle + b"z"
                assert seen(data, wanted), form
                assert seen(b"ab" + packed(data) + b"z", wanted), f"{form}, compressed"
        for before in ("", "x", "xy"):
            for encode in ("base64", "base64url"):
                shifted = _base64(f"{before}{text}{before}", encode)
                assert seen(shifted, wanted), f"{encode} after {before!r}"
    assert not seen(b"nothing of the sort", wanted)
    other = needles(CONTROL if marks is SOMEBODY else SOMEBODY)
    assert not seen(" ".join(marks).encode(), other)


def _base64(text: str, how: str) -> bytes:
    return (b64encode if how == "base64" else urlsafe_b64encode)(text.encode())


# What is planted in clear, to be found


async def plant(to: Endpoints, home: Path) -> None:
    """The control's marks in a table, in a file and in a workflow's argument."""
    text = CONTROL.text("control")
    connection = await asyncpg.connect(to.admin_url)
    await connection.execute("CREATE TABLE public.control (words text, packed bytea)")
    await connection.execute(
        "INSERT INTO public.control VALUES ($1, $2)", text, packed(text.encode())
    )
    await connection.close()
    (home / ".standpipe" / "logs" / "control.log").write_text(text)
    client = await connect_temporal(to)
    await client.start_workflow("Control", text, id="control", task_queue="nobody")


async def histories(to: Endpoints) -> dict[str, bytes]:
    """Every history that Temporal has, by workflow and run."""
    client: Client = await connect_temporal(to)
    found: dict[str, bytes] = {}
    async for run in client.list_workflows("", page_size=1000):
        history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        data = b"".join(event.SerializeToString() for event in history.events)
        found[f"{run.id} {run.run_id}"] = data + history.to_json().encode()
    return found


# What happens, and what is found


@dataclass
class Search:
    """Where each of the two was found."""

    somebody: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    control: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def add(self, place: str, found: list[dict[str, list[str]]]) -> None:
        for into, what in zip((self.somebody, self.control), found, strict=True):
            into.update({f"{place}: {name}": told for name, told in what.items()})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where everything is, and nothing else."""
    folder = tmp_path_factory.mktemp("canary")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Put together once, not for every call.
        patch.setattr("typer.testing._get_command", lambda _: COMMANDS)
        for name in [n for n in os.environ if n.startswith(("STANDPIPE_", "TEMPORAL_"))]:
            patch.delenv(name)
        yield folder


@pytest.fixture(scope="module")
def town(home: Path) -> tuple[Town, Search]:
    """Everything happened and everything was searched: tables, histories, then files at rest."""
    search = Search()
    wanted = needles(SOMEBODY), needles(CONTROL, "utf-8")
    with listening() as receiver, pytest.MonkeyPatch.context() as patch:
        Path("keys").write_text(f"town-app {sha256(APP_KEY.encode()).hexdigest()}\n")
        for name, value in {
            "PRIVATE_TARGETS": "true",
            **{f"{to.upper()}_URL": f"{receiver.url}/{to}" for to in ("sms", "email", "work")},
            "PROVIDER_SECRET": SECRET,
            "OPEN311_KEYS_FILE": str(home / "keys"),
        }.items():
            patch.setenv(f"STANDPIPE_{name}", value)
        town = Town(home, receiver)
        with Running("up", "--port", "0", "--ui-port", "0", "--http-port", "0", "--json") as up:
            up.wait_for("stdout", '"pid"')
            asyncio.run(plant(town.endpoints, home))
            lived(town, json.loads(up.said("stdout"))["http_url"])
            search.add("table", asyncio.run(in_tables(town.endpoints.admin_url or "", *wanted)))
            for name, data in asyncio.run(histories(town.endpoints)).items():
                search.add(
                    "history", [{name: told} if (told := seen(data, w)) else {} for w in wanted]
                )
    for name, data in town.said.items():
        search.add("said", [{name: told} if (told := seen(data, w)) else {} for w in wanted])
    search.add("file", in_files(home, *wanted))
    return town, search


def lived(town: Town, http_url: str) -> None:
    """Every way in; then cases end, somebody is erased, and everything is exported."""
    town.done("webhook", "add", f"{town.receiver.url}/hook", "--after", "0")
    roles = [w for role in ("clerk", "supervisor", "service", "admin") for w in ("--role", role)]
    token = town.done("token", "--subject", "s-1", *roles, secret=True)["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=http_url, headers=bearer, timeout=60) as http:
        for way in WAYS:
            way(town, http)
        ended(town)
        for party in town.parties:
            town.done("party", "erase", party, "--yes")
            town.run("party", "show", party)
            town.heard("GET erased", http.get(f"/v1/parties/{party}").content)
    for verb in ("worklist", "outbox", "refusals", "approvals", "rebuild"):
        assert town.run(verb).exit_code == 0
    town.done("case", "list")
    audited(town)
    for table in FILLED:
        town.rows[table] = town.sql(f"SELECT count(*) FROM {table}")[0][0]


async def submitted(to: Endpoints, case: str) -> None:
    """Something that nobody waits for, and that is refused."""
    actor = {"subject": "crew-1", "role": "crew", "proof": "local"}
    command: Json = {
        "id": "too-early",
        "actor": actor,
        "occurred_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "body": {"type": "CompleteRepair", "work": ["valve"]},
    }
    client = await connect_temporal(to)
    await client.get_workflow_handle(case).signal("submit", command)


def ended(town: Town) -> None:
    """A case is over, everything is said to everybody, and its history is archived."""
    case = town.cases[0]
    asyncio.run(submitted(town.endpoints, case))
    town.until("SELECT count(*) > 0 FROM refusals")
    town.done("command", case, "CancelRepair", "--reason", "mistaken", "--role", "supervisor")
    town.until(
        "SELECT count(*) = 0 FROM outbox o WHERE recipient_kind = 'party' AND NOT EXISTS ("
        " SELECT FROM deliveries d WHERE d.organisation = o.organisation"
        " AND d.position = o.position AND d.ordinal = o.ordinal AND d.state <> 'waiting')"
    )
    town.until("SELECT count(*) > 0 FROM histories WHERE stream = $1", case)


def audited(town: Town) -> None:
    """Every proof holds after the erasure; everything that can be taken out of the log is."""
    (arrears,) = town.sql("SELECT case_id FROM cases WHERE kind = 'arrears' LIMIT 1")
    key = town.done("audit", "key")["vkey"]
    for words in (
        ("checkpoint", "--make"),
        *(("export", "--format", format, "--out", f"export.{format}") for format in EXPORTS),
        ("check-export", "export.jsonl", "--key", key),
        ("redecide", "--all", "--processes", "1"),
        ("replay", "--all"),
        ("explain", town.cases[0], "--html", "explained.html"),
        ("dossier", arrears[0]),
        ("verify",),
    ):
        done = town.run("audit", *words)
        assert done.exit_code == 0, (words, done.output)
    rows = parquet.read_table("export.parquet").to_pylist()
    town.heard("export.parquet, unpacked", str(rows))


def test_the_control_is_found_wherever_it_was_planted(town: tuple[Town, Search]) -> None:
    found = town[1].control
    for place in (
        *("table: public.control", "history: control", "file: .standpipe/logs/control.log"),
        *("file: .standpipe/postgres/base", "file: .standpipe/postgres/pg_wal"),
        "file: .standpipe/temporal.db",
    ):
        assert [name for name in found if name.startswith(place)], f"not found in {place}"
    assert not [name for name in found if name.startswith("said")]


def test_somebody_is_told_and_their_telling_is_nowhere_else(town: tuple[Town, Search]) -> None:
    receiver = town[0].receiver
    told = [r for r in receiver.requests if r["path"] in ("/sms", "/email")]
    assert {r["path"] for r in told} == {"/sms", "/email"}
    assert any(SOMEBODY.phone in r["body"] for r in told)
    others = [r for r in receiver.requests if r["path"] not in ("/sms", "/email")]
    assert {r["path"] for r in others} == {"/hook", "/work"}
    assert not [r for r in others if seen(json.dumps(r).encode(), needles(SOMEBODY))]
    # Of a message to a customer, only the address that it goes to is theirs.
    for request in told:
        data = json.loads(request["body"])["data"]
        assert not seen(json.dumps({**data, "to": ""}).encode(), needles(SOMEBODY))


def test_nothing_personal_is_found_anywhere(town: tuple[Town, Search]) -> None:
    lived, search = town
    assert len(lived.said) > 250
    assert {table for table in FILLED if not lived.rows[table]} == set()
    assert search.somebody == {}
