"""Nothing personal is found anywhere but in the vault, where it is sealed.

Somebody's name, phone and addresses are planted in every way into the system; then the database's
tables and files, Temporal's, histories, exports, logs and all that was said are searched for them.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any, cast

import asyncpg
import httpx
import pytest
from pyarrow import parquet
from temporalio.client import Client
from typer.main import get_command
from typer.testing import CliRunner

from cli import app
from gateway import commands
from schemas.base import Command, Event
from schemas.envelope import Json
from schemas.party import Party, PartyNote
from settings import Settings
from stack import Endpoints, connect_temporal, endpoints
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
from tests.test_cli import Running
from tests.workflows.receiver import Receiver

ROOT = Path(__file__).parents[2]
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
APP_KEY = "a key of thirty-two letters or so"
COMMANDS = get_command(app)
MARK = SOMEBODY.text("wrong-input")
SERVERS = {"up", "worker", "serve", "demo", "migrate", "rebuild", "recover"}
"""Verbs that run or change servers: what they take, `up` shows."""
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


# No command and no event takes free text

OUR_WORDS = {
    # Why our own rules refused another case's request: sentences of lifecycles/.
    "RecordAnswer.reasons",
    "RequestAnswered.reasons",
    "AdoptionRefused.reasons",
    "RepeatMergeRefused.reasons",
    # Copied from a command's field that takes a code word, and nothing else.
    "AssessmentSettled.currency",
    "CheckDrawn.seed",
    "HeadRemovalRejected.reason",
    "SampleDrawn.seed",
    # A hash that we make.
    "SampleDrawn.population_hash",
    *(
        f"{opened}.policy"
        for opened in (
            *("ArchiveOpened", "ArrearsOpened", "AssessmentOpened", "ComplaintRegistered"),
            *("PremisesOpened", "RegisterOpened", "RepairReported", "StaffFileOpened"),
        )
    ),
    # What made a history, as the server says it.
    "HistoryArchived.build_id",
    "HistoryArchived.sdk",
    "RecordHistory.build_id",
    "RecordHistory.sdk",
}
"""Texts in commands of cases to each other and in events, and why nobody's own words get there."""
FREE = (SOMEBODY.text("field"), SOMEBODY.chinese, "Zhu Quehua", "+86 139 0417 5286", "a@b.example")


def strings(model: type[Command] | type[Event]) -> Iterator[tuple[str, Json]]:
    """Every place in a model where a text may stand: its path, and its schema."""
    schema = model.model_json_schema()

    def walk(part: Json, path: str) -> Iterator[tuple[str, Json]]:
        if "$ref" in part:
            yield from walk(schema["$defs"][part["$ref"].rpartition("/")[2]], path)
        for each in (*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())):
            yield from walk(each, path)
        for name, each in part.get("properties", {}).items():
            yield from walk(each, f"{path}.{name}")
        for each in (part.get("items"), part.get("additionalProperties")):
            if isinstance(each, dict):
                yield from walk(cast("Json", each), path)
        for each in part.get("prefixItems", ()):
            yield from walk(each, path)
        if "enum" in part or "const" in part:
            return
        if part.get("type") == "string" or not part.keys() & {
            *("type", "$ref", "anyOf", "oneOf", "allOf")
        }:
            yield path, part

    yield from walk(schema, model.__name__)


def takes(part: Json, text: str) -> bool:
    """Whether a text of this schema may be that one."""
    if part.get("format") in ("date-time", "date", "uuid"):
        return False
    return "pattern" not in part or re.search(part["pattern"], text) is not None


def models() -> list[type[Command] | type[Event]]:
    """Every command and every event of every kind of case."""
    found: dict[str, type[Command] | type[Event]] = {}

    def below(kind: Any) -> None:
        for each in kind.__subclasses__():
            if each.__module__.startswith("schemas.") and "type" in each.model_fields:
                found[each.__name__] = each
            below(each)

    below(Command)
    below(Event)
    return list(found.values())


def test_no_field_of_a_command_or_event_takes_free_text_but_those_of_our_own_words() -> None:
    known = {m.__name__ for kind in commands.KINDS for m in commands.models(kind).values()}
    assert known < {model.__name__ for model in models()}
    free = {
        path
        for model in models()
        for path, part in strings(model)
        if any(takes(part, text) for text in FREE)
    }
    assert free == OUR_WORDS, "say why this may be in the log, or keep it in the vault"
    for kind in commands.KINDS:  # no person can send one
        assert not {path.partition(".")[0] for path in OUR_WORDS} & commands.models(kind).keys()


def test_what_is_personal_is_known_field_by_field() -> None:
    personal = {"name", "phone", "email", "language", "address", "remarks", "special_care"}
    assert set(Party.model_fields) == personal
    assert set(PartyNote.model_fields) == {"id", "written_at", "text"}
    assert SOMEBODY.particulars("x").keys() == personal - {"language", "special_care"}
    assert SOMEBODY.latin not in repr(Party.model_validate(SOMEBODY.particulars("x")))


# The whole system


@dataclass
class Town:
    """Everything that runs, and all that was said by it."""

    home: Path
    receiver: Receiver
    said: dict[str, bytes] = field(default_factory=dict[str, bytes])
    parties: list[str] = field(default_factory=list[str])
    cases: list[str] = field(default_factory=list[str])
    rows: dict[str, int] = field(default_factory=dict[str, int])
    """In each table that must not be empty when it is searched."""

    @property
    def endpoints(self) -> Endpoints:
        return endpoints(Settings())

    def heard(self, label: str, *what: str | bytes) -> None:
        name = f"{len(self.said)} {label}"
        self.said[name] = b"\n".join(w.encode() if isinstance(w, str) else w for w in what)

    def run(self, *words: str, label: str | None = None, secret: bool = False) -> Any:
        """A command line; all that it says is kept, but for what is to show somebody."""
        result = CliRunner().invoke(app, list(words))
        assert isinstance(result.exception, SystemExit | None), f"{words[:2]} broke"
        if not secret:
            self.heard(label or " ".join(words[:2]), result.stdout, result.stderr)
        return result

    def done(self, *words: str, secret: bool = False) -> Any:
        result = self.run(*words, "--json", secret=secret)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def sql(self, query: str, *args: object) -> list[asyncpg.Record]:
        async def ask() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(
                self.endpoints.admin_url, server_settings={"search_path": "standpipe"}
            )
            try:
                return await connection.fetch(query, *args)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def until(self, query: str, *args: object) -> None:
        """Until the query gives true."""
        give_up = time.monotonic() + 60
        while not self.sql(query, *args)[0][0]:
            assert time.monotonic() < give_up, query
            time.sleep(0.2)


@contextmanager
def listening() -> Iterator[Receiver]:
    """A receiver at work, for whoever has no event loop."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.workflows.receiver"], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    lines = process.stdout
    receiver = Receiver(f"http://127.0.0.1:{int(lines.readline())}")

    def listen() -> None:
        receiver.requests.extend(json.loads(line) for line in lines)

    listener = Thread(target=listen)
    listener.start()
    try:
        yield receiver
    finally:
        process.kill()
        process.wait()
        listener.join()
        lines.close()


# The ways in

Way = Callable[[Town, httpx.Client], None]


def options(way: str) -> list[str]:
    return [w for name, value in SOMEBODY.particulars(way).items() for w in (f"--{name}", value)]


def by_terminal(town: Town, http: httpx.Client) -> None:
    """Whoever reports, complains or informs, and remarks made later."""
    repair = ("repair", "report", "--channel", "phone", "--category", "no-gas")
    repair = (*repair, "--district", "north")
    told = town.done(*repair, *options("repair-report"), "--special-care")
    complaint = ("complaint", "register", "--channel", "phone", "--about", "staff")
    complaint = (*complaint, "--category", "attitude", "--district", "north")
    complaint = (*complaint, "--accused", "s-1041:s-2001")
    complained = town.done(*complaint, *options("complaint-register"))
    sealed = ("--confidential", "--seal-to", "conduct_officer")
    informed = town.done(*complaint, *options("informant"), *sealed)
    town.parties += [each["party_id"] for each in (told, complained, informed)]
    town.cases += [each["case_id"] for each in (told, complained, informed)]
    case, words = told["case_id"], ("--remark", SOMEBODY.text("remark"))
    triage = ("TriageRepair", "--category", "no-gas", "--severity", "common")
    town.done("command", case, *triage, *words)
    # Once on a screen, too; what a sealed party is refused to is said to whoever asks.
    town.run("repair", "report", *repair[2:], *options("repair-drawn"))
    refused = town.run("party", "show", informed["party_id"], "--role", "clerk")
    assert refused.exit_code == 1
    shown = town.done("party", "show", told["party_id"], secret=True)
    assert (shown["name"], len(shown["notes"])) == (SOMEBODY.text("repair-report"), 1)


def by_file(town: Town, http: httpx.Client) -> None:
    """A company's own files: addresses, columns that nobody reads, rows that make no sense."""
    text = SOMEBODY.text("filing")
    head = "Leak #,Reported Address,Cross street,Town,Reported Date,15-SQ-05 Class,"
    head += "16-SQ-05 Class,17-SQ-05 Class,Note,State\n"
    rows = f"910001,77 {text},{text},NORTH TOWN,12/30/16,1,1,1,{text},MA\n"
    rows += f"910002,77 {text},{text},{SOMEBODY.chinese},{text},{text},{text},{text},{text},MA\n"
    rows += f"{text},{text},{text},NORTH TOWN,12/30/16,1,1,1,,MA,{text}\n"
    Path("leaks.csv").write_text(head + rows)
    made = town.done("import", "repairs", "leaks.csv", "--policy", "gas")
    assert (made["cases"], made["rejected"]) == (1, 2)
    town.parties.append(
        town.sql("SELECT party_id FROM parties ORDER BY written_at DESC LIMIT 1")[0][0]
    )
    Path("leaks.csv").unlink()

    water = (ROOT / "policies" / "water.toml").read_text()
    Path("pounds.toml").write_text(water.replace('currency = "CNY"', 'currency = "GBP"'))
    due = datetime.now(UTC).date() - timedelta(days=30)
    tables = {
        "customers": f"customer_id,region,is_vulnerable,name\nC000001,North,0,{text}\n"
        f"C000004,North,0,{text}\n"
        f"{text},North,0,{text}\nC000002,{SOMEBODY.chinese},{text},{text}\n",
        "bills": f"customer_id,bill_period_end,bill_amount,due_date,remark\nC000001,p1,90.00,{due},"
        f"{text}\nC000001,{text},{text},{text},{text}\n{text},p1,9,{due},{text}\n"
        f"C000003,p1,90.00,{due},{text}\nC000004,p1,90.00,{due},{text}\n",
        "payments": f"customer_id,payment_date,amount,method\nC000001,{text},{text},{text}\n",
    }
    files: list[str] = []
    for name, content in tables.items():
        Path(f"{name}.csv").write_text(content)
        files += [f"--{name}", f"{name}.csv"]
    run = ("--as-of", str(datetime.now(UTC).date()), "--policy", "pounds.toml")
    done = town.run("import", "arrears", *files, *run)
    assert done.exit_code == 0, done.stderr
    town.run("rehearse", "arrears", *files, "--policy", "pounds.toml")
    paid = ("--payments", "payments.csv", "--policy", "pounds.toml")
    town.run("import", "payments", *paid)
    for name in tables:
        Path(f"{name}.csv").unlink()


def by_http(town: Town, http: httpx.Client) -> None:
    """The same over HTTP, and what belongs to a customer and to no case."""
    repair = {"channel": "phone", "category": "no-gas", "district": "north"}
    complaint = {**repair, "about": "staff", "accused": [{"staff": "s-1"}], "category": "attitude"}
    asked = {
        "/v1/repairs": {**repair, "customer": SOMEBODY.particulars("http-repair")},
        "/v1/complaints": {**complaint, "customer": SOMEBODY.particulars("http-complaint")},
        "/v1/parties": SOMEBODY.particulars("http-party"),
    }
    # Who has no phone is told by e-mail.
    asked["/v1/repairs "] = {
        **{**repair, "channel": "patrol"},
        "customer": {"name": SOMEBODY.chinese, "email": f"{SOMEBODY.latin}@example.com"},
    }
    for path, body in asked.items():
        for _ in range(2):  # the same again is answered from what was kept
            answer = http.post(
                path.strip(),
                json=body,
                headers={"Idempotency-Key": f"key-of-{path.strip()}-{len(path)}"},
            )
            assert answer.status_code == 201, answer.text
            town.heard(f"POST {path}", answer.content, str(answer.headers))
        told = answer.json()
        town.parties.append(told["party_id"])
        town.cases += [told["case_id"]] if "case_id" in told else []
    note = {"text": SOMEBODY.text("http-note")}
    path = f"/v1/parties/{town.parties[-2]}/notes"
    answer = http.post(path, json=note, headers={"Idempotency-Key": "note-1"})
    assert answer.status_code == 201, answer.text
    town.heard("POST note", answer.content)
    shown = http.get(f"/v1/parties/{town.parties[-2]}")
    assert SOMEBODY.text("http-note") in shown.text


def by_app(town: Town, http: httpx.Client) -> None:
    """Civic apps: every field of the standard's form."""
    text = SOMEBODY.text("open311")
    form = {
        **{"api_key": APP_KEY, "service_code": "no-gas", "lat": "31.2", "long": "121.47"},
        **{"address_string": f"77 {text}", "address_id": text, "first_name": SOMEBODY.latin},
        **{"last_name": SOMEBODY.chinese, "phone": SOMEBODY.phone, "description": text},
        **{"email": f"{SOMEBODY.latin}@example.com", "media_url": f"https://a.b/{text}"},
        **{"device_id": text, "account_id": text, "attribute[district]": "north"},
    }
    for format in ("json", "xml"):
        answer = http.post(f"/open311/v2/requests.{format}", data=form)
        assert answer.status_code == 201, answer.text
        town.heard(f"open311 {format}", answer.content)
    town.cases.append(
        http.post("/open311/v2/requests.json", data=form).json()[0]["service_request_id"]
    )
    for field_ in (
        "service_code",
        "attribute[district]",
        "attribute[asset]",
        "lat",
        "api_key",
        text,
    ):
        answer = http.post("/open311/v2/requests.json", data={**form, field_: text})
        town.heard(f"open311, wrong {field_}", answer.content)
    for path in (f"requests/{text}.json", f"services/{text}.xml", "requests.json"):
        answer = http.get(f"/open311/v2/{path}", params={"service_code": text, "status": text})
        town.heard("open311, asked", answer.content)


def by_mistake_at_the_terminal(town: Town, http: httpx.Client) -> None:
    """Somebody's particulars in every option, argument and field where they have no place."""
    for kind, case in (("repair", town.cases[0]), ("complaint", town.cases[1])):
        for name, model in commands.models(kind).items():
            fields = [w for f in commands.fields(model) for w in (f.option, MARK)]
            town.run("command", case, name, *fields, MARK, "--x", MARK, label=f"command {name}")
    for words, verb in verbs(COMMANDS):
        given = [word for param in verb.params for word in mistaken(param)]
        town.run(*words, *given, label=f"{' '.join(words)}, mistaken")
        town.run(*words, MARK, f"--{MARK}", "--x", MARK, label=f"{' '.join(words)}, unknown")
    town.run(MARK)
    town.run("case", MARK)
    for text in (MARK, "[" + MARK, json.dumps({"crew": MARK, MARK: MARK})):
        town.run("command", town.cases[0], "RecordArrival", "--json-body", text)


def verbs(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every verb of the command line."""
    for name, each in getattr(command, "commands", {}).items():
        if name in SERVERS and not path:
            continue
        if hasattr(each, "commands"):
            yield from verbs(each, *path, name)
        else:
            yield (*path, name), each


def mistaken(param: Any) -> list[str]:
    """The mark where a verb takes any text."""
    if param.type_descriptor.annotation not in (str, list[str]):
        return []
    return [MARK] if param.param_type_name == "argument" else [param.opts[0], MARK]


def by_mistake_over_http(town: Town, http: httpx.Client) -> None:
    """The same in every path, query, header and body that the API describes."""
    described = http.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            label = f"{method} {path}, mistaken"
            if "stream" in str(operation.get("responses", {}).get("200", "")):
                continue
            wrong = re.sub(r"\{[^}]+\}", MARK, path)
            right = path.replace("{case_id}", town.cases[0]).replace("{party_id}", town.parties[0])
            right = re.sub(r"\{[^}]+\}", MARK, right)
            named = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
            headers = {"Idempotency-Key": f"{method}{path}"[:200], "If-Match": SOMEBODY.latin}
            for to in {wrong, right}:
                if right in (f"/v1/parties/{party}" for party in town.parties):
                    continue  # what shows somebody, and forgets them
                if method == "get":
                    answer = http.get(to, params=dict.fromkeys(named, MARK))
                elif method == "delete" or "webhook" in path:
                    continue
                else:
                    body = dict.fromkeys(properties(operation, described), MARK)
                    http_body = {**body, "occurred_at": MARK, MARK: MARK}
                    answer = http.request(method, to, json=http_body, headers=headers)
                town.heard(label, answer.content, str(answer.headers))
                assert answer.status_code >= 400 or method == "get", f"{label}: {answer.text}"
    for content in (MARK.encode(), b"{" + MARK.encode(), json.dumps([MARK]).encode(), b"\xff"):
        for kind in ("application/json", "text/plain", MARK.encode().hex()):
            headers = {"Idempotency-Key": "broken", "Content-Type": kind}
            answer = http.post("/v1/repairs", content=content, headers=headers)
            town.heard("POST /v1/repairs, broken", answer.content)
    for headers in (
        {"Authorization": f"Bearer {SOMEBODY.latin}.{SOMEBODY.phone}.x"},
        {b"Idempotency-Key": SOMEBODY.chinese.encode()},
        {"Idempotency-Key": SOMEBODY.latin * 40},
    ):
        answer = http.post("/v1/repairs", json={MARK: MARK}, headers=headers)
        town.heard("POST /v1/repairs, other headers", answer.content, str(answer.headers))


def properties(operation: Json, described: Json) -> list[str]:
    """The fields of a JSON body."""
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    while "$ref" in schema:
        schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return list(schema.get("properties", ()))


WAYS: tuple[Way, ...] = (
    by_terminal,
    by_file,
    by_http,
    by_app,
    by_mistake_at_the_terminal,
    by_mistake_over_http,
)


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
        (home / "up").mkdir()
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
    assert len(lived.said) > 300
    assert {table for table in FILLED if not lived.rows[table]} == set()
    assert search.somebody == {}
