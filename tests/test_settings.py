"""The configuration says everything that is wrong with it at once, and never a secret."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from pydantic import ValidationError

from settings import Settings, SettingsError

KEY = base64.b64encode(bytes(range(32))).decode()


def test_without_any_variable_the_embedded_servers_are_meant() -> None:
    settings = Settings()
    assert settings.data_dir == Path(".standpipe")
    assert settings.worker_database_url() is None
    assert settings.migration_database_url() is None
    assert settings.organisation == "town"
    assert settings.max_cached_workflows == 5000


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {
        "DATA_DIR": "/var/lib/standpipe",
        "DATABASE_URL": "postgresql://standpipe_worker@db/standpipe",
        "ADMIN_DATABASE_URL": "postgresql://admin@db/standpipe",
        "ORGANISATION": "north-gas",
        "KEY": KEY,
        "TASK_QUEUE": "cases",
        "DEPLOYMENT": "cases",
        "BUILD_ID": "2026-11.3",
        "POLICY_DIR": "/etc/standpipe",
        "POLICY": "water",
        "MAX_CACHED_WORKFLOWS": "20000",
        "SIGNING_KEY_FILE": "keys/head.pem",
        "CHECKPOINT_DIR": "/var/lib/checkpoints",
        "LOG_ORIGIN": "north-gas.example/log",
        "TIMESTAMP_URL": "http://stamps.example/tsr",
        "HTTP_HOST": "0.0.0.0",
        "HTTP_PORT": "9090",
        "OIDC_ISSUER": "https://login.town.example/realms/town",
        "OIDC_AUDIENCE": "gateway",
        "OIDC_JWKS_URL": "http://localhost:9/keys",
        "OIDC_SUBJECT_CLAIM": "preferred_username",
        "OIDC_ROLES_CLAIM": "realm_access.roles",
        "OIDC_ORGANISATION_CLAIM": "org",
        "GATEWAY_URL": "https://gw.example.org/standpipe",
        "GATEWAY_TOKEN": "a.b.c",
        "TRUSTED_PROXIES": "10.1.0.0/16, ::1",
        "RATE_PER_ADDRESS": "100/second",
        "RATE_PER_SUBJECT": "1000/day",
        "RATE_OF_DECISIONS": "20/hour",
        "PRIVATE_TARGETS": "true",
        "DELIVERY_DAYS": "7",
        "SMS_URL": "https://sms.example/send",
        "WORK_URL": "https://work.example/tell",
        "ACCOUNTS_URL": "https://billing.example/balance",
        "PROVIDER_SECRET": f"whsec_{KEY}",
        "SMTP_URL": "smtp://standpipe@mail.example:587",
        "SMTP_SENDER": "service@town.example",
        "LANGUAGE": "en",
        "LETTER_DIR": "/etc/standpipe/letters",
    }
    files = (
        "CHECKPOINT_KEY_FILE",
        "DATABASE_PASSWORD_FILE",
        "ADMIN_DATABASE_PASSWORD_FILE",
        "SMTP_PASSWORD_FILE",
    )
    given["OPEN311_KEYS_FILE"] = str(tmp_path / "keys")
    (tmp_path / "keys").write_text(f"# of apps\ntown-app {'0aF' * 21}0\n")
    for name in files:
        given[name] = str(tmp_path / name)
        (tmp_path / name).write_text(f"{name.lower()} of/@:?\n")
    for name, value in given.items():
        monkeypatch.setenv(f"STANDPIPE_{name}", value)
    settings = Settings()
    assert settings.worker_database_url() == (
        "postgresql://standpipe_worker:database_password_file%20of%2F%40%3A%3F@db/standpipe"
    )
    assert settings.migration_database_url() == (
        "postgresql://admin:admin_database_password_file%20of%2F%40%3A%3F@db/standpipe"
    )
    assert settings.key_encryption_key() == bytes(range(32))
    assert (settings.task_queue, settings.organisation) == ("cases", "north-gas")
    assert settings.max_cached_workflows == 20000
    assert settings.checkpoint_key() == b"checkpoint_key_file of/@:?"
    assert settings.checkpoint_folder == Path("/var/lib/checkpoints")
    assert settings.origin == "north-gas.example/log"
    missing = set(Settings.model_fields) - {name.lower() for name in given}
    # They exclude `key`, `provider_secret`, `gateway_token` and `smtp_url`.
    assert missing == {"key_file", "provider_secret_file", "gateway_token_file", "email_url"}
    assert (settings.http_host, settings.http_port) == ("0.0.0.0", 9090)
    assert settings.oidc_issuer == "https://login.town.example/realms/town"
    assert settings.oidc_roles_claim == "realm_access.roles"
    assert settings.open311_keys() == {"0af" * 21 + "0": "town-app"}
    assert (settings.rate_per_address, settings.rate_of_decisions) == ("100/second", "20/hour")


def test_everything_wrong_is_listed_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "DATABSE_URL": "postgresql://typo",
        "ORGANISATION": "North Gas!",
        "MAX_CACHED_WORKFLOWS": "many",
        "TASK_QUEUE": "",
        "DATABASE_URL": "mysql://root:hunter2@db/standpipe",
    }.items():
        monkeypatch.setenv(f"STANDPIPE_{name}", value)
    with pytest.raises(SettingsError) as refusal:
        Settings()
    said = str(refusal.value)
    for part in (
        "STANDPIPE_DATABSE_URL: no such setting",
        "Known are: STANDPIPE_DATA_DIR, STANDPIPE_DATABASE_URL,",
        "STANDPIPE_ORGANISATION: ",
        "STANDPIPE_MAX_CACHED_WORKFLOWS: Input should be a valid integer",
        "STANDPIPE_TASK_QUEUE: is set but empty",
        "STANDPIPE_DATABASE_URL: ",
    ):
        assert part in said, part
    assert "hunter2" not in said
    assert "North" not in said


def test_secrets_that_cannot_be_read_or_contradict_are_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("hunter2")
    (tmp_path / "empty").write_text("\n")
    for name, value in {
        "DATABASE_URL": "postgresql://w@db/standpipe",
        "DATABASE_PASSWORD_FILE": str(tmp_path / "absent"),
        "ADMIN_DATABASE_URL": "postgresql://a@db/standpipe",
        "ADMIN_DATABASE_PASSWORD_FILE": str(tmp_path / "empty"),
        "KEY_FILE": str(tmp_path / "key"),
    }.items():
        monkeypatch.setenv(f"STANDPIPE_{name}", value)
    with pytest.raises(SettingsError) as refusal:
        Settings()
    said = str(refusal.value)
    assert "STANDPIPE_DATABASE_PASSWORD_FILE: cannot read" in said
    assert "STANDPIPE_ADMIN_DATABASE_PASSWORD_FILE: " in said
    assert "STANDPIPE_KEY_FILE: " in said
    assert "must be base64 of 32 bytes" in said
    assert "hunter2" not in said

    monkeypatch.setenv("STANDPIPE_KEY", KEY)
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", "postgresql://w:secret@db/standpipe")
    with pytest.raises(SettingsError) as refusal:
        Settings()
    said = str(refusal.value)
    assert "STANDPIPE_KEY and STANDPIPE_KEY_FILE: give one of them" in said
    assert "STANDPIPE_DATABASE_URL already holds a password" in said
    assert "secret" not in said


def test_a_password_file_or_admin_url_alone_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STANDPIPE_DATABASE_PASSWORD_FILE", str(tmp_path))
    monkeypatch.setenv("STANDPIPE_ADMIN_DATABASE_URL", "postgresql://a@db/standpipe")
    with pytest.raises(SettingsError) as refusal:
        Settings()
    assert "PASSWORD_FILE: needs STANDPIPE_DATABASE_URL" in str(refusal.value)
    assert "ADMIN_DATABASE_URL: needs STANDPIPE_DATABASE_URL" in str(refusal.value)


def test_the_embedded_key_is_found_and_its_absence_named(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(SettingsError, match=r"cannot read .*/key: No such file"):
        settings.key_encryption_key()
    (tmp_path / "key").write_text(KEY + "\n")
    assert settings.key_encryption_key() == bytes(range(32))


def test_the_logs_own_key_is_the_embedded_one_only_on_the_embedded_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path, organisation="north-gas")
    assert settings.checkpoint_key() is None
    (tmp_path / "checkpoint-key").write_text("pem\n")
    assert settings.checkpoint_key() == b"pem"
    assert settings.checkpoint_folder == tmp_path / "checkpoints"
    assert settings.origin == "standpipe/north-gas"
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", "postgresql://w@db/x")
    assert Settings(data_dir=tmp_path).checkpoint_key() is None, "that is another log's"
    monkeypatch.setenv("STANDPIPE_CHECKPOINT_KEY_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("STANDPIPE_TIMESTAMP_URL", "ftp://stamps.example")
    monkeypatch.setenv("STANDPIPE_LOG_ORIGIN", "a b+c")
    with pytest.raises(SettingsError) as refusal:
        Settings()
    for wrong in ("TIMESTAMP_URL: must begin with http://", "LOG_ORIGIN"):
        assert wrong in str(refusal.value)
    for name in ("TIMESTAMP_URL", "LOG_ORIGIN"):
        monkeypatch.delenv(f"STANDPIPE_{name}")
    with pytest.raises(SettingsError, match="CHECKPOINT_KEY_FILE: cannot read"):
        Settings()


def test_several_hosts_and_sockets_are_valid_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in (
        "postgresql://w@one:5432,two:5433/standpipe",
        "postgres://w@/standpipe?host=/run/postgresql",
    ):
        monkeypatch.setenv("STANDPIPE_DATABASE_URL", url)
        assert Settings().worker_database_url() == url


def test_nothing_secret_is_shown_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", "postgresql://w:hunter2@db/standpipe")
    monkeypatch.setenv("STANDPIPE_KEY", KEY)
    settings = Settings()
    assert "hunter2" not in repr(settings)
    assert KEY not in repr(settings)
    with pytest.raises(ValidationError):
        settings.organisation = "other"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("OIDC_ISSUER", "http://login.town.example", "must begin with https://"),
        ("OIDC_ISSUER", "login.town.example", "must begin with https://"),
        ("OIDC_ISSUER", "https://user:hunter2@login.town.example", "neither a user"),
        ("OIDC_ISSUER", "https://[::1", "not a readable URL"),
        ("OIDC_JWKS_URL", "https://login.town.example/keys", "needs STANDPIPE_OIDC_ISSUER"),
        ("OIDC_AUDIENCE", "", "empty"),
        ("TRUSTED_PROXIES", "10.1.0.0/16,proxy", "addresses or networks"),
        ("RATE_PER_SUBJECT", "many", "should match"),
        ("RATE_PER_SUBJECT", "0/minute", "should match"),
    ],
)
def test_whose_tokens_count_must_be_said_safely(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    monkeypatch.setenv(f"STANDPIPE_{name}", value)
    with pytest.raises(SettingsError) as refusal:
        Settings()
    assert f"STANDPIPE_{name}: " in str(refusal.value)
    assert why in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_an_issuer_on_this_very_machine_needs_no_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("localhost:9", "127.0.0.1", "[::1]:9"):
        monkeypatch.setenv("STANDPIPE_OIDC_ISSUER", f"http://{host}/")
        assert Settings().oidc_issuer == f"http://{host}/"
