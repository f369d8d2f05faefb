"""Which complaint command is allowed in which stage, and who may not act: what `decide` obeys."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from lifecycles.approvals import among, same
from lifecycles.decisions import By, No
from lifecycles.promises import Scope
from schemas.base import SYSTEM, Owner, PartyId, Role, Subject
from schemas.complaint import Accused, ComplaintState, Finding, RegisterComplaint, Stage
from schemas.envelope import CommandEnvelope
from schemas.policy import ComplaintPolicy, Outcome

S = Stage
INTAKE = (S.REGISTERED, S.SCREENED)
PASSED_ON = (S.HANDED_OVER, S.RETURNED, S.ARBITRATED, S.ACKNOWLEDGED)
LOOKED_INTO = (S.INVESTIGATING, S.AWAITING_CUSTOMER, S.REDO)
ACTIVE = (*INTAKE, *PASSED_ON, *LOOKED_INTO)
"""The complainant has no answer yet."""
TOLD = (S.ANSWERED, S.FOLLOW_UP)
LIVE = (*ACTIVE, *TOLD, S.APPEALED, S.OUT_OF_JURISDICTION)
ENDED = (S.CLOSED, S.REFERRED, S.WITHDRAWN, S.MERGED_AS_REPEAT, S.EXTERNAL)
"""The workflow ends here; a command that brings the case back starts it again from the log."""
APOLOGISING = (*LOOKED_INTO, *TOLD, S.APPEALED)

ALLOWED: Mapping[str, tuple[Stage, ...]] = {
    "RegisterComplaint": (S.UNREGISTERED,),
    "ScreenComplaint": INTAKE,
    "DeclareOutOfJurisdiction": (*INTAKE, *PASSED_ON, S.INVESTIGATING),
    "ReferComplaint": (S.OUT_OF_JURISDICTION,),
    "HandOverComplaint": (S.SCREENED, S.RETURNED),
    "AcknowledgeComplaint": (S.HANDED_OVER, S.ARBITRATED),
    "ReturnComplaint": (S.HANDED_OVER, S.ACKNOWLEDGED),
    "ArbitrateReturn": (S.RETURNED,),
    "TakeCase": LIVE,
    "HandOverCase": LIVE,
    "EscalateComplaint": ACTIVE,
    "StartInvestigation": (S.ACKNOWLEDGED, S.INVESTIGATING, S.REDO),
    "AskCustomer": (S.INVESTIGATING,),
    "RecordCustomerReply": (S.AWAITING_CUSTOMER,),
    "RequestExtension": (S.ACKNOWLEDGED, S.INVESTIGATING, S.AWAITING_CUSTOMER),
    "DecideFinding": (S.INVESTIGATING,),
    "AnswerComplaint": (S.INVESTIGATING,),
    "RecordFollowUp": (S.FOLLOW_UP,),
    "OrderRedo": TOLD,
    "CloseComplaint": (S.FOLLOW_UP,),
    "RecordApology": APOLOGISING,
    "WaiveApology": APOLOGISING,
    "RewardInformant": (*TOLD, S.APPEALED, S.CLOSED, S.REFERRED, S.EXTERNAL),
    "AppealComplaint": (*TOLD, S.CLOSED),
    "ConfirmDecision": (S.APPEALED,),
    "OverturnDecision": (S.APPEALED,),
    "ReferExternal": (*TOLD, S.APPEALED, S.CLOSED),
    "WithdrawComplaint": ACTIVE,
    "MergeRepeat": ACTIVE,
    "AdoptComplaint": ACTIVE,
    "DecideApproval": LIVE,
    "DelegateApproval": LIVE,
    "WithdrawApproval": LIVE,
    "DeadlinePassed": LIVE,
    "RecordAnswer": (*LIVE, *ENDED),
}


def allowed(state: ComplaintState, command: str) -> bool:
    """Whether the case's stage admits the command."""
    return state.stage in ALLOWED[command]


def scope(state: ComplaintState) -> Scope:
    """The facts on which its promises depend."""
    return Scope(None, state.gravity, state.category, state.channel)


def earliest(state: ComplaintState) -> datetime | None:
    """When the matter was first complained of, here or in a repeat: the clock that counts."""
    told = (state.registered_at, *(r.registered_at for r in state.repeats))
    return min((at for at in told if at is not None), default=None)


def complainants(state: ComplaintState) -> tuple[PartyId, ...]:
    """Whom to tell and to call: none where everybody stayed anonymous."""
    parties = (state.party, *(r.party for r in state.repeats))
    return tuple(dict.fromkeys(p for p in parties if p is not None))


# Who may not act


def barred(rules: ComplaintPolicy, accused: tuple[Accused, ...]) -> tuple[Subject, ...]:
    """Those who neither judge nor handle it: the accused and, by policy, their superiors."""
    above = (a.reports_to for a in accused if rules.superiors_barred)
    return (*(a.staff for a in accused), *(s for s in above if s is not None))


def against(state: ComplaintState, command: CommandEnvelope[Any]) -> Iterator[str]:
    """Nobody acts on a complaint about themselves; but whoever takes the call registers it."""
    if command.actor == SYSTEM or isinstance(command.body, RegisterComplaint):
        return
    if among(command.actor.subject, barred(state.rules, state.accused)):
        yield (
            "Whom the complaint is about, or whom they report to, cannot act on it:"
            " leave it to somebody else."
        )


def may_own(state: ComplaintState, owner: Owner) -> Iterator[No]:
    """It is never handed to somebody who cannot act on it."""
    if among(owner.id, barred(state.rules, state.accused)):
        yield No("The complaint is about this person, or they report to them: name another.")


def only(by: By, *roles: Role | Subject) -> Iterator[No]:
    """Whether the actor has one of the roles that decide this."""
    if by.actor.role not in roles:
        yield No(f"It is for the role {' or '.join(dict.fromkeys(roles))} to decide this.")


def not_by(by: By, *before: Subject | None) -> Iterator[No]:
    """Nobody reviews their own decision."""
    if among(by.actor.subject, (s for s in before if s is not None)):
        yield No("Who decided before cannot review it: leave it to somebody else.")


# Findings and apologies

FOUND: tuple[Outcome, ...] = ("upheld", "partly_upheld")


def finding_of(state: ComplaintState, staff: Subject) -> Finding | None:
    return next((f for f in state.findings if same(f.staff, staff)), None)


def owes(state: ComplaintState, finding: Finding | None) -> bool:
    """Whether this person still owes the complainant an apology (GAS-2.6)."""
    return (
        finding is not None
        and finding.outcome in FOUND
        and finding.apologised is None
        and finding.apology_waived is None
        and bool(complainants(state))
    )


def apologies_owed(state: ComplaintState) -> tuple[Finding, ...]:
    return tuple(f for f in state.findings if owes(state, f))


def arbitration_due(state: ComplaintState) -> bool:
    """Given back so often that a supervisor decides whose it is."""
    return state.stage == Stage.RETURNED and state.returns >= state.rules.returns_limit


def asks(state: ComplaintState) -> str | None:
    """The complaint that was asked to take this one in and has not answered."""
    waiting = (r.case_id for r in state.requests if r.command["type"] == "AdoptComplaint")
    return next(waiting, None)
