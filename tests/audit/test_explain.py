"""A case at any moment: what the log knew then, who had it, what was owed; and the page of it."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from audit.explain import Explanation, explain, held, moment
from audit.explain_page import page
from gateway.commands import Invalid
from gateway.standing import Promise
from gateway.terminal.audit_case import drawn_explanation
from gateway.timeline import timeline
from lifecycles.lifecycle import LIFECYCLES, Step, lifecycle_of, plan
from lifecycles.policies import Pinned
from schemas.envelope import Json, RecordedDecision
from tests.gateway.pages import read
from tests.gateway.shown import GAS, HOUR, NINE, command, recorded
from tests.gateway.test_other_timelines import asked as extension_asked
from tests.lifecycles import (
    arrears_cases,
    assessment_cases,
    complaint_cases,
    conduct_cases,
    repair_cases,
    satisfaction_cases,
    test_archive,
    test_premises,
)
from tests.lifecycles.repair_cases import WATER

REPORT = {
    "channel": "phone",
    "category": "no-gas",
    "district": "north",
    "party": "party-1",
    "recorded": ["name", "address", "phone"],
}
CREW = {"who": "crew-7", "role": "crew"}
SYSTEM = {"subject": "standpipe", "role": "system", "proof": "system"}


def lived(case_id: str, commands: Sequence[Json], until: float) -> list[RecordedDecision]:
    """A case as the log holds it `until` so many hours after nine.

    Each command is decided when it happened, or at `told` where it has that.
    """
    lifecycle = lifecycle_of(case_id)
    state = lifecycle.initial(case_id, "town", *GAS)
    steps: list[Step] = []
    version = 0

    def pass_until(now: datetime, *sent: Any) -> None:
        """The clock in time, then a command."""
        nonlocal state, version
        while (due := lifecycle.next_deadline(state)) is not None and due < now:
            made = plan(lifecycle, state, version, [], due)
            steps.extend(made.steps)
            state, version = made.state, made.version
        made = plan(lifecycle, state, version, sent, now)
        assert not made.refused, made.refused
        steps.extend(made.steps)
        state, version = made.state, made.version

    for raw in commands:
        told = raw.pop("told", None)
        sent = lifecycle.command(raw)
        now = sent.occurred_at if told is None else NINE + told * HOUR
        assert now is not None
        pass_until(now, sent)
    pass_until(NINE + until * HOUR)
    return recorded(steps)


def repaired() -> list[RecordedDecision]:
    """Late, paused for parts, and handed over to somebody else."""
    return lived(
        "repair-1",
        [
            command("ReportRepair", 0, **REPORT),
            command("TriageRepair", 1 / 6, category="no-gas", severity="common"),
            command("DispatchCrew", 1 / 6, crew="crew-7"),
            command("AcceptJob", 1 / 6, crew="crew-7", **CREW),
            command("RecordArrival", 7, crew="crew-7", **CREW) | {"told": 8},
            command("PauseWork", 9, reason="awaiting_parts", evidence="slip-1"),
            command("ResumeWork", 20),
            command("HandOverCase", 22, to={"kind": "person", "id": "clerk-9"}, reason="shift"),
        ],
        40,
    )


def at(hours: float, decisions: Sequence[RecordedDecision] | None = None) -> Explanation:
    known = repaired() if decisions is None else decisions
    return explain("town", "repair-1", GAS, known, NINE + hours * HOUR)


def promise(shown: Explanation, name: str) -> Promise:
    assert shown.timeline is not None
    return next(c for c in shown.timeline.commitments if c.id == name)


def drawn(shown: Explanation, width: int = 100) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        for part in drawn_explanation(shown):
            console.print(part)
    return capture.get()


def test_a_moment_shows_the_stage_the_owner_and_what_was_left_of_each_promise() -> None:
    shown = at(2)
    assert shown.timeline is not None
    assert (shown.timeline.stage, shown.timeline.as_of) == ("Accepted", NINE + 2 * HOUR)
    assert shown.local == "2026-03-02T11:00:00+08:00"
    assert promise(shown, "attend").text == "due 2 Mar 15:00, 4 h left"
    assert shown.owners[-1].until is None
    assert [o.owner.id for o in shown.owners] == ["clerk-1", "crew-7"]
    assert [e.tell for e in shown.escalations] == []
    assert [e.tell for e in at(6.5).escalations] == ["crew_leader", "supervisor", "station_head"]


def test_who_had_the_case_is_counted_for_as_long_as_the_promise_ran_and_no_longer() -> None:
    repair = promise(at(24), "repair")
    assert [(o.id, t) for o, t in held(repair.held)] == [
        ("crew-7", 11 * HOUR - HOUR / 6),  # to 22:00 next day, without eleven hours of waiting
        ("clerk-9", 2 * HOUR),
        ("clerk-1", HOUR / 6),
    ]
    (pause,) = repair.pauses
    assert (pause.since, pause.until) == (NINE + 9 * HOUR, NINE + 20 * HOUR)
    assert promise(at(12), "repair").state == "paused"
    assert promise(at(12), "repair").text == "time stands still since 2 Mar 18:00, 15 h left"


def test_the_log_knew_at_a_moment_only_what_had_been_told() -> None:
    before, after = at(7.5), at(8)
    assert promise(before, "attend").text == "broken, 1 h 30 min late so far"
    assert next((e.type, e.at) for e in before.told_later) == ("CrewArrived", NINE + 7 * HOUR)
    assert before.timeline is not None
    assert before.timeline.stage == "Accepted"
    assert promise(after, "attend").text == "broken, met 1 h late"
    assert after.told_later == ()
    (late,) = [d for d in after.story if d.told_late]
    assert (late.command, late.at, late.decided_at) == (
        "RecordArrival",
        NINE + 7 * HOUR,
        NINE + 8 * HOUR,
    )
    assert before.later == len(repaired()) - len(before.story)


def test_a_story_says_of_every_decision_who_how_proven_and_which_events() -> None:
    shown = at(7.5)
    first = shown.story[0]
    assert (first.command, first.actor.subject, first.actor.proof, first.by_clock) == (
        *("ReportRepair", "clerk-1", "local"),
        False,
    )
    assert any(d.by_clock and d.actor.role == "system" for d in shown.story)
    assert shown.timeline is not None
    told = [v for d in shown.story for v in d.versions]
    assert told == [e.version for e in shown.timeline.events]
    assert max(d.decided_at for d in shown.story) <= shown.at


def test_stages_and_owners_fill_the_time_without_a_gap() -> None:
    shown = at(24)
    for spans in (shown.stages, shown.owners):
        assert spans[0].since == NINE
        assert [s.until for s in spans[:-1]] == [s.since for s in spans[1:]]
        assert spans[-1].until is None
    assert [s.stage for s in shown.stages] == [
        *("Reported", "Triaged", "Dispatched", "Accepted", "OnSite", "Paused", "OnSite")
    ]


def test_before_anybody_told_of_it_the_log_did_not_know_the_case() -> None:
    imported = lived("repair-1", [command("ReportRepair", 0, **REPORT) | {"told": 30}], 31)
    shown = at(3, imported)
    assert (shown.known, shown.timeline, shown.story) == (False, None, ())
    assert shown.first_told == NINE + 30 * HOUR
    assert shown.told_later[0].type == "RepairReported"
    assert "did not know this case then" in drawn(shown)
    assert "did not know this case then" in read(page(shown)).text
    assert at(3, []).first_told is None


def test_the_last_moment_is_what_case_show_shows() -> None:
    decisions = repaired()
    now = NINE + 40 * HOUR
    assert at(40).timeline == timeline("town", "repair-1", GAS, decisions, now)


def test_an_approval_is_shown_with_who_was_asked_barred_and_let_decide() -> None:
    delegation = command(
        "DelegateApproval",
        5,
        approval="extension-1",
        to="deputy-1",
        until=(NINE + 20 * HOUR).isoformat(),
        reason="leave",
        who="boss-1",
        role="supervisor",
    )
    decisions = lived("complaint-1", [*extension_asked(), delegation], 6)
    then = explain("town", "complaint-1", GAS, decisions, NINE + 5 * HOUR)
    assert then.timeline is not None
    (asked,) = then.timeline.approvals
    assert (asked.state, asked.asked_by, asked.given) == ("requested", "s-77", ())
    assert "s-77" in asked.barred
    assert [(d.by, d.to) for d in asked.delegations] == [("boss-1", "deputy-1")]
    text = drawn(then)
    assert re.search("but not .*s-77", text)
    assert "boss-1 to deputy-1" in text
    html = read(page(then)).text
    assert re.search("not .*s-77", html)
    assert "boss-1 lets deputy-1 decide" in html


def test_holds_permits_and_open_requests_are_as_they_stood() -> None:
    debt = arrears_cases.permitted()
    asked_at = arrears_cases.VISIT + arrears_cases.HOUR
    debt.do("PlaceHold", asked_at + 2 * arrears_cases.MINUTE, **arrears_cases.hold())
    debt.do("ReleaseHold", 11, hold="dispute-1", reason="settled")
    decisions = recorded(debt.steps)

    def then(days: float) -> Explanation:
        return explain("town", "arrears-1", WATER, decisions, arrears_cases.days(days))

    issued = then(asked_at + arrears_cases.MINUTE)
    assert ([p.state for p in issued.permits], issued.holds) == (["issued"], ())
    assert [r.command for r in issued.requests] == ["RecordPresence"]
    stands = then(10.5)
    assert [p.state for p in stands.permits] == ["revoked"]
    assert [(h.hold, h.ended) for h in stands.holds] == [("dispute-1", None)]
    over = then(12)
    assert [(h.ended, h.reason) for h in over.holds] == [("released", "settled")]
    assert "released" in drawn(over)
    assert "revoked" in read(page(over)).text
    assert "Waits for the answer of premises-town--p-1" in drawn(over)


def place() -> None:
    place = test_premises.Place()
    place.hear(test_premises.A, True, 1)
    place.hear("repair-1", True, 1)
    place.hear("repair-1", False, 2)


def register() -> None:
    register = satisfaction_cases.Register()
    register.sample([f"repair-{n}" for n in range(30)])
    register.month("2026-05", "2026-06-02", {"north": (10, 2)})


def archived() -> None:
    register = test_archive.Register()
    register.enter()
    register.take([], test_archive.ENDS + test_archive.DAY)


LIVES: dict[str, tuple[Any, Callable[[], object], Pinned]] = {
    "repair": (repair_cases, repair_cases.unhappy, GAS),
    "complaint": (repair_cases, complaint_cases.confirmed, GAS),
    "conduct": (conduct_cases, conduct_cases.reassigned, GAS),
    "arrears": (arrears_cases, arrears_cases.fully_stopped, WATER),
    "assessment": (assessment_cases, assessment_cases.closed, WATER),
    "premises": (test_premises, place, WATER),
    "satisfaction": (satisfaction_cases, register, GAS),
    "archive": (test_archive, archived, GAS),
}


def test_no_kind_of_case_is_left_out() -> None:
    assert LIVES.keys() == LIFECYCLES.keys()


@pytest.mark.parametrize("kind", LIVES)
def test_every_kind_of_case_is_explained_at_every_moment_of_its_life(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, live, policy = LIVES[kind]
    steps: list[Step] = []

    def noted(*arguments: Any) -> Any:
        made = plan(*arguments)
        steps.extend(made.steps)
        return made

    monkeypatch.setattr(module, "plan", noted)
    live()
    decisions = recorded(steps)
    case_id = steps[-1].state.case_id
    lifecycle = lifecycle_of(case_id)
    for instant in sorted({d.decided_at for d in decisions}):
        shown = explain("town", case_id, policy, decisions, instant)
        count = sum(len(d.bodies) for d in decisions if d.decided_at <= instant)
        state = lifecycle.fold(
            lifecycle.initial(case_id, "town", *policy),
            [event for step in steps for event in step.events][:count],
        )
        assert shown.timeline is not None
        assert (shown.timeline.version, shown.timeline.stage) == (count, state.stage)
        assert Explanation.model_validate_json(shown.model_dump_json()) == shown
        assert case_id in drawn(shown)
        reader = read(page(shown))
        assert reader.links == []
        assert not {"script", "link", "img", "iframe", "object"} & set(reader.seen)


# The page and its picture


def test_the_picture_has_a_line_at_the_moment_and_a_bar_for_every_stretch() -> None:
    shown = at(24)
    html = page(shown)
    assert html.count('class="at"') == 1
    assert html.count('<rect class="stage"') == len(shown.stages)
    assert html.count('<rect class="owner"') == len(shown.owners)
    assert html.count('<path class="raised"') == len(shown.escalations)
    assert html.count('<rect class="broken"') == 1  # attend, one hour late
    assert html.count('<rect class="pause"') == 1
    assert html.count('<rect class="left"') == 1  # what is left for the repair
    text = read(html).text
    assert "repair stood still, 2 Mar 18:00 to 3 Mar 05:00, 11 h: awaiting parts (slip-1)" in text
    assert "attend (KUN-2.2.4b): broken, met 1 h late" in text


@pytest.mark.parametrize("hours", [0, 0.001, 1, 24, 24 * 400])
def test_everything_in_the_picture_lies_inside_it(hours: float) -> None:
    svg = page(at(hours)).partition("<svg")[2].partition("</svg>")[0]
    for part in svg.split("<rect ")[1:]:
        x, width = (
            float(part.partition(f'{name}="')[2].partition('"')[0]) for name in ("x", "width")
        )
        assert x >= 168
        assert width >= 1
        assert x + width <= 948
    assert 1 <= svg.count('class="grid"') <= 9 or hours < 1


def test_the_page_escapes_whatever_it_is_given() -> None:
    evil = '<script src="//x">&"\''
    shown = at(24)
    story = tuple(d.model_copy(update={"command": evil}) for d in shown.story)
    stages = tuple(s.model_copy(update={"stage": evil}) for s in shown.stages)
    html = page(shown.model_copy(update={"story": story, "stages": stages, "policy": evil}))
    assert "<script" not in html
    assert evil in read(html).text


# --at


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-02T14:00", NINE + 5 * HOUR),
        ("2026-03-02 14:00:00", NINE + 5 * HOUR),
        ("2026-03-02T06:00Z", NINE + 5 * HOUR),
        ("2026-03-02T08:00+02:00", NINE + 5 * HOUR),
        ("2026-03-02", NINE + 15 * HOUR - timedelta.resolution),
        ("2026-03-03", NINE + 30 * HOUR),  # a day that is not over
    ],
)
def test_a_moment_is_read_by_the_cases_own_clock(text: str, instant: datetime) -> None:
    assert moment(text, "Asia/Shanghai", NINE + 30 * HOUR) == instant


@pytest.mark.parametrize(
    ("text", "zone", "why"),
    [
        ("yesterday", "Asia/Shanghai", "write a day, or a day and a time"),
        ("2026-02-30", "Asia/Shanghai", "write a day, or a day and a time"),
        ("0001-01-01T00:00", "Asia/Shanghai", "write a day, or a day and a time"),
        ("9999-12-31", "Asia/Shanghai", "lies in the future"),
        ("2026-03-05T00:00", "Asia/Shanghai", "lies in the future"),
        ("2025-10-26T01:30", "Europe/London", "add an offset"),
        ("2025-03-30T01:30", "Europe/London", "add an offset"),
    ],
)
def test_a_moment_that_is_none_is_refused_with_one_clear_reason(
    text: str, zone: str, why: str
) -> None:
    with pytest.raises(Invalid) as refused:
        moment(text, zone, NINE + 30 * HOUR)
    (reason,) = refused.value.reasons
    assert reason.startswith("--at: ")
    assert why in reason
