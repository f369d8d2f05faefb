"""Opens a case for somebody who reports or complains: their particulars go to the vault.

The case knows only an opaque id. Nothing is left half done: what the rules refuse is refused before
anything is stored, and what the case refuses after all takes its particulars with it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from activities.cases import Cases, Conflict
from activities.vault import PartySealed, PartyUnknown, Vault
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import lifecycle_of, plan
from lifecycles.policies import pinned
from schemas.base import Actor, Role
from schemas.envelope import CommandOutcome, Json
from schemas.party import Party

CONTACT = ("name", "address", "phone")
UNSEALED = (
    "An informant's identity is sealed: give their particulars, for a party of their own, and the"
    " roles that alone may see them (WAT-2.5)."
)
OPENS: Mapping[str, str] = {"ReportRepair": "repair", "RegisterComplaint": "complaint"}
"""By the command that opens it: the kind of case."""


class Opened(NamedTuple):
    """A case that was opened."""

    case_id: str
    party_id: str | None
    outcome: CommandOutcome


def case_of(kind: str, organisation: str, command_id: str) -> str:
    """The case that a command opens: the same command again is the same case."""
    return f"{kind}-{_opaque(organisation, 'case', command_id)}"


def party_of(organisation: str, command_id: str) -> str:
    """The party that a command brings with it."""
    return f"party-{_opaque(organisation, 'party', command_id)}"


def on_record(party: Party) -> dict[str, object]:
    """What a case may know of a party: which particulars there are, and whether it goes first."""
    kept: Mapping[str, object] = {name: getattr(party, name) for name in CONTACT}
    return {
        "recorded": [name for name in CONTACT if kept[name] is not None],
        "priority": party.special_care,
    }


async def report(
    cases: Cases,
    vault: Vault,
    organisation: str,
    policy: str,
    command: Json,
    party: Party | None,
    now: datetime,
    *,
    sealed_to: Sequence[Role] = (),
) -> Opened:
    """Open a case by the envelope of one of `OPENS`; what is on record of the party is filled in.

    With `party`, its particulars are kept under a new id first, sealed to roles where any are named
    (WAT-2.5); else the envelope may name one that the vault knows. An informant's must be sealed.
    Raises `Rejected` with every reason, `Conflict` where the command's id was used for another
    report, VaultError where the party is unknown, erased or sealed to others.
    """
    case_id = case_of(OPENS[command["body"]["type"]], organisation, command["id"])
    reader = Actor.model_validate(command["actor"])
    named: str | None = command["body"].get("party")
    party_id = named if party is None else party_of(organisation, command["id"])
    if party_id is not None:
        particulars = party or await vault.show(organisation, party_id, reader=reader)
        about = {"party": party_id, **on_record(particulars)}
        command = {**command, "body": {**command["body"], **about}}
        if command["body"].get("confidential"):
            sealed = sealed_to if party else await vault.seal_of(organisation, party_id)
            if not sealed:
                raise Rejected([UNSEALED])
    _refuse(case_id, organisation, policy, command, now)
    new = False
    if party is not None and party_id is not None:
        new = await _keep(vault, organisation, party_id, party, reader, sealed_to)
    try:
        outcome = await cases.open(case_id, policy, command)
    except (Rejected, Conflict):
        if new and party_id is not None:
            await vault.erase(organisation, party_id)
        raise
    return Opened(case_id, party_id, outcome)


async def _keep(
    vault: Vault,
    organisation: str,
    party_id: str,
    party: Party,
    reader: Actor,
    sealed_to: Sequence[Role],
) -> bool:
    """Put a party into the vault; False if this very report did so before."""
    try:
        known = await vault.show(organisation, party_id, reader=reader)
    except PartyUnknown:
        await vault.put(organisation, party_id, party, sealed_to=sealed_to or None)
        return True
    except PartySealed:
        return False  # whoever reported may not look again, not even to compare
    if known != party:
        raise Conflict("This id was used with other particulars; report it under a new id.")
    return False


def _refuse(case_id: str, organisation: str, policy: str, command: Json, now: datetime) -> None:
    lifecycle = lifecycle_of(case_id)
    known = pinned(policy)
    if getattr(known.policy, lifecycle.kind) is None:
        raise Rejected([f"This policy says nothing of a {lifecycle.kind}: choose another."])
    state = lifecycle.initial(case_id, organisation, *known)
    made = plan(lifecycle, state, 0, [lifecycle.command(command)], now)
    for _, reasons in made.refused:
        raise Rejected(reasons)


def _opaque(*parts: str) -> str:
    return uuid5(NAMESPACE_URL, "/".join(("standpipe", *parts))).hex[:16]
