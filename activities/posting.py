"""Signed posts to other people's servers: no private networks, no redirects, no waiting for ever.

Signatures follow Standard Webhooks. What a receiver writes back is neither read nor kept.
"""

import asyncio
import ipaddress
import math
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import httpx
from standardwebhooks import Webhook

from schemas.webhooks import Carried

SECONDS = 15.0
"""What a receiver has to answer, all in all."""
CONNECT_SECONDS = 5.0
PASS_OVER_SECONDS = 1.0
PASS_OVER_BYTES = 65_536
LONGEST_WAIT = timedelta(hours=1)
"""Whatever a receiver asks for."""
REFUSALS = (400, 409, 411, 412, 413, 415, 422, 431, 451)
"""Answers that have something against what was sent, not against its coming."""
AGENT = "Standpipe-Webhooks/1"


class ForbiddenTarget(Exception):
    """The target is no public address, and Standpipe must not reach into its own network."""

    def __init__(self) -> None:
        super().__init__(
            "the target is not a public address"
            " (STANDPIPE_PRIVATE_TARGETS=true allows those of your own network)"
        )


async def check_target(host: str, port: int) -> str:
    """An address of a host, all of whose addresses are public. ForbiddenTarget, or OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)  # SOCK_STREAM
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise ForbiddenTarget
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet; one wrapped into another counts as itself."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in ipaddress.ip_network("64:ff9b::/96"):  # NAT64
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        else:
            ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class _Public(httpx.AsyncBaseTransport):
    """Connects to the very address that was checked, so that no second look-up can differ."""

    def __init__(self) -> None:
        self._transport = httpx.AsyncHTTPTransport(verify=ssl.create_default_context())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        address = await check_target(host, port)
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=address)
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()


class Poster:
    """Posts to one receiver, which shares its connections with nobody."""

    def __init__(
        self,
        secret: bytes | str,
        *,
        private: bool = False,
        seconds: float = SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`secret`: raw bytes, or whsec_…; `private` lets it reach one's own network."""
        self._signer = Webhook(secret)
        self._seconds = seconds
        self._clock = clock
        self._client = httpx.AsyncClient(
            transport=None if private else _Public(),
            timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": AGENT},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def post(self, url: str, id: str, body: bytes, media_type: str) -> Carried:
        """Post a body once, signed under an id that stays the same with every attempt."""
        try:
            async with asyncio.timeout(self._seconds):
                return _carried(*await self._send("POST", url, id, body, media_type))
        except (TimeoutError, httpx.TimeoutException):
            return Carried(outcome="failed", status=f"no answer within {self._seconds:g} seconds")
        except ForbiddenTarget as refusal:
            return Carried(outcome="failed", status=f"not tried: {refusal}")
        except (httpx.HTTPError, OSError, ssl.SSLError, UnicodeError) as error:
            return Carried(outcome="failed", status=f"not reached ({type(error).__name__})")

    async def ask(self, url: str, id: str, body: bytes, media_type: str, most: int) -> bytes:
        """Post a body and read the answer, of at most so many bytes.

        OSError, httpx.HTTPError, ForbiddenTarget; ValueError where it is not a 200 of that length.
        """
        async with asyncio.timeout(self._seconds):
            async with self._request("POST", url, id, body, media_type) as response:
                if response.status_code != 200:
                    raise ValueError(f"it answered {response.status_code}")
                read = b""
                async for chunk in response.aiter_bytes():
                    read += chunk
                    if len(read) > most:
                        raise ValueError("its answer is too long")
                return read

    async def _send(
        self, method: str, url: str, id: str, body: bytes, media_type: str
    ) -> tuple[int, str | None]:
        async with self._request(method, url, id, body, media_type) as response:
            with suppress(TimeoutError, httpx.HTTPError):
                await _pass_over(response)
            return response.status_code, response.headers.get("retry-after")

    def _request(
        self, method: str, url: str, id: str, body: bytes, media_type: str
    ) -> AbstractAsyncContextManager[httpx.Response]:
        at = self._clock()
        return self._client.stream(
            method,
            url,
            content=body,
            headers={
                "content-type": media_type,
                "webhook-id": id,
                "webhook-timestamp": str(math.floor(at.timestamp())),
                "webhook-signature": self._signer.sign(id, at, body.decode()),
            },
        )


async def _pass_over(response: httpx.Response) -> None:
    """What it says in so many words is let go by, for only then the connection serves again."""
    length = 0
    async with asyncio.timeout(PASS_OVER_SECONDS):
        async for chunk in response.aiter_raw():
            length += len(chunk)
            if length > PASS_OVER_BYTES:
                return


def _carried(status: int, retry_after: str | None) -> Carried:
    said = f"answered {status}"
    if 200 <= status < 300:
        return Carried(outcome="delivered", status=said)
    if status == 410:
        return Carried(outcome="gone", status=said)
    if status in REFUSALS:
        return Carried(outcome="refused", status=said)
    wait = _wait(retry_after) if status in (429, 503) else None
    return Carried(outcome="failed", status=said, wait=wait)


def _wait(retry_after: str | None) -> timedelta | None:
    """Seconds or a date, as HTTP has it; None where it is neither."""
    if retry_after is None:
        return None
    try:
        if retry_after.isdecimal():
            wait = timedelta(seconds=min(int(retry_after), LONGEST_WAIT.total_seconds()))
        else:
            at = parsedate_to_datetime(retry_after)
            wait = at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)
    except (ValueError, OverflowError):
        return None
    return min(max(wait, timedelta(0)), LONGEST_WAIT)
