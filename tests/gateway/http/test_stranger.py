"""Somebody integrates who knows the OpenAPI document and nothing else."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from schemas.envelope import Json
from tests.gateway.http.office import Office, badge

SAMPLES = (
    *("north", "S-1041", "party-1f2e3d", "repair-1f2e3d", "complaint-1f2e3d", "arrears-1f2e3d"),
    *("complaint-1f2e3d/S-1041", "2026-03", "CNY", "li@example.org", "https://example.org/"),
    *("0" * 32, "0" * 43, "0" * 64, "0" * 86),
)
"""Words to try where the document gives a pattern and no example."""


class Stranger:
    """A client made of the document: operations by name, bodies by schema, answers checked."""

    def __init__(self, document: Json, http: httpx.AsyncClient) -> None:
        self.document = document
        self.http = http
        self.operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }

    async def call(
        self,
        name: str,
        body: Json | None = None,
        /,
        *,
        by: str | None = None,
        query: Json | None = None,
        status: int | None = None,
        **places: str,
    ) -> Any:
        """The answer of an operation, in a role that may use it; `status` if not the first good."""
        method, path, operation = self.operations[name]
        who = by or operation.get("x-roles", ["clerk"])[0]
        headers = badge(who, f"{who.replace('_', '-')}-1")
        headers["Content-Type"] = "application/json"
        for parameter in operation.get("parameters", ()):
            if parameter["name"] == "Idempotency-Key" and parameter["required"]:
                headers["Idempotency-Key"] = str(uuid4())
        answer = await self.http.request(
            method, path.format(**places), json=body, params=query, headers=headers
        )
        good = min(int(s) for s in operation["responses"])
        assert answer.status_code == (status or good), (name, answer.text)
        self.check(operation, answer)
        return answer

    def check(self, operation: Json, answer: httpx.Response) -> None:
        """An answer is one of those that the document tells of."""
        told = self.resolved(operation["responses"][str(answer.status_code)])
        media_type = answer.headers["content-type"].partition(";")[0]
        schema = told["content"][media_type]["schema"]
        self.validator(schema).validate(answer.json())

    def body(self, name: str, **given: Any) -> Json:
        """A request body: the document's example if it has one, else the least that it allows."""
        content = self.operations[name][2]["requestBody"]["content"]["application/json"]
        schema = self.resolved(content["schema"])
        if options := [s for s in schema.get("anyOf", ()) if s.get("type") != "null"]:
            schema = self.resolved(options[0])
        examples = schema.get("examples")
        made = examples[0] if examples else self.sample({**schema, "left": set(given)})
        made = {**made, **given}
        self.validator(schema).validate(made)
        return made

    def sample(self, schema: Json) -> Any:
        """Something that a schema allows."""
        schema = self.resolved(schema)
        if examples := schema.get("examples"):
            return examples[0]
        if options := schema.get("anyOf"):
            return self.sample(options[0])
        if "enum" in schema:
            return schema["enum"][0]
        match schema.get("type"):
            case "object":
                needed = set(schema.get("required", ())) - schema.get("left", set())
                return {name: self.sample(schema["properties"][name]) for name in sorted(needed)}
            case "array":
                return [self.sample(schema["items"])]
            case "integer":
                return schema.get("minimum", 1)
            case "boolean":
                return True
            case _ if schema.get("format") == "date-time":
                return datetime.now(UTC).isoformat()
            case _ if schema.get("format") == "date":
                return datetime.now(UTC).date().isoformat()
            case _:
                pattern = schema.get("pattern", "")
                found = [word for word in SAMPLES if re.search(pattern, word)]
                assert found, f"nothing is known that fits {pattern}"
                return found[0]

    def resolved(self, part: Json) -> Json:
        while "$ref" in part:
            found: Any = self.document
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            part = found
        return part

    def validator(self, schema: Json) -> Draft202012Validator:
        whole = {**schema, "components": self.document["components"]}
        return Draft202012Validator(whole, format_checker=FormatChecker())


@pytest.fixture
async def stranger(office: Office) -> Stranger:
    return Stranger((await office.http.get("/openapi.json")).json(), office.http)


async def test_a_stranger_lives_a_repair_from_the_report_to_its_close(stranger: Stranger) -> None:
    opened = await stranger.call("ReportRepair", stranger.body("ReportRepair"))
    case_id, party = opened.json()["case_id"], opened.json()["party_id"]
    assert opened.headers["Location"] == f"/v1/cases/{case_id}"

    early = await stranger.call(
        "RecordCallback",
        stranger.body("RecordCallback", party=party),
        case_id=case_id,
        status=409,
    )
    assert early.json()["type"] == "/problems/refused"
    assert "TriageRepair" in early.json()["possible"]

    done: list[str] = []
    for name in (
        "TriageRepair",
        "DispatchCrew",
        "AcceptJob",
        "RecordArrival",
        "CompleteRepair",
        "RecordCallback",
    ):
        shown = (await stranger.call("show_timeline", case_id=case_id, by="clerk")).json()
        assert name in shown["possible"], (name, shown["possible"])
        body = stranger.body(name)
        body.pop("occurred_at", None)
        if "party" in body:
            body["party"] = party
        outcome = (await stranger.call(name, body, case_id=case_id)).json()
        assert outcome["events"]
        done += outcome["events"]
    row = (await stranger.call("show_case", case_id=case_id)).json()
    assert row["stage"] == "Closed"

    events = await stranger.call("list_events", query={"case": case_id})
    types = [event["type"] for event in events.json()]
    assert types[0] == "standpipe.repair.RepairReported"
    assert [t for t in types if t.rpartition(".")[2] in done]
    assert {event["subject"] for event in events.json()} == {case_id}
    listed = (await stranger.call("list_cases", query={"stage": "Closed"})).json()["cases"]
    assert [case["case_id"] for case in listed] == [case_id]
    assert (await stranger.call("show_party", party_id=party)).json()["name"] == "Li Na"


async def test_a_stranger_decides_what_waits_in_the_inbox(stranger: Stranger) -> None:
    policies = (await stranger.call("list_policies")).json()["policies"]
    named = next(p["name"] for p in policies if p["new_cases"])
    policy = (await stranger.call("show_policy", name=named)).json()["policy"]
    department = sorted(policy["complaint"]["departments"])[0]

    opened = await stranger.call("RegisterComplaint", stranger.body("RegisterComplaint"))
    case_id = opened.json()["case_id"]
    extension = {
        "reason": "needs-a-laboratory",
        "until": (datetime.now(UTC) + timedelta(days=2, hours=12)).isoformat(),
    }
    for name, more in (
        ("ScreenComplaint", {}),
        ("HandOverComplaint", {"department": department}),
        ("AcknowledgeComplaint", {}),
        ("StartInvestigation", {}),
        ("RequestExtension", extension),
    ):
        body = stranger.body(name, **more)
        body.pop("occurred_at", None)
        await stranger.call(name, body, case_id=case_id, by="clerk")

    waiting = (await stranger.call("list_approvals", query={"mine": True}, by="supervisor")).json()
    asked = next(a for a in waiting["approvals"] if a["case_id"] == case_id)
    assert "supervisor" in asked["roles"]
    decision = stranger.body("decide_approval", facts_hash=asked["facts_hash"])
    place = {"case_id": case_id, "approval": asked["id"]}
    barred = await stranger.call("decide_approval", decision, **place, by="clerk", status=409)
    assert barred.json()["reasons"]
    decided = await stranger.call("decide_approval", decision, **place, by="supervisor")
    assert decided.json()["events"]
    left = (await stranger.call("list_approvals", by="supervisor")).json()["approvals"]
    assert case_id not in {a["case_id"] for a in left}


def test_every_body_can_be_made_from_the_document_alone() -> None:
    from gateway.http.app import routed

    stranger = Stranger(routed().openapi(), httpx.AsyncClient())
    made = 0
    for name, (_, _, operation) in stranger.operations.items():
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            stranger.body(name)
            made += 1
    assert made > 80
