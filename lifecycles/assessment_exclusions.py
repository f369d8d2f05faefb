"""Assessment: accounts that are not the reader's fault (WAT-P2): asked, confirmed, approved.

The station head confirms and the division approves, two different people, and never the reader nor
whoever asked. Silence excludes nothing (ADM-7).
"""

from collections.abc import Iterator, Sequence

from lifecycles import approvals
from lifecycles.approvals import same
from lifecycles.assessment_evolve import Events, evolve
from lifecycles.casework import fold
from lifecycles.decisions import By, No
from schemas.approvals import (
    Approval,
    ApprovalGranted,
    ApprovalRejected,
    DecideApproval,
    Facts,
    WithdrawApproval,
)
from schemas.assessment import (
    AccountsExcluded,
    AssessmentState,
    Exclusion,
    ExclusionConfirmed,
    ExclusionRefused,
    ExclusionRequested,
    ExclusionWithdrawn,
    RequestExclusion,
)
from schemas.base import SYSTEM, Code, Subject

Results = Iterator[Events | No]

CONFIRMATION, EXCLUSION = "confirmation", "exclusion"
"""The kinds of approval, in their order."""
MAY_ASK = ("reader", "clerk")


def request_exclusion(state: AssessmentState, c: RequestExclusion, by: By) -> Results:
    accounts = tuple(sorted(set(c.accounts)))
    known = (accounts, c.ground, c.evidence)
    if any((x.accounts, x.ground, x.evidence) == known and x.pending for x in state.exclusions):
        return
    role = by.actor.role
    if role not in MAY_ASK:
        yield No(f"It is for the role {' or '.join(MAY_ASK)} to ask for an exclusion.")
    if role == "reader" and not is_reader(state, by.actor.subject):
        yield No("A reader asks in their own assessment only; leave others' to a clerk.")
    if c.ground not in state.rules.grounds:
        yield No(f"`ground` must be one of: {', '.join(state.rules.grounds)}.")
    strange = set(accounts) - set(state.accounts)
    if strange:
        yield No(
            f"{len(strange)} of the accounts stand not in this assessment; correct `accounts`."
        )
    taken = {a for x in state.exclusions if x.state != "withdrawn" for a in x.accounts}
    if again := taken.intersection(accounts):
        yield No(f"For {len(again)} of the accounts it was asked already; leave them out.")
    if state.objections_until and by.at > state.objections_until:
        yield No("The time to object is over.")
    requested = ExclusionRequested(
        at=by.at,
        request=len(state.exclusions) + 1,
        accounts=accounts,
        ground=c.ground,
        evidence=c.evidence,
        asked_by=by.actor.subject,
    )
    yield requested
    state = evolve(state, requested)
    exclusion = state.exclusions[-1]
    yield from approvals.request(state, CONFIRMATION, _facts(state, exclusion), by, _reader(state))


def is_reader(state: AssessmentState, subject: Subject) -> bool:
    """Whether it is the very reader whom the case assesses."""
    return state.reader is not None and same(state.reader, subject)


def exclusion_of(state: AssessmentState, approval: Code) -> Exclusion | None:
    """What an approval was asked for."""
    return next((x for x in state.exclusions if approval in x.approvals), None)


def facts(state: AssessmentState, approval: Approval) -> Facts | None:
    """What an approval rests on now; None where it has done its work."""
    exclusion = exclusion_of(state, approval.id)
    if exclusion is None or approval.id != exclusion.approvals[-1] or not exclusion.pending:
        return None
    return _facts(state, exclusion)


def _facts(state: AssessmentState, x: Exclusion) -> Facts:
    return {
        "request": x.request,
        "reader": state.reader,
        "half_year": state.half_year,
        "accounts": x.accounts,
        "ground": x.ground,
        "evidence": x.evidence,
        "confirmed_by": x.confirmed_by,
    }


def _reader(state: AssessmentState) -> tuple[Subject, ...]:
    return () if state.reader is None else (state.reader,)


def decide_approval(state: AssessmentState, c: DecideApproval, by: By) -> Results:
    results = list(approvals.decide_approval(state, c, by))
    yield from results
    yield from _led_to(state, [r for r in results if not isinstance(r, No)], by)


def silence(state: AssessmentState, by: By) -> Iterator[Events]:
    """What it means that nobody decided in time (ADM-7)."""
    events = list(approvals.silent(state, by))
    yield from events
    yield from _led_to(state, events, by)


def _led_to(state: AssessmentState, events: Sequence[Events], by: By) -> Iterator[Events]:
    """What each yes or no means for the accounts."""
    state = fold(evolve, state, events)
    for event in events:
        if isinstance(event, ApprovalGranted | ApprovalRejected):
            came = list(_came_to(state, event, by))
            yield from came
            state = fold(evolve, state, came)


def _came_to(
    state: AssessmentState, event: ApprovalGranted | ApprovalRejected, by: By
) -> Iterator[Events]:
    x = exclusion_of(state, event.approval)
    asked = approvals.find(state, event.approval)
    if x is None or asked is None:
        return
    at = event.at
    if isinstance(event, ApprovalRejected):
        yield ExclusionRefused(
            at=at,
            request=x.request,
            accounts=x.accounts,
            step="confirmation" if asked.kind == CONFIRMATION else "exclusion",
            reason=event.reason,
        )
    elif asked.kind == EXCLUSION:
        yield AccountsExcluded(at=at, request=x.request, accounts=x.accounts)
    else:
        people = [who for g in asked.given for who in (g.subject, g.on_behalf_of) if who]
        confirmed = ExclusionConfirmed(at=at, request=x.request, by=tuple(dict.fromkeys(people)))
        yield confirmed
        state = evolve(state, confirmed)
        x = state.exclusions[x.request - 1]
        # The rule asks for the second step, but for whoever asked for the first: neither they nor
        # those who confirmed it have a say in it.
        barred = (*_reader(state), x.asked_by, *x.confirmed_by)
        on = by._replace(at=at, actor=SYSTEM)
        yield from approvals.request(state, EXCLUSION, _facts(state, x), on, barred)


def withdraw_approval(state: AssessmentState, c: WithdrawApproval, by: By) -> Results:
    """Whoever asked for the exclusion does not want it any more, at whichever step it is."""
    x = exclusion_of(state, c.approval)
    asked = approvals.find(state, c.approval)
    if x is None or asked is None:
        yield No("There is no such approval in this case.")
        return
    if asked.state == "withdrawn":
        return
    if asked.state != "requested":
        yield No(f"It is {asked.state} already.")
    if not same(x.asked_by, by.actor.subject):
        yield No("Only who asked for the exclusion can withdraw it.")
    if by.at < asked.asked_at:
        yield No("It was not asked yet then; correct `occurred_at`.")
    yield from approvals.withdraw(state, asked, c.reason, by)
    yield ExclusionWithdrawn(at=by.at, request=x.request, accounts=x.accounts, reason=c.reason)
