"""The embedded issuer: tokens for one's own machine, trusted by the embedded servers alone."""

import asyncio
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner, Result

from cli import app
from gateway import issuer
from gateway.tokens import BadToken, trusted
from settings import Settings, SettingsError
from stack import StackError

HOUR = timedelta(hours=1)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["token", *words])


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data directory, as `standpipe up` leaves it."""
    monkeypatch.setenv("STANDPIPE_DATA_DIR", str(tmp_path))
    return tmp_path


async def test_what_the_command_line_makes_opens_the_gateway_beside_it(here: Path) -> None:
    given = ("--subject", "s-1041", "--role", "supervisor", "--role", "clerk")
    result = await asyncio.to_thread(run, *given)
    assert result.exit_code == 0, result.stderr
    token = result.stdout.strip()
    async with trusted(Settings()) as tokens:  # it trusts whoever had the key when it started
        found = await tokens.verify(token)
    assert found.subject == "s-1041"
    assert found.roles == ("supervisor", "clerk")
    assert found.organisation == "town"
    assert stat.S_IMODE((here / issuer.FILE).stat().st_mode) == 0o600
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 3600
    assert {*claims} == {"iss", "aud", "sub", "roles", "organisation", "iat", "exp", "jti"}
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"


def test_scripts_get_json(here: Path) -> None:
    given = ("--subject", "app", "--role", "service", "--minutes", "5", "--json")
    told = json.loads(run(*given).stdout)
    assert {*told} == {"token", "expires_at", "organisation"}
    left = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < left <= timedelta(minutes=5)


async def test_a_token_of_another_machine_is_nothing_here(here: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    token = issuer.mint(other, "s-1", ["admin"], "town", "standpipe", datetime.now(UTC), HOUR)
    async with trusted(Settings()) as tokens:
        with pytest.raises(BadToken, match="does not have"):
            await tokens.verify(token)


async def test_an_old_token_is_over(here: Path) -> None:
    then = datetime.now(UTC) - 2 * HOUR
    token = issuer.mint(here, "s-1", ["admin"], "town", "standpipe", then, HOUR)
    async with trusted(Settings()) as tokens:
        with pytest.raises(BadToken, match="expired"):
            await tokens.verify(token)


async def test_on_real_servers_an_issuer_must_be_named(here: Path) -> None:
    real = Settings(database_url="postgresql://standpipe_gateway@db/standpipe")
    with pytest.raises(SettingsError, match="STANDPIPE_OIDC_ISSUER"):
        async with trusted(real):
            pass
    assert not (here / issuer.FILE).exists()


async def test_beside_a_named_issuer_the_embedded_one_is_not_trusted(here: Path) -> None:
    token = issuer.mint(here, "s-1", ["admin"], "town", "standpipe", datetime.now(UTC), HOUR)
    own = issuer.own_keys(here)
    assert await own.find(jwt.get_unverified_header(token)["kid"])

    # Not even where somebody names it as if it were a real one.
    for name in ("https://login.town.example", "http://localhost:9"):
        async with trusted(Settings(oidc_issuer=name)) as tokens:
            assert tokens._issuer == name
            assert not isinstance(tokens._keys, issuer.OwnKeys)


@pytest.mark.parametrize(
    "variables",
    [
        {"STANDPIPE_OIDC_ISSUER": "https://login.town.example"},
        {"STANDPIPE_DATABASE_URL": "postgresql://standpipe_worker@db/standpipe"},
    ],
)
def test_no_tokens_are_made_where_nobody_would_trust_them(
    here: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = run("--subject", "s-1", "--role", "clerk")
    assert result.exit_code == 1
    assert "STANDPIPE_OIDC_ISSUER" in result.stderr
    assert not result.stdout
    assert not list(here.iterdir())


def test_everything_wrong_with_a_token_is_told_at_once(here: Path) -> None:
    result = run("--subject", "Li Na", "--role", "system", "--role", "boss")
    assert result.exit_code == 2
    assert "--subject" in result.stderr
    assert "--role: one of service, clerk" in result.stderr
    assert "Li Na" not in result.stderr
    assert "boss" not in result.stderr
    result = run("--subject", "Standpipe", "--role", "clerk")
    assert result.exit_code == 2
    assert "its name" in result.stderr


def test_where_nothing_was_started_there_is_no_issuer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STANDPIPE_DATA_DIR", str(tmp_path / "nowhere"))
    result = run("--subject", "s-1", "--role", "clerk")
    assert result.exit_code == 3
    assert "standpipe up" in result.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_key_that_others_can_read_or_that_is_none_is_not_used(here: Path) -> None:
    issuer.own_keys(here)
    path = here / issuer.FILE
    path.chmod(0o640)
    with pytest.raises(StackError, match="open to others"):
        issuer.own_keys(here)
    path.chmod(0o600)
    for content in (
        "",
        "rubbish",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ):
        path.write_text(content)
        with pytest.raises(StackError, match="does not hold"):
            issuer.own_keys(here)
