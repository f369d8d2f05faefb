"""An issuer of the tests' own, reached over real HTTP: its keys, its moods, what it was asked."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import algorithms
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

AUDIENCE = "standpipe"
RSA = rsa.generate_private_key(65537, 2048)
SMALL_RSA = rsa.generate_private_key(65537, 1024)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
LARGE_EC = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
ALGORITHM = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}
PRIVATE: dict[str, Any] = {"rsa": RSA, "ec": EC, "ed": ED}


def published(kid: str, private: Any, **more: Any) -> dict[str, Any]:
    """A public key as an issuer publishes it."""
    known: dict[type, Any] = {
        rsa.RSAPrivateKey: algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: algorithms.OKPAlgorithm,
    }
    algorithm = next(a for kind, a in known.items() if isinstance(private, kind))
    return algorithm.to_jwk(private.public_key(), as_dict=True) | {"kid": kid} | more


class Issuer:
    """What the issuer publishes, and how it feels."""

    def __init__(self) -> None:
        self.url = ""
        self.keys = [published(kid, private) for kid, private in PRIVATE.items()]
        self.mood = "well"
        """well, failing, silent, elsewhere, rubbish, huge"""
        self.named: str | None = None
        """As discovery names the issuer, if not as itself."""
        self.asked = 0
        """So often were the keys asked for."""
        self.waiting = asyncio.Event()
        """Somebody waits for them, in vain."""

    def token(
        self, kid: str = "rsa", *, private: Any = None, alg: str | None = None, **claims: Any
    ) -> str:
        """A good token but for what is given; a claim of None is left out."""
        now = datetime.now(UTC)
        told = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "s-1041",
            "roles": ["supervisor"],
            "organisation": "town",
            "iat": now,
            "exp": now + timedelta(minutes=5),
        }
        told = {name: value for name, value in (told | claims).items() if value is not None}
        key = private or PRIVATE.get(kid, RSA)
        return jwt.encode(told, key, alg or ALGORITHM.get(kid, "RS256"), {"kid": kid})

    async def discovery(self, _: Request) -> Response:
        named = self.named or self.url
        return JSONResponse({"issuer": named, "jwks_uri": f"{self.url}/keys"})

    async def published(self, _: Request) -> Response:
        self.asked += 1
        match self.mood:
            case "failing":
                return Response(status_code=500)
            case "silent":
                self.waiting.set()
                await asyncio.sleep(3600)
            case "elsewhere":
                return RedirectResponse(f"{self.url}/other")
            case "rubbish":
                return Response('["' + "x" * 100)
            case "huge":
                return JSONResponse({"keys": self.keys, "more": "x" * 1_000_000})
            case _:
                pass
        return JSONResponse({"keys": self.keys})


@asynccontextmanager
async def running() -> AsyncGenerator[Issuer]:
    """An issuer that listens on some port."""
    issuer = Issuer()
    routes = [
        Route("/.well-known/openid-configuration", issuer.discovery),
        Route("/keys", issuer.published),
        Route("/other", issuer.published),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes),
        log_config=None,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        issuer.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield issuer
    finally:
        server.should_exit = True
        await serving


def tampered(token: str, **claims: Any) -> str:
    """The same signature under other claims."""
    head, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=="))
    return ".".join([head, encoded(told | claims), signature])


def encoded(value: object) -> str:
    """JSON as a part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
