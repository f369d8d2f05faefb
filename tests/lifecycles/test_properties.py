"""What holds for every repair, whatever is asked of it, in whatever order, however late."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycles.commitments import attribution
from lifecycles.lifecycle import Plan, Step, dump, plan
from lifecycles.policies import Pinned, pinned
from lifecycles.repair_stages import ACTIVE, ALLOWED, CLOSING, ENDED, allowed
from schemas.base import Event
from schemas.case import AnyCase
from schemas.commitments import Commitment
from schemas.policy import Policy
from schemas.repair import RepairState, Stage
from tests.lifecycles.repair_cases import ESTATE, GAS, MONDAY, REPAIR, SAMPLES, WATER, hours

ROOT = Path(__file__).parents[2]
SECOND = timedelta(seconds=1)
GAPS = [timedelta(hours=h) for h in (0, 0, 0.02, 0.05, 0.1, 0.1, 0.2, 0.5, 1, 2, 5, 24, 300)]


@cache
def wild() -> Pinned:
    """A policy that no shipped one is like: working time everywhere, steep haste, no mercy."""
    content = json.loads(GAS.policy.model_dump_json())
    rules = content["repair"]
    rules["inspect"] = ["common", "major"]
    rules["hasten"] = {"unowned": 1, "priority": 1}
    rules["no_access_limit"] = 1
    rules["follow_up"] |= {"attempts": 1, "failures_to_supervisor": 1}
    rules["pause_reasons"]["customer_absent"]["longest"] = "PT1H"
    rules["pause_reasons"]["awaiting_parts"]["pauses"] = [c["name"] for c in rules["commitments"]]
    rules["categories"] |= {"meter": {"guard": True, "by_phone": True}}
    for terms, basis in zip(rules["commitments"], ["working", "same_day"] * 9, strict=False):
        terms |= {"basis": basis, "by_appointment": True}
    ladder = [{"at": "0%", "tell": "anybody"}, {"at": "100%", "tell": "all"}]
    rules["commitments"] += [
        {"name": n, "starts": s, "ends": e, "rule": "WAT-0", "duration": "PT1H", "ladder": ladder}
        for n, s, e in (
            ("guard", "reported", "guarded"),
            ("safe", "arrived", "made_safe"),
            ("parts", "parts_local", "fixed"),
            ("shipped", "parts_elsewhere", "parts_shipped"),
        )
    ]
    return pinned(Policy.model_validate(content).model_dump_json())


@cache
def impatient() -> Pinned:
    """A policy under which a visit without access pauses nothing: the case only waits."""
    content = json.loads(WATER.policy.model_dump_json())
    del content["repair"]["pause_reasons"]["customer_absent"]
    return pinned(Policy.model_validate(content).model_dump_json())


CODES = ["reason-1", "reason-2"]
SHOWN = ["photo/1", "photo/2"]
PEOPLE = ["crew-1", "crew-2"]
PARTIES = ["party-1", "party-2", "party-3"]
CASES = ["repair-1", "repair-2", "repair-3"]
SEVERITIES = ["minor", "common", "major", "hazard"]

ONWARDS: dict[Stage, list[str]] = {
    Stage.UNREPORTED: ["ReportRepair"],
    Stage.REPORTED: ["TriageRepair", "TriageRepair", "SolveByPhone"],
    Stage.TRIAGED: ["DispatchCrew", "DispatchCrew", "BookAppointment"],
    Stage.DISPATCHED: ["AcceptJob", "AcceptJob", "RecordArrival", "RecordNoAccess", "LinkToFault"],
    Stage.ACCEPTED: ["RecordArrival", "RecordNoAccess", "BookAppointment", "MergeInto"],
    Stage.ON_SITE: ["MakeSafe", "StartWork", "CompleteRepair", "RequestParts", "RecordNoAccess"],
    Stage.MADE_SAFE: ["StartWork", "RequestParts", "ReportNoFault", "PauseWork"],
    Stage.WORKING: ["CompleteRepair", "CompleteRepair", "RecordPartsShipped", "PauseWork"],
    Stage.PAUSED: ["ResumeWork", "RecordArrival", "BookAppointment", "RecordPartsArrived"],
    Stage.FIXED: ["PassInspection", "FailInspection"],
    Stage.CALLBACK_DUE: ["RecordCallback"],
    Stage.CLOSED: ["ReopenCase"],
    Stage.MERGED: ["SplitOut"],
    Stage.TRANSFERRED: ["RecordTransferReturned"],
}
"""What usually comes next: left to chance alone, few cases would get far."""


def choices(state: RepairState, now: datetime) -> dict[str, dict[str, Sequence[Any]]]:
    """Per command, what its fields may be; some make sense in the state, some do not."""
    rules = state.policy.repair
    past, starts, ends = (
        [now + timedelta(hours=h) for h in spread]
        for spread in ([-400, -5, -1, 0], [-5, 0, 1, 25], [-1, 1, 3, 30, 100, 9000])
    )
    crews = [*[state.crew or "crew-1"] * 5, "crew-2", "crew-3"]
    categories = sorted(rules.categories)
    return {
        "ReportRepair": {
            "channel": ["phone", "patrol", "meter_reader", "filing"],
            "category": categories,
            "severity": SEVERITIES,
            "district": CODES,
            "party": [None, "party-1", "party-1"],
            "recorded": [["name", "address", "phone"]],
            "priority": [False, True],
        },
        "TriageRepair": {"category": categories, "severity": SEVERITIES},
        "SolveByPhone": {"solution": CODES},
        "DispatchCrew": {"crew": crews, "receipt": [None, "slip/1"]},
        "AcceptJob": {"crew": crews},
        "DeclineJob": {"crew": crews, "reason": CODES},
        "ReassignJob": {"crew": crews, "reason": CODES},
        "HandOverCase": {
            "to": [{"kind": kind, "id": "crew-2"} for kind in ("person", "unit", "role")],
            "reason": CODES,
        },
        "BookAppointment": {"start": starts, "end": ends, "consent": SHOWN},
        "MoveAppointment": {"start": starts, "end": ends, "consent": SHOWN, "reason": CODES},
        "RecordArrival": {"crew": crews},
        "RecordNoAccess": {"crew": crews, "reason": CODES, "evidence": SHOWN},
        "MakeSafe": {"evidence": SHOWN},
        "PauseWork": {"reason": [*rules.pause_reasons, "tired"], "evidence": SHOWN},
        "RequestParts": {
            "parts": [["valve"], ["valve", "seal"]],
            "stock": ["local", "elsewhere"],
        },
        "RecordPartsShipped": {"waybill": SHOWN},
        "CompleteRepair": {"work": [["valve"]], "warranty_parts": [(), ["valve"]]},
        "PassInspection": {"evidence": SHOWN},
        "FailInspection": {"reason": CODES, "evidence": SHOWN},
        "RecordCallback": {
            "party": [f.party for f in state.follow_ups] or PARTIES,
            "consent": [True, True, True, False],
            "result": ["satisfied", "not_satisfied", "unreachable", "no_consent"],
        },
        "ReopenCase": {"reason": CODES},
        "TransferOut": {"to": CODES, "reference": SHOWN},
        "RecordTransferReturned": {"reason": CODES},
        "MergeInto": {"case": CASES},
        "SplitOut": {"reason": CODES},
        "LinkToFault": {"fault": CASES},
        "AdoptReport": {
            "case": CASES,
            "how": ["merge", "link"],
            "reported_at": past,
            "parties": [(), ["party-1"], ["party-2", "party-3"], ["party-2", "party-2"]],
        },
        "ReleaseReport": {"case": CASES},
        "RecordFaultCleared": {
            "fault": [state.linked_to or "repair-2", "repair-3"],
            "cleared_at": past,
        },
        "PostGuard": {"guard": PEOPLE},
        "AnnounceInterruption": {"start": ends, "end": ends, "reason": CODES},
        "ReportNoFault": {"evidence": SHOWN},
        "DeclareNotOurs": {"reason": CODES, "channel": CODES},
        "DeclareUnableToFix": {"reason": CODES, "channel": CODES},
        "CancelRepair": {"reason": CODES},
        "DeadlinePassed": {"at": past},
        "RecordAnswer": {
            "request": [r.id for r in state.requests] or ["repair-1/asks/1"],
            "accepted": [True, True, True, False],
            "reasons": [["It is closed."]],
        },
    }


class Life:
    """A case that arbitrary things happen to, and what must hold after each of them."""

    def __init__(self, start: RepairState) -> None:
        self.start = self.state = start
        self.now = hours(5)
        self.steps: list[Step] = []
        self.version = 0

    def go_on(self, pick: Callable[[Sequence[Any]], Any], number: int) -> None:
        self.now += pick(GAPS)
        upcoming = REPAIR.next_deadline(self.state)
        if upcoming is not None and pick([True, False, False, False]):
            self.now = max(self.now, upcoming + pick([-SECOND, 0 * SECOND, SECOND]))
        possible = [name for name in ALLOWED if allowed(self.state, name)]
        usual = [
            *ONWARDS.get(self.state.stage, ["ReopenCase"]),
            *(["RecordAnswer"] * 5 if self.state.requests else []),
            *(["RecordFaultCleared", "SplitOut"] if self.state.linked_to else []),
            *(["MoveAppointment"] if self.state.appointment else []),
        ]
        name = pick(pick([usual] * 5 + [possible] * 4 + [list(ALLOWED)]))
        fields = choices(self.state, self.now).get(name, {})
        raw = {
            "id": f"c{number}",
            "actor": {"subject": pick(PEOPLE), "role": pick(["clerk", "crew"]), "proof": "token"},
            "occurred_at": pick([None] * 9 + self._instants()),
            "body": {"type": name, **{key: pick(values) for key, values in fields.items()}},
        }
        sent = REPAIR.command(raw)
        assert REPAIR.command(json.loads(json.dumps(dump(sent)))) == sent
        self._check(plan(REPAIR, self.state, self.version, [sent], self.now))

    def _instants(self) -> list[datetime]:
        """Business times worth trying: now, somewhat ago, and at the very instant of a promise."""
        ago = [self.now - gap for gap in GAPS]
        return [*ago, self.now + SECOND, *(c.due for c in self.state.commitments)]

    def _check(self, made: Plan) -> None:
        before = self.state
        for step in made.steps:
            again = REPAIR.decide(self.state, step.command, step.decided_at)
            assert tuple(again) == step.events, "the same decision came out differently"
            assert all(event.at <= self.now for event in step.events), "an event lies in the future"
            assert step.messages is not None
            for event in step.events:
                self.state = REPAIR.evolve(self.state, event)
                check_owner(self.state)
                assert isinstance(self.state.stage, Stage)
            assert self.state == step.state
            check(self.state, self.now)
        assert made.state == self.state
        if made.refused:
            alone = plan(REPAIR, before, self.version, [], self.now)
            assert alone.state == self.state, "a refused command changed the case"
            assert all(made.refused[0][1]), "a refusal without a reason"
        self.steps += made.steps
        self.version = made.version
        upcoming = REPAIR.next_deadline(self.state)
        assert upcoming is None or upcoming > self.now, "a deadline lies in the past"
        REPAIR.summary(self.state)
        REPAIR.story(self.state)

    def check_history(self) -> None:
        stored = [json.loads(json.dumps(dump(e))) for step in self.steps for e in step.events]
        events = [REPAIR.event(body) for body in stored]
        assert [dump(event) for event in events] == stored
        assert REPAIR.fold(self.start, events) == self.state, "the log tells another story"
        check_promises(self.start, stored)
        self._check_lateness()

    def _check_lateness(self) -> None:
        """A clock that is noticed months late has told the same as one that is punctual."""
        end = self.now + timedelta(days=90)
        late = plan(REPAIR, self.state, self.version, [], end)
        punctual, events = self.state, list[Event]()
        while (due := REPAIR.next_deadline(punctual)) is not None and due <= end:
            made = plan(REPAIR, punctual, 0, [], due)
            assert made.steps, "the clock rang and nothing happened"
            punctual = made.state
            events += [event for step in made.steps for event in step.events]
        assert [event for step in late.steps for event in step.events] == events
        assert late.state == punctual


def check_owner(state: RepairState) -> None:
    """Exactly one owner at every instant after the report (ADM-1)."""
    if state.reported_at is not None:
        assert state.owners[0].since == state.reported_at
        assert all(a.since <= b.since for a, b in pairwise(state.owners))


def check(state: RepairState, now: datetime) -> None:
    """What holds of a state between two decisions."""
    stage = state.stage
    assert stage != Stage.INSPECTED, "nothing rests there"
    assert (state.closed_at is not None) == (stage in ENDED)
    assert (state.fixed_at is not None) == (stage in (*CLOSING, Stage.CLOSED)), stage
    assert (stage == Stage.PAUSED) == (state.pause_ends is not None)
    assert stage != Stage.PAUSED or state.stage_before in ACTIVE
    assert stage in ACTIVE or state.wait_until is None, "it waits for nobody any more"
    assert stage in ACTIVE or state.appointment is None
    assert stage in ACTIVE or state.guard is None
    assert (stage == Stage.MERGED) == (state.merged_into is not None)
    if stage in ENDED:
        assert not any(c.outstanding for c in state.commitments), "an ended case still promises"
        assert REPAIR.next_deadline(state) is None
    called = [f.party for f in state.follow_ups]
    assert len(called) == len(set(called))
    assert (stage == Stage.CALLBACK_DUE) <= any(f.result is None for f in state.follow_ups)
    ids = [c.id for c in state.commitments]
    assert len(ids) == len(set(ids))
    for c in state.commitments:
        check_commitment(c, state, now)


def check_commitment(c: Commitment, state: AnyCase, now: datetime) -> None:
    last = c.pauses[-1] if c.pauses else None
    stands_still = last is not None and last.until is None
    match c.state:
        case "running" | "paused":
            assert (c.met_at, c.ended_at, c.cancelled) == (None, None, None)
            assert (c.state == "paused") == stands_still
        case "kept":
            assert c.met_at is not None
            assert c.met_at == c.ended_at
            assert c.met_at <= c.due or stands_still, "kept, but too late"
        case "broken":
            assert c.met_at is None or c.met_at > c.due, "broken, but in time"
        case "cancelled":
            assert c.met_at is None
            assert c.cancelled is not None
    assert c.fired <= len(c.rungs) == len(c.hastened)
    assert all(fast <= usual for fast, usual in zip(c.hastened, c.rungs, strict=True))
    for p, q in pairwise(c.pauses):
        assert p.until is not None
        assert p.since <= p.until <= q.since, "a stretch of time was given back twice"
    check_attribution(c, state, now)


def check_attribution(c: Commitment, state: AnyCase, now: datetime) -> None:
    """Every second of the running time has one holder."""
    held = attribution(c, state.owners, now)
    end = c.ended_at or max(now, c.start)
    clip = [(max(p.since, c.start), min(p.until or end, end)) for p in c.pauses]
    still = sum((max(b - a, timedelta(0)) for a, b in clip), timedelta(0))
    ran = sum((h.until - h.since for h in held), timedelta(0))
    assert ran == max(end - c.start, timedelta(0)) - still
    assert all(h.since < h.until for h in held)
    assert all(a.until <= b.since for a, b in pairwise(held))


def check_promises(
    start: AnyCase, stored: Sequence[dict[str, Any]], facts: tuple[str, ...] = ("c",)
) -> None:
    """Kept or broken, not both, unless withdrawn or owed again; and each rung told once."""
    outcomes = {"broken": "CommitmentBroken", "kept": "CommitmentKept"}
    outcome: dict[str, str | None] = {c.id: outcomes.get(c.state) for c in start.commitments}
    rungs = {c.id: c.fired for c in start.commitments}
    for body in stored:
        match body:
            case {"type": "CommitmentKept" | "CommitmentBroken" as kind, "commitment": name}:
                assert outcome.get(name) is None, f"{name}: {outcome[name]}, then {kind}"
                outcome[name] = kind
            case {"type": "CommitmentRestored", "commitment": name}:
                outcome[name] = None if outcome.get(name) == "CommitmentKept" else outcome.get(name)
            case {"type": "BreachWithdrawn", "commitment": name, "evidence": fact}:
                assert outcome[name] == "CommitmentBroken"
                assert fact.startswith(facts)
                outcome[name] = None
            case {"type": "EscalationRaised", "commitment": name, "rung": rung}:
                assert rung == rungs.get(name, 0) + 1, f"{name}: rung {rung} out of order"
                rungs[name] = rung
            case _:
                pass


POLICIES = [GAS, GAS, WATER, ESTATE, wild(), impatient()]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(20, 60))
def test_whatever_happens_a_case_stays_sound(seed: int, steps: int) -> None:
    # Drawing every field of every command from hypothesis would take most of the time.
    pick = Random(seed).choice
    unheard_of = REPAIR.initial("repair-1", "town", *pick(POLICIES))
    under_way = SAMPLES[pick([stage for stage in Stage if stage != Stage.INSPECTED])]().state
    life = Life(pick([unheard_of, under_way]))
    for number in range(steps):
        life.go_on(pick, number)
    life.check_history()


# Cases among themselves


class Town:
    """Cases that ask each other, with letters that arrive in any order."""

    def __init__(self) -> None:
        self.now = MONDAY
        self.lives: dict[str, RepairState] = {}
        self.post: list[tuple[str, dict[str, Any]]] = []
        self.known: set[str] = set()
        self.sent = 0

    def open(self, case: str, category: str, party: str | None) -> None:
        self.lives[case] = REPAIR.initial(case, "town", *GAS)
        channel = "phone" if party else "patrol"
        recorded = ["name", "address", "phone"]
        self.send(case, "ReportRepair", channel=channel, category=category, district="north",
                  party=party, recorded=recorded)  # fmt: skip

    def send(self, case: str, name: str, /, **body: Any) -> None:
        self.sent += 1
        self._put(case, {"id": f"c{self.sent}", "body": {"type": name, **body}})

    def deliver(self, index: int) -> None:
        """A letter arrives: the other case decides, and its answer is under way in turn."""
        to, raw = self.post.pop(index)
        accepted, reasons = self._put(to, raw)
        sender, asks, _ = raw["id"].partition("/asks/")
        if asks and not raw["id"].endswith("/answer"):
            answer = {"request": raw["id"], "accepted": accepted, "reasons": reasons}
            body = {"type": "RecordAnswer", **answer}
            self.post.append((sender, {"id": f"{raw['id']}/answer", "body": body}))

    def _put(self, case: str, raw: dict[str, Any]) -> tuple[bool, tuple[str, ...]]:
        actor = {"subject": "clerk-1", "role": "clerk", "proof": "token"}
        sent = REPAIR.command({"actor": actor, **raw})
        made = plan(REPAIR, self.lives[case], 0, [sent], self.now)
        state: RepairState = made.state
        check(state, self.now)
        self.lives[case] = state
        for request in state.requests:
            if request.id not in self.known:
                self.known.add(request.id)
                self.post.append((request.case_id, {"id": request.id, "body": request.command}))
        return not made.refused, made.refused[0][1] if made.refused else ()

    def joined(self, case: str) -> str:
        """The case in which a merged one goes on."""
        seen = [case]
        while (other := self.lives[case].merged_into) is not None:
            assert other not in seen, f"cases went on in each other, in none: {seen}"
            seen.append(other)
            case = other
        return case


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), turns=st.integers(10, 60))
def test_cases_that_ask_each_other_agree_in_the_end_and_lose_no_customer(
    seed: int, turns: int
) -> None:
    chance = Random(seed)
    pick = chance.choice
    town = Town()
    reports = {
        "repair-1": "party-1",
        "repair-2": "party-2",
        "repair-3": None,
        "repair-4": "party-1",
    }
    categories = ["no-gas", "meter", "pipe-leak", "no-gas"]
    for (case, party), category in zip(reports.items(), categories, strict=True):
        town.open(case, category, party)
        town.now += timedelta(minutes=10)
    for case in ("repair-1", "repair-2"):
        town.send(case, "TriageRepair", category=town.lives[case].category, severity="common")
        town.send(case, "DispatchCrew", crew="crew-1")
        town.send(case, "RecordArrival", crew="crew-1")
    for _ in range(turns):
        town.now += pick([timedelta(0), timedelta(minutes=5)])
        if town.post and pick([True, False]):
            town.deliver(chance.randrange(len(town.post)))
            continue
        case, other = pick(list(reports)), pick(list(reports))
        asked: dict[str, dict[str, Any]] = {
            "MergeInto": {"case": other},
            "LinkToFault": {"fault": other},
            "SplitOut": {"reason": "another"},
            "TriageRepair": {"category": town.lives[case].category, "severity": "common"},
            "CompleteRepair": {"work": ["valve"]},
            "RecordCallback": {
                "party": pick(PARTIES),
                "consent": True,
                "result": pick(["satisfied", "not_satisfied"]),
            },
            "CancelRepair": {"reason": "mistake"},
            "ReopenCase": {"reason": "again"},
            "TransferOut": {"to": "water", "reference": "letter/1"},
        }
        name = pick([*list(asked)[:3] * 2, *asked])
        town.send(case, name, **asked[name])
    while town.post:
        town.deliver(chance.randrange(len(town.post)))

    for case, life in town.lives.items():
        assert not life.requests, "a request was never answered"
        root = town.lives[town.joined(case)]
        if life.merged_into is not None:
            host = town.lives[life.merged_into]
            assert ("merge", case) in [(a.how, a.case) for a in host.adopted]
            assert reports[case] is None or reports[case] in [f.party for f in root.follow_ups]
            for c in root.commitments:
                if c.outstanding and c.state != "broken" and c.name != "follow_up":
                    assert life.reported_at is not None
                    assert c.start <= life.reported_at, "the earliest clock was lost"
        for a in life.adopted:
            other = town.lives[a.case]
            assert a.how == "link" or other.merged_into == case
        if life.linked_to is not None and life.stage in ACTIVE:
            host = town.lives[life.linked_to]
            assert ("link", case) in [(a.how, a.case) for a in host.adopted]


# Runs that differ in nothing but the machine


def fingerprint() -> str:
    """All that a long and varied sequence comes to, as one line."""
    town = Town()
    for number in range(1, 6):
        party = f"party-{number}" if number % 2 else None
        town.open(f"repair-{number}", "no-gas" if number % 2 else "pipe-leak", party)
    for number, other in ((1, 3), (3, 2), (5, 2), (4, 2)):
        kind, key = ("LinkToFault", "fault") if number % 2 else ("MergeInto", "case")
        town.send(f"repair-{number}", kind, **{key: f"repair-{other}"})
        town.now += timedelta(hours=3)
    while town.post:
        town.deliver(0)
    town.now += timedelta(days=40)
    town.send("repair-2", "CompleteRepair", work=["weld", "valve"])
    while town.post:
        town.deliver(len(town.post) - 1)
    story = [state.model_dump(mode="json") for state in town.lives.values()]
    messages = [
        [i, m.model_dump()]
        for step in plan(REPAIR, town.lives["repair-5"], 0, [], town.now + GAPS[-1]).steps
        for i, m in step.messages
    ]
    return json.dumps([story, messages])


def test_decisions_do_not_depend_on_the_hash_seed() -> None:
    script = "from tests.lifecycles.test_properties import fingerprint; print(fingerprint())"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2, 3)
    ]
    told = [run.communicate()[0].strip() for run in runs]
    assert told == [fingerprint()] * 3
