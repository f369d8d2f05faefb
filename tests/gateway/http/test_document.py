"""docs/api.md is what the API's description says, and the roles in it are those that decide."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.http.app import routed
from gateway.http.commands import sendable
from gateway.http.document import page
from gateway.http.problems import KINDS
from gateway.http.roles import roles_of
from gateway.permissions import COMMANDS, ROLES
from tests.gateway.http.office import Office, badge

ROOT = Path(__file__).parents[3]
API = ROOT / "docs" / "api.md"
WITHOUT_ROLES = {"show_me"}
"""Of those below /v1: for everybody with a token."""


@pytest.fixture(scope="module")
def document() -> Any:
    return routed().openapi()


def test_the_page_is_as_the_generator_makes_it(document: Any) -> None:
    assert API.read_text(encoding="utf-8") == page(document), "run `make api-docs`"


def test_the_page_does_not_depend_on_what_is_loaded_or_on_the_hash_seed() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "gateway.http.document"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert run.stdout.decode() == API.read_text(encoding="utf-8")


def test_the_page_holds_every_operation_command_and_problem_and_can_be_read(document: Any) -> None:
    text = page(document)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if "commands" in operation["tags"]:
                assert f"\n### {operation['operationId']} (" in text
            else:
                assert f"`{method.upper()} {path}`: " in text
    for kind in KINDS:
        assert f"| `/problems/{kind}` |" in text
    anchors = {line[4:].lower() for line in text.splitlines() if line.startswith("### ")}
    for name in document["components"]["schemas"]:
        assert f"](#{name.lower()})" not in text or name.lower() in anchors, name
    assert len(text.splitlines()) < 1600


def test_each_operation_says_which_roles_may_use_it(document: Any) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            name = operation["operationId"]
            if path.startswith("/v1") and name not in WITHOUT_ROLES:
                assert operation["x-roles"], name
                assert set(operation["x-roles"]) <= set(ROLES)
                assert "Roles: " in operation["description"], name
    for name, (_, kinds) in sendable().items():
        assert set(roles_of(name)) == {role for kind in kinds for role in COMMANDS[kind][name]}


async def test_what_it_says_of_roles_is_so(idle_office: Office, document: Any) -> None:
    tried = 0
    for path, item in document["paths"].items():
        operation = item.get("get", {})
        if "{" in path or "x-roles" not in operation or path.endswith("/stream"):
            continue
        for role in ROLES:
            answer = await idle_office.http.get(path, headers=badge(role))
            tried += 1
            assert (answer.status_code == 200) == (role in operation["x-roles"]), (path, role)
    assert tried > 100


def test_every_number_that_may_be_sent_to_a_case_can_be_kept(document: Any) -> None:
    """A larger one has no canonical JSON: the case that took it could never record it."""
    bounded = 0
    for path, item in document["paths"].items():
        for operation in item.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for place, number in numbers(document, content["schema"], path, frozenset()):
                    bounded += 1
                    most = number.get("maximum", number.get("exclusiveMaximum"))
                    assert most is not None, place
                    position = float(most) == 2.0**63  # of the log, and told to no case
                    assert most < 2**53 or position, place
    assert bounded > 10


def numbers(
    document: Any, schema: Any, place: str, seen: frozenset[str]
) -> Iterator[tuple[str, Any]]:
    """Every integer in a schema, and where it is."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in seen:
            found = document["components"]["schemas"][name]
            yield from numbers(document, found, name, seen | {name})
        return
    if schema.get("type") in ("integer", "number"):
        yield place, schema
    for name, field in schema.get("properties", {}).items():
        yield from numbers(document, field, f"{place}.{name}", seen)
    for name in ("items", "additionalProperties", "anyOf", "oneOf", "allOf"):
        parts = schema.get(name, ())
        for part in [parts] if isinstance(parts, dict) else parts or ():
            yield from numbers(document, part, place, seen)
