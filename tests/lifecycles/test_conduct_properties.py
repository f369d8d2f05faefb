"""What holds for every staff file, whatever it is told, how often, and in whatever order."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache
from itertools import combinations
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycles.conduct_stages import barred
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import dump
from lifecycles.policies import Pinned
from schemas.base import SYSTEM, Actor
from schemas.conduct import ConductState, Reassigned, Stage
from tests.lifecycles.conduct_cases import (
    ADMIN,
    CONDUCT,
    HEAD,
    MONDAY,
    OFFICER,
    SECOND,
    File,
    again,
    command,
    finding,
    silent,
    told,
)
from tests.lifecycles.repair_cases import GAS, WATER

SHANGHAI = ZoneInfo("Asia/Shanghai")
Word = tuple[int, int]
"""A finding's number and its revision."""


@cache
def policies() -> Sequence[Pinned]:
    hurried = again(WATER, strikes=2, window_months=1, counts=["upheld", "partly_upheld"])
    return (GAS, WATER, silent("approve"), hurried)


# The same arithmetic, done otherwise: what a window must hold


class Known:
    """What the complaints said, reckoned by hand."""

    def __init__(self, policy: Pinned, words: dict[Word, dict[str, Any]]) -> None:
        assert policy.policy.conduct is not None
        self.rules = policy.policy.conduct
        self.words = words
        self.highest: dict[int, int] = {}

    def hear(self, word: Word) -> None:
        number, revision = word
        self.highest[number] = max(revision, self.highest.get(number, 0))

    def strikes(self) -> dict[str, date]:
        """Upheld and not overturned: the findings that count, and from which local day."""
        last = {number: self.words[word] for word in self.highest.items() for number in word[:1]}
        field = "conduct_at" if self.rules.counts_from == "conduct" else "decided_at"
        return {
            finding(number): body[field].astimezone(SHANGHAI).date()
            for number, body in last.items()
            if body["outcome"] in self.rules.counts
        }

    def until(self, day: date) -> date:
        """The same day so many months on, or the last day before it that there is."""
        month = day.month - 1 + self.rules.window_months
        for last in range(day.day, 0, -1):
            try:
                return date(day.year + month // 12, month % 12 + 1, last)
            except ValueError:
                continue
        raise AssertionError

    def together(self, findings: Sequence[str]) -> bool:
        """Whether all count, and some window holds them all."""
        days = self.strikes()
        if not set(findings) <= set(days):
            return False
        first, *_, last = sorted(days[f] for f in findings)
        return last < self.until(first)

    def live(self, now: datetime) -> set[str]:
        today = now.astimezone(SHANGHAI).date()
        return {f for f, day in self.strikes().items() if today < self.until(day)}


def check(file: File, known: Known, now: datetime) -> None:
    state, strikes = file.state, known.strikes()
    counted = {k.finding: k.counts_on for k in state.counts if k.strike and not k.overturned}
    assert counted == strikes, "strikes are not upheld findings minus overturned ones"
    assert len({k.finding for k in state.counts}) == len(state.counts), "a double counted twice"
    assert {k.finding for k in state.counts if k.strike and k.live} == known.live(now)
    for begin in strikes.values():
        within = {f for f, day in strikes.items() if begin <= day < known.until(begin)}
        assert within == {f for f, day in counted.items() if begin <= day < known.until(begin)}

    proposed = [p for p in state.proposals if p.state == "open"]
    assert len(proposed) <= 1, "two proposals at once"
    for p in state.proposals:
        if p.state in ("open", "reassigned"):
            assert len(p.findings) == known.rules.strikes
            assert known.together(p.findings), "it rests on what does not count"
    spent = {f for p in state.proposals if p.state == "reassigned" for f in p.findings}
    seen = {f for p in state.proposals if p.state == "rejected" for f in p.considered}
    if not proposed:
        for some in combinations(sorted(set(strikes) - spent), known.rules.strikes):
            assert set(some) <= seen or not known.together(some), "a third strike was missed"

    asked = [a for a in state.approvals if a.state == "requested"]
    assert len(asked) == (state.stage == Stage.AWAITING_APPROVAL)
    assert all(set(barred(state)) <= set(a.barred) for a in asked)
    outstanding = {c.id for c in state.commitments if c.outstanding}
    owed = {a.commitment for a in asked}
    for k in state.counts:
        assert k.live or not k.marked, "a mark outlived its finding"
        waits = (k.measure and not k.measure_taken) or k.investigation == "open" or k.redress
        held = {*k.promised, *k.redress_promised} & outstanding
        assert bool(held) == bool(waits), "a promise without a ground, or none where there is one"
        owed |= held
    assert owed == outstanding, "a promise is owed for nothing"
    busy = any(k.live for k in state.counts) or owed or proposed
    assert (state.stage == Stage.AT_REST) == (not busy and state.opened_at is not None)
    assert ConductState.model_validate(state.model_dump() | {"policy": state.policy}) == state, (
        "the state does not survive being stored"
    )


def act(file: File, pick: Any, at: float, *, decide: Sequence[str]) -> None:
    """Somebody does one of the things that are to be done, if any."""
    state = file.state
    for k in state.counts:
        if k.measure and not k.measure_taken:
            return void(file.do("RecordMeasure", at, finding=k.finding, evidence="m/1"))
        if k.investigation == "open":
            end = pick([{"penalty": "suspension"}, {"reason": "no_proof"}])
            return void(
                file.do("ConcludeInvestigation", at, finding=k.finding, evidence="m/2", **end)
            )
        if k.redress:
            return void(file.do("RecordRedress", at, finding=k.finding, evidence="m/3"))
    if state.stage == Stage.REASSIGNMENT_PROPOSED:
        void(file.do("RecordReply", at, evidence="letter/1"))
    elif state.stage == Stage.AWAITING_APPROVAL:
        choice = file.choice(pick(decide))
        roles = state.approvals[-1].roles
        for actor in (OFFICER, SECOND, HEAD, ADMIN):
            if actor.role in roles and file.state.stage == Stage.AWAITING_APPROVAL:
                file.do("DecideApproval", at, actor=actor, **choice)
    return None


def void(_: object) -> None:
    return None


def by_themselves(file: File, at: float, subject: str, pick: Any) -> None:
    """The person, or whom they report to, tries whatever might help them."""
    state = file.state
    asked = state.approvals[-1] if state.approvals else None
    number = pick([k.finding for k in state.counts])
    tries: dict[str, dict[str, Any]] = {
        "RecordMeasure": {"finding": number, "evidence": "m/9"},
        "ConcludeInvestigation": {"finding": number, "reason": "innocent", "evidence": "m/9"},
        "RecordRedress": {"finding": number, "evidence": "m/9"},
        "TakeCase": {},
        "HandOverCase": {"to": {"kind": "person", "id": "friend"}, "reason": "mine"},
    }
    if asked:
        no = {"approval": asked.id, "facts_hash": asked.facts_hash, "reason": "innocent"}
        tries["DecideApproval"] = {**no, "decision": pick(["approve", "reject"])}
        tries["WithdrawApproval"] = {"approval": asked.id, "reason": "innocent"}
        until = MONDAY + timedelta(days=9000)
        tries["DelegateApproval"] = {
            "approval": asked.id, "to": "friend", "until": until, "reason": "x"
        }  # fmt: skip
    name = pick(list(tries))
    actor = Actor(subject=subject, role=pick(["division_head", "admin", "crew"]), proof="token")
    sent = command(name, at, actor=actor, **tries[name])
    try:
        caused = CONDUCT.decide(state, sent, MONDAY + timedelta(days=at))
    except Rejected:
        return
    raise AssertionError(f"they could {name}: {caused}")


def words(pick: Any) -> dict[Word, dict[str, Any]]:
    """What each revision of each finding says; revisions were decided one after the other."""
    said: dict[Word, dict[str, Any]] = {}
    for number in range(1, pick([2, 4, 6, 8]) + 1):
        conduct = pick(range(-600, 0))
        for revision in (1, 2, 3):
            said[number, revision] = told(
                number,
                conduct,
                revision=revision,
                outcome=pick(["upheld", "upheld", "upheld", "partly_upheld", "not_upheld"]),
                gravity=pick(["light", "light", "serious"]),
                cause=pick(["carelessness", "circumstances"]),
                decided_at=MONDAY + timedelta(days=min(0, conduct + 20 * revision)),
            )
    return said


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whatever_a_file_is_told_in_whatever_order_its_strikes_are_what_the_findings_say(
    seed: int,
) -> None:
    chance = Random(seed)
    pick = chance.choice
    policy = pick(policies())
    said = words(pick)
    post = [word for word in said for _ in range(pick([0, 1, 1, 2]))]
    chance.shuffle(post)
    file, known, at = File(policy), Known(policy, said), 0.0
    for word in post:
        at += pick([0, 0, 0.5, 3, 10, 60])
        file.wait(at)
        file.do("RecordFinding", at, actor=SYSTEM, **said[word])
        known.hear(word)
        check(file, known, MONDAY + timedelta(days=at))
        for _ in range(pick([0, 0, 1, 3])):
            at += pick([0, 0.25])
            file.wait(at)
            act(file, pick, at, decide=["approve", "approve", "reject"])
            check(file, known, MONDAY + timedelta(days=at))
        by_themselves(file, at, pick(["E-7", "e-7", "B-1"]), pick)

    before = file.state
    for word in post:
        assert file.do("RecordFinding", at, actor=SYSTEM, **said[word]) == []
    assert file.state == before, "a double changed something"
    assert (
        CONDUCT.fold(
            CONDUCT.initial("conduct-e-7", "town", *policy),
            [CONDUCT.event(dump(event)) for event in file.events],
        )
        == before
    ), "the events do not tell the whole state"

    while file.state.stage not in (Stage.AT_REST, Stage.UNOPENED):
        at += 100
        file.wait(at)
        act(file, pick, at, decide=["reject"])
        assert at < 20_000, "the file never comes to rest"
    check(file, known, MONDAY + timedelta(days=at))
    assert CONDUCT.next_deadline(file.state) is None


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_order_of_arrival_changes_no_strike(seed: int) -> None:
    chance = Random(seed)
    policy, said = chance.choice(policies()), words(chance.choice)
    post = chance.sample(list(said), k=len(said) * 2 // 3)
    outcomes: list[Any] = []
    for _ in range(2):
        chance.shuffle(post)
        file = File(policy)
        for hour, word in enumerate(post):
            file.do("RecordFinding", hour / 24, actor=SYSTEM, **said[word])
        file.wait(3)
        outcomes.append(
            sorted(
                (k.finding, k.revision, k.outcome, k.counts_on, k.counts_until, k.live)
                for k in file.state.counts
                if not k.overturned
            )
            + sorted((k.finding, k.revision) for k in file.state.counts if k.overturned)
        )
    assert outcomes[0] == outcomes[1]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whoever_was_moved_had_as_many_strikes_within_one_window_then(seed: int) -> None:
    chance = Random(seed)
    policy, said = chance.choice(policies()), words(chance.choice)
    file, known, at = File(policy), Known(policy, said), 0.0
    for word in chance.sample(list(said), k=len(said)):
        at += chance.choice([0, 1, 9])
        file.wait(at)
        file.do("RecordFinding", at, actor=SYSTEM, **said[word])
        known.hear(word)
        for _ in range(8):
            seen = len(file.events)
            act(file, chance.choice, at, decide=["approve"])
            for event in file.events[seen:]:
                if isinstance(event, Reassigned):
                    assert len(set(event.findings)) == known.rules.strikes
                    assert known.together(event.findings)
