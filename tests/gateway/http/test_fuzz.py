"""Whatever is sent, the API answers as its document says, and no case gets stuck."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from activities.database import open_pool
from activities.event_log import EventLog
from activities.rebuild import rebuild
from gateway.http import feed
from gateway.http.access import access_of
from gateway.http.app import build_app
from gateway.http.opening import ARREARS
from gateway.http.server import listening
from gateway.permissions import ROLES
from gateway.session import Session
from gateway.terminal.records import project
from gateway.tokens import trusted
from schemas.conduct import conduct_id
from schemas.envelope import Json
from settings import Settings
from tests.conftest import Database
from tests.gateway.http import identity
from tests.gateway.http.fuzzing import fuzz
from tests.gateway.http.office import COMPLAINT, REPAIR
from worker import build_worker

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2"))
"""So many requests of each operation and phase; more find more."""


RUNNING, COMPLETED = WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED
FURTHER: dict[str, list[tuple[str, Json]]] = {
    "repair": [
        ("TriageRepair", {"category": "no-gas", "severity": "common"}),
        ("DispatchCrew", {"crew": "crew-7"}),
        ("RecordArrival", {"crew": "crew-7"}),
    ],
    "complaint": [
        ("ScreenComplaint", {"category": "attitude", "gravity": "light"}),
    ],
    "arrears": [
        ("RecordContact", {"how": "phone", "evidence": "call:8812"}),
        ("PlaceHold", {"hold": "transfer", "kind": "payment_in_flight", "source": "slip-2"}),
    ],
}
"""What is asked of cases before, so that not all stand at the beginning."""


class Gateway(NamedTuple):
    """On a socket, with a worker behind it; `token` is of somebody with every role."""

    address: str
    session: Session
    token: str


@pytest.fixture
async def gateway(
    monkeypatch: pytest.MonkeyPatch,
    office_settings: Settings,
    temporal: Client,
    database: Database,
    task_queue: str,
) -> AsyncIterator[Gateway]:
    # Nobody waits for the end of a stream without end.
    monkeypatch.setattr(feed, "LONGEST_SECONDS", 0.2)
    monkeypatch.setattr(feed, "HEARTBEAT_SECONDS", 0.1)
    async with identity.running() as issuer:
        given = office_settings.model_copy(
            update={"oidc_issuer": issuer.url, "rate_of_decisions": "1000000/second"}
        )
        pool = await open_pool(database.url())
        async with (
            Session(given, connections=20) as session,
            trusted(given) as tokens,
            build_worker(
                temporal,
                EventLog(pool),
                organisation=given.organisation,
                task_queue=task_queue,
            ),
            listening(build_app(session, access_of(given, tokens, session)), "127.0.0.1", 0) as at,
        ):
            token = issuer.token("ed", sub="s-7", roles=[*ROLES], organisation=given.organisation)
            yield Gateway(at, session, token)
        await pool.close()


async def test_whatever_is_sent_the_answer_is_as_described_and_no_case_is_stuck(
    gateway: Gateway, temporal: Client, database: Database
) -> None:
    organisation = gateway.session.organisation
    headers = {"Authorization": f"Bearer {gateway.token}"}
    async with httpx.AsyncClient(base_url=gateway.address, headers=headers, timeout=60) as http:
        document = (await http.get("/openapi.json")).json()
        cases = await opened(http)
    cases["conduct"] = [conduct_id(organisation, "s-1041")]

    found = await asyncio.to_thread(
        fuzz, document, gateway.address, gateway.token, cases, examples=EXAMPLES
    )
    assert not found.wrong, "\n\n".join(f"{what}\n{told}" for what, told in found.wrong.items())
    described = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert found.operations == described
    answered = {label for label, often in found.done.items() if often}
    assert len(answered) > 40, sorted(described - answered)

    # No case waits for a task that failed, and none failed for good.
    running = f'Organisation = "{organisation}"'
    seen = 0
    async for workflow in temporal.list_workflows(running):
        about = await temporal.get_workflow_handle(workflow.id).describe()
        seen += 1
        assert about.raw_description.pending_workflow_task.attempt <= 1, workflow.id
        assert about.status in (RUNNING, COMPLETED), workflow.id
    assert seen >= 12, seen
    # What is shown is what the log says.
    result = await rebuild(database.admin_url, organisation, project, lambda _: None)
    assert result.differences == ()
    assert result.cases >= 12


async def opened(http: httpx.AsyncClient) -> dict[str, list[str]]:
    """Some cases of each kind, at several stages."""
    cases: dict[str, list[str]] = {}
    for n in range(4):
        for kind, path, body in (
            ("repair", "/v1/repairs", REPAIR),
            ("complaint", "/v1/complaints", COMPLAINT),
            ("arrears", "/v1/arrears", {**ARREARS, "account": f"A-{n}", "premises": f"P-{n}"}),
        ):
            answer = await http.post(path, json=body, headers={"Idempotency-Key": f"{kind}-{n}"})
            assert answer.status_code == 201, answer.text
            case_id = answer.json()["case_id"]
            cases.setdefault(kind, []).append(case_id)
            for name, fields in FURTHER[kind][:n]:
                answer = await http.post(
                    f"/v1/cases/{case_id}/commands/{name}",
                    json=fields,
                    headers={"Idempotency-Key": f"{name}-{n}"},
                )
                assert answer.status_code == 200, answer.text
    return cases
