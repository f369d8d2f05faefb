"""A server that receives deliveries, in a process of its own, and behaves as badly as it is told.

Run as `python -m tests.workflows.receiver`. It prints its port, then each request as a JSON line.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from standardwebhooks import Webhook

ROOT = Path(__file__).parents[2]
Answers = list[str]
"""One after the other, and the last for good: a status, a status and Retry-After ("429:1"),
"hang", "late" (200 after a second), "reset", or JSON to answer with."""


class Server:
    """Answers as its script says: by the path, else by the event's subject, else `*`."""

    def __init__(self) -> None:
        self.script: dict[str, Answers] = {"*": ["200"]}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := (await reader.readline()).decode().split():
                await self._answer(line[1], reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        headers: dict[str, str] = {}
        while line := (await reader.readline()).decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
        if path == "/script":
            self.script = json.loads(body)
            how = "200"
        else:
            how = self._how(path, json.loads(body))
            told = {"path": path, "headers": headers, "body": body, "answer": how}
            print(json.dumps(told), flush=True)
        await _behave(how, writer)

    def _how(self, path: str, event: Any) -> str:
        for name in (path, event.get("subject"), "*"):
            if answers := self.script.get(name, []):
                return answers.pop(0) if len(answers) > 1 else answers[0]
        return "200"


async def _behave(how: str, writer: asyncio.StreamWriter) -> None:
    if how == "hang":
        await asyncio.sleep(3600)
    if how == "reset":
        writer.transport.abort()
        raise ConnectionError
    if how == "late":
        await asyncio.sleep(1)
        how = "200"
    if how.startswith("{"):
        length = len(how.encode())
        writer.write(f"HTTP/1.1 200 X\r\ncontent-length: {length}\r\n\r\n{how}".encode())
        await writer.drain()
        return
    status, _, wait = how.partition(":")
    more = f"retry-after: {wait}\r\n" if wait else ""
    more += "location: http://127.0.0.1:9/elsewhere\r\n" if status == "302" else ""
    writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\n{more}\r\nok".encode())
    await writer.drain()


async def main() -> None:
    server = await asyncio.start_server(Server().serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@dataclass
class Receiver:
    """The other process as the test sees it."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def behave(self, script: Mapping[str, Answers | str]) -> None:
        """By path, subject or `*`: how it answers from now on."""
        answers = {k: [v] if isinstance(v, str) else v for k, v in script.items()}
        async with httpx.AsyncClient() as client:
            await client.post(f"{self.url}/script", json=answers)

    def verified(self, secret: str | bytes, *, path: str = "/hook") -> list[Any]:
        """The events that were answered with success there, each verified as a receiver would."""
        webhook = Webhook(secret)
        return [
            webhook.verify(request["body"], request["headers"])
            for request in self.requests
            if request["path"] == path and request["answer"] in ("200", "204", "late")
        ]

    def seen(self, subject: str | None = None, *, path: str = "/hook") -> list[tuple[int, str]]:
        """Positions and answers, in order of arrival."""
        events = [(json.loads(r["body"]), r["answer"]) for r in self.requests if r["path"] == path]
        return [(e["position"], a) for e, a in events if subject in (None, e["subject"])]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver at work; answers 200 until told otherwise."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.workflows.receiver"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    assert process.stdout is not None
    receiver = Receiver(f"http://127.0.0.1:{int(await process.stdout.readline())}")

    async def listen(lines: asyncio.StreamReader) -> None:
        async for line in lines:
            receiver.requests.append(json.loads(line))

    listening = asyncio.create_task(listen(process.stdout))
    try:
        yield receiver
    finally:
        process.kill()
        await process.wait()
        await listening


if __name__ == "__main__":
    asyncio.run(main())
