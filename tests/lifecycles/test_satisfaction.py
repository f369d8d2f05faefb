"""The satisfaction register: samples, months, the yearly ranking and what follows from it."""

import contextlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycles import satisfaction_figures as figures
from lifecycles import satisfaction_reports as reports
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import plan
from lifecycles.policies import Pinned, pinned
from schemas.base import SYSTEM
from schemas.satisfaction import ComplaintCounts, Counted, Stage, Tally
from tests.lifecycles.repair_cases import GAS
from tests.lifecycles.satisfaction_cases import (
    ADMIN,
    CLERK,
    HEAD,
    SATISFACTION,
    SEED,
    Register,
    counts,
    day,
    tallies,
)


def cases(count: int) -> list[str]:
    return [f"repair-{n}" for n in range(count)]


# Figures


@pytest.mark.parametrize(
    ("satisfied", "answered", "low", "high"),
    [
        (9, 10, 5958, 9821),
        (0, 10, 0, 2775),
        (10, 10, 7225, 10_000),
        (1, 1, 2065, 10_000),
        (0, 1, 0, 7935),
        (81, 263, 2554, 3662),  # Newcombe 1998, table I: 0.2553 and 0.3662, from exact 0.25535
        (15, 148, 624, 1605),  # 0.0624, 0.1605
        (0, 20, 0, 1611),  # 0, 0.1611
        (1, 29, 61, 1718),  # 0.0061, 0.1718
    ],
)
def test_the_interval_is_the_one_in_the_books(
    satisfied: int, answered: int, low: int, high: int
) -> None:
    assert figures.wilson(satisfied, answered) == pytest.approx((low, high), abs=1)
    assert figures.wilson(satisfied, answered)[1] == high


@given(st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=200)
def test_rate_and_interval_agree_with_floating_point(counts: tuple[int, int]) -> None:
    satisfied, answered = counts
    (m,) = figures.measured(
        [Tally(department="d", asked=answered, answered=answered, satisfied=satisfied)], 90
    )
    assert m.rate is not None
    assert m.low is not None
    assert m.high is not None
    z, p = 1.959963984540054, satisfied / answered
    spread = z * math.sqrt(p * (1 - p) / answered + z * z / (4 * answered * answered))
    middle, whole = p + z * z / (2 * answered), 1 + z * z / answered
    assert abs(m.low - 10_000 * (middle - spread) / whole) <= 0.5 + 1e-4
    assert abs(m.high - 10_000 * (middle + spread) / whole) <= 0.5 + 1e-4
    assert abs(m.rate - 10_000 * p) <= 0.5 + 1e-4
    assert 0 <= m.low <= m.rate <= m.high <= 10_000


def test_a_half_basis_point_goes_to_the_even_one() -> None:
    def rate(satisfied: int) -> int | None:
        (m,) = figures.measured(
            [Tally(department="d", asked=20_000, answered=20_000, satisfied=satisfied)], 90
        )
        return m.rate

    assert [rate(1), rate(3), rate(5)] == [0, 2, 2]  # 0.5, 1.5 and 2.5 basis points


def test_a_rate_that_only_rounds_to_the_target_does_not_reach_it() -> None:
    almost = Tally(department="d", asked=100_000, answered=100_000, satisfied=89_999)
    exact = almost.model_copy(update={"department": "e", "satisfied": 90_000})
    short, reached = figures.measured([exact, almost], 90)
    assert (short.rate, short.on_target) == (9000, False)
    assert (reached.rate, reached.on_target) == (9000, True)


def test_where_nobody_answered_there_is_no_rate() -> None:
    register = Register()
    register.month("2026-04", "2026-05-03", {"north": (0, 0)})
    (m,) = register.last("MonthReported").departments
    assert (m.asked, m.rate, m.low, m.high, m.on_target) == (1, None, None, None, None)


# Months


def test_the_first_report_opens_the_register_which_then_rests() -> None:
    register = Register()
    late = "2026-07-03"  # so late that no checks of it are due any more
    assert register.month("2026-04", late, {"north": (10, 9), "south": (4, 1)}) == [
        "RegisterOpened",
        "MonthReported",
    ]
    assert register.state.stage == Stage.AT_REST
    assert SATISFACTION.summary(register.state).final
    north, south = register.last("MonthReported").departments
    assert (north.rate, north.low, north.high, north.on_target) == (9000, 5958, 9821, True)
    assert (south.rate, south.on_target) == (2500, False)
    assert [told for told in register.said if told[2] == "below_target"] == [
        ("unit", "south", "below_target")
    ]


def test_a_month_is_reported_anew_only_with_other_figures() -> None:
    register = Register()
    first = {"north": (10, 9), "south": (4, 1)}
    register.month("2026-04", "2026-05-03", first)
    assert register.month("2026-04", "2026-05-03", dict(reversed(first.items()))) == []
    assert register.month("2026-04", "2026-05-20", {**first, "south": (5, 2)}) == ["MonthReported"]
    assert [m.departments[1].answered for m in register.state.months] == [5]


def test_a_month_is_over_when_it_is_over_where_the_organisation_is() -> None:
    register = Register()
    body = {"month": "2026-04", "tallies": tallies({"north": (10, 9)})}
    # Shanghai is eight hours ahead.
    assert register.refusal("ReportMonth", "2026-04-30T15:59:59", **body) == [
        "The month 2026-04 is not over yet."
    ]
    assert register.do("ReportMonth", "2026-04-30T16:00", **body)


def test_wrong_figures_are_refused_with_everything_that_is_wrong() -> None:
    wrong = [
        {"department": "north", "asked": 3, "answered": 2, "satisfied": 3},
        {"department": "south", "asked": 1, "answered": 2, "satisfied": 1},
        {"department": "south", "asked": 2, "answered": 2, "satisfied": 2},
    ]
    reasons = Register().refusal(
        "ReportMonth", "2026-05-03", actor=CLERK, month="2026-06", tallies=wrong
    )
    assert len(reasons) == 5
    assert {r.split(":")[0].split(" ")[0] for r in reasons} == {"This", "The", "north", "south"}
    yearly = Register().refusal("RankYear", "2026-05-03", actor=CLERK, year=2026, tallies=wrong)
    assert len(yearly) == 5


def test_two_years_of_months_are_kept_and_older_ones_closed() -> None:
    register = Register()
    for year in (2023, 2024, 2025):
        for number in range(1, 13):
            register.month(f"{year}-{number:02}", "2026-01-03", {"north": (number, 1)})
    assert [m.month for m in register.state.months][::23] == ["2024-01", "2025-12"]
    assert register.refusal(
        "ReportMonth", "2026-01-03", month="2023-12", tallies=tallies({"north": (9, 9)})
    ) == ["Only the latest 24 months may be reported anew."]


# Samples


def test_the_sample_can_be_drawn_again_from_event_and_command_alone() -> None:
    register, population = Register(), cases(95)
    register.sample(population)
    event = register.last("SampleDrawn")
    again = sorted(population, key=lambda c: sha256(f"{event.seed}/{c}".encode()).hexdigest())
    assert event.drawn == tuple(again[:10])  # 10 % of 95, rounded up
    assert event.population == 95
    lines = "".join(f"{case}\n" for case in sorted(population))
    assert event.population_hash == sha256(lines.encode()).hexdigest()
    assert [told for told in register.said if told[2] == "sample_call"] == [
        ("unit", "gas-service-centre", "sample_call")
    ] * 10


@given(
    st.lists(st.sampled_from(cases(60)), max_size=80),
    st.randoms(use_true_random=False),
    st.integers(1, 100),
)
@settings(max_examples=60)
def test_neither_order_nor_doubles_of_the_population_change_the_sample(
    population: list[str], random: Any, percent: int
) -> None:
    drawn = figures.draw(population, SEED, percent)
    different = set(population)
    assert len(drawn) == math.ceil(percent * len(different) / 100)
    assert set(drawn) <= different
    assert (len(drawn) > 0) == (len(different) > 0)
    random.shuffle(population)
    assert figures.draw([*population, *population], SEED, percent) == drawn
    assert figures.population_hash([*population, *population]) == figures.population_hash(different)


def test_every_case_is_drawn_about_as_often_as_any_other() -> None:
    population, times = cases(50), dict.fromkeys(cases(50), 0)
    for number in range(2000):
        for case in figures.draw(population, f"{number:032x}", 10):
            times[case] += 1
    # 200 each is expected; five standard deviations either side are 67.
    assert max(abs(count - 200) for count in times.values()) < 67


def test_the_largest_sample_fits_into_one_append() -> None:
    content = GAS.policy.model_dump(mode="json")
    content["satisfaction"]["sample"] = 100
    register = Register(pinned(type(GAS.policy).model_validate(content).model_dump_json()))
    population = [f"complaint-{n:060}" for n in range(10_000)]
    sent = SATISFACTION.command(
        {
            "id": "c",
            "actor": SYSTEM.model_dump(),
            "body": {
                "type": "DrawSample",
                "since": day("2026-05-03"),
                "until": day("2026-05-04"),
                "population": population,
                "seed": SEED,
            },
        }
    )
    (step,) = plan(SATISFACTION, register.state, 0, [sent], day("2026-05-04")).steps
    assert len(step.state.sample.drawn) == figures.MOST_DRAWN
    assert len(step.decision().model_dump_json()) < 1_900_000  # Temporal takes 2 MB
    with pytest.raises(Rejected, match="10000"):
        register.sample([*population, "repair-1"])


def test_a_day_without_follow_ups_is_on_record_too() -> None:
    register = Register()
    assert register.sample([]) == ["RegisterOpened", "SampleDrawn"]
    assert register.last("SampleDrawn").drawn == ()


def test_samples_do_not_overlap_and_the_same_one_again_does_nothing() -> None:
    register = Register()
    register.sample(cases(5))
    assert register.sample(list(reversed(cases(5)))) == []
    drawn = "It was drawn from up to 2026-05-04 00:00 UTC already; begin there."
    for other in (
        {"population": cases(6)},
        {"population": cases(5), "seed": "f" * 32},
        {"population": cases(5), "until": "2026-05-03T23:00"},
    ):
        with pytest.raises(Rejected) as refused:
            register.sample(**other)  # pyright: ignore
        assert refused.value.reasons == (drawn,)
    assert register.sample(cases(5), since="2026-05-04", until="2026-05-05", at="2026-05-05") == [
        "SampleDrawn"
    ]


def test_a_sample_is_refused_with_everything_that_is_wrong() -> None:
    register = Register()
    with pytest.raises(Rejected) as refused:
        register.sample(cases(5), since="2026-05-01", until="2026-05-04T07:00")
    assert len(refused.value.reasons) == 2  # too long, and not over
    with pytest.raises(Rejected) as refused:
        register.sample(cases(5), since="2026-05-04", until="2026-05-04")
    assert len(refused.value.reasons) == 1
    assert register.sample(cases(5), since="2026-05-02")  # 48 hours to the second


# Years


def test_departments_are_ranked_and_the_lowest_gets_a_yellow_card() -> None:
    register = Register()
    counts = {"east": (10, 9), "north": (20, 18), "south": (10, 10), "west": (40, 20), "it": (9, 0)}
    assert register.year(2025, counts) == [
        "RegisterOpened",
        "YearRanked",
        "YellowCardGiven",
        "CommitmentStarted",
    ]
    ranked = register.last("YearRanked")
    assert [m.department for m in ranked.ranking] == ["south", "east", "north", "west"]
    assert [m.department for m in ranked.unranked] == ["it"]  # the policy wants ten answers
    assert ranked.lowest == ("west",)
    assert register.state.stage == Stage.AWAITING
    assert not SATISFACTION.summary(register.state).final
    (promise,) = register.state.commitments
    assert (promise.id, promise.due - promise.start) == ("improve", timedelta(days=90))
    assert ("unit", "west", "yellow_card") in register.said


def test_all_that_share_the_lowest_rate_are_lowest_unless_everybody_does() -> None:
    shared = Register()
    # 3/9 is 1/3, as no binary fraction can tell.
    shared.year(2025, {"a": (30, 10), "b": (300, 100), "c": (30, 11)})
    assert shared.last("YearRanked").lowest == ("a", "b")
    assert [c.commitment for c in shared.state.cards] == ["improve", "improve-2"]
    everybody = Register()
    assert everybody.year(2025, {"a": (30, 10), "b": (300, 100)})[-1] == "YearRanked"
    assert everybody.last("YearRanked").lowest == ()
    alone = Register()
    alone.year(2025, {"a": (30, 10), "b": (3, 1)})
    assert alone.last("YearRanked").lowest == ()
    nobody = Register()
    nobody.year(2025, {})
    assert nobody.state.stage == Stage.AT_REST


def test_an_improvement_meets_the_promise_of_that_department_alone() -> None:
    register = Register()
    register.year(2025, {"a": (30, 10), "b": (300, 100), "c": (30, 11)})
    improved: dict[str, Any] = {"department": "b", "evidence": "audit/7"}
    assert register.refusal("RecordImprovement", "2026-02-01", actor=CLERK, **improved)
    caused = register.do("RecordImprovement", "2026-02-01", actor=HEAD, **improved)
    assert caused == ["ImprovementRecorded", "CommitmentKept"]
    assert register.last("CommitmentKept").commitment == "improve-2"
    assert [c.state for c in register.state.commitments] == ["running", "kept"]
    assert register.state.stage == Stage.AWAITING
    assert register.do("RecordImprovement", "2026-02-02", actor=HEAD, **improved) == []
    assert register.refusal(
        "RecordImprovement", "2026-02-02", actor=HEAD, department="c", evidence="audit/8"
    )[0].startswith("This department has no yellow card.")
    register.do("RecordImprovement", "2026-02-03", actor=HEAD, department="a", evidence="audit/9")
    assert register.state.stage == Stage.AT_REST
    assert SATISFACTION.next_deadline(register.state) is None


def test_who_does_not_improve_in_time_is_told_of_upwards() -> None:
    register = Register()
    register.year(2025, {"a": (30, 10), "b": (30, 20)})
    caused = register.wait("2026-05-01")
    assert caused.count("CommitmentBroken") == 1
    assert [to for _, to, what in register.said if what == "escalation"] == [
        "department_head",
        "division_head",
        "general_manager",
    ]
    assert register.state.stage == Stage.AWAITING
    assert register.do(
        "RecordImprovement", "2026-05-02", actor=HEAD, department="a", evidence="audit/7"
    ) == ["ImprovementRecorded", "CommitmentMetLate"]


def test_a_year_is_ranked_once_and_in_its_turn() -> None:
    register = Register()
    counts = {"a": (30, 10), "b": (30, 20)}
    body = {"year": 2025, "tallies": tallies(counts)}
    assert register.refusal("RankYear", "2025-12-31T15:59:59", **body) == [
        "The year 2025 is not over yet."
    ]
    register.do("RankYear", "2025-12-31T16:00", **body)
    assert register.year(2025, dict(reversed(counts.items()))) == []
    other = {"year": 2025, "tallies": tallies({**counts, "b": (30, 21)})}
    assert register.refusal("RankYear", "2026-01-11", **other) == [
        "The year 2025 is ranked already, on other figures; its ranking stands."
    ]
    assert register.refusal("RankYear", "2026-01-11", **{**other, "year": 2024}) == [
        "A later year is ranked already; years are ranked in their order."
    ]


def lowest_twice(policy: Pinned = GAS) -> Register:
    register = Register(policy)
    register.year(2024, {"a": (30, 10), "b": (30, 20)})
    register.do("RecordImprovement", "2025-03-01", actor=HEAD, department="a", evidence="audit/1")
    register.year(2025, {"a": (40, 12), "b": (30, 20)})
    return register


def approval(decision: str, register: Register, **body: Any) -> dict[str, Any]:
    (asked,) = register.state.approvals
    return {
        "approval": asked.id,
        "decision": decision,
        "facts_hash": asked.facts_hash,
        **body,
    }


def test_lowest_twice_running_proposes_that_the_head_goes() -> None:
    register = lowest_twice()
    assert register.last("HeadRemovalProposed").department == "a"
    (asked,) = register.state.approvals
    assert asked.facts == {
        "department": "a",
        "year": 2025,
        "answered": 40,
        "satisfied": 12,
        "year_before_answered": 30,
        "year_before_satisfied": 10,
    }
    # It has this year's yellow card too.
    assert [c.year for c in register.state.cards] == [2025]
    assert "DecideApproval" in SATISFACTION.possible(register.state)
    caused = register.do(
        "DecideApproval", "2026-01-12", actor=HEAD, **approval("approve", register)
    )
    assert caused == ["ApprovalGiven", "ApprovalGranted", "HeadRemoved", "CommitmentKept"]
    assert register.state.removals == ()
    assert register.state.stage == Stage.AWAITING  # for the improvement
    register.do("RecordImprovement", "2026-02-01", actor=HEAD, department="a", evidence="audit/2")
    assert register.state.stage == Stage.AT_REST
    # What is done does not lapse when the next year's figures come.
    assert "ApprovalLapsed" not in register.year(2026, {"a": (40, 40), "b": (30, 20)})


def test_a_rejection_needs_a_reason_and_is_told_to_the_next_level() -> None:
    register = lowest_twice()
    assert register.refusal(
        "DecideApproval", "2026-01-12", actor=HEAD, **approval("reject", register)
    ) == ["A no needs a reason (ADM-5)."]
    caused = register.do(
        "DecideApproval",
        "2026-01-12",
        actor=HEAD,
        **approval("reject", register, reason="new_in_post"),
    )
    assert caused == ["ApprovalRejected", "HeadRemovalRejected", "CommitmentKept"]
    assert register.last("HeadRemovalRejected").reason == "new_in_post"
    assert ("role", "admin", "approval_rejected") in register.said
    assert register.state.removals == ()


def test_silence_goes_up_and_removes_nobody() -> None:
    register = lowest_twice()
    caused = register.wait("2026-02-01")
    assert caused.count("ApprovalEscalated") == 1
    assert "HeadRemoved" not in caused
    assert ("role", "admin", "approval_escalated") in register.said
    caused = register.do(
        "DecideApproval", "2026-02-02", actor=ADMIN, **approval("approve", register)
    )
    assert caused[-2:] == ["HeadRemoved", "CommitmentMetLate"]


def test_silence_may_mean_no_and_then_the_head_stays() -> None:
    content = GAS.policy.model_dump(mode="json")
    content["satisfaction"]["approvals"]["head_removal"]["silence"] = "reject"
    register = lowest_twice(pinned(type(GAS.policy).model_validate(content).model_dump_json()))
    caused = register.wait("2026-02-01")
    assert caused.count("HeadRemovalRejected") == 1
    assert register.state.removals == ()


def test_two_departments_lowest_twice_are_two_proposals() -> None:
    register = Register()
    register.year(2024, {"a": (30, 10), "b": (30, 10), "c": (30, 20)})
    register.year(2025, {"a": (30, 10), "b": (30, 10), "c": (30, 20)})
    assert [(r.department, r.approval) for r in register.state.removals] == [
        ("a", "head_removal-1"),
        ("b", "head_removal-2"),
    ]
    assert [c.commitment for c in register.state.cards] == [
        "improve",
        "improve-2",
        "improve-3",
        "improve-4",
    ]
    second = register.state.approvals[1]
    register.do(
        "DecideApproval",
        "2026-01-12",
        actor=HEAD,
        approval=second.id,
        decision="approve",
        facts_hash=second.facts_hash,
    )
    assert register.last("HeadRemoved").department == "b"
    assert [r.department for r in register.state.removals] == ["a"]


def test_lowest_with_a_year_between_is_not_twice_running() -> None:
    register = Register()
    register.year(2023, {"a": (30, 10), "b": (30, 20)})
    register.year(2024, {"a": (30, 20), "b": (30, 10)})
    register.year(2025, {"a": (30, 10), "b": (30, 20)})
    skipping = Register()
    skipping.year(2023, {"a": (30, 10), "b": (30, 20)})
    skipping.year(2025, {"a": (30, 10), "b": (30, 20)})
    assert register.state.removals == skipping.state.removals == ()


def test_whoever_ranked_the_year_cannot_approve_what_follows() -> None:
    register = Register()
    register.year(2024, {"a": (30, 10), "b": (30, 20)})
    body = {"year": 2025, "tallies": tallies({"a": (40, 12), "b": (30, 20)})}
    register.do("RankYear", "2026-01-10", actor=HEAD, **body)
    assert register.refusal(
        "DecideApproval", "2026-01-12", actor=HEAD, **approval("approve", register)
    ) == ["Who asked for it, or is part of the case, cannot decide it."]


def test_a_policy_must_give_exactly_one_deadline_to_improve() -> None:
    content = GAS.policy.model_dump(mode="json")
    content["satisfaction"]["commitments"] = []
    with pytest.raises(ValueError, match="just one, from carded to improved"):
        type(GAS.policy).model_validate(content)


def test_a_policy_promises_both_kinds_of_check_or_neither() -> None:
    content = GAS.policy.model_dump(mode="json")
    improve, own, companys = content["satisfaction"]["commitments"]
    for some, right in (
        ([improve], True),
        ([improve, companys, own], True),
        ([improve, own], False),
        ([improve, companys], False),
        ([improve, own, companys, {**own, "name": "twice"}], False),
        ([improve, own, companys, {**own, "name": "other", "ends": "improved"}], False),
    ):
        content["satisfaction"]["commitments"] = some
        if right:
            type(GAS.policy).model_validate(content)
        else:
            with pytest.raises(ValueError, match="self_check_due to self_checked"):
                type(GAS.policy).model_validate(content)


# Every command, at every stage


def at_rest() -> Register:
    register = Register()
    register.month("2025-11", "2026-05-03", {"north": (10, 9)})
    return register


EVERY: Mapping[str, dict[str, Any]] = {
    "DrawSample": {
        "since": day("2026-05-30"),
        "until": day("2026-05-31"),
        "population": cases(3),
        "seed": SEED,
    },
    "ReportMonth": {
        "month": "2026-04",
        "tallies": tallies({"north": (7, 7)}),
        "complaints": [counts(registered=3, in_time=2, upheld=2, open=1)],
        "seed": SEED,
    },
    "RankYear": {"year": 2025, "tallies": tallies({"a": (40, 12), "b": (30, 20)})},
    "RecordImprovement": {"department": "a", "evidence": "audit/1"},
    "RecordCheck": {
        "department": "counter",
        "kind": "company",
        "period": "2026-04",
        "evidence": "audit/3",
    },
    "TakeCase": {},
    "HandOverCase": {"to": {"kind": "person", "id": "clerk-9"}, "reason": "leave"},
    "DecideApproval": {
        "approval": "head_removal-1",
        "decision": "approve",
        "facts_hash": "0" * 64,
    },
    "DelegateApproval": {
        "approval": "head_removal-1",
        "to": "head-2",
        "until": day("2026-07-01"),
        "reason": "leave",
    },
    "WithdrawApproval": {"approval": "head_removal-1", "reason": "mistake"},
}
STAGES: Mapping[str, tuple[Any, set[str]]] = {
    "Unopened": (Register, {"DrawSample", "ReportMonth", "RankYear"}),
    "AtRest": (
        at_rest,
        {"DrawSample", "ReportMonth", "RankYear", "RecordCheck", "TakeCase", "HandOverCase"},
    ),
    "Awaiting": (
        lowest_twice,
        {
            "DrawSample",
            "ReportMonth",
            "RecordImprovement",
            "RecordCheck",
            "TakeCase",
            "HandOverCase",
            "DecideApproval",
            "DelegateApproval",
        },
    ),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", EVERY)
def test_each_stage_allows_what_it_allows(stage: str, name: str) -> None:
    make, allowed = STAGES[stage]
    register: Register = make()
    assert register.state.stage == stage
    body = dict(EVERY[name])
    if stage == "Awaiting" and name == "DecideApproval":
        body["facts_hash"] = register.state.approvals[0].facts_hash
    if name == "RankYear" and stage == "Awaiting":
        body["tallies"] = tallies({"a": (41, 12)})  # ranked already
    if name in allowed:
        assert register.do(name, "2026-06-01", actor=HEAD, **body)
    else:
        assert register.refusal(name, "2026-06-01", actor=HEAD, **body)
    possible = set(SATISFACTION.possible(make().state))
    assert (name in possible) >= (name in allowed)


@given(st.data())
@settings(max_examples=60)
def test_whatever_comes_the_register_stays_consistent(data: st.DataObject) -> None:
    """At rest, nothing is owed and nobody is asked; cards and removals follow the rankings."""
    register = Register()
    at = day("2024-01-10")
    departments = ["a", "b", "c"]
    for _ in range(data.draw(st.integers(1, 14))):
        at += timedelta(days=data.draw(st.integers(1, 300)))
        name = data.draw(st.sampled_from([*EVERY, "ReportMonth", "RankYear", "RankYear"]))
        body = dict(EVERY[name])
        figures_now = tallies({d: (30, data.draw(st.integers(0, 30))) for d in departments})
        if name == "RankYear":
            body = {"year": at.year - data.draw(st.integers(0, 2)), "tallies": figures_now}
        elif name == "ReportMonth":
            last = (at.replace(day=1) - timedelta(days=data.draw(st.sampled_from([3, 90])))).date()
            body |= {"month": f"{last:%Y-%m}", "tallies": figures_now}
        elif name == "DrawSample":
            body |= {"since": at - timedelta(days=1), "until": at}
        elif name == "RecordCheck" and register.state.checks:
            check = data.draw(st.sampled_from(register.state.checks))
            body |= {"department": check.department, "kind": check.kind, "period": check.period}
        elif name == "RecordImprovement":
            body["department"] = data.draw(st.sampled_from(departments))
        elif "Approval" in name and register.state.approvals:
            asked = data.draw(st.sampled_from(register.state.approvals))
            body["approval"] = asked.id
            if name == "DecideApproval":
                body |= {"facts_hash": asked.facts_hash, "reason": "because"}
                body["decision"] = data.draw(st.sampled_from(["approve", "reject"]))
        actor = data.draw(st.sampled_from([SYSTEM, HEAD, ADMIN, CLERK]))
        with contextlib.suppress(Rejected):
            register.do(name, at, actor=actor, **body)
        state = register.state
        owed = [c for c in state.commitments if c.outstanding]
        requested = [a for a in state.approvals if a.state == "requested"]
        due = {c.commitment for c in state.checks if c.commitment and not c.checked_by}
        assert {c.commitment for c in state.cards} | {a.commitment for a in requested} | due == {
            c.id for c in owed
        }
        assert len({c.id for c in state.commitments}) == len(state.commitments)
        assert {r.approval for r in state.removals} == {a.id for a in requested}
        waits = bool(owed or requested)
        assert (state.stage == Stage.AWAITING) == waits
        assert waits or SATISFACTION.next_deadline(state) is None
        if state.opened_at is not None:
            assert len(state.owners) >= 1
        again = SATISFACTION.initial("satisfaction-register", "town", *GAS)
        assert SATISFACTION.fold(again, register.events) == state


# Reports


@pytest.mark.parametrize(
    ("what", "at", "since", "until"),
    [
        ("sample", "2026-05-03T22:00", "2026-05-02T16:00", "2026-05-03T16:00"),
        ("sample", "2026-05-03T15:59", "2026-05-01T16:00", "2026-05-02T16:00"),
        ("month", "2026-05-02T22:00", "2026-03-31T16:00", "2026-04-30T16:00"),
        ("month", "2026-04-30T15:59", "2026-02-28T16:00", "2026-03-31T16:00"),
        ("month", "2025-12-31T16:00", "2025-11-30T16:00", "2025-12-31T16:00"),
        ("year", "2026-01-09T22:00", "2024-12-31T16:00", "2025-12-31T16:00"),
        ("year", "2025-12-31T15:59", "2023-12-31T16:00", "2024-12-31T16:00"),
    ],
)
def test_a_report_is_about_the_last_time_that_is_over_in_shanghai(
    what: Any, at: str, since: str, until: str
) -> None:
    period = reports.period_before(what, GAS.policy.calendar, day(at))
    assert (period.since, period.until) == (day(since), day(until))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Pacific/Apia", "UTC"])
def test_days_follow_each_other_without_gap_or_overlap(zone: str) -> None:
    calendar = GAS.policy.calendar.model_copy(update={"time_zone": zone})
    at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    until = reports.period_before("sample", calendar, at).until
    for _ in range(400):
        at += timedelta(days=1)
        period = reports.period_before("sample", calendar, at)
        assert period.since == until
        assert timedelta(hours=23) <= period.until - period.since <= timedelta(hours=25)
        until = period.until


def test_what_is_counted_twice_alike_is_one_command_and_otherwise_two() -> None:
    period = reports.period_before("month", GAS.policy.calendar, day("2026-05-03"))
    tally = Tally(department="a", asked=3, answered=2, satisfied=1)
    one = Counted(tallies=(tally,), complaints=())
    others = (
        Counted(tallies=(tally.model_copy(update={"answered": 3}),), complaints=()),
        Counted(tallies=(tally,), complaints=(ComplaintCounts.model_validate(counts()),)),
    )
    assert reports.month(period, one, SEED) == reports.month(period, one, SEED)
    assert reports.month(period, one, SEED).id.startswith("satisfaction/month/2026-04/")
    ids = [reports.month(period, counted, SEED).id for counted in (one, *others)]
    assert len({*ids, reports.month(period, one, "f" * 32).id}) == 4
    day_before = reports.period_before("sample", GAS.policy.calendar, day("2026-05-03"))
    assert reports.sample(day_before, [], SEED).id == "satisfaction/sample/2026-05-03"
