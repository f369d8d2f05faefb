"""OCEL 2.0 and XES as others read them: by the published schemas, and by pm4py."""

import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft7Validator, FormatChecker
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - it has no types
from pydantic import BaseModel, TypeAdapter

from audit.export import Format
from audit.export_objects import relations
from audit.export_rows import Row
from lifecycles.lifecycle import LIFECYCLES
from schemas.base import Owner
from stack import Endpoints
from tests.audit.exports import connected, exported, exported_range, new_log

SCHEMAS = Path(__file__).parent / "schemas"
READ: dict[str, Any] = {
    "integer": int,
    "float": float,
    "time": datetime.fromisoformat,
    "string": str,
}


@pytest.fixture(scope="module")
def log(servers: Endpoints) -> str:
    return new_log(servers)


async def ocel(log: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    await exported(log, Format.OCEL2, folder / "log.ocel.json")
    return json.loads((folder / "log.ocel.json").read_text(encoding="utf-8"))


async def test_ocel_is_valid_by_the_published_schema(log: str, tmp_path: Path) -> None:
    schema = json.loads((SCHEMAS / "ocel20-schema-json.json").read_text(encoding="utf-8"))
    Draft7Validator.check_schema(schema)
    found = Draft7Validator(schema, format_checker=FormatChecker()).iter_errors(
        await ocel(log, tmp_path)
    )
    assert [error.message for error in found] == []


async def test_ocel_keeps_what_the_specification_says_beyond_the_schema(
    log: str, tmp_path: Path
) -> None:
    told = await ocel(log, tmp_path)
    things = {thing["id"]: thing["type"] for thing in told["objects"]}
    assert len(things) == len(told["objects"])
    assert len({event["id"] for event in told["events"]}) == len(told["events"])
    kinds = {
        section: {
            kind["name"]: {a["name"]: a["type"] for a in kind["attributes"]}
            for kind in told[section]
        }
        for section in ("eventTypes", "objectTypes")
    }
    assert set(things.values()) == set(kinds["objectTypes"])
    assert {event["type"] for event in told["events"]} == set(kinds["eventTypes"])
    linked: set[str] = set()
    for event in told["events"]:
        linked |= {relation["objectId"] for relation in event["relationships"]}
        assert datetime.fromisoformat(event["time"]).utcoffset() is not None
        assert [r["qualifier"] for r in event["relationships"]].count("case") == 1
    assert linked == set(things), "every object is somebody's, and every relation has its object"
    for section, items in (("eventTypes", told["events"]), ("objectTypes", told["objects"])):
        for item in items:
            for attribute in item["attributes"]:
                declared = kinds[section][item["type"]][attribute["name"]]
                value = attribute["value"]
                if declared == "boolean":
                    assert value in ("true", "false")
                else:
                    READ[declared](value)
    assert {t for types in kinds["eventTypes"].values() for t in types.values()} == {
        *("integer", "time", "string", "boolean")
    }


async def test_ocel_tells_each_cases_stage_and_owner_as_the_read_model_has_them_last(
    log: str, tmp_path: Path
) -> None:
    told = await ocel(log, tmp_path)
    async with connected(log) as connection:
        cases = {
            row["case_id"]: (row["stage"], f"{row['owner_kind']}/{row['owner']}")
            for row in await connection.fetch("SELECT * FROM cases WHERE case_id <> 'repair-late'")
        }
    known = {t["id"]: t["attributes"] for t in told["objects"] if t["type"].startswith("case.")}
    last = {
        name: tuple(
            [a["value"] for a in changes if a["name"] == kind][-1] for kind in ("stage", "owner")
        )
        for name, changes in known.items()
        if changes
    }
    assert {name: last[name] for name in cases if not name.startswith("premises-")} == {
        name: found for name, found in cases.items() if not name.startswith("premises-")
    }
    assert known["repair-late"] == [], "its events make no sense, so nothing is made up"
    stages = [a["value"] for a in known["repair-00000000000"] if a["name"] == "stage"]
    assert stages[0] == "Reported"
    assert len(stages) > 3


async def test_a_range_of_ocel_has_the_state_at_its_beginning_and_the_changes_since(
    log: str, tmp_path: Path
) -> None:
    file = tmp_path / "log.ocel.json"
    whole = {t["id"]: t["attributes"] for t in (await ocel(log, tmp_path))["objects"]}
    async with connected(log) as connection:
        first = await connection.fetchval(
            "SELECT position - event_count + 1 FROM decisions"
            " WHERE stream = 'repair-00000000000' AND event_count > 0"
            " ORDER BY version OFFSET 3 LIMIT 1"
        )
        last = await connection.fetchval("SELECT max(position) FROM events")
    await exported_range(log, Format.OCEL2, file, first, last)
    told = json.loads(file.read_text(encoding="utf-8"))
    assert len(told["events"]) == last - first + 1
    part = {t["id"]: t["attributes"] for t in told["objects"]}["repair-00000000000"]
    every = whole["repair-00000000000"]
    assert 0 < len(part) < len(every)
    for name in ("stage", "owner"):
        changes = [a for a in every if a["name"] == name]
        told_of = [a for a in part if a["name"] == name]
        assert told_of == changes[-len(told_of) :], "the first of them holds from before"


async def test_xes_is_valid_and_has_a_trace_for_each_case(log: str, tmp_path: Path) -> None:
    file = tmp_path / "log.xes"
    done = await exported(log, Format.XES, file)
    document = etree.parse(str(file))
    for schema in (SCHEMAS / "xes.xsd", os.environ.get("XES_SCHEMA")):
        if schema is not None:
            etree.XMLSchema(etree.parse(str(schema))).assertValid(document)
    async with connected(log) as connection:
        rows = await connection.fetch(
            "SELECT stream, array_agg(type ORDER BY version) AS types FROM events GROUP BY 1"
        )
    told = {
        _value(trace, "concept:name"): [_value(e, "concept:name") for e in trace.iter("event")]
        for trace in document.iter("trace")
    }
    kinds = {row["stream"]: row["stream"].partition("-")[0] for row in rows}
    assert told == {
        row["stream"]: [f"{kinds[row['stream']]}.{name}" for name in row["types"]] for row in rows
    }
    assert done.cases == len(rows)
    notes = {_value(e, "note") for e in document.iter("event")} - {None}
    assert notes == {"a < b & \"c\"\n'd'"}


def _value(element: Any, key: str) -> str | None:
    found = element.xpath(f"*[@key='{key}']/@value")
    return str(found[0]) if found else None


async def test_pm4py_reads_both_and_finds_the_same_cases_and_events(
    log: str, tmp_path: Path
) -> None:
    await exported(log, Format.XES, tmp_path / "log.xes")
    told = await ocel(log, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pm4py

        mined = pm4py.read_ocel2_json(str(tmp_path / "log.ocel.json"))
        traces = pm4py.read_xes(str(tmp_path / "log.xes"))
    assert len(mined.events) == len(traces) == len(told["events"])
    assert len(mined.objects) == len(told["objects"])
    assert Counter(mined.events["ocel:activity"]) == Counter(traces["concept:name"])
    pairs = {(e["id"], r["objectId"]) for e in told["events"] for r in e["relationships"]}
    assert len(mined.relations) == len(pairs), "it keeps one qualifier for each"
    assert set(mined.relations["ocel:qualifier"]) >= {"case", "actor", "owner", "crew", "party"}
    changes = sum(
        len(t["attributes"]) - len({a["name"] for a in t["attributes"]}) for t in told["objects"]
    )
    assert len(mined.object_changes) == changes > 0
    assert set(mined.events["log.position"]) == set(range(1, len(told["events"]) + 1))
    cases = {t["id"] for t in told["objects"] if t["type"].startswith("case.")}
    assert set(traces["case:concept:name"]) <= cases
    assert str(traces["time:timestamp"].dtype).startswith("datetime64")


def fields(
    model: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text of a model, nested ones too, with the patterns that it must match."""
    for name, info in model.model_fields.items():
        if name != "signature":
            patterns: list[str] = []
            _look(info.annotation, patterns, inside := [])
            patterns += [m.pattern for m in info.metadata if getattr(m, "pattern", None)]
            yield from (((*path, name), pattern) for pattern in patterns)
            for nested in inside:
                yield from fields(nested, (*path, name))


def _look(annotation: Any, patterns: list[str], inside: list[type[BaseModel]]) -> None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        inside.append(annotation)
    patterns += [
        m.pattern for m in getattr(annotation, "__metadata__", ()) if getattr(m, "pattern", None)
    ]
    for part in get_args(annotation):
        _look(part, patterns, inside)


EXAMPLES = {
    "party-": "party-1",
    "^(repair": "repair-another",
    "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$": "x-1",
}


def test_every_id_of_somebody_or_some_case_in_every_event_becomes_an_object() -> None:
    seen = 0
    for kind, lifecycle in LIFECYCLES.items():
        found: list[type[BaseModel]] = []
        _look(lifecycle.events._type, [], found)
        for model in found:
            for path, pattern in fields(model):
                example = next((e for begin, e in EXAMPLES.items() if begin in pattern), None)
                if example is None and "premises" not in path:
                    continue
                value: Any = example or "P-1"
                if path[-1] == "id":
                    TypeAdapter(Owner).validate_python({"kind": "unit", "id": value})
                    value = {"kind": "unit", "id": value}
                    path = path[:-1]
                for name in reversed(path[1:]):
                    value = [{name: value}]
                header = {"stream": f"{kind}-one", "type": model.__name__}
                body = {path[0]: value}
                actor = {"subject": "s-1", "role": "clerk"}
                row = Row(1, "", header, body, "", b"", actor, "")
                things = [thing.id for thing, _ in relations(row)][2:]
                assert things, f"{model.__name__}.{'.'.join(path)}"
                assert re.fullmatch("(party-1|repair-another|[a-z]+/(x-1|p-1))", things[0])
                seen += 1
    assert seen > 100
