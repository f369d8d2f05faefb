"""A time that no calendar reckons with is refused; it must never jam a case."""

from typing import Any

import pytest

from lifecycles.lifecycle import LIFECYCLES, TOO_FAR, plan
from tests.lifecycles.arrears_cases import authorised, days

ARREARS = LIFECYCLES["arrears"]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("0648-06-07T08:17:08Z", "2026-03-12T10:00:00+08:00"),
        ("0648-06-07T08:00:00Z", "0648-06-07T09:00:00Z"),
        ("9999-06-07T08:00:00Z", "9999-06-07T09:00:00Z"),
    ],
)
def test_a_visit_in_another_age_is_refused(start: str, end: str) -> None:
    debt = authorised()
    body: dict[str, Any] = {"type": "ScheduleVisit", "crew": "crew-1", "start": start, "end": end}
    sent = ARREARS.asked(
        {
            "id": "far/1",
            "actor": {"subject": "s-1", "role": "clerk", "proof": "token"},
            "body": body,
        }
    )
    made = plan(ARREARS, debt.state, debt.version, [sent], days(9.2))
    assert [reasons for _, reasons in made.refused] == [TOO_FAR]
    assert made.state == debt.state
