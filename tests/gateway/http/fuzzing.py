"""What schemathesis tries on the whole OpenAPI document, and everything that it found wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from zlib import crc32

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from gateway.http.commands import sendable
from schemas.envelope import Json

SEED = 4711
WRITTEN = "Idempotency-Key"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
)
"""Not whether everything that the document allows is taken: rules refuse much of it, with 409."""


@dataclass
class Found:
    """What came of it."""

    requests: int = 0
    by_status: Counter[int] = field(default_factory=Counter[int])
    operations: set[str] = field(default_factory=set[str])
    done: Counter[str] = field(default_factory=Counter[str])
    """By operation: how often it answered 2xx."""
    wrong: dict[str, str] = field(default_factory=dict[str, str])
    """Each kind of failure of each operation once: what, and an example to send again."""


def fuzz(
    document: Json,
    address: str,
    token: str,
    cases: Mapping[str, Sequence[str]],
    *,
    examples: int,
    seconds: int | None = None,
) -> Found:
    """Send what the document allows, and what it does not; `cases` are real ones, by kind.

    The same requests each time, `examples` of each operation and phase, for `seconds` at most.
    """
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "base-url": address,
            "headers": {"Authorization": f"Bearer {token}"},
            "request-timeout": 40,
            "continue-on-failure": True,
            "suppress-health-check": ["all"],
            "generation": {"max-examples": examples, "deterministic": True, "no-shrink": True},
            "checks": {"enabled": False, **{name: {"enabled": True} for name in CHECKS}},
            "phases": {
                "coverage": {"enabled": False},
                "stateful": {"max-steps": 6},
            },
            **({} if seconds is None else {"max-time": seconds}),
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config)
    kinds = {name: kinds for name, (_, kinds) in sendable().items()}
    numbers = count(1)

    @schema.hook
    def map_path_parameters(context: Any, path_parameters: Json) -> Json:  # pyright: ignore[reportUnusedFunction]
        # schemathesis hands over a mark instead where there are none
        given = path_parameters.get("case_id") if isinstance(path_parameters, dict) else None
        name = context.operation.definition.raw["operationId"]
        fitting = [c for kind in kinds.get(name, tuple(cases)) for c in cases.get(kind, ())]
        if not isinstance(given, str) or not fitting or crc32(given.encode()) % 8 == 0:
            return path_parameters
        return {**path_parameters, "case_id": fitting[crc32(given.encode()) % len(fitting)]}

    @schema.hook
    def map_headers(context: Any, headers: Json) -> Json:  # pyright: ignore[reportUnusedFunction]
        key = headers.get(WRITTEN) if isinstance(headers, dict) else None
        if not isinstance(key, str) or crc32(key.encode()) % 8 == 0:
            return headers
        return {**headers, WRITTEN: f"{key[:200]}{next(numbers)}"}

    found = Found()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _note(found, event.recorder)
        elif isinstance(event, events.NonFatalError):
            found.wrong[f"{event.label}: {type(event.value).__name__}"] = str(event.info.format())
        elif isinstance(event, events.FatalError):
            raise event.exception
    return found


def _note(found: Found, recorder: ScenarioRecorder) -> None:
    for case_id, exchange in recorder.interactions.items():
        label = recorder.cases[case_id].value.operation.label
        found.requests += 1
        found.operations.add(label)
        if exchange.response is not None:
            found.by_status[exchange.response.status_code] += 1
            found.done[label] += exchange.response.status_code < 300
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.status == Status.FAILURE and check.failure_info is not None:
                label = recorder.cases[case_id].value.operation.label
                failure = check.failure_info.failure
                said = recorder.interactions[case_id].response
                told = "" if said is None else f"\n{said.status_code} {said.text[:600]}"
                found.wrong.setdefault(
                    f"{label}: {check.name}: {failure.title}",
                    f"{failure.message}\n{check.failure_info.code_sample}{told}",
                )
