"""A town where everything runs, and every way in by which somebody's particulars come to it."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import asyncpg
import httpx
from typer.main import get_command
from typer.testing import CliRunner

from cli import app
from gateway import commands
from schemas.envelope import Json
from settings import Settings
from stack import Endpoints, endpoints
from tests.audit.marks import SOMEBODY
from tests.workflows.receiver import Receiver

ROOT = Path(__file__).parents[2]
APP_KEY = "a key of thirty-two letters or so"
COMMANDS = get_command(app)
MARK = SOMEBODY.text("wrong-input")
SERVERS = {"up", "worker", "serve", "demo", "migrate", "rebuild", "recover"}
"""Verbs that run or change servers: what they take, `up` shows."""


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
        if given:
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
