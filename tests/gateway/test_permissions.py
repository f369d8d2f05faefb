"""Every role against every command and resource: the table is what people agreed on."""

from pathlib import Path
from typing import Any, get_args

import pytest

from gateway import commands, permissions
from gateway.permissions import COMMANDS, DOES, ROLES, SEES
from gateway.policies import content_of
from lifecycles.arrears_approvals import AUTHORISERS
from lifecycles.conduct_findings import JUDGES
from lifecycles.policies import pinned
from lifecycles.satisfaction_checks import MAY_CHECK
from lifecycles.satisfaction_ranking import IN_CHARGE
from schemas.base import CaseCommand, Role
from tests.gateway.roles import COLUMNS, COMMAND_CELLS, SEEN, cells

POLICIES = Path(__file__).parents[2] / "policies"


def models_of(kind: str) -> dict[str, type[Any]]:
    """All commands of a kind of case, from its schema alone."""
    union = get_args(commands._UNIONS[kind])[0]
    return {model.__name__: model for model in get_args(union)}


def test_the_table_knows_every_role() -> None:
    assert {*COLUMNS.values()} == {*get_args(Role)} - {"system"} == {*ROLES}


def test_the_table_knows_every_command_of_every_kind_of_case() -> None:
    assert {*COMMANDS} == {*commands.KINDS}
    for kind in commands.KINDS:
        known = {*models_of(kind)}
        written = {name for section, name, _, _ in COMMAND_CELLS if section == kind}
        assert {*COMMANDS[kind]} == known, f"gateway/permissions.py: {kind}"
        assert written == known, f"the matrix of the test: {kind}"


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sends_what_the_matrix_allows_it_and_nothing_else(role: Role) -> None:
    wrong = [
        (kind, name, "may" if allowed else "may not")
        for kind, name, column, allowed in COMMAND_CELLS
        if column == role and allowed != (role in permissions.senders(kind, name))
    ]
    assert not wrong
    assert sum(column == role for *_, column, _ in COMMAND_CELLS) == sum(
        map(len, COMMANDS.values())
    )


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_and_does_what_the_matrix_allows_it(role: Role) -> None:
    found = [(s, n, allowed) for s, n, column, allowed in cells(SEEN) if column == role]
    assert {n for s, n, _ in found if s == "see"} == {*SEES}
    assert {n for s, n, _ in found if s == "do"} == {*DOES}
    table = {"see": SEES, "do": DOES}
    assert not [(s, n) for s, n, allowed in found if allowed != (role in table[s][n])]


def test_nobody_sends_what_cases_ask_of_each_other_or_what_the_clock_says() -> None:
    for kind, known in COMMANDS.items():
        for name, model in models_of(kind).items():
            if issubclass(model, CaseCommand) or name in ("DeadlinePassed", "RecordAnswer"):
                assert known[name] == ()


def test_no_table_lets_anybody_be_the_system() -> None:
    for table in (*COMMANDS.values(), SEES, DOES):
        assert all("system" not in roles for roles in table.values())
        assert all(len(set(roles)) == len(roles) for roles in table.values())


def test_auditors_look_on_and_change_nothing() -> None:
    assert not [
        n for table in (*COMMANDS.values(), DOES) for n, r in table.items() if "auditor" in r
    ]


def test_a_service_decides_no_approval() -> None:
    for known in COMMANDS.values():
        assert "service" not in known.get("DecideApproval", ())


def test_what_is_no_command_is_for_nobody() -> None:
    assert permissions.senders("repair", "CloseValve") == ()
    assert permissions.senders("elephant", "TakeCase") == ()


def test_every_kind_of_case_is_seen_as_something() -> None:
    for kind in COMMANDS:
        assert permissions.resource_of(kind) in SEES
    assert permissions.kinds_seen(["crew"]) == ("repair", "premises", "arrears")
    assert permissions.kinds_seen(["crew", "auditor"]) == tuple(COMMANDS)
    assert permissions.kinds_seen([]) == ()


def test_whom_the_rules_name_may_try() -> None:
    for file in POLICIES.glob("*.toml"):
        policy = pinned(content_of(file.stem, POLICIES)).policy
        for kind in COMMANDS:
            rules: Any = getattr(policy, kind, None)
            for terms in (getattr(rules, "approvals", None) or {}).values():
                deciders = permissions.senders(kind, "DecideApproval")
                assert {terms.role, terms.escalates_to} - {None} <= set(deciders), (file.stem, kind)
        if policy.complaint is not None:
            above = policy.complaint.next_level
            for name in ("ArbitrateReturn", "CloseComplaint"):
                may = permissions.senders("complaint", name)
                assert {above, policy.complaint.follow_up.supervisor} <= set(may)
            assert {above, "admin"} <= set(permissions.senders("complaint", "OverturnDecision"))


def test_who_may_try_is_whom_the_rules_let() -> None:
    assert set(permissions.senders("arrears", "AuthoriseCutoff")) == {*AUTHORISERS}
    for name in ("RecordMeasure", "ConcludeInvestigation", "RecordRedress"):
        assert set(permissions.senders("conduct", name)) == {*JUDGES}
    assert set(permissions.senders("satisfaction", "RecordImprovement")) == {*IN_CHARGE}
    checkers = {role for roles in MAY_CHECK.values() for role in roles}
    assert set(permissions.senders("satisfaction", "RecordCheck")) == checkers
