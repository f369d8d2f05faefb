"""The archive's registers as people see them: what was entered, and when the register closes."""

from gateway.headlines import headline
from schemas.base import SYSTEM
from schemas.envelope import Json
from tests.gateway.shown import GAS, NINE, command, drawn, timeline_of

REGISTER = f"archive-town--{NINE:%Y-%m}"


def entered(number: int, hours: float, **fields: object) -> Json:
    body = {"case": f"repair-{number}", "run": f"run-{number}", "sha256": "0a" * 32}
    made = {"bytes": 9000, "events": 24, "build_id": "0.1.0+1", "sdk": "1.35.0", "lock": None}
    told = command("RecordHistory", hours, **{**body, **made, "original": True, **fields})
    return told | {"actor": SYSTEM.model_dump()}


def test_a_register_says_what_was_archived_and_when_it_closes() -> None:
    again = entered(2, 2, original=False, build_id=None)
    shown = timeline_of(REGISTER, GAS, [entered(1, 1), again], 3)
    assert headline(shown) == [
        "register of archived histories (Temporal's, of cases that have ended); policy gas 2026.1",
        "entered: 2, room for 500",
    ]
    assert [e.text for e in shown.events if e.type == "HistoryArchived"] == [
        "the history of repair-1 is archived as 0a0a0a0a0a0a…, of build 0.1.0+1",
        "the history of repair-2 is archived as 0a0a0a0a0a0a…,"
        " made again from the log because the server had lost it",
    ]
    (ending,) = shown.next
    assert ending.text == "the register closes: its month is over, and the next one goes on"
    assert (ending.at.day, ending.unless) == (8, "it is full before")
    assert shown.possible == ()


def test_a_register_whose_month_is_over_has_ended() -> None:
    shown = timeline_of(REGISTER, GAS, [entered(1, 1)], 24 * 60)
    assert (shown.stage, shown.ended, shown.next) == ("Closed", True, ())
    assert "has ended" in drawn(shown)
