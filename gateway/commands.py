"""Commands from words: which there are, which fields they have, and everything wrong with an input.

Works on the models alone, so a new command in `schemas/` is known here without a line.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from gateway.fields import YES, Field, composed, fields, what
from schemas.archive import ArchiveCommand
from schemas.arrears import ArrearsCommand
from schemas.assessment import AssessmentCommand
from schemas.base import Actor, CaseId, Command, CommandId, PartyId, Role, Subject, UtcTime
from schemas.complaint import ComplaintCommand
from schemas.conduct import ConductCommand
from schemas.envelope import Json
from schemas.premises import PremisesCommand
from schemas.repair import RepairCommand
from schemas.satisfaction import SatisfactionCommand

NOT_FOR_PEOPLE = (
    "ReportRepair",  # these open a case: `repair report`, `complaint register`
    "RegisterComplaint",
    "OpenArrears",  # `import arrears`
    "AddBills",
    "IssuePermit",  # `permit`, which looks into the log first
    "DeadlinePassed",  # the clock's
    "DrawSample",
    "ReportMonth",
    "RankYear",
    "RecordAnswer",  # cases to each other
    "AdoptReport",
    "ReleaseReport",
    "RecordFaultCleared",
    "AdoptComplaint",
    "RecordFinding",
    "RecordPresence",
    "OpenAssessment",  # `assessment run`
    "RecordHistory",  # the archiver's
)
_UNIONS: Mapping[str, Any] = {
    "repair": RepairCommand,
    "complaint": ComplaintCommand,
    "conduct": ConductCommand,
    "premises": PremisesCommand,
    "satisfaction": SatisfactionCommand,
    "arrears": ArrearsCommand,
    "assessment": AssessmentCommand,
    "archive": ArchiveCommand,
}
KINDS = tuple(_UNIONS)
"""The kinds of case of this version."""


_NAME = re.compile(r"(--)?[a-z][a-z0-9_.-]{0,39}")


class Invalid(Exception):
    """An input with everything that is wrong with it; no reason repeats the input."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(dict.fromkeys(reasons))
        super().__init__(" ".join(self.reasons))


def together(*checks: Callable[[], Any]) -> list[Any]:
    """What checks come to that do not need each other. Raises `Invalid` with all their reasons."""
    found: list[Any] = []
    wrong: list[str] = []
    for check in checks:
        try:
            found.append(check())
        except Invalid as error:
            wrong += error.reasons
    if wrong:
        raise Invalid(wrong)
    return found


def case_id(text: str, place: str = "CASE") -> str:
    """A case's id, checked. Raises `Invalid`; `place` is what people call it."""
    try:
        found = TypeAdapter(CaseId).validate_python(text)
    except ValidationError:
        how = "must look like repair-1f2e3d (see `standpipe case list`)"
        raise Invalid([f"{place}: {how}."]) from None
    if found.partition("-")[0] not in _UNIONS:
        raise Invalid([f"{place}: there is no such kind of case; known: {', '.join(KINDS)}."])
    return found


def kind_of(case: str) -> str:
    """The kind of case that a checked id names."""
    return case.partition("-")[0]


def party_id(text: str) -> str:
    """A party's id, checked. Raises `Invalid`."""
    return valid(PartyId, text, "PARTY: must look like party-1f2e3d.")


def valid(kind: Any, text: str, otherwise: str) -> str:
    """A text of some `kind`, such as `Subject`. Raises `Invalid` with what to give instead."""
    try:
        return TypeAdapter(kind).validate_python(text)
    except ValidationError:
        raise Invalid([otherwise]) from None


def models(kind: str) -> dict[str, type[Command]]:
    """The commands that people may send to a kind of case, by name."""
    union = get_args(get_args(_UNIONS[kind])[0])
    named = {str(m.model_fields["type"].default): m for m in union}
    return {name: model for name, model in named.items() if name not in NOT_FOR_PEOPLE}


def find(kind: str, name: str) -> tuple[str, type[Command]]:
    """A command by its name: RecordArrival, record-arrival. Raises `Invalid` with near ones."""
    known = models(kind)
    plain = {_plain(k): k for k in known}
    if found := plain.get(_plain(name)):
        return found, known[found]
    if not known:
        raise Invalid([f"NAME: cases alone speak to {kind}; there is nothing to send."])
    near = [plain[n] for n in difflib.get_close_matches(_plain(name), plain, n=3)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}."
    raise Invalid([f"NAME: no such command for a {kind}; {hint}"])


def options(words: Sequence[str], known: Sequence[Field]) -> tuple[Json, list[str]]:
    """`--key value`, `--key=value`, `--flag`, `--a.b value` as fields, and what cannot be read."""
    found: Json = {}
    wrong: list[str] = []
    forms = {field.option: field for field in known}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or len(word) < 3:
            wrong.append("a value stands alone: every value follows its --option")
            continue
        option, given, value = word.partition("=")
        field = forms.get(option)
        if not given:
            if rest and not rest[0].startswith("--"):
                value = rest.pop(0)
            elif field is not None and field.form == YES:
                value = "true"
            else:
                wrong.append(f"{_safe(option)}: give it a value")
                continue
        _put(found, field, option.removeprefix("--").replace("-", "_"), value)
    return found, wrong


def body(model: type[Command], name: str, given: Json) -> Json:
    """The command's checked JSON. Raises `Invalid` with every wrong field and the right form."""
    known = {field.name: field for field in fields(model)}
    try:
        return model.model_validate({**given, "type": name}).model_dump(mode="json")
    except ValidationError as error:
        raise Invalid([_reason(item, known, name) for item in _details(error)]) from None


def actor(subject: str, role: str) -> Actor:
    """Who is at the terminal, and in which role. Raises `Invalid` with everything wrong."""
    if wrong := _wrong_actor(subject, role):
        raise Invalid(wrong)
    return Actor.model_validate({"subject": subject, "role": role, "proof": "local"})


def envelope(
    command: Json, command_id: str, subject: str, role: str, occurred_at: str | None
) -> Json:
    """The whole command, checked. Raises `Invalid` with everything wrong around its body."""
    wrong: list[str] = []
    if not _fits(TypeAdapter(CommandId), command_id):
        wrong.append("--id: letters, digits and :/._#+- only, 200 at most")
    wrong += _wrong_actor(subject, role)
    at: datetime | None = None
    try:
        at = None if occurred_at is None else TypeAdapter(UtcTime).validate_python(occurred_at)
    except ValidationError:
        wrong.append("--occurred-at: a time with its zone, for example 2026-05-01T08:00:00+08:00")
    if wrong:
        raise Invalid(wrong)
    return {
        "id": command_id,
        "actor": actor(subject, role).model_dump(mode="json"),
        "occurred_at": None if at is None else at.isoformat(),
        "body": command,
    }


def _wrong_actor(subject: str, role: str) -> list[str]:
    wrong: list[str] = []
    if not _fits(TypeAdapter(Subject), subject):
        wrong.append("--as: a staff number: letters, digits and ._:- only, 64 at most")
    if not _fits(TypeAdapter[Any](Role), role):
        wrong.append(f"--role: one of {', '.join(get_args(Role))}")
    return wrong


def _fits(kind: TypeAdapter[Any], value: str) -> bool:
    try:
        kind.validate_python(value)
    except ValidationError:
        return False
    return True


def _put(found: Json, field: Field | None, name: str, value: str) -> None:
    top, _, inner = name.partition(".")
    if field is not None and field.many:
        values = [composed(v, field) for v in value.split(",") if v]
        found[name] = [*found.get(name, []), *values]
    elif field is not None and inner:
        found.setdefault(top, {})[inner] = value
    else:
        found[name] = value


def _details(error: ValidationError) -> list[Any]:
    return list(error.errors(include_url=False, include_input=False))


def _reason(item: Any, known: Mapping[str, Field], name: str) -> str:
    where = [str(part) for part in item["loc"] if isinstance(part, str)]
    field = known.get(".".join(where)) or known.get(where[0] if where else "")
    if field is None and item["type"] == "missing":
        parts = [f.option for f in known.values() if f.name.startswith(f"{where[0]}.")]
        return f"{' and '.join(parts)}: missing"
    if field is None:
        has = ", ".join(f.option for f in known.values()) or "none"
        return f"--{_safe('.'.join(where))}: no field of {name}, which has {has}"
    part = next((p for p in field.parts if p.name == where[-1]), None)
    if part is not None:
        told = "is missing" if item["type"] == "missing" else f"must be {what(part)}"
        return f"{field.option}: {part.name.upper()} {told}; write {field.form}"
    wanted = field.form if field.parts else what(field)
    if item["type"] == "missing":
        return f"{field.option}: missing; give {wanted}"
    if item["type"] == "value_error":
        return f"{field.option}: {item['msg'].removeprefix('Value error, ')}"
    if item["type"] == "too_short":
        return f"{field.option}: give at least one"
    return f"{field.option}: must be {wanted}"


def _safe(text: str) -> str:
    """A name that somebody typed, if it may be a field's; else it may be anything."""
    return text if _NAME.fullmatch(text) else "…"


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").casefold()
