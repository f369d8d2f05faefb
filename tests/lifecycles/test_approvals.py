"""Approvals: who may decide, on which facts, what silence means; alone and in the cases that ask.

The same rules will stand before a valve is closed, so every way around them is tried here.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycles import approvals, casework
from lifecycles.conduct import passed
from lifecycles.conduct_evolve import evolve
from lifecycles.decisions import By, Rejected, settle
from lifecycles.policies import Pinned
from schemas.approvals import (
    Approval,
    DecideApproval,
    DelegateApproval,
    Facts,
    WithdrawApproval,
)
from schemas.base import SYSTEM, Actor, Role
from schemas.conduct import ConductState
from schemas.envelope import DeadlinePassed
from tests.lifecycles import complaint_cases as complaints
from tests.lifecycles.conduct_cases import (
    ADMIN,
    CONDUCT,
    HEAD,
    OFFICER,
    SECOND,
    File,
    again,
    awaiting,
    days,
    finding,
    marked,
    silent,
)
from tests.lifecycles.repair_cases import GAS, WATER, hours, said

KIND = "reassignment"
FACTS: Facts = {"account": "a-1", "overdue": 120_00, "flagged": False, "holds": ("h-1", "h-2")}
TWO = again(GAS, approval={"needed": 2})
NOT_HIM = "Who asked for it, or is part of the case, cannot decide it."
NOT_FOR_HIM = "Who asked for it, or is part of the case, cannot let somebody else decide it."
HEARD = "This person's yes counts already; a second person must decide too."
NO_DELEGATION = "There is no delegation to this person that holds now."


def head(subject: str) -> Actor:
    """Somebody in the role that is asked."""
    return Actor(subject=subject, role="division_head", proof="token")


def anybody(subject: str, role: Role = "clerk") -> Actor:
    return Actor(subject=subject, role=role, proof="token")


ASKER = anybody("asker-1")


class Asked:
    """A small case in which something was asked on day 1, due on day 6; days as arguments."""

    def __init__(self, policy: Pinned = GAS, asker: Actor = ASKER, *about: str) -> None:
        self.state: ConductState = marked(policy).state
        self.does(approvals.request(self.state, KIND, FACTS, self.by(1, asker), about))

    def by(self, at: float, actor: Actor) -> By:
        return By(days(at), actor, "c")

    def does(self, results: Iterable[Any]) -> list[str]:
        events = settle(results)
        for event in events:
            self.state = evolve(self.state, event)
        return said(events)

    @property
    def one(self) -> Approval:
        return self.state.approvals[-1]

    def decide(
        self, at: float, actor: Actor, decision: str = "approve", **fields: Any
    ) -> list[str]:
        usual: dict[str, Any] = {"approval": self.one.id, "facts_hash": self.one.facts_hash}
        usual |= {"decision": decision, "reason": "no-need" if decision == "reject" else None}
        body = DecideApproval.model_validate(usual | fields)
        return self.does(approvals.decide_approval(self.state, body, self.by(at, actor)))

    def delegate(self, at: float, actor: Actor, to: str, until: float = 9) -> list[str]:
        body = DelegateApproval(approval=self.one.id, to=to, until=days(until), reason="leave")
        return self.does(approvals.delegate_approval(self.state, body, self.by(at, actor)))

    def withdraw(self, at: float, actor: Actor) -> list[str]:
        body = WithdrawApproval(approval=self.one.id, reason="mistake")
        return self.does(approvals.withdraw_approval(self.state, body, self.by(at, actor)))

    def lapse(self, at: float, facts: Facts | None) -> list[str]:
        return self.does(approvals.lapse(self.state, lambda _: facts, self.by(at, SYSTEM)))

    def silence(self, at: float) -> list[str]:
        return self.does(approvals.silent(self.state, self.by(at, SYSTEM)))

    def refused(self, what: str, *args: Any, **fields: Any) -> list[str]:
        before = self.state
        with pytest.raises(Rejected) as no:
            getattr(self, what)(*args, **fields)
        assert self.state == before
        return list(no.value.reasons)


GRANTED = ["ApprovalGiven", "ApprovalGranted", "CommitmentKept approve-reassignment"]
REJECTED = ["ApprovalRejected", "CommitmentKept approve-reassignment"]

# The facts


def test_an_approval_says_on_what_it_rests_who_is_asked_and_by_when() -> None:
    asked = Asked(GAS, ASKER, "E-7")
    one = asked.one
    assert (one.id, one.roles, one.needed) == ("reassignment-1", ("division_head",), 1)
    assert (one.facts, one.facts_hash) == (FACTS, approvals.facts_hash(FACTS))
    assert one.barred == ("E-7", "asker-1")
    assert approvals.silence_at(asked.state) == days(6)
    assert CONDUCT.summary(asked.state).approvals[0].due == days(6)


def test_the_hash_is_that_of_the_canonical_json_and_of_nothing_else() -> None:
    # Of {"account":"a-1","flagged":false,"holds":["h-1","h-2"],"overdue":12000}, as any tool gives.
    wanted = "e7bcc85570864545b7f3ac9c4ec43aa3eb9c2586e780293f9990ea89afc9465d"
    for order in permutations(FACTS):
        assert approvals.facts_hash({name: FACTS[name] for name in order}) == wanted


@pytest.mark.parametrize(
    "other",
    [
        {**FACTS, "overdue": 120_01},
        {**FACTS, "flagged": True},
        {**FACTS, "flagged": 0},
        {**FACTS, "flagged": None},
        {**FACTS, "holds": ("h-2", "h-1")},
        {**FACTS, "holds": ()},
        {**FACTS, "overdue": "12000"},
        {**FACTS, "more": None},
        {name: FACTS[name] for name in list(FACTS)[1:]},
    ],
)
def test_other_facts_have_another_hash_and_make_it_lapse(other: Facts) -> None:
    assert approvals.facts_hash(other) != approvals.facts_hash(FACTS)
    asked = Asked()
    assert asked.lapse(2, other) == [
        "ApprovalLapsed",
        "CommitmentCancelled approve-reassignment",
    ]
    assert asked.one.state == "lapsed"


value = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.text(max_size=6),
    st.lists(st.text(max_size=4), max_size=3).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(facts=st.dictionaries(st.from_regex(r"\A[a-z][a-z0-9_.-]{0,8}\Z"), value, max_size=5))
def test_the_hash_survives_storing_and_reading_in_any_order(facts: Facts) -> None:
    asked = Asked().one.model_dump() | {"facts": facts}
    stored = json.loads(Approval.model_validate(asked).model_dump_json())
    stored["facts"] = dict(reversed(stored["facts"].items()))
    read = Approval.model_validate_json(json.dumps(stored))
    assert approvals.facts_hash(read.facts) == approvals.facts_hash(facts)


def test_it_names_what_changed_and_nothing_lapses_where_nothing_did() -> None:
    asked = Asked()
    assert asked.lapse(2, dict(reversed(FACTS.items()))) == []
    assert asked.lapse(2, None) == []
    changed = settle(
        approvals.lapse(
            asked.state,
            lambda _: {**FACTS, "flagged": 0, "overdue": 1, "new": "x"},
            asked.by(2, SYSTEM),
        )
    )
    assert next(e for e in changed if e.type == "ApprovalLapsed").changed == (
        "flagged", "new", "overdue"
    )  # fmt: skip


def test_what_was_given_lapses_too_unless_it_has_done_its_work() -> None:
    asked = Asked()
    asked.decide(2, HEAD)
    assert asked.lapse(3, None) == []
    assert asked.lapse(3, {**FACTS, "overdue": 1}) == ["ApprovalLapsed"]
    assert asked.one.state == "lapsed"
    assert asked.lapse(4, {**FACTS, "overdue": 2}) == []


def test_one_of_two_yeses_lapses_with_the_facts() -> None:
    asked = Asked(TWO)
    asked.decide(2, HEAD)
    asked.lapse(3, {**FACTS, "overdue": 1})
    (reason,) = asked.refused("decide", 4, head("head-2"))
    assert reason == "It is lapsed already."
    assert asked.refused("decide", 4, HEAD) == ["It is lapsed already.", HEARD]


def test_nobody_decides_on_other_facts_than_were_asked() -> None:
    for decision in ("approve", "reject"):
        (reason,) = Asked().refused("decide", 2, HEAD, decision, facts_hash="0" * 64)
        assert reason == "It rests on other facts by now: look at them again, then decide."


def test_a_yes_repeated_on_other_facts_is_no_repetition() -> None:
    asked = Asked(TWO)
    asked.decide(2, HEAD)
    assert asked.refused("decide", 3, HEAD, facts_hash="0" * 64)


# Separation of duties


@pytest.mark.parametrize("decision", ["approve", "reject"])
@pytest.mark.parametrize(
    "subject", ["Boss-1", "boss-1", "BOSS-1", "E-7", "e-7", "asker-1", "ASKER-1"]
)
def test_who_asked_and_who_is_part_of_the_case_cannot_decide(subject: str, decision: str) -> None:
    asked = Asked(GAS, ASKER, "Boss-1", "E-7")
    assert asked.refused("decide", 2, head(subject), decision) == [NOT_HIM]
    assert NOT_HIM in asked.refused("delegate", 2, head(subject), "friend-1")


def test_nobody_delegates_to_whom_the_case_bars_or_to_themselves() -> None:
    asked = Asked(GAS, ASKER, "Boss-1")
    (reason,) = asked.refused("delegate", 2, HEAD, "BOSS-1")
    assert reason.startswith("That person asked for it, or is part of the case")
    (reason,) = asked.refused("delegate", 2, HEAD, "HEAD-1")
    assert reason == "Name another person than yourself."


@pytest.mark.parametrize("role", ["clerk", "supervisor", "auditor", "admin", "conduct_officer"])
def test_only_the_role_that_was_asked_decides_and_delegates(role: Role) -> None:
    asked = Asked()
    wanted = "It is for the role division_head to decide."
    assert asked.refused("decide", 2, anybody("somebody", role)) == [wanted]
    assert asked.refused("delegate", 2, anybody("somebody", role), "friend-1") == [wanted]


@pytest.mark.parametrize(
    "actor",
    [
        SYSTEM,
        Actor(subject="head-1", role="division_head", proof="system"),
        Actor(subject="head-1", role="system", proof="token"),
        Actor(subject="app-1", role="service", proof="token"),
    ],
)
def test_no_machine_decides(actor: Actor) -> None:
    asked = Asked()
    if actor.subject != "head-1":
        asked.delegate(2, HEAD, actor.subject)
    assert "Only a person can decide it." in asked.refused("decide", 3, actor)
    reasons = asked.refused("decide", 3, actor, on_behalf_of="head-1")
    assert "Only a person can decide it." in reasons


def test_what_the_rule_asks_bars_nobody_and_nobody_takes_it_back() -> None:
    asked = Asked(GAS, SYSTEM, "E-7")
    assert asked.one.barred == ("E-7",)
    for actor in (HEAD, anybody("standpipe"), anybody("STANDPIPE", "system")):
        (reason,) = asked.refused("withdraw", 2, actor)
        assert reason == "Only who asked for it can withdraw it."


def test_who_asked_and_nobody_else_takes_it_back() -> None:
    asked = Asked()
    (reason,) = asked.refused("withdraw", 2, HEAD)
    assert reason == "Only who asked for it can withdraw it."
    assert asked.withdraw(2, anybody("ASKER-1")) == [
        "ApprovalWithdrawn",
        "CommitmentCancelled approve-reassignment",
    ]
    assert asked.withdraw(3, ASKER) == []
    assert asked.refused("decide", 3, HEAD) == ["It is withdrawn already."]


def test_nothing_happens_to_it_before_it_was_asked() -> None:
    asked = Asked()
    wanted = "It was not asked yet then; correct `occurred_at`."
    assert asked.refused("decide", 0.5, HEAD) == [wanted]
    assert asked.refused("delegate", 0.5, HEAD, "friend-1") == [wanted]
    assert asked.refused("withdraw", 0.5, ASKER) == [wanted]


# Yes and no


def test_one_yes_grants_where_one_is_needed_and_saying_it_again_changes_nothing() -> None:
    asked = Asked()
    assert asked.decide(2, HEAD) == GRANTED
    assert asked.decide(3, head("HEAD-1")) == []
    assert asked.refused("decide", 3, head("head-2")) == ["It is approved already."]
    assert asked.refused("decide", 3, HEAD, "reject") == ["It is approved already."]


def test_a_no_needs_a_reason_and_ends_it() -> None:
    asked = Asked()
    assert asked.refused("decide", 2, HEAD, "reject", reason=None) == [
        "A no needs a reason (ADM-5)."
    ]
    assert asked.decide(2, HEAD, "reject") == REJECTED
    assert asked.refused("decide", 3, head("head-2")) == ["It is rejected already."]


def test_all_that_is_wrong_is_said_at_once() -> None:
    asked = Asked(GAS, ASKER, "clerk-9")
    assert asked.refused(
        "decide", 0.5, anybody("Clerk-9"), "reject", reason=None, facts_hash="0" * 64
    ) == [
        "It rests on other facts by now: look at them again, then decide.",
        "It was not asked yet then; correct `occurred_at`.",
        NOT_HIM,
        "It is for the role division_head to decide.",
        "A no needs a reason (ADM-5).",
    ]


def test_there_is_no_deciding_what_was_not_asked() -> None:
    asked = Asked()
    wanted = ["There is no such approval in this case."]
    assert asked.refused("decide", 2, HEAD, approval="other-1") == wanted


# Two people


def test_two_are_two_different_people() -> None:
    asked = Asked(TWO)
    assert asked.decide(2, HEAD) == ["ApprovalGiven"]
    assert asked.decide(3, head("Head-1")) == []
    assert asked.one.state == "requested"
    assert asked.decide(3, head("head-2")) == GRANTED


def test_a_deputy_and_whom_they_stand_in_for_are_one() -> None:
    deputy = anybody("deputy")
    asked = Asked(TWO)
    asked.delegate(1.5, HEAD, "deputy")
    assert asked.decide(2, HEAD) == ["ApprovalGiven"]
    assert asked.refused("decide", 3, deputy, on_behalf_of="HEAD-1") == [HEARD]
    asked = Asked(TWO)
    asked.delegate(1.5, HEAD, "Deputy")
    assert asked.decide(2, deputy, on_behalf_of="head-1") == ["ApprovalGiven"]
    assert asked.refused("decide", 3, head("HEAD-1")) == [HEARD]


def test_one_deputy_of_two_is_one_person() -> None:
    asked = Asked(TWO)
    asked.delegate(1.5, HEAD, "deputy")
    asked.delegate(1.5, head("head-2"), "deputy")
    asked.decide(2, anybody("deputy"), on_behalf_of="head-1")
    assert asked.refused("decide", 3, anybody("DEPUTY"), on_behalf_of="head-2") == [HEARD]


def test_one_s_own_yes_and_one_as_a_deputy_are_one_person() -> None:
    asked = Asked(TWO)
    asked.delegate(1.5, head("head-2"), "head-1")
    asked.decide(2, HEAD)
    assert asked.refused("decide", 3, HEAD, on_behalf_of="head-2") == [HEARD]
    asked = Asked(TWO)
    asked.delegate(1.5, head("head-2"), "head-1")
    asked.decide(2, HEAD, on_behalf_of="head-2")
    assert asked.refused("decide", 3, HEAD) == [HEARD]


def test_a_yes_goes_round_no_corners() -> None:
    asked = Asked(TWO)
    asked.delegate(1.5, HEAD, "head-2")
    asked.delegate(1.5, head("head-2"), "deputy")
    asked.decide(2, head("head-2"), on_behalf_of="head-1")
    assert asked.refused("decide", 3, anybody("deputy"), on_behalf_of="head-2") == [HEARD]
    assert asked.refused("decide", 3, anybody("deputy"), on_behalf_of="head-1") == [
        NO_DELEGATION,
        HEARD,
    ]


def test_two_deputies_of_two_are_two() -> None:
    asked = Asked(TWO)
    asked.delegate(1.5, HEAD, "deputy-1")
    asked.delegate(1.5, head("head-2"), "deputy-2")
    asked.decide(2, anybody("deputy-1"), on_behalf_of="head-1")
    assert asked.decide(3, anybody("deputy-2"), on_behalf_of="head-2") == GRANTED


def test_one_s_yes_may_be_followed_by_one_s_no() -> None:
    asked = Asked(TWO)
    asked.decide(2, HEAD)
    assert asked.decide(3, HEAD, "reject") == REJECTED


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_delegated_two_yeses_come_from_two_people_who_may(data: Any) -> None:
    """Random delegations and decisions: what is granted rests on two voices with nobody in both."""
    people = ["head-1", "HEAD-1", "head-2", "Deputy", "deputy", "boss", "BOSS", "asker-1"]
    roles = {"head-1": "division_head", "head-2": "division_head", "boss": "division_head"}
    asked = Asked(TWO, ASKER, "Boss")
    for _ in range(14):
        subject = data.draw(st.sampled_from(people))
        actor = anybody(subject, roles.get(subject.lower(), "clerk"))  # type: ignore[arg-type]
        at = data.draw(st.sampled_from([1.0, 2.0, 3.0, 8.0]))
        try:
            if data.draw(st.booleans()):
                asked.delegate(at, actor, data.draw(st.sampled_from(people)), until=5)
            else:
                other = data.draw(st.sampled_from([None, *people]))
                asked.decide(at, actor, on_behalf_of=other)
        except Rejected:
            continue
    voices = [{g.subject.lower(), (g.on_behalf_of or g.subject).lower()} for g in asked.one.given]
    for voice in voices:
        assert not voice & {"boss", "asker-1"}
        assert voice & {"head-1", "head-2"}
    if asked.one.state == "approved":
        first, second = voices
        assert not first & second


# Delegation


def test_a_deputy_decides_in_whose_place_and_that_is_on_record() -> None:
    asked = Asked()
    assert asked.delegate(2, HEAD, "deputy") == ["ApprovalDelegated"]
    assert asked.delegate(2.5, HEAD, "deputy") == []
    assert asked.refused("decide", 3, anybody("deputy"))
    asked.decide(3, anybody("deputy"), on_behalf_of="head-1")
    (yes,) = asked.one.given
    assert (yes.subject, yes.on_behalf_of) == ("deputy", "head-1")


@pytest.mark.parametrize(
    ("at", "holds"), [(1.999, False), (2, True), (4, True), (4.0001, False), (5, False)]
)
def test_a_delegation_holds_from_when_it_was_made_until_its_end(at: float, holds: bool) -> None:
    asked = Asked()
    asked.delegate(2, HEAD, "deputy", until=4)
    if holds:
        assert asked.decide(at, anybody("deputy"), on_behalf_of="head-1") == GRANTED
    else:
        reasons = asked.refused("decide", at, anybody("deputy"), on_behalf_of="head-1")
        assert reasons == [NO_DELEGATION]


@pytest.mark.parametrize("until", [1.5, 2])
def test_a_delegation_ends_after_it_begins(until: float) -> None:
    (reason,) = Asked().refused("delegate", 2, HEAD, "deputy", until)
    assert reason == "The delegation must end later than it begins; correct `until`."


def test_what_one_may_only_as_a_deputy_one_does_not_delegate_on() -> None:
    asked = Asked()
    asked.delegate(2, HEAD, "deputy")
    (reason,) = asked.refused("delegate", 3, anybody("deputy"), "friend-1")
    assert reason == "It is for the role division_head to decide."


def test_nobody_decides_for_whom_the_case_bars_nor_without_being_asked_to() -> None:
    asked = Asked(GAS, ASKER, "Boss-1")
    reasons = asked.refused("decide", 3, HEAD, on_behalf_of="BOSS-1")
    assert reasons == [NOT_FOR_HIM, NO_DELEGATION]
    assert asked.refused("decide", 3, HEAD, on_behalf_of="head-2") == [NO_DELEGATION]
    assert asked.refused("decide", 3, HEAD, on_behalf_of="head-1") == [NO_DELEGATION]


def test_a_deputy_who_is_part_of_the_case_cannot_decide_whoever_asked_them() -> None:
    asked = Asked(GAS, ASKER, "boss-1")
    delegated = {"by": "head-1", "to": "Boss-1", "since": days(1), "until": days(9), "reason": "x"}
    # However it came onto the record: the bar is on whoever decides.
    forged = Approval.model_validate(asked.one.model_dump() | {"delegations": (delegated,)})
    asked.state = asked.state.model_copy(update={"approvals": (forged,)})
    assert asked.refused("decide", 3, anybody("BOSS-1"), on_behalf_of="head-1") == [NOT_HIM]


# Silence


SPEAKS: Mapping[str, list[str]] = {
    "escalate": ["ApprovalEscalated"],
    "approve": ["ApprovalGranted", "CommitmentCancelled approve-reassignment"],
    "reject": ["ApprovalRejected", "CommitmentCancelled approve-reassignment"],
}


@pytest.mark.parametrize("meaning", SPEAKS)
def test_silence_speaks_exactly_when_it_is_due_and_once(meaning: str) -> None:
    asked = Asked(silent(meaning))
    assert asked.silence(6 - 1e-9) == []
    late = [
        e for e in settle(approvals.silent(asked.state, asked.by(60, SYSTEM))) if e.at != days(6)
    ]
    assert late == [], "silence spoke at another time than its own"
    assert asked.silence(6) == SPEAKS[meaning]
    assert asked.silence(6) == []
    assert approvals.silence_at(asked.state) is None


def test_after_silence_the_role_above_may_decide_too_and_so_may_the_first() -> None:
    for actor in (HEAD, ADMIN):
        asked = Asked()
        assert asked.refused("decide", 5, ADMIN)
        asked.silence(6)
        assert asked.one.roles == ("division_head", "admin")
        assert asked.decide(7, actor)[:2] == ["ApprovalGiven", "ApprovalGranted"]


def test_whom_the_case_bars_gains_nothing_by_silence() -> None:
    asked = Asked(GAS, ASKER, "admin-1")
    asked.silence(6)
    assert asked.refused("decide", 7, ADMIN) == [NOT_HIM]


def test_silence_that_rejects_says_so_and_nobody_said_it() -> None:
    asked = Asked(silent("reject"))
    (no,) = (
        e
        for e in settle(approvals.silent(asked.state, asked.by(6, SYSTEM)))
        if e.type == "ApprovalRejected"
    )
    assert (no.by, no.reason) == (None, approvals.BY_SILENCE)


def test_one_yes_of_two_does_not_keep_silence_from_going_up() -> None:
    asked = Asked(TWO)
    asked.decide(2, HEAD)
    assert asked.silence(6) == ["ApprovalEscalated"]
    assert asked.decide(7, ADMIN)[:2] == ["ApprovalGiven", "ApprovalGranted"]


@pytest.mark.parametrize("end", ["approved", "rejected", "withdrawn", "lapsed"])
def test_silence_says_nothing_once_it_is_decided(end: str) -> None:
    asked = Asked(silent("approve"))
    match end:
        case "approved":
            asked.decide(2, HEAD)
        case "rejected":
            asked.decide(2, HEAD, "reject")
        case "withdrawn":
            asked.withdraw(2, ASKER)
        case _:
            asked.lapse(2, {})
    assert asked.one.state == end
    assert asked.silence(60) == []
    assert approvals.silence_at(asked.state) is None


def test_its_promise_breaks_when_it_is_due_and_is_met_late() -> None:
    asked = Asked()
    asked.does(passed(asked.state, DeadlinePassed(at=days(6)), asked.by(6, SYSTEM)))
    (promise,) = (c for c in asked.state.commitments if c.id == asked.one.commitment)
    assert promise.state == "broken"
    assert asked.decide(7, HEAD)[-1] == "CommitmentMetLate approve-reassignment"


def test_two_asked_of_a_kind_are_told_apart() -> None:
    asked = Asked()
    again_asked = approvals.request(asked.state, KIND, FACTS, asked.by(2, ASKER))
    asked.does(again_asked)
    assert [a.id for a in asked.state.approvals] == ["reassignment-1", "reassignment-2"]
    assert asked.one.commitment == "approve-reassignment-2"
    asked.decide(3, HEAD)
    assert [a.state for a in asked.state.approvals] == ["requested", "approved"]
    asked.does(approvals.withdraw_all(asked.state, "over", asked.by(4, SYSTEM)))
    assert [a.state for a in asked.state.approvals] == ["withdrawn", "approved"]


def test_an_approval_s_events_change_no_other_part_of_the_case() -> None:
    asked = Asked()
    before = asked.state
    asked.decide(2, HEAD)
    for event in settle(approvals.withdraw_all(before, "over", asked.by(2, SYSTEM))):
        assert casework.evolve(before, event).counts == before.counts


# In the cases that ask


def test_a_staff_file_under_the_water_policy_needs_two_officers() -> None:
    file = awaiting(WATER)
    assert file.state.approvals[0].needed == 2
    assert file.do("DecideApproval", 4, actor=OFFICER, **file.choice()) == ["ApprovalGiven"]
    assert file.do("DecideApproval", 4.1, actor=OFFICER, **file.choice()) == []
    delegated = {"approval": "reassignment-1", "to": "deputy", "until": days(9), "reason": "leave"}
    file.do("DelegateApproval", 4.2, actor=OFFICER, **delegated)
    deputy = {"actor": anybody("deputy"), "on_behalf_of": "officer-1"}
    assert file.refusal("DecideApproval", 4.3, **deputy, **file.choice()) == [HEARD]
    assert file.do("DecideApproval", 5, actor=SECOND, **file.choice()) == [
        "ApprovalGiven",
        "ApprovalGranted",
        "Reassigned",
        "CommitmentKept approve-reassignment",
    ]


def test_a_staff_file_s_deputy_is_told_and_decides() -> None:
    file = awaiting()
    delegated = {"approval": "reassignment-1", "to": "deputy", "until": days(9), "reason": "leave"}
    file.do("DelegateApproval", 4, actor=HEAD, **delegated)
    assert file.told_to("deputy") == ["approval_delegated"]
    decided = file.choice(on_behalf_of="head-1")
    assert "Reassigned" in file.do("DecideApproval", 5, actor=anybody("deputy"), **decided)


@pytest.mark.parametrize("to", ["E-7", "e-7", "B-1"])
def test_a_staff_file_s_decision_is_delegated_to_nobody_whom_it_bars(to: str) -> None:
    delegated = {"approval": "reassignment-1", "to": to, "until": days(9), "reason": "leave"}
    assert awaiting().refusal("DelegateApproval", 4, actor=HEAD, **delegated)


def test_a_staff_file_s_approval_lapses_in_the_decision_that_changes_its_facts() -> None:
    file = awaiting(WATER)
    file.do("DecideApproval", 4, actor=OFFICER, **file.choice())
    caused = file.tell(2, 5, 1.2, revision=2)
    assert caused[:2] == ["FindingRecorded", "ApprovalLapsed"]
    assert [len(a.given) for a in file.state.approvals] == [1, 0]
    assert finding(2) in (file.state.approvals[1].facts["findings"] or ())  # type: ignore[operator]


def extension(policy: Pinned = GAS) -> complaints.Case:
    """More time was asked for by who investigates, three hours after the start."""
    case = complaints.investigating(policy)
    case.do("RequestExtension", 3, actor=complaints.JUDGE, **complaints.EXTENSION)
    return case


def test_more_time_for_a_complaint_is_granted_by_somebody_else_than_who_asked() -> None:
    case = extension()
    asker = anybody("Field-3", "supervisor")
    assert NOT_HIM in case.refusal("DecideApproval", 4, actor=asker, **case.choice())
    assert NOT_HIM in case.refusal(
        "DecideApproval", 4, actor=anybody("STAFF-9", "supervisor"), **case.choice()
    )
    caused = case.do("DecideApproval", 4, actor=complaints.SUPERVISOR, **case.choice())
    assert {"ApprovalGranted", "ExtensionGranted"} <= set(caused)


def test_silence_lengthens_no_wait_but_goes_up_when_it_is_due() -> None:
    case = extension()
    case.wait(11 - 1e-6)
    assert "ApprovalEscalated" not in case.happened()
    case.wait(11)
    assert "ApprovalEscalated" in case.happened()
    assert "ExtensionGranted" not in case.happened()
    case.wait(40)
    assert case.state.approvals[0].state == "requested"


def test_silence_grants_more_time_only_where_the_policy_says_so() -> None:
    case = extension(complaints.policy(approvals__extension__silence="approve"))
    case.wait(11)
    granted = [e for e in case.events if type(e).__name__ == "ExtensionGranted"]
    assert [e.at for e in granted] == [hours(11)]


def test_a_file_is_driven_with_the_same_approvals_after_it_was_stored() -> None:
    file = awaiting()
    stored = ConductState.model_validate(
        json.loads(file.state.model_dump_json()) | {"policy": file.state.policy}
    )
    assert stored == file.state
    read = File(state=stored)
    assert "Reassigned" in read.do("DecideApproval", 4, actor=HEAD, **read.choice())
    assert timedelta(0) == read.events[-1].at - days(4)
