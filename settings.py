"""Configuration from the environment: every STANDPIPE_* variable, checked all at once.

Temporal's own connection (address, namespace, TLS, API key) comes from Temporal's environment
configuration (TEMPORAL_*), never from here.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "STANDPIPE_"
KEY_BYTES = 32
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Rate = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour|day)$")]
"""So often in such a time."""
_KEY_LINE = re.compile(r"(?!(?i:standpipe) )[A-Za-z0-9][A-Za-z0-9._:-]{0,63} [0-9A-Fa-f]{64}")
PostgresUrl = Annotated[str, StringConstraints(pattern=r"^postgres(ql)?://")]


class SettingsError(Exception):
    """The configuration is wrong. The message lists everything that is, never a value."""


class Settings(BaseSettings):
    """How this process is configured; nothing here changes while it runs."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    data_dir: Path = Path(".standpipe")
    """Where the embedded servers keep their data."""
    database_url: PostgresUrl | None = Field(default=None, repr=False)
    """A real PostgreSQL server, as role standpipe_worker; unset means the embedded one."""
    database_password_file: Path | None = None
    """A file with the password for database_url, so that the URL itself holds no secret."""
    admin_database_url: PostgresUrl | None = Field(default=None, repr=False)
    """The same database as a role that may migrate and rebuild."""
    admin_database_password_file: Path | None = None
    organisation: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,30}$")] = "town"
    """Whose log this is: the unit of tenancy."""
    key_file: Path | None = None
    """A file with the vault's key-encryption key: base64 of 32 bytes."""
    key: SecretStr | None = None
    """The same key itself, where files are awkward. Give one of the two."""
    signing_key_file: Path | None = None
    """The private key with which whoever runs the command line signs their decisions."""
    checkpoint_key_file: Path | None = None
    """The log's Ed25519 key in PEM, with which a worker signs checkpoints; unset: the embedded
    stack's own. Never where the database's administrator can read it."""
    checkpoint_dir: Path | None = None
    """Where the newest signed checkpoint is kept outside the database; unset: in data_dir."""
    log_origin: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][!-*,-~]{0,99}$")] | None = (
        None
    )
    """The log's name in its checkpoints; unset: standpipe/<organisation>. Never change it."""
    timestamp_url: str | None = None
    """A time-stamping authority (RFC 3161) that stamps checkpoints."""
    task_queue: Annotated[str, StringConstraints(min_length=1)] = "standpipe"
    deployment: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")] = "standpipe"
    """As what Temporal knows the workers, of all builds together."""
    build_id: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")] | None = None
    """This build's name there; unset: its version and a hash of its sources."""
    policy_dir: Path = Path("policies")
    policy: Annotated[str, StringConstraints(min_length=1)] = "gas"
    """The organisation's policy, by its name there: for new cases and for scheduled reports."""
    max_cached_workflows: Annotated[int, Field(ge=0)] = 5000
    """Larger than the number of open cases, or the worker replays all day."""
    http_host: Annotated[str, StringConstraints(min_length=1)] = "127.0.0.1"
    """Where the gateway listens; 0.0.0.0 for every address of this machine."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0: any free one."""
    oidc_issuer: str | None = None
    """Whose tokens the gateway accepts, exactly as they name it; unset: those of `standpipe token`,
    on the embedded servers alone."""
    oidc_audience: Annotated[str, StringConstraints(min_length=1)] = "standpipe"
    """The gateway's name in these tokens."""
    oidc_jwks_url: str | None = None
    """Where the issuer publishes its keys; unset: where its discovery document says."""
    oidc_subject_claim: Annotated[str, StringConstraints(min_length=1)] = "sub"
    """The claim that holds the staff number. Dots lead inwards, as in realm_access.roles."""
    oidc_roles_claim: Annotated[str, StringConstraints(min_length=1)] = "roles"
    oidc_organisation_claim: Annotated[str, StringConstraints(min_length=1)] = "organisation"
    gateway_url: str | None = None
    """A gateway elsewhere, which the command line is to speak to in place of servers here."""
    gateway_token: SecretStr | None = None
    """The bearer token that says there who one is."""
    gateway_token_file: Path | None = None
    """The same in a file, read anew for each request. Give one of the two."""
    trusted_proxies: str | None = None
    """Addresses or networks, with commas between, of proxies that say for whom they ask, and
    whether over TLS (X-Forwarded-For, X-Forwarded-Proto); unset: nobody is believed that."""
    rate_per_address: Rate = "6000/minute"
    """Requests that the gateway takes from one address, and …"""
    rate_per_subject: Rate = "3000/minute"
    """… those of one person or service, each in one process; and …"""
    rate_of_decisions: Rate = "120/hour"
    """… the approvals that one person decides, in all processes together."""

    open311_keys_file: Path | None = None
    """The keys of civic apps (Open311), a line each: the subject, and the key's SHA-256 in hex."""

    private_targets: bool = False
    """Whether webhooks may go to addresses of one's own network, and by plain HTTP."""
    delivery_days: Annotated[float, Field(gt=0, le=60)] = 3
    """So long a delivery is tried again; then it is a dead letter, for a person to look at."""
    sms_url: str | None = None
    """The text message provider's endpoint; messages to customers are posted there, signed."""
    email_url: str | None = None
    """The same for e-mail, where it does not go by SMTP."""
    work_url: str | None = None
    """Where messages to crews, staff, units and roles are posted, signed."""
    accounts_url: str | None = None
    """The billing system's endpoint for balances, asked before every cut permit, signed."""
    provider_secret: SecretStr | None = None
    """What signs requests to these endpoints: whsec_ and base64, as in Standard Webhooks."""
    provider_secret_file: Path | None = None
    """The same in a file. Give one of the two."""
    smtp_url: Annotated[str, StringConstraints(pattern=r"^smtps?://[^/?#]+$")] | None = None
    """Where e-mail is handed in: smtp://user@host:587 (STARTTLS) or smtps://user@host:465."""
    smtp_password_file: Path | None = None
    smtp_sender: Annotated[str, StringConstraints(pattern=r"^[^@\s<>]+@[^@\s<>]+$")] | None = None
    """The address that e-mail comes from."""
    language: Literal["zh-CN", "en"] = "zh-CN"
    """Of messages to whoever has not asked for another."""
    letter_dir: Path | None = None
    """The organisation's own texts, zh-CN.toml and en.toml, before those of policies/letters/."""

    @field_validator("*", mode="before")
    @classmethod
    def _not_empty(cls, value: object) -> object:
        if value == "":
            raise ValueError("is set but empty: give it a value or leave it out")
        return value

    @field_validator("database_url", "admin_database_url")
    @classmethod
    def _readable_url(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                urlsplit(value)
            except ValueError:
                raise ValueError("is not a readable URL: check its host") from None
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str | None) -> str | None:
        for network in value.split(",") if value else ():
            try:
                ip_network(network.strip())
            except ValueError:
                raise ValueError("give addresses or networks, such as 10.1.0.0/16,::1") from None
        return value

    @field_validator(
        *("oidc_issuer", "oidc_jwks_url", "gateway_url"),
        *("sms_url", "email_url", "work_url", "accounts_url"),
    )
    @classmethod
    def _safe_url(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parts = urlsplit(value)
                local = parts.scheme == "http" and parts.hostname in LOOPBACK
            except ValueError:
                raise ValueError("is not a readable URL: check its host") from None
            if not parts.hostname or (parts.scheme != "https" and not local):
                raise ValueError("must begin with https:// (http:// only on this machine itself)")
            if parts.username is not None or parts.fragment:
                raise ValueError("must hold neither a user nor a fragment")
        return value

    @field_validator("timestamp_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        # Its answers are signed, and most authorities have no TLS.
        if value is not None:
            try:
                parts = urlsplit(value)
            except ValueError:
                raise ValueError("is not a readable URL: check its host") from None
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("must begin with http:// or https://")
            if parts.username is not None:
                raise ValueError("must not hold a user")
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _all_that_is_wrong(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        problems = _unknown_variables()
        settings: Self | None = None
        try:
            settings = handler(data)
        except ValidationError as error:
            for item in error.errors(include_input=False, include_url=False):
                name, said = str(item["loc"][0]), item["msg"].removeprefix("Value error, ")
                problems.append(f"{PREFIX}{name.upper()}: {said}")
        else:
            problems += settings._contradictions()
        if settings is None or problems:
            raise SettingsError("\n".join(["The configuration is wrong:", *problems]))
        return settings

    def _contradictions(self) -> list[str]:
        problems: list[str] = []
        if self.key is not None and self.key_file is not None:
            problems.append("STANDPIPE_KEY and STANDPIPE_KEY_FILE: give one of them, not both")
        for name in ("database", "admin_database"):
            url: str | None = getattr(self, f"{name}_url")
            file: Path | None = getattr(self, f"{name}_password_file")
            prefix = PREFIX + name.upper()
            if file is not None and url is None:
                problems.append(f"{prefix}_PASSWORD_FILE: needs {prefix}_URL beside it")
            elif file is not None and url is not None and urlsplit(url).password:
                problems.append(f"{prefix}_PASSWORD_FILE: {prefix}_URL already holds a password")
        if self.admin_database_url is not None and self.database_url is None:
            problems.append("STANDPIPE_ADMIN_DATABASE_URL: needs STANDPIPE_DATABASE_URL beside it")
        if self.oidc_jwks_url is not None and self.oidc_issuer is None:
            problems.append("STANDPIPE_OIDC_JWKS_URL: needs STANDPIPE_OIDC_ISSUER beside it")
        problems += self._gateway_elsewhere()
        problems += self._undeliverable()
        return problems or self._unreadable_secrets()

    def _gateway_elsewhere(self) -> list[str]:
        problems: list[str] = []
        given = (self.gateway_token, self.gateway_token_file)
        if None not in given:
            problems.append(
                "STANDPIPE_GATEWAY_TOKEN and STANDPIPE_GATEWAY_TOKEN_FILE: give one, not both"
            )
        if self.gateway_url is not None and given == (None, None):
            problems.append("STANDPIPE_GATEWAY_URL: needs STANDPIPE_GATEWAY_TOKEN_FILE beside it")
        if self.gateway_url is None and given != (None, None):
            problems.append("STANDPIPE_GATEWAY_TOKEN: needs STANDPIPE_GATEWAY_URL beside it")
        return problems

    def _undeliverable(self) -> list[str]:
        problems: list[str] = []
        given = (self.provider_secret, self.provider_secret_file)
        if None not in given:
            problems.append(
                "STANDPIPE_PROVIDER_SECRET and STANDPIPE_PROVIDER_SECRET_FILE: give one of them,"
                " not both"
            )
        problems += [
            f"{PREFIX}{name.upper()}: needs STANDPIPE_PROVIDER_SECRET_FILE beside it"
            for name in ("sms_url", "email_url", "work_url", "accounts_url")
            if getattr(self, name) is not None and given == (None, None)
        ]
        if self.email_url is not None and self.smtp_url is not None:
            problems.append("STANDPIPE_EMAIL_URL and STANDPIPE_SMTP_URL: give one, not both")
        if self.smtp_url is not None and self.smtp_sender is None:
            problems.append("STANDPIPE_SMTP_URL: needs STANDPIPE_SMTP_SENDER beside it")
        if self.smtp_password_file is not None and "@" not in (self.smtp_url or ""):
            problems.append(
                "STANDPIPE_SMTP_PASSWORD_FILE: needs a user in STANDPIPE_SMTP_URL beside it"
            )
        return problems

    def _unreadable_secrets(self) -> list[str]:
        readers: list[Callable[[], object]] = [
            self.worker_database_url,
            self.migration_database_url,
        ]
        if self.key is not None or self.key_file is not None:
            readers.append(self.key_encryption_key)
        if self.provider_secret is not None or self.provider_secret_file is not None:
            readers.append(self.provider_signing_secret)
        if self.gateway_token_file is not None:
            readers.append(self.gateway_bearer)
        if self.smtp_password_file is not None:
            readers.append(self.smtp_password)
        if self.checkpoint_key_file is not None:
            readers.append(self.checkpoint_key)
        if self.open311_keys_file is not None:
            readers.append(self.open311_keys)
        problems: list[str] = []
        for read in readers:
            try:
                read()
            except SettingsError as error:
                problems.append(str(error))
        return problems

    def worker_database_url(self) -> str | None:
        """`database_url` with the password from its file; SettingsError if that can't be read."""
        return _with_password("DATABASE", self.database_url, self.database_password_file)

    def migration_database_url(self) -> str | None:
        """`admin_database_url` with the password from its file; SettingsError as above."""
        return _with_password(
            "ADMIN_DATABASE", self.admin_database_url, self.admin_database_password_file
        )

    def key_encryption_key(self) -> bytes:
        """The vault's 32-byte key from STANDPIPE_KEY, its file, or the embedded stack's own key."""
        if self.key is not None:
            return decode_key(self.key.get_secret_value(), f"{PREFIX}KEY")
        path = self.key_file or self.data_dir / "key"
        return decode_key(_read_secret(path, f"{PREFIX}KEY_FILE"), f"{PREFIX}KEY_FILE: {path}")

    @property
    def origin(self) -> str:
        """The log's name in its checkpoints."""
        return self.log_origin or f"standpipe/{self.organisation}"

    @property
    def checkpoint_folder(self) -> Path:
        """Where signed checkpoints are kept outside the database."""
        return self.checkpoint_dir or self.data_dir / "checkpoints"

    def checkpoint_key(self) -> bytes | None:
        """The log's key in PEM, from its file or the embedded stack's own; None without either.

        SettingsError if the file can't be read.
        """
        own = self.data_dir / "checkpoint-key"
        if self.checkpoint_key_file is None and (self.database_url is not None or not own.exists()):
            return None
        name = f"{PREFIX}CHECKPOINT_KEY_FILE"
        return _read_secret(self.checkpoint_key_file or own, name).encode()

    def gateway_bearer(self) -> str:
        """Who one is at `gateway_url`; SettingsError if the file can't be read."""
        if self.gateway_token is not None:
            return self.gateway_token.get_secret_value().strip()
        assert self.gateway_token_file is not None, "a gateway's address has a token beside it"
        name = f"{PREFIX}GATEWAY_TOKEN_FILE"
        return _read_secret(self.gateway_token_file, name).strip()

    def provider_signing_secret(self) -> bytes | None:
        """What signs requests to the configured providers, or SettingsError; None if none is."""
        if self.provider_secret is not None:
            return _decode_secret(self.provider_secret.get_secret_value(), "PROVIDER_SECRET")
        if self.provider_secret_file is None:
            return None
        name = "PROVIDER_SECRET_FILE"
        return _decode_secret(_read_secret(self.provider_secret_file, f"{PREFIX}{name}"), name)

    def open311_keys(self) -> dict[str, str]:
        """The subjects of civic apps by their keys' SHA-256; SettingsError if it can't be read."""
        if self.open311_keys_file is None:
            return {}
        name = f"{PREFIX}OPEN311_KEYS_FILE"
        lines = _read_secret(self.open311_keys_file, name).splitlines()
        given = [line.split() for line in lines if line.strip() and not line.startswith("#")]
        if not all(len(parts) == 2 and _KEY_LINE.fullmatch(" ".join(parts)) for parts in given):
            raise SettingsError(
                f"{name}: {self.open311_keys_file}: each line must be a subject (not standpipe's)"
                " and the SHA-256 of its key, 64 hex digits, with a space between."
            )
        return {digest.lower(): subject for subject, digest in given}

    def smtp_password(self) -> str | None:
        """The password for smtp_url's user; SettingsError if its file can't be read."""
        if self.smtp_password_file is None:
            return None
        return _read_secret(self.smtp_password_file, f"{PREFIX}SMTP_PASSWORD_FILE")


def _decode_secret(text: str, name: str) -> bytes:
    try:
        secret = base64.b64decode(text.strip().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not 24 <= len(secret) <= 64:
        raise SettingsError(
            f"{PREFIX}{name} does not hold a secret: it must be whsec_ and base64 of 24 to 64"
            " bytes."
        )
    return secret


def decode_key(text: str, source: str) -> bytes:
    """Base64 of exactly 32 bytes, or SettingsError naming the source but not the content."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(f"{source} does not hold a key: it must be base64 of 32 bytes.")
    return key


def _unknown_variables() -> list[str]:
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    unknown = sorted(
        name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known
    )
    if not unknown:
        return []
    return [f"{name}: no such setting" for name in unknown] + [f"Known are: {', '.join(known)}"]


def _with_password(name: str, url: str | None, file: Path | None) -> str | None:
    if url is None or file is None:
        return url
    password = _read_secret(file, f"{PREFIX}{name}_PASSWORD_FILE")
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user.removesuffix(':')}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))


def _read_secret(path: Path, variable: str) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise SettingsError(f"{variable}: cannot read {path}: {reason}.") from None
    if not secret:
        raise SettingsError(f"{variable}: {path} is empty.")
    return secret
