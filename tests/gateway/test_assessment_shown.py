"""Readers' assessments as people see them: what happened, what is asked, what comes next."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console, Group

from gateway.commands import Invalid, body, find
from gateway.terminal.assessments import drawn_rows, drawn_run, span_of
from gateway.timeline import Timeline
from schemas.assessment import Assessed, Unopened
from schemas.envelope import Json
from schemas.read_models import AssessmentRow
from tests.gateway.shown import HOUR, NINE, command, drawn, timeline_of
from tests.lifecycles.repair_cases import WATER

CASE = "assessment-0123456789abcdef"
CALENDAR = WATER.policy.calendar


def opened(many: int = 21) -> Json:
    told = {
        "reader": "E-7",
        "half_year": "2025-H2",
        "known_until": "2026-01-04T16:00:00Z",
        "accounts": [f"arrears-{n}" for n in range(many)],
    }
    system = {"subject": "standpipe", "role": "system", "proof": "system"}
    return command("OpenAssessment", 0, **told) | {"actor": system}


def asked() -> Json:
    why = {"ground": "meter_fault", "evidence": "photo/1", "accounts": ["arrears-0", "arrears-1"]}
    return command("RequestExclusion", 24, **why)


def decided(before: Timeline, hours: float, who: str, role: str, **fields: str) -> Json:
    approval = before.approvals[-1]
    choice = {"approval": approval.id, "facts_hash": approval.facts_hash, "decision": "approve"}
    return command("DecideApproval", hours, who=who, role=role, **{**choice, **fields})


def assessment(commands: list[Json], hours: float, *, ahead: int = 3) -> Timeline:
    return timeline_of(CASE, WATER, commands, hours, ahead=ahead)


def test_an_assessment_tells_whose_it_is_and_until_when_to_object() -> None:
    shown = assessment([opened()], 1)
    (first,) = shown.events
    assert first.text == (
        "21 accounts of E-7 overdue at the end of 2025-H2; to object until 12 Mar 09:00;"
        " unit water-collection has the case"
    )
    assert first.rule == "WAT-P1"
    head = " ".join(drawn(shown).split())
    assert "assessment (考核) of E-7 for 2025-H2; policy" in head
    assert "21 overdue accounts (WAT-P1), 0 excluded (WAT-P2)" in head
    (coming,) = shown.next
    assert coming.text == "settled: CNY 45.00 for 21 accounts"
    assert (coming.rule, coming.unless) == ("WAT-P1", "an exclusion is asked for before")
    assert shown.possible == ("RequestExclusion", "TakeCase", "HandOverCase")


def test_both_steps_of_an_exclusion_say_who_is_asked_on_which_facts() -> None:
    first = assessment([opened(), asked()], 25)
    assert first.events[1].text == (
        "clerk-1 asks not to count 2 accounts: meter fault (photo/1), request 1"
    )
    (confirmation,) = first.approvals
    assert confirmation.about == "to confirm that accounts are not the reader's fault"
    assert "accounts: arrears-0, arrears-1" in confirmation.facts_text
    assert confirmation.silence_text == "the division head may decide too"
    yes = decided(first, 26, "s-1", "station_head")
    second = assessment([opened(), asked(), yes], 27)
    told = {e.text: e.rule for e in second.events}
    assert told["request 1 is confirmed by s-1; the division is asked"] == "WAT-P2"
    assert second.approvals[-1].about == "not to count accounts against the reader"
    assert set(second.approvals[-1].barred) == {"E-7", "clerk-1", "s-1"}
    also = decided(second, 28, "d-1", "division_head")
    third = assessment([opened(), asked(), yes, also], 1000)
    texts = [e.text for e in third.events]
    assert "2 accounts not counted (request 1)" in texts
    assert texts[-1] == "settled: CNY 38.00 for 19 accounts, 2 excluded"
    assert third.ended
    assert "comes to CNY 38.00" in drawn(third)


def test_a_no_is_marked_as_one_that_is_reported_above() -> None:
    first = assessment([opened(1 + 1), asked()], 25)
    no = decided(first, 26, "s-1", "station_head", decision="reject", reason="visited")
    shown = assessment([opened(2), asked(), no], 27)
    (refused,) = [e for e in shown.events if e.type == "ExclusionRefused"]
    assert refused.text == (
        "request 1: 2 accounts counted after all (visited); reported above (否定报备)"
    )
    assert refused.rule == "ADM-5"
    back = command("WithdrawApproval", 26, approval="confirmation-1", reason="mistake")
    withdrawn = assessment([opened(2), asked(), back], 27)
    assert "request 1 is withdrawn (mistake): 2 accounts counted" in [
        e.text for e in withdrawn.events
    ]


def test_an_assessment_fits_eighty_columns() -> None:
    for shown in (assessment([opened(200), asked()], 500), assessment([opened()], 1)):
        assert max(len(line) for line in drawn(shown).splitlines()) <= 80


def test_the_request_can_be_written_as_options_and_the_opening_is_not_offered() -> None:
    name, model = find("assessment", "request-exclusion")
    words = {"accounts": ["arrears-1", "arrears-2"], "ground": "vacant", "evidence": "photo/1"}
    assert body(model, name, words)["accounts"] == ["arrears-1", "arrears-2"]
    with pytest.raises(Invalid):
        find("assessment", "OpenAssessment")


# The list and the run


def lines(*parts: object) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(Group(*parts))  # pyright: ignore[reportArgumentType]
    return capture.get()


def row(number: int, **fields: object) -> AssessmentRow:
    usual = {"reader": f"E-{number}", "half_year": "2026-H1", "accounts": 21, "excluded": 1}
    comes = {"counted": 20, "amount": 4000, "currency": "CNY", "stage": "Open", "closed_at": None}
    case = {"case_id": f"assessment-{number:016x}"}
    return AssessmentRow.model_validate({**usual, **comes, **case, **fields})


def test_the_list_shows_what_each_comes_to_and_how_to_go_on() -> None:
    closed = row(1, stage="Closed", closed_at=NINE)
    shown = lines(*drawn_rows([closed, row(2)], "2026-H1/assessment-2"))
    assert "CNY 40.00" in shown
    assert "2 assessments. More: add --after 2026-H1/assessment-2" in shown
    assert f"standpipe case show {row(2).case_id}" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "standpipe assessment run --half" in lines(*drawn_rows([], None))


def test_the_run_tells_what_it_did_and_what_to_do_next() -> None:
    done = Assessed(
        half_year="2026-H1",
        ended=NINE,
        known_until=NINE + HOUR,
        accounts=7,
        without_reader=1,
        readers=3,
        opened=1,
        stood=1,
        refused=(Unopened(reader="E-7", reasons=("Too many.",)),),
    )
    text = " ".join(lines(*drawn_run(done)).split())
    assert "opened: 1; stood already: 1; refused: 1" in text
    assert "On nobody's round: 1 accounts" in text
    assert "E-7: Too many." in text
    assert "standpipe assessment list --half 2026-H1" in text
    none = done.model_copy(update={"accounts": 0, "readers": 0, "without_reader": 0})
    assert "--known-on" in lines(*drawn_run(none))


def test_which_half_year_and_what_was_known_are_checked_before_anything_runs() -> None:
    now = datetime(2026, 7, 10, 12, tzinfo=UTC)
    span, known = span_of(CALENDAR, None, None, now)
    assert (span.name, known) == ("2026-H1", None)
    span, known = span_of(CALENDAR, "2025-H2", "2026-07-10", now)
    assert (span.name, known) == ("2025-H2", now)
    assert span_of(CALENDAR, "2026-H1", "2026-07-08", now)[1] == datetime(
        2026, 7, 8, 16, tzinfo=UTC
    )
    for half, day, at, option in (
        ("2026-H2", None, now, "--half: 2026-H2 is not over yet"),
        ("2026-H1", None, now - timedelta(days=7), "--half: 2026-H1 is counted from"),
        ("2026-H1", "2026-06-30", now, "--known-on: a day after"),
        ("2026-H1", "2026-07-11", now, "--known-on: a day after"),
    ):
        with pytest.raises(Invalid) as wrong:
            span_of(CALENDAR, half, day, at)
        assert wrong.value.reasons[0].startswith(option)
    with pytest.raises(Invalid) as wrong:
        span_of(CALENDAR, "2026H1", "July", now)
    assert [r.partition(":")[0] for r in wrong.value.reasons] == ["--half", "--known-on"]
