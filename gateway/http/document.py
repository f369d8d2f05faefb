"""`python -m gateway.http.document`: the OpenAPI document as a page for people, docs/api.md."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter

from gateway.http.app import routed
from gateway.http.described import named_types
from gateway.http.events import EVENT
from gateway.http.openapi import TAGS
from gateway.http.problems import FOLDER, KINDS, MEDIA_TYPE
from schemas import base
from schemas.envelope import Json

STAR = "\\*"
MOST_VALUES = 12
"""So many words of an enumeration are shown; the document has them all."""
EVERYWHERE = ("case_id", "as_role", "Idempotency-Key", "limit", "after")
"""Parameters that mean the same wherever they are."""
FILES = "ShownPolicy"
"""What only a policy is made of is described in the policies themselves."""
ORDINARY = {400, 401, 413, 415, 422, 429, 500, 503}
"""What anything may end in is said once."""

WORDS = ("CaseId", "PartyId", "Subject", "Code", "Reference", "CommandId")
"""Types of text that are named rather than described at every field."""

HEAD = """\
# HTTP API

Made by `make api-docs` from the OpenAPI document, which a gateway serves at `/openapi.json` and
from which a client can be generated. Do not edit this page.

{description}
**Everywhere:** `case_id` is a case's name; `as_role` chooses in which of your roles you act, else
it is the first that may; a list's `limit` and `after` page through it; `occurred_at` in a body is
when it happened, where that was earlier than now. Fields marked \\* must be given. Anything may
also end in `unauthorized`, `forbidden`, `invalid`, `too-many-requests`, `fault` or `unavailable`;
what is sent with a key also in `malformed`, `key-missing`, `key-reused`, `in-progress`, `too-large`
or `unsupported-media-type`.

**Words:**
"""
COMMANDS = """\
Each is `POST /v1/cases/{case_id}/commands/{Name}` with its fields as the body, which may be left
out where none must be given. It answers 200 with a [CommandOutcome](#commandoutcome), and ends in
`no-such-case`, `no-such-command`, `refused` or `conflict` otherwise. The kinds of case that take it
stand in brackets.
"""


def page(document: Json) -> str:
    """The whole page, in Markdown."""
    return "\n".join(_tidy(_Page(document).lines())) + "\n"


class _Page:
    def __init__(self, document: Json) -> None:
        self._document = document
        self._schemas: Json = document["components"]["schemas"]
        self._words = {pattern: (name, told) for name, pattern, told in _words()}
        self._meant = {_one_line(named_types()[name]) for name in ("UtcTime", "Day", *WORDS)}
        """Said once: at each field, what its type means would only be noise."""
        self._bodies: set[str] = set()
        """Described where they are sent."""

    def lines(self) -> Iterator[str]:
        yield HEAD.format(description=self._document["info"]["description"])
        for name, told in self._words.values():
            yield f"- *{name}*: {told}"
        yield from self._problems()
        for tag in TAGS:
            yield f"\n## {tag['name'].capitalize()}\n\n{tag['description']}\n"
            if tag["name"] == "events":
                yield from _events()
            if tag["name"] == "commands":
                yield COMMANDS
            for method, path, operation in self._operations(tag["name"]):
                if tag["name"] == "commands":
                    yield from self._command(operation)
                else:
                    yield from self._operation(method, path, operation)
        yield from self._values()

    def _problems(self) -> Iterator[str]:
        yield "\n## Problems\n\n| `type` | status | what it is, and what to do |"
        yield "| --- | --- | --- |"
        for name, kind in KINDS.items():
            title = kind.title.rstrip("?.")
            yield f"| `{FOLDER}{name}` | {kind.status} | {title}: {kind.advice} |"
        told = {
            "type": f"{FOLDER}refused",
            "title": KINDS["refused"].title,
            "status": KINDS["refused"].status,
            "detail": "Triage the repair first.",
            "instance": "urn:uuid:0b5b3f8e-7c6f-4a1e-9d0c-2f6a5f2f7a11",
            "reasons": ["Triage the repair first."],
            "possible": ["TriageRepair", "SolveByPhone"],
        }
        yield f"\n```json\n{json.dumps(told, indent=2, ensure_ascii=False)}\n```"

    def _operations(self, tag: str) -> Iterator[tuple[str, str, Json]]:
        for path, item in cast("Json", self._document["paths"]).items():
            for method, operation in cast("Json", item).items():
                if tag in operation["tags"]:
                    yield method.upper(), path, operation

    def _command(self, operation: Json) -> Iterator[str]:
        told, sent, *roles = _paragraphs(operation["description"])
        kinds = sent.removeprefix("Sent to: ").rstrip(".")
        yield f"\n### {operation['operationId']} ({kinds})"
        yield f"{told} {' '.join(roles)}"
        yield from self._body(operation)

    def _operation(self, method: str, path: str, operation: Json) -> Iterator[str]:
        yield f"\n### {operation['summary']}"
        yield f"`{method} {path}`: {' '.join(_paragraphs(operation['description']))}"
        for parameter in operation.get("parameters", ()):
            if parameter["name"] not in EVERYWHERE:
                where = "" if parameter["in"] == "path" else parameter["in"]
                told = {**parameter["schema"], "description": parameter.get("description", "")}
                yield self._field(parameter["name"], told, parameter["required"], where)
        yield from self._body(operation)
        yield from self._answers(operation["responses"])

    def _body(self, operation: Json) -> Iterator[str]:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = _some(content["schema"])
            self._bodies.add(_named(schema))
            found = self._schemas.get(_named(schema), schema)
            yield from self._fields(found)
            for example in found.get("examples", ())[:1]:
                yield f"- Example: `{json.dumps(example, ensure_ascii=False)}`"

    def _fields(self, schema: Json) -> Iterator[str]:
        required = schema.get("required", ())
        for name, field in cast("Json", schema.get("properties", {})).items():
            if name != "occurred_at":
                yield self._field(name, field, name in required)

    def _field(self, name: str, schema: Json, required: bool, where: str = "") -> str:
        kind = ", ".join(filter(None, (where, self._type(schema), _default(schema))))
        told = _one_line(schema.get("description", ""))
        if told in self._meant:
            told = ""
        return f"- `{name}`{STAR * required} ({kind}){f': {told}' if told else ''}"

    def _shown(self, schema: Json) -> Iterator[str]:
        """What an answer holds; what explains itself in one line."""
        fields: Json = schema.get("properties", {})
        lines = [self._field(name, field, False) for name, field in fields.items()]
        plain = [line.removeprefix("- ") for line in lines if not _explained(line)]
        if plain:
            yield f"- {', '.join(plain)}"
        yield from (line for line in lines if _explained(line))

    def _type(self, schema: Json) -> str:
        if "$ref" in schema:
            name = _named(schema)
            found = self._schemas[name]
            if "enum" in found:
                return self._type(found)
            return f"[{name}](#{name.lower()})" if name in self._used else name
        if options := schema.get("anyOf", schema.get("oneOf")):
            named = [self._type(option) for option in options if option.get("type") != "null"]
            return " or ".join(dict.fromkeys(named))
        if "const" in schema:
            return f"`{schema['const']}`"
        if "enum" in schema:
            words = [f"`{word}`" for word in schema["enum"]]
            return " ".join(words[:MOST_VALUES]) + (" …" if len(words) > MOST_VALUES else "")
        match schema.get("type"):
            case "array":
                return f"list of {self._type(schema.get('items', {}))}"
            case "string":
                if word := self._words.get(schema.get("pattern", "")):
                    return f"*{word[0]}*"
                return {"date-time": "time", "date": "date"}.get(schema.get("format", ""), "text")
            case "integer":
                least, most = schema.get("minimum"), schema.get("maximum")
                known = least is not None and most is not None and most < 10**6
                return f"integer, {least:g} to {most:g}" if known else "integer"
            case "object" if isinstance(values := schema.get("additionalProperties"), Mapping):
                return f"by name: {self._type(cast('Json', values))}"
            case str(other):
                return other
            case _:
                return "anything"

    def _answers(self, responses: Json) -> Iterator[str]:
        """What is answered, and the problems that not everything ends in."""
        for status, answer in responses.items():
            if int(status) < 400:
                told = _one_line(answer["description"])
                names = [_named(c.get("schema", {})) for c in answer.get("content", {}).values()]
                links = [f"[{n}](#{n.lower()})" for n in dict.fromkeys(names) if n in self._schemas]
                said = "" if told == "Successful Response" else f" {told}"
                yield f"- Answers {status}{' ' if links else ''}{', '.join(links)}.{said}"
        own = [
            f"`{name}`"
            for status, answer in responses.items()
            if int(status) >= 400 and int(status) not in ORDINARY
            for name in self._kinds(answer)
            if name not in ("forbidden", "in-progress")
        ]
        if own:
            yield f"- Problems: {', '.join(own)}."

    def _kinds(self, answer: Json) -> Iterable[str]:
        if "$ref" in answer:
            answer = self._document["components"]["responses"][_named(answer)]
        return answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})

    def _values(self) -> Iterator[str]:
        yield "\n## Values\n\nWhat bodies and answers are made of. A policy's parts are described"
        yield "in `policies/`, where they stand with the rules that they come from."
        shared = {name for s in self._schemas.values() for name in _references(s)}
        for name in sorted(self._used - (self._bodies - shared) - {"Problem"}):
            schema = self._schemas[name]
            if "properties" in schema:
                yield f"\n### {name}"
                if told := _one_line(schema.get("description", "")):
                    yield told
                yield from self._shown(schema)

    @cached_property
    def _used(self) -> set[str]:
        """Whatever operations are made of; of a policy only that it is one."""
        found: set[str] = set()
        waiting = _references(self._document["paths"])
        while waiting:
            at = waiting.pop()
            if at not in found and at in self._schemas:
                found.add(at)
                waiting += [] if at == FILES else _references(self._schemas[at])
        return found


def _words() -> Iterator[tuple[str, str, str]]:
    """Each named type of text: its name, its pattern, what it means."""
    told = named_types()
    for name in WORDS:
        schema = TypeAdapter[str](getattr(base, name)).json_schema()
        yield name, schema["pattern"], _one_line(told[name])


def _explained(line: str) -> bool:
    return "): " in line


def _events() -> Iterator[str]:
    yield "An event, here, in the live stream and in what webhooks are sent:\n"
    yield f"```json\n{json.dumps(EVENT, indent=2)}\n```\n"
    yield "`id` is the same wherever and however often it comes; positions have no gaps.\n"


def _references(schema: object) -> list[str]:
    match schema:
        case {"$ref": str(reference)}:
            return [reference.rpartition("/")[2]]
        case dict():
            parts = cast("dict[str, Any]", schema).values()
        case list():
            parts = cast("list[Any]", schema)
        case _:
            return []
    return [name for part in parts for name in _references(part)]


def _some(schema: Json) -> Json:
    """What a body is that may be left out."""
    options = [s for s in schema.get("anyOf", ()) if s.get("type") != "null"]
    return options[0] if options else schema


def _paragraphs(text: str) -> list[str]:
    return [_one_line(part) for part in text.split("\n\n")]


def _named(schema: Json) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    return str(schema.get("title", ""))


def _default(schema: Json) -> str:
    default = schema.get("default")
    if default in (None, "", [], {}) or default is False:
        return ""
    return f"else `{json.dumps(default, ensure_ascii=False)}`"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _tidy(parts: Iterable[str]) -> Iterator[str]:
    """No two empty lines together, none at the end."""
    empty = True
    for line in "\n".join(parts).split("\n"):
        if line.strip() or not empty:
            yield line.rstrip()
        empty = not line.strip()


def main() -> None:
    """Write the page into the file that is named, or to standard output."""
    text = page(routed().openapi())
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
