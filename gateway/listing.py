"""Which cases a list shows: what was asked for, checked."""

from collections.abc import Mapping

from gateway.commands import KINDS, Invalid
from schemas import (
    archive,
    arrears,
    assessment,
    complaint,
    conduct,
    premises,
    repair,
    satisfaction,
)
from schemas.read_models import CaseFilter

STAGES: Mapping[str, tuple[str, ...]] = {
    "repair": tuple(repair.Stage),
    "complaint": tuple(complaint.Stage),
    "conduct": tuple(conduct.Stage),
    "satisfaction": tuple(satisfaction.Stage),
    "arrears": tuple(arrears.Stage),
    "premises": tuple(premises.Stage),
    "assessment": tuple(assessment.Stage),
    "archive": tuple(archive.Stage),
}
"""By kind of case: where it can stand."""


def case_filter(
    kind: str | None, stage: str | None, district: str | None, *, only_open: bool
) -> CaseFilter:
    """What was asked for; capitals do not matter. Raises `Invalid` with all that is wrong."""
    wrong: list[str] = []
    if kind is not None and kind not in KINDS:
        wrong.append(f"--kind: one of {', '.join(KINDS)}")
    of = STAGES.get(kind or "", tuple(dict.fromkeys(s for of in STAGES.values() for s in of)))
    known = {str(s).casefold(): s for s in of}
    if stage is not None and stage.casefold() not in known:
        wrong.append(f"--stage: one of {', '.join(of)}")
    if wrong:
        raise Invalid(wrong)
    return CaseFilter(
        kind=kind,
        stage=known[stage.casefold()] if stage else None,
        district=district,
        final=False if only_open else None,
    )
