"""What every request passes: rates, sizes, times, and headers that shut doors."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Scope

from gateway.http.guards import MOST_BYTES, InTime, guarded
from gateway.http.limits import InMemory, InPostgres, Limit, address_of
from gateway.http.problems import Failed
from gateway.http.server import listening
from settings import Settings
from tests.conftest import Database
from tests.gateway.http.office import Office, badge


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def application() -> FastAPI:
    """It answers, listens, is slow, and streams."""
    app = FastAPI()

    @app.get("/page")
    async def page() -> Response:
        return Response(
            "<p>", headers={"Content-Security-Policy": "x", "Cache-Control": "max-age=9"}
        )

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.post("/parts")
    async def parts(request: Request) -> int:
        return sum([len(part) async for part in request.stream()])

    @app.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(3600)
        return "never"

    @app.get("/own-timeout")
    async def own_timeout() -> str:
        raise TimeoutError

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def words() -> AsyncIterator[bytes]:
            for _ in range(4):
                await asyncio.sleep(0.1)
                yield b"word"

        return StreamingResponse(words())

    return app


def calling(app: Any, address: str = "10.1.2.3", base: str = "http://gateway") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(address, 4711))
    return httpx.AsyncClient(transport=transport, base_url=base)


@pytest.fixture
async def http() -> AsyncGenerator[httpx.AsyncClient]:
    async with calling(guarded(application(), Settings())) as http:
        yield http


# How often


async def test_each_address_may_ask_so_often() -> None:
    app = guarded(application(), Settings(rate_per_address="3/minute"))
    async with calling(app) as here, calling(app, "10.1.2.4") as there:
        found = [await here.get("/page") for _ in range(4)]
        assert [answer.status_code for answer in found] == [200, 200, 200, 429]
        told = found[-1]
        assert told.headers["content-type"] == "application/problem+json"
        assert told.json()["status"] == 429
        assert told.headers["ratelimit-policy"] == '"address";q=3;w=60'
        assert told.headers["ratelimit"].startswith('"address";r=0;t=')
        assert 1 <= int(told.headers["retry-after"]) <= 60
        assert told.headers["x-content-type-options"] == "nosniff"
        assert (await there.get("/page")).status_code == 200


@pytest.mark.parametrize(
    ("client", "address"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:aaaa::1", "2001:0db8:0001:0002"),
        ("2001:db8:1:2:bbbb::9", "2001:0db8:0001:0002"),
        ("testclient", "local"),
    ],
)
def test_an_address_is_as_much_as_one_customer_has(client: str, address: str) -> None:
    assert address_of({"client": (client, 1)}) == address


def test_a_local_socket_has_no_address() -> None:
    assert address_of({"client": None}) == "local"
    assert address_of({}) == "local"


async def test_a_window_that_is_over_begins_anew_and_is_forgotten() -> None:
    clock = Clock()
    counts = InMemory(clock)
    assert [await counts.incr("a", 60) for _ in range(3)] == [1, 2, 3]
    assert await counts.get_expiry("a") == 1060
    clock.now += 59
    assert await counts.get("a") == 3
    clock.now += 1
    assert await counts.get("a") == 0
    assert await counts.incr("a", 60) == 1
    for n in range(3000):
        await counts.incr(f"once-{n}", 60)
    clock.now += 61
    for _ in range(5000):
        await counts.incr("a", 600)
    assert len(counts._counts) == 1


async def test_what_is_left_is_told() -> None:
    limit = Limit("few", "2/minute", InMemory())
    assert (await limit.take("a")).startswith('"few";r=1;t=')
    assert (await limit.take("a")).startswith('"few";r=0;t=')
    with pytest.raises(Failed) as caught:
        await limit.take("a")
    assert caught.value.status == 429
    assert (await limit.take("b")).startswith('"few";r=1;t=')


@pytest.mark.parametrize("role", ["standpipe_gateway", "standpipe_worker"])
async def test_in_postgres_all_gateways_count_together(database: Database, role: str) -> None:
    async with asyncpg.create_pool(
        database.url(role), min_size=2, server_settings={"search_path": "standpipe"}
    ) as pool:
        first, second = (Limit("few", "40/hour", InPostgres(pool)) for _ in range(2))
        taken = (limit.take("town", "s-1") for _ in range(25) for limit in (first, second))
        results = await asyncio.gather(*taken, return_exceptions=True)
        assert sum(isinstance(result, Failed) for result in results) == 10
        assert await second.take("town", "s-2")


async def test_in_postgres_a_window_ends_and_old_ones_are_cleared(database: Database) -> None:
    admin = await asyncpg.connect(database.admin_url, server_settings={"search_path": "standpipe"})
    pool = await asyncpg.create_pool(
        database.url("standpipe_gateway"), server_settings={"search_path": "standpipe"}
    )
    counts = InPostgres(pool)
    assert [await counts.incr(name, 60) for name in "aab"] == [1, 2, 1]
    assert await counts.get("a") == 2
    await admin.execute("UPDATE rate_counts SET ends_at = now() - interval '1 second'")
    assert await counts.get("a") == 0
    assert await counts.incr("a", 60) == 1
    await admin.execute("UPDATE rate_counts SET ends_at = now() - interval '2 days'")
    assert await counts.incr("c", 60) == 1
    assert [row["name"] for row in await admin.fetch("SELECT name FROM rate_counts")] == ["c"]
    await pool.close()
    await admin.close()


@pytest.mark.parametrize("role", ["standpipe_gateway", "standpipe_worker", "standpipe_auditor"])
async def test_nobody_can_touch_the_counts_but_by_counting(database: Database, role: str) -> None:
    connection = await asyncpg.connect(
        database.url(role), server_settings={"search_path": "standpipe"}
    )
    for statement in ("SELECT * FROM rate_counts", "DELETE FROM rate_counts"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


# How much


async def test_a_body_may_be_so_large(http: httpx.AsyncClient) -> None:
    answer = await http.post("/length", content=b"x" * MOST_BYTES)
    assert answer.json() == MOST_BYTES


@pytest.mark.parametrize("path", ["/length", "/parts", "/nowhere"])
@pytest.mark.parametrize("told", [True, False])
async def test_a_larger_body_is_refused_whether_it_says_so_or_not(
    http: httpx.AsyncClient, path: str, told: bool
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(MOST_BYTES // 65536 + 1):
            yield b"x" * 65536

    if path == "/nowhere" and not told:
        return  # nobody reads it
    content: Any = b"x" * (MOST_BYTES + 1) if told else parts()
    answer = await http.post(path, content=content)
    assert answer.status_code == 413
    assert answer.json()["reasons"] == ["A body may have 1,048,576 bytes."]
    assert answer.headers["connection"] == "close"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_length_that_is_no_number_is_not_believed(http: httpx.AsyncClient) -> None:
    answer = await http.post("/length", content=b"x", headers={"Content-Length": "-5"})
    assert answer.status_code == 200


# How long


async def test_an_answer_that_does_not_come_in_time_is_not_waited_for() -> None:
    app = InTime(application(), seconds=0.2)
    async with calling(app) as http:
        answer = await http.get("/slow")
        assert answer.status_code == 503
        assert answer.json()["type"] == "/problems/unavailable"
        assert answer.headers["retry-after"] == "1"


async def test_a_stream_that_began_in_time_may_take_longer() -> None:
    async with calling(InTime(application(), seconds=0.2)) as http:
        assert (await http.get("/stream")).text == "word" * 4


async def test_a_body_that_never_ends_is_not_waited_for() -> None:
    sent: list[Message] = []
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/length",
        "headers": [],
        "query_string": b"",
    }

    async def receive() -> Message:
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await InTime(application(), seconds=0.2)(scope, receive, send)
    assert sent[0]["status"] == 503


async def test_an_applications_own_timeout_is_its_own() -> None:
    async with calling(InTime(application(), seconds=5)) as http:
        with pytest.raises(TimeoutError):
            await http.get("/own-timeout")


# Shut doors


async def test_every_answer_shuts_the_doors(http: httpx.AsyncClient) -> None:
    for answer in (await http.post("/length"), await http.get("/nowhere")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        policy = "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["content-security-policy"] == policy
        assert "strict-transport-security" not in answer.headers


async def test_a_page_may_have_rules_of_its_own(http: httpx.AsyncClient) -> None:
    answer = await http.get("/page")
    assert answer.headers["content-security-policy"] == "x"
    assert answer.headers["cache-control"] == "max-age=9"


async def test_pages_of_other_sites_get_no_leave(http: httpx.AsyncClient) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for method in ("OPTIONS", "POST"):
        answer = await http.request(method, "/length", headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert (await http.request("OPTIONS", "/length", headers=headers)).status_code == 405


async def test_over_tls_it_stays_tls() -> None:
    async with calling(guarded(application(), Settings()), base="https://gateway") as http:
        answer = await http.get("/page")
        assert answer.headers["strict-transport-security"].startswith("max-age=31536000")


async def test_only_a_trusted_proxy_says_for_whom_it_asks() -> None:
    settings = Settings(rate_per_address="1/minute", trusted_proxies="10.9.0.0/16, ::1")
    app = guarded(application(), settings)
    forwarded = [{"X-Forwarded-For": f"192.0.2.{n}", "X-Forwarded-Proto": "https"} for n in (1, 2)]
    async with calling(app, "10.9.0.1") as proxy, calling(app, "10.8.0.1") as other:
        found = [await proxy.get("/page", headers=headers) for headers in forwarded]
        assert [answer.status_code for answer in found] == [200, 200]
        assert "strict-transport-security" in found[0].headers
        found = [await other.get("/page", headers=headers) for headers in forwarded]
        assert [answer.status_code for answer in found] == [200, 429]
        assert "strict-transport-security" not in found[0].headers


async def test_on_a_socket_no_answer_tells_what_serves_it(idle_office: Office) -> None:
    app = idle_office.app
    async with listening(app, "127.0.0.1", 0) as address, httpx.AsyncClient() as http:
        answer = await http.get(f"{address}/healthz")
        assert answer.status_code == 200
        assert "server" not in answer.headers
        large = b"x" * (MOST_BYTES + 1)
        headers = {**badge(), "Idempotency-Key": "k-1"}
        answer = await http.post(f"{address}/v1/repairs", content=large, headers=headers)
        assert answer.status_code == 413
        assert answer.headers["x-content-type-options"] == "nosniff"
