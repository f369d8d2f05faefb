"""Events in plain words, and the rule that each obeys, for timelines and stories. Pure."""

from collections.abc import Collection, Iterable

from gateway.words import (
    archive,
    arrears,
    assessment,
    case,
    complaint,
    conduct,
    premises,
    repair,
    satisfaction,
)
from gateway.words.plain import Clock, When, listed, money, owner_words, readable, span
from schemas.archive import ArchiveEvents
from schemas.arrears import ArrearsEvents
from schemas.assessment import AssessmentEvents
from schemas.complaint import ComplaintEvents
from schemas.conduct import ConductEvents
from schemas.policy import CaseRules, Policy
from schemas.premises import PremisesEvents
from schemas.repair import RepairEvents
from schemas.satisfaction import SatisfactionEvents

__all__ = [
    "AnyEvent",
    "Clock",
    "When",
    "listed",
    "money",
    "obeyed",
    "owner_words",
    "readable",
    "rule_of",
    "span",
    "unless",
    "words",
]

AnyEvent = (
    case.Events
    | RepairEvents
    | ComplaintEvents
    | ConductEvents
    | SatisfactionEvents
    | PremisesEvents
    | ArrearsEvents
    | AssessmentEvents
    | ArchiveEvents
)

_KINDS = (case, repair, complaint, conduct, satisfaction, premises, arrears, assessment, archive)
_RULES = {event: rules for kind in _KINDS for event, rules in kind.RULES.items()}
"""By event type: rules that it obeys; the policy says which of them bind its organisation."""
_BEFORE = {milestone: words for kind in _KINDS for milestone, words in kind.BEFORE.items()}


def words(event: AnyEvent, when: When, currency: str | None = None) -> str:
    """What happened, as the business says it; `when` writes times, amounts are in `currency`."""
    if isinstance(event, RepairEvents):
        return repair.words(event, when)
    if isinstance(event, ComplaintEvents):
        return complaint.words(event, when)
    if isinstance(event, ConductEvents):
        return conduct.words(event, when)
    if isinstance(event, SatisfactionEvents):
        return satisfaction.words(event)
    if isinstance(event, ArrearsEvents):
        return arrears.words(event, when, currency)
    if isinstance(event, AssessmentEvents):
        return assessment.words(event, when)
    if isinstance(event, PremisesEvents):
        return premises.words(event)
    if isinstance(event, ArchiveEvents):
        return archive.words(event, when)
    return case.words(event, when)


def obeyed(policy: Policy) -> frozenset[str]:
    """The rules that an organisation obeys: those that its policy lists, and its promises'."""
    sections: Iterable[CaseRules | None] = (
        policy.repair,
        policy.complaint,
        policy.conduct,
        policy.satisfaction,
        policy.arrears,
        policy.assessment,
    )
    promised = (rule for s in sections if s is not None for _, rule in s.terms)
    return frozenset((*policy.rules, *promised))


def rule_of(event: AnyEvent, binding: Collection[str]) -> str | None:
    """The rule to name beside an event, of those that bind the organisation."""
    rules = arrears.rules_of(event) or _RULES.get(event.type, ())
    return next((r for r in rules if r in binding or r.startswith("ADM-")), None)


def unless(milestone: str) -> str:
    """What keeps a promise that the milestone ends, as the end of a sentence with "unless"."""
    return _BEFORE.get(milestone, f"{readable(milestone)} comes before")
