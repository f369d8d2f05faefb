"""Interlocks: cases register with their premises, and arrears there wait for the others."""

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.canonical import canonical
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES, Plan, dump, plan
from lifecycles.policies import Pinned, pinned
from schemas.base import SYSTEM
from schemas.envelope import CaseRequest, Json
from schemas.policy import Policy
from schemas.premises import PremisesState, Stage, premises_id
from tests.lifecycles import complaint_cases, repair_cases
from tests.lifecycles.arrears_cases import OPEN, Debt
from tests.lifecycles.complaint_cases import REGISTER
from tests.lifecycles.repair_cases import CLERK, GAS, MONDAY, REPAIR, REPORT, WATER, hours

PREMISES = LIFECYCLES["premises"]
Word = tuple[str, bool, int]
"""What a case says of itself: who, whether it is open, and its revision."""
A, B = "arrears-a", "arrears-b"


class Place:
    """Premises as their workflow drives them."""

    def __init__(self, policy: Pinned = WATER) -> None:
        self.state: PremisesState = PREMISES.initial("premises-town--p-1", "town", *policy)
        self.happened: list[str] = []
        self.version = 0
        self.numbers = count(1)

    def hear(self, case: str, open: bool, revision: int, *, outage: bool = False) -> list[str]:
        body = {"case": case, "open": open, "revision": revision, "outage": outage}
        return self.do("RecordPresence", premises="p-1", **body)

    def answer(self, request: CaseRequest, *reasons: str) -> list[str]:
        answer = {"request": request.id, "accepted": not reasons, "reasons": reasons}
        return self.do("RecordAnswer", **answer)

    def do(self, name: str, **body: Any) -> list[str]:
        command = PREMISES.command(
            {
                "id": f"c{next(self.numbers)}",
                "actor": SYSTEM.model_dump(),
                "body": {"type": name, **body},
            }
        )
        made: Plan = plan(PREMISES, self.state, self.version, [command], MONDAY)
        assert not made.refused
        self.state, self.version = made.state, made.version
        said = [type(event).__name__ for step in made.steps for event in step.events]
        self.happened += said
        return said

    def asked(self, case: str) -> list[tuple[str, str]]:
        """What an arrears case has been asked, in order: the command and the hold's name."""
        return [
            (r.command["type"], r.command["hold"]) for r in self.state.requests if r.case_id == case
        ]


def told(case: Any) -> list[tuple[str, str, bool, int]]:
    """What a case has asked of premises: which, what it said, and the revision."""
    return [
        (r.case_id, c["premises"], c["open"], c["revision"])
        for r in case.state.requests
        if (c := r.command)["type"] == "RecordPresence" and r.opens
    ]


# Names


@pytest.mark.parametrize(
    ("organisation", "premises", "name"),
    [
        ("town", "P-1", "premises-town--p-1"),
        ("town", "p-1", "premises-town--p-1"),
        ("town", "P:1", None),
        ("town", "a--b", None),
        ("town", "x" * 28, None),
        ("x" * 31, "x" * 27, f"premises-{'x' * 31}--{'x' * 27}"),
        ("town-", "1", None),
    ],
)
def test_premises_have_a_case_of_their_own_whatever_their_number_looks_like(
    organisation: str, premises: str, name: str | None
) -> None:
    made = premises_id(organisation, premises)
    assert made.startswith("premises-x") if name is None else made == name
    assert made == premises_id(organisation, premises.upper())
    assert PREMISES.initial(made, organisation, *GAS).case_id == made
    assert made != premises_id(organisation, f"{premises}1")


# What cases tell


def repair(**body: Any) -> repair_cases.Case:
    case = repair_cases.Case(GAS)
    case.do("ReportRepair", 0, **{**REPORT, "premises": "P-1", **body})
    return case


def test_a_repair_says_that_it_is_open_that_it_has_ended_and_that_it_is_open_again() -> None:
    case = repair()
    home = ("premises-town--p-1", "p-1")
    assert told(case) == [(*home, True, 1)]
    case.do("CancelRepair", 1, reason="mistake")
    assert told(case)[1:] == [(*home, False, 2)]
    case.do("ReopenCase", 2, reason="not_fixed")
    assert told(case)[2:] == [(*home, True, 3)]
    case.do("TransferOut", 3, to="other-firm", reference="T-1")
    case.do("RecordTransferReturned", 4, reason="ours")
    assert [word[2:] for word in told(case)[3:]] == [(False, 4), (True, 5)]


def test_a_case_on_no_premises_asks_nobody_anything() -> None:
    repaired = repair(premises=None)
    complained = complaint_cases.Case(GAS)
    complained.do("RegisterComplaint", 0, **REGISTER)
    repaired.do("CancelRepair", 1, reason="mistake")
    complained.do("WithdrawComplaint", 1, reason="settled")
    for state in (repaired.state, complained.state):
        assert (state.requests, state.places, state.presence) == ((), (), 0)


def test_a_network_fault_says_that_it_is_an_outage() -> None:
    case = repair(category="main-leak", channel="patrol", party=None)
    assert [r.command["outage"] for r in case.state.requests] == [True]


def adopt(**body: Any) -> Json:
    usual = {"case": "repair-2", "how": "merge", "reported_at": hours(0), "parties": []}
    return {**usual, **body}


def test_a_merged_repair_stays_open_on_its_premises_in_the_one_that_took_it_in() -> None:
    double = repair(premises="P-2")
    double.do("MergeInto", 1, case="repair-9")
    asked = double.state.requests[-1]
    assert asked.command["premises"] == ["p-2"]
    double.answer(asked, 2)
    assert [word[1:] for word in told(double)] == [("p-2", True, 1), ("p-2", False, 2)]

    case = repair()
    case.do("AdoptReport", 1, actor=SYSTEM, **adopt(premises=["p-2"]))
    assert [word[1:] for word in told(case)] == [("p-1", True, 1), ("p-2", True, 2)]
    assert REPAIR.summary(case.state).premises == ("p-1", "p-2")
    case.do("ReleaseReport", 2, actor=SYSTEM, case="repair-2")
    assert [word[1:] for word in told(case)[2:]] == [("p-2", False, 3)]
    case.do("CancelRepair", 3, reason="mistake")
    assert [word[1:] for word in told(case)[3:]] == [("p-1", False, 4)]


def test_a_repair_on_no_premises_takes_a_merged_ones_over() -> None:
    case = repair(premises=None)
    case.do("AdoptReport", 1, actor=SYSTEM, **adopt(premises=["p-2"]))
    assert [word[1:] for word in told(case)] == [("p-2", True, 1)]


def test_a_linked_repair_is_open_on_its_premises_itself() -> None:
    linked = repair()
    linked.do("LinkToFault", 1, fault="repair-9")
    asked = linked.state.requests[-1]
    assert "premises" not in asked.command
    linked.answer(asked, 2)
    assert [word[2:] for word in told(linked)] == [(True, 1)]


def test_a_complaint_says_so_too_on_withdrawal_and_when_it_takes_in_a_repeat() -> None:
    case = complaint_cases.Case(GAS)
    case.do("RegisterComplaint", 0, **{**REGISTER, "premises": "P-1"})
    repeat = {"case": "complaint-2", "registered_at": hours(0), "premises": ["p-2"]}
    case.do("AdoptComplaint", 1, actor=SYSTEM, **repeat)
    case.do("WithdrawComplaint", 2, reason="settled")
    assert [word[1:] for word in told(case)] == [
        ("p-1", True, 1),
        ("p-2", True, 2),
        ("p-1", False, 3),
        ("p-2", False, 4),
    ]


def test_an_appeal_opens_a_complaint_on_its_premises_again() -> None:
    case = complaint_cases.closed(premises="P-1")
    case.do("AppealComplaint", 5, ground="wrong", evidence="letter/4")
    assert [word[2:] for word in told(case)] == [(True, 1), (False, 2), (True, 3)]


def test_arrears_register_with_the_neighbours_on_their_valve_too() -> None:
    debt = Debt()
    debt.do("OpenArrears", 0, **{**OPEN, "shared_valve": ["P-2", "p-1", "P-3", "p-2"]})
    assert [word[1:] for word in told(debt)] == [
        ("p-1", True, 1),
        ("p-2", True, 2),
        ("p-3", True, 3),
    ]
    debt.do("WithdrawArrears", 1, reason="mistake")
    assert [word[1:] for word in told(debt)[3:]] == [
        ("p-1", False, 4),
        ("p-2", False, 5),
        ("p-3", False, 6),
    ]


def test_a_valve_closed_after_the_end_opens_the_arrears_on_their_premises_again() -> None:
    debt = Debt()
    debt.do("OpenArrears", 0, **OPEN)
    debt.do("WithdrawArrears", 1, reason="mistake")
    debt.close(2, permit=None)
    assert [word[2:] for word in told(debt)] == [(True, 1), (False, 2), (True, 3)]


# What the premises make of it


def test_arrears_wait_for_a_case_until_it_ends_whichever_came_first() -> None:
    for first, second in ((A, "repair-b"), ("repair-b", A)):
        place = Place()
        assert place.hear(first, True, 1)[:2] == ["PremisesOpened", "PresenceRecorded"]
        assert place.hear(second, True, 1) == ["PresenceRecorded", "HoldRequested"]
        assert place.state.stage == Stage.WATCHED
        (asked,) = place.state.requests
        assert asked.command == {
            "type": "PlaceHold",
            "hold": "repair-b.1",
            "kind": "open_case",
            "source": "repair-b",
            "until": None,
        }
        assert place.hear("repair-b", False, 2) == ["PresenceRecorded", "HoldReleaseRequested"]
        assert place.asked(A) == [("PlaceHold", "repair-b.1"), ("ReleaseHold", "repair-b.1")]
        assert place.state.requests[-1].command["reason"] == "closed"
        assert place.hear(A, False, 2) == ["PresenceRecorded", "PremisesRested"]
        assert place.state.stage == Stage.AT_REST


def test_an_outage_is_a_hold_of_its_own_kind() -> None:
    place = Place()
    place.hear(A, True, 1)
    place.hear("repair-main", True, 1, outage=True)
    assert [i.kind for i in place.state.interlocks] == ["outage"]


def test_an_end_that_overtakes_its_beginning_never_holds_anything() -> None:
    place = Place()
    place.hear(A, True, 1)
    place.hear("repair-b", False, 2)
    assert place.hear("repair-b", True, 1) == []
    assert place.state.interlocks == ()
    assert place.asked(A) == []


def test_an_end_that_is_told_first_of_all_leaves_the_premises_at_rest() -> None:
    place = Place()
    assert place.hear("repair-b", False, 2) == [
        "PremisesOpened",
        "PresenceRecorded",
        "PremisesRested",
    ]
    assert PREMISES.summary(place.state).final
    assert place.hear("complaint-c", False, 4) == ["PresenceRecorded"]
    assert place.hear("repair-b", True, 3) == ["PresenceRecorded"]
    assert not PREMISES.summary(place.state).final


def test_a_case_that_is_open_again_holds_under_another_name() -> None:
    place = Place()
    place.hear(A, True, 1)
    for revision in (1, 2, 3):
        place.hear("repair-b", revision % 2 == 1, revision)
    assert place.asked(A)[-1] == ("PlaceHold", "repair-b.3")


def test_a_long_name_is_shortened_to_what_a_hold_may_be_called() -> None:
    place = Place()
    long, other = f"complaint-{'x' * 60}", f"complaint-{'x' * 59}y"
    place.hear(A, True, 1)
    place.hear(long, True, 1)
    place.hear(other, True, 1)
    first, second = (name for _, name in place.asked(A))
    assert first != second
    assert len(first) <= 60


def test_cases_do_not_hold_each_other_and_arrears_do_not_hold_arrears() -> None:
    place = Place()
    for case in (A, B):
        place.hear(case, True, 1)
    assert place.asked(A) == []
    place.hear("repair-c", True, 1)
    place.hear("complaint-d", True, 1)
    assert place.asked(A) == place.asked(B)
    assert [hold for _, hold in place.asked(A)] == ["repair-c.1", "complaint-d.1"]
    assert {r.case_id for r in place.state.requests} == {A, B}


def test_a_no_is_taken_for_an_answer() -> None:
    place = Place()
    place.hear(A, True, 1)
    place.hear("repair-b", True, 1)
    (asked,) = place.state.requests
    assert place.answer(asked, "It has ended.") == ["RequestAnswered"]
    assert place.state.requests == ()
    assert place.answer(asked, "It has ended.") == []


def test_nobody_but_a_case_says_that_it_is_open() -> None:
    raw = {
        "id": "c1",
        "actor": CLERK.model_dump(),
        "body": {
            "type": "RecordPresence",
            "premises": "p-1",
            "case": "repair-b",
            "open": False,
            "revision": 9,
        },
    }
    with pytest.raises(Rejected):
        PREMISES.asked(raw)
    assert PREMISES.asked({**raw, "actor": SYSTEM.model_dump()})
    assert PREMISES.possible(Place().state) == ()


def test_premises_need_no_section_of_the_policy() -> None:
    content = json.loads(GAS.policy.model_dump_json())
    for section in ("arrears", "complaint", "conduct", "satisfaction"):
        content[section] = None
    bare = Policy.model_validate(content)
    place = Place(pinned(bare.model_dump_json()))
    place.hear(A, True, 1)
    place.hear("repair-b", True, 1)
    assert place.state.owners[0].owner.id == bare.repair.intake_unit
    assert place.asked(A) == [("PlaceHold", "repair-b.1")]


# Whatever comes, in whatever order

CASES = (A, B, "repair-c", "repair-d", "complaint-e")


@st.composite
def deliveries(draw: st.DrawFn) -> Sequence[Word]:
    """What cases say, their first word that they are open, then by turns; some of it twice."""
    words = [
        (case, revision % 2 == 1, revision)
        for case in CASES
        for revision in range(1, draw(st.integers(0, 4)) + 1)
    ]
    again = draw(st.lists(st.sampled_from(words), max_size=6)) if words else []
    return draw(st.permutations([*words, *again]))


def wanted(heard: Sequence[Word]) -> set[tuple[str, str]]:
    """Which arrears are to wait for which case, reckoned from the highest revisions."""
    last: dict[str, tuple[int, bool]] = {}
    for case, open, revision in heard:
        last[case] = max(last.get(case, (0, False)), (revision, open))
    there = [case for case, (_, open) in last.items() if open]
    debts = [case for case in there if case.startswith("arrears-")]
    return {(debt, case) for debt in debts for case in there if case not in debts}


@settings(max_examples=150)
@given(deliveries())
def test_the_holds_are_those_for_the_open_others_whatever_the_order(words: Sequence[Word]) -> None:
    place = Place()
    for number, word in enumerate(words, 1):
        place.hear(*word)
        want = wanted(words[:number])
        assert {(i.arrears, i.source) for i in place.state.interlocks} == want
        assert len(place.state.interlocks) == len(want)
        latest = {max(w for w in words[:number] if w[0] == case) for case, *_ in words[:number]}
        nothing = not any(max(w[2] for w in words[:number] if w[0] == c) % 2 for c, *_ in latest)
        assert (place.state.stage == Stage.AT_REST) == nothing


@settings(max_examples=60)
@given(deliveries(), st.randoms(use_true_random=False))
def test_arrears_hold_what_they_are_asked_though_questions_overtake_each_other(
    words: Sequence[Word], random: Any
) -> None:
    """Real arrears, asked in any order, some of it twice, end up with the right holds."""
    # That an arrears case ends belongs to its own tests: here they stay open.
    words = [word for word in words if word[1] or not word[0].startswith("arrears-")]
    debts = {case: Debt(id=case) for case in (A, B)}
    for debt in debts.values():
        debt.do("OpenArrears", 0, **OPEN)
    place, waiting = Place(), list[CaseRequest]()
    for word in words:
        place.hear(*word)
        waiting += [r for r in place.state.requests if r not in waiting]
    waiting += [r for r in waiting if random.random() < 0.2]
    random.shuffle(waiting)
    for request in waiting:
        asked = request.command | {"actor": SYSTEM}
        debts[request.case_id].do(asked.pop("type"), 1, **asked)
        place.answer(request)

    held = {(case, h.source) for case, debt in debts.items() for h in debt.state.holds}
    assert held == wanted(words)
    assert place.state.requests == ()


# What was stored before there were premises

OLD: Sequence[tuple[str, str, str]] = (
    (
        "repair",
        "command",
        '{"asset":null,"category":"no-gas","channel":"phone","district":"north","party":"party-1",'
        '"priority":false,"recorded":["name","address","phone"],"severity":"common",'
        '"source":null,"type":"ReportRepair"}',
    ),
    (
        "repair",
        "event",
        '{"asset":null,"at":"2026-03-02T00:00:00Z","case":"repair-1","category":"no-gas",'
        '"channel":"phone","district":"north","network":false,'
        '"owner":{"id":"clerk-1","kind":"person"},"party":"party-1","policy":"00ff",'
        '"priority":false,"schema_version":1,"severity":"common","source":null,'
        '"type":"RepairReported"}',
    ),
    (
        "repair",
        "command",
        '{"case":"repair-1","how":"merge","parties":["party-1"],'
        '"reported_at":"2026-03-02T00:00:00Z","type":"AdoptReport"}',
    ),
    (
        "repair",
        "event",
        '{"at":"2026-03-02T01:00:00Z","case":"repair-1","how":"merge","parties":["party-1"],'
        '"reported_at":"2026-03-02T00:00:00Z","schema_version":1,"type":"ReportAdopted"}',
    ),
    (
        "complaint",
        "command",
        '{"about":"service","about_case":null,"accused":[],"anonymous":false,"category":"late",'
        '"channel":"phone","confidential":false,"district":"north","party":"party-1","place":null,'
        '"priority":false,"recorded":["name","phone"],"text":null,"type":"RegisterComplaint"}',
    ),
    (
        "complaint",
        "event",
        '{"about":"service","about_case":null,"accused":[],"anonymous":false,'
        '"at":"2026-03-02T00:00:00Z","case":"complaint-1","category":"late","channel":"phone",'
        '"confidential":false,"district":"north","gravity":"light",'
        '"owner":{"id":"clerk-1","kind":"person"},"party":"party-1","place":null,"policy":"00ff",'
        '"priority":false,"schema_version":1,"text":null,"type":"ComplaintRegistered"}',
    ),
    (
        "complaint",
        "command",
        '{"accused":[],"case":"complaint-1","party":null,'
        '"registered_at":"2026-03-02T00:00:00Z","type":"AdoptComplaint"}',
    ),
    (
        "complaint",
        "event",
        '{"accused":[],"at":"2026-03-02T01:00:00Z","case":"complaint-1","party":null,'
        '"registered_at":"2026-03-02T00:00:00Z","schema_version":1,"type":"ComplaintAdopted"}',
    ),
)


@pytest.mark.parametrize(("kind", "what", "stored"), OLD)
def test_what_was_stored_before_there_were_premises_keeps_its_bytes(
    kind: str, what: str, stored: str
) -> None:
    lifecycle, body = LIFECYCLES[kind], json.loads(stored)
    if what == "event":
        again = dump(lifecycle.event(body))
    else:
        raw = {"id": "c1", "actor": SYSTEM.model_dump(), "body": body}
        again = dump(lifecycle.command(raw))["body"]
    assert canonical(again) == stored.encode()


@pytest.mark.parametrize(("kind", "what", "stored"), [old for old in OLD if old[1] == "event"])
def test_what_names_premises_is_stored_and_read_with_them(
    kind: str, what: str, stored: str
) -> None:
    premises = ["p-1"] if "Adopted" in stored else "P-1"
    body = {**json.loads(stored), "premises": premises}
    assert dump(LIFECYCLES[kind].event(body)) == body
