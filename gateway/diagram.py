"""The picture of a repair in the README, drawn by exploring the rules themselves.

Breadth first, from every kind of report: each command is tried on each state, answers and the
passing of time included, and each change of stage becomes an arrow. Nothing is drawn by hand.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from gateway.policies import load
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES, deadline
from lifecycles.repair_stages import ACTIVE, ALLOWED, AT_WORK, CLOSING, WAITING
from schemas.envelope import CommandEnvelope
from schemas.repair import RepairState, Stage

_REPAIR = LIFECYCLES["repair"]
_POLICIES = Path(__file__).parents[1] / "policies"
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_CLERK = {"subject": "clerk", "role": "clerk", "proof": "local"}

_GROUPS: Mapping[str, Sequence[Stage]] = {"Active": ACTIVE, "Waiting": WAITING, "AtWork": AT_WORK}
"""Stages from which the same command leads to the same stage share one arrow."""

TIME = "time passes"
AT_ONCE = "at once"

Body = dict[str, Any]
Labels = dict[str, set[bool]]
"""What leads along an arrow, and whether for customers' faults, network faults or both."""
Arrows = dict[tuple[Stage, Stage], Labels]


class _Node(NamedTuple):
    """A state and the instant at which it was reached."""

    state: RepairState
    now: datetime


def state_diagram() -> str:
    """A Mermaid state diagram of the repair lifecycle; the same text every time.

    Raises ValueError where a stage cannot be reached or a command has no example here.
    """
    arrows = explore()
    unreached = set(Stage) - {Stage.UNREPORTED} - {target for _, target in arrows}
    if unreached:
        raise ValueError(f"No command leads to: {', '.join(sorted(unreached))}.")
    edges = _grouped({ends: _words(labels) for ends, labels in arrows.items()})
    inner = {name: list[str]() for name in ("", *_GROUPS)}
    for (source, target), words in edges.items():
        inner[_home(source, target)].append(f"{source} --> {target}: {', '.join(words)}")
    waiting = _block("Waiting", [*WAITING, *inner["Waiting"]])
    at_work = _block("AtWork", [*AT_WORK, *inner["AtWork"]])
    active = _block("Active", [*waiting, *at_work, Stage.PAUSED, *inner["Active"]])
    return "\n".join(["stateDiagram-v2", *_indented([*active, *inner[""]])])


def explore() -> Arrows:
    """Every change of stage that a command, an answer or the clock can bring about."""
    missing = sorted(set(ALLOWED) - set(_examples(_start())))
    if missing:
        raise ValueError(f"Give the diagram an example of: {', '.join(missing)}.")
    arrows: Arrows = {}
    queue = deque([_start()])
    seen = {_key(queue[0].state)}
    while queue:
        for node in _onwards(queue.popleft(), arrows):
            if _key(node.state) not in seen:
                seen.add(_key(node.state))
                queue.append(node)
    return arrows


def _start() -> _Node:
    policy = load("gas", _POLICIES)
    return _Node(_REPAIR.initial("repair-1", "town", *policy), _BEGINNING)


def _key(s: RepairState) -> tuple[object, ...]:
    """What decides over the way onwards; clocks and counters only lengthen it."""
    asks = [r.command["how"] for r in s.requests if r.command["type"] == "AdoptReport"]
    return (
        *(s.stage, s.stage_before, s.category, s.severity, s.pause_reason),
        *(s.linked_to, s.wait_until is None, *asks),
    )


def _onwards(node: _Node, arrows: Arrows) -> Iterator[_Node]:
    """What every command makes of a state, and what the clock does if nobody comes."""
    now = node.now + timedelta(minutes=1)
    for name, bodies in _examples(node).items():
        for body in bodies:
            sent = _REPAIR.command({"id": "c", "actor": _CLERK, "body": {"type": name, **body}})
            try:
                yield _Node(_applied(node.state, sent, now, name, arrows), now)
            except Rejected:
                continue
    state = node.state
    while (at := _REPAIR.next_deadline(state)) is not None:
        state = _applied(state, deadline(at, 0), max(at, now), TIME, arrows)
        yield _Node(state, max(at, now))


def _applied(
    state: RepairState, sent: CommandEnvelope[Any], now: datetime, label: str, arrows: Arrows
) -> RepairState:
    """The state after a command; the stages that it leads through become arrows."""
    source, before = state.stage, state.stage
    for event in _REPAIR.decide(state, sent, now):
        after: RepairState = _REPAIR.evolve(state, event)
        # Of stages that are only passed through, those of the ending are worth a picture.
        if before in CLOSING and before not in (source, after.stage):
            _draw(arrows, source, before, label, state)
            source, label = before, AT_ONCE
        state, before = after, after.stage
    _draw(arrows, source, before, label, state)
    return state


def _draw(arrows: Arrows, source: Stage, target: Stage, label: str, state: RepairState) -> None:
    if source != target:
        arrows.setdefault((source, target), {}).setdefault(label, set()).add(state.network)


def _words(labels: Labels) -> list[str]:
    """Labels in the order of the commands, then the clock; marked where only networks have them."""
    order = {name: i for i, name in enumerate([*ALLOWED, TIME, AT_ONCE])}
    return [
        f"{label} (network fault)" if networks == {True} and label != AT_ONCE else label
        for label, networks in sorted(labels.items(), key=lambda item: order[item[0]])
    ]


def _grouped(edges: dict[tuple[Stage, Stage], list[str]]) -> dict[tuple[str, str], list[str]]:
    """One arrow for a whole group of stages where each of them has it."""
    single = [(source, target, word) for (source, target), ws in edges.items() for word in ws]
    left = dict.fromkeys((str(s), str(t), word) for s, t, word in single)
    for name, members in _GROUPS.items():
        for source, target, word in list(left):
            if (source in members) == (target in members):
                continue
            if source in members:
                one, all_of_them = (name, target, word), [(str(m), target, word) for m in members]
            else:
                one, all_of_them = (source, name, word), [(source, str(m), word) for m in members]
            if all(edge in left for edge in all_of_them):
                left = dict.fromkeys([*(e for e in left if e not in all_of_them), one])
    together: dict[tuple[str, str], list[str]] = {}
    for source, target, word in left:
        together.setdefault((_named(source), target), []).append(word)
    ranks = {name: i for i, name in enumerate([*_GROUPS, *map(str, Stage)])}
    return dict(sorted(together.items(), key=lambda e: [ranks.get(name, -1) for name in e[0]]))


def _named(stage: str) -> str:
    return "[*]" if stage == Stage.UNREPORTED else stage


def _home(source: str, target: str) -> str:
    """The innermost group that holds both ends of an arrow; nothing where none does."""
    for name in ("Waiting", "AtWork", "Active"):
        inside = {*_GROUPS[name], *(["Waiting", "AtWork"] if name == "Active" else [])}
        if {source, target} <= inside:
            return name
    return ""


def _block(name: str, lines: Sequence[str]) -> list[str]:
    return [f"state {name} {{", *_indented(lines), "}"]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _examples(node: _Node) -> dict[str, list[Body]]:
    """Well-formed commands of every type, such as they make sense in the state."""
    s, now = node.state, node.now + timedelta(minutes=1)
    crew = {"crew": s.crew or "crew-1"}
    because: Body = {"reason": "reason"}
    shown: Body = {"evidence": "photo/1"}
    elsewhere: Body = {**because, "channel": "elsewhere"}
    hours = {"start": now + timedelta(hours=48), "end": now + timedelta(hours=49)}
    agreed: Body = {**hours, "consent": "call/1"}
    fault = s.linked_to or "repair-2"
    call: Body = {"party": s.party or "party-1", "consent": True}
    customer: Body = {
        "channel": "phone",
        "party": "party-1",
        "recorded": ["name", "address", "phone"],
        "district": "north",
    }
    return {
        "ReportRepair": [
            {**customer, "category": "ic-card"},
            {"channel": "patrol", "district": "north", "category": "pipe-leak"},
        ],
        "TriageRepair": [{"category": s.category, "severity": v} for v in (s.severity, "hazard")],
        "SolveByPhone": [{"solution": "card-cleaned"}],
        "DispatchCrew": [crew],
        "AcceptJob": [crew],
        "DeclineJob": [{**crew, **because}],
        "ReassignJob": [{"crew": "crew-2" if s.crew == "crew-1" else "crew-1", **because}],
        "TakeCase": [{}],
        "HandOverCase": [{"to": {"kind": "person", "id": "clerk-2"}, **because}],
        "BookAppointment": [agreed],
        "MoveAppointment": [{**agreed, **because}],
        "RecordArrival": [crew],
        "RecordNoAccess": [{**crew, **because, **shown}],
        "MakeSafe": [shown],
        "StartWork": [{}],
        "PauseWork": [{"reason": "awaiting_parts", **shown}],
        "ResumeWork": [{}],
        "RequestParts": [{"parts": ["valve"], "stock": "elsewhere"}],
        "RecordPartsShipped": [{"waybill": "waybill/1"}],
        "RecordPartsArrived": [{}],
        "CompleteRepair": [{"work": ["valve"]}],
        "PassInspection": [shown],
        "FailInspection": [{**because, **shown}],
        "RecordCallback": [{**call, "result": r} for r in ("satisfied", "not_satisfied")],
        "ReopenCase": [because],
        "TransferOut": [{"to": "elsewhere", "reference": "letter/1"}],
        "RecordTransferReturned": [because],
        "MergeInto": [{"case": "repair-2"}],
        "SplitOut": [because],
        "LinkToFault": [{"fault": "repair-2"}],
        "AdoptReport": [{"case": "repair-3", "how": "merge", "reported_at": now}],
        "ReleaseReport": [{"case": "repair-3"}],
        "RecordFaultCleared": [{"fault": fault, "cleared_at": now}],
        "PostGuard": [{"guard": "guard-1"}],
        "AnnounceInterruption": [{**hours, **because}],
        "ReportNoFault": [shown],
        "DeclareNotOurs": [elsewhere],
        "DeclareUnableToFix": [elsewhere],
        "CancelRepair": [because],
        "DeadlinePassed": [{"at": now}],
        "RecordAnswer": [
            {"request": r.id, "accepted": agrees} for r in s.requests for agrees in (True, False)
        ],
    }
