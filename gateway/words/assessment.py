"""What happens in a reader's assessment, in plain words. Pure."""

from collections.abc import Mapping
from typing import assert_never

from gateway.words.plain import When, listed, money, owner_words, readable
from schemas.assessment import (
    AccountsExcluded,
    AssessmentEvents,
    AssessmentOpened,
    AssessmentSettled,
    ExclusionConfirmed,
    ExclusionRefused,
    ExclusionRequested,
    ExclusionWithdrawn,
)

RULES: Mapping[str, tuple[str, ...]] = {
    "AssessmentOpened": ("WAT-P1",),
    "ExclusionRequested": ("WAT-P2",),
    "ExclusionConfirmed": ("WAT-P2",),
    "AccountsExcluded": ("WAT-P2",),
    "ExclusionRefused": ("ADM-5",),
    "ExclusionWithdrawn": ("WAT-P2",),
    "AssessmentSettled": ("WAT-P1",),
}

BEFORE: Mapping[str, str] = {
    # Not a milestone: what else keeps the clock from acting.
    "exclusion_requested": "an exclusion is asked for before",
}


def words(e: AssessmentEvents, when: When) -> str:
    match e:
        case AssessmentOpened():
            until = f"to object until {when(e.objections_until)}"
            whose = f"{_many(e.accounts)} of {e.reader} overdue at the end of {e.half_year}"
            return f"{whose}; {until}; {owner_words(e.owner)} has the case"
        case ExclusionRequested():
            why = f"{readable(e.ground)} ({e.evidence})"
            return f"{e.asked_by} asks not to count {_many(e.accounts)}: {why}, request {e.request}"
        case ExclusionConfirmed():
            return f"request {e.request} is confirmed by {listed(e.by)}; the division is asked"
        case AccountsExcluded():
            return f"{_many(e.accounts)} not counted (request {e.request})"
        case ExclusionRefused():
            no = f"{_many(e.accounts)} counted after all ({e.reason})"
            return f"request {e.request}: {no}; reported above (否定报备)"
        case ExclusionWithdrawn():
            return f"request {e.request} is withdrawn ({e.reason}): {_many(e.accounts)} counted"
        case AssessmentSettled():
            less = f", {e.excluded} excluded" if e.excluded else ""
            return f"settled: {money(e.amount, e.currency)} for {e.counted} accounts{less}"
        case _:
            assert_never(e)


def _many(accounts: tuple[str, ...]) -> str:
    return f"{len(accounts)} account{'s' * (len(accounts) != 1)}"
