"""A line to PostgreSQL that can be cut."""

import asyncio
from contextlib import suppress
from typing import Self
from urllib.parse import parse_qs, urlsplit, urlunsplit


class Line:
    """Stands between a gateway and PostgreSQL; `url` leads through it."""

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self._connections: set[asyncio.Task[None]] = set()
        self._whole = True

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = self._there.netloc.rpartition("@")[0]
        here = self._there._replace(netloc=f"{user}@127.0.0.1:{port}", query="")
        self.url = urlunsplit(here)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()

    def cut(self) -> None:
        """Whatever is connected is lost, and nothing new gets through."""
        self._whole = False
        for connection in self._connections:
            connection.cancel()

    def mend(self) -> None:
        self._whole = True

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        folder = parse_qs(self._there.query).get("host")
        if folder:
            port = self._there.port or 5432
            there = await asyncio.open_unix_connection(f"{folder[0]}/.s.PGSQL.{port}")
        else:
            there = await asyncio.open_connection(self._there.hostname, self._there.port)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await asyncio.gather(_pour(reader, there[1]), _pour(there[0], writer))
        finally:
            self._connections.discard(task)
            writer.transport.abort()
            there[1].transport.abort()


async def _pour(out: asyncio.StreamReader, into: asyncio.StreamWriter) -> None:
    while given := await out.read(65536):
        into.write(given)
        await into.drain()
    into.write_eof()
