"""Whatever goes wrong is a problem with all its reasons, and repeats nothing of what was sent."""

import logging
from typing import Any

import pytest

from gateway.http.problems import KINDS, MEDIA_TYPE
from tests.gateway.http.office import CUSTOMER, PERSONAL, REPAIR, Office, badge, problem


async def test_an_unknown_address_and_a_wrong_method_are_problems(idle_office: Office) -> None:
    http = idle_office.http
    for path in ("/", "/v1", "/v1/nothing", f"/v1/{CUSTOMER['name']}", "/v1/cases/"):
        problem(await http.get(path, headers=badge()), 404, "not-found")
    answer = await http.put("/v1/repairs", headers=badge())
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
    answer = await http.put("/v1/parties/party-1", headers=badge())
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "DELETE, GET"


async def test_nobody_is_told_to_show_a_token(idle_office: Office) -> None:
    for method, path in (("GET", "/v1/cases"), ("POST", "/v1/repairs"), ("GET", "/v1/outbox")):
        answer = await idle_office.http.request(method, path)
        problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("content", "media", "status", "kind"),
    [
        (b"{", "application/json", 400, "malformed"),
        (b"\xff\xfe", "application/json", 400, "malformed"),
        (b"[]", "application/json", 422, "invalid"),
        (b'"Ouyang Xiaoming"', "application/json", 422, "invalid"),
        (b"", "application/json", 422, "invalid"),
        (b"name=Ouyang", "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        (b"{}", "text/plain", 415, "unsupported-media-type"),
    ],
)
async def test_a_body_that_cannot_be_read_is_a_problem(
    idle_office: Office, content: bytes, media: str, status: int, kind: str
) -> None:
    headers = {**badge(), "Content-Type": media, "Idempotency-Key": "k-1"}
    answer = await idle_office.http.post("/v1/repairs", content=content, headers=headers)
    problem(answer, status, kind)


async def test_everything_wrong_with_a_request_is_told_at_once(idle_office: Office) -> None:
    body: dict[str, Any] = {
        "channel": "Ouyang Xiaoming",
        "category": "No Gas!",
        "severity": 13912345678,
        "premises": ["77 Plum Alley"],
        "occurred_at": "0001-01-01T00:00:00+14:00",
        "Ouyang Xiaoming": "13912345678",
        "customer": {"phone": {"Plum": 1}},
    }
    told = problem(await idle_office.post("/v1/repairs", body), 422, "invalid")
    places = {reason.partition(":")[0] for reason in told["reasons"]}
    assert places == {
        "body.channel", "body.category", "body.severity", "body.premises", "body.occurred_at",
        "body.district", "body.customer.phone", "body.?",
    }  # fmt: skip


async def test_a_fault_gives_an_id_that_is_logged_and_nothing_else(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> Any:
        raise LookupError(f"of {CUSTOMER['name']}, {CUSTOMER['phone']}")

    with monkeypatch.context() as patched, caplog.at_level(logging.DEBUG):
        patched.setattr(office.session, "cases", broken)
        answer = await office.post("/v1/repairs", REPAIR)
    told = problem(answer, 500, "fault")
    assert "LookupError" not in answer.text
    assert "Traceback" not in answer.text
    logged = next(r.getMessage() for r in caplog.records if r.name == "standpipe.http")
    assert told["instance"] in logged
    assert "LookupError" in logged
    assert "test_problems.py" in logged  # where it was


async def test_nothing_personal_gets_into_any_log_line(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        opened = await office.done("/v1/repairs", REPAIR)
        await office.get(f"/v1/parties/{opened['party_id']}")
        await office.post("/v1/repairs", {**REPAIR, "channel": CUSTOMER["name"]})
        await office.http.get(f"/v1/{CUSTOMER['phone']}", headers=badge())
    # What the test itself sends is logged by its own client.
    lines = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]
    assert not [line for line in lines if any(word in line for word in PERSONAL)]


async def test_every_type_of_problem_leads_to_its_description(idle_office: Office) -> None:
    for kind, known in KINDS.items():
        answer = await idle_office.http.get(f"/problems/{kind}")
        assert answer.status_code == 200
        assert answer.json()["advice"] == known.advice
        assert answer.json()["status"] == known.status
    problem(await idle_office.http.get("/problems/none"), 404, "not-found")
    assert MEDIA_TYPE == "application/problem+json"
