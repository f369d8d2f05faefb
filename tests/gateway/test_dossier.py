"""The dossier of a cutoff: what proves each condition, what is missing, and the page of it."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from activities.canonical import event_id
from gateway.dossier import dossier
from gateway.dossier_page import page
from schemas.arrears import Stage, ValveClosed
from schemas.dossier import Condition, Dossier, StopFile
from schemas.envelope import RecordedDecision
from tests.gateway.pages import read
from tests.gateway.shown import recorded
from tests.lifecycles.arrears_cases import (
    CLOSED,
    HOUR,
    MINUTE,
    SAMPLES,
    VISIT,
    Debt,
    approved,
    authorised,
    awaiting,
    days,
    fully_stopped,
    hold,
    noticed,
    opened,
    ordered,
    permitted,
    planned,
    reconnecting,
    reopened,
    stopped,
    visited,
)
from tests.lifecycles.repair_cases import WATER

BEFORE = 1000
"""Events of other cases that the log holds before these."""


def decisions(debt: Debt) -> list[RecordedDecision]:
    """The case as the log would hold it."""
    return recorded(debt.steps, BEFORE)


def dossier_of(debt: Debt, at: float = 20, found: list[RecordedDecision] | None = None) -> Dossier:
    found = decisions(debt) if found is None else found
    return dossier("town", debt.state.case_id, WATER, found, days(at))


def named(stop: StopFile, name: str) -> Condition:
    return next(c for c in stop.conditions if c.name == name)


def shown_by(stop: StopFile, name: str) -> list[tuple[str, str]]:
    return [(e.type, e.actor.subject) for e in named(stop, name).evidence]


def reworded(debt: Debt, type: str, **body: Any) -> list[RecordedDecision]:
    """The log with another body in every event of a type."""
    return [
        d.model_copy(
            update={"bodies": tuple({**b, **body} if b["type"] == type else b for b in d.bodies)}
        )
        for d in decisions(debt)
    ]


def test_every_condition_of_a_stop_is_there_with_its_rule_and_the_event_that_proves_it() -> None:
    found = dossier_of(stopped())
    assert (found.complete, found.missing) == (True, ())
    (stop,) = found.stops
    assert (stop.kind, stop.state, stop.complete, stop.missing) == ("temporary", "made", True, ())
    assert all(c.held and c.again for c in stop.conditions)
    rules = {c.name: c.rule for c in stop.conditions if c.rule}
    assert rules == {
        "reminders": "WAT-C1",
        "notice": "WAT-C2",
        "balance": "WAT-C2",
        "stage": "WAT-C2",
        "permit": "WAT-C2",
    }
    assert shown_by(stop, "reminders") == [("ContactRecorded", "clerk-1")] * 2
    assert shown_by(stop, "notice") == [
        ("NoticeServed", "clerk-1"),
        ("BecameEligible", "standpipe"),
    ]
    assert shown_by(stop, "balance") == [("ArrearsOpened", "clerk-1")]
    assert shown_by(stop, "authorisation") == [("CutoffAuthorised", "boss-1")]
    assert shown_by(stop, "visit") == [("VisitScheduled", "clerk-1")]
    assert shown_by(stop, "premises") == [("PermitIssued", "crew-1")]
    assert shown_by(stop, "permit") == [("PermitIssued", "crew-1"), ("ValveClosed", "crew-1")]
    assert named(stop, "hours").proof == f"policy/{WATER.hash}"


def test_an_event_is_named_by_its_place_and_identity_in_the_log() -> None:
    debt = stopped()
    closing = dossier_of(debt).stops[0].closing
    assert closing is not None
    version = next(i for i, e in enumerate(debt.events, 1) if isinstance(e, ValveClosed))
    assert (closing.stream, closing.version) == ("arrears-1", version)
    assert closing.position == BEFORE + version
    assert closing.event_id == event_id("town", "arrears-1", version)
    assert closing.at == days(VISIT + HOUR + 5 * MINUTE)
    assert closing.actor.role == "crew"


def test_a_large_meters_stop_is_proven_by_who_approved_it() -> None:
    (stop,) = dossier_of(stopped(approved())).stops
    assert named(stop, "approval").rule == "WAT-C3"
    assert shown_by(stop, "approval") == [
        ("ApprovalRequested", "clerk-1"),
        ("ApprovalGiven", "head-1"),
        ("ApprovalGranted", "head-1"),
        ("CutoffAuthorised", "head-1"),
    ]
    assert stop.complete


def test_a_full_stop_rests_on_the_first_one_and_on_the_stop_order() -> None:
    found = dossier_of(fully_stopped())
    first, full = found.stops
    assert (first.number, full.number) == (1, 2)
    assert found.complete
    assert named(full, "stop-order").rule == "WAT-C4b"
    assert shown_by(full, "stop-order") == [("StopOrderServed", "clerk-1")]
    assert shown_by(full, "first-stop") == [("ValveClosed", "crew-1"), ("SelfReopened", "clerk-1")]
    assert first.reopened is not None
    assert (full.kind, full.seal, full.reopened, full.restored) == ("full", "S-2", None, None)


def test_supply_that_was_restored_is_told_with_the_stop() -> None:
    debt = reconnecting()
    debt.do("RecordReconnected", 11.2, crew="crew-1", seal_removed="S-1", reading=121)
    (stop,) = dossier_of(debt).stops
    assert stop.restored is not None
    assert stop.restored.at == days(11.2)
    assert (stop.reopened, stop.complete) == (None, True)


def test_a_closing_told_late_is_proven_by_the_permit_that_it_had() -> None:
    debt = permitted()
    closed_at = VISIT + HOUR + 5 * MINUTE
    debt.close(closed_at, told=VISIT + 2 * HOUR)
    found = dossier_of(debt)
    assert found.complete
    (permit,) = found.permits
    assert permit.state == "redeemed"
    assert permit.ended is not None
    assert permit.ended.type == "ValveClosed"


def test_a_closing_without_a_permit_shows_the_incident_and_all_that_is_missing() -> None:
    debt = noticed()
    debt.close(3, permit=None)
    found = dossier_of(debt)
    (stop,) = found.stops
    assert not found.complete
    assert not stop.complete
    assert stop.incident is not None
    assert (stop.incident.type, stop.permit) == ("UnpermittedCut", None)
    failed = [c.name for c in stop.conditions if c.held is False]
    assert {"notice", "authorisation", "stage", "crew", "visit", "permit"} <= set(failed)
    assert {"fresh-look", "premises"} <= set(failed)
    assert named(stop, "reminders").held
    assert named(stop, "hours").evidence == (stop.incident,)
    assert stop.missing[-1] == "No permit covered this closing (no permit): it is an incident."
    unproven = [c.name for c in stop.conditions if c.missing]
    assert unproven == [*failed[:4], "separation", *failed[4:]]
    assert found.missing == tuple(f"Stop 1: {why}" for why in stop.missing)


def test_a_closing_after_its_permit_was_revoked_shows_the_permit_that_was_claimed() -> None:
    debt = permitted()
    debt.do("PlaceHold", VISIT + HOUR + MINUTE, **hold())
    debt.close(VISIT + HOUR + 2 * MINUTE)
    (stop,) = dossier_of(debt).stops
    assert stop.permit is not None
    assert stop.permit.state == "revoked"
    assert named(stop, "permit").held is False
    assert shown_by(stop, "holds") == [("HoldPlaced", "clerk-1")]
    assert stop.missing[-1].startswith("No permit covered this closing (revoked)")


def test_before_any_stop_the_dossier_says_what_is_missing_so_far() -> None:
    found = dossier_of(opened(), at=1)
    (stop,) = found.stops
    assert (stop.state, stop.kind, stop.complete, stop.closing) == (
        *("planned", "temporary", False),
        None,
    )
    assert not found.complete
    assert named(stop, "balance").held
    assert named(stop, "reminders").held is False
    for name in ("premises", "fresh-look", "hours", "working-days", "season", "permit"):
        assert named(stop, name).held is None
        assert named(stop, name).evidence == ()
    assert any("(WAT-C1)" in why for why in stop.missing)
    assert any("(WAT-C2)" in why for why in stop.missing)
    assert stop.missing[-1] == "The crew asks for its permit at the valve."


def test_a_scheduled_stop_lacks_nothing_but_the_look_at_the_valve() -> None:
    (stop,) = dossier_of(visited(), at=9.5).stops
    assert stop.missing == ("The crew asks for its permit at the valve.",)
    assert named(stop, "hours").held is True
    assert stop.crew == "crew-1"


def test_a_permit_in_force_leaves_but_the_closing() -> None:
    (stop,) = dossier_of(permitted(), at=VISIT + HOUR).stops
    assert stop.permit is not None
    assert stop.missing == ("The valve is not closed yet.",)
    assert named(stop, "premises").held is True
    assert stop.permit.open_cases == ()


def test_a_stop_order_plans_a_full_stop_beside_the_one_that_was_made() -> None:
    found = dossier_of(ordered(), at=13)
    made, comes = found.stops
    assert found.complete  # of what was done
    assert (made.state, comes.state, comes.kind) == ("made", "planned", "full")
    assert any("time limit is over" in why for why in comes.missing)


def test_an_approval_that_nobody_gave_yet_is_shown_as_asked_and_missing() -> None:
    (stop,) = dossier_of(awaiting(), at=9.1).stops
    assert shown_by(stop, "approval") == [("ApprovalRequested", "clerk-1")]
    assert named(stop, "approval").held is False


def test_an_authorisation_that_lapsed_is_shown_with_what_undid_it() -> None:
    debt = authorised()
    debt.do("PlaceHold", 9.1, **hold())
    (stop,) = dossier_of(debt, at=9.2).stops
    assert [e for e, _ in shown_by(stop, "authorisation")] == [
        "CutoffAuthorised",
        "AuthorisationLapsed",
    ]
    assert named(stop, "authorisation").held is False


@pytest.mark.parametrize("stage", [Stage.PAID, Stage.CLOSED, Stage.MOVED_OUT, Stage.WITHDRAWN])
def test_where_nothing_is_owed_no_stop_is_planned(stage: Stage) -> None:
    found = dossier_of(SAMPLES[stage](), at=40)
    assert (found.stops, found.complete, found.missing) == ((), True, ())
    assert "none is to be" in page(found)


def test_a_permit_that_a_payment_revoked_is_on_file_though_no_valve_was_closed() -> None:
    debt = permitted()
    debt.pay(12000, VISIT + HOUR + MINUTE)
    found = dossier_of(debt)
    (permit,) = found.permits
    assert permit.state == "revoked"
    assert permit.ended is not None
    assert permit.ended.type == "PermitRevoked"
    assert found.stops == ()


# What does not add up


def test_a_condition_on_record_that_the_log_contradicts_is_not_proven() -> None:
    # Somebody put the notice's period behind: by the log it was not over.
    log = reworded(stopped(), "NoticeServed", effective_at=days(12).isoformat())
    (stop,) = dossier_of(stopped(), found=log).stops
    notice = named(stop, "notice")
    assert (notice.held, notice.again) == (True, False)
    assert notice.missing is not None
    assert "by the log it was not so" in notice.missing
    assert not stop.complete


def test_a_condition_that_was_never_evaluated_or_has_no_proof_is_missing() -> None:
    debt = stopped()
    guards = [g.model_dump(mode="json") for g in debt.state.permits[0].guards]
    kept = [g for g in guards if g["name"] != "season"]
    for guard in kept:
        if guard["name"] == "visit":
            guard["proof"] = "arrears-1/999"
    (stop,) = dossier_of(debt, found=reworded(debt, "PermitIssued", guards=kept)).stops
    assert [c.name for c in stop.conditions if c.missing] == ["visit", "season"]
    assert named(stop, "season").held is None
    assert any("was not evaluated" in why for why in stop.missing)
    assert any("no event in the log proves it" in why for why in stop.missing)


@pytest.mark.parametrize(
    "body",
    [{"at": days(VISIT + 2 * HOUR).isoformat()}, {"crew": "crew-2"}, {"kind": "full"}],
)
def test_a_closing_beside_its_permit_is_not_proven(body: dict[str, Any]) -> None:
    debt = stopped()
    (stop,) = dossier_of(debt, found=reworded(debt, "ValveClosed", **body)).stops
    assert named(stop, "permit").held is False
    assert not stop.complete


# As files


def test_its_json_form_has_stable_keys() -> None:
    found = dossier_of(stopped()).model_dump(mode="json")
    assert found["format"] == "standpipe-dossier/1"
    assert " ".join(found) == (
        "format case_id organisation policy policy_hash time_zone as_of version stage supply"
        " account premises dn customer_class boilers continuous_production currency balance"
        " balance_text threshold complete missing stops permits events"
    )
    (stop,) = found["stops"]
    assert " ".join(stop) == (
        "number kind state crew valve seal reading conditions permit closing incident reopened"
        " restored complete missing"
    )
    condition = stop["conditions"][0]
    assert " ".join(condition) == "name title rule held again proof evidence missing"
    assert " ".join(stop["closing"]) == (
        "stream version position event_id type at decided_at actor command_id text"
    )
    assert stop["permit"]["open_cases"] == []
    assert (found["balance"], found["balance_text"]) == (12000, "CNY 120.00 is owed")


def test_the_customer_is_not_in_it() -> None:
    found = dossier_of(stopped())
    assert "party" not in json.dumps(found.model_dump(mode="json"))
    assert "party" not in page(found)


@pytest.mark.parametrize("stage", sorted(set(SAMPLES) - {Stage.UNOPENED}))
def test_the_page_of_a_case_at_any_stage_stands_alone_and_is_well_formed(stage: Stage) -> None:
    html = page(dossier_of(SAMPLES[stage](), at=40))
    reader = read(html)
    assert reader.links == []
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.seen)
    assert "@import" not in html
    assert "url(" not in html


def test_the_page_tells_conditions_rules_events_and_local_times() -> None:
    reader = read(page(dossier_of(stopped())))
    for word in ("Every closing of a valve is proven.", "WAT-C1", "✓", "NoticeServed", "boss-1"):
        assert word in reader.text
    assert "✗" not in reader.text
    assert "2026-03-12 10:05:00" in reader.text  # 09:00 in Shanghai, and 65 minutes
    assert "arrears-1/" in reader.text


def test_the_page_escapes_whatever_it_is_given() -> None:
    found = dossier_of(stopped())
    evil = '<script src="//x">&"\''
    events = (found.events[0].model_copy(update={"text": evil, "type": evil}), *found.events[1:])
    changed = found.model_copy(
        update={"events": events, "account": evil, "missing": (evil,), "organisation": evil}
    )
    html = page(changed)
    assert "<script" not in html
    reader = read(html)
    assert reader.text.count(evil) == 4


def test_as_of_is_never_before_the_last_decision() -> None:
    debt = stopped()
    found = dossier("town", "arrears-1", WATER, decisions(debt), days(0))
    assert found.as_of == max(step.decided_at for step in debt.steps)
    assert isinstance(found.as_of, datetime)
    assert found.as_of - days(0) > timedelta(days=9)
    assert CLOSED["valve"] == found.stops[0].valve


def test_a_broken_off_plan_holds_what_is_planned() -> None:
    (stop,) = dossier_of(planned(), at=10).stops
    assert named(stop, "holds").held is False
    assert shown_by(stop, "holds") == [("HoldPlaced", "clerk-1")]
    assert named(stop, "vulnerable").held


def test_a_supply_that_the_customer_reopened_awaits_its_stop_order() -> None:
    made, comes = dossier_of(reopened(), at=11.5).stops
    assert made.reopened is not None
    assert any("Serve the stop order first" in why for why in comes.missing)
