"""Satisfaction as people see it: the months asked for, the last ranking, cards and removals."""

import pytest
from rich.console import Console, Group

from gateway.commands import Invalid, body, find
from gateway.satisfaction import (
    MonthComplaints,
    Satisfaction,
    cards,
    due_checks,
    month_of,
    months_between,
    ranking,
    year_up_to,
)
from gateway.terminal.satisfaction import drawn_figures
from gateway.timeline import Timeline
from gateway.words.satisfaction import percent
from schemas.envelope import Json
from schemas.satisfaction import ComplaintCounts
from tests.gateway.shown import GAS, HOUR, NINE, command, drawn, timeline_of
from tests.lifecycles.satisfaction_cases import SEED, counts


def tally(department: str, satisfied: int) -> Json:
    return {"department": department, "asked": 25, "answered": 20, "satisfied": satisfied}


def ranked(year: int, hours: float, lowest: str, best: str) -> Json:
    tallies = [tally(lowest, 11), tally(best, 19), {**tally("tiny", 1), "answered": 1, "asked": 1}]
    system = {"subject": "standpipe", "role": "system", "proof": "system"}
    return command("RankYear", hours, year=year, tallies=tallies) | {"actor": system}


def register(commands: list[Json], hours: float) -> Timeline:
    return timeline_of("satisfaction-register", GAS, commands, hours)


def test_the_last_ranking_and_the_yellow_card_of_the_lowest_are_shown_with_its_deadline() -> None:
    shown = register([ranked(2025, 0, "field-north", "field-south")], 24)
    last = ranking(shown)
    assert last is not None
    assert [m.department for m in last.ranking] == ["field-south", "field-north"]
    assert [m.department for m in last.unranked] == ["tiny"]
    (card,) = cards(shown)
    assert (card.department, card.year) == ("field-north", 2025)
    assert card.due == NINE + 90 * 24 * HOUR
    assert card.text == "due 31 May 09:00, 89 d left"
    told = [(e.text, e.rule) for e in shown.events if e.type in ("YearRanked", "YellowCardGiven")]
    assert told == [
        (
            "2025 ranked: field-south 95.00 %, field-north 55.00 %; too few answers: tiny",
            "GAS-3.4",
        ),
        ("yellow card for field-north, lowest of 2025", "GAS-3.4"),
    ]


def test_lowest_twice_running_asks_whether_the_head_loses_the_post() -> None:
    commands = [ranked(2024, 0, "billing", "counter"), ranked(2025, 1, "billing", "counter")]
    shown = register(commands, 2)
    (removal,) = [a for a in shown.approvals if a.state == "requested"]
    assert removal.about == "the removal of a head of department"
    assert any("billing" in fact for fact in removal.facts_text)
    assert removal.roles == ("division_head",)
    assert max(len(line) for line in drawn(shown).splitlines()) <= 80


def reported(month: str, hours: float, *complaints: Json) -> Json:
    told = {"month": month, "tallies": [], "complaints": list(complaints), "seed": SEED}
    system = {"subject": "standpipe", "role": "system", "proof": "system"}
    return command("ReportMonth", hours, **told) | {"actor": system}


def checked(hours: float, department: str, findings: tuple[str, ...] = ()) -> Json:
    own = {"kind": "self", "period": "2026-02", "evidence": "slip:1"}
    return command("RecordCheck", hours, department=department, findings=findings, **own)


def test_checks_that_are_due_are_shown_and_vanish_when_they_are_on_record() -> None:
    commands = [
        reported("2026-02", 24),
        checked(25, "billing", findings=("late_slips", "no_receipt")),
        checked(25, "counter"),
    ]
    shown = register(commands, 26)
    due = list(due_checks(shown))
    own = [c.department for c in due if c.kind == "self"]
    assert own == sorted({*own})
    assert len(own) == 8
    assert "billing" not in own
    (unannounced,) = [c for c in due if c.kind == "company"]
    assert (unannounced.period, unannounced.due) == ("2026-02", NINE - 33 * HOUR + 30 * 24 * HOUR)
    told = [
        (e.text, e.rule)
        for e in shown.events
        if e.type in ("CheckDrawn", "CompanyCheckDue", "CheckRecorded")
    ]
    department = unannounced.department
    assert told == [
        (
            f"{department} drawn to be checked unannounced, one of 10 departments for 2026-02"
            " (seed 01234567…)",
            "GAS-3.1",
        ),
        (f"the company is to check {department} for 2026-02", "GAS-3.1"),
        ("billing checked itself for 2026-02: late slips, no receipt (slip:1)", "GAS-3.1"),
        ("counter checked itself for 2026-02: nothing wanting (slip:1)", "GAS-3.1"),
    ]
    assert shown.events[3].text == "billing is to check itself for 2026-02"
    assert {c.unless for c in shown.next} == {
        "the department checks itself before",
        "the company checks the department before",
    }
    assert max(len(line) for line in drawn(shown).splitlines()) <= 80


def test_a_months_complaints_are_told_in_one_line_and_shown_as_a_table() -> None:
    some = counts("late", "counter", registered=3, in_time=1, late=1, open=1, upheld=2)
    some |= {"appealed": 1, "overturned": 1}
    more = counts("bill", None, registered=1, open=1)
    shown = register([reported("2025-12", 24, some, more)], 25)
    (collated,) = [e for e in shown.events if e.type == "ComplaintsCollated"]
    assert collated.rule == "WIN-1.7"
    assert collated.text == (
        "complaints of 2025-12: 4 registered, 1 answered in time, 1 answered late, 2 still open,"
        " 1 appealed, 1 overturned"
    )
    found = satisfaction(shown, more, some)
    text = on_terminal(found, shown)
    assert max(len(line) for line in text.splitlines()) <= 80
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "2025-12 bill – 1 1" in rows
    assert "late counter 3 2, 1 late 1 2, 0, 0 1, 1 won" in rows


def satisfaction(shown: Timeline, *complaints: Json) -> Satisfaction:
    every = tuple(ComplaintCounts.model_validate(c) for c in complaints)
    return Satisfaction(
        since="2025-12",
        until="2026-03",
        time_zone="Asia/Shanghai",
        target=90,
        months=(),
        complaints=(MonthComplaints(month="2025-12", complaints=every),) if every else (),
        ranking=None,
        cards=(),
        checks=tuple(due_checks(shown)),
        removals=(),
    )


def on_terminal(found: Satisfaction, shown: Timeline) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(Group(*drawn_figures(found, shown)))
    return capture.get()


def test_the_terminal_groups_checks_that_are_due_and_says_how_to_record_one() -> None:
    shown = register([reported("2026-02", 24)], 25)
    text = " ".join(on_terminal(satisfaction(shown), shown).split())
    assert "Departments check themselves for 2026-02 (GAS-3.1), due 16 Mar" in text
    assert text.count("GAS-3.1") == 2
    words = "RecordCheck --department billing --kind self --period 2026-02 --evidence REFERENCE"
    assert words in text
    name, model = find("satisfaction", "record-check")
    given = {"department": "billing", "kind": "self", "period": "2026-02", "evidence": "slip:1"}
    assert body(model, name, given)["period"] == "2026-02"
    with pytest.raises(Invalid) as wrong:
        body(model, name, {**given, "kind": "own", "period": "2026"})
    assert [reason.partition(":")[0] for reason in wrong.value.reasons] == ["--kind", "--period"]


def test_without_a_register_there_is_no_ranking_and_no_card() -> None:
    assert ranking(None) is None
    assert list(cards(None)) == []
    assert list(due_checks(None)) == []


@pytest.mark.parametrize(
    ("since", "until", "months"),
    [("2026-03", "2026-03", 1), ("2025-12", "2026-01", 2), ("2026-02", "2026-01", 0)],
)
def test_months_are_counted_with_both_ends(since: str, until: str, months: int) -> None:
    assert months_between(since, until) == months


@pytest.mark.parametrize(("until", "since"), [("2026-12", "2026-01"), ("2026-03", "2025-04")])
def test_left_out_the_first_month_is_a_year_back(until: str, since: str) -> None:
    assert year_up_to(until) == since
    assert months_between(since, until) == 12


def test_the_present_month_is_that_of_the_organisations_clock() -> None:
    last_hour_of_march_in_greenwich = NINE.replace(month=3, day=31, hour=23)
    assert month_of(GAS.policy.calendar, last_hour_of_march_in_greenwich) == "2026-04"


def test_rates_are_written_with_two_places_and_a_dash_where_nobody_answered() -> None:
    assert percent(9025) == "90.25 %"
    assert percent(None) == "–"
    assert percent(0) == "0.00 %"
