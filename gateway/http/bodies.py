"""Request bodies made of the commands themselves: one model for API, workflow and log.

What a case fills in by itself, or the token says, is no field of a request (KUN-8.4).
"""

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, TypeVar, cast

from pydantic import Field, create_model

from gateway.http.described import field_docs
from schemas.base import Command, UtcTime, Value
from schemas.envelope import Json

Handler = TypeVar("Handler", bound=Callable[..., Any])

OCCURRED = "When it happened, where that was earlier; now, if left out."


class Body(Value):
    """A request body that becomes a command."""

    occurred_at: UtcTime | None = Field(
        default=None, description=OCCURRED, examples=["2026-05-01T08:00:00+08:00"]
    )


def body_of(
    model: type[Command],
    *,
    without: tuple[str, ...] = (),
    more: Mapping[str, tuple[Any, Any]] | None = None,
    name: str | None = None,
    about: str | None = None,
    examples: tuple[Json, ...] = (),
) -> type[Body]:
    """The request body for a command: its fields, but `type` and those `without`, and some more."""
    docs = field_docs(model)
    fields: dict[str, Any] = {}
    for field, info in model.model_fields.items():
        if field != "type" and field not in without:
            told = copy(info)
            told.description = info.description or docs.get(field)
            fields[field] = (info.annotation, told)
    made: type[Body] = cast("Any", create_model)(
        name or model.__name__,
        __base__=Body,
        __doc__=about or inspect.getdoc(model),
        **fields,
        **(more or {}),
    )
    if examples:
        made.model_config["json_schema_extra"] = {"examples": list(examples)}
        made.model_rebuild(force=True)
    return made


def command_of(name: str, body: Body, *, without: tuple[str, ...] = ()) -> Json:
    """The command's own JSON."""
    given = body.model_dump(mode="json", exclude={"occurred_at", *without})
    return {"type": name, **given}


def envelope_of(command: Json, command_id: str, actor: Json, occurred_at: UtcTime | None) -> Json:
    """The whole command, as a case takes it."""
    return {
        "id": command_id,
        "actor": actor,
        "occurred_at": None if occurred_at is None else occurred_at.isoformat(),
        "body": command,
    }


def takes(model: type[Body]) -> Callable[[Handler], Handler]:
    """The handler's `body` is of this model; it may be left out where it needs no field."""
    optional = not any(info.is_required() for info in model.model_fields.values())

    def typed(parameter: inspect.Parameter) -> inspect.Parameter:
        if parameter.name != "body":
            return parameter
        if optional:
            return parameter.replace(annotation=model | None, default=None)
        return parameter.replace(annotation=model)

    def decorate(handler: Handler) -> Handler:
        found = inspect.signature(handler)
        parameters = [typed(p) for p in found.parameters.values()]
        cast("Any", handler).__signature__ = found.replace(parameters=parameters)
        return handler

    return decorate
