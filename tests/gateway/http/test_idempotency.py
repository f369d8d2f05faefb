"""What starts or changes something is done once, whoever dies meanwhile."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from httpx import Response

from gateway.http import idempotency
from gateway.http.idempotency import Done, Keyed, Work
from tests.conftest import Database
from tests.gateway.http.office import PERSONAL, REPAIR, Office, badge, problem
from tests.workflows.desk import until

STARTS = int(os.environ.get("TEST_STARTS", "240"))
"""Concurrent starts, on so many keys by 100; TEST_STARTS=10000 for a longer run."""
KEYS = max(STARTS // 100, 6)
TRIAGE = {"category": "no-gas", "severity": "common"}
SHORT = timedelta(seconds=1)


class Died(BaseException):
    """The gateway is gone: nothing is tidied up."""


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, *, after: bool) -> Iterator[None]:
    """A gateway that dies once the key is taken: before the work, or `after` it is done."""

    async def die(keyed: Keyed, work: Work) -> Response:
        if after:
            await work()
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(idempotency, "LEASE", SHORT)
        patched.setattr(Keyed, "_do", die)
        yield


async def test_the_same_key_and_body_get_the_same_answer(office: Office) -> None:
    key = str(uuid4())
    first = await office.post("/v1/repairs", REPAIR, key=key)
    again = await office.post("/v1/repairs", REPAIR, key=key)
    assert first.status_code == 201, first.text
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["content-type"] == "application/json"
    assert len((await office.get("/v1/cases"))["cases"]) == 1


async def test_a_refusal_is_an_answer_that_is_kept(office: Office) -> None:
    case_id, key = await office.reported(), str(uuid4())
    path = f"/v1/cases/{case_id}/commands/StartWork"
    first = problem(await office.post(path, key=key, by="crew"), 409, "refused")
    again = problem(await office.post(path, key=key, by="crew"), 409, "refused")
    assert first == again


@pytest.mark.parametrize("other", ["body", "path"])
async def test_a_key_belongs_to_one_request(office: Office, other: str) -> None:
    key = str(uuid4())
    await office.done("/v1/repairs", REPAIR, key=key)
    if other == "body":
        answer = await office.post("/v1/repairs", {**REPAIR, "district": "south"}, key=key)
    else:
        answer = await office.post("/v1/parties", {"name": "Li"}, key=key)
    problem(answer, 422, "key-reused")


async def test_two_people_may_use_the_same_key(office: Office) -> None:
    key = str(uuid4())
    cases = {
        (await office.done("/v1/repairs", REPAIR, key=key, who=who))["case_id"]
        for who in ("s-1", "s-2")
    }
    assert len(cases) == 2


@pytest.mark.parametrize("key", [None, "", "k" * 256, "with space", "中"])
async def test_without_a_key_that_can_be_kept_nothing_is_done(
    office: Office, key: str | None
) -> None:
    headers: dict[str, str | bytes] = dict(badge())
    if key is not None:
        headers["Idempotency-Key"] = key.encode()
    answer = await office.http.post("/v1/repairs", json=REPAIR, headers=headers)  # pyright: ignore[reportArgumentType]
    told = problem(answer, 400, "key-missing")
    assert "Idempotency-Key" in str(told["reasons"])
    assert (await office.get("/v1/cases"))["cases"] == []


async def test_while_it_is_being_done_the_caller_is_told_when_to_come_again(
    idle_office: Office, database: Database
) -> None:
    office, key = idle_office, str(uuid4())
    waiting = asyncio.create_task(office.post("/v1/repairs", REPAIR, key=key))
    connection = await asyncpg.connect(database.admin_url)

    async def begun() -> bool:
        return bool(await connection.fetchval("SELECT count(*) FROM standpipe.idempotency"))

    await until(begun)
    await connection.close()
    answer = await office.post("/v1/repairs", REPAIR, key=key)
    problem(answer, 409, "in-progress")
    assert 1 <= int(answer.headers["retry-after"]) <= idempotency.LEASE.total_seconds()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("what", ["opening", "command", "party"])
async def test_a_gateway_that_dies_leaves_what_the_same_request_finishes(
    office: Office, monkeypatch: pytest.MonkeyPatch, what: str, after: bool
) -> None:
    case_id = await office.reported() if what == "command" else ""
    path, body = {
        "opening": ("/v1/repairs", REPAIR),
        "command": (f"/v1/cases/{case_id}/commands/TriageRepair", TRIAGE),
        "party": ("/v1/parties", {"name": "Li"}),
    }[what]
    key = str(uuid4())
    with dying(monkeypatch, after=after), pytest.raises(Died):
        await office.post(path, body, key=key)
    problem(await office.post(path, body, key=key), 409, "in-progress")
    problem(await office.post(path, {**body, "x": 1}, key=key), 422, "invalid")
    await asyncio.sleep(SHORT.total_seconds())
    first = await office.post(path, body, key=key)
    assert first.status_code in (200, 201), first.text
    again = await office.post(path, body, key=key)
    assert again.content == first.content
    cases = (await office.get("/v1/cases"))["cases"]
    assert len(cases) == (what != "party")
    if what == "command":
        shown = await office.get(f"/v1/cases/{case_id}/timeline")
        assert [e["type"] for e in shown["events"]].count("RepairTriaged") == 1


async def test_what_cannot_be_answered_now_may_be_asked_again_at_once(
    idle_office: Office, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(uuid4())

    async def unreachable() -> Any:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(office.session, "cases", unreachable)
        answer = await office.post("/v1/repairs", REPAIR, key=key)
    assert answer.status_code >= 500
    assert (await office.post("/v1/repairs", REPAIR, key=key)).status_code == 201
    assert len((await office.get("/v1/cases"))["cases"]) == 1


async def test_without_a_worker_the_caller_is_told_and_the_same_request_ends_it(
    idle_office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "WORK_SECONDS", 1.0)
    answer = await idle_office.post("/v1/repairs", REPAIR)
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"]


async def test_many_concurrent_starts_with_few_keys_make_as_many_cases_as_keys(
    office: Office,
) -> None:
    keys = [str(uuid4()) for _ in range(KEYS)]
    counts: Counter[int] = Counter()
    room = asyncio.Semaphore(200)

    async def start(number: int) -> str:
        key = keys[number % KEYS]
        body = {**REPAIR, "source": f"register/{number % KEYS}"}
        while True:
            async with room:
                answer = await office.post("/v1/repairs", body, key=key)
            counts[answer.status_code] += 1
            if answer.status_code == 201:
                return answer.json()["case_id"]
            if answer.status_code == 503:  # on a busy machine; the same request is safe
                problem(answer, 503, "unavailable")
            else:
                problem(answer, 409, "in-progress")
            await asyncio.sleep(0.2)

    made = await asyncio.gather(*(start(number) for number in range(STARTS)))
    assert counts[201] == STARTS
    assert len(set(made)) == KEYS
    listed = await office.get("/v1/cases", limit=500)
    assert {row["case_id"] for row in listed["cases"]} == set(made)


async def test_the_table_holds_hashes_and_ids_nothing_personal(
    office: Office, database: Database
) -> None:
    key = f"customer-{PERSONAL[0].replace(' ', '-')}"
    await office.done("/v1/repairs", REPAIR, key=key)
    connection = await asyncpg.connect(database.admin_url)
    try:
        rows = await connection.fetch("SELECT * FROM standpipe.idempotency")
    finally:
        await connection.close()
    told = " ".join(str(value) for row in rows for value in row.values())
    assert len(rows) == 1
    assert not [word for word in (*PERSONAL, key) if word in told]


async def test_old_answers_are_forgotten_and_the_log_still_does_it_once(
    office: Office, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(uuid4())
    first = await office.done("/v1/repairs", REPAIR, key=key)
    connection = await asyncpg.connect(database.url("standpipe_gateway"))
    try:
        await connection.execute("SET search_path TO standpipe")
        forget = "SELECT forget_requests($1, 10)"
        assert await connection.fetchval(forget, datetime.now(UTC) - idempotency.KEPT) == 0
        assert await connection.fetchval(forget, datetime.now(UTC)) == 1
    finally:
        await connection.close()
    assert await office.done("/v1/repairs", REPAIR, key=key) == first
    assert len((await office.get("/v1/cases"))["cases"]) == 1


async def test_the_slower_of_two_gateways_gives_the_answer_of_the_faster(
    idle_office: Office,
) -> None:
    from gateway.http.operations import Alive

    pool = idle_office.session.pool
    slow, fast = (Keyed(pool, "town", "s-1", "key", b"request") for _ in range(2))
    idle = timedelta(0)

    async def work() -> Done:
        # Meanwhile its lease ended, and another gateway answered.
        done = await fast(lambda: _done(Done(Alive(), 201, {"Location": "/first"})))
        assert done.status_code == 201
        return Done(Alive(), 200)

    async def _done(done: Done) -> Done:
        return done

    original = idempotency.LEASE
    try:
        idempotency.LEASE = idle
        answer = await slow(work)
    finally:
        idempotency.LEASE = original
    assert (answer.status_code, answer.headers["location"]) == (201, "/first")
