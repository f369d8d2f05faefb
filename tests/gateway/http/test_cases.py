"""Cases over HTTP: opened, asked, listed and shown, as a stranger would do it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.gateway.http.office import COMPLAINT, CUSTOMER, REPAIR, Office, problem

TRIAGE = {"category": "no-gas", "severity": "common"}


async def test_a_reported_repair_is_open_under_the_callers_number(office: Office) -> None:
    answer = await office.post("/v1/repairs", REPAIR, who="s-7")
    assert answer.status_code == 201, answer.text
    opened = answer.json()
    case_id = opened["case_id"]
    assert answer.headers["location"] == f"/v1/cases/{case_id}"
    assert opened["outcome"]["stage"] == "Reported"
    shown = await office.get(f"/v1/cases/{case_id}/timeline")
    actor = shown["events"][0]["actor"]
    assert actor == {"subject": "s-7", "role": "clerk", "proof": "token"}
    assert "TriageRepair" in shown["possible"]
    assert not [word for word in CUSTOMER.values() if word in str(shown)]
    party = await office.get(f"/v1/parties/{opened['party_id']}")
    assert party["name"] == CUSTOMER["name"]
    row = await office.get(f"/v1/cases/{case_id}")
    assert (row["kind"], row["stage"], row["version"]) == ("repair", "Reported", shown["version"])


async def test_a_report_counts_from_when_it_happened(office: Office) -> None:
    earlier = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    case_id = await office.reported(occurred_at=earlier.isoformat())
    row = await office.get(f"/v1/cases/{case_id}")
    assert datetime.fromisoformat(row["opened_at"]) == earlier


async def test_a_known_party_is_named_instead_of_given_again(office: Office) -> None:
    party = (await office.done("/v1/parties", CUSTOMER))["party_id"]
    body = {**REPAIR, "customer": None, "party": party}
    opened = await office.done("/v1/repairs", body)
    assert opened["party_id"] == party
    told = problem(await office.post("/v1/repairs", {**REPAIR, "party": party}), 422, "invalid")
    assert told["reasons"] == ["body.party: leave it out where you give the customer."]
    unknown = {**body, "party": "party-unknown"}
    problem(await office.post("/v1/repairs", unknown), 404, "no-such-party")


async def test_an_actor_is_no_field_of_a_request(office: Office) -> None:
    actor = {"subject": "s-9", "role": "supervisor", "proof": "token"}
    told = problem(await office.post("/v1/repairs", {**REPAIR, "actor": actor}), 422, "invalid")
    assert told["reasons"] == ["body.actor: there is no such field"]


async def test_a_complaint_of_an_informant_is_sealed(office: Office) -> None:
    secret = {**COMPLAINT, "confidential": True}
    told = problem(await office.post("/v1/complaints", secret), 422, "invalid")
    assert "sealed_to: missing" in told["reasons"][0]
    opened = await office.done("/v1/complaints", {**secret, "sealed_to": ["conduct_officer"]})
    party = f"/v1/parties/{opened['party_id']}"
    answer = await office.http.get(party, headers={"Authorization": "Bearer s-1/clerk"})
    problem(answer, 403, "party-sealed")
    found = await office.get(party, by="conduct_officer")
    assert found["name"] == CUSTOMER["name"]


async def test_a_command_is_done_and_told(office: Office) -> None:
    case_id = await office.reported()
    answer = await office.send(case_id, "TriageRepair", **TRIAGE)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["stage"], answer.json()["events"][0]) == ("Triaged", "RepairTriaged")
    await office.done(f"/v1/cases/{case_id}/commands/DispatchCrew", {"crew": "k-7"})
    at = datetime.now(UTC).isoformat()
    late = await office.send(case_id, "RecordArrival", by="crew", crew="k-7", occurred_at=at)
    assert late.status_code == 200, late.text
    assert (await office.send(case_id, "TakeCase")).status_code == 200  # no fields, no body


async def test_a_refused_command_says_all_reasons_and_what_is_possible(office: Office) -> None:
    case_id = await office.reported()
    answer = await office.send(case_id, "CompleteRepair", by="crew", work=["valve"])
    told = problem(answer, 409, "refused")
    assert told["reasons"]
    assert "TriageRepair" in told["possible"]
    shown = await office.get(f"/v1/cases/{case_id}/timeline")
    assert told["possible"] == shown["possible"]


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("DeadlinePassed", 404, "no-such-command"),  # the clock's
        ("RecordAnswer", 404, "no-such-command"),  # the case's own
        ("AdoptReport", 404, "no-such-command"),  # one case's to another
        ("ReportRepair", 404, "no-such-command"),
        ("ScreenComplaint", 404, "no-such-command"),  # another kind's
        ("recordarrival", 404, "no-such-command"),
        ("Nothing", 404, "no-such-command"),
    ],
)
async def test_what_callers_may_not_send_is_no_command(
    office: Office, name: str, status: int, kind: str
) -> None:
    case_id = await office.reported()
    body = {"category": "late", "gravity": "light"} if name == "ScreenComplaint" else {}
    problem(await office.send(case_id, name, **body), status, kind)


async def test_a_case_that_is_none_is_not_found(office: Office) -> None:
    problem(await office.send("repair-none", "TakeCase"), 404, "no-such-case")
    for path in ("", "/timeline"):
        answer = await office.http.get(
            f"/v1/cases/repair-none{path}", headers={"Authorization": "Bearer s-1/clerk"}
        )
        problem(answer, 404, "no-such-case")


async def test_lists_go_on_page_by_page_and_miss_nothing(office: Office) -> None:
    made = sorted([await office.reported() for _ in range(5)])
    seen: list[str] = []
    after: dict[str, Any] = {}
    while True:
        page = await office.get("/v1/cases", limit=2, **after)
        seen += [row["case_id"] for row in page["cases"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == made


async def test_lists_show_what_was_asked_for_and_what_the_role_may_see(office: Office) -> None:
    repair = await office.reported()
    opened = await office.done("/v1/complaints", COMPLAINT)
    everything = await office.get("/v1/cases")
    assert {row["case_id"] for row in everything["cases"]} == {repair, opened["case_id"]}
    some = {"kind": "repair", "stage": "reported", "district": "north", "open": True}
    assert [r["case_id"] for r in (await office.get("/v1/cases", **some))["cases"]] == [repair]
    assert (await office.get("/v1/cases", kind="repair", late=True))["cases"] == []
    of_crew = await office.get("/v1/cases", by="crew")
    assert [row["kind"] for row in of_crew["cases"]] == ["repair"]
    work = await office.get("/v1/worklist", by="crew")
    assert [row["kind"] for row in work["cases"]] == ["repair"]


async def test_a_case_with_a_broken_promise_is_late_until_it_is_met(office: Office) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3)
    late = await office.reported(occurred_at=long_ago.isoformat())
    await office.reported()
    assert [r["case_id"] for r in (await office.get("/v1/cases", late=True))["cases"]] == [late]


async def test_a_filter_that_names_nothing_lists_what_there_is(office: Office) -> None:
    answer = await office.http.get(
        "/v1/cases",
        params={"kind": "repairs", "stage": "nowhere"},
        headers={"Authorization": "Bearer s-1/clerk"},
    )
    told = problem(answer, 422, "invalid")
    assert len(told["reasons"]) == 2
    assert "kind: one of repair, complaint" in told["reasons"][0]
