"""What happens in the satisfaction register (满意度), in plain words. Pure."""

from collections.abc import Iterable, Mapping
from typing import assert_never

from gateway.words.plain import listed, owner_words, readable
from schemas.satisfaction import (
    CheckDrawn,
    CheckRecorded,
    CompanyCheckDue,
    ComplaintCounts,
    ComplaintsCollated,
    HeadRemovalProposed,
    HeadRemovalRejected,
    HeadRemoved,
    ImprovementRecorded,
    Measured,
    MonthReported,
    RegisterOpened,
    SampleDrawn,
    SatisfactionEvents,
    SelfCheckDue,
    YearRanked,
    YellowCardGiven,
)

RULES: Mapping[str, tuple[str, ...]] = {
    "SampleDrawn": ("KUN-5.3.6",),
    "MonthReported": ("CNPC-2.5",),
    "ComplaintsCollated": ("WIN-1.7",),
    "SelfCheckDue": ("GAS-3.1",),
    "CheckDrawn": ("GAS-3.1",),
    "CompanyCheckDue": ("GAS-3.1",),
    "CheckRecorded": ("GAS-3.1",),
    "YearRanked": ("GAS-3.4",),
    "YellowCardGiven": ("GAS-3.4",),
    "ImprovementRecorded": ("GAS-3.4",),
    "HeadRemovalProposed": ("GAS-3.4",),
    "HeadRemoved": ("GAS-3.4",),
    "HeadRemovalRejected": ("GAS-3.4", "ADM-5"),
}

BEFORE: Mapping[str, str] = {
    "improved": "the department has improved before",
    "self_checked": "the department checks itself before",
    "company_checked": "the company checks the department before",
}


def percent(basis_points: int | None) -> str:
    """A rate for people: "90.25 %", or a dash where nobody answered."""
    return "–" if basis_points is None else f"{basis_points / 100:.2f} %"


def words(e: SatisfactionEvents) -> str:
    match e:
        case RegisterOpened():
            return f"the satisfaction register begins; {owner_words(e.owner)} has it"
        case SampleDrawn():
            drawn = f"{len(e.drawn)} of {e.population} follow-ups drawn for a call"
            return f"{drawn} by the office (seed {e.seed[:8]}…)"
        case MonthReported():
            return f"{e.month} reported: {_rates(e.departments)}"
        case ComplaintsCollated():
            return f"complaints of {e.month}: {_complaints(e.complaints)}"
        case SelfCheckDue():
            return f"{e.department} is to check itself for {e.month}"
        case CheckDrawn():
            among = f"one of {len(e.departments)} departments for {e.month}"
            return f"{e.drawn} drawn to be checked unannounced, {among} (seed {e.seed[:8]}…)"
        case CompanyCheckDue():
            return f"the company is to check {e.department} for {e.period}"
        case CheckRecorded():
            whom = "itself" if e.kind == "self" else "by the company"
            found = listed(readable(f) for f in e.findings) or "nothing wanting"
            return f"{e.department} checked {whom} for {e.period}: {found} ({e.evidence})"
        case YearRanked():
            small = f"; too few answers: {_names(e.unranked)}" if e.unranked else ""
            return f"{e.year} ranked: {_rates(e.ranking)}{small}"
        case YellowCardGiven():
            return f"yellow card for {e.department}, lowest of {e.year}"
        case ImprovementRecorded():
            return f"{e.department} has improved ({e.evidence})"
        case HeadRemovalProposed():
            return f"lowest again in {e.year}: the head of {e.department} is to lose the post"
        case HeadRemoved():
            return f"the head of {e.department} lost the post"
        case HeadRemovalRejected():
            return f"the head of {e.department} stays ({e.reason})"
        case _:
            assert_never(e)


def _rates(departments: Iterable[Measured]) -> str:
    return listed(f"{m.department} {percent(m.rate)}" for m in departments) or "nobody was asked"


def _complaints(complaints: Iterable[ComplaintCounts]) -> str:
    """The month as a whole, of what there was."""
    every = list(complaints)
    counts = ("registered", "in_time", "late", "open", "appealed", "overturned")
    totals = {count: sum(getattr(c, count) for c in every) for count in counts}
    answered = {"in_time": "answered in time", "late": "answered late", "open": "still open"}
    return listed(f"{n} {answered.get(c, c)}" for c, n in totals.items() if n) or "none"


def _names(departments: Iterable[Measured]) -> str:
    return listed(m.department for m in departments)
