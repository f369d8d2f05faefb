"""Between cases: doubles, network faults, the reports that they cause. Letters go by hand."""

from typing import Any

import pytest

from lifecycles.decisions import Rejected
from lifecycles.repair_stages import ACTIVE
from schemas.repair import Stage
from tests.lifecycles.repair_cases import (
    REPORT,
    SAMPLES,
    Case,
    accepted,
    fault,
    fixed,
    hours,
    linked,
    merged,
    on_site,
    reported,
)

HAPPY: dict[str, Any] = {"consent": True, "result": "satisfied"}


def opened(id: str, party: str, at: float, category: str = "no-gas") -> Case:
    """A report of its own time and customer."""
    case = Case(id=id)
    case.do("ReportRepair", at, **{**REPORT, "party": party, "category": category})
    return case


def carry(sender: Case, to: Case, at: float) -> tuple[list[str], list[str]]:
    """A case's oldest request to the other and the answer back: what each of them makes of it."""
    request = sender.state.requests[0]
    assert request.case_id == to.state.case_id
    asked = dict(request.command)
    try:
        caused = to.do(asked.pop("type"), at, **asked)
    except Rejected as refused:
        return [], sender.answer(request, at, *refused.reasons)
    return caused, sender.answer(request, at)


def join(sender: Case, to: Case, at: float = 1) -> None:
    """Merge one case into the other, or link it to the fault."""
    if to.state.network:
        sender.do("LinkToFault", at, fault=to.state.case_id)
    else:
        sender.do("MergeInto", at, case=to.state.case_id)
    carry(sender, to, at)


# Doubles


def test_a_double_goes_on_in_the_other_case_which_keeps_the_earliest_clock_and_calls_both() -> None:
    first, second = accepted(), opened("repair-2", "party-2", at=0.5)
    assert second.promise("repair").due == hours(24.5)
    assert first.do("MergeInto", 1, case="repair-2") == ["MergeRequested"]
    assert carry(first, second, 1) == (
        [
            "ReportAdopted",
            "CommitmentRestored attend",
            "CommitmentRestored repair",
        ],
        [
            "RequestAnswered",
            "RepairMerged",
            "CommitmentCancelled attend",
            "CommitmentCancelled repair",
        ],
    )
    assert first.state.stage == Stage.MERGED
    assert second.promise("attend").due == hours(6)
    assert second.promise("repair").due == hours(24)
    assert [f.party for f in second.state.follow_ups] == ["party-2", "party-1"]
    assert first.wait(500) == []


def test_a_later_double_changes_no_clock() -> None:
    first, second = reported(), opened("repair-2", "party-2", at=0.5)
    second.do("MergeInto", 1, case="repair-1")
    assert carry(second, first, 1)[0] == ["ReportAdopted"]
    assert first.promise("repair").due == hours(24)


def test_a_clock_that_is_moved_back_may_be_broken_at_once_and_before_the_case_was_reported() -> (
    None
):
    first, second = reported(), opened("repair-2", "party-2", at=30)
    first.do("MergeInto", 31, case="repair-2")
    carry(first, second, 31)
    second.wait(31)
    assert second.promise("attend").state == "broken"
    assert second.promise("repair").state == "broken"
    assert second.promise("repair").due == hours(24)


def test_the_earliest_clock_is_kept_through_a_chain_of_doubles() -> None:
    first, second, third = (
        opened(f"repair-{n}", f"party-{n}", at) for n, at in ((1, 0), (2, 1), (3, 2))
    )
    join(first, second, 3)
    second.do("MergeInto", 3, case="repair-3")
    carry(second, third, 3)
    assert third.promise("repair").due == hours(24)
    assert {f.party for f in third.state.follow_ups} == {"party-1", "party-2", "party-3"}


def test_split_restores_the_case_to_its_stage_and_its_original_clock() -> None:
    first, second = accepted(), opened("repair-2", "party-2", at=0.5)
    join(first, second)
    assert first.do("SplitOut", 5, reason="another") == [
        "ReportSplit",
        "CommitmentRestored attend",
        "CommitmentRestored repair",
    ]
    assert first.state.stage == Stage.ACCEPTED
    assert first.state.owners[-1].owner.kind == "unit"
    assert first.promise("attend").due == hours(6)
    assert carry(first, second, 5) == (["ReportReleased"], ["RequestAnswered"])
    assert [f.party for f in second.state.follow_ups] == ["party-2"]
    assert second.state.adopted == ()
    first.wait(6)
    assert first.promise("attend").state == "broken"


def test_a_customer_of_two_doubles_is_called_as_long_as_one_of_them_stays() -> None:
    host = opened("repair-3", "party-3", at=0)
    doubles = [opened(f"repair-{n}", "party-1", at=0.1) for n in (1, 2)]
    for double in doubles:
        join(double, host)
    for double, called in zip(doubles, (["party-3", "party-1"], ["party-3"]), strict=True):
        double.do("SplitOut", 2, reason="another")
        carry(double, host, 2)
        assert [f.party for f in host.state.follow_ups] == called


def test_a_customer_who_reported_the_host_too_is_called_after_the_double_left() -> None:
    host, double = opened("repair-2", "party-1", at=0), opened("repair-1", "party-1", at=0.1)
    join(double, host)
    double.do("SplitOut", 2, reason="another")
    carry(double, host, 2)
    assert [f.party for f in host.state.follow_ups] == ["party-1"]


def test_a_host_that_only_waits_for_the_double_s_customer_is_closed_when_the_double_leaves() -> (
    None
):
    host, double = on_site(), opened("repair-2", "party-2", at=0.5)
    join(double, host, 1)
    host.do("CompleteRepair", 2, work=["valve"])
    host.do("RecordCallback", 3, party="party-1", **HAPPY)
    assert host.state.stage == Stage.CALLBACK_DUE
    double.do("SplitOut", 4, reason="another")
    assert carry(double, host, 4)[0] == [
        "ReportReleased",
        "CommitmentKept follow_up",
        "RepairClosed",
    ]


# Who will not take it in


def test_two_cases_that_ask_each_other_both_stay_alive() -> None:
    first, second = accepted(), accepted(id="repair-2")
    first.do("MergeInto", 1, case="repair-2")
    second.do("MergeInto", 1, case="repair-1")
    before = first.state.commitments, second.state.commitments
    refused = (["RequestAnswered", "AdoptionRefused"], "This case is itself about to join another")
    for sender, to in ((first, second), (second, first)):
        asked = dict(sender.state.requests[0].command)
        reasons = to.refusal(asked.pop("type"), 2, **asked)
        assert reasons[0].startswith(refused[1])
    for case in (first, second):
        assert case.answer(case.state.requests[0], 2, "It is about to join another.") == refused[0]
        assert case.state.stage == Stage.ACCEPTED
        assert case.state.requests == ()
    assert (first.state.commitments, second.state.commitments) == before


@pytest.mark.parametrize("stage", ACTIVE)
def test_a_refusal_leaves_the_case_as_it_was(stage: Stage) -> None:
    case = SAMPLES[stage]()
    case.wait(5)
    before = case.state
    case.do("MergeInto", 5, case="repair-3")
    request = case.state.requests[0]
    assert case.answer(request, 5, "It is closed.") == ["RequestAnswered", "AdoptionRefused"]
    assert case.state.model_copy(update={"asked": 0}) == before
    assert case.do("MergeInto", 7, case="repair-4") == ["MergeRequested"]


@pytest.mark.parametrize("stage", [s for s in Stage if s not in ACTIVE])
def test_a_case_that_is_repaired_or_ended_or_unknown_takes_nobody_in(stage: Stage) -> None:
    host, double = SAMPLES[stage](), opened("repair-2", "party-2", at=4)
    double.do("MergeInto", 5, case="repair-1")
    host.wait(5)
    before = host.state
    assert carry(double, host, 5) == ([], ["RequestAnswered", "AdoptionRefused"])
    assert host.state == before
    assert double.state.stage == Stage.REPORTED


def test_a_case_that_ended_before_the_answer_is_let_go_again() -> None:
    first, second = accepted(), opened("repair-2", "party-2", at=0.5)
    first.do("MergeInto", 1, case="repair-2")
    first.do("CancelRepair", 1.1, reason="mistake")
    assert carry(first, second, 1.2)[1] == ["RequestAnswered", "ReleaseRequested"]
    assert carry(first, second, 1.3) == (["ReportReleased"], ["RequestAnswered"])
    assert first.state.stage == Stage.CANCELLED
    assert [f.party for f in second.state.follow_ups] == ["party-2"]


def test_an_answer_that_comes_twice_counts_once() -> None:
    case = accepted()
    case.do("MergeInto", 1, case="repair-2")
    request = case.state.requests[0]
    case.answer(request, 2)
    assert case.answer(request, 3, "It is closed.") == []
    assert case.state.stage == Stage.MERGED


def test_a_request_is_asked_under_an_id_of_its_own_and_adopted_once() -> None:
    first, second = accepted(), opened("repair-2", "party-2", at=0.5)
    first.do("MergeInto", 1, case="repair-2")
    asked = dict(first.state.requests[0].command)
    assert first.state.requests[0].id == "repair-1/asks/1"
    assert second.do(asked.pop("type"), 1, **asked)
    again = {k: v for k, v in asked.items() if k != "type"}
    assert second.do("AdoptReport", 2, **again) == []


def test_nothing_new_is_asked_of_a_case_that_has_yet_to_answer() -> None:
    first, second = accepted(), opened("repair-2", "party-2", at=0.5)
    join(first, second)
    first.do("SplitOut", 2, reason="another")
    assert first.refusal("MergeInto", 3, case="repair-2") == [
        "That case has yet to answer an earlier request; wait for that answer."
    ]
    carry(first, second, 3)
    assert first.do("MergeInto", 4, case="repair-2") == ["MergeRequested"]


def test_a_case_asks_one_other_at_a_time() -> None:
    case = accepted()
    case.do("MergeInto", 1, case="repair-2")
    asked: dict[str, dict[str, Any]] = {
        "MergeInto": {"case": "repair-3"},
        "LinkToFault": {"fault": "repair-3"},
    }
    for name, body in asked.items():
        assert case.refusal(name, 2, **body) == [
            "It has asked another case already; wait for that answer."
        ]


# Network faults


def test_a_report_linked_to_a_fault_shares_its_clock_and_its_end() -> None:
    main = fault()
    report = accepted()
    assert report.do("LinkToFault", 1, fault="repair-2") == ["LinkRequested"]
    assert carry(report, main, 1) == (
        ["ReportAdopted"],
        ["RequestAnswered", "FaultLinked", "CommitmentCancelled attend",
         "CommitmentCancelled repair"],
    )  # fmt: skip
    assert report.state.stage == Stage.ACCEPTED
    assert report.wait(100) == []
    assert main.state.follow_ups == (), "the report calls its own customer"


def test_an_earlier_report_starts_the_faults_clock() -> None:
    report = accepted()
    main = Case(id="repair-2")
    main.do("ReportRepair", 2, channel="patrol", category="pipe-leak", district="north")
    join(report, main, 3)
    assert main.promise("clear").due == hours(4)


def test_a_fault_that_is_cleared_tells_every_linked_report_which_calls_its_own_customer() -> None:
    main = fault()
    reports = [opened(f"repair-{n}", f"party-{n}", at=0.1 * n) for n in (3, 4)]
    for report in reports:
        join(report, main)
    assert main.do("CompleteRepair", 3, work=["weld"]) == [
        "RepairCompleted",
        "CommitmentKept clear",
        "LinkedCaseTold",
        "LinkedCaseTold",
        "RepairClosed",
    ]
    assert [r.case_id for r in main.state.requests] == ["repair-3", "repair-4"]
    for report in reports:
        caused, _ = carry(main, report, 3.5)
        assert caused == ["FaultCleared", "CallbackDue", "CommitmentStarted follow_up"]
        assert report.state.stage == Stage.CALLBACK_DUE
        assert report.promise("follow_up").due == hours(3 + 48), "counted from the clearing"
        assert (
            report.do("RecordCallback", 4, party=report.state.follow_ups[0].party, **HAPPY)[-1]
            == "RepairClosed"
        )
    assert main.state.requests == ()


def test_a_fault_that_is_inspected_tells_its_reports_only_when_it_is_found_good() -> None:
    main = fault(severity="hazard")
    report = reported()
    join(report, main)
    assert "LinkedCaseTold" not in main.do("CompleteRepair", 2, work=["weld"])
    assert "LinkedCaseTold" in main.do("PassInspection", 3, evidence="photo/1")
    carry(main, report, 3)
    assert report.state.fixed_at == hours(2)


def test_a_report_that_is_split_out_is_on_its_own_original_clock_and_is_not_told() -> None:
    main, report = fault(), accepted()
    join(report, main)
    assert report.do("SplitOut", 2, reason="another") == [
        "ReportSplit",
        "CommitmentRestored attend",
        "CommitmentRestored repair",
    ]
    assert report.state.owners[-1].owner.kind == "person", "its owner keeps it"
    assert report.promise("attend").due == hours(6)
    carry(report, main, 2)
    assert "LinkedCaseTold" not in main.do("CompleteRepair", 3, work=["weld"])


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("CompleteRepair", {"work": ["valve"]}),
        ("CancelRepair", {"reason": "mistake"}),
        ("TransferOut", {"to": "water", "reference": "letter/1"}),
        ("DeclareNotOurs", {"reason": "boiler", "channel": "maker"}),
        ("DeclareUnableToFix", {"reason": "no-part", "channel": "maker"}),
        ("ReportNoFault", {"evidence": "photo/1"}),
    ],
)
def test_a_report_that_ends_by_itself_waits_for_its_fault_no_more_nor_that_for_it(
    name: str, body: Any
) -> None:
    main, report = fault(), on_site()
    join(report, main)
    assert "ReleaseRequested" in report.do(name, 2, **body)
    assert report.state.linked_to is None
    assert carry(report, main, 2)[0] == ["ReportReleased"]
    assert "LinkedCaseTold" not in main.do("CompleteRepair", 3, work=["weld"])


def test_a_linked_report_that_is_solved_on_the_phone_waits_for_its_fault_no_more() -> None:
    main, report = fault(), reported(category="ic-card")
    join(report, main)
    assert "ReleaseRequested" in report.do("SolveByPhone", 2, solution="card-cleaned")


def test_a_report_that_came_back_from_elsewhere_is_its_own_on_its_original_clock() -> None:
    main, report = fault(), on_site()
    join(report, main)
    report.do("TransferOut", 2, to="water", reference="letter/1")
    report.do("RecordTransferReturned", 3, reason="theirs")
    assert report.promise("repair").due == hours(24)
    assert report.do("LinkToFault", 4, fault="repair-9") == ["LinkRequested"]


def test_word_of_a_cleared_fault_that_overtakes_the_answer_is_the_answer() -> None:
    report = accepted()
    report.do("LinkToFault", 1, fault="repair-2")
    request = report.state.requests[0]
    assert report.do("RecordFaultCleared", 4, fault="repair-2", cleared_at=hours(3))[:2] == [
        "RequestAnswered",
        "FaultLinked",
    ]
    assert report.state.stage == Stage.CALLBACK_DUE
    assert report.answer(request, 5) == []
    report.do("RecordCallback", 6, party="party-1", consent=True, result="not_satisfied")
    assert report.promise("repair").due == hours(24)


def test_word_of_a_cleared_fault_that_comes_twice_counts_once() -> None:
    report = linked()
    report.do("RecordFaultCleared", 4, fault="repair-2", cleared_at=hours(3))
    assert report.do("RecordFaultCleared", 5, fault="repair-2", cleared_at=hours(5)) == []
    assert report.state.fixed_at == hours(3)


def test_a_fault_that_is_reopened_tells_nobody_twice() -> None:
    main, report = fault(), reported()
    join(report, main)
    main.do("CompleteRepair", 3, work=["weld"])
    main.do("ReopenCase", 5, reason="again")
    main.do("CompleteRepair", 6, work=["weld"])
    assert main.happened().count("LinkedCaseTold") == 1


def test_a_report_whose_customer_is_unhappy_is_its_own_again_on_its_original_clock() -> None:
    report = linked()
    report.do("RecordFaultCleared", 4, fault="repair-2", cleared_at=hours(3))
    report.do("RecordCallback", 5, party="party-1", consent=True, result="not_satisfied")
    assert report.state.linked_to is None
    assert report.promise("repair").due == hours(24)
    assert report.promise("repair").state == "running"
    assert report.do("TriageRepair", 6, category="meter", severity="common") == ["RepairTriaged"]


def test_what_a_linked_report_was_promised_on_the_way_ends_with_the_fault() -> None:
    report = linked()
    report.do("PostGuard", 0.5, guard="guard-1")
    report.do("RecordArrival", 1, crew="crew-1")
    report.do("PauseWork", 1, reason="customer_request", evidence="call/1")
    report.do("RecordFaultCleared", 4, fault="repair-2", cleared_at=hours(3))
    assert not [c for c in report.state.commitments if c.outstanding and c.name != "follow_up"]
    assert report.state.guard is None


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("CancelRepair", {"reason": "mistake"}),
        ("TransferOut", {"to": "water", "reference": "letter/1"}),
        ("DeclareNotOurs", {"reason": "x", "channel": "x"}),
        ("MergeInto", {"case": "repair-9"}),
        ("TriageRepair", {"category": "no-gas", "severity": "common"}),
    ],
)
def test_a_fault_that_reports_wait_for_does_not_vanish(name: str, body: Any) -> None:
    main = fault()
    join(reported(), main)
    (reason,) = main.refusal(name, 2, **body)
    assert "split them out" in reason


def test_a_linked_report_is_neither_merged_nor_takes_others_in() -> None:
    assert linked().refusal("MergeInto", 1, case="repair-3") == [
        "It is linked to a network fault: split it out first."
    ]
    (reason,) = linked().refusal(
        "AdoptReport", 1, case="repair-3", how="merge", reported_at=hours(0)
    )
    assert reason.startswith("This case is itself about to join another")
    assert fault().refusal("LinkToFault", 1, fault="repair-9") == [
        "This is a network fault itself: merge it instead."
    ]


def test_a_network_fault_may_be_completed_by_whoever_clears_it_from_any_stage() -> None:
    assert fault().do("CompleteRepair", 1, work=["weld"])[-1] == "RepairClosed"
    (reason,) = accepted().refusal("CompleteRepair", 1, work=["valve"])
    assert reason.startswith("CompleteRepair is not possible at stage Accepted;")


def test_a_merged_case_can_be_asked_only_to_split() -> None:
    assert merged().refusal("ReopenCase", 5, reason="again")[0].endswith("possible now: SplitOut.")
    assert fixed().refusal("SplitOut", 5, reason="another")
