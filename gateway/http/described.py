"""What models and fields mean, from the docstrings beside them: for the API's description."""

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from pydantic import BaseModel

import schemas


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """By field, inherited ones too: the docstring that stands below it, or below its type."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        module = sys.modules.get(base.__module__)
        if module is not None and issubclass(base, BaseModel) and base is not BaseModel:
            found |= _of_module(module).get(base.__name__, {})
    return found


@cache
def _of_module(module: ModuleType) -> dict[str, dict[str, str]]:
    """By class and field. Pydantic reads them too, but anew for each class and at every start."""
    body = _body(module)
    return {node.name: _of_class(node) for node in body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    types = named_types()
    for field, said in _documented(node.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            names = (n.id for n in ast.walk(field.annotation) if isinstance(n, ast.Name))
            meant = said or next((types[name] for name in names if name in types), None)
            if meant:
                found[field.target.id] = meant
    return found


@cache
def named_types() -> dict[str, str]:
    """What the named types of our messages mean, such as Code or Subject."""
    found: dict[str, str] = {}
    # All that there are, whatever happens to be loaded when somebody asks first.
    for each in sorted(iter_modules(schemas.__path__), key=lambda each: each.name):
        for node, said in _documented(_body(import_module(f"schemas.{each.name}"))):
            match node:
                case ast.Assign(targets=[ast.Name(id=alias)]) if said:
                    found[alias] = said
                case _:
                    pass
    return found


def _documented(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, str | None]]:
    """Each statement with the docstring below it."""
    for node, below in zip(body, [*body[1:], ast.Pass()], strict=True):
        match below:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node, inspect.cleandoc(text)
            case _:
                yield node, None


@cache
def _body(module: ModuleType) -> list[ast.stmt]:
    try:
        return ast.parse(inspect.getsource(module)).body
    except (OSError, TypeError):
        return []
