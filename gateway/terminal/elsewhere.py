"""What is different on the command line when it speaks to a gateway elsewhere."""

from typing import Any

import typer

from settings import Settings, SettingsError

THERE = frozenset(
    {
        *("case list", "case show", "case watch", "repair report", "complaint register", "command"),
        *("approvals", "approve", "reject", "permit", "dossier", "stops", "part-payments"),
        *("staff show", "satisfaction", "worklist", "outbox", "refusals"),
        *("party show", "party erase", "import payments"),
    }
)
"""Verbs that work with a gateway elsewhere …"""
NOWHERE = frozenset(
    {
        *("rehearse repairs", "rehearse arrears", "policy check", "policy show", "policy holidays"),
        *("key create", "token", "audit check-dossier", "audit check-export"),
    }
)
"""… and those that work with files here alone. All others need the servers themselves."""


def elsewhere() -> bool:
    """Whether the settings name a gateway elsewhere; what is wrong with them the verb says."""
    try:
        return Settings().gateway_url is not None
    except SettingsError:
        return False


def against(verb: str) -> str | None:
    """Why a verb cannot be used, if it cannot."""
    if verb in THERE or verb in NOWHERE or not elsewhere():
        return None
    return (
        f"`standpipe {verb}` works on the servers themselves, not with a gateway elsewhere: run it"
        " there, or unset STANDPIPE_GATEWAY_URL and its token."
    )


def said_by_token(context: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """For options that say who acts, in which role: a gateway elsewhere goes by the token alone."""
    source = context.get_parameter_source(param.name or "")
    if source is not None and source.name == "COMMANDLINE" and elsewhere():
        raise typer.BadParameter(
            "leave it out: to a gateway elsewhere the token says who you are, in which roles"
            " (KUN-8.4)."
        )
    return value


def acting(who: str, role: str) -> str:
    """The options that say so, for a line that somebody will copy."""
    return "" if elsewhere() else f" --as {who} --role {role}"
