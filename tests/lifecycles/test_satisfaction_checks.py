"""Who checks whom and when (GAS-3.1), and a month's complaints collated (WIN-1.7)."""

from collections import Counter
from hashlib import sha256
from typing import Any

import pytest

from lifecycles import satisfaction_checks as checks
from lifecycles.decisions import Rejected
from lifecycles.policies import pinned
from schemas.base import Actor
from schemas.satisfaction import Stage
from tests.lifecycles.repair_cases import GAS
from tests.lifecycles.satisfaction_cases import (
    CLERK,
    HEAD,
    SATISFACTION,
    SEED,
    Register,
    counts,
    day,
    tallies,
)

ALL = (
    "billing",
    "counter",
    "field-east",
    "field-north",
    "field-service",
    "field-south",
    "field-west",
    "gas-control-room",
    "metering",
    "network",
)
SUPERVISOR = Actor(subject="supervisor-1", role="supervisor", proof="token")
CHECK: dict[str, Any] = {"department": "billing", "evidence": "slip/1"}


def reported(month: str, at: str, **more: Any) -> Register:
    register = Register()
    register.month(month, at, {"field-north": (10, 9)}, **more)
    return register


def due(register: Register) -> Counter[tuple[str, str]]:
    """How many checks are awaited, by kind and period."""
    return Counter((c.kind, c.period) for c in register.state.checks if c.checked_by is None)


# Falling due


def test_a_months_report_asks_each_known_department_once_to_check_itself() -> None:
    register = reported("2026-04", "2026-05-03T06:00")
    events = [e for e in register.events if getattr(e, "type", None) == "SelfCheckDue"]
    assert [e.department for e in events] == list(ALL)  # pyright: ignore
    own = register.state.commitments
    assert [c.id for c in own] == [f"self_check-{n}" for n in range(1, 11)]
    # From the end of April in Shanghai, not from the report.
    assert {(c.rule, c.start, c.due) for c in own} == {
        ("GAS-3.1", day("2026-04-30T16:00"), day("2026-05-15T16:00"))
    }
    assert [to for to in register.said if to[2] == "self_check_due"] == [
        ("unit", department, "self_check_due") for department in ALL
    ]
    assert due(register) == {("self", "2026-04"): 10}
    assert register.state.stage == Stage.AWAITING


@pytest.mark.parametrize(
    ("month", "at", "quarter"),
    [
        ("2026-03", "2026-04-03", "2026-Q1"),
        ("2026-06", "2026-07-03", "2026-Q2"),
        ("2026-09", "2026-10-03", "2026-Q3"),
        ("2025-12", "2026-01-03", "2025-Q4"),
    ],
)
def test_a_quarters_last_month_has_the_company_check_every_department(
    month: str, at: str, quarter: str
) -> None:
    register = reported(month, at)
    assert due(register) == {("self", month): 10, ("company", quarter): 10}
    told = [to for to in register.said if to[2] == "company_check_due"]
    assert told == [("role", "division_head", "company_check_due")] * 10
    assert checks.end_of(GAS.policy.calendar, quarter) == checks.end_of(GAS.policy.calendar, month)


def test_each_month_one_department_is_drawn_and_nobody_but_the_level_above_is_told() -> None:
    register = reported("2026-04", "2026-05-03", seed=SEED)
    event = register.last("CheckDrawn")
    assert event.departments == ALL
    assert event.drawn == min(ALL, key=lambda d: sha256(f"{SEED}/{d}".encode()).hexdigest())
    assert due(register) == {("self", "2026-04"): 10, ("company", "2026-04"): 1}
    (check,) = [c for c in register.state.checks if c.kind == "company"]
    assert check.department == event.drawn
    assert {(to, who) for to, who, what in register.said if what != "self_check_due"} == {
        ("unit", "gas-service-centre"),  # of the report itself
        ("role", "division_head"),
    }
    assert [what for to, _, what in register.said if to == "role"] == ["company_check_due"]


def test_every_department_is_drawn_about_as_often_as_any_other() -> None:
    times = Counter(checks.drawn(ALL, f"{n:032x}") for n in range(5000))
    assert set(times) == set(ALL)
    # 500 each is expected; five standard deviations either side are 107.
    assert max(abs(count - 500) for count in times.values()) < 107
    assert checks.drawn(tuple(reversed(ALL)), SEED) == checks.drawn(ALL, SEED)


def test_a_month_reported_again_starts_no_checks_twice() -> None:
    register = reported("2026-06", "2026-07-03", seed=SEED)
    before = register.state.checks
    again = register.do(
        "ReportMonth",
        "2026-07-04",
        month="2026-06",
        tallies=tallies({"field-north": (11, 9)}),
        seed="f" * 32,
    )
    assert again == ["MonthReported"]
    assert register.state.checks == before


def test_old_months_that_come_late_start_nothing() -> None:
    register = Register()
    for month in ("2024-03", "2025-12", "2026-04"):
        register.month(month, "2026-07-03", {"field-north": (10, 9)}, seed=SEED)
    assert register.state.checks == ()
    assert register.state.stage == Stage.AT_REST
    # Of the months that are over, June alone is still in time; its promises are not all young.
    register.month("2026-06", "2026-07-20", {"field-north": (10, 9)}, seed=SEED)
    assert due(register) == {("company", "2026-Q2"): 10, ("company", "2026-06"): 1}
    assert "CheckDrawn" not in Register().month("1000-01", "2026-07-03", {}, seed=SEED)


def test_an_older_policy_asks_for_no_checks() -> None:
    content = GAS.policy.model_dump(mode="json")
    del content["satisfaction"]["commitments"][1:]
    del content["satisfaction"]["next_level"]
    register = Register(pinned(type(GAS.policy).model_validate(content).model_dump_json()))
    assert register.month("2026-06", "2026-07-03", {}, seed=SEED) == [
        "RegisterOpened",
        "MonthReported",
    ]
    assert register.state.stage == Stage.AT_REST


# Recording


def test_a_check_on_record_keeps_its_promise_and_the_last_one_lets_the_register_rest() -> None:
    register = reported("2026-04", "2026-05-03")
    own = {"kind": "self", "period": "2026-04"}
    caused = register.do(
        "RecordCheck", "2026-05-10", actor=CLERK, **CHECK, **own, findings=["late_slips"]
    )
    assert caused == ["CheckRecorded", "CommitmentKept"]
    done = register.last("CheckRecorded")
    assert (done.checked_by, done.findings) == ("clerk-1", ("late_slips",))
    again = {**CHECK, **own, "findings": ["late_slips"]}
    assert register.do("RecordCheck", "2026-05-11", actor=CLERK, **again) == []
    assert register.refusal("RecordCheck", "2026-05-11", actor=CLERK, **CHECK, **own) == [
        "This check is on record already, with other evidence or findings."
    ]
    late = register.wait("2026-05-20")
    assert late.count("CommitmentBroken") == 9
    for department in ALL[1:]:
        body = {**CHECK, **own, "department": department}
        caused = register.do("RecordCheck", "2026-05-21", actor=CLERK, **body)
        assert caused == ["CheckRecorded", "CommitmentMetLate"]
    assert register.state.stage == Stage.AT_REST


def test_whoever_does_not_check_is_told_of_upwards() -> None:
    register = reported("2026-04", "2026-05-03", seed=SEED)
    register.wait("2026-06-10")
    rung = register.last("EscalationRaised")
    (message,) = SATISFACTION.effects(register.state, rung)
    drawn = register.last("CheckDrawn").drawn
    assert (message.params["department"], message.params["period"]) == (drawn, "2026-04")
    told = Counter(to for _, to, what in register.said if what == "escalation")
    assert told == {"department_head": 10, "division_head": 10 + 1, "general_manager": 1}


def test_a_check_that_was_done_before_the_report_is_not_asked_for() -> None:
    register = reported("2026-03", "2026-06-01")
    register.do("RecordCheck", "2026-06-01", actor=CLERK, **CHECK, kind="self", period="2026-05")
    register.month("2026-05", "2026-06-03", {"field-north": (10, 9)})
    assert due(register) == {("self", "2026-05"): 9}


def test_the_quarters_check_and_the_drawn_one_are_two() -> None:
    register = reported("2026-06", "2026-07-03", seed=SEED)
    drawn = register.last("CheckDrawn").drawn
    for period in ("2026-Q2", "2026-06"):
        body = {**CHECK, "department": drawn, "kind": "company", "period": period}
        caused = register.do("RecordCheck", "2026-07-05", actor=HEAD, **body)
        assert caused == ["CheckRecorded", "CommitmentKept"]
    assert due(register) == {("self", "2026-06"): 10, ("company", "2026-Q2"): 9}


@pytest.mark.parametrize("kind", ["self", "company"])
@pytest.mark.parametrize(
    "role",
    [
        "service",
        "clerk",
        "crew",
        "reader",
        "supervisor",
        "division_head",
        "conduct_officer",
        "auditor",
        "admin",
        "system",
    ],
)
def test_a_department_checks_itself_and_those_in_charge_check_for_the_company(
    kind: str, role: Any
) -> None:
    register = reported("2026-04", "2026-05-03")
    actor = Actor(subject="somebody", role=role, proof="token")
    body = {**CHECK, "kind": kind, "period": "2026-04"}
    if (
        role
        in {
            "self": ("clerk", "crew", "reader", "supervisor"),
            "company": ("supervisor", "division_head", "admin"),
        }[kind]
    ):
        assert register.do("RecordCheck", "2026-05-10", actor=actor, **body)
    else:
        (reason,) = register.refusal("RecordCheck", "2026-05-10", actor=actor, **body)
        assert reason.startswith("This is for the role ")


@pytest.mark.parametrize(
    ("first", "then", "alone"),
    [
        (("self", "2026-05"), ("company", "2026-05"), True),
        (("self", "2026-05"), ("company", "2026-Q2"), True),
        (("company", "2026-Q2"), ("self", "2026-04"), True),
        (("self", "2026-03"), ("company", "2026-Q2"), False),
        (("self", "2026-05"), ("company", "2026-06"), False),
        (("company", "2026-06"), ("company", "2026-Q2"), False),
    ],
)
def test_whoever_checked_for_the_department_does_not_check_for_the_company(
    first: tuple[str, str], then: tuple[str, str], alone: bool
) -> None:
    register = reported("2026-06", "2026-07-03")
    (kind, period), (other, later) = first, then
    register.do("RecordCheck", "2026-07-05", actor=SUPERVISOR, **CHECK, kind=kind, period=period)
    shouting = SUPERVISOR.model_copy(update={"subject": "SUPERVISOR-1"})
    body = {**CHECK, "kind": other, "period": later, "actor": shouting}
    if alone:
        assert register.refusal("RecordCheck", "2026-07-05", **body) == [
            "Who checked it for the department cannot check it for the company."
        ]
        body["department"] = "metering"
    assert register.do("RecordCheck", "2026-07-05", **body)


def test_a_check_is_refused_with_everything_that_is_wrong() -> None:
    register = reported("2026-04", "2026-05-03")
    wrong = {"department": "nowhere", "kind": "self", "period": "2026-Q1", "evidence": "slip/1"}
    assert register.refusal("RecordCheck", "2026-05-10", actor=HEAD, **wrong) == [
        "This is for the role clerk, crew, reader or supervisor.",
        "The policy knows no such department; correct `department`.",
        "A department checks itself by the month; give `period` as 2026-06.",
    ]
    for period in ("2026-05", "2026-Q2", "9999-12", "9999-Q4"):
        body = {**CHECK, "kind": "company", "period": period}
        assert register.refusal("RecordCheck", "2026-05-31T15:59", actor=HEAD, **body) == [
            f"The time {period} is not over yet."
        ]
    for period in ("2024-04", "2024-Q1", "0000-01"):
        body = {**CHECK, "kind": "company", "period": period}
        assert register.refusal("RecordCheck", "2026-05-10", actor=HEAD, **body) == [
            "Only checks of the latest 24 months are recorded."
        ]


def test_a_register_of_many_years_stays_small_and_numbers_no_promise_twice() -> None:
    register = Register()
    for year in range(2020, 2026):
        for number in range(1, 13):
            month = f"{year}-{number:02}"
            after = f"{year + number // 12}-{number % 12 + 1:02}"
            register.month(month, f"{after}-03", {"field-north": (number, 1)}, seed=SEED)
            for check in register.state.checks:
                # Billing is never checked, the others always.
                if check.checked_by is None and check.department != "billing":
                    actor = CLERK if check.kind == "self" else HEAD
                    body = {"kind": check.kind, "period": check.period, "evidence": "slip/1"}
                    register.do(
                        "RecordCheck",
                        f"{after}-10",
                        actor=actor,
                        department=check.department,
                        **body,
                    )
    ids = [e.commitment for e in register.events if e.type == "CommitmentStarted"]  # pyright: ignore
    assert len(ids) == len(set(ids)) == 72 * 11 + 24 * 10
    assert register.last("CommitmentCancelled").reason == "superseded"
    state = register.state
    missed = [c for c in state.commitments if c.outstanding]
    assert 24 * 1 <= len(missed) <= 25 * 3
    assert len(state.commitments) <= len(missed) + 22
    assert len(state.checks) <= 25 * 22
    assert state.checks_due == len(ids)
    again = SATISFACTION.initial("satisfaction-register", "town", *GAS)
    assert SATISFACTION.fold(again, register.events) == state


# Complaints


def test_a_months_complaints_are_collated_and_fed_back_to_whom_they_concern() -> None:
    register = Register()
    some = counts("late", "counter", registered=3, in_time=1, late=1, open=1, upheld=2)
    more = counts("bill", "counter", registered=1, in_time=1, not_upheld=1, appealed=1)
    rest = counts("late", None, open=2, overturned=1)
    caused = register.month("2026-04", "2026-07-03", {}, complaints=[some, more, rest])
    assert caused == ["RegisterOpened", "MonthReported", "ComplaintsCollated"]
    kept = register.last("ComplaintsCollated").complaints
    assert [(c.category, c.department) for c in kept] == [
        ("bill", "counter"),
        ("late", None),
        ("late", "counter"),
    ]
    messages = SATISFACTION.effects(register.state, register.last("ComplaintsCollated"))
    assert [(m.to, m.recipient, m.template) for m in messages] == [
        ("role", "division_head", "complaints_collated"),
        ("unit", "counter", "complaints_fed_back"),
    ]
    whole, its_own = (m.params for m in messages)
    assert whole == {
        "case": "satisfaction-register",
        "month": "2026-04",
        "rule": "WIN-1.7",
        "registered": 4,
        "in_time": 2,
        "late": 1,
        "open": 3,
        "upheld": 2,
        "partly_upheld": 0,
        "not_upheld": 1,
        "appealed": 1,
        "overturned": 1,
    }
    assert its_own == {**whole, "open": 1, "overturned": 0}


def test_of_a_month_that_is_told_again_only_what_is_new_is_reported() -> None:
    register = Register()
    one = [counts(registered=1, open=1), counts("bill", None, open=1)]
    other = [counts(registered=1, late=1, upheld=1)]
    steps = [
        ({"a": (1, 1)}, one, ["RegisterOpened", "MonthReported", "ComplaintsCollated"]),
        ({"a": (1, 1)}, list(reversed(one)), []),
        ({"a": (1, 1)}, other, ["ComplaintsCollated"]),
        ({"a": (2, 1)}, other, ["MonthReported"]),
        ({"a": (2, 1)}, None, []),
        ({"a": (2, 1)}, [], ["ComplaintsCollated"]),
    ]
    for answers, complaints, expected in steps:
        caused = register.month("2026-04", "2026-07-03", answers, complaints=complaints)
        assert caused == expected
    assert len(register.state.collated) == 1


def test_complaints_that_contradict_themselves_are_refused() -> None:
    wrong = [
        counts("late", None, in_time=1),
        counts("bill", "counter"),
        counts("bill", "counter", registered=2),
    ]
    assert Register().refusal(
        "ReportMonth", "2026-07-03", month="2026-04", tallies=[], complaints=wrong
    ) == [
        "Complaints of bill, counter, stand there more than once; give each once.",
        "Complaints of late, no department: each answered one has one outcome; correct the counts.",
    ]
    with pytest.raises(Rejected, match="seed"):
        Register().month("2026-04", "2026-07-03", {}, seed="guess")


def test_the_largest_months_report_fits_into_one_append() -> None:
    many = [counts(f"category-{n:050}", f"department-{n:050}") for n in range(1000)]
    answers = {f"department-{n:050}": (1, 1) for n in range(200)}
    register = Register()
    assert register.month("2026-06", "2026-07-03", answers, complaints=many, seed=SEED)
    stored = sum(len(e.model_dump_json()) for e in register.events)
    assert stored * 2 < 1_900_000  # Temporal takes 2 MB: the command and what it caused
