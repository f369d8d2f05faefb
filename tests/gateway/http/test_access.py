"""Who comes in, in which role they act, and what becomes of what they may not do."""

import json
import re
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from gateway import issuer as embedded
from gateway.http.access import (
    Access,
    Caller,
    Door,
    Forbidden,
    Principal,
    access_of,
    acting,
    may_do,
    may_see,
    may_see_case,
    reading,
    refusal,
)
from gateway.http.app import build_app
from gateway.http.guards import guarded
from gateway.http.limits import FAILURES, Limits
from gateway.http.problems import Failed
from gateway.session import Session
from gateway.tokens import Tokens, trusted
from schemas.base import Role
from settings import Settings
from tests.gateway.http import identity
from tests.gateway.http.identity import AUDIENCE, Issuer

TAKE = "/v1/cases/repair-1/commands/TakeCase"


def person(*roles: Role) -> Principal:
    return Principal(subject="s-1041", roles=roles, organisation="town")


def denied(what: Any) -> Forbidden:
    with pytest.raises(Forbidden) as caught:
        what()
    assert caught.value.status == 403
    return caught.value


# In which role


def test_of_several_roles_the_first_that_may_acts() -> None:
    both = person("reader", "crew", "clerk")
    assert acting(both, "repair-1", "RecordArrival").role == "crew"
    assert acting(both, "repair", "TriageRepair").role == "clerk"
    actor = acting(both, "arrears-1", "RecordContact")
    assert (actor.subject, actor.role, actor.proof) == ("s-1041", "reader", "token")


def test_a_role_that_the_case_asks_for_goes_first() -> None:
    both = person("clerk", "supervisor", "division_head")
    assert acting(both, "complaint-1", "DecideApproval").role == "clerk"
    wanted: tuple[Role, ...] = ("division_head", "admin")
    found = acting(both, "complaint-1", "DecideApproval", wanted=wanted)
    assert found.role == "division_head"
    # A clerk may decide for somebody who is on leave: the case knows of whom.
    assert acting(person("clerk"), "complaint-1", "DecideApproval", wanted=wanted).role == "clerk"


def test_a_role_may_be_chosen_of_those_that_one_has() -> None:
    both = person("clerk", "supervisor")
    assert acting(both, "repair-1", "TakeCase", as_role="supervisor").role == "supervisor"
    error = denied(lambda: acting(both, "repair-1", "TakeCase", as_role="division_head"))
    assert error.reasons == ("The token has no role division_head.",)
    error = denied(lambda: acting(both, "arrears-1", "AuthoriseCutoff", as_role="clerk"))
    assert "supervisor or division head" in error.reasons[0]


def test_the_same_command_is_for_others_in_another_kind_of_case() -> None:
    assert acting(person("clerk"), "repair-1", "TakeCase")
    error = denied(lambda: acting(person("clerk"), "conduct-1", "TakeCase"))
    assert error.reasons == (
        "Only the role supervisor, division head, conduct officer or admin may send TakeCase.",
    )


@pytest.mark.parametrize("name", ["DeadlinePassed", "RecordAnswer", "AdoptReport", "NoSuchThing"])
def test_what_is_the_cases_own_is_for_nobody(name: str) -> None:
    everybody = person("admin", "service", "supervisor", "division_head")
    error = denied(lambda: acting(everybody, "repair-1", name))
    assert error.reasons[0].startswith("Nobody may")


def test_without_a_role_nothing_is_allowed() -> None:
    denied(lambda: acting(person(), "repair", "ReportRepair"))
    denied(lambda: may_see(person(), "policies"))
    denied(lambda: may_do(person(), "put_party"))


# What one may see


def test_everybody_sees_their_own_file_and_few_see_others() -> None:
    crew = person("crew")
    may_see(crew, "staff_files", about="S-1041")
    may_see_case(crew, "assessment-1", about="s-1041")
    denied(lambda: may_see(crew, "staff_files", about="s-9"))
    error = denied(lambda: may_see_case(crew, "conduct-1"))
    assert (error.what, error.of) == ("see-staff_files", "conduct-1")
    may_see_case(person("conduct_officer"), "conduct-1")
    may_see_case(crew, "repair-1")
    denied(lambda: may_see_case(crew, "complaint-1"))


def test_a_sealed_party_is_read_in_a_role_of_its_seal() -> None:
    both = person("clerk", "supervisor")
    assert reading(both, ()).role == "clerk"
    assert reading(both, ("supervisor", "division_head")).role == "supervisor"
    # Who may read parties, but not this one, is refused by the vault, which keeps the attempt.
    assert reading(person("clerk"), ("supervisor",)).role == "clerk"
    denied(lambda: reading(person("auditor", "service", "admin"), ("admin",)))


# What is kept


def test_a_forbidden_attempt_is_kept_with_who_what_and_why() -> None:
    error = denied(lambda: acting(person("auditor"), "repair-1", "TakeCase"))
    kept = refusal(error, "town", "key-1")
    assert (kept.stream, kept.command_id, kept.command_type) == ("repair-1", "key-1", "TakeCase")
    assert (kept.actor, kept.reasons) == ("s-1041", error.reasons)
    for key in (None, "", "nobody may be called this\n"):
        assert re.fullmatch("forbidden-[0-9a-f]{32}", refusal(error, "town", key).command_id)
    seen = denied(lambda: may_see(person("crew"), "outbox"))
    assert refusal(seen, "town", None).stream == "gateway"


# At the door


@pytest.fixture
async def issuer() -> AsyncGenerator[Issuer]:
    async with identity.running() as issuer:
        yield issuer


@pytest.fixture
async def tokens(issuer: Issuer) -> AsyncGenerator[Tokens]:
    given = Settings(oidc_issuer=issuer.url, oidc_audience=AUDIENCE)
    async with trusted(given) as tokens:
        yield tokens


def behind(access: Access, settings: Settings) -> FastAPI:
    """A small application: it says who called."""
    app = FastAPI()
    app.state.access = access

    @app.get("/me")
    @app.post("/v1/cases/{case}/approvals/{approval}/decision")
    async def me(caller: Caller) -> Principal:
        return caller

    @app.exception_handler(Failed)
    async def answer(_: Request, error: Failed) -> Response:
        return error.response()

    return guarded(app, settings)


def calling(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


@pytest.fixture
async def http(tokens: Tokens) -> AsyncGenerator[httpx.AsyncClient]:
    settings = Settings(rate_per_subject="5/minute", rate_of_decisions="2/hour")
    door = Door(tokens, Limits(settings, None), "town")
    async with calling(behind(door, settings)) as http:
        yield http


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_good_token_opens_the_door(http: httpx.AsyncClient, issuer: Issuer) -> None:
    answer = await http.get("/me", headers=bearing(issuer.token("ed")))
    assert answer.json() == {
        "subject": "s-1041",
        "roles": ["supervisor"],
        "organisation": "town",
    }
    assert answer.headers["ratelimit-policy"] == '"subject";q=5;w=60'
    assert re.fullmatch(r'"subject";r=4;t=(60|59)', answer.headers["ratelimit"])


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Basic czpw"}, {"Authorization": "Bearer"}]
)
async def test_without_a_token_one_is_asked_for(
    http: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await http.get("/me", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="standpipe"'
    assert answer.json()["type"] == "/problems/unauthorized"


async def test_a_bad_token_is_told_what_is_wrong_and_never_repeated(
    http: httpx.AsyncClient, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    over = issuer.token(exp=datetime.now(UTC) - timedelta(hours=1), sub="s-secret")
    answer = await http.get("/me", headers=bearing(over))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="standpipe", error="invalid_token",'
        ' error_description="The token has expired: get a new one."'
    )
    told = json.dumps([answer.text, *answer.headers.values(), caplog.text])
    assert not any(part in told for part in (*over.split("."), "s-secret"))


async def test_another_organisations_token_is_forbidden(
    http: httpx.AsyncClient, issuer: Issuer
) -> None:
    answer = await http.get("/me", headers=bearing(issuer.token(organisation="village")))
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert "village" not in answer.text


async def test_while_the_issuer_is_silent_nobody_is_called_a_stranger(
    http: httpx.AsyncClient, issuer: Issuer
) -> None:
    issuer.mood = "failing"
    answer = await http.get("/me", headers=bearing(issuer.token()))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


async def test_each_subject_may_ask_so_often(http: httpx.AsyncClient, issuer: Issuer) -> None:
    for _ in range(5):
        assert (await http.get("/me", headers=bearing(issuer.token()))).status_code == 200
    again = issuer.token("ec", sub="S-1041", roles=["crew"])  # a new token, the same person
    answer = await http.get("/me", headers=bearing(again))
    assert answer.status_code == 429
    assert answer.json()["type"] == "/problems/too-many-requests"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["ratelimit"].startswith('"subject";r=0;t=')
    assert (await http.get("/me", headers=bearing(issuer.token(sub="s-2")))).status_code == 200


async def test_decisions_are_counted_by_themselves(http: httpx.AsyncClient, issuer: Issuer) -> None:
    where = "/v1/cases/complaint-1/approvals/extension-1/decision"
    found = [await http.post(where, headers=bearing(issuer.token())) for _ in range(3)]
    assert [answer.status_code for answer in found] == [200, 200, 429]
    assert found[-1].headers["ratelimit-policy"] == '"decisions";q=2;w=3600'
    assert (await http.get("/me", headers=bearing(issuer.token()))).status_code == 200


async def test_bad_tokens_are_counted_and_lock_nobody_out(
    http: httpx.AsyncClient, issuer: Issuer
) -> None:
    most = int(FAILURES.partition("/")[0])
    for _ in range(most):
        assert (await http.get("/me", headers=bearing("x"))).status_code == 401
    assert (await http.get("/me", headers=bearing("x"))).status_code == 429
    # Others behind the same address have good ones.
    assert (await http.get("/me", headers=bearing(issuer.token()))).status_code == 200


# The whole gateway


@pytest.fixture
async def gateway(
    office_settings: Settings, issuer: Issuer
) -> AsyncGenerator[tuple[Session, httpx.AsyncClient]]:
    given = office_settings.model_copy(update={"oidc_issuer": issuer.url})
    async with Session(given, connections=4) as session, trusted(given) as tokens:
        app = build_app(session, access_of(given, tokens, session))
        async with calling(app) as http:
            yield session, http


async def test_forbidden_attempts_are_on_record(
    gateway: tuple[Session, httpx.AsyncClient], issuer: Issuer
) -> None:
    session, http = gateway
    headers = bearing(issuer.token(organisation=session.organisation, roles=["auditor"]))
    for _ in range(2):
        answer = await http.post(TAKE, json={}, headers={**headers, "Idempotency-Key": "k-1"})
        assert answer.status_code == 403
        assert answer.json()["reasons"] == [
            "Only the role clerk, supervisor, station head or division head may send TakeCase."
        ]
    answer = await http.get("/v1/outbox", headers=bearing(issuer.token(organisation="village")))
    assert answer.status_code == 403
    kept = await session.log.refusals(session.organisation)
    assert [(row.stream, row.command_type, row.actor) for row in kept] == [
        ("repair-1", "TakeCase", "s-1041"),
        ("repair-1", "TakeCase", "s-1041"),
        ("gateway", "enter", "s-1041"),
    ]
    assert "Only the role" in kept[0].reasons[0]


async def test_too_many_forbidden_attempts_are_no_longer_kept(
    gateway: tuple[Session, httpx.AsyncClient], issuer: Issuer
) -> None:
    session, http = gateway
    headers = bearing(issuer.token(organisation=session.organisation, roles=["crew"]))
    most = int(FAILURES.partition("/")[0])
    found = [await http.get("/v1/outbox", headers=headers) for _ in range(most + 2)]
    assert [answer.status_code for answer in found] == [403] * most + [429] * 2
    assert len(await session.log.refusals(session.organisation, limit=500)) == most


async def test_tokens_of_the_embedded_issuer_are_nothing_to_a_gateway_on_real_servers(
    gateway: tuple[Session, httpx.AsyncClient], tmp_path: Any
) -> None:
    session, http = gateway
    now, hour = datetime.now(UTC), timedelta(hours=1)
    made = embedded.mint(tmp_path, "s-1", ["admin"], session.organisation, AUDIENCE, now, hour)
    answer = await http.get("/v1/cases", headers=bearing(made))
    assert answer.status_code == 401


async def test_decisions_are_counted_across_gateways(
    office_settings: Settings, issuer: Issuer
) -> None:
    given = office_settings.model_copy(
        update={"oidc_issuer": issuer.url, "rate_of_decisions": "3/hour"}
    )
    token = issuer.token(organisation=given.organisation)
    headers = {**bearing(token), "Idempotency-Key": "k-1"}
    where = "/v1/cases/complaint-1/approvals/extension-1/decision"
    statuses: list[int] = []
    for _ in range(2):  # one after the other: what was counted outlives a gateway
        async with Session(given, connections=4) as session, trusted(given) as tokens:
            app = build_app(session, access_of(given, tokens, session))
            async with calling(app) as http:
                for _ in range(2):
                    answer = await http.post(where, json={}, headers=headers)
                    statuses.append(answer.status_code)
    assert statuses[3] == 429
    assert 429 not in statuses[:3]
