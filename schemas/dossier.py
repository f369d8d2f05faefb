"""The dossier of a cutoff as a file: every condition of every stop, its rule, and its proof.

- `format` "standpipe-dossier/1"; `case_id`, `organisation`, `policy`, `policy_hash`, `time_zone`,
  `as_of`, `version` (the stream's), `stage`, `supply`; `account`, `premises`, `dn`,
  `customer_class`, `boilers`, `continuous_production`, `currency`, `balance` and `threshold` (in
  the smallest unit), `balance_text`
- `complete` and `missing`: whether all closings of a valve are proven, or what is not; before the
  first one, what is missing so far
- `stops`: each with `number`, `kind`, `state` (made or planned), `crew`, `valve`, `seal`,
  `reading` (litres), `conditions`, `permit`, `closing`, `incident`, `reopened`, `restored`,
  `complete`, `missing`. A condition has `name`, `title`, `rule`, `held` (null: looked at when the
  crew stands at the valve), `again` (evaluated anew from the log), `proof` (as recorded),
  `evidence` (events), `missing`
- `permits`: every permit, used or not, with what the look into the log showed (`open_cases`)
- `events`: the whole case

An event has `stream`, `version`, `position`, `event_id`, `type`, `at`, `decided_at`, `actor`,
`command_id`, `text`. Instants are UTC; `text` has local ones. Ids and references only: nothing
personal.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from schemas.base import Actor, Value

FORMAT = "standpipe-dossier/1"


class Proof(Value):
    """An event: where it stands in the log, when it happened, who caused it."""

    stream: str
    version: int
    position: int
    event_id: UUID
    type: str
    at: datetime
    decided_at: datetime
    actor: Actor
    command_id: str
    text: str


class Condition(Value):
    """A condition of a stop: whether it held, on which rule, and what proves it."""

    name: str
    title: str
    rule: str | None
    held: bool | None
    """None: it is looked at when the crew stands at the valve, not before."""
    again: bool | None
    """The same, evaluated anew from the log; None: it cannot be."""
    proof: str | None
    """As the permit or the incident recorded it."""
    evidence: tuple[Proof, ...]
    missing: str | None


class PermitFile(Value):
    """A permit, what the look into the log showed, and what became of it."""

    permit: str
    crew: str
    full: bool
    state: Literal["issued", "redeemed", "revoked", "expired"]
    issued_at: datetime
    expires_at: datetime
    checked_at: datetime
    open_cases: tuple[str, ...]
    issued: Proof
    ended: Proof | None


class StopFile(Value):
    """A stop of supply, made or planned."""

    number: int
    kind: Literal["temporary", "full"]
    state: Literal["made", "planned"]
    crew: str | None
    valve: str | None = None
    seal: str | None = None
    reading: int | None = None
    conditions: tuple[Condition, ...]
    permit: PermitFile | None
    closing: Proof | None = None
    incident: Proof | None = None
    reopened: Proof | None = None
    restored: Proof | None = None
    complete: bool
    missing: tuple[str, ...]


class Dossier(Value):
    """The JSON form: see the top of this file."""

    format: str = FORMAT
    case_id: str
    organisation: str
    policy: str
    policy_hash: str
    time_zone: str
    as_of: datetime
    version: int
    stage: str
    supply: str
    account: str | None
    premises: str | None
    dn: int
    customer_class: str
    boilers: bool
    continuous_production: bool
    currency: str | None
    balance: int
    balance_text: str
    threshold: int
    complete: bool
    missing: tuple[str, ...]
    stops: tuple[StopFile, ...]
    permits: tuple[PermitFile, ...]
    events: tuple[Proof, ...]
