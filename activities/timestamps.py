"""Time stamps from an authority (RFC 3161): that a checkpoint's note existed at a time."""

import asyncio
import ssl
from typing import Protocol

import httpx
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    decode_timestamp_response,
)

SECONDS = 10.0
LONGEST = 64 * 1024
"""Bytes of an answer."""
TYPES = ("application/timestamp-query", "application/timestamp-reply")


class StampError(Exception):
    """The authority has not stamped it; the message says why, and no more than that."""


class Stamper(Protocol):
    """An authority, as checkpoints need it."""

    @property
    def authority(self) -> str:
        """By what name it is kept."""
        ...

    async def stamp(self, content: bytes) -> bytes:
        """Its whole answer. Raises `StampError`."""
        ...


class Authority:
    """An authority that is asked by HTTP."""

    def __init__(self, url: str, *, seconds: float = SECONDS) -> None:
        self.authority = url
        self._seconds = seconds
        self._tls = ssl.create_default_context()  # once: it takes long

    async def stamp(self, content: bytes) -> bytes:
        """Its answer, if that is over this content and our question. Raises `StampError`.

        Whether the authority is one to trust is for the auditor, who has its certificate.
        """
        question = (
            TimestampRequestBuilder()
            .data(content)
            .hash_algorithm(HashAlgorithm.SHA256)
            .nonce(nonce=True)
            .cert_request(cert_request=True)
            .build()
        )
        raw = await self._asked(question.as_bytes())
        try:
            answer = decode_timestamp_response(raw)
            if answer.status not in (PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS):
                raise StampError(f"it refused (status {answer.status})")
            info = answer.tst_info
            same = (
                info.message_imprint.message == question.message_imprint.message
                and info.nonce == question.nonce
            )
        except ValueError:
            raise StampError("its answer is no time stamp") from None
        if not same:
            raise StampError("it stamped something else")
        return raw

    async def _asked(self, question: bytes) -> bytes:
        sent, wanted = TYPES
        try:
            async with (
                asyncio.timeout(self._seconds),
                httpx.AsyncClient(
                    timeout=self._seconds, trust_env=False, verify=self._tls
                ) as client,
                client.stream(
                    "POST", self.authority, content=question, headers={"content-type": sent}
                ) as response,
            ):
                if response.status_code != 200:
                    raise StampError(f"it answered {response.status_code}")
                if response.headers.get("content-type", "").partition(";")[0] != wanted:
                    raise StampError("its answer is no time stamp")
                read = b""
                async for chunk in response.aiter_bytes():
                    read += chunk
                    if len(read) > LONGEST:
                        raise StampError("its answer is too long")
                return read
        except TimeoutError:
            raise StampError(f"no answer within {self._seconds:g} seconds") from None
        except (httpx.HTTPError, OSError, ssl.SSLError) as error:
            raise StampError(f"not reached ({type(error).__name__})") from None
