"""Rehearsals: what a policy would have made of a file, counted here again without our code."""

import csv
import multiprocessing
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway import rehearse as rehearsals
from gateway import rehearse_pool
from gateway.filings import Filing, Reject, check, open_filing, read_filing
from gateway.mappings import load_mappings
from gateway.policies import load
from gateway.rehearse import Rehearsal, rehearse
from lifecycles.lifecycle import Plan
from lifecycles.policies import Pinned, pinned
from schemas.commitments import CommitmentBroken, EscalationRaised

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
LEAKS = ROOT.parent / "shared" / "data" / "gas-leaks"
MAPPINGS = load_mappings(ROOT / "policies" / "mappings")
NOW = datetime(2017, 1, 1, 12, tzinfo=UTC)
TODAY = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = 3600.0

real = pytest.mark.skipif(
    not LEAKS.is_dir(), reason="the leak filings are not there: ../shared/data/gas-leaks"
)


@pytest.fixture(scope="module")
def gas() -> Pinned:
    return load("gas", ROOT / "policies")


def filing(name: str) -> Filing:
    return open_filing(DATA / name, MAPPINGS)


def with_clear(gas: Pinned, which: str, /, **changed: Any) -> Pinned:
    """The policy with one of its two promises to clear a network fault changed."""
    content = gas.policy.model_dump(mode="json")
    for terms in content["repair"]["commitments"]:
        if terms["rule"] == which:
            terms |= changed
    return pinned(type(gas.policy).model_validate(content).model_dump_json())


# A few made-up leaks


def test_promises_are_counted_by_rule_with_delays_and_rungs(gas: Pinned) -> None:
    assert rehearse(filing("leaks-repaired.csv"), "boston", gas, NOW).to_json() == {
        "cases": 4,
        "rejected": 2,
        "rules": {
            "KUN-2.2.3a": {
                "kept": 0,
                "broken": 2,
                "open": 0,
                "cancelled": 0,
                # 9 hours instead of 4, and from 1998-12-31 08:00 to 2016-02-01 17:00.
                "median_delay_seconds": (5 * HOUR + (6241 * 24 + 5) * HOUR) / 2,
                "worst_delay_seconds": (6241 * 24 + 5) * HOUR,
                "escalations": {"1": 2, "2": 2, "3": 2, "4": 1, "5": 1},
            },
            "KUN-2.2.3b": {
                "kept": 1,
                "broken": 1,
                "open": 0,
                "cancelled": 0,
                "median_delay_seconds": 33 * HOUR,
                "worst_delay_seconds": 33 * HOUR,
                # The first two rungs of the kept one fire too: after 3 and 6 hours of its 9.
                "escalations": {"1": 2, "2": 2, "3": 1, "4": 1},
            },
        },
    }


def test_what_is_still_owed_is_open_until_due_and_late_until_now_from_then_on(
    gas: Pinned,
) -> None:
    # 2016-12-31 08:00 in Boston is 13:00 UTC.
    moment = datetime(2016, 12, 31, 13, tzinfo=UTC)
    early = rehearse(filing("leaks-open.csv"), "boston", gas, moment)
    [common, major] = early.to_json()["rules"].values()
    assert (common["open"], common["broken"], common["worst_delay_seconds"]) == (
        1,
        1,
        (moment - datetime(2015, 6, 1, 16, tzinfo=UTC)).total_seconds(),
    )
    assert (major["open"], major["broken"], major["worst_delay_seconds"]) == (0, 1, 0.0)
    late = rehearse(filing("leaks-open.csv"), "boston", gas, NOW).to_json()["rules"]
    assert (late["KUN-2.2.3a"]["open"], late["KUN-2.2.3a"]["broken"]) == (0, 2)


def test_rejects_are_kept_with_their_reasons_in_the_file_s_order(gas: Pinned) -> None:
    found = rehearse(filing("leaks-repaired.csv"), "boston", gas, NOW)
    assert [(reject.line, reject.number) for reject in found.rejects] == [
        (6, "900005"),
        (7, "900006"),
    ]
    assert [len(reject.reasons) for reject in found.rejects] == [2, 1]


def test_progress_is_told_up_to_the_last_row(gas: Pinned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsals, "_CHUNK", 4)
    told: list[int] = []
    rehearse(filing("leaks-repaired.csv"), "boston", gas, NOW, report_progress=told.append)
    assert told == [4, 6]


# Against another policy


def test_a_policy_against_itself_makes_no_difference(gas: Pinned) -> None:
    found = rehearse(filing("leaks-repaired.csv"), "boston", gas, NOW, against=gas)
    assert found.differences == []
    assert found.against is not None
    assert found.against.to_json() == {
        key: value
        for key, value in found.to_json().items()
        if key not in ("against", "differences")
    }


def test_every_case_that_comes_out_otherwise_is_listed_with_both_outcomes(gas: Pinned) -> None:
    slower = with_clear(gas, "KUN-2.2.3a", duration="PT10H")
    found = rehearse(filing("leaks-repaired.csv"), "boston", gas, NOW, against=slower).to_json()
    broken = {"rule": "KUN-2.2.3a", "state": "broken"}
    assert [(d["line"], d["number"], d["promises"]) for d in found["differences"]] == [
        (
            4,
            "900003",
            {
                "clear": {
                    "a": broken | {"delay_seconds": 5 * HOUR},
                    "b": {"rule": "KUN-2.2.3a", "state": "kept", "delay_seconds": None},
                }
            },
        ),
        (
            5,
            "900004",
            {
                "clear": {
                    "a": broken | {"delay_seconds": (6241 * 24 + 5) * HOUR},
                    "b": broken | {"delay_seconds": (6241 * 24 - 1) * HOUR},
                }
            },
        ),
    ]
    assert found["against"]["rules"]["KUN-2.2.3a"]["kept"] == 1


def test_the_same_outcome_under_another_rule_is_no_difference(gas: Pinned) -> None:
    other = with_clear(gas, "KUN-2.2.3b", rule="KUN-9.9.9")
    found = rehearse(filing("leaks-repaired.csv"), "boston", gas, NOW, against=other)
    assert found.differences == []


def test_a_promise_that_only_one_policy_makes_is_a_difference(gas: Pinned) -> None:
    other = with_clear(gas, "KUN-2.2.3b", name="repair-at-once")
    found = rehearse(filing("leaks-repaired.csv"), "boston", gas, NOW, against=other).to_json()
    assert [list(d["promises"]) for d in found["differences"]] == [["clear", "repair-at-once"]] * 2
    assert found["differences"][0]["promises"]["clear"]["b"] is None
    assert found["differences"][0]["promises"]["repair-at-once"]["a"] is None


def test_a_case_that_only_one_policy_refuses_is_a_difference_with_the_reasons(gas: Pinned) -> None:
    content = gas.policy.model_dump(mode="json")
    content["repair"]["party_channels"] = ["filing"]
    strict = pinned(type(gas.policy).model_validate(content).model_dump_json())
    found = rehearse(filing("leaks-open.csv"), "boston", gas, NOW, against=strict)
    assert [d.line for d in found.differences] == [2, 3, 4]
    assert found.differences[0].refused[0] == ()
    assert "a party is needed" in found.differences[0].refused[1][0]
    assert found.against is not None
    assert (found.against.cases, len(found.against.rejects)) == (0, 4)


# On several processors


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_several_processors_find_the_same_as_one(
    gas: Pinned, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slower = with_clear(gas, "KUN-2.2.3a", duration="PT10H")

    def found() -> Rehearsal:
        return rehearse(filing("leaks-repaired.csv"), "boston", gas, NOW, against=slower)

    alone = found()
    monkeypatch.setattr(rehearse_pool, "context", lambda: multiprocessing.get_context(method))
    monkeypatch.setattr(rehearsals, "_ALONE", 0)
    monkeypatch.setattr(rehearsals, "_CHUNK", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert found() == alone


# The real filings, counted independently


Leak = tuple[str, datetime, datetime | None]
"""The rule, when it was due, when it was repaired."""


def leaks(name: str) -> Iterator[Leak | None]:
    """Every row of a real filing, read with the csv module alone; None where it makes no sense."""

    def local(text: str, hour: int) -> datetime:
        month, day, year = (int(part) for part in text.split("/"))
        on = date(year + (2000 if year < 69 else 1900), month, day)
        return datetime.combine(on, time(hour), ZoneInfo("America/New_York")).astimezone(UTC)

    with (LEAKS / name).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            major = (row.get("Grade") or row.get("17-SQ-05 Class")) == "1"
            reported = local(row["Reported Date"], 8)
            repaired = local(row["Repaired Date"], 17) if "Repaired Date" in row else None
            due = reported + timedelta(hours=24 if major else 4)
            sensible = repaired is None or repaired >= reported
            yield ("KUN-2.2.3b" if major else "KUN-2.2.3a", due, repaired) if sensible else None


@real
@pytest.mark.parametrize(
    ("name", "all_rows", "senseless"),
    [("boston-gas-2016-repaired.csv", 2947, 1), ("boston-gas-2016-open.csv", 4417, 0)],
)
def test_the_real_filings_come_out_as_counted_independently(
    gas: Pinned, name: str, all_rows: int, senseless: int
) -> None:
    states: dict[str, Counter[str]] = defaultdict(Counter)
    delays: dict[str, list[float]] = defaultdict(list)
    rejected = rows = 0
    for leak in leaks(name):
        rows += 1
        if leak is None:
            rejected += 1
            continue
        rule, due, repaired = leak
        ended = repaired or TODAY
        states[rule]["kept" if ended <= due else "broken"] += 1
        if ended > due:
            delays[rule].append((ended - due).total_seconds())

    found = rehearse(open_filing(LEAKS / name, MAPPINGS, [gas]), "boston", gas, TODAY).to_json()

    assert (rows, rejected) == (all_rows, senseless)
    assert (found["cases"], found["rejected"]) == (rows - rejected, rejected)
    assert found["rules"].keys() == states.keys()
    for rule, outcome in found["rules"].items():
        assert outcome["kept"] == states[rule]["kept"]
        assert outcome["broken"] == states[rule]["broken"]
        assert outcome["open"] == outcome["cancelled"] == 0
        assert outcome["median_delay_seconds"] == statistics.median(delays[rule])
        assert outcome["worst_delay_seconds"] == max(delays[rule])


@real
def test_the_ladders_of_the_real_open_leaks_have_fired_in_order_to_the_top(gas: Pinned) -> None:
    tops = {"KUN-2.2.3a": 5, "KUN-2.2.3b": 4}
    cases: set[str] = set()
    for row in read_filing(
        open_filing(LEAKS / "boston-gas-2016-open.csv", MAPPINGS), "boston", TODAY
    ):
        assert not isinstance(row, Reject)
        made = check(row, gas, TODAY)
        assert isinstance(made, Plan)
        events = [event for step in made.steps for event in step.events]
        rungs = [event for event in events if isinstance(event, EscalationRaised)]
        assert [rung.rung for rung in rungs] == list(range(1, tops[rungs[0].rule] + 1))
        assert [event.at for event in events] == sorted(event.at for event in events)
        assert sum(isinstance(event, CommitmentBroken) for event in events) == 1
        cases.add(row.case_id)
    assert len(cases) == 4417
