"""What holds for every complaint, whatever is asked of it, by whom, in whatever order, how late."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycles.approvals import among, facts_hash
from lifecycles.complaint import RULEBOOK, possible
from lifecycles.complaint_stages import (
    ALLOWED,
    ENDED,
    LIVE,
    TOLD,
    allowed,
    apologies_owed,
    barred,
    complainants,
    earliest,
    finding_of,
)
from lifecycles.lifecycle import CLOCK, Plan, Step, dump, plan
from lifecycles.policies import Pinned, pinned
from schemas.base import SYSTEM, Event
from schemas.complaint import ComplaintState, FindingDecided, RegisterComplaint, Stage
from schemas.conduct import conduct_id
from schemas.envelope import DeadlinePassed
from schemas.policy import Policy
from tests.lifecycles.complaint_cases import COMPLAINT, GAS, REGISTER, SAMPLES
from tests.lifecycles.repair_cases import ESTATE, MONDAY, WATER, hours
from tests.lifecycles.test_properties import GAPS, SECOND, check_commitment, check_promises


@cache
def wild() -> Pinned:
    """A policy that no shipped one is like: silence grants, one return is too many, all pauses."""
    content = json.loads(GAS.policy.model_dump_json())
    rules = content["complaint"]
    rules["superiors_barred"] = False
    rules["returns_limit"] = 1
    rules["hasten"] = {"unowned": 1, "priority": 1}
    rules["follow_up"] |= {"attempts": 1}
    rules["extension"] |= {"most": 3}
    rules["approvals"]["extension"] |= {
        "silence": "approve",
        "duration": "PT2H",
        "needed": 1,
        "exclude": ["owner", "investigator", "superior"],
    }
    pause = rules["pause_reasons"]["awaiting_customer"]
    pause |= {"longest": "PT1H", "pauses": [c["name"] for c in rules["commitments"]]}
    for terms, basis in zip(rules["commitments"], ["working", "same_day"] * 9, strict=False):
        terms |= {"basis": basis}
    ladder = [{"at": "0%", "tell": "anybody"}, {"at": "100%", "tell": "all"}]
    rules["commitments"] += [
        {"name": n, "starts": s, "ends": e, "rule": "WAT-0", "duration": "PT1H", "ladder": ladder}
        for n, s, e in (
            ("quick", "acknowledged", "answered"),
            ("grave", "registered", "answered"),
            ("sorry", "answered", "apologised"),
            ("odd", "dissatisfied", "answered"),
        )
    ]
    rules["commitments"][-3]["severities"] = ["serious"]
    return pinned(Policy.model_validate(content).model_dump_json())


@cache
def deaf() -> Pinned:
    """A policy that waits for nobody, whose silence is a no, and that keeps no staff files."""
    content = json.loads(WATER.policy.model_dump_json())
    content["conduct"] = None
    rules = content["complaint"]
    rules["pause_reasons"] = {}
    rules["approvals"]["extension"] |= {"silence": "reject", "duration": "PT1H"}
    return pinned(Policy.model_validate(content).model_dump_json())


POLICIES = [GAS, GAS, WATER, ESTATE, wild(), deaf()]
CODES = ["reason-1", "reason-2"]
SHOWN = ["photo/1", "photo/2"]
CASES = ["complaint-1", "complaint-2", "complaint-3"]
ACCUSED: list[list[dict[str, Any]]] = [
    [],
    [{"staff": "staff-9", "reports_to": "boss-9"}],
    [{"staff": "Staff-9"}, {"staff": "field-3", "reports_to": "super-1"}],
    [{"staff": "clerk-1", "reports_to": "super-1"}],
    [{"staff": "staff-8", "reports_to": "boss-9"}],
]
PEOPLE: dict[str, str] = {
    "clerk-1": "clerk",
    "Field-3": "clerk",
    "field-4": "clerk",
    "STAFF-9": "clerk",
    "boss-9": "supervisor",
    "super-1": "supervisor",
    "super-2": "supervisor",
    "head-1": "division_head",
    "head-2": "division_head",
    "admin-1": "admin",
}

ONWARDS: dict[Stage, list[str]] = {
    Stage.UNREGISTERED: ["RegisterComplaint"],
    Stage.REGISTERED: ["ScreenComplaint"],
    Stage.SCREENED: ["HandOverComplaint"] * 3 + ["ScreenComplaint"],
    Stage.HANDED_OVER: ["AcknowledgeComplaint", "AcknowledgeComplaint", "ReturnComplaint"],
    Stage.RETURNED: ["HandOverComplaint", "ArbitrateReturn"],
    Stage.ARBITRATED: ["AcknowledgeComplaint"],
    Stage.ACKNOWLEDGED: ["StartInvestigation", "StartInvestigation", "RequestExtension"],
    Stage.INVESTIGATING: [
        *["DecideFinding", "DecideFinding", "AnswerComplaint", "AnswerComplaint"],
        *["RequestExtension", "AskCustomer", "StartInvestigation"],
    ],
    Stage.AWAITING_CUSTOMER: ["RecordCustomerReply", "RequestExtension"],
    Stage.ANSWERED: ["RecordApology", "WaiveApology", "OrderRedo", "AppealComplaint"],
    Stage.FOLLOW_UP: [
        *["RecordFollowUp", "RecordFollowUp", "RecordApology", "OrderRedo", "CloseComplaint"],
        "AppealComplaint",
    ],
    Stage.REDO: ["StartInvestigation"],
    Stage.APPEALED: ["ConfirmDecision", "OverturnDecision"],
    Stage.OUT_OF_JURISDICTION: ["ReferComplaint"],
    Stage.CLOSED: ["AppealComplaint", "ReferExternal"],
}
"""What usually comes next: left to chance alone, few cases would get far."""


def choices(state: ComplaintState, now: datetime) -> Mapping[str, Mapping[str, Sequence[Any]]]:
    """Per command, what its fields may be; some make sense in the state, some do not."""
    rules = state.rules
    past, ahead = (
        [now + timedelta(hours=h) for h in spread]
        for spread in ([-400, -60, -5, -1, 0, 1], [-5, 0, 1, 25, 60, 90, 9000])
    )
    staff = [a.staff for a in state.accused] or ["staff-9"]
    outcomes = ["upheld", "partly_upheld", "not_upheld"]
    verdicts = {f.outcome for f in state.findings}
    agreeing = ["not_upheld"] if verdicts == {"not_upheld"} else ["upheld", "partly_upheld"]
    judged = [
        [{"staff": s, "outcome": outcome, "gravity": gravity} for s in staff]
        for outcome, gravity in (("upheld", "serious"), ("not_upheld", "light"))
    ]
    last = state.approvals[-1] if state.approvals else None
    owners = [
        {"kind": kind, "id": who}
        for kind in ("person", "role", "unit")
        for who in ("super-2", "staff-9", "boss-9", "division_head")
    ]
    party: list[dict[str, Any]] = [
        {"party": "party-1", "anonymous": False},
        {"party": "party-1", "anonymous": False, "confidential": True},
        {"party": None, "anonymous": True},
    ]
    adopted = {"case": CASES, "registered_at": past, "party": [None, "party-7", "party-1"]}
    return {
        "RegisterComplaint": {
            "channel": ["phone", "app", "letter", "filing"],
            "about": ["staff", "service", "service"],
            "category": sorted(rules.categories),
            "district": CODES,
            "accused": ACCUSED,
            "recorded": [["name", "phone"]],
            "priority": [False, True],
            "*": party,
        },
        "ScreenComplaint": {
            "category": sorted(rules.categories),
            "gravity": ["light", "serious"],
            "accused": [[], [], *ACCUSED],
        },
        "DeclareOutOfJurisdiction": {"reason": CODES},
        "ReferComplaint": {"to": CODES, "reference": SHOWN},
        "HandOverComplaint": {"department": rules.departments},
        "ReturnComplaint": {"ground": CODES, "evidence": SHOWN},
        "ArbitrateReturn": {"department": rules.departments, "reason": CODES},
        "HandOverCase": {"to": owners, "reason": CODES},
        "EscalateComplaint": {"to": owners, "reason": CODES},
        "AskCustomer": {"question": SHOWN},
        "RecordCustomerReply": {"evidence": SHOWN},
        "RequestExtension": {
            "until": [*ahead, *(c.due + timedelta(hours=20) for c in state.commitments)],
            "reason": CODES,
            "evidence": SHOWN,
        },
        "DecideFinding": {
            "staff": [*staff * 3, "staff-7"],
            "outcome": outcomes,
            "gravity": ["light", "serious"],
            "cause": ["carelessness", "circumstances"],
            "conduct_at": past,
            "evidence": SHOWN,
            "reason": [None, *CODES],
        },
        "AnswerComplaint": {
            "outcome": agreeing * 3 + outcomes,
            "answer": SHOWN,
            "reason": [None, *CODES * 2],
        },
        "RecordFollowUp": {
            "consent": [True, True, True, False],
            "result": ["satisfied", "not_satisfied", "unreachable", "no_consent"],
        },
        "OrderRedo": {"reason": CODES},
        "CloseComplaint": {"reason": CODES},
        "RecordApology": {"staff": staff, "evidence": SHOWN},
        "WaiveApology": {"staff": staff, "reason": CODES},
        "RewardInformant": {"evidence": SHOWN},
        "AppealComplaint": {"ground": CODES, "evidence": SHOWN},
        "ConfirmDecision": {"reason": CODES, "answer": SHOWN},
        "OverturnDecision": {
            "outcome": outcomes,
            "findings": judged if state.accused else [[], [], *judged],
            "reason": CODES,
            "answer": SHOWN,
        },
        "ReferExternal": {"body": CODES, "reference": SHOWN},
        "WithdrawComplaint": {"reason": CODES},
        "MergeRepeat": {"case": CASES},
        "AdoptComplaint": {**adopted, "accused": [[], [], *ACCUSED]},
        "DecideApproval": {
            "approval": [last.id if last else "extension-1"],
            "decision": ["approve", "approve", "reject"],
            "facts_hash": [last.facts_hash if last else "0" * 64],
            "reason": [None, *CODES],
            "on_behalf_of": [None, None, None, "super-1", "staff-9"],
        },
        "DelegateApproval": {
            "approval": [last.id if last else "extension-1"],
            "to": ["field-4", "super-2", "staff-9"],
            "until": ahead,
            "reason": CODES,
        },
        "WithdrawApproval": {
            "approval": [last.id if last else "extension-1"],
            "reason": CODES,
        },
        "DeadlinePassed": {"at": past},
        "RecordAnswer": {
            "request": [r.id for r in state.requests] or ["complaint-1/asks/1"],
            "accepted": [True, True, True, False],
            "reasons": [["It is closed."]],
        },
    }


class Life:
    """A case that arbitrary things happen to, and what must hold after each of them."""

    def __init__(self, start: ComplaintState) -> None:
        self.start = self.state = start
        self.now = hours(5)
        self.steps: list[Step] = []
        self.version = 0
        self.revisions = {f.staff.casefold(): f.revision for f in start.findings}

    def go_on(self, pick: Callable[[Sequence[Any]], Any], number: int) -> None:
        self.now += pick(GAPS[:-1])
        upcoming = COMPLAINT.next_deadline(self.state)
        if upcoming is not None and pick([True, False, False, False]):
            self.now = max(self.now, upcoming + pick([-SECOND, 0 * SECOND, SECOND]))
        usual = [
            *ONWARDS.get(self.state.stage, ["TakeCase"]),
            *(["RecordAnswer"] * 2 if self.state.requests else []),
            *(["DecideApproval"] * 5 if "DecideApproval" in possible(self.state) else []),
        ]
        now_allowed = [name for name in ALLOWED if allowed(self.state, name)]
        name = pick(pick([usual] * 9 + [now_allowed] * 3 + [list(ALLOWED)]))
        fields = {k: pick(v) for k, v in choices(self.state, self.now).get(name, {}).items()}
        body = {"type": name, **fields, **fields.pop("*", {})}
        body.pop("*", None)
        who = pick(list(PEOPLE))
        actor = {"subject": who, "role": PEOPLE[who], "proof": "token"}
        if name in ("RecordAnswer", "AdoptComplaint", "DeadlinePassed"):
            actor = SYSTEM.model_dump()
        raw = {
            "id": f"c{number}",
            "actor": actor,
            "occurred_at": pick([None] * 9 + self._instants()),
            "body": body,
        }
        sent = COMPLAINT.command(raw)
        assert COMPLAINT.command(json.loads(json.dumps(dump(sent)))) == sent
        self._check(plan(COMPLAINT, self.state, self.version, [sent], self.now))

    def _instants(self) -> list[datetime]:
        """Business times worth trying: now, somewhat ago, and at the very instant of a promise."""
        ago = [self.now - gap for gap in GAPS[:6]]
        return [*ago, self.now + SECOND, *(c.due for c in self.state.commitments)]

    def _check(self, made: Plan) -> None:
        before = self.state
        for step in made.steps:
            again = COMPLAINT.decide(self.state, step.command, step.decided_at)
            assert tuple(again) == step.events, "the same decision came out differently"
            assert all(event.at <= self.now for event in step.events), "an event lies in the future"
            check_actor(self.state, step)
            for event in step.events:
                self._check_revision(event)
                self.state = COMPLAINT.evolve(self.state, event)
            assert self.state == step.state
            check_messages(step)
            check(self.state, self.now)
        assert made.state == self.state
        if made.refused:
            alone = plan(COMPLAINT, before, self.version, [], self.now)
            assert alone.state == self.state, "a refused command changed the case"
            assert all(made.refused[0][1]), "a refusal without a reason"
        self.steps += made.steps
        self.version = made.version
        upcoming = COMPLAINT.next_deadline(self.state)
        assert upcoming is None or upcoming > self.now, "a deadline lies in the past"
        COMPLAINT.summary(self.state)
        COMPLAINT.story(self.state)

    def _check_revision(self, event: Event) -> None:
        if isinstance(event, FindingDecided):
            known = event.staff.casefold()
            assert event.revision == self.revisions.get(known, 0) + 1
            self.revisions[known] = event.revision

    def check_history(self) -> None:
        stored = [json.loads(json.dumps(dump(e))) for step in self.steps for e in step.events]
        events = [COMPLAINT.event(body) for body in stored]
        assert [dump(event) for event in events] == stored
        assert COMPLAINT.fold(self.start, events) == self.state, "the log tells another story"
        # Silence may grant more time (ADM-7), and so withdraw a breach that was noted meanwhile.
        check_promises(self.start, stored, ("c", CLOCK))
        self._check_lateness()

    def _check_lateness(self) -> None:
        """A clock that is noticed months late has told the same as one that is punctual."""
        end = self.now + timedelta(days=90)
        late = plan(COMPLAINT, self.state, self.version, [], end)
        punctual, events = self.state, list[Event]()
        while (due := COMPLAINT.next_deadline(punctual)) is not None and due <= end:
            made = plan(COMPLAINT, punctual, 0, [], due)
            assert made.steps, "the clock rang and nothing happened"
            punctual = made.state
            events += [event for step in made.steps for event in step.events]
        assert [event for step in late.steps for event in step.events] == events
        assert late.state == punctual
        check(punctual, end)


def check_actor(before: ComplaintState, step: Step) -> None:
    """Nobody acts on a complaint about themselves or about those who report to them."""
    actor = step.command.actor
    if isinstance(step.command.body, RegisterComplaint | DeadlinePassed) or actor == SYSTEM:
        return
    assert not among(actor.subject, barred(before.rules, before.accused))


def check_messages(step: Step) -> None:
    state: ComplaintState = step.state
    for _, message in step.messages:
        assert message.to != "party" or message.recipient in complainants(state)
        assert state.case_id == message.params["case"]


def check(state: ComplaintState, now: datetime) -> None:
    """What holds of a state between two decisions."""
    stage = state.stage
    if state.registered_at is None:
        assert stage == Stage.UNREGISTERED
        return
    out = barred(state.rules, state.accused)
    assert state.owners[0].since == state.registered_at
    assert all(a.since <= b.since for a, b in pairwise(state.owners)), "two owners at once"
    assert not among(state.owners[-1].owner.id, out), "a barred person owns it"
    assert state.investigator is None or not among(state.investigator, out)
    assert (state.closed_at is not None) == (stage in ENDED)
    assert (stage == Stage.AWAITING_CUSTOMER) == (state.asked_until is not None)
    assert (stage == Stage.MERGED_AS_REPEAT) == (state.merged_into is not None)
    assert state.appeals <= 1
    if stage in (*TOLD, Stage.CLOSED, Stage.APPEALED):
        assert state.answered_at is not None
        assert state.outcome is not None
        assert all(finding_of(state, a.staff) for a in state.accused), "answered without a finding"
    if stage == Stage.ANSWERED:
        assert apologies_owed(state), "nothing keeps it from closing"
    if stage == Stage.CLOSED:
        assert not apologies_owed(state), "closed without an apology"
    if stage in LIVE:
        assert any(c.outstanding for c in state.commitments), "nothing drives it on"
    if stage in ENDED:
        assert not any(c.outstanding for c in state.commitments), "an ended case still promises"
        assert COMPLAINT.next_deadline(state) is None
    check_approvals(state)
    names = [a.staff.casefold() for a in state.accused]
    assert len(names) == len(set(names))
    ids = [c.id for c in state.commitments]
    assert len(ids) == len(set(ids))
    for c in state.commitments:
        check_commitment(c, state, now)
        if c.name == "answer" and c.state in ("running", "paused"):
            assert c.start == earliest(state), "the complainant's clock started again"
            assert c.due - c.start <= longest_wait(state), "the complainant waits without an end"


def longest_wait(state: ComplaintState) -> timedelta:
    """The time for the answer, one wait for a reply, and the most that is granted beyond it."""
    waits = (terms.longest for terms in state.rules.pause_reasons.values())
    answer = max(terms.duration for terms in state.rules.commitments if terms.name == "answer")
    return answer + sum(waits, timedelta(0)) + state.rules.extension.longest


def check_approvals(state: ComplaintState) -> None:
    """What is asked for rests on the facts as they are, and ends with the answer."""
    asked = [a for a in state.approvals if a.state == "requested"]
    assert len(asked) <= 1
    assert bool(asked) == (state.extension is not None)
    for a in asked:
        assert RULEBOOK.facts is not None
        facts = RULEBOOK.facts(state, a)
        assert facts is not None
        assert facts_hash(facts) == a.facts_hash, "it should have lapsed"
        assert state.stage in (*(Stage.ACKNOWLEDGED, Stage.INVESTIGATING, Stage.AWAITING_CUSTOMER),)
    assert state.extensions == sum(a.state == "approved" for a in state.approvals)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(15, 40))
def test_whatever_happens_a_complaint_stays_sound(seed: int, steps: int) -> None:
    # Drawing every field of every command from hypothesis would take most of the time.
    pick = Random(seed).choice
    unheard_of = COMPLAINT.initial("complaint-1", "town", *pick(POLICIES))
    under_way = SAMPLES[pick(list(Stage))]().state
    life = Life(pick([unheard_of, unheard_of, under_way]))
    for number in range(steps):
        life.go_on(pick, number)
    life.check_history()


# Cases among themselves


class Town:
    """Complaints that ask each other, with letters that arrive in any order; files say yes."""

    def __init__(self) -> None:
        self.now = MONDAY
        self.lives: dict[str, ComplaintState] = {}
        self.post: list[tuple[str, dict[str, Any]]] = []
        self.known: set[str] = set()
        self.told: list[str] = []
        self.sent = 0

    def open(self, case: str, **fields: Any) -> None:
        self.lives[case] = COMPLAINT.initial(case, "town", *GAS)
        self.send(case, "RegisterComplaint", **{**REGISTER, **fields})

    def send(self, case: str, name: str, /, **body: Any) -> None:
        self.sent += 1
        actor = {"subject": "head-1", "role": "division_head", "proof": "token"}
        self._put(case, {"id": f"c{self.sent}", "actor": actor, "body": {"type": name, **body}})

    def deliver(self, index: int) -> None:
        """A letter arrives: the other case decides, and its answer is under way in turn."""
        to, raw = self.post.pop(index)
        if to.startswith("conduct-"):
            self.told.append(raw["body"]["finding"])
            accepted, reasons = True, ()
        else:
            accepted, reasons = self._put(to, {**raw, "actor": SYSTEM.model_dump()})
        sender, asks, _ = raw["id"].partition("/asks/")
        if asks and not raw["id"].endswith("/answer"):
            answer = {"request": raw["id"], "accepted": accepted, "reasons": reasons}
            body = {"type": "RecordAnswer", **answer}
            self.post.append((sender, {"id": f"{raw['id']}/answer", "body": body}))

    def _put(self, case: str, raw: dict[str, Any]) -> tuple[bool, tuple[str, ...]]:
        sent = COMPLAINT.command(raw)
        made = plan(COMPLAINT, self.lives[case], 0, [sent], self.now)
        state: ComplaintState = made.state
        check(state, self.now)
        self.lives[case] = state
        for request in state.requests:
            if request.id not in self.known:
                self.known.add(request.id)
                self.post.append((request.case_id, {"id": request.id, "body": request.command}))
        return not made.refused, made.refused[0][1] if made.refused else ()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), turns=st.integers(10, 40))
def test_repeats_that_ask_each_other_agree_in_the_end_and_lose_no_complainant(
    seed: int, turns: int
) -> None:
    chance = Random(seed)
    pick = chance.choice
    town = Town()
    parties: dict[str, str | None] = {f"complaint-{n}": f"party-{n}" for n in (1, 2, 3)}
    parties["complaint-4"] = None
    for case, party in parties.items():
        town.open(case, party=party, anonymous=party is None)
        town.now += timedelta(minutes=10)
        if pick([True, False]):
            town.send(case, "ScreenComplaint", category="late", gravity="light")
            town.send(case, "HandOverComplaint", department="billing")
            town.send(case, "AcknowledgeComplaint")
            town.send(case, "StartInvestigation")
    for _ in range(turns):
        town.now += pick([timedelta(0), timedelta(minutes=5)])
        if town.post and pick([True, False]):
            town.deliver(chance.randrange(len(town.post)))
            continue
        case, other = pick(list(parties)), pick(list(parties))
        finding = {"staff": "staff-9", "conduct_at": hours(-2), "evidence": "photo/1"}
        asked: dict[str, dict[str, Any]] = {
            "MergeRepeat": {"case": other},
            "DecideFinding": {**finding, "outcome": "upheld"},
            "AnswerComplaint": {"outcome": "upheld", "answer": "letter/1"},
            "WithdrawComplaint": {"reason": "settled"},
            "DeclareOutOfJurisdiction": {"reason": "theirs"},
            "ScreenComplaint": {"category": "bill", "gravity": "serious"},
        }
        name = pick([*["MergeRepeat"] * 4, *asked])
        town.send(case, name, **asked[name])
    while town.post:
        town.deliver(chance.randrange(len(town.post)))

    for case, life in town.lives.items():
        assert not life.requests, "a request was never answered"
        if life.merged_into is None:
            continue
        host = town.lives[life.merged_into]
        assert host.merged_into is None, "a complaint goes on in none"
        assert case in [r.case for r in host.repeats]
        assert not life.findings, "one matter, two strikes"
        assert parties[case] is None or parties[case] in complainants(host)
        for c in host.commitments:
            if c.name == "answer" and c.state == "running":
                assert life.registered_at is not None
                assert c.start <= life.registered_at, "the earliest clock was lost"
    assert len(town.told) == len(set(town.told)), "a finding was told twice"


@given(staff=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", fullmatch=True))
def test_every_staff_number_has_one_file_whatever_its_capitals(staff: str) -> None:
    assert (
        conduct_id("town", staff)
        == conduct_id("town", staff.upper())
        == conduct_id("town", staff.lower())
    )
    assert len(conduct_id("town", staff)) <= len("conduct-") + 60
    assert conduct_id("town", staff).startswith("conduct-")
