"""Commitments by themselves: time as a fold, by hand-reckoned examples."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from lifecycles import commitments
from lifecycles.commitments import Agreement, Held, Timing, attribution, delay
from schemas.base import Owner, Ownership
from schemas.calendar import Calendar
from schemas.commitments import Commitment, CommitmentEvents, CommitmentTerms
from schemas.policy import HastenTerms

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
OFFICE = Calendar.model_validate(
    {
        "version": "test.1",
        "time_zone": "UTC",
        "week": {day: ["08:00-12:00", "13:00-17:00"] for day in ("mon", "tue", "wed")},
    }
)
USUAL = Timing(OFFICE, HastenTerms(unowned=50, priority=75), priority=False)
FIRST = USUAL._replace(priority=True)


def hours(count: float) -> datetime:
    return MONDAY + timedelta(hours=count)


def terms(*ladder: str, **fields: Any) -> CommitmentTerms:
    """Ten hours from the report to the arrival, unless the fields say otherwise."""
    rungs = [{"at": at, "tell": f"role-{i}"} for i, at in enumerate(ladder, 1)]
    usual = {"name": "attend", "rule": "KUN-2.2.4b", "duration": "PT10H", "ladder": rungs}
    return CommitmentTerms.model_validate(
        {**usual, "starts": "reported", "ends": "arrived", **fields}
    )


def started(
    t: CommitmentTerms, timing: Timing = USUAL, since: float = 0, at: float = 0
) -> Commitment:
    (c,) = commitments.evolve((), commitments.start(t, timing, (), hours(since), hours(at)))
    return c


def after(c: Commitment, *events: CommitmentEvents | Iterable[CommitmentEvents]) -> Commitment:
    for event in events:
        for one in event if not isinstance(event, CommitmentEvents) else [event]:
            (c,) = commitments.evolve((c,), one)
    return c


def words(events: Iterable[CommitmentEvents]) -> list[tuple[str, float]]:
    """Events by type and hour."""
    return [(e.type, (e.at - MONDAY).total_seconds() / 3600) for e in events]


def in_hours(times: Iterable[datetime]) -> list[float]:
    return [(t - MONDAY).total_seconds() / 3600 for t in times]


# How it starts


@pytest.mark.parametrize(
    ("fields", "since", "due"),
    [
        ({}, 0, 10),
        ({"basis": "working"}, 9, 24 + 11),
        ({"basis": "working"}, 0, 24 + 10),
        ({"basis": "same_day"}, 9, 24),
    ],
    ids=["clock", "working, within a day", "working, before it opens", "same day"],
)
def test_a_promise_is_due_when_its_time_has_run(
    fields: dict[str, Any], since: float, due: float
) -> None:
    assert started(terms(**fields), since=since).due == hours(due)


def test_a_second_promise_of_the_same_name_has_an_id_of_its_own() -> None:
    first = started(terms())
    second = commitments.start(terms(), USUAL, (first,), hours(1), hours(1))
    assert (first.id, second.commitment) == ("attend", "attend-2")


def test_rungs_lie_at_their_share_of_the_time_or_after_it_is_due() -> None:
    c = started(terms("0%", "50%", "100%", "+PT4H", "+P2D"))
    assert in_hours(c.rungs) == [0, 5, 10, 14, 58]


def test_rungs_of_working_time_lie_in_working_time() -> None:
    c = started(terms("50%", "100%", "+PT4H", basis="working"), since=9)
    assert in_hours(c.rungs) == [15, 24 + 11, 24 + 15]


def test_rungs_that_would_lie_before_the_promise_are_told_at_once() -> None:
    c = started(terms("50%", "80%", "100%"), since=0, at=7)
    assert in_hours(c.rungs) == [7, 8, 10]
    assert c.due == hours(10)


@pytest.mark.parametrize(
    ("timing", "rungs", "hastened"),
    [(USUAL, [5, 10, 14], [2.5, 5, 12]), (FIRST, [3.75, 7.5, 13], [2.5, 5, 12])],
    ids=["usual", "special care (CNPC-3.1.9)"],
)
def test_ladders_are_hastened_and_promises_are_not(
    timing: Timing, rungs: list[float], hastened: list[float]
) -> None:
    c = started(terms("50%", "100%", "+PT4H"), timing)
    assert in_hours(c.rungs) == rungs
    assert in_hours(c.hastened) == hastened
    assert c.due == hours(10)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("+P2D", timedelta(days=2)),
        ("+PT4H", timedelta(hours=4)),
        ("+PT30M", timedelta(minutes=30)),
        ("+PT4H30M", timedelta(hours=4, minutes=30)),
        ("+P1DT12H", timedelta(days=1, hours=12)),
    ],
)
def test_a_delay_is_read_as_it_is_written(text: str, length: timedelta) -> None:
    assert delay(text) == length


# How it ends


def test_a_promise_is_kept_at_the_instant_it_is_due() -> None:
    c = started(terms())
    assert words(commitments.meet(c, hours(10), "c1")) == [("CommitmentKept", 10)]


def test_a_promise_met_late_was_broken_when_it_was_due() -> None:
    c = started(terms())
    assert words(commitments.meet(c, hours(12), "c1")) == [
        ("CommitmentBroken", 10),
        ("CommitmentMetLate", 12),
    ]
    late = after(c, commitments.meet(c, hours(12), "c1"))
    assert (late.state, late.met_at, late.outstanding) == ("broken", hours(12), False)


def test_a_recorded_breach_is_withdrawn_by_the_fact_that_shows_there_was_none() -> None:
    c = started(terms())
    broken = after(c, commitments.due_events(c, terms(), hours(11), None))
    events = list(commitments.meet(broken, hours(9), "c7"))
    assert words(events) == [("BreachWithdrawn", 9), ("CommitmentKept", 9)]
    assert events[0].model_dump()["evidence"] == "c7"
    assert after(broken, events).state == "kept"


def test_what_has_ended_is_not_met_again() -> None:
    c = started(terms())
    kept = after(c, commitments.meet(c, hours(1), "c1"))
    assert list(commitments.meet(kept, hours(2), "c2")) == []
    assert list(commitments.cancel(kept, hours(2), "merged")) == []


def test_a_breach_stays_on_record_when_the_promise_no_longer_applies() -> None:
    c = started(terms("100%", "+PT4H"))
    broken = after(c, commitments.due_events(c, terms("100%", "+PT4H"), hours(11), None))
    gone = after(broken, commitments.cancel(broken, hours(12), "merged"))
    assert (gone.state, gone.cancelled, gone.outstanding) == ("broken", "merged", False)
    assert commitments.next_deadline(gone, None) is None


# Ladders


def test_breach_and_rungs_come_in_order_of_their_time_and_each_once() -> None:
    t = terms("50%", "100%", "+PT4H")
    c = started(t)
    events = list(commitments.due_events(c, t, hours(100), None))
    assert words(events) == [
        ("EscalationRaised", 5),
        ("CommitmentBroken", 10),
        ("EscalationRaised", 10),
        ("EscalationRaised", 14),
    ]
    told = [e.model_dump() for e in events if e.type == "EscalationRaised"]
    assert [(e["rung"], e["tell"]) for e in told] == [(1, "role-1"), (2, "role-2"), (3, "role-3")]
    done = after(c, events)
    assert commitments.next_deadline(done, None) is None
    assert list(commitments.due_events(done, t, hours(200), None)) == []


def test_a_ladder_is_hastened_from_when_nobody_has_the_case_and_not_backwards() -> None:
    t = terms("50%", "100%")
    c = started(t)
    assert commitments.next_deadline(c, hours(0)) == hours(2.5)
    assert commitments.next_deadline(c, hours(4)) == hours(4)
    assert commitments.next_deadline(c, hours(6)) == hours(5)
    assert words(commitments.due_events(c, t, hours(6), hours(4))) == [
        ("EscalationRaised", 4),
        ("EscalationRaised", 5),
    ]


def test_a_promise_that_stands_still_needs_no_clock() -> None:
    c = started(terms("50%"))
    still = after(c, commitments.pause(c, hours(1), "parts", "photo/1", "c1"))
    assert commitments.next_deadline(still, None) is None


# Pauses


def stopped(c: Commitment, since: float, until: float, t: CommitmentTerms) -> Commitment:
    still = after(c, commitments.pause(c, hours(since), "parts", "photo/1", "c1"))
    return after(still, commitments.resume(still, t, USUAL, hours(until)))


def test_what_was_left_at_the_pause_is_left_after_it() -> None:
    t = terms("50%", "100%", "+PT4H")
    c = stopped(started(t), 2, 30, t)
    assert c.due == hours(38)
    assert in_hours(c.rungs) == [33, 38, 42]


def test_a_pause_of_working_time_gives_back_working_time() -> None:
    t = terms(basis="working")
    c = stopped(started(t, since=9), 10, 48 + 8, t)
    # Nine of ten hours were left; Wednesday opens at 8 and has eight, Monday the ninth.
    assert c.due == hours(7 * 24 + 9)


def test_a_pause_of_a_same_day_promise_moves_it_to_the_day_on_which_it_ends() -> None:
    t = terms(basis="same_day")
    assert stopped(started(t, since=9), 10, 30, t).due == hours(48)
    assert stopped(started(t, since=9), 10, 12, t).due == hours(24)


def test_a_rung_that_was_past_at_the_pause_stays_where_it_was() -> None:
    t = terms("20%", "100%")
    c = started(t)
    c = after(c, commitments.due_events(c, t, hours(3), None))
    assert in_hours(stopped(c, 4, 10, t).rungs) == [2, 16]


def test_a_pause_at_the_very_end_leaves_nothing_to_run() -> None:
    t = terms()
    assert stopped(started(t), 10, 20, t).due == hours(20)


def test_pauses_that_are_told_late_never_overlap() -> None:
    t = terms()
    c = stopped(stopped(started(t), 2, 5, t), 4, 7, t)
    assert [(p.since, p.until) for p in c.pauses] == [
        (hours(2), hours(5)),
        (hours(5), hours(7)),
    ]
    assert c.due == hours(15)


def test_a_pause_that_ends_before_it_began_takes_nothing_away() -> None:
    t = terms()
    c = stopped(started(t), 5, 3, t)
    assert c.due == hours(10)
    assert c.pauses[0].until == hours(5)


def test_a_pause_withdraws_a_breach_that_came_after_it_and_no_earlier_one() -> None:
    t = terms()
    c = started(t)
    broken = after(c, commitments.due_events(c, t, hours(20), None))
    for at, events in ((10, ["BreachWithdrawn", "CommitmentPaused"]), (10.1, [])):
        paused = commitments.pause(broken, hours(at), "parts", "photo/1", "c1")
        assert [e.type for e in paused] == events


def test_a_promise_met_while_it_stood_still_is_kept() -> None:
    c = started(terms())
    still = after(c, commitments.pause(c, hours(9), "parts", "photo/1", "c1"))
    kept = after(still, commitments.meet(still, hours(50), "c2"))
    assert (kept.state, kept.met_at) == ("kept", hours(50))


# Agreed times (ADM-8)


def agreed(
    c: Commitment, t: CommitmentTerms, at: float, start: float, end: float, earlier: float | None
) -> Commitment:
    before = None if earlier is None else hours(earlier)
    agreement = Agreement(hours(start), hours(end), "call/1", before)
    return after(c, commitments.agree(c, t, USUAL, hours(at), agreement, "c1"))


@pytest.mark.parametrize(("ends", "due"), [("dispatched", 30), ("arrived", 32), ("fixed", 32 + 8)])
def test_an_agreed_time_is_when_to_leave_to_be_there_and_to_go_on_from(
    ends: str, due: float
) -> None:
    t = terms("50%", "100%", ends=ends)
    c = agreed(started(t), t, 2, 30, 32, None)
    assert c.due == hours(due)
    assert in_hours(c.rungs) == [2 + (due - 2) / 2, due]


def test_an_agreed_time_that_replaces_another_adds_nothing_to_what_was_left() -> None:
    t = terms(ends="fixed")
    once = agreed(started(t), t, 2, 30, 32, None)
    assert agreed(once, t, 5, 50, 52, earlier=32).due == hours(52 + 8)
    assert agreed(once, t, 5, 6, 7, earlier=32).due == hours(7 + 8)
    assert agreed(once, t, 34, 50, 52, earlier=32).due == hours(52 + 6)


def test_an_agreement_at_the_last_moment_holds_to_its_end() -> None:
    t = terms(ends="fixed")
    assert agreed(started(t), t, 10, 30, 32, None).due == hours(32)


def test_no_agreement_mends_what_was_broken_before_it() -> None:
    t = terms()
    c = started(t)
    broken = after(c, commitments.due_events(c, t, hours(20), None))
    assert agreed(broken, t, 15, 30, 32, None) == broken
    assert agreed(broken, t, 9, 30, 32, None).state == "running"


def test_rungs_that_were_told_are_not_told_again_after_an_agreement() -> None:
    t = terms("50%", "100%")
    c = started(t)
    c = after(c, commitments.due_events(c, t, hours(6), None))
    c = agreed(c, t, 6, 30, 32, None)
    assert words(commitments.due_events(c, t, hours(50), None)) == [
        ("CommitmentBroken", 32),
        ("EscalationRaised", 32),
    ]


# Owed again


def test_it_is_owed_again_on_its_original_clock() -> None:
    t = terms("50%", "100%", "+PT4H")
    c = started(t)
    kept = after(c, commitments.meet(c, hours(1), "c1"))
    again = after(kept, commitments.restore(kept, t, USUAL, hours(20), "reopened"))
    assert (again.state, again.due, again.met_at) == ("running", hours(10), None)
    assert in_hours(again.rungs) == [20, 20, 20]
    assert words(commitments.due_events(again, t, hours(20), None))[0] == ("CommitmentBroken", 10)


def test_a_broken_promise_that_is_owed_again_stays_broken_and_its_ladder_climbs_on() -> None:
    t = terms("100%", "+PT4H")
    c = started(t)
    broken = after(c, commitments.due_events(c, t, hours(11), None))
    late = after(broken, commitments.meet(broken, hours(11), "c1"))
    again = after(late, commitments.restore(late, t, USUAL, hours(20), "reopened"))
    assert again.state == "broken"
    assert again.outstanding
    assert words(commitments.due_events(again, t, hours(50), None)) == [("EscalationRaised", 20)]


def test_a_pause_that_lasted_to_the_end_counts_when_it_is_owed_again() -> None:
    t = terms()
    c = started(t)
    still = after(c, commitments.pause(c, hours(4), "parts", "photo/1", "c1"))
    gone = after(still, commitments.cancel(still, hours(9), "transferred"))
    again = after(gone, commitments.restore(gone, t, USUAL, hours(12), "returned"))
    assert again.due == hours(15)
    assert again.pauses[0].until == hours(9)


def test_an_earlier_clock_keeps_the_pauses() -> None:
    t = terms("100%")
    c = stopped(started(t, since=5, at=5), 6, 9, t)
    earlier = after(c, commitments.restore(c, t, USUAL, hours(9), "backdated", hours(2)))
    assert (earlier.start, earlier.due) == (hours(2), hours(15))
    later = after(c, commitments.restore(c, t, USUAL, hours(9), "backdated", hours(8)))
    assert (later.start, later.due) == (hours(5), hours(18))


def test_an_earlier_clock_does_not_undo_an_agreement() -> None:
    t = terms()
    c = agreed(started(t, since=5, at=5), t, 6, 30, 32, None)
    earlier = after(c, commitments.restore(c, t, USUAL, hours(9), "backdated", hours(2)))
    assert earlier.due == hours(32)


def test_the_last_share_of_a_restored_ladder_lies_where_it_is_due() -> None:
    t = terms("100%", basis="working")
    c = stopped(started(t, since=9), 10, 48 + 8, t)
    kept = after(c, commitments.meet(c, hours(60), "c1"))
    again = after(kept, commitments.restore(kept, t, USUAL, hours(61), "reopened"))
    assert again.rungs == (again.due,)


# Who had it


def owners(*changes: tuple[str, float]) -> list[Ownership]:
    return [Ownership(owner=Owner(kind="person", id=name), since=hours(at)) for name, at in changes]


def held(c: Commitment, history: list[Ownership], now: float) -> list[tuple[str, float, float]]:
    def short(h: Held) -> tuple[str, float, float]:
        since, until = in_hours((h.since, h.until))
        return h.owner.id, since, until

    return [short(h) for h in attribution(c, history, hours(now))]


def test_every_second_has_exactly_one_holder() -> None:
    c = started(terms())
    history = owners(("a", 0), ("b", 3), ("c", 3), ("d", 4))
    assert held(c, history, 8) == [("a", 0, 3), ("c", 3, 4), ("d", 4, 8)]


def test_time_that_stood_still_has_no_holder() -> None:
    t = terms()
    c = stopped(stopped(started(t), 2, 4, t), 5, 6, t)
    assert held(c, owners(("a", 0), ("b", 3)), 8) == [("a", 0, 2), ("b", 4, 5), ("b", 6, 8)]


def test_a_promise_that_began_before_the_case_is_the_first_owners() -> None:
    c = started(terms(), since=-3)
    assert held(c, owners(("a", 0), ("b", 1)), 2) == [("a", -3, 1), ("b", 1, 2)]


def test_nobody_holds_a_promise_beyond_its_end() -> None:
    c = started(terms())
    kept = after(c, commitments.meet(c, hours(4), "c1"))
    assert held(kept, owners(("a", 0), ("b", 2), ("c", 6)), 9) == [("a", 0, 2), ("b", 2, 4)]


# What a policy may promise


@pytest.mark.parametrize(
    ("ladder", "fields", "what"),
    [
        ([], {"duration": "PT0S"}, "duration must be longer than nothing"),
        ([], {"duration": "P9999D"}, "at most 3660 days"),
        ([], {"ends": "reported"}, "two different milestones"),
        (["80%", "50%"], {}, "ladder must rise"),
        (["+PT1H", "50%"], {}, "ladder must rise"),
        (["+P1D", "+PT23H"], {}, "ladder must rise"),
        (["+P"], {}, "should match pattern"),
        (["+PT"], {}, "should match pattern"),
        (["101%"], {}, "should match pattern"),
        (["+P99999D"], {}, "should match pattern"),
        ([], {"name": "clear-2"}, "not end in a hyphen and a number"),
        ([], {"name": "a" * 51}, "at most 50 characters"),
    ],
)
def test_terms_that_cannot_work_are_refused(
    ladder: list[str], fields: dict[str, Any], what: str
) -> None:
    with pytest.raises(ValidationError, match=what):
        terms(*ladder, **fields)


def test_terms_are_refused_with_everything_that_is_wrong_at_once() -> None:
    with pytest.raises(ValidationError) as refused:
        terms("80%", "50%", duration="PT0S", ends="reported")
    assert str(refused.value).count(";") == 2
