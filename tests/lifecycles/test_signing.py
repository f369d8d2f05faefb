"""Signed decisions: what the rules ask of a signature, and which checks an append has to make."""

import json
from hashlib import sha256

import pytest
from pydantic import TypeAdapter, ValidationError

from lifecycles.arrears_approvals import standing
from lifecycles.policies import pinned
from lifecycles.signing import canonical
from schemas.envelope import Check, PremisesCheck, SignatureCheck
from schemas.signing import PublicKey, Statement
from tests.lifecycles.arrears_cases import (
    HEAD,
    HOUR,
    MINUTE,
    VISIT,
    Debt,
    approved,
    authorised,
    awaiting,
    days,
    permitted,
    signature,
    visited,
)
from tests.lifecycles.repair_cases import WATER


def checks(debt: Debt) -> tuple[Check, ...]:
    """Those of the last decision."""
    return debt.steps[-1].decision().checks


def test_a_cutoffs_approval_asks_for_a_signature_because_its_policy_does() -> None:
    assert awaiting().state.approvals[-1].signed
    content = WATER.policy.model_dump(mode="json")
    del content["arrears"]["approvals"]["cutoff"]["signed"]
    debt = awaiting(pinned(json.dumps(content)))
    assert not debt.state.approvals[-1].signed
    assert "ApprovalGranted" in debt.do("DecideApproval", 9.1, actor=HEAD, **debt.choice())
    assert checks(debt) == ()


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_neither_a_yes_nor_a_no_counts_without_a_signature(decision: str) -> None:
    debt = awaiting()
    choice = debt.choice(decision, signature=None)
    assert debt.refusal("DecideApproval", 9.1, actor=HEAD, **choice) == [
        "This needs the signature of whoever decides: `standpipe approve` signs."
    ]


def test_what_is_signed_is_signed_now() -> None:
    debt = awaiting()
    for minutes, why in ((-1, "has expired"), (61, "longer than an hour")):
        choice = debt.choice(signature=signature(days(9.1), minutes))
        (reason,) = debt.refusal("DecideApproval", 9.1, actor=HEAD, **choice)
        assert why in reason
    (late,) = debt.refusal("DecideApproval", 9.1, told=9.2, actor=HEAD, **debt.choice())
    assert "leave out `occurred_at`" in late
    for minutes in (0, 60):
        other = awaiting()
        choice = other.choice(signature=signature(days(9.1), minutes))
        assert "ApprovalGranted" in other.do("DecideApproval", 9.1, actor=HEAD, **choice)


def test_the_statement_says_who_decides_what_of_which_case_on_which_facts() -> None:
    debt = awaiting()
    facts = debt.state.approvals[-1].facts_hash
    debt.decide(9.1)
    (check,) = checks(debt)
    assert isinstance(check, SignatureCheck)
    assert check.fresh
    assert check.statement == Statement(
        organisation="town",
        case="arrears-1",
        approval="cutoff-1",
        action="cutoff",
        decision="approve",
        facts_hash=facts,
        subject="head-1",
        on_behalf_of=None,
        version=1,
        nonce="0" * 32,
        expires_at=days(9.1 + 10 * MINUTE),
    )
    # Its bytes are canonical: names in order, no spaces. Years later they must still be these.
    assert canonical(check.statement).startswith(b'{"action":"cutoff","approval":"cutoff-1","case"')
    assert (
        sha256(canonical(check.statement)).hexdigest()
        == sha256(
            json.dumps(
                check.statement.model_dump(mode="json"), sort_keys=True, separators=(",", ":")
            ).encode()
        ).hexdigest()
    )


def test_a_yes_that_came_into_the_log_unsigned_lets_nobody_stop_supply() -> None:
    debt = visited(approved())
    assert standing(debt.state)
    (asked,) = debt.state.approvals
    given = tuple(yes.model_copy(update={"signature": None}) for yes in asked.given)
    unsigned = asked.model_copy(update={"given": given, "signed": False})
    debt.state = debt.state.model_copy(update={"approvals": (unsigned,)})
    assert standing(debt.state) is None
    assert any("written approval" in why for why in debt.denied(VISIT + HOUR))


def test_a_key_has_one_spelling() -> None:
    """43 characters hold two bits more than a key: else one reported lost lives on in another."""
    keys: TypeAdapter[str] = TypeAdapter(PublicKey)
    for last in "AEIMQUYcgkosw048":
        assert keys.validate_python("k" * 42 + last)
    for last in "BCDlmn-_159":
        with pytest.raises(ValidationError):
            keys.validate_python("k" * 42 + last)


def test_the_same_yes_again_causes_nothing_and_needs_no_check() -> None:
    debt = awaiting()
    debt.decide(9.1)
    assert debt.decide(9.15) == []
    assert checks(debt) == ()


def test_a_permit_rests_on_the_log_and_on_every_signature_behind_it() -> None:
    debt = visited(approved())
    debt.ask(VISIT + HOUR)
    premises, consent = checks(debt)
    assert premises == PremisesCheck(premises=("P-1",), known=())
    assert isinstance(consent, SignatureCheck)
    assert (consent.fresh, consent.statement.subject) == (False, "head-1")
    assert consent.statement.facts_hash == debt.state.approvals[-1].facts_hash


def test_a_permit_that_needs_no_approval_rests_on_the_log_alone() -> None:
    debt = permitted(authorised())
    assert [check.type for check in checks(debt)] == ["premises"]


def test_other_decisions_have_nothing_to_be_checked() -> None:
    debt = permitted(authorised())
    debt.close(VISIT + HOUR + 5 * MINUTE)
    assert all(
        step.decision().checks == ()
        for step in debt.steps
        if step.command.body.type not in ("DecideApproval", "IssuePermit")
    )
