"""Policy files: read, checked as a whole, and turned into the canonical content that cases pin."""

import tomllib
from pathlib import Path

import rfc8785
from pydantic import ValidationError

from lifecycles.decisions import reasons_of
from lifecycles.policies import Pinned, pinned
from schemas.policy import Policy


class PolicyError(Exception):
    """A policy that cannot be used; the message lists everything that is wrong with it."""


def content_of(name: str, folder: Path) -> str:
    """The canonical JSON of a policy by its name or file. Raises `PolicyError`."""
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.toml"))) or "none"
        raise PolicyError(f"There is no such policy; known in {folder}: {known}.")
    try:
        policy = Policy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{path} is not TOML: {error}.") from None
    except UnicodeDecodeError:
        raise PolicyError(f"{path} is not UTF-8 text; save it as such.") from None
    except ValidationError as error:
        listed = "\n  ".join(reasons_of(error))
        raise PolicyError(f"{path} cannot be used:\n  {listed}") from None
    return rfc8785.dumps(policy.model_dump(mode="json")).decode()


def load(name: str, folder: Path) -> Pinned:
    """A policy and its hash, by its name or file. Raises `PolicyError`."""
    return pinned(content_of(name, folder))
