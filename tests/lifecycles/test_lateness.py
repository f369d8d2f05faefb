"""However late the clock is noticed, the same things have happened at the same times."""

from collections.abc import Callable
from typing import Any

import pytest

from lifecycles.decisions import Rejected
from lifecycles.lifecycle import plan
from schemas.base import Event
from schemas.repair import RepairState
from tests.lifecycles.repair_cases import ABSENT, CONSENT, GAS, REPAIR, REPORT, WATER, Case, hours

TRIAGE: dict[str, Any] = {"category": "no-gas", "severity": "common"}
LONG = 24 * 90


def untouched() -> Case:
    case = Case(GAS)
    case.do("ReportRepair", 0, **REPORT)
    return case


def dispatched() -> Case:
    case = untouched()
    case.do("TriageRepair", 0.1, **TRIAGE)
    case.do("DispatchCrew", 0.2, crew="crew-1")
    return case


def shut_out_twice() -> Case:
    case = dispatched()
    case.do("RecordNoAccess", 1, **ABSENT)
    case.do("RecordNoAccess", 2, **ABSENT)
    return case


def shut_out_once() -> Case:
    case = dispatched()
    case.do("RecordNoAccess", 1, **ABSENT)
    return case


def paused() -> Case:
    case = dispatched()
    case.do("AcceptJob", 0.3, crew="crew-1")
    case.do("PauseWork", 1, reason="awaiting_parts", evidence="order/1")
    return case


def with_an_appointment() -> Case:
    case = dispatched()
    start, end = hours(50).isoformat(), hours(52).isoformat()
    case.do("BookAppointment", 1, start=start, end=end, consent=CONSENT)
    return case


def on_working_time() -> Case:
    case = Case(WATER)
    case.do("ReportRepair", 0, **{**REPORT, "category": "no-water"})
    return case


@pytest.mark.parametrize(
    "start",
    [
        untouched,
        dispatched,
        shut_out_once,
        shut_out_twice,
        paused,
        with_an_appointment,
        on_working_time,
    ],
)
def test_noticing_every_deadline_late_and_at_once_gives_the_events_of_a_punctual_clock(
    start: Callable[[], Case],
) -> None:
    begun = start()
    at_once = plan(REPAIR, begun.state, begun.version, [], hours(LONG))
    punctual, events, decisions = begun.state, list[Event](), 0
    version = begun.version
    while (due := REPAIR.next_deadline(punctual)) is not None and due <= hours(LONG):
        made = plan(REPAIR, punctual, version, [], due)
        assert made.steps, "the clock rang and nothing happened"
        punctual, version, decisions = made.state, made.version, decisions + len(made.steps)
        events += [event for step in made.steps for event in step.events]
    late = [event for step in at_once.steps for event in step.events]
    assert late == events
    assert isinstance(at_once.state, RepairState)
    assert at_once.state == punctual
    assert late
    assert len(at_once.steps) < decisions or decisions == 1


def test_nobody_may_send_a_command_under_an_id_of_the_clock() -> None:
    sent = {
        "id": "deadline/3/2026-03-02T08:00:00+00:00",
        "actor": {"subject": "clerk-1", "role": "clerk", "proof": "token"},
        "body": {"type": "TakeCase"},
    }
    with pytest.raises(Rejected, match="are the clock's; choose another"):
        REPAIR.asked(sent)
