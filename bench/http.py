"""Starts and commands through HTTP, against the Temporal client directly; followers of the log.

The gateway is a process of its own, `standpipe serve`; whoever calls it uses bare connections that
stay open, so that little is measured of a client.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self
from uuid import uuid4

from activities.cases import Cases
from activities.event_log import EventLog
from bench import appends
from bench.lives import CLERK, PARTY, Life
from bench.measure import Line, Report, Way, percentile
from gateway.issuer import mint
from schemas.envelope import Json

AT_ONCE = 16
FOLLOWERS = 100
FOLLOWED = 2000
"""Events that every follower reads from the beginning."""
UNLIMITED = "1000000/second"


class Gateway(NamedTuple):
    """A gateway that runs, and who calls it."""

    port: int
    token: str
    pid: int


class Took(NamedTuple):
    """Milliseconds: of each start, of each command after it; and of all together, in seconds."""

    starts: list[float]
    commands: list[float]
    starting: float
    commanding: float


Start = Callable[[str, Json], Awaitable[str]]
"""Opens a case of that name with a command; gives its id."""
Send = Callable[[str, Json], Awaitable[object]]


@asynccontextmanager
async def gateway(data_dir: Path, organisation: str, task_queue: str) -> AsyncGenerator[Gateway]:
    """`standpipe serve` beside the servers that run in a folder."""
    environment = {
        **os.environ,
        "STANDPIPE_DATA_DIR": str(data_dir),
        "STANDPIPE_ORGANISATION": organisation,
        "STANDPIPE_TASK_QUEUE": task_queue,
        "STANDPIPE_RATE_PER_ADDRESS": UNLIMITED,
        "STANDPIPE_RATE_PER_SUBJECT": UNLIMITED,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", "serve", "--port", "0", "--json",
        env=environment, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        told = b""
        while b"}" not in told:
            line = await process.stdout.readline()
            if not line:
                raise RuntimeError("the gateway did not start")
            told += line
        port = int(json.loads(told)["http_url"].rpartition(":")[2])
        now = datetime.now(UTC)
        token = mint(
            data_dir,
            CLERK["subject"],
            ["clerk", "supervisor", "auditor", "service"],
            organisation,
            "standpipe",
            now,
            timedelta(hours=1),
        )
        yield Gateway(port, token, process.pid)
    finally:
        process.terminate()
        await process.wait()


class Caller:
    """One connection to a gateway that stays open."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: Json) -> Json:
        """What is answered; RuntimeError unless it is good."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._gateway.port)
        reader, writer = self._streams
        content = json.dumps(body).encode()
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self._gateway.token}\r\nIdempotency-Key: {uuid4().hex}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        head = await reader.readuntil(b"\r\n\r\n")
        fields = head.decode().lower().split("\r\n")
        length = next(int(f.partition(":")[2]) for f in fields if f.startswith("content-length:"))
        answer = await reader.readexactly(length)
        if not fields[0].split()[1].startswith("2"):
            raise RuntimeError(f"{path}: {answer.decode()}")
        return json.loads(answer)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def compare(
    report: Report,
    data_dir: Path,
    cases: Cases,
    log: EventLog,
    organisation: str,
    life: Life,
    count: int,
) -> None:
    """Both ways open and live the same repairs, in turns; then with and without followers."""
    async with gateway(data_dir, organisation, "bench") as served:
        party = await _party(served)
        callers: list[Caller] = []

        def through_http() -> tuple[Start, Send]:
            caller = Caller(served)
            callers.append(caller)

            async def start(_: str, command: Json) -> str:
                answer = await caller.post("/v1/repairs", _fields(command, party))
                return str(answer["case_id"])

            async def send(case_id: str, command: Json) -> None:
                path = f"/v1/cases/{case_id}/commands/{command['body']['type']}"
                await caller.post(path, _fields(command, party))

            return start, send

        def directly() -> tuple[Start, Send]:
            return _direct(cases, life)

        every: dict[str, list[Took]] = {"HTTP": [], "Temporal": []}
        alone: dict[str, list[Took]] = {"HTTP": [], "Temporal": []}
        ways = {"HTTP": through_http, "Temporal": directly}

        def measured(name: str) -> Way:
            async def way() -> float:
                alone[name].append(await _lived(life, ways[name], max(4, count // 4), 1))
                every[name].append(await _lived(life, ways[name], count, AT_ONCE))
                return every[name][-1].commanding

            return way

        for way in ways.values():  # whatever is made when it is first used
            await _lived(life, way, AT_ONCE, AT_ONCE)
        await report.interleaved("HTTP", {name: measured(name) for name in ways})
        for caller in callers:
            caller.close()
        _compared(report, alone, every)
        await _followers(report, served, cases, log, life, organisation, count)


def _compared(report: Report, alone: dict[str, list[Took]], every: dict[str, list[Took]]) -> None:
    for what in ("starts", "commands"):
        for share in (50, 95):
            ms = {
                name: statistics.median(percentile(getattr(t, what), share) for t in took)
                for name, took in alone.items()
            }
            label = f"{what[:-1]} through HTTP, p{share}, against the Temporal client"
            report.lines.append(Line(label, ms["HTTP"], ms["Temporal"], "ms", 1.5, at_most=True))
    for what, taken in (("starts", "starting"), ("commands", "commanding")):
        rates = {
            name: statistics.median(len(getattr(t, what)) / getattr(t, taken) for t in took)
            for name, took in every.items()
        }
        report.lines.append(
            Line(
                f"{what} through HTTP, {AT_ONCE} at a time, against the Temporal client",
                rates["HTTP"],
                rates["Temporal"],
                f"{what}/s",
                0.8,
            )
        )
        slow = {
            name: round(statistics.median(percentile(getattr(t, what), 95) for t in took), 1)
            for name, took in every.items()
        }
        report.facts[f"{what}, {AT_ONCE} at a time, p95 ms"] = slow
        report.console.print(f"{what}, {AT_ONCE} at a time, p95 ms: {slow}")


async def _lived(
    life: Life, way: Callable[[], tuple[Start, Send]], count: int, at_once: int
) -> Took:
    """So many cases are opened, and then lived, so many at a time."""
    told = [(name := uuid4().hex, life.said(name)) for _ in range(count)]
    starts: list[float] = []
    commands: list[float] = []
    opened: list[tuple[str, list[Json]]] = []
    waiting = iter(told)

    async def opening() -> None:
        start, _ = way()
        for name, (first, *others) in waiting:
            begin = time.perf_counter()
            case_id = await start(name, first)
            starts.append((time.perf_counter() - begin) * 1000)
            opened.append((case_id, others))

    async def living() -> None:
        _, send = way()
        while opened:
            case_id, others = opened.pop()
            for command in others:
                begin = time.perf_counter()
                await send(case_id, command)
                commands.append((time.perf_counter() - begin) * 1000)

    begin = time.perf_counter()
    await asyncio.gather(*(opening() for _ in range(at_once)))
    between = time.perf_counter()
    await asyncio.gather(*(living() for _ in range(at_once)))
    return Took(starts, commands, between - begin, time.perf_counter() - between)


async def _party(served: Gateway) -> str:
    """A customer in the vault."""
    caller = Caller(served)
    particulars = {"name": "Li Na", "phone": "13800000000", "address": "5 Lane 12"}
    answer = await caller.post("/v1/parties", particulars)
    caller.close()
    return str(answer["party_id"])


def _fields(command: Json, party: str) -> Json:
    """A command as the API takes it: without what the gateway knows by itself."""
    left_out = ("type", "recorded")
    fields = {name: value for name, value in command["body"].items() if name not in left_out}
    if fields.get("party") == PARTY:
        fields["party"] = party
    return fields


# Followers


class Follower:
    """Reads the live stream and counts events: nothing is parsed."""

    def __init__(self, served: Gateway, after: int) -> None:
        self._served = served
        self._after = after
        self.events = 0

    async def run(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._served.port, limit=2**20)
        try:
            writer.write(
                f"GET /v1/events/stream?after={self._after} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Authorization: Bearer {self._served.token}\r\n\r\n".encode()
            )
            while chunk := await reader.read(2**18):
                self.events += chunk.count(b"\nevent: ")
            raise RuntimeError("a follower was cut off")
        finally:
            writer.close()


class Followers:
    """Many who follow at once."""

    def __init__(self, served: Gateway, after: int, many: int) -> None:
        self._all = [Follower(served, after) for _ in range(many)]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(follower.run()) for follower in self._all]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def have(self, events: int) -> int:
        """Wait until each has so many events; how many all of them have then."""
        while any(f.events < events for f in self._all):
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)
        return sum(f.events for f in self._all)


async def _followers(
    report: Report,
    served: Gateway,
    cases: Cases,
    log: EventLog,
    life: Life,
    organisation: str,
    count: int,
) -> None:
    delivered: list[float] = []
    await appends.append_sets(log, life, 1, 0.5)

    async def catching_up() -> float:
        """Events per second that all followers together are brought, from behind."""
        head = await log.head(organisation)
        begin = time.perf_counter()
        async with Followers(served, max(0, head - FOLLOWED), FOLLOWERS) as followers:
            brought = await followers.have(min(head, FOLLOWED))
            return brought / (time.perf_counter() - begin)

    def living(many: int) -> Way:
        async def way() -> float:
            head = await log.head(organisation)
            async with Followers(served, head, many) as followers:
                await asyncio.sleep(0.5)
                begin = time.perf_counter()
                took = await _lived(life, lambda: _direct(cases, life), count, AT_ONCE)
                spent = time.perf_counter() - begin
                brought = await followers.have(await log.head(organisation) - head)
                if many:
                    delivered.append(brought / (time.perf_counter() - begin))
                return (len(took.starts) + len(took.commands)) / spent

        return way

    per_second = await report.interleaved(
        f"{FOLLOWERS} followers",
        {
            "none": living(0),
            "followed": living(FOLLOWERS),
            "from behind": catching_up,
        },
    )
    report.lines.append(
        Line(
            f"decisions while {FOLLOWERS} follow, against none",
            per_second["followed"],
            per_second["none"],
            "decisions/s",
            0.8,
        )
    )
    told = {
        "live, events/s": statistics.median(delivered),
        "from behind, events/s": per_second["from behind"],
    }
    report.facts[f"brought to {FOLLOWERS} followers together"] = told
    report.console.print(f"Brought to {FOLLOWERS} followers together: {told}")


def _direct(cases: Cases, life: Life) -> tuple[Start, Send]:
    async def start(name: str, command: Json) -> str:
        await cases.open(f"repair-{name}", life.policy, command)
        return f"repair-{name}"

    return start, cases.send
