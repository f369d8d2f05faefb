"""Assessment: who must be told what, as messages for the outbox: ids and a template only."""

from collections.abc import Iterator

from lifecycles import messages
from lifecycles.assessment_evolve import Events
from lifecycles.messages import intake, message, role, time
from schemas.approvals import ApprovalGranted, ApprovalRejected
from schemas.assessment import (
    AccountsExcluded,
    AssessmentOpened,
    AssessmentSettled,
    AssessmentState,
    ExclusionRefused,
    ExclusionRequested,
)
from schemas.envelope import Message


def effects(state: AssessmentState, event: Events) -> list[Message]:
    """What the outside is to be told of an event; `state` is the case after the whole decision."""
    told = [*messages.promised(state, event, state.rules.next_level)]
    if not isinstance(event, ApprovalGranted | ApprovalRejected):
        # What a yes or a no means for the accounts is told by the events that it leads to.
        told += messages.approved(state, event, state.rules.next_level)
    return [*told, *_messages(state, event)]


def _messages(s: AssessmentState, e: Events) -> Iterator[Message]:
    match e:
        case AssessmentOpened():
            what = {"half_year": e.half_year, "accounts": len(e.accounts), "rule": "WAT-P1"}
            until = time(e.objections_until)
            yield from _reader(s, "assessment_opened", **what, object_before=until)
            yield intake(s, "assessment_opened", **what, object_before=until)
        case ExclusionRequested():
            yield from _reader(s, "exclusion_requested", request=e.request, accounts=_many(e))
        case AccountsExcluded():
            said = {"request": e.request, "accounts": _many(e), "rule": "WAT-P2"}
            yield from _reader(s, "accounts_excluded", **said)
            yield intake(s, "accounts_excluded", **said)
        case ExclusionRefused():
            said = {"request": e.request, "accounts": _many(e), "reason": e.reason}
            yield from _reader(s, "exclusion_refused", **said)
            yield intake(s, "exclusion_refused", **said)
            # ADM-5: a no has a reason and is reported to the next level.
            yield role(s, s.rules.next_level, "exclusion_refused", **said, rule="ADM-5")
        case AssessmentSettled():
            said = {
                "half_year": s.half_year,
                "counted": e.counted,
                "excluded": e.excluded,
                "amount": e.amount,
                "currency": e.currency,
                "rule": "WAT-P1",
            }
            yield from _reader(s, "assessment_settled", **said)
            yield message(s, "unit", s.rules.payroll, "assessment_settled", **said, reader=s.reader)
        case _:
            return


def _many(e: ExclusionRequested | AccountsExcluded | ExclusionRefused) -> int:
    return len(e.accounts)


def _reader(s: AssessmentState, template: str, /, **params: str | int | None) -> Iterator[Message]:
    if s.reader is not None:
        yield message(s, "staff", s.reader, template, **params)
