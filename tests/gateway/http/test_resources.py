"""Approvals, parties, payments, registers and what runs it, each over HTTP."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from gateway.http import asking
from tests.gateway.http.office import COMPLAINT, CUSTOMER, PERSONAL, Office, badge, problem
from tests.workflows.desk import until

REPORTED_TO = {"accused": [{"staff": "s-1041", "reports_to": "s-2001"}]}


def bill(**more: Any) -> dict[str, Any]:
    """An account that is overdue."""
    number = uuid4().hex[:8]
    due = (datetime.now(UTC) - timedelta(days=20)).date().isoformat()
    debt = {"currency": "CNY", "bills": [{"bill": "B-1", "amount": 12_000, "due": due}]}
    place = {"account": f"A-{number}", "premises": f"P-{number}", "district": "north"}
    return {**place, **debt, "dn": 20, "customer_class": "household", "run": "run-1", **more}


async def asked(office: Office) -> dict[str, Any]:
    """More time is asked for, for a complaint: an approval waits."""
    case_id = (await office.done("/v1/complaints", COMPLAINT))["case_id"]
    for name, body in (
        ("ScreenComplaint", {"category": "attitude", "gravity": "light"}),
        ("HandOverComplaint", {"department": "field-service"}),
        ("AcknowledgeComplaint", {}),
        ("StartInvestigation", {}),
    ):
        await office.done(f"/v1/cases/{case_id}/commands/{name}", body)
    until_then = (datetime.now(UTC) + timedelta(hours=60)).isoformat()
    more = {"until": until_then, "reason": "waits_for_report", "evidence": "note-1"}
    answer = await office.send(case_id, "RequestExtension", **more)
    assert answer.status_code == 200, answer.text
    return (await office.get("/v1/approvals", case=case_id))["approvals"][0]


# Approvals


async def test_a_supervisor_decides_what_waits_and_the_event_names_them(office: Office) -> None:
    waiting = await asked(office)
    mine = await office.get("/v1/approvals", by="supervisor", mine=True)
    assert [a["id"] for a in mine["approvals"]] == [waiting["id"]]
    assert (await office.get("/v1/approvals", mine=True))["approvals"] == []  # a clerk's
    path = f"/v1/cases/{waiting['case_id']}/approvals/{waiting['id']}/decision"
    yes = {"decision": "approve", "facts_hash": waiting["facts_hash"]}
    outcome = await office.done(path, yes, by="clerk,supervisor", who="s-3")
    assert "ApprovalGranted" in outcome["events"]
    shown = await office.get(f"/v1/cases/{waiting['case_id']}/timeline")
    actor = next(e["actor"] for e in shown["events"] if e["type"] == "ApprovalGranted")
    assert actor == {"subject": "s-3", "role": "supervisor", "proof": "token"}
    assert (await office.get("/v1/approvals"))["approvals"] == []


async def test_a_refused_decision_is_told_and_kept(office: Office) -> None:
    waiting = await asked(office)
    path = f"/v1/cases/{waiting['case_id']}/approvals/{waiting['id']}/decision"
    stale = {"decision": "approve", "facts_hash": "0" * 64}
    told = problem(await office.post(path, stale, by="supervisor"), 409, "refused")
    kept = await office.get("/v1/refusals", by="supervisor")
    assert [r["reasons"] for r in kept["refusals"]] == [told["reasons"]]
    assert kept["refusals"][0]["stream"] == waiting["case_id"]
    assert kept["refusals"][0]["actor"] == "supervisor-1"
    assert kept["refusals"][0]["command_type"] in asking.APPROVALS


async def test_a_forbidden_attempt_is_told_and_kept(office: Office) -> None:
    case_id = await office.reported()
    told = problem(await office.send(case_id, "TriageRepair", by="auditor",
        category="no-gas", severity="common"), 403, "forbidden")  # fmt: skip
    assert "clerk" in told["reasons"][0]
    answer = await office.http.get("/v1/outbox", headers=badge("crew"))
    problem(answer, 403, "forbidden")
    kept = (await office.get("/v1/refusals", by="auditor"))["refusals"]
    assert [(r["stream"], r["actor"], r["command_type"]) for r in kept] == [
        (case_id, "auditor-1", "TriageRepair"),
        ("gateway", "crew-1", "see-outbox"),
    ]
    page = await office.get("/v1/refusals", by="auditor", limit=1)
    rest = await office.get("/v1/refusals", by="auditor", after=page["next"])
    assert page["refusals"] + rest["refusals"] == kept


# Parties


async def test_a_party_is_put_noted_shown_and_erased(office: Office) -> None:
    party = (await office.done("/v1/parties", CUSTOMER))["party_id"]
    await office.done(f"/v1/parties/{party}/notes", {"text": "has a dog"})
    found = await office.get(f"/v1/parties/{party}")
    assert {name: found[name] for name in CUSTOMER} == CUSTOMER
    assert [note["text"] for note in found["notes"]] == ["has a dog"]
    problem(await office.http.delete(f"/v1/parties/{party}", headers=badge()), 403, "forbidden")
    erased = [
        await office.http.delete(f"/v1/parties/{party}", headers=badge("admin")) for _ in range(2)
    ]
    assert [answer.status_code for answer in erased] == [200, 200]
    assert erased[0].content == erased[1].content
    answer = await office.http.get(f"/v1/parties/{party}", headers=badge())
    problem(answer, 410, "party-erased")
    answer = await office.post(f"/v1/parties/{party}/notes", {"text": "again"})
    problem(answer, 410, "party-erased")


async def test_particulars_that_are_wrong_are_not_repeated(office: Office) -> None:
    wrong = {"name": "", "phone": CUSTOMER["phone"] * 100, "Ouyang Xiaoming": True}
    answer = await office.post("/v1/parties", wrong)
    told = problem(answer, 422, "invalid")
    assert len(told["reasons"]) == 3


# Arrears


async def test_an_account_has_one_open_case_and_its_payment_counts_once(office: Office) -> None:
    owed = bill()
    opened = await office.done("/v1/arrears", owed, by="service")
    told = problem(await office.post("/v1/arrears", owed, by="service"), 409, "refused")
    assert opened["case_id"] in told["reasons"][0]
    paid = {"account": owed["account"], "payment": "PAY-1", "currency": "CNY", "amount": 1_000}
    paid["paid_on"] = datetime.now(UTC).date().isoformat()
    first = await office.done("/v1/payments", paid, by="service")
    assert (first["case_id"], first["known"], first["settled"]) == (
        opened["case_id"], False, False,
    )  # fmt: skip
    again = await office.done("/v1/payments", paid, by="service")
    assert (again["known"], again["events"]) == (True, [])
    rest = {**paid, "payment": "PAY-2", "amount": 11_000}
    assert (await office.done("/v1/payments", rest, by="service"))["settled"]
    part = (await office.get("/v1/part-payments", by="service"))["part_payments"]
    assert [p["payment"] for p in part] == ["PAY-1"]
    events = (await office.get(f"/v1/cases/{opened['case_id']}/timeline"))["events"]
    payers = {e["actor"]["subject"] for e in events if e["type"] == "PaymentReceived"}
    assert payers == {"service-1"}


async def test_a_payment_of_whom_nobody_chases_is_no_problem(office: Office) -> None:
    today = datetime.now(UTC).date().isoformat()
    paid = {"account": "A-0", "payment": "P-0", "amount": 1, "currency": "CNY", "paid_on": today}
    told = await office.done("/v1/payments", paid, by="service")
    assert (told["case_id"], told["known"], told["events"]) == (None, False, [])


async def test_a_payment_of_the_future_or_in_another_currency_is_refused(office: Office) -> None:
    owed = bill()
    await office.done("/v1/arrears", owed, by="service")
    tomorrow = date.fromisoformat(datetime.now(UTC).date().isoformat()) + timedelta(days=3)
    paid = {"account": owed["account"], "payment": "PAY-1", "currency": "USD", "amount": 5_000}
    answer = await office.post(
        "/v1/payments", {**paid, "paid_on": tomorrow.isoformat()}, by="service"
    )
    assert len(problem(answer, 409, "refused")["reasons"]) == 2


async def test_a_permit_too_early_is_refused_with_every_condition(office: Office) -> None:
    opened = await office.done("/v1/arrears", bill(), by="service")
    path = f"/v1/cases/{opened['case_id']}/permits"
    answer = await office.post(path, {"crew": "crew-1"}, by="crew")
    told = problem(answer, 409, "refused")
    assert told["reasons"]
    problem(await office.post(path, {"crew": "crew-1"}), 403, "forbidden")
    dossier = await office.get(f"/v1/cases/{opened['case_id']}/dossier")
    assert dossier["case_id"] == opened["case_id"]


# Registers


async def test_everybody_may_see_their_own_staff_file_and_others_ask_a_judge(
    office: Office,
) -> None:
    for by, who, status in (
        ("crew", "s-1041", 404),
        ("crew", "s-7", 403),
        ("supervisor", "s-7", 404),
    ):
        answer = await office.http.get("/v1/staff/s-1041", headers=badge(by, who))
        assert answer.status_code == status, answer.text


async def test_a_staff_file_says_what_upheld_complaints_mean(office: Office) -> None:
    case_id = (await office.done("/v1/complaints", {**COMPLAINT, **REPORTED_TO}))["case_id"]
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    for name, body in (
        ("ScreenComplaint", {"category": "attitude", "gravity": "light"}),
        ("HandOverComplaint", {"department": "field-service"}),
        ("AcknowledgeComplaint", {}),
        ("StartInvestigation", {}),
        (
            "DecideFinding",
            {"staff": "s-1041", "outcome": "upheld", "conduct_at": yesterday, "evidence": "m-1"},
        ),
        ("AnswerComplaint", {"outcome": "upheld", "answer": "letter-1"}),
    ):
        answer = await office.send(case_id, name, **body)
        if answer.status_code != 200:
            pytest.fail(f"{name}: {answer.text}")

    async def filed() -> bool:
        answer = await office.http.get("/v1/staff/s-1041", headers=badge("supervisor"))
        return answer.status_code == 200

    await until(filed)
    found = await office.get("/v1/staff/s-1041", by="crew", who="s-1041")
    assert [f["complaint"] for f in found["findings"]] == [case_id]
    own = await office.get(f"/v1/cases/{found['case_id']}/timeline", by="crew", who="s-1041")
    assert own["case_id"] == found["case_id"]


async def test_satisfaction_and_stops_are_shown(office: Office) -> None:
    found = await office.get("/v1/satisfaction", since="2026-01", until="2026-03")
    assert (found["since"], found["until"], found["months"]) == ("2026-01", "2026-03", [])
    answer = await office.http.get(
        "/v1/satisfaction", params={"since": "2026-03", "until": "2026-01"}, headers=badge()
    )
    problem(answer, 422, "invalid")
    assert (await office.get("/v1/stops", open=True)) == {"stops": [], "next": None}
    listed = await office.get("/v1/assessments", by="supervisor", half_year="2026-H1")
    assert listed == {"assessments": [], "next": None}
    answer = await office.http.get("/v1/stops", params={"after": "x"}, headers=badge())
    assert "after: give the `next`" in problem(answer, 422, "invalid")["reasons"][0]


# Operations


async def test_the_outbox_pages_messages_without_anything_personal(office: Office) -> None:
    case_id = await office.reported()
    whole = await office.get("/v1/outbox", by="supervisor", case=case_id)
    assert whole["messages"]
    assert not [word for word in PERSONAL if word in str(whole)]
    first = await office.get("/v1/outbox", by="supervisor", limit=1)
    if first["next"] is not None:
        rest = await office.get("/v1/outbox", by="supervisor", after=first["next"])
        assert first["messages"] + rest["messages"] == whole["messages"]


async def test_policies_are_listed_and_shown_under_the_hash_that_cases_pin(office: Office) -> None:
    listed = (await office.get("/v1/policies"))["policies"]
    assert {"gas", "water", "estate"} <= {p["name"] for p in listed}
    gas = next(p for p in listed if p["name"] == "gas")
    assert (await office.get("/v1/policies/gas"))["hash"] == gas["hash"]
    shown = await office.get(f"/v1/cases/{await office.reported()}/timeline")
    assert shown["policy_hash"] == gas["hash"]
    answer = await office.http.get("/v1/policies/none", headers=badge())
    problem(answer, 404, "no-such-entry")


async def test_health_needs_no_token_and_readiness_says_what_is_missing(
    idle_office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = idle_office
    assert (await office.http.get("/healthz")).json() == {"status": "ok"}
    ready = await office.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok"})

    async def gone() -> Any:
        raise RuntimeError

    monkeypatch.setattr(office.session, "client", gone)
    told = problem(await office.http.get("/readyz"), 503, "unavailable")
    assert told["reasons"] == ["Temporal does not answer."]
