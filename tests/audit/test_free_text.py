"""No command and no event takes free text: what is personal has no place in any field."""

import re
from collections.abc import Iterator
from typing import Any, cast

from gateway import commands
from schemas.base import Command, Event
from schemas.envelope import Json
from schemas.party import Party, PartyNote
from tests.audit.marks import SOMEBODY

OUR_WORDS = {
    # Why our own rules refused another case's request: sentences of lifecycles/.
    "RecordAnswer.reasons",
    "RequestAnswered.reasons",
    "AdoptionRefused.reasons",
    "RepeatMergeRefused.reasons",
    # Copied from a command's field that takes a code word, and nothing else.
    "AssessmentSettled.currency",
    "CheckDrawn.seed",
    "HeadRemovalRejected.reason",
    "SampleDrawn.seed",
    # A hash that we make.
    "SampleDrawn.population_hash",
    *(
        f"{opened}.policy"
        for opened in (
            *("ArchiveOpened", "ArrearsOpened", "AssessmentOpened", "ComplaintRegistered"),
            *("PremisesOpened", "RegisterOpened", "RepairReported", "StaffFileOpened"),
        )
    ),
    # What made a history, as the server says it.
    "HistoryArchived.build_id",
    "HistoryArchived.sdk",
    "RecordHistory.build_id",
    "RecordHistory.sdk",
}
"""Texts in commands of cases to each other and in events, and why nobody's own words get there."""
FREE = (SOMEBODY.text("field"), SOMEBODY.chinese, "Zhu Quehua", "+86 139 0417 5286", "a@b.example")


def strings(model: type[Command] | type[Event]) -> Iterator[tuple[str, Json]]:
    """Every place in a model where a text may stand: its path, and its schema."""
    schema = model.model_json_schema()

    def walk(part: Json, path: str) -> Iterator[tuple[str, Json]]:
        if "$ref" in part:
            yield from walk(schema["$defs"][part["$ref"].rpartition("/")[2]], path)
        for each in (*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())):
            yield from walk(each, path)
        for name, each in part.get("properties", {}).items():
            yield from walk(each, f"{path}.{name}")
        for each in (part.get("items"), part.get("additionalProperties")):
            if isinstance(each, dict):
                yield from walk(cast("Json", each), path)
        for each in part.get("prefixItems", ()):
            yield from walk(each, path)
        if "enum" in part or "const" in part:
            return
        if part.get("type") == "string" or not part.keys() & {
            *("type", "$ref", "anyOf", "oneOf", "allOf")
        }:
            yield path, part

    yield from walk(schema, model.__name__)


def takes(part: Json, text: str) -> bool:
    """Whether a text of this schema may be that one."""
    if part.get("format") in ("date-time", "date", "uuid"):
        return False
    return "pattern" not in part or re.search(part["pattern"], text) is not None


def models() -> list[type[Command] | type[Event]]:
    """Every command and every event of every kind of case."""
    found: dict[str, type[Command] | type[Event]] = {}

    def below(kind: Any) -> None:
        for each in kind.__subclasses__():
            if each.__module__.startswith("schemas.") and "type" in each.model_fields:
                found[each.__name__] = each
            below(each)

    below(Command)
    below(Event)
    return list(found.values())


def test_no_field_of_a_command_or_event_takes_free_text_but_those_of_our_own_words() -> None:
    known = {m.__name__ for kind in commands.KINDS for m in commands.models(kind).values()}
    assert known < {model.__name__ for model in models()}
    free = {
        path
        for model in models()
        for path, part in strings(model)
        if any(takes(part, text) for text in FREE)
    }
    assert free == OUR_WORDS, "say why this may be in the log, or keep it in the vault"
    for kind in commands.KINDS:  # no person can send one
        assert not {path.partition(".")[0] for path in OUR_WORDS} & commands.models(kind).keys()


def test_what_is_personal_is_known_field_by_field() -> None:
    personal = {"name", "phone", "email", "language", "address", "remarks", "special_care"}
    assert set(Party.model_fields) == personal
    assert set(PartyNote.model_fields) == {"id", "written_at", "text"}
    assert SOMEBODY.particulars("x").keys() == personal - {"language", "special_care"}
    assert SOMEBODY.latin not in repr(Party.model_validate(SOMEBODY.particulars("x")))
