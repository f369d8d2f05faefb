"""How a case registers with the premises that it concerns: on opening, ending and reopening.

It tells each of them by revision, so that the order of arrival does not matter (decision 0008).
"""

from collections.abc import Iterable
from typing import TypeVar

from lifecycles.casework import ask
from lifecycles.changes import changed
from schemas.base import Reference
from schemas.case import AnyCase
from schemas.premises import RecordPresence, place_of, premises_id

S = TypeVar("S", bound=AnyCase)


def places(*premises: Reference | None) -> tuple[Reference, ...]:
    """Those of the premises that there are, each once, as cases meet on them."""
    return tuple(dict.fromkeys(place_of(p) for p in premises if p is not None))


def registered(before: S, after: S, *, outage: bool = False) -> S:
    """`after`, with what it asks its premises to record if it is open there now or no longer."""
    if not after.places and not before.places:
        return after
    was: Iterable[Reference] = () if before.closed_at else before.places
    now: Iterable[Reference] = () if after.closed_at else after.places
    for place in (p for p in now if p not in was):
        after = _told(after, place, True, outage)
    for place in (p for p in was if p not in now):
        after = _told(after, place, False, outage)
    return after


def _told(state: S, place: Reference, open: bool, outage: bool) -> S:
    # A revision of its own for each place: so are the names of the holds that follow from it.
    revision = state.presence + 1
    told = RecordPresence(
        premises=place, case=state.case_id, open=open, revision=revision, outage=outage
    )
    asked = ask(
        state, premises_id(state.organisation, place), told.model_dump(mode="json"), opens=True
    )
    return changed(state, presence=revision, **asked)
