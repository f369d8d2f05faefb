"""The log over HTTP: paged, and followed through restarts, outages and slow readers."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from activities.database import open_pool
from activities.event_log import EventLog
from gateway.http import feed
from gateway.http.app import build_app
from gateway.http.server import listening
from gateway.session import Session
from settings import Settings
from tests.activities.appends import decision, event, request, summary
from tests.conftest import Database
from tests.gateway.http.office import Badges, Office, badge, problem, settings
from tests.gateway.http.outage import Line

EVENTS = int(os.environ.get("TEST_EVENTS", "2000"))
"""How many a follower must not miss."""
NUMBERS = count(1)
AUDITOR = badge("auditor")


@pytest.fixture
async def log(database: Database) -> AsyncIterator[EventLog]:
    async with await open_pool(database.url(), max_size=4) as pool:
        yield EventLog(pool)


async def happened(
    log: EventLog, organisation: str, events: int = 1, *, kind: str = "repair", **body: Any
) -> str:
    """A new case with so many events."""
    case_id = f"{kind}-{next(NUMBERS)}"
    what = [event(**body) for _ in range(events)]
    result = await log.append_events(
        request(
            case_id,
            0,
            decision(f"c-{case_id}", *what),
            organisation=organisation,
            case=summary(kind=kind),
        )
    )
    assert result.status == "appended"
    return case_id


class Reader:
    """A client for server-sent events that comes back whenever it is cut off."""

    def __init__(self, address: str, **query: Any) -> None:
        self.address = address
        self.query = query
        self.got: list[Any] = []
        self.last: str | None = None
        self.connections = 0
        self.comments = 0

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=httpx.Timeout(30, connect=5)) as http:
            while True:
                with suppress(httpx.TransportError):
                    await self.read(http)
                await asyncio.sleep(0.02)

    async def read(self, http: httpx.AsyncClient) -> None:
        headers = dict(AUDITOR)
        if self.last is not None:
            headers["Last-Event-ID"] = self.last
        url = f"{self.address}/v1/events/stream"
        async with http.stream("GET", url, headers=headers, params=self.query) as answer:
            if answer.status_code == 503:
                return
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            self.connections += 1
            told: dict[str, str] = {}
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    told[name] = value
                elif told:
                    self.last = told["id"]
                    found = json.loads(told["data"])
                    assert (str(found["position"]), found["type"]) == (told["id"], told["event"])
                    self.got.append(found)
                    told = {}

    @property
    def positions(self) -> list[int]:
        return [found["position"] for found in self.got]


@asynccontextmanager
async def reading(*readers: Reader) -> AsyncGenerator[None]:
    tasks = [asyncio.create_task(reader.run()) for reader in readers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError), ended


async def until(true: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - of many kinds
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(settings: Settings, port: int = 0) -> AsyncGenerator[tuple[str, FastAPI]]:
    """A gateway on a socket."""
    async with Session(settings, connections=5) as session:
        app = build_app(session, Badges(session.organisation))
        async with listening(app, "127.0.0.1", port) as address:
            yield address, app


async def test_pages_lead_through_the_whole_log(idle_office: Office, log: EventLog) -> None:
    organisation = idle_office.session.organisation
    for _ in range(3):
        await happened(log, organisation, 3)
    path: str | None = "/v1/events?limit=4"
    found: list[Any] = []
    sizes: list[int] = []
    while path:
        answer = await idle_office.http.get(path, headers=AUDITOR)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/cloudevents-batch+json"
        assert answer.headers["standpipe-head"] == "9"
        found += answer.json()
        sizes.append(len(answer.json()))
        path = answer.links.get("next", {}).get("url")
    assert sizes == [4, 4, 1]
    assert [e["position"] for e in found] == list(range(1, 10))
    assert len({e["id"] for e in found}) == 9
    assert (found[0]["specversion"], found[0]["type"]) == ("1.0", "standpipe.repair.CrewArrived")
    assert found[0]["subject"] == found[2]["subject"] != found[3]["subject"]
    after = await idle_office.http.get("/v1/events?after=9", headers=AUDITOR)
    assert (after.json(), after.links) == ([], {})


async def test_a_filter_takes_a_case_a_type_or_a_kind(
    idle_office: Office, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    organisation = idle_office.session.organisation
    one = await happened(log, organisation, 2)
    await happened(log, organisation, 2, name="WorkStarted")
    await happened(log, organisation, 2, kind="complaint", name="ComplaintAnswered")

    async def positions(by: str = "auditor", **query: Any) -> list[int]:
        return [e["position"] for e in await idle_office.get("/v1/events", by, **query)]

    assert await positions(case=one) == [1, 2]
    assert await positions(type="repair.WorkStarted") == [3, 4]
    assert await positions(type="standpipe.complaint.ComplaintAnswered") == [5, 6]
    assert await positions(type=["complaint.*", "repair.CrewArrived"]) == [1, 2, 5, 6]
    answer = await idle_office.http.get("/v1/events?type=repair.Nonsense", headers=AUDITOR)
    assert "type" in problem(answer, 422, "invalid")["detail"]
    # A page looks through so many positions at most, and then says where to go on.
    monkeypatch.setattr("gateway.http.events.SPAN", 3)
    first = await idle_office.http.get("/v1/events?type=complaint.*", headers=AUDITOR)
    assert first.json() == []
    second = await idle_office.http.get(first.links["next"]["url"], headers=AUDITOR)
    assert [e["position"] for e in second.json()] == [5, 6]


async def test_only_services_auditors_and_admins_follow_and_each_what_they_may_see(
    idle_office: Office, log: EventLog
) -> None:
    organisation = idle_office.session.organisation
    await happened(log, organisation)
    await happened(log, organisation, kind="conduct", name="FindingRecorded")
    for path in ("/v1/events", "/v1/events/stream"):
        problem(await idle_office.http.get(path), 401, "unauthorized")
        for role in ("clerk", "crew", "supervisor"):
            problem(await idle_office.http.get(path, headers=badge(role)), 403, "forbidden")
    assert [e["position"] for e in await idle_office.get("/v1/events", "auditor")] == [1, 2]
    assert [e["position"] for e in await idle_office.get("/v1/events", "service")] == [1]


async def test_whoever_is_ahead_of_the_log_is_told_so(idle_office: Office, log: EventLog) -> None:
    await happened(log, idle_office.session.organisation)
    for path in ("/v1/events?after=2", "/v1/events/stream?after=2"):
        said = problem(await idle_office.http.get(path, headers=AUDITOR), 422, "invalid")
        assert "ends at 1" in said["detail"]
    headers = AUDITOR | {"Last-Event-ID": "soon"}
    answer = await idle_office.http.get("/v1/events/stream", headers=headers)
    problem(answer, 422, "invalid")


async def test_a_follower_through_restarts_and_reconnects_misses_nothing_and_gets_nothing_twice(
    office_settings: Settings, log: EventLog
) -> None:
    organisation = office_settings.organisation
    port = free_port()
    reader = Reader(f"http://127.0.0.1:{port}")
    late = Reader(f"http://127.0.0.1:{port}", type="repair.CrewArrived")
    writing = asyncio.create_task(write(log, organisation, EVENTS))
    restarts = 0
    async with reading(reader, late):
        while not writing.done() or restarts < 4:
            async with serving(office_settings, port):
                restarts += 1
                so_far, connections = len(reader.got), reader.connections
                with suppress(TimeoutError):
                    await until(lambda: len(reader.got) > so_far, 5)  # noqa: B023
                await until(lambda: reader.connections > connections)  # noqa: B023
                await asyncio.sleep(0.2)
        await writing
        async with serving(office_settings, port):
            await until(lambda: min(len(reader.got), len(late.got)) >= EVENTS, 120)
            await asyncio.sleep(0.3)  # a double would come now
    assert reader.positions == list(range(1, EVENTS + 1))
    assert late.positions == reader.positions
    assert reader.connections >= 4


async def test_whoever_is_far_behind_reads_on_in_pages_up_to_the_end(
    office_settings: Settings, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PAGE", 7), ("SPAN", 20), ("KEPT_EVENTS", 12), ("_NEW", 9)):
        monkeypatch.setattr(feed, name, value)
    organisation = office_settings.organisation

    async def complained(events: int) -> str:
        return await happened(log, organisation, events, kind="complaint", name="ComplaintAnswered")

    for n in range(30):
        await (complained(3) if n % 10 == 4 else happened(log, organisation, 3))
    async with serving(office_settings) as (address, _):
        every, few = Reader(address), Reader(address, type="complaint.*", after=13)
        async with reading(every, few):
            await until(lambda: len(every.got) == 90 and len(few.got) == 8)
            await happened(log, organisation, 2)
            await complained(1)
            await until(lambda: len(every.got) == 93 and len(few.got) == 9)
    assert every.positions == list(range(1, 94))
    assert few.positions == [14, 15, 43, 44, 45, 73, 74, 75, 93]


async def test_a_follower_of_little_hears_that_the_connection_lives(
    office_settings: Settings, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT_SECONDS", 0.3)
    async with serving(office_settings) as (address, _):
        reader = Reader(address, type="complaint.*")
        async with reading(reader):
            await until(lambda: reader.connections == 1)
            heard = reader.comments
            for _ in range(20):  # what others do leaves it no quiet moment
                await happened(log, office_settings.organisation)
                await asyncio.sleep(0.08)
            assert reader.comments >= heard + 3
    assert reader.got == []


async def write(log: EventLog, organisation: str, events: int) -> None:
    """By several writers at once, in appends of one to nine events."""
    left = events

    async def one() -> None:
        nonlocal left
        size = 1
        while left > 0:
            size = min(size % 9 + 1, left)
            left -= size
            await happened(log, organisation, size)
            await asyncio.sleep(0.005)

    await asyncio.gather(*(one() for _ in range(4)))


async def test_two_organisations_do_not_see_each_other(
    office_settings: Settings, database: Database, log: EventLog
) -> None:
    other = settings(database.url("standpipe_gateway"), "other")
    async with serving(office_settings) as (here, _), serving(other) as (there, _):
        ours, theirs = Reader(here), Reader(there)
        async with reading(ours, theirs):
            for _ in range(5):
                await happened(log, office_settings.organisation, 2)
                await happened(log, other.organisation, 1)
            await until(lambda: len(ours.got) >= 10 and len(theirs.got) >= 5)
            await asyncio.sleep(0.2)
    assert ours.positions == list(range(1, 11))
    assert theirs.positions == list(range(1, 6))
    assert {e["source"] for e in ours.got} == {f"urn:standpipe:{office_settings.organisation}"}
    assert not {e["subject"] for e in ours.got} & {e["subject"] for e in theirs.got}


async def test_a_slow_reader_holds_nobody_up_and_misses_nothing(
    office_settings: Settings, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "KEPT_EVENTS", 50)
    organisation = office_settings.organisation
    filler = "x" * 2000
    async with serving(office_settings) as (address, app):
        port = int(address.rpartition(":")[2])
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ("127.0.0.1", port))
        asked = f"GET /v1/events/stream HTTP/1.0\r\nAuthorization: {AUDITOR['Authorization']}\r\n"
        await loop.sock_sendall(slow, f"{asked}\r\n".encode())
        quick = Reader(address)
        async with reading(quick):
            for n in range(1, 61):
                async with asyncio.timeout(5):
                    await happened(log, organisation, 20, note=filler)
                await until(lambda: len(quick.got) >= 20 * n, 5)  # noqa: B023
            # It is held up itself: what it has not read is in the log, and not in the memory.
            assert app.state.feed._size < 1_000_000
            assert len(app.state.feed._kept) <= 50
            heard = b""
            async with asyncio.timeout(30):
                while heard.count(b"\nevent: ") < 1200:
                    heard += await loop.sock_recv(slow, 65536)
        slow.close()
    ids = [int(line[4:]) for line in heard.split(b"\n") if line.startswith(b"id: ")]
    assert ids == list(range(1, 1201))
    assert quick.positions == ids


async def test_followers_outlive_the_database(
    database: Database, log: EventLog, task_queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Line(database.url("standpipe_gateway")) as line:
        distant = settings(line.url, task_queue)
        monkeypatch.setattr(feed, "HEARTBEAT_SECONDS", 0.2)
        async with serving(distant) as (address, _):
            await happened(log, distant.organisation)
            reader, behind = Reader(address), Reader(address, after=1)
            async with reading(reader, behind):
                await happened(log, distant.organisation, 2)
                await until(lambda: len(reader.got) == 3 and len(behind.got) == 2)
                line.cut()
                heard = reader.comments
                await happened(log, distant.organisation, 3)  # others still reach it
                await until(lambda: reader.comments >= heard + 3)
                async with httpx.AsyncClient() as http:
                    answer = await http.get(f"{address}/v1/events", headers=AUDITOR)
                    problem(answer, 503, "unavailable")
                assert len(reader.got) == 3
                new = Reader(address)
                async with reading(new):
                    await asyncio.sleep(0.3)
                    line.mend()
                    await until(lambda: len(reader.got) == 6 and len(behind.got) == 5)
                    await until(lambda: len(new.got) == 6)
                assert reader.connections == behind.connections == new.connections == 1
    assert new.positions == reader.positions
    assert reader.positions == [1, 2, 3, 4, 5, 6]
    assert behind.positions == [2, 3, 4, 5, 6]


async def test_a_log_that_came_back_shorter_ends_its_followers(
    office_settings: Settings, log: EventLog, database: Database
) -> None:
    organisation = office_settings.organisation
    await happened(log, organisation, 5)
    async with serving(office_settings) as (address, _):
        reader = Reader(address)
        reading_on = asyncio.create_task(reader.run())
        await until(lambda: len(reader.got) == 5)
        admin = await asyncpg.connect(
            database.admin_url, server_settings={"search_path": "standpipe"}
        )
        await admin.execute("UPDATE heads SET position = 3 WHERE organisation = $1", organisation)
        await admin.close()
        with pytest.raises(AssertionError, match="the log ends at 3"):
            async with asyncio.timeout(20):
                await reading_on


async def test_a_subject_may_not_take_all_places(
    office_settings: Settings, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_OF_ONE", 2)
    async with serving(office_settings) as (address, _):
        readers = [Reader(address), Reader(address)]
        async with reading(*readers), httpx.AsyncClient() as http:
            await until(lambda: all(r.connections for r in readers))
            answer = await http.get(f"{address}/v1/events/stream", headers=AUDITOR)
            problem(answer, 429, "too-many-requests")
            others = badge("auditor", "s-2")
            async with http.stream("GET", f"{address}/v1/events/stream", headers=others) as answer:
                assert answer.status_code == 200


async def test_a_gateway_that_stops_does_not_wait_for_followers(
    office_settings: Settings, log: EventLog
) -> None:
    loop = asyncio.get_running_loop()
    async with serving(office_settings) as (address, _):
        reader = Reader(address)
        reading_on = asyncio.create_task(reader.run())
        await happened(log, office_settings.organisation)
        await until(lambda: len(reader.got) == 1)
        stopped = loop.time()
    assert loop.time() - stopped < 3
    reading_on.cancel()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
