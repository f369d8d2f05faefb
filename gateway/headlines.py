"""What a case is about, in a few lines, from the state in its timeline. Pure."""

from collections.abc import Iterator

from gateway.timeline import Timeline
from gateway.words import listed, money, readable
from gateway.words.arrears import HOLDS, owed
from gateway.words.complaint import accused_in_words
from schemas.complaint import Accused
from schemas.envelope import Json


def headline(shown: Timeline) -> list[str]:
    """A line for what it is, then what else is worth knowing at a glance."""
    match shown.case_id.partition("-")[0]:
        case "repair":
            first, *rest = _repair(shown.state)
        case "complaint":
            first, *rest = _complaint(shown.state)
        case "conduct":
            first, *rest = _conduct(shown.state)
        case "arrears":
            first, *rest = _arrears(shown.state)
        case "premises":
            first, *rest = _premises(shown.state)
        case "assessment":
            first, *rest = _assessment(shown)
        case "archive":
            first, *rest = _archive(shown.state)
        case _:
            first, *rest = _register(shown.state)
    return [f"{first}; policy {shown.policy}", *rest]


def _repair(state: Json) -> Iterator[str]:
    yield _fault(state, state["category"], state["severity"]) + _where(state)
    if state["rework"]:
        yield "reworked" + (f" {state['rework']} times" if state["rework"] > 1 else "")
    for adopted in state["adopted"]:
        yield f"{'merged' if adopted['how'] == 'merge' else 'linked'}: {adopted['case']}"
    if state["merged_into"] or state["linked_to"]:
        yield f"goes on in {state['merged_into'] or state['linked_to']}"


def _complaint(state: Json) -> Iterator[str]:
    how = [name for name in ("anonymous", "confidential") if state[name]]
    yield _fault(state, state["category"], state["gravity"], *how) + _where(state)
    accused = accused_in_words(Accused.model_validate(a) for a in state["accused"])
    about = listed(a for a in (accused, state["about_case"], state["place"]) if a)
    yield f"about {about or 'the service'}"
    happened = [
        f"returned {_times(state['returns'])}" if state["returns"] else "",
        "decided whose it is, for good" if state["arbitrated"] else "",
        f"redone {_times(state['redo'])}" if state["redo"] else "",
        f"appealed {_times(state['appeals'])}" if state["appeals"] else "",
    ]
    if any(happened):
        yield listed(part for part in happened if part)
    for f in state["findings"]:
        apology = _apology(f)
        what = f"{readable(f['outcome'])}, {f['gravity']}, {readable(f['cause'])}"
        yield f"found about {f['staff']}: {what}{apology}"
    if state["outcome"]:
        yield f"outcome: {readable(state['outcome'])}"
    for repeat in state["repeats"]:
        yield f"merged: {repeat['case']}"
    if state["merged_into"]:
        yield f"goes on in {state['merged_into']}"


def _apology(finding: Json) -> str:
    if finding["apologised"]:
        return f"; apologised ({finding['apologised']})"
    return f"; no apology ({finding['apology_waived']})" if finding["apology_waived"] else ""


def _conduct(state: Json) -> Iterator[str]:
    above = f", reports to {state['reports_to']}" if state["reports_to"] else ""
    yield f"staff file of {state['staff']}{above}"
    live = [c for c in state["counts"] if c["live"]]
    strikes, marks = sum(c["strike"] for c in live), sum(c["marked"] for c in state["counts"])
    yield f"counting now: {_so_many(strikes, 'strike')}, {_so_many(marks, 'black mark')}"


def _register(state: Json) -> Iterator[str]:
    yield "satisfaction register (满意度)"
    for card in state["cards"]:
        yield f"yellow card of {card['year']}: {card['department']}"


def _premises(state: Json) -> Iterator[str]:
    yield f"premises {state['premises']}"
    yield f"open here: {listed(p['case'] for p in state['presences'] if p['open']) or 'nothing'}"
    for lock in state["interlocks"]:
        yield f"{lock['arrears']} waits for {lock['source']}"


def _arrears(state: Json) -> Iterator[str]:
    what = [
        f"DN{state['dn']}",
        state["customer_class"],
        "boilers" if state["boilers"] else "",
        "continuous production" if state["continuous_production"] else "",
        f"district {state['district']}",
    ]
    yield f"account {state['account']} overdue (欠费): {listed(part for part in what if part)}"
    paid = sum(p["amount"] for p in state["payments"] if not p["reversed_at"])
    owing = owed(sum(b["amount"] for b in state["bills"]) - paid, state["currency"])
    yield f"{owing}; supply {readable(state['supply'])}, premises {state['premises']}"
    for hold in state["holds"]:
        yield f"no stop: {HOLDS[hold['kind']]} ({hold['hold']})"
    for stop in state["stops"]:
        if stop["restored_at"] is None:
            right = "" if stop["permitted"] else ", WITHOUT a permit that held"
            yield f"{stop['kind']} stop by {stop['crew']}, valve {stop['valve']}{right}"
    for permit in state["permits"]:
        if permit["state"] == "issued":
            yield f"permit {permit['permit']} is in force, for {permit['crew']}"


def _assessment(shown: Timeline) -> Iterator[str]:
    state = shown.state
    yield f"assessment (考核) of {state['reader']} for {state['half_year']}"
    excluded = sum(len(x["accounts"]) for x in state["exclusions"] if x["state"] == "excluded")
    overdue = _so_many(len(state["accounts"]), "overdue account")
    yield f"{overdue} (WAT-P1), {excluded} excluded (WAT-P2)"
    if state["settled"]:
        yield f"comes to {money(state['settled']['amount'], state['settled']['currency'])}"


def _archive(state: Json) -> Iterator[str]:
    yield "register of archived histories (Temporal's, of cases that have ended)"
    yield f"entered: {state['entered']}, room for {state['room']}"


def _where(state: Json) -> str:
    return f", premises {state['premises']}" if state["premises"] else ""


def _fault(state: Json, *what: str) -> str:
    first = "special care, " if state["priority"] else ""
    return f"{first}{listed(what)}, district {state['district']}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _so_many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
