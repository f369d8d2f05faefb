"""Which roles may use an operation, as the API's description tells it: from the same tables."""

from collections.abc import Iterable, Mapping

from gateway.http.commands import sendable
from gateway.permissions import COMMANDS, DOES, ROLES, SEES, Roles, resource_of

OPENING: Mapping[str, str] = {
    "ReportRepair": "repair",
    "RegisterComplaint": "complaint",
    "OpenArrears": "arrears",
    "IssuePermit": "arrears",
}
"""Operations beside `/commands/` that send a command of their own name to that kind of case."""
BY_KIND = ("list_cases", "list_work", "show_case", "show_timeline")
"""What cases may be seen there depends on their kind."""
_AS: Mapping[str, Roles] = {
    "show_dossier": SEES["arrears"],
    "list_approvals": SEES["approvals"],
    "put_party": DOES["put_party"],
    "add_note": DOES["put_party"],
    "show_party": tuple(dict.fromkeys((*SEES["parties"], *SEES["sealed_parties"]))),
    "erase_party": DOES["erase_party"],
    "post_payment": COMMANDS["arrears"]["RecordPayment"],
    "show_staff": SEES["staff_files"],
    "show_satisfaction": SEES["satisfaction"],
    "list_assessments": SEES["assessments"],
    "list_stops": SEES["stops"],
    "list_part_payments": SEES["part_payments"],
    "list_events": SEES["events"],
    "follow_events": SEES["events"],
    "list_messages": SEES["outbox"],
    "list_refusals": SEES["refusals"],
    "list_policies": SEES["policies"],
    "show_policy": SEES["policies"],
    "list_webhooks": SEES["webhooks"],
    "show_webhook": SEES["webhooks"],
    "list_deliveries": SEES["webhooks"],
    "add_webhook": DOES["manage_webhooks"],
    "show_webhook_secret": DOES["manage_webhooks"],
    "change_webhook": DOES["manage_webhooks"],
    "remove_webhook": DOES["manage_webhooks"],
    "test_webhook": DOES["manage_webhooks"],
    "redrive_deliveries": DOES["redrive_messages"],
    "enrol_key": DOES["enrol_keys"],
    "list_keys": SEES["signing_keys"],
    "report_key_lost": DOES["enrol_keys"],
}
OWN: Mapping[str, str] = {
    "show_staff": "and everybody their own",
    "list_assessments": "and everybody their own",
    "list_keys": "and everybody their own",
    "report_key_lost": "and everybody their own",
    "list_events": "each for the kinds of case that they may see",
    "follow_events": "each for the kinds of case that they may see",
    "show_party": "for a sealed party those that its seal names",
}
"""What the roles alone do not say."""


def roles_by_kind(operation: str) -> Mapping[str, Roles] | None:
    """By kind of case, who may use an operation; None where it does not depend on that."""
    if operation in OPENING:
        return {OPENING[operation]: COMMANDS[OPENING[operation]][operation]}
    if operation in BY_KIND:
        return {kind: SEES[resource_of(kind)] for kind in COMMANDS}
    name = "DecideApproval" if operation == "decide_approval" else operation
    if name in sendable():
        return {kind: COMMANDS[kind][name] for kind in sendable()[name][1]}
    return None


def roles_of(operation: str) -> Roles:
    """Who may use an operation at all; nobody where it needs no role, or where it is not known."""
    by_kind = roles_by_kind(operation)
    if by_kind is None:
        return _AS.get(operation, ())
    return tuple(dict.fromkeys(role for roles in by_kind.values() for role in roles))


def said(operation: str) -> str:
    """The roles as a sentence; nothing where there are none."""
    if operation in BY_KIND:
        return "Roles: those that see cases of that kind."
    by_kind = roles_by_kind(operation)
    if by_kind is not None and len(set(by_kind.values())) > 1:
        each = (f"{', '.join(roles)} ({kind})" for kind, roles in by_kind.items())
        return f"Roles: {'; '.join(each)}."
    named = ", ".join(roles_of(operation))
    more = OWN.get(operation)
    return f"Roles: {named}{f', {more}' if more else ''}." if named else ""


def who_sees_cases() -> str:
    """Which roles see which cases, as sentences."""
    named = (f"{kind}: {', '.join(SEES[resource_of(kind)])}" for kind in COMMANDS)
    return "; ".join(named)


def role_table() -> str:
    """Each role's rights at a glance, in Markdown: how many commands it may send, what else."""
    lines = [f"| | {' | '.join(role.replace('_', ' ') for role in ROLES)} |"]
    lines.append(f"| --- |{' :-: |' * len(ROLES)}")
    for kind, commands in COMMANDS.items():
        if any(commands.values()):  # else only cases, and the archiver, speak to it
            counts = [sum(role in roles for roles in commands.values()) for role in ROLES]
            lines.append(_row(f"commands to {kind} cases", (str(n or "") for n in counts)))
    for verb, table in (("see", SEES), ("", DOES)):
        for what, roles in table.items():
            marks = ("x" if role in roles else "" for role in ROLES)
            lines.append(_row(f"{verb} {what.replace('_', ' ')}".strip(), marks))
    return "\n".join(lines)


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"
