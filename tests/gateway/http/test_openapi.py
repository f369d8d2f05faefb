"""The OpenAPI document lets a stranger integrate: valid, whole, and true."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31

from gateway.commands import models
from gateway.http.commands import sendable
from gateway.http.problems import KINDS, MEDIA_TYPE
from schemas.base import CaseCommand
from tests.gateway.http.office import Office


@pytest.fixture
async def document(idle_office: Office) -> Any:
    answer = await idle_office.http.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def ours(document: Any) -> Iterator[tuple[str, str, Any]]:
    """Those that are not of a standard's own form."""
    for method, path, operation in operations(document):
        if not path.startswith("/open311"):
            yield method, path, operation


def resolved(document: Any, part: Any) -> Any:
    """What a reference leads to."""
    while "$ref" in part:
        found = document
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


def test_it_is_valid_openapi_3_1(document: Any) -> None:
    Draft202012Validator(OPENAPI_31).validate(document)
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere(document: Any) -> None:
    text = json.dumps(document)
    for reference in set(re.findall(r'"\$ref": "([^"]+)"', text)):
        resolved(document, {"$ref": reference})


def test_it_names_every_route(idle_office: Office, document: Any) -> None:
    described = {(method.upper(), path) for method, path, _ in operations(document)}
    served: set[tuple[str, str]] = set()
    for route in idle_office.app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            served |= {(method, route.path) for method in route.methods or ()}
    assert len(described) > 100
    assert served <= described


def test_it_names_every_type_of_problem_and_each_operation_those_it_ends_in(document: Any) -> None:
    text = json.dumps(document)
    for kind in set(KINDS) - {"method-not-allowed"}:  # which no operation ends in
        assert f'"/problems/{kind}"' in text, kind
    for method, path, operation in ours(document):
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                found = resolved(document, answer)
                assert list(found["content"]) == [MEDIA_TYPE], (method, path, status)
                schema = found["content"][MEDIA_TYPE]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}


def test_every_operation_says_what_it_does_takes_and_answers(document: Any) -> None:
    names: list[str] = []
    for method, path, operation in ours(document):
        names.append(operation["operationId"])
        assert operation["summary"], path
        assert operation["description"], path
        assert operation["tags"], path
        good = [answer for status, answer in operation["responses"].items() if int(status) < 400]
        assert good, path
        for answer in good:
            assert answer["content"], path
        open_to_all = not path.startswith("/v1")
        assert ("security" not in operation) == open_to_all, path
        if not open_to_all:
            assert {"401", "403", "422", "429", "500", "503"} <= set(operation["responses"]), path
        if method == "post" and not open_to_all:
            needed = [p["name"] for p in operation["parameters"] if p["required"]]
            assert "Idempotency-Key" in needed, path
            assert {"400", "409", "413", "415"} <= set(operation["responses"]), path
    assert len(names) == len(set(names))


def test_every_model_and_nearly_every_field_is_described(document: Any) -> None:
    for schema in document["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            assert name != "actor" or "Actor" in json.dumps(field)
    bodies = {
        resolved(document, operation["requestBody"]["content"]["application/json"]["schema"])[
            "title"
        ]
        for _, _, operation in ours(document)
        if "requestBody" in operation
        and "$ref" in operation["requestBody"]["content"]["application/json"]["schema"]
    }
    assert len(bodies) > 80
    for title in bodies:
        schema = document["components"]["schemas"][title]
        assert schema["description"], title
        assert "actor" not in schema.get("properties", {}), title  # KUN-8.4
        assert "type" not in schema.get("properties", {}), title
        assert schema["additionalProperties"] is False, title


def test_examples_are_what_the_operations_take(document: Any) -> None:
    seen = 0
    for name, schema in document["components"]["schemas"].items():
        whole = {**schema, "components": document["components"]}
        validator = Draft202012Validator(whole)
        for example in schema.get("examples", ()):
            seen += 1
            wrong = [error.message for error in validator.iter_errors(example)]
            assert not wrong, (name, wrong)
    assert seen >= 10


def test_there_is_one_operation_for_each_command_that_people_may_send(document: Any) -> None:
    for kind in ("repair", "complaint", "conduct", "satisfaction", "arrears"):
        for name in models(kind):
            assert f"/v1/cases/{{case_id}}/commands/{name}" in document["paths"]
    for name, (model, kinds) in sendable().items():
        assert not issubclass(model, CaseCommand), name
        assert kinds
    for name in ("DeadlinePassed", "RecordAnswer", "AdoptReport", "RecordPresence", "IssuePermit"):
        assert f"/v1/cases/{{case_id}}/commands/{name}" not in document["paths"]
