"""The archive's registers: a month each, closed in time or when full."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycles import archive
from lifecycles.casework import BEGINNING
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES, Plan, dump, plan
from schemas.archive import ArchiveState, Stage, open_until, register_id
from schemas.base import SYSTEM
from schemas.envelope import Json
from tests.lifecycles.repair_cases import CLERK, GAS

ARCHIVE = LIFECYCLES["archive"]
MAY = datetime(2026, 5, 20, 8, tzinfo=UTC)
ENDS = datetime(2026, 6, 8, tzinfo=UTC)
DAY = timedelta(days=1)


class Register:
    """A register as its workflow drives it."""

    def __init__(self, case_id: str = "archive-town--2026-05") -> None:
        self.state: ArchiveState = ARCHIVE.initial(case_id, "town", *GAS)
        self.version = 0
        self.numbers = count(1)
        self.made: list[Plan] = []

    def enter(self, *, at: datetime = MAY, **fields: Any) -> list[str]:
        return self.take([history(next(self.numbers), **fields)], at)

    def take(self, commands: Sequence[Json], at: datetime) -> list[str]:
        envelopes = [ARCHIVE.asked(command) for command in commands]
        made = plan(ARCHIVE, self.state, self.version, envelopes, at)
        if made.refused:
            raise Rejected(made.refused[0][1])
        self.made.append(made)
        self.state, self.version = made.state, made.version
        return [type(event).__name__ for step in made.steps for event in step.events]


def history(number: int, **fields: Any) -> Json:
    body = {"case": f"repair-{number}", "run": f"run-{number}", "sha256": "0a" * 32}
    made = {"bytes": 9000, "events": 24, "build_id": "0.1.0+1", "sdk": "1.35.0", "lock": None}
    return {
        "id": f"archive/run-{number}",
        "actor": SYSTEM.model_dump(),
        "body": {"type": "RecordHistory", **body, **made, "original": True, **fields},
    }


def test_the_first_history_opens_the_months_register() -> None:
    register = Register()
    assert register.enter() == ["ArchiveOpened", "HistoryArchived"]
    assert register.enter(original=False) == ["HistoryArchived"]
    assert (register.state.stage, register.state.entered) == (Stage.OPEN, 2)
    assert ARCHIVE.next_deadline(register.state) == ENDS
    opened, told = register.made[0].steps[0].events
    assert dump(opened)["policy"] == register.state.policy_hash
    said = dump(told)
    assert {name: said[name] for name in ("case", "run", "sha256", "build_id")} == {
        "case": "repair-1",
        "run": "run-1",
        "sha256": "0a" * 32,
        "build_id": "0.1.0+1",
    }


def test_a_register_closes_a_week_after_its_month_and_is_final() -> None:
    register = Register()
    register.enter()
    register.enter(at=ENDS - timedelta.resolution)
    assert not ARCHIVE.summary(register.state).final
    assert register.take([], ENDS + 3 * DAY) == ["ArchiveClosed"]
    assert (register.state.stage, register.state.closed_at) == (Stage.CLOSED, ENDS)
    summary = ARCHIVE.summary(register.state)
    assert (summary.kind, summary.final, summary.next_deadline_at) == ("archive", True, None)


@pytest.mark.parametrize("at", [ENDS, ENDS + DAY])
def test_nothing_is_entered_in_a_register_whose_month_is_over(at: datetime) -> None:
    with pytest.raises(Rejected, match="month is over"):
        Register().enter(at=at)
    register = Register()
    register.enter()
    with pytest.raises(Rejected):
        register.enter(at=at)
    register.take([], at)
    with pytest.raises(Rejected, match="register is closed"):
        register.enter(at=at)


def test_a_full_register_closes_at_once_and_keeps_the_room_that_it_was_opened_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register = Register()
    monkeypatch.setattr(archive, "ROOM", 3)
    register.enter()
    monkeypatch.setattr(archive, "ROOM", 100)
    register.enter()
    assert register.enter() == ["HistoryArchived", "ArchiveClosed"]
    assert (register.state.stage, register.state.closed_at) == (Stage.CLOSED, MAY)
    with pytest.raises(Rejected, match="enter it in the next one"):
        register.enter()


@pytest.mark.parametrize(
    "name", ["archive-town", "archive-town--2026-13", "archive-town--2026-05-0", "archive-2026-05"]
)
def test_a_register_is_named_after_a_month(name: str) -> None:
    with pytest.raises(Rejected, match="ORGANISATION--YEAR-MONTH"):
        Register(name).enter()


def test_people_do_not_speak_to_registers() -> None:
    with pytest.raises(Rejected, match="do not send it"):
        Register().take([history(1) | {"actor": CLERK}], MAY)
    assert ARCHIVE.possible(Register().state) == ()


@given(
    st.sampled_from(["town", "anyang-water", "a--b", "x--2026-01", "q-"]),
    st.timedeltas(timedelta(0), timedelta(days=70_000)).map(lambda later: BEGINNING + later),
    st.integers(1, 400),
)
def test_a_name_tells_its_month_and_no_two_are_the_same(
    organisation: str, at: datetime, volume: int
) -> None:
    named = register_id(organisation, at, volume)
    until = open_until(named)
    assert until is not None
    assert until.day == 8
    assert timedelta(days=7) <= until - at <= timedelta(days=38)
    assert register_id(organisation, at, volume + 1) != named
    assert register_id(organisation, until, volume) != named
    assert ARCHIVE.initial(named, organisation, *GAS).case_id == named


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.timedeltas(timedelta(0), timedelta(days=4))), max_size=30
    )
)
def test_whatever_comes_the_register_holds_what_was_entered_and_ends(
    words: list[tuple[int, timedelta]],
) -> None:
    register, now, entered = Register(), MAY, 0
    for number, wait in words:
        now += wait
        try:
            happened = register.take([history(number)], now)
        except Rejected:
            assert now >= ENDS
            continue
        entered += happened.count("HistoryArchived")
        assert now < ENDS
    assert register.state.entered == entered
    register.take([], now + 60 * DAY)
    assert ARCHIVE.next_deadline(register.state) is None
    assert register.state.stage == (Stage.CLOSED if entered else Stage.UNOPENED)
    again = ARCHIVE.initial("archive-town--2026-05", "town", *GAS)
    for made in register.made:
        for step in made.steps:
            assert ARCHIVE.decide(again, step.command, step.decided_at) == list(step.events)
            stored = [ARCHIVE.event(dump(event)) for event in step.events]
            again = ARCHIVE.fold(again, stored)
    assert again == register.state
