"""Who was overdue when a half-year ended (WAT-P1): by the log alone, and as the cases said."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lifecycles.arrears_money import owes
from lifecycles.arrears_stages import ENDED
from lifecycles.assessment_runs import (
    TELLING,
    Overdue,
    Round,
    by_reader,
    end_of_day,
    half_year_before,
    half_year_of,
    opening,
    overdue,
)
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import dump
from schemas.assessment import MOST_ACCOUNTS, AssessmentCount
from schemas.base import SYSTEM
from schemas.envelope import EventEnvelope
from tests.lifecycles.arrears_cases import BILL, OPEN, Debt, days
from tests.lifecycles.repair_cases import WATER

CALENDAR = WATER.policy.calendar
LONG_AFTER = days(10_000)
THRESHOLD = 5000


def logged(debt: Debt, case: str = "arrears-1") -> Iterator[EventEnvelope]:
    """The case's events as the log holds them."""
    version = 0
    for step in debt.steps:
        for event in step.events:
            version += 1
            body = dump(event)
            yield EventEnvelope(
                position=version,
                stream=case,
                version=version,
                event_id=UUID(int=version),
                type=body["type"],
                schema_version=1,
                occurred_at=event.at,
                decided_at=step.decided_at,
                recorded_at=step.decided_at,
                command_id=step.command.id,
                actor=step.command.actor,
                body=body,
            )


def was_overdue(debt: Debt, day: float, known: datetime = LONG_AFTER) -> bool:
    return overdue(logged(debt), days(day), known, THRESHOLD) is not None


def opened() -> Debt:
    debt = Debt()
    debt.do("OpenArrears", 0, **OPEN)
    return debt


# Half-years


@pytest.mark.parametrize(
    ("at", "name", "ended", "counted"),
    [
        ("2026-06-30T15:59:59", "2025-H2", "2025-12-31T16:00", "2026-01-04T16:00"),
        ("2026-06-30T16:00:00", "2026-H1", "2026-06-30T16:00", "2026-07-04T16:00"),
        ("2026-12-31T15:59:59", "2026-H1", "2026-06-30T16:00", "2026-07-04T16:00"),
        ("2026-12-31T16:00:00", "2026-H2", "2026-12-31T16:00", "2027-01-04T16:00"),
    ],
)
def test_a_half_year_ends_by_the_organisations_clock(
    at: str, name: str, ended: str, counted: str
) -> None:
    span = half_year_before(CALENDAR, datetime.fromisoformat(at).replace(tzinfo=UTC))
    times = [datetime.fromisoformat(t).replace(tzinfo=UTC) for t in (ended, counted)]
    assert span == (name, *times)
    assert half_year_of(CALENDAR, name) == span


def test_a_day_ends_by_the_organisations_clock() -> None:
    assert end_of_day(CALENDAR, date(2026, 7, 4)) == half_year_of(CALENDAR, "2026-H1").counted


# One case


def test_an_account_is_overdue_from_its_first_bill_until_it_is_paid_for() -> None:
    debt = opened()
    debt.pay(12_000, 5)
    assert not was_overdue(debt, 0)
    assert was_overdue(debt, 0.001)
    assert was_overdue(debt, 5)
    assert not was_overdue(debt, 5.001)


def test_what_is_left_counts_from_the_threshold_on() -> None:
    for amount, counts in ((7000, True), (7001, False)):
        debt = opened()
        debt.pay(amount, 5)
        assert was_overdue(debt, 6) == counts


def test_a_payment_counts_from_the_day_on_which_it_was_made_if_it_was_told_in_time() -> None:
    debt = opened()
    paid: dict[str, Any] = {"payment": "pay-1", "amount": 12_000, "currency": "CNY"}
    debt.do("RecordPayment", 9, paid_at=days(5), **paid)
    assert was_overdue(debt, 5, known=days(20))
    assert not was_overdue(debt, 6, known=days(20))
    assert was_overdue(debt, 6, known=days(9))


def test_a_payment_that_was_taken_back_before_does_not_count() -> None:
    debt = opened()
    debt.pay(12_000, 5, "pay-1")
    debt.do("ReversePayment", 8, payment="pay-1", reason="bounced")
    assert [was_overdue(debt, day) for day in (6, 8, 8.001)] == [False, False, True]


def test_a_corrected_bill_counts_as_corrected_from_then_on() -> None:
    debt = opened()
    correction: dict[str, Any] = {"reason": "misread", "evidence": "slip/1", "currency": "CNY"}
    debt.do("CorrectBalance", 5, bill="B-1", amount=900, **correction)
    assert was_overdue(debt, 5)
    assert not was_overdue(debt, 5.001)


def test_a_case_that_ended_is_not_overdue_whatever_it_left_unpaid() -> None:
    ends: list[tuple[str, dict[str, Any]]] = [
        ("RecordMoveOut", {"moved_at": days(4), "evidence": "letter/1"}),
        ("WithdrawArrears", {"reason": "mistake"}),
    ]
    for name, body in ends:
        debt = opened()
        debt.do(name, 5, **body)
        assert [was_overdue(debt, day) for day in (5, 5.001)] == [True, False]
        assert was_overdue(debt, 6, known=days(5))


def test_it_is_told_which_account_on_whose_round() -> None:
    found = overdue(logged(opened(), "arrears-7"), days(1), LONG_AFTER, THRESHOLD)
    assert found == Overdue("A-1", days(0), "arrears-7", "reader-1")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["pay", "reverse", "bill", "correct", "move", "withdraw", "wait"]),
            st.sampled_from([100, 4000, 6999, 7000, 8000, 12_000]),
            st.integers(1, 3),
        ),
        max_size=12,
    ),
    st.integers(0, 60),
)
def test_told_at_once_it_is_what_the_case_itself_said_then(
    steps: list[tuple[str, int, int]], day: int
) -> None:
    debt = opened()
    at = 0
    states = [(0, debt.state)]
    for what, amount, after in steps:
        at += after
        with suppress(Rejected):
            _do(debt, what, amount, at)
        states.append((at, debt.state))
    end = min(day, at) + 0.5
    debt.wait(max(at, end))
    then = [s for when, s in states if when < end][-1]
    # The case itself closes by the clock only when nothing is owed; here that is the same.
    assert was_overdue(debt, end) == (owes(then) and then.stage not in ENDED)


def _do(debt: Debt, what: str, amount: int, at: int) -> None:
    match what:
        case "pay":
            debt.pay(amount, at, f"pay-{at}")
        case "reverse":
            standing = [p.payment for p in debt.state.payments if p.reversed_at is None]
            for payment in standing[:1]:
                debt.do("ReversePayment", at, payment=payment, reason="bounced")
        case "bill":
            bill = {**BILL, "bill": f"B-{at}", "amount": amount}
            debt.do("AddBills", at, currency="CNY", bills=[bill], run=f"run-{at}")
        case "correct":
            facts: dict[str, Any] = {"reason": "misread", "evidence": "slip/1", "currency": "CNY"}
            debt.do("CorrectBalance", at, bill="B-1", amount=amount, **facts)
        case "move":
            debt.do("RecordMoveOut", at, moved_at=days(at), evidence="letter/1")
        case "withdraw":
            debt.do("WithdrawArrears", at, reason="mistake")
        case _:
            debt.wait(at)


def test_only_events_that_say_something_of_it_are_asked_for() -> None:
    debt = opened()
    debt.pay(1000, 2)
    every = list(logged(debt))
    few = [e for e in every if e.type in TELLING]
    assert len(few) < len(every)
    assert overdue(few, days(3), LONG_AFTER, 1) == overdue(every, days(3), LONG_AFTER, 1)


# Readers


def found(account: str, number: int, reader: str | None, day: float = 0) -> Overdue:
    return Overdue(account, days(day), f"arrears-{number}", reader)


def test_each_account_counts_once_for_the_reader_of_its_last_case() -> None:
    rounds = by_reader(
        [
            found("A-1", 1, "E-7"),
            found("A-2", 4, "E-8", 5),
            found("A-2", 2, "E-7", 1),
            found("A-3", 3, None),
            found("A-4", 5, "e-7"),
        ]
    )
    assert rounds.rounds == (
        Round("E-7", ("arrears-1", "arrears-5")),
        Round("E-8", ("arrears-4",)),
    )
    assert (rounds.accounts, rounds.without_reader) == (4, 1)


def count(**fields: Any) -> AssessmentCount:
    span = half_year_of(CALENDAR, "2026-H1")
    usual = {"half_year": span.name, "ended": span.ended, "known_until": span.counted}
    return AssessmentCount(organisation="town", policy="{}", **{**usual, **fields})


def test_the_opening_is_the_same_however_often_and_its_id_names_all_that_it_says() -> None:
    first = opening(count(), Round("E-7", ("arrears-1",)))
    assert first == opening(count(), Round("E-7", ("arrears-1",)))
    assert first.actor == SYSTEM
    others = {
        opening(count(), Round("E-7", ("arrears-2",))).id,
        opening(count(), Round("E-8", ("arrears-1",))).id,
        opening(count(known_until=days(500)), Round("E-7", ("arrears-1",))).id,
    }
    assert len({first.id, *others}) == 4


def test_more_accounts_than_one_command_holds_are_refused() -> None:
    many = tuple(f"arrears-{n}" for n in range(MOST_ACCOUNTS + 1))
    with pytest.raises(ValidationError, match="10000"):
        opening(count(), Round("E-7", many))
    assert opening(count(), Round("E-7", many[:-1]))
