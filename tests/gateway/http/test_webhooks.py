"""Webhooks over HTTP: who may handle them; and a stranger's receiver can check what it gets."""

import asyncio
import re
from collections.abc import AsyncIterator
from http.server import HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from temporalio.client import Client

from activities.database import open_pool
from activities.delivery import Deliveries, Patience
from activities.event_log import EventLog
from activities.posting import Poster
from activities.subscriptions import readable
from gateway.carriers import OurRoads
from gateway.cloudevents import MEDIA_TYPE
from settings import Settings
from stack import Endpoints
from tests.conftest import Database
from tests.gateway.http.office import Office, badge, problem, settings
from tests.workflows.desk import until
from tests.workflows.receiver import Receiver, receiving
from worker import build_worker

README = Path(__file__).parents[3] / "README.md"
PATIENCE = Patience(poll=0.05)


@pytest.fixture
def office_settings(
    monkeypatch: pytest.MonkeyPatch, servers: Endpoints, database: Database, task_queue: str
) -> Settings:
    monkeypatch.setenv("TEMPORAL_ADDRESS", servers.temporal_address)
    url = database.url("standpipe_gateway")
    return settings(url, task_queue, private_targets=True)


@pytest.fixture
async def delivering(
    idle_office: Office, temporal: Client, database: Database, task_queue: str
) -> AsyncIterator[Office]:
    """The API, and a worker that delivers."""
    session = idle_office.session
    async with await open_pool(database.url()) as pool:
        roads = OurRoads(pool, session.settings)
        deliveries = Deliveries(pool, session.organisation, roads, PATIENCE)
        async with build_worker(
            temporal,
            EventLog(pool),
            organisation=session.organisation,
            task_queue=task_queue,
            more_activities=[deliveries.deliver],
        ):
            yield idle_office


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_a_system_is_told_of_a_case_that_it_subscribed_to(
    delivering: Office, receiver: Receiver
) -> None:
    new = {"url": f"{receiver.url}/hook", "types": ["repair.RepairReported"]}
    made = await delivering.done("/v1/webhooks", new, by="admin", key="one")
    again = await delivering.done("/v1/webhooks", new, by="admin", key="one")
    assert again == made
    found = await delivering.get("/v1/webhooks", by="auditor")
    assert [w["id"] for w in found["webhooks"]] == [made["id"]]
    path = f"/v1/webhooks/{made['id']}"
    secret = (await delivering.get(f"{path}/secret", by="admin"))["secret"]
    assert secret not in str(made) + str(found)

    case_id = await delivering.reported()

    async def told() -> bool:
        return bool(receiver.requests)

    await until(told)
    (event,) = receiver.verified(secret)
    assert (event["type"], event["subject"]) == ("standpipe.repair.RepairReported", case_id)
    assert event["source"] == f"urn:standpipe:{delivering.session.organisation}"

    tested = await delivering.done(f"{path}/test", by="admin")
    assert tested == {"delivered": True, "status": "answered 200"}
    assert receiver.verified(secret)[-1]["type"] == "standpipe.webhook.test"
    rows = await delivering.get("/v1/deliveries", by="admin", webhook=made["id"])
    assert [row["state"] for row in rows["deliveries"]] == ["delivered"]

    changed = await delivering.http.patch(path, json={"active": False}, headers=badge("admin"))
    assert changed.json()["ended"] == "paused"
    await delivering.reported()
    changed = await delivering.http.patch(path, json={"active": True}, headers=badge("admin"))
    assert changed.json()["active"] is True

    async def told_of_both() -> bool:
        return len(receiver.requests) == 3

    await until(told_of_both)
    removed = await delivering.http.delete(path, headers=badge("admin"))
    assert removed.json() == {"id": made["id"]}
    gone = await delivering.http.get(path, headers=badge("admin"))
    problem(gone, 404, "no-such-entry")


async def test_only_an_admin_handles_webhooks(delivering: Office) -> None:
    new = {"url": "https://example.org/hook"}
    for role in ("clerk", "supervisor", "auditor", "service"):
        problem(await delivering.post("/v1/webhooks", new, by=role), 403, "forbidden")
    secret = await delivering.http.get("/v1/webhooks/sub-1/secret", headers=badge("auditor"))
    problem(secret, 403, "forbidden")


async def test_everything_wrong_with_a_webhook_is_told_at_once(delivering: Office) -> None:
    new = {"url": "https://example.org:x/hook", "types": ["repair.CrewArived", "boats.*"]}
    told = problem(await delivering.post("/v1/webhooks", new, by="admin"), 422, "invalid")
    assert len(told["reasons"]) == 2


async def test_own_networks_are_refused_at_once(delivering: Office) -> None:
    delivering.session.settings = delivering.session.settings.model_copy(
        update={"private_targets": False}
    )
    for url in ("https://127.0.0.1/hook", "https://localhost/hook", "http://example.org/hook"):
        answer = await delivering.post("/v1/webhooks", {"url": url}, by="admin")
        told = problem(answer, 422, "invalid")
        assert "url" in told["reasons"][0]


async def test_the_receiver_in_the_readme_takes_what_is_ours_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = README.read_text(encoding="utf-8")
    found = re.search(r"<!-- webhook-receiver -->\n```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    secret = bytes(range(32))
    monkeypatch.setenv("WEBHOOK_SECRET", readable(secret))
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(found[1], str(README), "exec"), names)
    server = HTTPServer(("127.0.0.1", 0), names["Receiver"])
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        body = b'{"id":"e-1","type":"standpipe.repair.CrewArrived","subject":"repair-1","data":{}}'
        async with Poster(secret, private=True) as ours:
            first = await ours.post(url, "e-1", body, MEDIA_TYPE)
            again = await ours.post(url, "e-1", body, MEDIA_TYPE)
        async with Poster(bytes(32), private=True) as forger:
            forged = await forger.post(url, "e-2", body, MEDIA_TYPE)
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
    assert [c.status for c in (first, again, forged)] == [
        "answered 204",
        "answered 204",
        "answered 401",
    ]
    assert capsys.readouterr().out == "standpipe.repair.CrewArrived repair-1 {}\n"
