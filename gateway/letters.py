"""What messages say, in each language: texts from TOML files, filled with parameters.

A text holds nothing personal, so its hash can be kept, and made again from the log, by anybody.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError

from gateway.words.plain import money, readable
from lifecycles.decisions import reasons_of
from schemas.base import Value
from schemas.envelope import Message

Language = Literal["zh-CN", "en"]
LANGUAGES: tuple[Language, ...] = ("zh-CN", "en")

FOLDER = Path(__file__).resolve().parent.parent / "policies" / "letters"
"""The texts that Standpipe comes with."""

MONEY = ("amount", "balance", "expected", "received")
"""Parameters in the smallest unit of the policy's currency."""

_OPTIONAL = re.compile(r"\[\[(.*?)\]\]")
_FIELD = re.compile(r"\{([a-z_]+)\}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class LetterError(Exception):
    """A text is missing or can't be filled; the message says which, never a parameter's value."""


class Clock(NamedTuple):
    """Where a case lives: how its times and amounts are written."""

    time_zone: str
    currency: str | None


class Letter(NamedTuple):
    """What is said, and what is kept of it: the template's name and the text's SHA-256."""

    template: str
    """Such as party/report_received."""
    language: str
    subject: str
    text: str

    @property
    def hash(self) -> str:
        """SHA-256 of the text in UTF-8, in hex."""
        return sha256(self.text.encode()).hexdigest()


class _Texts(Value):
    """One language's file. Under `party` and `work`: texts, and of_KIND tables of them."""

    language: str
    subject: str = Field(min_length=1)
    subject_work: str = Field(min_length=1)
    time: str = Field(min_length=1)
    day: str = Field(min_length=1)
    words: Mapping[str, str]
    party: Mapping[str, str | Mapping[str, str]]
    work: Mapping[str, str | Mapping[str, str]]


class Letters:
    """The texts of one organisation, in every language."""

    def __init__(self, own: Path | None = None) -> None:
        """Those that Standpipe comes with; what files of the same names in `own` say goes first.

        LetterError with all that is wrong.
        """
        self._texts = {language: _load(language, own) for language in LANGUAGES}

    def write(self, message: Message, kind: str, language: Language, clock: Clock) -> Letter:
        """What a message of a kind of case says to its recipient. LetterError."""
        texts = self._texts[language]
        audience: Literal["party", "work"] = "party" if message.to == "party" else "work"
        name, text = _find(texts, audience, kind, message.template)
        params = dict(message.params)
        values = {name: _said(texts, clock, name, v) for name, v in params.items() if v is not None}
        subject = texts.subject if audience == "party" else texts.subject_work
        values_of_subject = {**values, "template": readable(message.template)}
        return Letter(
            template=name,
            language=language,
            subject=_filled(name, subject, values_of_subject),
            text=_filled(name, text, values),
        )

    def needs(self, message_to: str, kind: str, template: str, language: Language) -> set[str]:
        """The parameters that a text can't do without. LetterError where there is no such text."""
        audience: Literal["party", "work"] = "party" if message_to == "party" else "work"
        _, text = _find(self._texts[language], audience, kind, template)
        return set(_FIELD.findall(_OPTIONAL.sub("", text)))


def _find(
    texts: _Texts, audience: Literal["party", "work"], kind: str, template: str
) -> tuple[str, str]:
    section = texts.party if audience == "party" else texts.work
    own = section.get(f"of_{kind}")
    if isinstance(own, Mapping) and template in own:
        return f"{audience}/{kind}/{template}", own[template]
    found = section.get(template)
    if isinstance(found, str):
        return f"{audience}/{template}", found
    raise LetterError(f"There is no text {audience}/{template} in {texts.language}.")


def _filled(name: str, text: str, values: Mapping[str, str]) -> str:
    def optional(part: re.Match[str]) -> str:
        return part[1] if all(field in values for field in _FIELD.findall(part[1])) else ""

    def value(field: re.Match[str]) -> str:
        if field[1] not in values:
            raise LetterError(f"The text {name} needs {field[1]}, and the message has none.")
        return values[field[1]]

    return _FIELD.sub(value, _OPTIONAL.sub(optional, text))


def _said(texts: _Texts, clock: Clock, name: str, value: str | int) -> str:
    if isinstance(value, int):
        return money(value, clock.currency) if name in MONEY else str(value)
    if _TIME.match(value):
        return _at(texts.time, datetime.fromisoformat(value).astimezone(ZoneInfo(clock.time_zone)))
    if _DAY.fullmatch(value):
        return _at(texts.day, datetime.fromisoformat(value))
    return texts.words.get(value, value)


def _at(form: str, at: datetime) -> str:
    # Not strftime, which writes what the process's locale likes.
    parts = {"year": f"{at:%Y}", "month": f"{at:%m}", "day": f"{at:%d}"}
    parts |= {"hour": f"{at:%H}", "minute": f"{at:%M}"}
    return _filled("time", form, parts)


def _load(language: Language, own: Path | None) -> _Texts:
    content: dict[str, Any] = {}
    files: Sequence[Path] = [FOLDER / f"{language}.toml"]
    if own is not None:
        files = [*files, *(p for p in [own / f"{language}.toml"] if p.is_file())]
    for file in files:
        try:
            found = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise LetterError(f"{file} cannot be read: {error}.") from None
        content = _merged(content, found)
    try:
        return _Texts.model_validate(content)
    except ValidationError as error:
        listed = "\n  ".join(reasons_of(error))
        raise LetterError(f"{files[-1]} cannot be used:\n  {listed}") from None


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for name, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(name), dict):
            value = _merged(merged[name], cast("dict[str, Any]", value))
        merged[name] = value
    return merged
