"""How frozen values come from valid parts: unchecked, for rehearsals do it by the million.

Only for parts that come from events or a policy, which were checked when they were made or read.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, ParamSpec, TypeVar

from schemas.base import Value

P = ParamSpec("P")
V = TypeVar("V", bound=Value)

_set = object.__setattr__


def changed(value: V, /, **fields: Any) -> V:
    """`value` with other `fields`: `model_copy`, less what a frozen value does not need."""
    return _with(value, fields)


def made(kind: Callable[P, V], /, *_: P.args, **fields: P.kwargs) -> V:
    """What `kind(**fields)` would give: `model_construct`, less what we do not use."""
    return _with(_blank(kind), fields)


def _with(value: V, fields: dict[str, Any]) -> V:
    new = object.__new__(type(value))
    _set(new, "__dict__", value.__dict__ | fields)
    _set(new, "__pydantic_fields_set__", value.__pydantic_fields_set__)
    _set(new, "__pydantic_extra__", None)
    _set(new, "__pydantic_private__", None)
    return new


@cache
def _blank(kind: Any) -> Any:
    """A value with its defaults, and None for what must be given; the fields in their order."""
    defaults = {name: field.default for name, field in kind.model_fields.items()}
    required = [name for name, field in kind.model_fields.items() if field.is_required()]
    return kind.model_construct(set(kind.model_fields), **defaults | dict.fromkeys(required))
