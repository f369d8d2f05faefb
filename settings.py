"""Configuration from the environment: every STANDPIPE_* variable, checked all at once.

Temporal's own connection (address, namespace, TLS, API key) comes from Temporal's environment
configuration (TEMPORAL_*), never from here.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self
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
    task_queue: Annotated[str, StringConstraints(min_length=1)] = "standpipe"
    policy_dir: Path = Path("policies")
    policy: Annotated[str, StringConstraints(min_length=1)] = "gas"
    """The organisation's policy, by its name there: for new cases and for scheduled reports."""
    max_cached_workflows: Annotated[int, Field(ge=0)] = 5000
    """Larger than the number of open cases, or the worker replays all day."""

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
        return problems or self._unreadable_secrets()

    def _unreadable_secrets(self) -> list[str]:
        readers: list[Callable[[], object]] = [
            self.worker_database_url,
            self.migration_database_url,
        ]
        if self.key is not None or self.key_file is not None:
            readers.append(self.key_encryption_key)
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
