"""The ledger's figures for repairs, rule by rule, under the policies they bind."""

from datetime import date
from typing import Any

import pytest

from lifecycles.policies import Pinned
from tests.lifecycles.repair_cases import (
    ESTATE,
    GAS,
    WATER,
    Case,
    accepted,
    broken_at,
    dispatched,
    fault,
    fixed,
    hours,
    on_site,
    reported,
    told,
    triaged,
)


def promises(case: Case) -> dict[str, tuple[str, float]]:
    """What was promised: per name the rule and the hours from its start."""
    return {
        c.name: (c.rule, (c.due - c.start).total_seconds() / 3600) for c in case.state.commitments
    }


# Figures


@pytest.mark.parametrize(
    ("policy", "fields", "name", "rule", "length"),
    [
        (GAS, {}, "attend", "KUN-2.2.4b", 6),
        (GAS, {}, "repair", "KUN-2.2.4c", 24),
        (GAS, {}, "dispatch", "KUN-5.5.1", 0.25),
        (GAS, {"category": "pipe-leak"}, "clear", "KUN-2.2.3a", 4),
        (GAS, {"category": "pipe-leak", "severity": "minor"}, "clear", "KUN-2.2.3a", 4),
        (GAS, {"category": "pipe-leak", "severity": "major"}, "clear", "KUN-2.2.3b", 24),
        (GAS, {"category": "main-leak", "severity": "hazard"}, "clear", "KUN-2.2.3b", 24),
        (ESTATE, {"category": "heating"}, "attend", "AFT-2", 2),
        (WATER, {"category": "large-leak"}, "dispatch", "WAT-1.5a", 0.5),
        (WATER, {"category": "small-leak"}, "dispatch", "WAT-1.5b", 16),
        (WATER, {"category": "meter-box-lid"}, "dispatch", "WAT-1.5b", 16),
        (WATER, {"category": "valve-cover"}, "guard", "WAT-1.5c", 0.25),
    ],
    ids=lambda value: value if isinstance(value, str) and "-" in value else "",
)
def test_the_figure_is_the_rules(
    policy: Pinned, fields: dict[str, Any], name: str, rule: str, length: float
) -> None:
    case = reported(policy, **fields)
    assert promises(case)[name] == (rule, length)
    assert case.promise(name).start == hours(0)


@pytest.mark.parametrize(
    ("late", "outcome"), [(0, "kept"), (1 / 3600, "broken")], ids=["in time", "a second late"]
)
@pytest.mark.parametrize(
    ("case", "at", "name", "command", "body"),
    [
        ("accepted", 6, "attend", "RecordArrival", {"crew": "crew-1"}),
        ("on_site", 24, "repair", "CompleteRepair", {"work": ["valve"]}),
        ("fault", 4, "clear", "CompleteRepair", {"work": ["weld"]}),
        ("fixed", 3 + 48, "follow_up", "RecordCallback",
         {"party": "party-1", "consent": True, "result": "satisfied"}),
        ("triaged", 0.25, "dispatch", "DispatchCrew", {"crew": "crew-1"}),
    ],
    ids=["KUN-2.2.4b", "KUN-2.2.4c", "KUN-2.2.3a", "KUN-5.3.6", "KUN-5.5.1"],
)  # fmt: skip
def test_a_promise_is_kept_at_its_very_instant_and_broken_a_second_later(
    case: str, at: float, name: str, command: str, body: Any, late: float, outcome: str
) -> None:
    starts = {
        "accepted": accepted,
        "on_site": on_site,
        "fault": lambda: fault(id="repair-1"),
        "fixed": fixed,
        "triaged": triaged,
    }
    sample: Case = starts[case]()
    sample.do(command, at + late, **body)
    assert sample.promise(name).state == outcome
    assert sample.promise(name).met_at == hours(at + late)


def test_KUN_2_2_4c_the_ladder_climbs_to_the_top_while_nobody_repairs() -> None:
    case = on_site()
    case.wait(200)
    assert told(case, "repair") == [
        (12, "crew_leader"),
        (19.2, "supervisor"),
        (24, "station_head"),
        (48, "division_head"),
        (96, "general_manager"),
    ]
    assert broken_at(case) == {"repair": 24}


def test_KUN_5_5_1_name_address_phone_and_fault_are_on_record() -> None:
    assert Case().refusal(
        "ReportRepair",
        0,
        channel="phone",
        category="no-gas",
        district="north",
        party="party-1",
        recorded=["phone"],
    ) == ["Record the customer's name, address (KUN-5.5.1)."]


def test_KUN_5_5_2_a_simple_fault_is_solved_on_the_phone_and_never_becomes_a_visit() -> None:
    case = reported(category="meter-battery")
    assert case.do("SolveByPhone", 0.1, solution="battery-changed") == [
        "RepairSolvedByPhone",
        "CommitmentKept repair",
        "CommitmentCancelled dispatch",
        "CommitmentCancelled attend",
    ]
    assert case.wait(500) == []


def test_WAT_2_9_an_order_is_passed_on_against_a_signature() -> None:
    case = triaged(
        WATER, channel="meter_reader", category="meter-pit-leak", party=None, recorded=[]
    )
    (reason,) = case.refusal("DispatchCrew", 1, crew="crew-1")
    assert reason.endswith("(WAT-2.9).")
    assert "CrewDispatched" in case.do("DispatchCrew", 1, crew="crew-1", receipt="slip/1")


def test_WAT_1_5b_a_small_leak_is_passed_on_the_same_local_day() -> None:
    evening = 15.5  # 23:30 in Shanghai
    case = triaged(WATER, category="small-leak")
    assert case.do("DispatchCrew", evening, crew="crew-1")[-1] == "CommitmentKept dispatch"
    late = triaged(WATER, category="small-leak")
    assert late.do("DispatchCrew", 16.1, crew="crew-1")[-1] == "CommitmentMetLate dispatch"
    assert broken_at(late) == {"dispatch": 16}


def test_WAT_1_5c_a_guard_stays_until_the_repairers_arrive() -> None:
    case = dispatched(WATER, category="valve-cover", channel="patrol", party=None, recorded=[])
    assert case.do("PostGuard", 0.2, guard="guard-1") == ["GuardPosted", "CommitmentKept guard"]
    case.do("RecordArrival", 3, crew="crew-1")
    assert "GuardRelieved" in case.happened()
    assert case.state.guard is None


def test_WAT_1_5c_where_the_repairers_are_first_they_guard_the_site_themselves() -> None:
    case = dispatched(WATER, category="valve-cover", channel="patrol", party=None, recorded=[])
    assert "CommitmentKept guard" in case.do("RecordArrival", 0.2, crew="crew-1")
    assert case.wait(5) == []


def test_WAT_1_5c_a_site_that_nobody_guards_goes_up() -> None:
    case = reported(WATER, category="valve-cover", channel="patrol", party=None, recorded=[])
    case.wait(2)
    assert broken_at(case) == {"guard": 0.25}
    assert told(case, "guard") == [(0.25, "supervisor"), (0.75, "station_head")]


def test_WAT_1_5c_a_guard_goes_when_the_fault_is_cleared() -> None:
    case = reported(WATER, category="valve-cover", channel="patrol", party=None, recorded=[])
    case.do("PostGuard", 0.1, guard="guard-1")
    assert "GuardRelieved" in case.do("CompleteRepair", 1, work=["cover"])


def test_AFT_4_a_part_in_local_stock_is_replaced_within_two_hours() -> None:
    case = on_site(ESTATE, category="heating")
    assert case.do("RequestParts", 1, parts=["pump"], stock="local") == [
        "PartsRequested",
        "CommitmentStarted parts",
    ]
    assert case.promise("parts").due == hours(3)
    assert "CommitmentKept parts" in case.do("CompleteRepair", 3, work=["pump"])


@pytest.mark.parametrize("command", ["RecordPartsShipped", "RecordPartsArrived"])
def test_AFT_4_a_part_from_elsewhere_is_shipped_within_eight_hours(command: str) -> None:
    case = on_site(ESTATE, category="heating")
    case.do("RequestParts", 1, parts=["pump"], stock="elsewhere")
    assert case.promise("parts_shipped").due == hours(9)
    body: dict[str, Any] = {"waybill": "waybill/1"} if command == "RecordPartsShipped" else {}
    assert case.do(command, 9, **body)[1:] == ["CommitmentKept parts_shipped"]


def test_AFT_4_parts_asked_for_again_are_promised_again() -> None:
    case = on_site(ESTATE, category="heating")
    case.do("RequestParts", 1, parts=["pump"], stock="elsewhere")
    case.do("RequestParts", 2, parts=["pump", "seal"], stock="elsewhere")
    assert len(case.state.commitments) == 2
    case.do("RecordPartsArrived", 3)
    case.do("RequestParts", 4, parts=["valve"], stock="elsewhere")
    assert case.promise("parts_shipped-2").due == hours(12)


@pytest.mark.parametrize(
    ("at", "until"),
    [
        (0.5, date(2029, 3, 2)),
        (15.5, date(2029, 3, 2)),
        (16, date(2029, 3, 3)),
        (24 * 727, date(2031, 2, 27)),
    ],
)
def test_AFT_1_a_replaced_part_has_three_years_of_warranty_from_that_local_day(
    at: float, until: date
) -> None:
    case = on_site(ESTATE, at=0.3, category="heating")
    case.do("CompleteRepair", at, work=["pump"], warranty_parts=["pump"])
    completed = next(e for e in case.events if type(e).__name__ == "RepairCompleted")
    assert completed.model_dump()["warranty_until"] == until


def test_AFT_1_a_warranty_from_a_leap_day_ends_on_the_last_of_february() -> None:
    case = on_site(ESTATE, at=0.3, category="heating")
    leap = 24 * 728  # 2028-02-28, 08:00; 24 h on is the 29th
    case.do("CompleteRepair", leap + 24, work=["pump"], warranty_parts=["pump"])
    completed = next(e for e in case.events if type(e).__name__ == "RepairCompleted")
    assert completed.model_dump()["warranty_until"] == date(2031, 2, 28)


def test_WAT_1_8_an_ordinary_ticket_runs_on_the_working_calendar() -> None:
    case = reported(WATER, category="no-water")
    # Monday 08:00, three days of eight working hours from half past eight with lunch closed.
    assert case.promise("repair").due == hours(24 * 2 + 9.5)
    assert case.promise("repair").rungs[0] == hours(24 + 5.5)
