"""Every role sends every command over HTTP: whom the table lets gets as far as the case."""

from typing import Any

import pytest

from gateway.http import commands as routes
from gateway.http.limits import InMemory, Limit
from gateway.http.problems import Failed
from gateway.permissions import ROLES
from schemas.base import Command, Role
from tests.gateway.http.office import Office
from tests.gateway.roles import COMMAND_CELLS

AT, LATER = "2026-05-01T08:00:00+08:00", "2026-05-02T08:00:00+08:00"
FIELDS: dict[str, Any] = {
    "accounts": ["arrears-1"],
    "amount": 100,
    "answer": "letter/1",
    "approval": "extension-1",
    "bills": [{"bill": "B-1", "amount": 8000, "due": "2026-01-31"}],
    "body": "ombudsman",
    "case": "repair-2",
    "category": "meter",
    "conduct_at": AT,
    "consent": "call/1",
    "crew": "crew-1",
    "currency": "CNY",
    "decision": "approve",
    "department": "field",
    "end": LATER,
    "facts_hash": "0" * 64,
    "fault": "repair-2",
    "finding": "complaint-1/s-9",
    "gravity": "light",
    "guard": "crew-1",
    "how": "door",
    "instalments": [{"due": "2026-06-01", "amount": 100}],
    "kind": "self",
    "outcome": "upheld",
    "party": "party-1",
    "parts": ["valve"],
    "period": "2026-04",
    "reading": 7,
    "result": "satisfied",
    "severity": "common",
    "staff": "s-9",
    "start": AT,
    "stock": "local",
    "to": "s-9",
    "until": LATER,
    "work": ["valve-replaced"],
}
"""What may stand in a field; in all others a word."""
OWN: dict[str, dict[str, Any]] = {
    "EscalateComplaint": {"to": {"kind": "role", "id": "division_head"}},
    "HandOverCase": {"to": {"kind": "person", "id": "s-9"}},
    "MergeRepeat": {"case": "complaint-2"},
    "PlaceHold": {"kind": "dispute"},
}


def body_of(name: str, model: type[Command]) -> dict[str, Any]:
    """As little as the command needs."""
    needed = [field for field, info in model.model_fields.items() if info.is_required()]
    for field in needed:
        if field.endswith("_at"):
            FIELDS.setdefault(field, AT)
    return {field: OWN.get(name, {}).get(field, FIELDS.get(field, "word")) for field in needed}


@pytest.mark.parametrize("role", ROLES)
async def test_over_http_each_role_sends_what_the_matrix_allows_it(
    idle_office: Office, monkeypatch: pytest.MonkeyPatch, role: Role
) -> None:
    async def asked(*_: Any) -> Any:
        raise Failed("no-such-case")

    monkeypatch.setattr(routes, "ask", asked)
    idle_office.app.state.forbidden = Limit("forbidden", "100000/second", InMemory())
    sendable = routes.sendable()
    wrong: list[tuple[str, str, int, str]] = []
    for kind, name, column, allowed in COMMAND_CELLS:
        if column != role:
            continue
        model, kinds = sendable.get(name, (Command, ()))
        answer = await idle_office.send(f"{kind}-1", name, role, **body_of(name, model))
        if kind not in kinds:  # it opens a case or is the case's own: no such address
            expected = (404, "/problems/no-such-command")
        elif allowed:
            expected = (404, "/problems/no-such-case")
        else:
            expected = (403, "/problems/forbidden")
        if (answer.status_code, answer.json()["type"]) != expected:
            wrong.append((kind, name, answer.status_code, answer.text[:200]))
    assert not wrong


def test_every_command_that_somebody_may_send_has_an_address() -> None:
    """Or one of its own: those open a case, or look into the log first."""
    own = {"ReportRepair", "RegisterComplaint", "OpenArrears", "IssuePermit"}
    known = routes.sendable()
    for kind, name, _, allowed in COMMAND_CELLS:
        if allowed and name not in own:
            assert kind in known[name][1], name
