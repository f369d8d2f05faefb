"""Arrears: the visit and the cut permit: every guard, what revokes it, and what was told late."""

from typing import Any

import pytest

from schemas.arrears import Stage
from schemas.base import Actor
from tests.lifecycles.arrears_cases import (
    BOSS,
    CLERK,
    CREW,
    HOUR,
    LARGE,
    MINUTE,
    READER,
    VISIT,
    Debt,
    again,
    approved,
    authorised,
    days,
    eligible,
    fully_permitted,
    hold,
    instalments,
    noticed,
    opened,
    ordered,
    permitted,
    reminded,
    stopped,
    visited,
)
from tests.lifecycles.repair_cases import WATER

THEN = VISIT + HOUR
"""Ten o'clock, in the middle of the visit."""


def failed(debt: Debt, at: float = THEN, **fields: Any) -> str:
    return " ".join(debt.denied(at, **fields))


def test_a_permit_is_issued_when_every_guard_holds_and_says_so() -> None:
    debt = visited()
    assert debt.ask(THEN) == ["PermitIssued"]
    permit = debt.permit()
    assert permit.expires_at == days(THEN + 10 * MINUTE)
    assert all(g.holds for g in permit.guards)
    assert {g.name: g.rule for g in permit.guards} == {
        "reminders": "WAT-C1", "notice": "WAT-C2", "balance": "WAT-C2", "authorisation": None,
        "vulnerable": None, "holds": None, "neighbours": None, "fresh-look": None,
        "premises": None, "hours": None, "working-days": None, "season": None,
        "stage": "WAT-C2", "separation": None, "crew": None, "visit": None,
    }  # fmt: skip
    assert all(g.proof for g in permit.guards), "every guard names what shows it"


def test_a_large_meter_and_a_full_stop_have_guards_of_their_own() -> None:
    names = {g.name for g in permitted(approved()).permit().guards}
    assert "approval" in names
    full = {g.name: g.rule for g in fully_permitted().permit("permit-2").guards}
    assert (full["stop-order"], full["first-stop"], full["stage"]) == (
        "WAT-C4b", "WAT-C4a", "WAT-C4b",
    )  # fmt: skip
    assert "visit" not in full


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (opened, ["(WAT-C1)", "(WAT-C2)", "authorise the stop"]),
        (reminded, ["written notice", "authorise the stop"]),
        (noticed, ["written notice", "authorise the stop"]),
        (eligible, ["authorise the stop", "schedule a visit"]),
        (authorised, ["schedule a visit", "another crew's"]),
    ],
)
def test_a_refused_permit_lists_every_failed_guard(sample: Any, why: list[str]) -> None:
    debt = sample()
    reasons = failed(debt, 8 if debt.stage == Stage.NOTICE_SERVED else 10)
    for part in [*why, "between 09:00 and 15:00 only"]:
        assert part in reasons


GUARDS: list[tuple[dict[str, Any], dict[str, Any], float, str]] = [
    ({"premises_open": ["repair-3"]}, {}, THEN, "repair-3"),
    ({"premises_open": ["complaint-3", "repair-9"]}, {}, THEN, "complaint-3, repair-9"),
    ({"checked_at": days(THEN - 2 * MINUTE)}, {}, THEN, "too old"),
    ({"checked_at": days(THEN + MINUTE)}, {}, THEN, "lies ahead"),
    ({"crew": "crew-2", "actor": Actor(subject="crew-2", role="crew", proof="token")}, {}, THEN,
     "another crew's"),
    ({"crew": "reader-1", "actor": Actor(subject="app", role="service", proof="token")}, {}, THEN,
     "Send another crew"),
    ({"crew": "boss-1", "actor": Actor(subject="app", role="service", proof="token")}, {}, THEN,
     "Send another crew"),
    ({"actor": READER}, {}, THEN, "Whose round the account is on"),
    ({"actor": Actor(subject="crew-7", role="crew", proof="token")}, {}, THEN, "own number"),
    ({}, {}, VISIT - MINUTE, "between 09:00 and 15:00"),
    ({"for_full_stop": True}, {}, THEN, "stop order"),
    ({}, {"shared_valve": ["P-2"]}, THEN, "other premises' valve"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "opened_with", "at", "why"), GUARDS)
def test_each_guard_alone_refuses_the_permit(
    asked: dict[str, Any], opened_with: dict[str, Any], at: float, why: str
) -> None:
    debt = visited(authorised(**opened_with))
    assert why in failed(debt, at, **asked)
    assert not debt.state.permits


def test_another_accounts_arrears_on_the_premises_are_no_reason() -> None:
    assert visited().ask(THEN, premises_open=["arrears-1", "arrears-9"]) == ["PermitIssued"]


def test_nobody_is_cut_off_before_the_visit_begins_though_the_hours_have() -> None:
    debt = authorised()
    window: dict[str, Any] = {"start": days(VISIT + 2 * HOUR), "end": days(VISIT + 3 * HOUR)}
    debt.do("ScheduleVisit", 9.2, crew="crew-1", **window)
    assert failed(debt, THEN) == "Come within the time that the visit is scheduled for."


@pytest.mark.parametrize(
    ("day", "why"),
    [
        (11, "before a weekend"),  # Friday
        (12, "working days only"),  # Saturday
        (33, "public holiday"),  # Saturday 4 April, before Tomb-Sweeping Day
        (59, "public holiday"),  # Thursday 30 April, before Labour Day
    ],
)
def test_no_visit_before_or_on_a_weekend_or_public_holiday(day: int, why: str) -> None:
    window: dict[str, Any] = {"start": days(day + HOUR), "end": days(day + 2 * HOUR)}
    reasons = authorised().refusal("ScheduleVisit", 9.2, crew="crew-1", **window)
    assert why in " ".join(reasons)


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (10, 10 + 2 * HOUR, "between 09:00"),
        (VISIT, VISIT + 6.5 * HOUR, "between 09:00"),
        (VISIT, VISIT, "end after"),
        (VISIT, VISIT - HOUR, "end after"),
        (8 + HOUR, 8 + 2 * HOUR, "over already"),
        (VISIT, VISIT + 1, "one day"),
    ],
)
def test_a_visit_lies_within_the_permitted_hours_of_one_day(
    start: float, end: float, why: str
) -> None:
    debt = authorised(again(WATER, permit__working_days_after=0))
    body = {"crew": "crew-1", "start": days(start), "end": days(end)}
    assert why in " ".join(debt.refusal("ScheduleVisit", 9.2, **body))


def test_nobody_is_cut_off_in_the_protected_season() -> None:
    frost = again(WATER, permit__protected_seasons=[{"first": "03-10", "last": "03-12"}])
    window: dict[str, Any] = {"start": days(VISIT), "end": days(VISIT + HOUR)}
    reasons = authorised(frost).refusal("ScheduleVisit", 9.2, crew="crew-1", **window)
    assert "season" in " ".join(reasons)
    over = again(WATER, permit__protected_seasons=[{"first": "11-15", "last": "03-12"}])
    reasons = authorised(over).refusal("ScheduleVisit", 9.2, crew="crew-1", **window)
    assert "season" in " ".join(reasons), "a season may reach over New Year"
    gone = again(WATER, permit__protected_seasons=[{"first": "11-15", "last": "03-11"}])
    assert visited(authorised(gone)).stage == Stage.VISIT_DUE


@pytest.mark.parametrize("crew", ["reader-1", "READER-1", "boss-1"])
def test_who_reads_the_meter_or_authorised_the_stop_does_not_carry_it_out(crew: str) -> None:
    window: dict[str, Any] = {"start": days(VISIT), "end": days(VISIT + HOUR)}
    assert "carry it out" in " ".join(
        authorised().refusal("ScheduleVisit", 9.2, crew=crew, **window)
    )


def test_who_approved_the_stop_does_not_carry_it_out() -> None:
    window: dict[str, Any] = {"start": days(VISIT), "end": days(VISIT + HOUR)}
    assert "carry it out" in " ".join(
        approved().refusal("ScheduleVisit", 9.2, crew="head-1", **window)
    )


def test_a_visit_may_be_moved_and_is_missed_by_the_clock() -> None:
    debt = visited()
    later: dict[str, Any] = {"start": days(14 + HOUR), "end": days(14 + 2 * HOUR)}
    assert debt.do("ScheduleVisit", 9.5, crew="crew-2", **later) == ["VisitScheduled"]
    debt.wait(14.9)
    assert debt.stage == Stage.AUTHORISED
    assert debt.at("VisitMissed") == [pytest.approx(14 + 2 * HOUR)]


def test_a_permit_ends_with_the_visit_and_with_the_hours() -> None:
    debt = authorised()
    window: dict[str, Any] = {"start": days(VISIT), "end": days(THEN + 4 * MINUTE)}
    debt.do("ScheduleVisit", 9.2, crew="crew-1", **window)
    debt.ask(THEN)
    assert debt.permit().expires_at == days(THEN + 4 * MINUTE)
    debt = ordered()
    late = 15 + 7 * HOUR - 3 * MINUTE
    debt.ask(late, permit="permit-2", for_full_stop=True)
    assert debt.permit("permit-2").expires_at == days(15 + 7 * HOUR)


def test_a_permit_is_never_asked_for_at_another_time_than_now() -> None:
    debt = visited()
    debt.wait(THEN + 5 * MINUTE)
    why = debt.refusal("IssuePermit", THEN, told=THEN + 5 * MINUTE, actor=CREW, permit="permit-1",
                       crew="crew-1", premises_open=[], checked_at=days(THEN))  # fmt: skip
    assert "leave out `occurred_at`" in " ".join(why)


def test_a_permits_id_is_used_once_and_there_is_never_a_second_in_force() -> None:
    debt = permitted()
    assert debt.ask(THEN) == []
    assert "in force" in failed(debt, THEN + MINUTE, permit="permit-2")
    debt.wait(THEN + 11 * MINUTE)
    assert debt.permit().state == "expired"
    assert "used before" in failed(debt, THEN + 12 * MINUTE)
    assert debt.ask(THEN + 13 * MINUTE, permit="permit-2") == ["PermitIssued"]


def test_asked_again_with_a_look_that_shows_a_repair_the_permit_is_revoked() -> None:
    debt = permitted()
    assert debt.ask(THEN + MINUTE, premises_open=["repair-3"]) == ["PermitRevoked"]
    assert debt.permit().state == "revoked"


REVOKING: list[tuple[str, Actor, dict[str, Any]]] = [
    ("RecordPayment", CLERK, {
        "payment": "p", "amount": 1, "currency": "CNY", "paid_at": days(9)}),
    ("RecordPayment", CLERK, {
        "payment": "p", "amount": 12000, "currency": "CNY", "paid_at": days(9)}),
    ("PlaceHold", CLERK, hold()),
    ("PlaceHold", CLERK, hold(kind="vulnerable")),
    ("PlaceHold", CLERK, hold(kind="open_case")),
    ("AgreePlan", CLERK, instalments((12000, 30))),
    ("RecordVisitFailed", CREW, {"crew": "crew-1", "reason": "danger", "evidence": "card/1"}),
    ("RecordVisitFailed", CREW, {
        "crew": "crew-1", "reason": "ill", "evidence": "card/1", "vulnerable": True}),
    ("AddBills", CLERK, {
        "currency": "CNY", "run": "r", "bills": [{"bill": "B-9", "amount": 5, "due": "2026-01-01"}],
    }),
    ("CorrectBalance", CLERK, {
        "bill": "B-1", "amount": 1, "currency": "CNY", "reason": "x", "evidence": "x"}),
    ("RecordMoveOut", CLERK, {"moved_at": days(9), "evidence": "letter/1"}),
    ("WithdrawArrears", CLERK, {"reason": "mistake"}),
    ("ScheduleVisit", CLERK, {
        "crew": "crew-2", "start": days(14 + HOUR), "end": days(14 + 2 * HOUR)}),
    ("RecordValveClosed", CREW, {"crew": "crew-9", "valve": "V-1", "seal": "S-7", "reading": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "actor", "body"), REVOKING)
def test_whatever_changes_the_grounds_revokes_a_permit_in_flight(
    name: str, actor: Actor, body: dict[str, Any]
) -> None:
    debt = permitted()
    if body.get("crew") == "crew-9":
        actor = Actor(subject="crew-9", role="crew", proof="token")
    assert "PermitRevoked" in debt.do(name, THEN + MINUTE, actor=actor, **body)
    assert "permit_revoked" in debt.told_to("crew-1")
    caused = debt.close(THEN + 2 * MINUTE)
    assert "UnpermittedCut" in caused
    assert debt.last("UnpermittedCut").reason == "revoked"


def test_the_valve_closed_at_the_very_instant_of_the_payment_is_closed_wrongly() -> None:
    debt = permitted()
    debt.pay(12000, THEN + MINUTE)
    assert "UnpermittedCut" in debt.close(THEN + MINUTE)


def test_taking_the_case_or_reminding_again_leaves_the_permit() -> None:
    debt = permitted()
    debt.do("TakeCase", THEN + MINUTE)
    debt.do("RecordContact", THEN + MINUTE, how="door", evidence="photo/8")
    assert "UnpermittedCut" not in debt.close(THEN + 2 * MINUTE)


def test_a_permit_is_redeemed_once_by_the_crew_that_holds_it() -> None:
    debt = stopped()
    assert debt.stage == Stage.TEMPORARILY_STOPPED
    assert debt.permit().state == "redeemed"
    assert "UnpermittedCut" in debt.close(THEN + 6 * MINUTE, seal="S-2")
    assert debt.last("UnpermittedCut").reason == "redeemed_before"


@pytest.mark.parametrize(
    ("at", "fields", "reason"),
    [
        (THEN + 5 * MINUTE, {"permit": None}, "no_permit"),
        (THEN + 5 * MINUTE, {"permit": "permit-9"}, "unknown_permit"),
        (THEN + 5 * MINUTE, {"full": True}, "other_kind_of_stop"),
        (THEN + 10 * MINUTE, {}, "expired"),
        (THEN - MINUTE, {}, "before_permit"),
    ],
)
def test_a_closing_without_a_permit_that_held_is_on_record_and_an_incident(
    at: float, fields: dict[str, Any], reason: str
) -> None:
    debt = permitted()
    caused = debt.close(at, told=max(at, THEN), **fields)
    assert caused[:2] == ["ValveClosed", "UnpermittedCut"]
    incident = debt.last("UnpermittedCut")
    assert incident.reason == reason
    assert {g.name for g in incident.guards} >= {"notice", "holds", "balance"}
    assert debt.last("ValveClosed").permit is None
    assert debt.state.incidents == 1
    assert "unpermitted_cut" in debt.told_to("division_head")
    assert debt.promise("reconnect").outstanding, "a wrong stop is undone, whatever is owed"


def test_another_crews_closing_does_not_use_the_permit() -> None:
    debt = permitted()
    other = Actor(subject="crew-2", role="crew", proof="token")
    body = {"valve": "V-1", "seal": "S-1", "reading": 1, "permit": "permit-1"}
    debt.do("RecordValveClosed", THEN + MINUTE, actor=other, crew="crew-2", **body)
    assert debt.last("UnpermittedCut").reason == "other_crew"
    assert "own number" in " ".join(
        debt.refusal("RecordValveClosed", THEN + MINUTE, actor=other, crew="crew-1", **body)
    )


def test_a_closing_told_hours_late_counts_by_when_it_was_made() -> None:
    debt = permitted()
    debt.wait(THEN + 0.2)
    assert debt.permit().state == "expired"
    assert debt.close(THEN + 5 * MINUTE, told=THEN + 0.2)[0] == "ValveClosed"
    assert debt.permit().state == "redeemed"
    assert debt.stage == Stage.TEMPORARILY_STOPPED
    assert not debt.state.incidents


def test_a_payment_that_came_after_the_closing_does_not_make_it_wrong() -> None:
    debt = permitted()
    debt.pay(12000, THEN + 6 * MINUTE)
    caused = debt.close(THEN + 5 * MINUTE, told=THEN + HOUR)
    assert caused == ["ValveClosed", "CommitmentStarted reconnect"]
    assert debt.stage == Stage.RECONNECT_DUE


def test_a_payment_made_before_but_heard_of_after_the_closing_makes_reconnection_due() -> None:
    debt = permitted()
    debt.pay(12000, THEN - HOUR, told=THEN + 6 * MINUTE)
    assert debt.permit().ended_at == days(THEN + 6 * MINUTE)
    caused = debt.close(THEN + 5 * MINUTE, told=THEN + HOUR)
    assert "UnpermittedCut" not in caused
    assert debt.stage == Stage.RECONNECT_DUE


def test_a_valve_closed_when_nothing_is_owed_is_to_be_opened_at_once() -> None:
    debt = opened()
    debt.pay(12000, 1)
    assert "CommitmentStarted reconnect" in debt.close(2, permit=None)
    assert debt.stage == Stage.RECONNECT_DUE


def test_a_valve_closed_after_the_case_ended_brings_it_back_until_supply_is_on() -> None:
    debt = opened()
    debt.do("RecordMoveOut", 1, moved_at=days(1), evidence="letter/9")
    assert "UnpermittedCut" in debt.close(2, permit=None)
    assert (debt.stage, debt.state.closed_at) == (Stage.RECONNECT_DUE, None)
    body = {"crew": "crew-1", "seal_removed": "S-1", "reading": 1}
    debt.do("RecordReconnected", 2.5, actor=CREW, **body)
    assert debt.stage == Stage.MOVED_OUT


def test_a_vulnerable_person_at_the_door_aborts_the_visit_and_holds_the_case() -> None:
    debt = visited()
    body = {"crew": "crew-1", "reason": "oxygen", "evidence": "card/1", "vulnerable": True}
    caused = debt.do("RecordVisitFailed", THEN, actor=CREW, **body)
    assert caused[:2] == ["VisitFailed", "HoldPlaced"]
    assert debt.held == ["vulnerable-at-door"]
    assert debt.stage == Stage.ELIGIBLE
    assert debt.do("RecordVisitFailed", THEN, actor=CREW, **body) == []
    debt.do("ReleaseHold", 11, hold="vulnerable-at-door", reason="moved_to_family")
    debt.do("AuthoriseCutoff", 11, actor=BOSS)
    debt.do("RecordVisitFailed", 12, actor=CREW, **{**body, "evidence": "card/2"})
    assert debt.held == ["vulnerable-at-door-2"]


def test_a_failed_visit_leaves_the_authorisation_and_one_told_late_the_next_visit() -> None:
    debt = visited()
    body: dict[str, Any] = {"crew": "crew-1", "reason": "nobody-in"}
    assert debt.do("RecordVisitFailed", THEN, actor=CREW, evidence="card/1", **body) == [
        "VisitFailed"
    ]
    assert debt.stage == Stage.AUTHORISED
    window: dict[str, Any] = {"start": days(14 + HOUR), "end": days(14 + 2 * HOUR)}
    debt.do("ScheduleVisit", 11, crew="crew-1", **window)
    debt.do("RecordVisitFailed", THEN + HOUR, told=12, actor=CREW, evidence="card/2", **body)
    assert debt.stage == Stage.VISIT_DUE


@pytest.mark.parametrize("opened_with", [LARGE, {"boilers": True}, {"continuous_production": True}])
def test_without_a_valid_approval_there_is_no_permit_where_one_is_needed(
    opened_with: dict[str, Any],
) -> None:
    debt = visited(approved(**opened_with))
    assert debt.ask(THEN) == ["PermitIssued"]
    debt = visited(approved(**opened_with))
    debt.pay(1, 9.9)
    assert "division head's written approval" in failed(debt)


def test_a_full_stop_of_a_large_meter_needs_an_approval_of_its_own() -> None:
    debt = ordered(approved())
    at = 15 + 2 * HOUR
    assert "division head's written approval" in failed(debt, at, for_full_stop=True, permit="p")
    debt.do("RequestCutoff", at, reason="reopened")
    assert debt.state.approvals[-1].facts["stop"] == "full"
    debt.decide(at)
    assert debt.ask(at, permit="permit-2", for_full_stop=True) == ["PermitIssued"]


def test_the_stop_order_and_its_limit_come_before_the_full_stop() -> None:
    debt = ordered()
    assert "time limit" in failed(debt, 14 + 2 * HOUR, for_full_stop=True, permit="permit-2")
    assert debt.ask(15 + 2 * HOUR, permit="permit-2", for_full_stop=True) == ["PermitIssued"]


def test_nothing_follows_from_a_first_stop_that_had_no_permit() -> None:
    debt = visited()
    debt.close(THEN, permit=None)
    debt.do("ReportSelfReopened", 11, evidence="photo/open")
    debt.do("ServeStopOrder", 12, how="door", proof="photo/order")
    why = failed(debt, 15 + 2 * HOUR, for_full_stop=True, permit="permit-2")
    assert "first stop had no permit" in why


def test_a_hold_that_stands_refuses_a_visit_and_a_permit() -> None:
    debt = visited()
    debt.do("PlaceHold", 9.5, **hold())
    reasons = failed(debt)
    assert "dispute-1" in reasons
    assert "authorise the stop" in reasons, "the authorisation fell with it"
    debt.do("ReleaseHold", THEN, hold="dispute-1", reason="settled")
    window: dict[str, Any] = {"start": days(14 + HOUR), "end": days(14 + 2 * HOUR)}
    assert debt.refusal("ScheduleVisit", 11, crew="crew-1", **window)
