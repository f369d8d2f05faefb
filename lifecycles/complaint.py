"""Complaint (投诉): from the first word to the last call.

Registered → Screened → HandedOver → Acknowledged → Investigating ⇄ AwaitingCustomer → Answered
→ FollowUp → Closed. Given back: Returned, then handed over again or, too often, Arbitrated. Not
satisfied: Redo, or Appealed to the level above (then External); it rests at Answered while only an
apology is owed. Side exits: OutOfJurisdiction → Referred, Withdrawn, MergedAsRepeat. The clock
starts at registration and never starts again; whom it is about cannot act on it.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lifecycles import approvals, casework
from lifecycles import complaint_answers as answers
from lifecycles import complaint_extensions as extensions
from lifecycles import complaint_intake as intake
from lifecycles import complaint_links as links
from lifecycles import complaint_reviews as reviews
from lifecycles.complaint_evolve import AnyEvent, evolve
from lifecycles.complaint_messages import effects
from lifecycles.complaint_stages import (
    ALLOWED,
    ENDED,
    against,
    allowed,
    apologies_owed,
    arbitration_due,
)
from lifecycles.decisions import By, No, Rejected
from schemas.approvals import DecideApproval, DelegateApproval, WithdrawApproval
from schemas.base import Command
from schemas.case import HandOverCase, TakeCase
from schemas.complaint import (
    AcknowledgeComplaint,
    AdoptComplaint,
    AnswerComplaint,
    AppealComplaint,
    ArbitrateReturn,
    AskCustomer,
    CloseComplaint,
    ComplaintState,
    ConfirmDecision,
    DecideFinding,
    DeclareOutOfJurisdiction,
    EscalateComplaint,
    HandOverComplaint,
    MergeRepeat,
    OrderRedo,
    OverturnDecision,
    RecordApology,
    RecordCustomerReply,
    RecordFollowUp,
    ReferComplaint,
    ReferExternal,
    RegisterComplaint,
    RequestExtension,
    ReturnComplaint,
    RewardInformant,
    ScreenComplaint,
    Stage,
    StartInvestigation,
    WaiveApology,
    WithdrawComplaint,
)
from schemas.envelope import CaseSummary, CommandEnvelope, DeadlinePassed, RecordAnswer
from schemas.policy import Policy

__all__ = [
    "decide",
    "effects",
    "evolve",
    "initial",
    "last_together",
    "next_deadline",
    "possible",
    "story",
    "summary",
]

Results = Iterator[AnyEvent | No]


def initial(case_id: str, organisation: str, policy: Policy, policy_hash: str) -> ComplaintState:
    """A case of which nothing is known yet. `Rejected` if the policy knows no complaints."""
    if policy.complaint is None:
        raise Rejected(
            ["This policy has no terms for complaints; add a [complaint] section, or name another."]
        )
    return ComplaintState(
        case_id=case_id, organisation=organisation, policy=policy, policy_hash=policy_hash
    )


def decide(state: ComplaintState, command: CommandEnvelope[Any], now: datetime) -> list[AnyEvent]:
    """The events that the command causes; none where it is so already.

    `now` is the instant of deciding (UTC); the events carry the command's business time.
    Raises `Rejected` with every reason at once (ADM-4).
    """
    return casework.decide(RULEBOOK, state, command, now)


def possible(state: ComplaintState) -> tuple[str, ...]:
    """The commands that somebody may send now."""
    s = state
    dissatisfied = s.follow_up == "not_satisfied"
    sensible = {
        "HandOverComplaint": not arbitration_due(s),
        "ArbitrateReturn": arbitration_due(s),
        "ReturnComplaint": not s.arbitrated,
        "AskCustomer": answers.may_wait(s),
        "RequestExtension": extensions.may_ask(s),
        "DecideFinding": bool(s.accused),
        "RecordFollowUp": not dissatisfied,
        "OrderRedo": not s.appeals,
        "CloseComplaint": dissatisfied,
        "RecordApology": bool(apologies_owed(s)),
        "WaiveApology": bool(apologies_owed(s)),
        "RewardInformant": s.confidential and not s.rewarded,
        "AppealComplaint": not s.appeals,
        "ReferExternal": bool(s.appeals),
        "MergeRepeat": not (s.findings or s.repeats),
        "AdoptComplaint": False,
    }
    return casework.possible(s, ALLOWED, allowed, sensible)


def _begun_at(state: ComplaintState) -> datetime | None:
    return state.registered_at


def passed(state: ComplaintState, _: DeadlinePassed, by: By) -> Results:
    """Everything that is due at or before the deadline, in order of its time."""
    steps = (casework.passed_in_order, extensions.silence, answers.no_reply)
    yield from casework.in_turn(evolve, state, by, *steps)


def next_deadline(state: ComplaintState) -> datetime | None:
    """When the case next needs the clock (UTC), or None: it then waits for somebody."""
    if state.stage in ENDED or state.stage == Stage.UNREGISTERED:
        return None
    return casework.next_deadline(state, *_others(state))


def last_together(state: ComplaintState, first: datetime, limit: datetime) -> datetime:
    """The last deadline, up to `limit`, that can be decided together with the first (UTC)."""
    return casework.last_together(state, first, limit, *_others(state))


def _others(state: ComplaintState) -> tuple[datetime | None, ...]:
    """Deadlines beside those of the promises."""
    return (answers.asked_until(state), approvals.silence_at(state))


def summary(state: ComplaintState) -> CaseSummary:
    """The case as the read models show it."""
    return casework.summary(
        state,
        kind="complaint",
        stage=state.stage,
        ended=state.stage in ENDED,
        opened_at=state.registered_at,
        next_deadline_at=next_deadline(state),
        category=state.category,
        severity=state.gravity,
    )


def story(state: ComplaintState) -> str:
    """The case in a few lines of Markdown, for Temporal's own UI. Times are UTC."""
    headline = f"**{state.stage}** {state.category}, {state.gravity}, district {state.district}"
    return casework.story(state, headline, next_deadline(state))


DECIDERS: Mapping[type[Command], Callable[[ComplaintState, Any, By], Results]] = {
    RegisterComplaint: intake.register,
    ScreenComplaint: intake.screen,
    DeclareOutOfJurisdiction: intake.decline,
    ReferComplaint: intake.refer,
    HandOverComplaint: intake.hand_over,
    AcknowledgeComplaint: intake.acknowledge,
    ReturnComplaint: intake.give_back,
    ArbitrateReturn: intake.arbitrate,
    TakeCase: casework.take_case,
    HandOverCase: intake.hand_over_case,
    EscalateComplaint: intake.escalate,
    StartInvestigation: answers.start,
    AskCustomer: answers.ask_customer,
    RecordCustomerReply: answers.record_reply,
    RequestExtension: extensions.request_extension,
    DecideFinding: answers.decide_finding,
    AnswerComplaint: answers.answer,
    RecordFollowUp: reviews.record_follow_up,
    OrderRedo: reviews.order_redo,
    CloseComplaint: reviews.close,
    RecordApology: answers.record_apology,
    WaiveApology: answers.waive_apology,
    RewardInformant: reviews.reward,
    AppealComplaint: reviews.appeal,
    ConfirmDecision: reviews.confirm,
    OverturnDecision: reviews.overturn,
    ReferExternal: reviews.refer_external,
    WithdrawComplaint: intake.withdraw,
    MergeRepeat: links.merge_repeat,
    AdoptComplaint: links.adopt,
    DecideApproval: extensions.decide_approval,
    DelegateApproval: approvals.delegate_approval,
    WithdrawApproval: approvals.withdraw_approval,
    DeadlinePassed: passed,
    RecordAnswer: links.record_answer,
}
RULEBOOK = casework.Rulebook[ComplaintState](
    opening=("RegisterComplaint",),
    unopened="There is no such case yet; register the complaint first.",
    opened_already="This case is registered already; register another complaint as a new case.",
    deciders=DECIDERS,
    allowed=allowed,
    possible=possible,
    begun_at=_begun_at,
    evolve=evolve,
    facts=extensions.facts,
    against=against,
)
