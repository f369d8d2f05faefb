"""The gateway as a process: beside `up`, on a socket, killed in the middle of its work."""

import asyncio
import json
import signal
import socket
from pathlib import Path
from uuid import uuid4

import pytest
from httpx import AsyncClient, HTTPError, Response

from stack.connect import StackError
from tests.gateway.http.office import REPAIR
from tests.test_cli import Running, read, run

STARTS = 12


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing runs here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def token(subject: str, *roles: str) -> dict[str, str]:
    words = [word for role in roles for word in ("--role", role)]
    made = read(run("token", "--subject", subject, *words, "--json"))
    return {"Authorization": f"Bearer {made['token']}"}


async def start(url: str, who: dict[str, str], key: str) -> Response | None:
    """Report a repair; nothing comes back from a gateway that dies."""
    async with AsyncClient(base_url=url, timeout=60) as http:
        try:
            return await http.post(
                "/v1/repairs", json=REPAIR, headers=who | {"Idempotency-Key": key}
            )
        except HTTPError:
            return None


async def finished(url: str, who: dict[str, str], key: str) -> str:
    """The case of a request that is sent until it is answered, as a client does it."""
    while True:
        answer = await start(url, who, key)
        assert answer is not None
        if answer.status_code == 201:
            return answer.json()["case_id"]
        assert answer.json()["type"] == "/problems/in-progress", answer.text
        await asyncio.sleep(int(answer.headers["retry-after"]))


async def test_a_killed_gateway_leaves_nothing_that_another_does_not_finish(
    nowhere: Path,
) -> None:
    with Running("up", "--port", "0", "--ui-port", "0", "--http-port", "0", "--json") as up:
        await asyncio.to_thread(up.wait_for, "stdout", '"pid"')
        url = json.loads(up.said("stdout"))["http_url"]
        clerk = await asyncio.to_thread(token, "s-1041", "clerk")
        async with AsyncClient(base_url=url) as http:
            assert (await http.get("/readyz")).status_code == 200
            assert (await http.get("/openapi.json")).json()["openapi"].startswith("3.1")
            assert (await http.get("/v1/cases")).status_code == 401
            assert (await http.get("/v1/cases", headers=clerk)).json()["cases"] == []

        with Running("serve", "--port", "0", "--json") as other:
            await asyncio.to_thread(other.wait_for, "stdout", "http_url")
            there = json.loads(other.said("stdout"))["http_url"]
            first = await start(there, clerk, str(uuid4()))
            assert first is not None
            assert first.status_code == 201, first.text

            keys = [str(uuid4()) for _ in range(STARTS)]
            begun = [asyncio.create_task(start(there, clerk, key)) for key in keys]
            await asyncio.sleep(0.15)
            other.process.kill()
            answered = [a for a in await asyncio.gather(*begun) if a is not None]
        assert len(answered) < STARTS  # it died in the middle
        made = await asyncio.gather(*(finished(url, clerk, key) for key in keys))
        assert {a.json()["case_id"] for a in answered if a.status_code == 201} <= set(made)
        async with AsyncClient(base_url=url) as http:
            rows = (await http.get("/v1/cases", headers=clerk)).json()["cases"]
        assert {row["case_id"] for row in rows} == {*made, first.json()["case_id"]}
        assert len(rows) == STARTS + 1

        with Running("serve", "--port", "0") as third:
            await asyncio.to_thread(third.wait_for, "stdout", "describes it")
            assert await asyncio.to_thread(third.stopped, signal.SIGTERM) == 0
        assert await asyncio.to_thread(up.stopped, signal.SIGTERM) == 0, up.said("stderr")


async def test_a_port_that_is_taken_is_told_in_one_sentence() -> None:
    from gateway.http.server import _bound  # pyright: ignore[reportPrivateUsage]

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StackError, match="Set STANDPIPE_HTTP_PORT to another port"):
            _bound("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(StackError, match="no address of this machine"):
        _bound("no such host", 0)
