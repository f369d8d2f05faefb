"""Every event must be the lawful outcome of its command: forgers with perfect hashes are found."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.canonical import canonical
from audit.findings import Finding
from audit.log import RawCase, RawDecision
from audit.redecide import MOST, redecide
from bench.lives import Life, lives
from schemas.base import SYSTEM
from tests.audit.told import (
    GAS,
    MONDAY,
    ORGANISATION,
    REPORT,
    Told,
    commanded,
    hours,
    rehashed,
    repaired,
    reworded,
)

# The decisions of `repaired`, in their order; the one that is not named is another rung.
REPORTED, TRIAGED, RUNGS, _, DISPATCHED, TAKEN, TAKEN_AGAIN = range(7)
LATE, ARRIVED, FIXED, CALLED = range(7, 11)


@pytest.fixture
def repair() -> Told:
    return repaired()


def found(case: RawCase, **more: Any) -> list[tuple[int | None, str]]:
    return [(f.version, f.what) for f in redecide(case, ORGANISATION, **more)]


@pytest.mark.parametrize("life", lives(), ids=lambda life: life.kind)
def test_a_life_decides_again_as_it_was(life: Life) -> None:
    told = Told(f"{life.kind}-1", life.policy)
    since = (datetime.now(UTC) - MONDAY) / timedelta(hours=1)  # it tells of the last few days
    for minute, word in enumerate(life.said("1")):
        told.hear(since + minute / 60, word)
    assert redecide(told.case(), ORGANISATION, told.outbox) == []
    assert len(told.decisions) >= 7


def test_deadlines_late_words_and_words_that_change_nothing_are_lawful(repair: Told) -> None:
    assert [d.command_id.partition("/")[0] for d in repair.decisions].count("deadline") == 3
    assert [len(d.events) for d in repair.decisions][TAKEN_AGAIN] == 0
    assert redecide(repair.case(), ORGANISATION, repair.outbox) == []


def test_an_event_that_says_something_else_is_unlawful(repair: Told) -> None:
    case = repair.forged(TRIAGED, lambda d: reworded(d, 0, severity="hazard"))
    (finding,) = redecide(case, ORGANISATION)
    assert (finding.check, finding.stream, finding.version) == ("decision", "repair-1", 5)
    assert finding.position == repair.decisions[TRIAGED].position
    assert "TriageRepair does not cause this RepairTriaged" in finding.what


def test_one_forged_event_does_not_hide_another(repair: Told) -> None:
    case = repair.forged(TRIAGED, lambda d: reworded(d, 0, severity="hazard"))
    twice = rehashed(reworded(case.decisions[FIXED], 0, work=["nothing"]))
    told = [twice if d is case.decisions[FIXED] else d for d in case.decisions]
    assert [version for version, _ in found(repair.case(told))] == [5, 18]


def test_an_event_too_many_and_one_too_few_are_found(repair: Told) -> None:
    def doubled(d: RawDecision) -> RawDecision:
        again = d.events[-1]._replace(version=d.version + 1, position=d.position + 1)
        return d._replace(events=(*d.events, again), version=d.version + 1)

    last = len(repair.decisions) - 1
    assert (
        found(repair.forged(last, doubled))
        == [(25, "CallbackRecorded causes no such event: RepairClosed is one too many.")]
        or "one too many" in found(repair.forged(last, doubled))[0][1]
    )

    def halved(d: RawDecision) -> RawDecision:
        return d._replace(events=d.events[:-1], version=d.version - 1)

    ((version, what),) = found(repair.forged(CALLED, halved))
    assert version == 22
    assert "1 more events, which are not there" in what


def test_an_event_under_a_word_that_changed_nothing_is_unlawful(repair: Told) -> None:
    def claimed(d: RawDecision) -> RawDecision:
        model = repair.decisions[DISPATCHED].events[0]
        event = model._replace(version=14, position=1014, command_id=d.command_id)
        return d._replace(events=(event,), version=14)

    findings = found(repair.forged(TAKEN_AGAIN, claimed))
    assert findings[0][0] == 14
    assert "no such event: CrewDispatched is one too many" in findings[0][1]


def test_a_command_that_would_have_been_refused_caused_nothing(repair: Told) -> None:
    def earlier(d: RawDecision) -> RawDecision:
        return commanded(d, occurred_at=(MONDAY - timedelta(days=1)).isoformat())

    findings = found(repair.forged(TRIAGED, earlier))
    assert findings[0][0] == 5
    assert "RepairTriaged has no lawful cause. TriageRepair is refused" in findings[0][1]
    assert "before the report" in findings[0][1]


def test_a_command_that_the_kind_does_not_know_caused_nothing(repair: Told) -> None:
    case = repair.forged(TRIAGED, lambda d: commanded(d, body={"type": "Forget"}))
    assert "RepairTriaged has no lawful cause. body: unknown type" in found(case)[0][1]


@pytest.mark.parametrize("left_out", [TRIAGED, DISPATCHED, ARRIVED, FIXED])
def test_a_decision_that_was_left_out_makes_what_follows_unlawful(
    repair: Told, left_out: int
) -> None:
    """Whoever takes one out moves the others up; every hash fits."""
    gone = len(repair.decisions[left_out].events)
    told: list[RawDecision] = []
    for place, d in enumerate(repair.decisions):
        if place > left_out:
            events = tuple(e._replace(version=e.version - gone) for e in d.events)
            told.append(rehashed(d._replace(version=d.version - gone, events=events)))
        elif place < left_out:
            told.append(d)
    assert found(repair.case(told))


def test_two_decisions_that_changed_places_are_found(repair: Told) -> None:
    told = list(repair.decisions)
    told[DISPATCHED], told[ARRIVED] = told[ARRIVED], told[DISPATCHED]
    assert found(repair.case(told))


def test_a_deadline_that_was_passed_over_is_found(repair: Told) -> None:
    """The rungs of a missed promise are taken out, as if the word had come in time."""
    told = Told("repair-1")
    told.decisions = repair.decisions[:RUNGS]
    late = rehashed(repair.decisions[TAKEN_AGAIN]._replace(version=5))
    findings = found(told.case([*told.decisions, late]))
    assert len(findings) == 2
    assert "the deadline of 2026-03-02T00:15:00+00:00 was passed over" in findings[0][1]
    assert "had come by then, and was left out" in findings[1][1]


def test_a_deadline_that_nobody_decided_in_the_end_is_found() -> None:
    reported = Told("repair-1").say(0, "ReportRepair", happened=0, **REPORT)
    assert found(reported.case()) == []
    ((_, what),) = found(reported.forged(0, lambda d: d._replace(decided_at=hours(1))))
    assert "had come by then, and was left out" in what


@pytest.mark.parametrize(
    ("forge", "why"),
    [
        (lambda d: d._replace(decided_at=hours(1)), "had not come yet"),
        (
            lambda d: commanded(
                d,
                body={"type": "DeadlinePassed", "at": "2026-03-02T00:01:00Z"},
                id="deadline/5/2026-03-02T00:01:00+00:00",
            )._replace(command_id="deadline/5/2026-03-02T00:01:00+00:00"),
            "nothing was due",
        ),
        (
            lambda d: commanded(
                d,
                body={"type": "DeadlinePassed", "at": "2026-03-02T03:30:00Z"},
                id="deadline/5/2026-03-02T03:30:00+00:00",
            )._replace(command_id="deadline/5/2026-03-02T03:30:00+00:00"),
            "comes by itself",
        ),
        (lambda d: commanded(d, id="c/9")._replace(command_id="c/9"), "The clock would have said"),
        (
            lambda d: commanded(d, actor={"subject": "clerk-1", "role": "clerk", "proof": "local"}),
            "The clock would have said",
        ),
    ],
)
def test_the_clock_says_nothing_but_what_is_due(
    repair: Told, forge: Callable[[RawDecision], RawDecision], why: str
) -> None:
    assert any(why in what for _, what in found(repair.forged(RUNGS, forge)))


def test_time_does_not_run_backwards(repair: Told) -> None:
    back = hours(0.02)
    findings = found(repair.forged(TRIAGED, lambda d: d._replace(decided_at=back)))
    assert all("what came before it" not in what for _, what in findings)
    case = repair.case([*repair.decisions[:2], repair.decisions[TAKEN]._replace(decided_at=back)])
    assert any("but what came before it at" in what for _, what in found(case))


def test_the_command_is_the_one_that_it_says_it_is(repair: Told) -> None:
    case = repair.forged(TRIAGED, lambda d: commanded(d, id="c/99"))
    assert "The command itself has another id" in found(case)[0][1]


def test_messages_must_follow_from_the_events(repair: Told) -> None:
    position, messages = next(iter(repair.outbox.items()))
    other = {**messages[0], "recipient": "somebody"}
    for outbox in (
        {**repair.outbox, position: [other, *messages[1:]]},
        {**repair.outbox, position: []},
        {**repair.outbox, position: [*messages, other]},
    ):
        (finding,) = redecide(repair.case(), ORGANISATION, outbox)
        assert (finding.check, finding.position) == ("message", position)
    silent = next(e for d in repair.decisions for e in d.events if e.position not in repair.outbox)
    (finding,) = redecide(repair.case(), ORGANISATION, {**repair.outbox, silent.position: [other]})
    assert (finding.check, finding.version) == ("message", silent.version)


def test_nobody_answers_what_was_never_asked_nor_speaks_for_another_case(repair: Told) -> None:
    def answer(actor: Any) -> Callable[[RawDecision], RawDecision]:
        body = {"type": "RecordAnswer", "request": "repair-1/asks/1", "accepted": True}
        id = "repair-1/asks/1/answer"
        return lambda d: commanded(
            d, body={**body, "reasons": []}, id=id, actor=actor, occurred_at=None
        )._replace(command_id=id)

    clerk = {"subject": "clerk-1", "role": "clerk", "proof": "local"}
    system = SYSTEM.model_dump(mode="json")
    ((_, what),) = found(repair.forged(TAKEN_AGAIN, answer(system)))
    assert "what the case never asked" in what
    ((_, what),) = found(repair.forged(TAKEN_AGAIN, answer(clerk)))
    assert "The case itself would have told this answer" in what

    adopt = {"type": "AdoptReport", "case": "repair-2", "party": None}
    adopt |= {"since": hours(0).isoformat(), "priority": False}
    assert found(repair.forged(TAKEN_AGAIN, lambda d: commanded(d, body=adopt)))


def test_an_event_without_any_decision_is_found(repair: Told) -> None:
    orphan = repair.decisions[-1].events[-1]._replace(version=25, position=1025, command_id="c/0")
    case = repair.case()._replace(orphans=(orphan,))
    ((version, what),) = found(case)
    assert version == 25
    assert "names a command that the log does not have" in what


@pytest.mark.parametrize("policy", [None, "{}", "no JSON"])
def test_a_case_without_its_policy_cannot_be_decided_again(
    repair: Told, policy: str | None
) -> None:
    ((_, what),) = found(repair.case()._replace(policy=policy))
    assert "Not decided again: the policy" in what


def test_the_findings_of_one_case_are_so_many_at_most(repair: Told) -> None:
    told = [rehashed(d._replace(command=b"{}")) for d in repair.decisions] * 4
    findings = redecide(repair.case(told), ORGANISATION)
    assert MOST <= len(findings) <= MOST + 10
    assert "the rest of the case was left out" in findings[-1].what


def test_rows_of_any_content_are_findings_and_no_crash() -> None:
    chance = random.Random(7)
    told = repaired()
    for _ in range(150):
        place = chance.randrange(len(told.decisions))
        decision = told.decisions[place]
        forge = chance.choice((_other_bytes, _other_json, _other_row))
        forged = forge(chance, decision)
        if forged == decision:
            continue
        case = told.case([*told.decisions[:place], forged, *told.decisions[place + 1 :]])
        findings = redecide(case, ORGANISATION, told.outbox)
        assert all(isinstance(f, Finding) for f in findings)
        if forged.events != decision.events:
            assert findings, forged


def _other_bytes(chance: random.Random, d: RawDecision) -> RawDecision:
    def bitten(raw: bytes) -> bytes:
        place = chance.randrange(len(raw))
        return raw[:place] + bytes([chance.randrange(256)]) + raw[place + 1 :]

    if not d.events or chance.random() < 0.5:
        return d._replace(command=bitten(d.command))
    events = list(d.events)
    place = chance.randrange(len(events))
    events[place] = events[place]._replace(body=bitten(events[place].body))
    return d._replace(events=tuple(events))


def _other_json(chance: random.Random, d: RawDecision) -> RawDecision:
    values: list[Any] = [None, "", "x" * 300, -1, 2**53 - 1, [], {}, "0001-01-01T00:00:00Z", True]
    raw = json.loads(d.command)
    where = chance.choice((raw, raw["body"], raw["actor"]))
    where[chance.choice(list(where))] = chance.choice(values)
    return rehashed(d._replace(command=canonical(raw)))


def _other_row(chance: random.Random, d: RawDecision) -> RawDecision:
    return chance.choice(
        (
            d._replace(version=chance.randrange(-5, 2**31)),
            d._replace(decided_at=hours(chance.uniform(-(10**5), 10**5))),
            d._replace(command_id="deadline/x"),
            d._replace(events=d.events[::-1]),
            d._replace(events=()),
        )
    )


def test_an_approval_given_by_another_hand_is_unlawful() -> None:
    """The event of a decision is forged to name somebody else: the command says who it was."""
    told = Told("complaint-1", GAS)
    told.say(
        *(0, "RegisterComplaint"),
        **{"channel": "phone", "about": "service", "category": "late", "district": "north"},
        **{"party": "party-1", "recorded": ["name", "phone"]},
    )
    told.say(0.1, "ScreenComplaint", category="late", gravity="light")
    told.say(0.2, "HandOverComplaint", department="field-service")
    told.say(0.3, "AcknowledgeComplaint")
    told.say(0.4, "StartInvestigation")
    until = hours(60).isoformat()
    told.say(0.5, "RequestExtension", until=until, reason="lab", evidence="memo-1")
    (asked,) = [a for a in told.state.approvals if a.state == "requested"]
    told.hear(
        0.6,
        {
            "id": "yes/1",
            "actor": {"subject": "supervisor-1", "role": "supervisor", "proof": "local"},
            "body": {
                "type": "DecideApproval",
                "approval": asked.id,
                "decision": "approve",
                "facts_hash": asked.facts_hash,
            },
        },
    )
    assert redecide(told.case(), ORGANISATION, told.outbox) == []
    place = len(told.decisions) - 1
    other = told.forged(place, lambda d: reworded(d, 0, subject="supervisor-2"))
    assert found(other)
