"""Whatever is sent, the API answers as its document says, and no case gets stuck."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest
from temporalio.client import Client

from activities.database import open_pool
from activities.event_log import EventLog
from gateway.http import feed
from gateway.http.access import access_of
from gateway.http.app import build_app
from gateway.http.server import listening
from gateway.permissions import ROLES
from gateway.session import Session
from gateway.tokens import trusted
from schemas.conduct import conduct_id
from settings import Settings
from tests.conftest import Database
from tests.gateway.http import identity
from tests.gateway.http.fuzzing import fuzz
from tests.gateway.http.office import COMPLAINT, REPAIR
from worker import build_worker

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "4"))
"""So many requests of each operation and phase; more find more."""


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
            token = issuer.token("ed", roles=[*ROLES], organisation=given.organisation)
            yield Gateway(at, session, token)
        await pool.close()


async def test_whatever_is_sent_the_answer_is_as_described(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {gateway.token}"}
    async with httpx.AsyncClient(base_url=gateway.address, headers=headers, timeout=60) as http:
        document = (await http.get("/openapi.json")).json()
        cases = await opened(http, document)
    cases["conduct"] = [conduct_id(gateway.session.organisation, "s-1041")]

    found = await asyncio.to_thread(
        fuzz, document, gateway.address, gateway.token, cases, examples=EXAMPLES
    )
    print(found.requests, found.by_status, len(found.operations), sum(1 for v in found.done.values() if v))
    print([l for l, v in sorted(found.done.items()) if not v])
    for what, told in sorted(found.wrong.items()):
        print("=====", what, "\n", told)
    assert not found.wrong


async def opened(http: httpx.AsyncClient, document: Any) -> dict[str, list[str]]:
    """Some cases of each kind."""
    cases: dict[str, list[str]] = {}
    arrears = document["components"]["schemas"]["OpenArrears"]["examples"][0]
    for n in range(3):
        for kind, path, body in (
            ("repair", "/v1/repairs", REPAIR),
            ("complaint", "/v1/complaints", COMPLAINT),
            ("arrears", "/v1/arrears", {**arrears, "account": f"A-{n}"}),
        ):
            answer = await http.post(path, json=body, headers={"Idempotency-Key": f"{kind}-{n}"})
            assert answer.status_code == 201, answer.text
            cases.setdefault(kind, []).append(answer.json()["case_id"])
    return cases
