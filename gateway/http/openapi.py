"""The OpenAPI 3.1 document: made of the models and the docstrings beside them, complete."""

from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from gateway.http.described import field_docs
from gateway.http.problems import MEDIA_TYPE, Problem
from gateway.http.roles import roles_of, said, who_sees_cases
from schemas.envelope import Json

TITLE = "Standpipe"
SUMMARY = "Repairs, complaints and arrears cutoffs of utilities, as durable cases."
DESCRIPTION = """\
**Who calls.** Every request but health checks carries a bearer token. What somebody does is
recorded under the token's subject, never under a name in the request (KUN-8.4).

**Done once.** Whatever starts or changes something needs an `Idempotency-Key`: a new UUID for each
new request, the same one when you send a request again. The same key and request get the same
answer, also after a crash on either side; another request under the key is a problem. Answers are
kept for 90 days, and what they did stays done once for ever.

**Problems.** Every failure is `application/problem+json` (RFC 9457) with all `reasons` at once. A
refused command (409) names the commands that are `possible` now.

**Times** are instants with a zone; answers are in UTC, `local` ones by the organisation's clock.
**Money** is whole smallest units (fen) with a currency. **Names** of cases and parties are opaque:
personal data is at `/v1/parties` alone, and goes nowhere else.

**Codes** such as categories and departments are the organisation's own: the policy that new cases
pin (`/v1/policies`, `new_cases`) lists them. Where it lists none, a code is yours to choose.

**Who sees which cases:** {seen}. Everybody sees their own staff file and assessment.

**Pages.** A list's `next` is the `after` of its next page; null at the end.
"""
TAGS = [
    {"name": "cases", "description": "Repairs (报修), complaints (投诉), arrears (欠费停供)."},
    {"name": "commands", "description": "What may be asked of a case; each may be refused."},
    {"name": "approvals", "description": "What waits for somebody's yes or no (审批)."},
    {"name": "keys", "description": "Whose key signs decisions (签章)."},
    {"name": "parties", "description": "Customers, in the vault."},
    {"name": "payments", "description": "Money that came in."},
    {"name": "registers", "description": "Staff files, satisfaction, stops, part payments."},
    {"name": "events", "description": "The log as CloudEvents, paged or live."},
    {"name": "open311", "description": "Open311 GeoReport v2: repairs, from civic apps."},
    {"name": "webhooks", "description": "Who is told of what happens, and how that went."},
    {"name": "operations", "description": "Outbox, refusals, policies, health."},
]


def document(app: FastAPI) -> Json:
    """The application's description; made once."""
    if not app.openapi_schema:
        made = get_openapi(
            title=TITLE,
            version=_version(),
            openapi_version="3.1.0",
            summary=SUMMARY,
            description=DESCRIPTION.format(seen=who_sees_cases()),
            routes=app.routes,
            tags=TAGS,
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        )
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            schemas["Problem"] = Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        _describe(schemas)
        _share(made)
        _say_who(made)
        app.openapi_schema = made
    return app.openapi_schema


def _version() -> str:
    try:
        return version("standpipe")
    except PackageNotFoundError:
        return "0"


def _describe(schemas: Json) -> None:
    """Fields without a description get the docstring that stands below them in the code."""
    for name, schema in schemas.items():
        model = _models().get(name.removesuffix("-Output").removesuffix("-Input"))
        if model is None:
            continue
        docs = field_docs(model)
        for field, part in cast("Json", schema.get("properties", {})).items():
            if field in docs and "description" not in part:
                part["description"] = docs[field]


def _share(made: Json) -> None:
    """Each answer that is a problem stands once, among the components."""
    shared: Json = made["components"].setdefault("responses", {})
    for item in cast("Json", made["paths"]).values():
        for operation in cast("Json", item).values():
            answers: Json = operation["responses"]
            for status, answer in list(answers.items()):
                examples = answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples")
                if examples:
                    name = f"{status}.{'.'.join(sorted(examples))}"
                    shared[name] = answer
                    answers[status] = {"$ref": f"#/components/responses/{name}"}
    made["components"]["responses"] = dict(sorted(shared.items()))


def _say_who(made: Json) -> None:
    """Each operation names the roles that may use it, in words and as `x-roles`."""
    for item in cast("Json", made["paths"]).values():
        for operation in cast("Json", item).values():
            if words := said(operation["operationId"]):
                operation["x-roles"] = [*roles_of(operation["operationId"])]
                operation["description"] = f"{operation['description']}\n\n{words}"


@cache
def _models() -> dict[str, type[BaseModel]]:
    return {model.__name__: model for model in _below(BaseModel)}


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for made in cast("list[Any]", model.__subclasses__()):
        yield made
        yield from _below(made)
