"""Satisfaction as people see it: the months asked for, the last ranking, cards and removals."""

import pytest

from gateway.satisfaction import cards, month_of, months_between, ranking, year_up_to
from gateway.timeline import Timeline
from gateway.words.satisfaction import percent
from schemas.envelope import Json
from tests.gateway.shown import GAS, HOUR, NINE, command, drawn, timeline_of


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


def test_without_a_register_there_is_no_ranking_and_no_card() -> None:
    assert ranking(None) is None
    assert list(cards(None)) == []


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
