"""A command's fields as options on the command line: what they are called and what they want."""

from typing import NamedTuple

from schemas.base import Command
from schemas.envelope import Json

YES = "yes|no"
_FORMS = {
    "^(repair": "CASE",
    "^arrears-": "CASE",
    "^party-": "PARTY",
    "^complaint-": "FINDING",
    "^[0-9a-f]{32}": "NONCE",
    "^[0-9a-f]": "HASH",
    "^[A-Za-z0-9_-]{42}": "KEY",
    "^[A-Za-z0-9_-]{86}": "SIGNATURE",
    "^[A-Z]{3}$": "CURRENCY",
    "^[0-9]{4}-": "PERIOD",
    "^[a-z0-9][a-z0-9_.-]": "WORD",
    "^[A-Za-z0-9][A-Za-z0-9._:-]": "WHO",
    "^[A-Za-z0-9][A-Za-z0-9:/._#-]": "REFERENCE",
}
"""How the pattern of an identifier begins, and its name in a usage line."""
_HELP = {
    "CURRENCY": "a currency, such as CNY",
    "DATE": "a day, such as 2026-05-01",
    "PERIOD": "a month or quarter, such as 2026-05 or 2026-Q2",
    "NUMBER": "a whole number; of money in the smallest unit, such as fen",
    "CASE": "a case, such as repair-1f2e3d",
    "FINDING": "a finding, such as complaint-1f2e3d/s-1041",
    "HASH": "the hash of the facts, as `standpipe approvals --json` tells it",
    "KEY": "a public key, as `standpipe key create` prints it",
    "NONCE": "16 random bytes in hex, never used before",
    "SIGNATURE": "the signature: `standpipe approve` and `reject` make it",
    "PARTY": "a party, such as party-1f2e3d",
    "WORD": "a word from a code list, such as no_answer: small letters, digits and _.-",
    "WHO": "a staff number, crew or unit, such as crew-7: letters, digits and ._:-",
    "REFERENCE": "where it is kept, such as photo:4711: letters, digits and :/._#-",
    "TIME": "a time with its zone, such as 2026-05-01T08:00:00+08:00",
    YES: "yes or no",
}


class Field(NamedTuple):
    """A field of a command, as an option on the command line."""

    name: str
    required: bool
    form: str
    """What its value looks like."""
    many: bool
    parts: tuple["Field", ...] = ()
    """What each value of many is put together from, with a colon between."""

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")

    def described(self) -> Json:
        """As JSON tells it."""
        return {
            "name": self.name,
            "required": self.required,
            "form": self.form,
            "many": self.many,
            "option": self.option,
        }


def fields(model: type[Command]) -> list[Field]:
    """The fields that somebody gives, in order; the parts of a composed one each by itself."""
    schema = model.model_json_schema()
    found: list[Field] = []
    for name, part in schema["properties"].items():
        whole = _resolved(part, schema)
        required = name in schema.get("required", ())
        for inner, piece in whole.get("properties", {"": whole}).items():
            field = f"{name}.{inner}" if inner else name
            found.append(_field(field, required, piece, schema))
    return [field for field in found if field.name != "type"]


def _field(name: str, required: bool, piece: Json, schema: Json) -> Field:
    if piece.get("type") != "array":
        return Field(name, required, _form(piece), False)
    item = _resolved(piece["items"], schema)
    needed = item.get("required", ())
    parts = tuple(
        _field(part, part in needed, _resolved(form, schema), schema)
        for part, form in item.get("properties", {}).items()
    )
    each = _form(item)
    if parts:
        each = "".join(
            f"{':' if i else ''}{p.name.upper()}" if p.required else f"[:{p.name.upper()}]"
            for i, p in enumerate(parts)
        )
    return Field(name, required, f"{each}[,…]", True, parts)


def usage(model: type[Command]) -> str:
    """The fields as one line: `--crew SUBJECT [--receipt REFERENCE]`."""
    parts: list[str] = []
    for field in fields(model):
        shown = field.option if field.form == YES else f"{field.option} {field.form}"
        parts.append(shown if field.required else f"[{shown}]")
    return " ".join(parts)


def composed(value: str, field: Field) -> str | Json:
    """A value of many: `s-1041:s-2001` is a staff number and whom they report to."""
    if not field.parts:
        return value
    names = [part.name for part in field.parts]
    given = value.split(":", len(names) - 1)
    return {name: piece for name, piece in zip(names, given, strict=False) if piece}


def what(field: Field) -> str:
    """What a field wants, as the end of a sentence."""
    form = field.form.removesuffix("[,…]")
    return _HELP.get(form, f"one of {form.replace('|', ', ')}")


def _resolved(part: Json, schema: Json) -> Json:
    """A field's own schema, without references and without the null of an optional one."""
    if "anyOf" in part:
        return _resolved(next(p for p in part["anyOf"] if p.get("type") != "null"), schema)
    if "$ref" in part:
        return _resolved(schema["$defs"][part["$ref"].rpartition("/")[2]], schema)
    return part


def _form(schema: Json) -> str:
    if "enum" in schema:
        return "|".join(str(v) for v in schema["enum"])
    if schema.get("type") == "boolean":
        return YES
    if schema.get("type") == "array":
        return f"{_form(schema['items'])}[,…]"
    if schema.get("type") == "integer":
        return "NUMBER"
    if schema.get("format") in ("date-time", "date"):
        return "TIME" if schema["format"] == "date-time" else "DATE"
    pattern = str(schema.get("pattern", ""))
    return next((form for start, form in _FORMS.items() if pattern.startswith(start)), "TEXT")
