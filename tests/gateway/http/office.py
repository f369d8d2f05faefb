"""An office on real servers: the API as callers see it, each with a token of their own."""

import base64
import os
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from httpx import ASGITransport, AsyncClient, Response

from gateway.http.access import Principal, Unauthenticated
from gateway.session import Session
from schemas.base import Organisation
from settings import Settings

CUSTOMER = {"name": "Ouyang Xiaoming", "phone": "13912345678", "address": "77 Plum Alley"}
PERSONAL = (*CUSTOMER.values(), "Ouyang", "Plum")
REPAIR = {"channel": "phone", "category": "no-gas", "district": "north", "customer": CUSTOMER}
COMPLAINT = {
    "channel": "phone",
    "about": "staff",
    "accused": [{"staff": "s-1041"}],
    "category": "attitude",
    "district": "north",
    "customer": {"name": "Ouyang Xiaoming", "phone": "13912345678"},
}


class Badges:
    """Takes `Bearer s-1/clerk,supervisor` at its word; tokens proper are tested elsewhere."""

    def __init__(self, organisation: Organisation) -> None:
        self._organisation = organisation

    async def admit(self, token: str | None, request: Request) -> Principal:
        if token is None:
            raise Unauthenticated("Send a bearer token.", None)
        subject, _, roles = token.partition("/")
        given = {"subject": subject, "roles": roles.split(","), "organisation": self._organisation}
        return Principal.model_validate(given)


def settings(database_url: str, task_queue: str, **more: Any) -> Settings:
    """Of one gateway in front of real servers."""
    key = base64.b64encode(os.urandom(32)).decode()
    return Settings(
        **{
            "database_url": database_url,
            "task_queue": task_queue,
            # One's own: tests share Temporal, where the same report is the same case.
            "organisation": f"t-{uuid4().hex[:20]}",
            "key": key,
            "rate_per_address": "1000000/second",
            "rate_per_subject": "1000000/second",
            **more,
        }
    )


@dataclass
class Office:
    """The API, and people who call it: `clerk-1` is a clerk, `crew-1` a crew."""

    app: FastAPI
    session: Session
    http: AsyncClient

    async def get(self, path: str, by: str = "clerk", who: str | None = None, **query: Any) -> Any:
        answer = await self.http.get(path, params=query, headers=badge(by, who))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(
        self,
        path: str,
        body: Any = None,
        *,
        by: str = "clerk",
        who: str | None = None,
        key: str | None = None,
    ) -> Response:
        headers = {**badge(by, who), "Idempotency-Key": key or str(uuid4())}
        return await self.http.post(path, json={} if body is None else body, headers=headers)

    async def done(self, path: str, body: Any = None, **how: Any) -> Any:
        answer = await self.post(path, body, **how)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def reported(self, **more: Any) -> str:
        """A new repair."""
        return (await self.done("/v1/repairs", {**REPAIR, **more}))["case_id"]

    async def send(self, case_id: str, name: str, by: str = "clerk", **body: Any) -> Response:
        return await self.post(f"/v1/cases/{case_id}/commands/{name}", body, by=by)


def badge(by: str = "clerk", who: str | None = None) -> dict[str, str]:
    """Somebody's bearer token: in a role, or in several with commas between."""
    return {"Authorization": f"Bearer {who or by.partition(',')[0] + '-1'}/{by}"}


def caller(app: FastAPI) -> AsyncClient:
    """Somebody at the other end of the line; no socket lies between."""
    return AsyncClient(
        transport=ASGITransport(app, raise_app_exceptions=False), base_url="http://standpipe.test"
    )


def problem(answer: Response, status: int, kind: str) -> Any:
    """The problem that an answer is, as it must be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["type"] == f"/problems/{kind}"
    assert told["status"] == status
    assert told["title"]
    assert told["detail"]
    assert told["instance"].startswith("urn:uuid:")
    assert not [word for word in PERSONAL if word in answer.text]
    return told
