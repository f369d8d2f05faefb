"""Who is told what: the words to the outside that a decision causes."""

from collections.abc import Callable
from typing import Any

import pytest

from lifecycles.lifecycle import plan
from tests.lifecycles.repair_cases import (
    ABSENT,
    APP,
    COMMANDS,
    CONSENT,
    ESTATE,
    REPAIR,
    REPORT,
    SAMPLES,
    WATER,
    Case,
    accepted,
    closed,
    command,
    dispatched,
    fault,
    fixed,
    hours,
    linked,
    on_site,
    reported,
    triaged,
    unhappy,
    working,
)


def words(case: Case, name: str, at: float, **body: Any) -> list[str]:
    """What a command has said, as "to recipient: template"."""
    made = plan(REPAIR, case.state, 0, [command(name, at, **body)], hours(at))
    assert made.refused == []
    (step,) = [step for step in made.steps if step.command.id == "c"]
    return [f"{m.to} {m.recipient}: {m.template}" for _, m in step.messages]


@pytest.mark.parametrize(
    ("start", "name", "body", "said"),
    [
        (Case, "ReportRepair", REPORT,
         ["party party-1: report_received", "unit gas-control-room: new_repair"]),
        (lambda: Case(WATER), "ReportRepair", {**REPORT, "category": "valve-cover"},
         ["party party-1: report_received", "unit water-dispatch: new_repair",
          "unit water-dispatch: post_guard"]),
        (triaged, "DispatchCrew", {"crew": "crew-1"}, ["crew crew-1: dispatch_slip"]),
        (lambda: triaged(ESTATE, category="lift"), "DispatchCrew", {"crew": "crew-1"},
         ["crew crew-1: dispatch_slip", "unit estate-office: dispatch_slip",
          "party party-1: crew_on_its_way"]),
        (dispatched, "DeclineJob", {"crew": "crew-1", "reason": "busy"},
         ["unit gas-control-room: job_declined"]),
        (accepted, "BookAppointment", {"start": hours(9), "end": hours(10), "consent": CONSENT},
         ["party party-1: appointment", "crew crew-1: appointment"]),
        (accepted, "RecordNoAccess", ABSENT,
         ["party party-1: card_left", "party party-1: work_paused"]),
        (working, "PauseWork", {"reason": "awaiting_parts", "evidence": "photo/1"},
         ["party party-1: work_paused"]),
        (on_site, "AnnounceInterruption", COMMANDS["AnnounceInterruption"],
         ["party party-1: interruption"]),
        (working, "CompleteRepair", {"work": ["valve"]}, ["unit gas-control-room: callback_due"]),
        (fixed, "RecordCallback", {"party": "party-1", "consent": True, "result": "satisfied"},
         ["party party-1: done"]),
        (closed, "ReopenCase", {"reason": "again"},
         ["unit gas-control-room: reopened", "party party-1: reopened"]),
        (accepted, "DeclareNotOurs", {"reason": "boiler", "channel": "maker"},
         ["party party-1: not_ours", "role supervisor: not_ours"]),
        (on_site, "DeclareUnableToFix", {"reason": "no-part", "channel": "maker"},
         ["party party-1: unable_to_fix", "role supervisor: unable_to_fix"]),
        (accepted, "TransferOut", {"to": "water", "reference": "letter/1"},
         ["party party-1: transferred"]),
        (on_site, "ReportNoFault", {"evidence": "photo/1"}, ["party party-1: no_fault_found"]),
        (accepted, "CancelRepair", {"reason": "mistake"}, ["party party-1: cancelled"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_who_is_told_what(start: Callable[[], Case], name: str, body: Any, said: list[str]) -> None:
    assert words(start(), name, 5, **body) == said


def test_ADM_2_the_customer_learns_by_when_it_is_to_be_done() -> None:
    made = plan(REPAIR, Case().state, 0, [command("ReportRepair", 0, **REPORT)], hours(0))
    received = made.steps[0].messages[0][1]
    assert received.params["due"] == hours(24).isoformat()


def test_every_rung_tells_its_role_on_its_rule() -> None:
    case = reported(channel="app", actor=APP)
    made = plan(REPAIR, case.state, case.version, [], hours(0.2))
    (message,) = [m for step in made.steps for _, m in step.messages]
    assert (message.to, message.recipient, message.params["rule"]) == (
        "role",
        "crew_leader",
        "KUN-5.5.1",
    )


def test_a_missed_appointment_is_told_to_the_customer() -> None:
    case = accepted()
    case.do("BookAppointment", 1, start=hours(3), end=hours(4), consent=CONSENT)
    made = plan(REPAIR, case.state, case.version, [], hours(4))
    assert "appointment_missed" in [m.template for step in made.steps for _, m in step.messages]


def test_a_withdrawn_breach_is_told_to_the_supervisor() -> None:
    case = accepted()
    case.wait(7)
    made = plan(REPAIR, case.state, 0, [command("RecordArrival", 5, crew="crew-1")], hours(8))
    templates = [(m.recipient, m.template) for step in made.steps for _, m in step.messages]
    assert ("supervisor", "breach_withdrawn") in templates


def test_ADM_6_customers_learn_which_case_theirs_joined() -> None:
    joins: list[tuple[str, dict[str, Any], str]] = [
        ("MergeInto", {"case": "repair-2"}, "merged"),
        ("LinkToFault", {"fault": "repair-2"}, "linked"),
    ]
    for name, body, template in joins:
        case = accepted()
        case.do(name, 1, **body)
        answer = {"request": case.state.requests[0].id, "accepted": True}
        assert words(case, "RecordAnswer", 2, **answer) == [f"party party-1: {template}"]


def test_two_unhappy_calls_reach_the_supervisor() -> None:
    case = unhappy()
    case.do("DispatchCrew", 5, crew="crew-1")
    case.do("RecordArrival", 6, crew="crew-1")
    case.do("CompleteRepair", 7, work=["valve"])
    call = {"party": "party-1", "consent": True, "result": "not_satisfied"}
    assert "role supervisor: reopened" in words(case, "RecordCallback", 8, **call)


def test_a_case_without_a_customer_tells_none() -> None:
    assert words(fault(), "CompleteRepair", 1, work=["weld"]) == []
    cleared = words(linked(), "RecordFaultCleared", 4, fault="repair-2", cleared_at=hours(3))
    assert cleared == ["unit gas-control-room: callback_due"]


def test_messages_hold_ids_and_codes_only() -> None:
    for start in SAMPLES.values():
        case = start()
        for event in case.events:
            for message in REPAIR.effects(case.state, event):
                assert message.params["case"] == "repair-1"
                assert all(" " not in str(v) for v in message.params.values())
