"""Open311 as a public client library and a plain form see it."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, cast
from uuid import uuid4
from xml.etree import ElementTree

import pytest
from georeport import GeoReport  # pyright: ignore
from httpx import AsyncClient, Response

from gateway.http.server import listening
from settings import Settings
from stack import Endpoints
from tests.conftest import Database
from tests.gateway.http.office import PERSONAL, REPAIR, Office, badge, caller, settings

KEY = "a key of thirty-two letters or so"
FORM = {
    "api_key": KEY,
    "service_code": "no-gas",
    "address_string": "77 Plum Alley",
    "lat": "31.2",
    "long": "121.47",
    "first_name": "Xiaoming",
    "last_name": "Ouyang",
    "phone": "13912345678",
    "email": "ouyang@plum.example",
    "description": "Ouyang's flat: nothing since six",
    "attribute[district]": "north",
    "attribute[asset]": "M-20114",
}
PRIVATE = (*PERSONAL, "Xiaoming", "31.2", "plum.example", "nothing since six")


@pytest.fixture
def office_settings(
    monkeypatch: pytest.MonkeyPatch,
    servers: Endpoints,
    database: Database,
    task_queue: str,
    tmp_path: Path,
) -> Settings:
    """A gateway that knows a civic app."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", servers.temporal_address)
    keys = tmp_path / "keys"
    keys.write_text(f"# civic apps\ntown-app {sha256(KEY.encode()).hexdigest()}\n")
    url = database.url("standpipe_gateway")
    return settings(url, task_queue, open311_keys_file=keys)


@pytest.fixture
async def city(office: Office) -> AsyncIterator[AsyncClient]:
    """Whoever calls without a token."""
    async with caller(office.app) as http:
        yield http


async def made(city: AsyncClient, key: str | None = None, **form: str) -> str:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = await city.post("/open311/v2/requests.json", data=FORM | form, headers=headers)
    assert answer.status_code == 201, answer.text
    (told,) = answer.json()
    assert told.keys() == {"service_request_id", "service_notice", "account_id"}
    return told["service_request_id"]


def errors(answer: Response, status: int) -> str:
    """What an answer says went wrong, in the standard's form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert {e["code"] for e in answer.json()} == {status}
    assert not [word for word in (*PRIVATE, KEY) if word in answer.text]
    return " ".join(e["description"] for e in answer.json())


async def test_a_public_client_library_finds_its_way(office: Office, city: AsyncClient) -> None:
    first = await made(city)
    second = await made(city, service_code="meter", **{"attribute[district]": "south"})
    async with listening(office.app, "127.0.0.1", 0) as address:

        def asked(client: Any) -> None:
            listed = {service["service_code"]: service for service in client.get_service_list()}
            assert listed.keys() >= {"no-gas", "meter", "smell-of-gas"}
            assert listed["no-gas"]["service_name"] == "No gas"
            defined = client.get_service_definition("no-gas")
            assert defined["service_code"] == "no-gas"
            requests = client.get_service_requests()
            assert [r["service_request_id"] for r in requests] == [second, first]
            (one, other) = client.get_service_requests(service_request_id=f"{first},{second}")
            assert {one["service_request_id"], other["service_request_id"]} == {first, second}
            shown = client.get_service_request(first)
            assert (shown["status"], shown["service_code"]) == ("open", "no-gas")
            asked_at = datetime.fromisoformat(shown["requested_datetime"])
            expected = datetime.fromisoformat(shown["expected_datetime"])
            assert expected - asked_at == timedelta(hours=24)  # KUN-2.2.4c
            assert not [word for word in PRIVATE if word in json.dumps(requests)]

        for format in ("json", "xml"):
            client = cast("Any", GeoReport)(
                f"{address}/open311/v2/", office.session.organisation, output_format=format
            )
            await asyncio.to_thread(asked, client)


async def test_a_report_is_a_case_of_the_apps_with_its_particulars_in_the_vault(
    office: Office, city: AsyncClient
) -> None:
    case_id = await made(city, address_id="P-20114")
    row = await office.get(f"/v1/cases/{case_id}")
    assert (row["category"], row["district"], row["owner_kind"]) == ("no-gas", "north", "unit")
    shown = await office.get(f"/v1/cases/{case_id}/timeline")
    assert shown["events"][0]["actor"] == {
        "subject": "town-app",
        "role": "service",
        "proof": "token",
    }
    (reported, *_) = await office.session.log.read_stream(office.session.organisation, case_id)
    assert reported.body["channel"] == "app"
    assert reported.body["premises"] == "P-20114"
    assert reported.body["asset"] == "M-20114"
    assert not [word for word in PRIVATE if word in json.dumps(reported.body)]
    party = await office.get(f"/v1/parties/{reported.body['party']}")
    assert party["name"] == "Xiaoming Ouyang"
    assert party["phone"] == "13912345678"
    assert party["address"] == "77 Plum Alley, P-20114, 31.200000 121.470000"
    assert party["remarks"] == "Ouyang's flat: nothing since six"


async def test_the_same_form_is_the_same_report_for_a_while_or_under_its_key(
    office: Office, city: AsyncClient
) -> None:
    first = await made(city)
    assert await made(city) == first
    answer = await city.post("/open311/v2/requests.xml", data=FORM)
    assert first in answer.text
    other = await made(city, phone="13912345679")
    assert other != first
    key = str(uuid4())
    under_key = await made(city, key)
    assert under_key not in (first, other)
    assert await made(city, key) == under_key
    headers = {"Idempotency-Key": key}
    form = FORM | {"phone": "13912345670"}
    answer = await city.post("/open311/v2/requests.json", data=form, headers=headers)
    errors(answer, 422)


async def test_a_report_needs_the_key_of_an_app_or_the_token_of_a_service(
    office: Office, city: AsyncClient
) -> None:
    url = "/open311/v2/requests.json"
    keyless = {name: value for name, value in FORM.items() if name != "api_key"}
    assert "api_key" in errors(await city.post(url, data=keyless), 403)
    wrong = FORM | {"api_key": "another key of about that length"}
    assert "api_key" in errors(await city.post(url, data=wrong), 403)
    answer = await city.post(url, data=keyless, headers=badge("auditor"))
    assert "Only the role" in errors(answer, 403)
    (kept,) = (await office.get("/v1/refusals", "supervisor"))["refusals"]
    assert (kept["actor"], kept["command_type"]) == ("auditor-1", "ReportRepair")
    answer = await city.post(url, data=keyless, headers=badge("service"))
    assert answer.status_code == 201, answer.text


async def test_everything_wrong_is_told_at_once_in_the_standards_form(
    office: Office, city: AsyncClient
) -> None:
    url = "/open311/v2/requests"
    wrong = {
        "api_key": KEY,
        "service_code": "no-gas",
        "lat": "Plum Alley",
        "email": "Ouyang",
        "media_url": "javascript:13912345678",
        "attribute[district]": "77 Plum Alley",
        "attribute[colour]": "Plum",
    }
    said = errors(await city.post(f"{url}.json", data=wrong), 400)
    for name in ("lat, long", "email", "media_url", "attribute[district]", "district, asset"):
        assert name in said
    answer = await city.post(f"{url}.xml", data=wrong)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/xml; charset=utf-8")
    root = ElementTree.fromstring(answer.content)
    assert root.tag == "errors"
    assert [e.tag for e in root] == ["error"] * 5
    assert {e.findtext("code") for e in root} == {"400"}
    # The rules of the channel, which the case itself knows.
    bare = {"api_key": KEY, "service_code": "no-gas", "address_string": "77 Plum Alley"}
    assert "phone" in errors(await city.post(f"{url}.json", data=bare), 400)
    assert "missing" in errors(await city.post(f"{url}.json", data={"api_key": KEY}), 400)
    unknown = FORM | {"service_code": "potholes"}
    assert "service_code" in errors(await city.post(f"{url}.json", data=unknown), 404)
    elsewhere = FORM | {"jurisdiction_id": "elsewhere"}
    assert "jurisdiction_id" in errors(await city.post(f"{url}.json", data=elsewhere), 404)
    errors(await city.post(f"{url}.json", json=FORM), 415)
    bad = b"api_key=%ff%fe"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    errors(await city.post(f"{url}.json", content=bad, headers=form), 400)


async def test_requests_are_found_by_what_they_are_and_others_cases_never(
    office: Office, city: AsyncClient
) -> None:
    url = "/open311/v2/requests.json"
    internal = await office.reported()
    gas, meter = await made(city), await made(city, service_code="ic-card")
    done = await office.send(meter, "SolveByPhone", solution="card-read-again")
    assert done.status_code == 200, done.text

    async def found(**query: str) -> list[str]:
        answer = await city.get(url, params=query)
        assert answer.status_code == 200, answer.text
        return [told["service_request_id"] for told in answer.json()]

    assert await found() == [meter, gas]
    assert await found(status="open") == [gas]
    assert await found(status="closed") == [meter]
    assert await found(status="open,closed", service_code="no-gas,appliance") == [gas]
    assert await found(service_request_id=f"{internal},{gas},nonsense\x00", status="closed") == [
        gas
    ]
    now = datetime.now(UTC)
    later, earlier = now + timedelta(hours=1), now - timedelta(hours=1)
    assert await found(start_date=earlier.isoformat(), end_date=later.isoformat()) == [meter, gas]
    assert await found(start_date=later.isoformat()) == []
    assert await found(end_date=earlier.isoformat()) == []
    for wrong in (
        {"start_date": "2026-05-01"},
        {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-05-01T00:00:00Z"},
        {"status": "pending"},
    ):
        errors(await city.get(url, params=wrong), 400)
    for missing in (internal, "repair-unknown", "x"):
        errors(await city.get(f"/open311/v2/requests/{missing}.json"), 404)
    assert REPAIR["category"] == "no-gas"
    (told,) = (await city.get(f"/open311/v2/requests/{meter}.json")).json()
    assert (told["status"], told["status_notes"]) == ("closed", "Solved by phone")


async def test_what_is_not_there_is_told_in_the_standards_form(
    office: Office, city: AsyncClient
) -> None:
    base = "/open311/v2"
    errors(await city.get(f"{base}/services/potholes.json"), 404)
    errors(await city.get(f"{base}/services.json?jurisdiction_id=elsewhere"), 404)
    errors(await city.get(f"{base}/services.yaml"), 400)
