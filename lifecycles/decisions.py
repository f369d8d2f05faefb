"""How a lifecycle says no: every reason at once (ADM-4), each a sentence that tells what to do."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from schemas.base import Actor, Event

E = TypeVar("E", bound=Event)

MOST_REASONS = 100
LONGEST_PLACE = 200


class Rejected(Exception):
    """A command was refused; `reasons` holds every reason, none with personal data."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons: tuple[str, ...] = tuple(reasons)
        super().__init__(" ".join(self.reasons))


class No(str):
    """A reason against a command. Deciders yield it where they would otherwise yield an event."""

    __slots__ = ()


class By(NamedTuple):
    """Who asks, under which command id, and when it happened (business time, UTC)."""

    at: datetime
    actor: Actor
    id: str
    now: datetime | None = None
    """When it is decided, where that is another time: what was told late did not help earlier."""

    @property
    def heard(self) -> datetime:
        """When we hear of it (UTC)."""
        return self.now or self.at


def settle(results: Iterable[E | No], also: Iterable[str] = ()) -> list[E]:
    """The events that a decider yielded; raises `Rejected` with every reason if it yielded one."""
    events: list[E] = []
    reasons = list(also)
    for result in results:
        if isinstance(result, No):
            reasons.append(str(result))
        else:
            events.append(result)
    if reasons:
        raise Rejected(dict.fromkeys(reasons))
    return events


def reasons_of(error: ValidationError) -> tuple[str, ...]:
    """What is wrong with an input, a sentence per place, without repeating the input itself.

    A heap of wrong places is cut short: the answer must fit where answers are kept.
    """
    reasons: list[str] = []
    items = error.errors(include_url=False, include_input=False, include_context=True)
    for item in items[:MOST_REASONS]:
        where = ".".join(str(part) for part in item["loc"])[:LONGEST_PLACE] or "input"
        what = item["msg"].removeprefix("Value error, ")
        if item["type"] == "union_tag_invalid":
            what = f"unknown type; known: {item.get('ctx', {}).get('expected_tags', '')}"
        reasons.append(f"{where}: {what}")
    if len(items) > MOST_REASONS:
        reasons.append(f"input: {len(items) - MOST_REASONS} more places are wrong.")
    return tuple(reasons)
