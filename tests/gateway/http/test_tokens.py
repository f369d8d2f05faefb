"""Tokens: only a genuine one of our issuer for us counts, through rotation and outages."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from jwt import algorithms

from gateway import issuer_keys
from gateway.issuer_keys import IssuerSilent, PublishedKeys
from gateway.tokens import BadToken, Tokens
from tests.gateway.http import identity
from tests.gateway.http.identity import AUDIENCE, ED, OTHER_RSA, RSA, Issuer, encoded, tampered

CLAIMS = ("sub", "roles", "organisation")


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def issuer() -> AsyncGenerator[Issuer]:
    async with identity.running() as issuer:
        yield issuer


@pytest.fixture
async def client() -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=2) as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(issuer: Issuer, client: httpx.AsyncClient, clock: Clock) -> Tokens:
    return accepting(issuer, client, clock)


def accepting(
    issuer: Issuer,
    client: httpx.AsyncClient,
    clock: Clock,
    claims: tuple[str, str, str] = CLAIMS,
) -> Tokens:
    keys = PublishedKeys(client, issuer.url, clock=clock)
    return Tokens(keys, issuer.url, AUDIENCE, claims)


async def refused(tokens: Tokens, token: str) -> str:
    with pytest.raises(BadToken) as caught:
        await tokens.verify(token)
    assert caught.value.__cause__ is None
    return str(caught.value)


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
async def test_a_genuine_token_says_who_calls(issuer: Issuer, tokens: Tokens, kid: str) -> None:
    found = await tokens.verify(issuer.token(kid, roles=["clerk", "surfer", "supervisor", "clerk"]))
    assert found.subject == "s-1041"
    assert found.roles == ("clerk", "supervisor")
    assert found.organisation == "town"
    actor = found.actor("supervisor")
    assert (actor.subject, actor.role, actor.proof) == ("s-1041", "supervisor", "token")


async def test_an_audience_may_be_one_of_several(issuer: Issuer, tokens: Tokens) -> None:
    assert await tokens.verify(issuer.token(aud=["other", AUDIENCE]))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "over": ({"exp": -60}, "expired"),
    "not begun": ({"nbf": +60}, "not valid yet"),
    "issued in the future": ({"iat": +60}, "not valid yet"),
    "without end": ({"exp": None}, "lacks"),
    "without beginning": ({"iat": None}, "lacks"),
    "for others": ({"aud": "billing"}, "another audience"),
    "for nobody": ({"aud": None}, "lacks"),
    "of others": ({"iss": "https://elsewhere.example"}, "another issuer"),
    "of nobody": ({"iss": None}, "lacks"),
    "about nobody": ({"sub": None}, "who calls"),
    "about a sentence": ({"sub": "Li Na, of Lane 12"}, "who calls"),
    "about a number": ({"sub": 7}, "not genuine"),
    "about Standpipe itself": ({"sub": "StandPipe"}, "has its name"),
    "of no organisation": ({"organisation": None}, "who calls"),
    "with roles of another shape": ({"roles": {"supervisor": True}}, "who calls"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_genuine_token_counts_only_if_all_of_it_is_right(
    issuer: Issuer, tokens: Tokens, case: str
) -> None:
    claims, why = WRONG[case]
    now = datetime.now(UTC)
    told: dict[str, Any] = {
        name: now + timedelta(seconds=value)
        if name in ("exp", "nbf", "iat") and isinstance(value, int)
        else value
        for name, value in claims.items()
    }
    said = await refused(tokens, issuer.token(**told))
    assert why in said
    for value in claims.values():
        assert not isinstance(value, str) or value not in said


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
async def test_clocks_may_differ_a_little(issuer: Issuer, tokens: Tokens, claim: str) -> None:
    skew = timedelta(seconds=-20 if claim == "exp" else 20)
    claims: dict[str, Any] = {claim: datetime.now(UTC) + skew}
    assert await tokens.verify(issuer.token(**claims))


async def test_a_forged_token_is_not_genuine(issuer: Issuer, tokens: Tokens) -> None:
    assert "not genuine" in await refused(tokens, issuer.token(private=OTHER_RSA))
    good = issuer.token()
    assert "not genuine" in await refused(tokens, tampered(good, roles=["admin"]))
    assert "not genuine" in await refused(tokens, good[:-8] + "AAAAAAAA")


async def test_the_key_decides_the_algorithm_and_not_the_token(
    issuer: Issuer, tokens: Tokens
) -> None:
    _, body, _ = issuer.token().split(".")
    unsigned = f"{encoded({'alg': 'none', 'kid': 'rsa'})}.{body}."
    assert "not genuine" in await refused(tokens, unsigned)
    unsigned = f"{encoded({'alg': 'None', 'kid': 'rsa'})}.{body}."
    assert "not genuine" in await refused(tokens, unsigned)

    # Whoever takes the public key for a shared secret lets everybody sign.
    public = RSA.public_key()
    for secret in (
        public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        json.dumps(issuer.keys[0]).encode(),
    ):
        signed = f"{encoded({'alg': 'HS256', 'kid': 'rsa'})}.{body}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        forged = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        assert "not genuine" in await refused(tokens, forged)

    # Right keys, but others than the ones that the token says, or another algorithm of the same.
    assert "not genuine" in await refused(tokens, issuer.token("rsa", private=ED, alg="EdDSA"))
    assert "not genuine" in await refused(tokens, issuer.token("rsa", alg="PS256"))
    assert "not genuine" in await refused(tokens, issuer.token("rsa", alg="RS512"))


async def test_a_key_in_the_token_itself_means_nothing(issuer: Issuer, tokens: Tokens) -> None:
    own = identity.published("mine", OTHER_RSA)
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    headers = {"kid": "mine", "jwk": own, "jku": f"{issuer.url}/mine"}
    forged = jwt.encode(claims, OTHER_RSA, "RS256", headers)
    assert "does not have" in await refused(tokens, forged)
    critical = jwt.encode(claims, RSA, "RS256", {"kid": "rsa", "crit": ["x"], "x": 1})
    assert "one" in await refused(tokens, critical)


@pytest.mark.parametrize(
    "rubbish",
    [
        "",
        "x",
        "a.b.c",
        "....",
        "é" * 20,
        "x" * 8193,
        encoded({"alg": "RS256"}) + ".e30.x",
        encoded({"alg": "RS256", "kid": 7}) + ".e30.x",
        encoded([]) + ".e30.x",
        base64.urlsafe_b64encode(b"[" * 6000).decode() + ".e30.x",
        base64.urlsafe_b64encode(b'{"kid":' + b"[" * 5000).decode() + ".e30.x",
    ],
)
async def test_rubbish_is_no_token(tokens: Tokens, issuer: Issuer, rubbish: str) -> None:
    said = await refused(tokens, rubbish)
    assert not rubbish or rubbish not in said
    assert issuer.asked == 0


async def test_keys_that_nobody_should_use_are_not_trusted(
    issuer: Issuer, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    small, large = identity.SMALL_RSA, identity.LARGE_EC
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(b"s" * 32).decode(), "kid": "secret"}
    leaked = algorithms.OKPAlgorithm.to_jwk(ED, as_dict=True) | {"kid": "leaked"}
    issuer.keys += [
        identity.published("small", small),
        identity.published("large", large),
        identity.published("enc", RSA, use="enc"),
        identity.published("sign", RSA, key_ops=["sign"]),
        identity.published("pss", RSA, alg="PS256"),
        secret,
        leaked,
        {"kid": "odd", "kty": "RSA", "n": 7, "e": "AQAB"},
        {"kid": "curve", "kty": "OKP", "crv": "Ed448", "x": "AA"},
        {"kid": 7, "kty": "RSA"},
        "text",  # type: ignore[list-item]
    ]
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        weak = issuer.token("small", private=small)
    others = [issuer.token(kid, private=RSA) for kid in ("enc", "sign", "pss", "odd", "curve")]
    others += [
        issuer.token("large", private=large, alg="ES384"),
        issuer.token("secret", private=b"s" * 32, alg="HS256"),
        issuer.token("leaked", private=ED, alg="EdDSA"),
    ]
    with caplog.at_level(logging.WARNING, "standpipe.tokens"):
        for token in (weak, *others):
            assert "does not have" in await refused(tokens, token)
    assert "publishes a private key" in caplog.text
    assert await tokens.verify(issuer.token("ec"))


async def test_keys_are_asked_for_once_and_again_when_they_are_old(
    issuer: Issuer, tokens: Tokens, clock: Clock
) -> None:
    await asyncio.gather(*(tokens.verify(issuer.token()) for _ in range(20)))
    assert issuer.asked == 1
    clock.now += issuer_keys.FRESH_SECONDS - 1
    await tokens.verify(issuer.token())
    assert issuer.asked == 1
    clock.now += 2
    await asyncio.gather(*(tokens.verify(issuer.token()) for _ in range(20)))
    assert issuer.asked == 2


async def test_a_new_key_is_found_as_soon_as_it_is_used(
    issuer: Issuer, tokens: Tokens, clock: Clock
) -> None:
    await tokens.verify(issuer.token())
    issuer.keys = [identity.published("new", OTHER_RSA)]
    clock.now += issuer_keys.PAUSE_SECONDS
    assert await tokens.verify(issuer.token("new", private=OTHER_RSA))
    assert "does not have" in await refused(tokens, issuer.token("rsa"))


async def test_a_token_that_was_good_is_looked_at_again(
    issuer: Issuer, tokens: Tokens, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = issuer.token()
    assert await tokens.verify(token) == await tokens.verify(token)
    with monkeypatch.context() as later:
        then = datetime.now(UTC) + timedelta(minutes=6)
        later.setattr("gateway.tokens.time.time", then.timestamp)
        later.setattr("jwt.api_jwt.datetime", _At(then))
        assert "expired" in await refused(tokens, token)
    assert await tokens.verify(token)
    issuer.keys = [identity.published("rsa", OTHER_RSA)]  # under the same name, but another key
    clock.now += issuer_keys.FRESH_SECONDS
    assert "not genuine" in await refused(tokens, token)
    issuer.keys = [identity.published("new", RSA)]
    clock.now += issuer_keys.FRESH_SECONDS
    assert "does not have" in await refused(tokens, token)


class _At:
    """A datetime module's class at which it is always the same time."""

    def __init__(self, then: datetime) -> None:
        self._then = then

    def now(self, tz: Any = None) -> datetime:
        return self._then


async def test_made_up_keys_do_not_make_us_ask_often(
    issuer: Issuer, tokens: Tokens, clock: Clock
) -> None:
    for n in range(50):
        clock.now += 0.2
        assert "does not have" in await refused(tokens, issuer.token(f"made-up-{n}"))
    assert issuer.asked <= 3


@pytest.mark.parametrize("mood", ["failing", "rubbish", "elsewhere", "huge", "no keys"])
async def test_through_an_outage_the_known_keys_are_kept_for_a_while(
    issuer: Issuer, tokens: Tokens, clock: Clock, mood: str
) -> None:
    await tokens.verify(issuer.token())
    known = issuer.keys
    issuer.mood = mood
    if mood == "no keys":
        issuer.keys = []
    clock.now += issuer_keys.KEPT_SECONDS - 1
    assert await tokens.verify(issuer.token())
    with pytest.raises(IssuerSilent):
        await tokens.verify(issuer.token("new"))  # whether there is such a key, nobody can say
    clock.now += issuer_keys.PAUSE_SECONDS
    with pytest.raises(IssuerSilent):
        await tokens.verify(issuer.token())
    issuer.mood, issuer.keys = "well", known
    clock.now += issuer_keys.PAUSE_SECONDS
    assert await tokens.verify(issuer.token())


async def test_while_a_silent_issuer_is_asked_the_others_need_not_wait(
    issuer: Issuer, tokens: Tokens, clock: Clock
) -> None:
    await tokens.verify(issuer.token())
    issuer.mood = "silent"
    clock.now += issuer_keys.FRESH_SECONDS + 1
    first = asyncio.create_task(tokens.verify(issuer.token()))
    await issuer.waiting.wait()
    async with asyncio.timeout(0.5):
        assert await tokens.verify(issuer.token())
    assert not first.done()
    assert await first  # and neither is the one that asked kept out


async def test_an_issuer_that_was_never_reached_is_not_the_callers_fault(
    client: httpx.AsyncClient, issuer: Issuer, clock: Clock
) -> None:
    keys = PublishedKeys(client, "http://127.0.0.1:9", clock=clock)
    with pytest.raises(IssuerSilent):
        await Tokens(keys, "http://127.0.0.1:9", AUDIENCE, CLAIMS).verify(issuer.token())


async def test_discovery_must_be_the_issuers_own(issuer: Issuer, tokens: Tokens) -> None:
    issuer.named = "https://elsewhere.example"
    with pytest.raises(IssuerSilent):
        await tokens.verify(issuer.token())


async def test_keys_may_be_at_a_given_address(
    issuer: Issuer, client: httpx.AsyncClient, clock: Clock
) -> None:
    issuer.named = "https://elsewhere.example"  # discovery would not do
    keys = PublishedKeys(client, issuer.url, f"{issuer.url}/keys", clock)
    assert await Tokens(keys, issuer.url, AUDIENCE, CLAIMS).verify(issuer.token())


async def test_claims_may_lie_deeper_or_have_any_name(
    issuer: Issuer, client: httpx.AsyncClient, clock: Clock
) -> None:
    names = ("preferred_username", "realm_access.roles", "https://town.example/org")
    tokens = accepting(issuer, client, clock, names)
    found = await tokens.verify(
        issuer.token(
            sub="7f3c",
            preferred_username="s-7",
            realm_access={"roles": ["crew", "offline_access"]},
            roles=["admin"],
            **{"https://town.example/org": "town"},
        )
    )
    assert (found.subject, found.roles, found.organisation) == ("s-7", ("crew",), "town")
    said = await refused(tokens, issuer.token())
    assert "subject" in said
    assert "organisation" in said


async def test_roles_may_be_words_with_spaces_between(issuer: Issuer, tokens: Tokens) -> None:
    found = await tokens.verify(issuer.token(roles="reader system clerk"))
    assert found.roles == ("reader", "clerk")  # nobody is the system
