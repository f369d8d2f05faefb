"""What happens on premises, in plain words. Pure."""

from collections.abc import Mapping
from typing import assert_never

from gateway.words.plain import owner_words
from schemas.premises import (
    HoldReleaseRequested,
    HoldRequested,
    PremisesEvents,
    PremisesOpened,
    PremisesRested,
    PresenceRecorded,
)

RULES: Mapping[str, tuple[str, ...]] = {}
BEFORE: Mapping[str, str] = {}


def words(e: PremisesEvents) -> str:
    match e:
        case PremisesOpened():
            return f"premises {e.premises} are watched; {owner_words(e.owner)} has them"
        case PresenceRecorded():
            outage = ", an outage" if e.outage and e.open else ""
            return f"{e.case} is {'open' if e.open else 'no longer open'} here{outage}"
        case HoldRequested():
            why = "outage" if e.kind == "outage" else "case"
            return f"{e.arrears} is to wait for the {why} {e.source}"
        case HoldReleaseRequested():
            return f"{e.arrears} need not wait any more ({e.hold})"
        case PremisesRested():
            return "nothing is open here any more: the premises rest until something is"
        case _:
            assert_never(e)
