"""Timelines: what happened, what is owed and to whom it counts, what comes next, unless."""

from datetime import timedelta

import pytest
from rich.console import Console

from gateway.drawing import event_lines
from gateway.standing import Promise, held_words
from gateway.timeline import Timeline
from gateway.words import span
from lifecycles.policies import Pinned
from schemas.envelope import Json
from tests.gateway.shown import GAS, HOUR, NINE, command, drawn, timeline_of


@pytest.fixture(scope="module")
def gas() -> Pinned:
    return GAS


def report(hours: float = 0, **fields: object) -> Json:
    return command(
        "ReportRepair",
        hours,
        **{
            "channel": "phone",
            "category": "no-gas",
            "district": "north",
            "party": "party-1",
            "recorded": ["name", "address", "phone"],
            **fields,
        },
    )


def dispatched(hours: float = 0.1, crew: str = "crew-7") -> list[Json]:
    return [
        command("TriageRepair", hours, category="no-gas", severity="common"),
        command("DispatchCrew", hours, crew=crew),
        command("AcceptJob", hours, crew=crew, who=crew, role="crew"),
    ]


def seen(
    gas: Pinned, commands: list[Json], hours: float, *, promptly: bool = True, ahead: int = 3
) -> Timeline:
    return timeline_of("repair-1", gas, commands, hours, promptly=promptly, ahead=ahead)


def promise(shown: Timeline, name: str) -> Promise:
    return next(c for c in shown.commitments if c.id == name)


def test_an_event_tells_who_when_on_the_local_clock_what_and_which_rule(gas: Pinned) -> None:
    shown = seen(gas, [report(), *dispatched()], 1)
    first, accepted = shown.events[0], shown.events[-1]
    assert (first.actor.subject, first.rule) == ("clerk-1", "KUN-5.5.1")
    assert first.at == NINE
    assert first.local == "2026-03-02T09:00:00+08:00"
    assert first.text == "reported by phone: no-gas, common, district north; clerk-1 has it"
    assert (accepted.actor.subject, accepted.actor.role) == ("crew-7", "crew")
    assert accepted.text == "crew-7 accepts and has the case"
    assert [e.version for e in shown.events] == list(range(1, shown.version + 1))


def test_a_running_promise_shows_what_is_left_and_who_had_the_case_meanwhile(gas: Pinned) -> None:
    attend = promise(seen(gas, [report(), *dispatched(1 / 6)], 2), "attend")
    assert attend.margin_seconds == 4 * 3600
    assert attend.text == "due 2 Mar 15:00, 4 h left"
    assert held_words(attend.held) == "crew-7 1 h 50 min, clerk-1 10 min"
    assert sum(h.seconds for h in attend.held) == 2 * 3600


def test_a_broken_promise_shows_how_late_it_is_and_was(gas: Pinned) -> None:
    commands = [report(), *dispatched()]
    waiting = promise(seen(gas, commands, 9), "attend")
    assert (waiting.state, waiting.margin_seconds) == ("broken", -3 * 3600)
    assert waiting.text == "broken, 3 h late so far"
    arrival = command("RecordArrival", 7, crew="crew-7", who="crew-7", role="crew")
    met = promise(seen(gas, [*commands, arrival], 9), "attend")
    assert (met.state, met.margin_seconds) == ("broken", -3600)
    assert met.text == "broken, met 1 h late"


def test_a_paused_promise_keeps_what_was_left(gas: Pinned) -> None:
    pause = command("PauseWork", 2, reason="awaiting_parts", evidence="slip-1")
    shown = seen(gas, [report(), *dispatched(), pause], 30)
    repair = promise(shown, "repair")
    assert (repair.state, repair.margin_seconds) == ("paused", 22 * 3600)
    assert repair.text == "time stands still since 2 Mar 11:00, 22 h left"
    assert sum(h.seconds for h in repair.held) == 2 * 3600


def test_the_next_steps_of_the_clock_come_with_what_hinders_them(gas: Pinned) -> None:
    shown = seen(gas, [report(), *dispatched()], 5, ahead=2)
    assert [(n.local, n.text, n.rule, n.unless) for n in shown.next] == [
        (
            "2026-03-02T15:00:00+08:00",
            "attend is broken",
            "KUN-2.2.4b",
            "the crew arrives before",
        ),
        (
            "2026-03-02T15:00:00+08:00",
            "attend: station head is told (rung 3)",
            "KUN-2.2.4b",
            "the crew arrives before",
        ),
        (
            "2026-03-02T21:00:00+08:00",
            "attend: division head is told (rung 4)",
            "KUN-2.2.4b",
            "the crew arrives before",
        ),
        (
            "2026-03-02T21:00:00+08:00",
            "repair: crew leader is told (rung 1)",
            "KUN-2.2.4c",
            "it is repaired before",
        ),
    ]


def test_a_rung_that_comes_early_because_nobody_has_the_case_says_so(gas: Pinned) -> None:
    shown = seen(gas, [report(channel="app") | {"actor": SERVICE}], 0.01, ahead=1)
    assert "early because nobody has taken the case" in shown.next[0].text


SERVICE = {"subject": "app", "role": "service", "proof": "token"}


def test_what_comes_next_is_what_the_log_then_holds(gas: Pinned) -> None:
    commands = [report(), *dispatched()]
    foreseen = seen(gas, commands, 1, ahead=100)
    later = seen(gas, commands, 200)
    came = [e.text for e in later.events if e.at > NINE + HOUR]
    assert [n.text for n in foreseen.next] == came


def test_a_visit_without_access_ends_the_case_unless_the_customer_agrees_a_time(
    gas: Pinned,
) -> None:
    visits = [
        command(
            "RecordNoAccess", hour, crew="crew-7", reason="not_at_home", evidence=f"card:{hour}"
        )
        for hour in (1, 25)
    ]
    shown = seen(gas, [report(), *dispatched(), *visits], 26, ahead=1)
    assert shown.next[0].text == "ended without a repair (no_access)"
    assert shown.next[0].unless == "the customer agrees a time before"


def test_an_ended_case_has_nothing_coming_and_tells_what_is_still_possible(gas: Pinned) -> None:
    shown = seen(gas, [report(), command("CancelRepair", 1, reason="mistake")], 2)
    assert shown.ended
    assert shown.next == ()
    assert "nothing more comes by itself. Still possible: ReopenCase." in drawn(shown)


def test_what_was_told_late_shows_when_it_was_recorded(gas: Pinned) -> None:
    text = drawn(seen(gas, [report()], 2, promptly=False), width=200)
    assert "has it (recorded 2 Mar 11:00)" in text
    assert "recorded" not in drawn(seen(gas, [report()], 2), width=200)


def test_a_case_whose_clock_ran_ahead_is_shown_as_of_its_last_decision(gas: Pinned) -> None:
    ahead = seen(gas, [report(), *dispatched()], 100)
    decisions_end = max(e.decided_at for e in ahead.events)
    assert ahead.as_of == decisions_end == NINE + 100 * HOUR


def test_another_year_is_written_out(gas: Pinned) -> None:
    assert "2 Mar 2026 09:00" in drawn(seen(gas, [report()], 24 * 400))


def test_a_timeline_fits_eighty_columns_and_tells_no_colours_to_a_pipe(gas: Pinned) -> None:
    shown = seen(gas, [report(), *dispatched()], 100)
    lines = drawn(shown).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert "\x1b" not in "".join(lines)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(event_lines(shown, shown.events))
    assert max(len(line) for line in capture.get().splitlines()) <= 80


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (60, "1 min"), (7500, "2 h 05 min"), (7200, "2 h"), (-90000, "1 d 1 h")],
)
def test_spans_are_written_for_people(seconds: int, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text
