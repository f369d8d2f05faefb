"""Policies as cases know them: parsed once per content, named by its hash."""

from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from schemas.policy import Policy


class Pinned(NamedTuple):
    """A policy and the hash that a case's opening event names."""

    policy: Policy
    hash: str


@lru_cache(maxsize=64)
def pinned(content: str) -> Pinned:
    """The policy that `content`, its canonical JSON, holds. Raises pydantic's ValidationError."""
    return Pinned(Policy.model_validate_json(content), sha256(content.encode()).hexdigest())
