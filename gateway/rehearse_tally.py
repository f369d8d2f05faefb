"""What a rehearsal of arrears counts: by month, by account, and where two policies differ."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from gateway.billing_files import Reject
from schemas.envelope import Json


@dataclass
class Tally:
    """What happened in a month, or in all of them."""

    opened: int = 0
    reminders: int = 0
    notices: int = 0
    holds: Counter[str] = field(default_factory=Counter[str])
    """Placed, by kind."""
    refused: int = 0
    """Permits."""
    guards: Counter[str] = field(default_factory=Counter[str])
    """So often each guard failed when a permit was refused; several may fail at once."""
    made: int = 0
    """Stops: a permit was redeemed."""
    avoided: Counter[str] = field(default_factory=Counter[str])
    """Notices that no stop followed: by `payment`, or by a `hold` that refused a permit."""
    restored: int = 0
    without_water: int = 0
    """Seconds, of all customers."""

    def add(self, more: "Tally") -> None:
        self.opened += more.opened
        self.reminders += more.reminders
        self.notices += more.notices
        self.holds.update(more.holds)
        self.refused += more.refused
        self.guards.update(more.guards)
        self.made += more.made
        self.avoided.update(more.avoided)
        self.restored += more.restored
        self.without_water += more.without_water

    def to_json(self) -> Json:
        return {
            "opened": self.opened,
            "reminders": self.reminders,
            "notices": self.notices,
            "holds": dict(sorted(self.holds.items())),
            "permits_refused": self.refused,
            "refused_by_guard": dict(sorted(self.guards.items())),
            "stops": self.made,
            "avoided": {why: self.avoided[why] for why in ("payment", "hold")},
            "restored": self.restored,
            "without_water_seconds": self.without_water,
        }


def added(months: Mapping[str, Tally]) -> Tally:
    """All of them together."""
    total = Tally()
    for tally in months.values():
        total.add(tally)
    return total


class Outcome(NamedTuple):
    """What became of one account."""

    cases: int = 0
    notices: int = 0
    stopped_on: tuple[date, ...] = ()
    avoided_by_payment: int = 0
    avoided_by_hold: int = 0
    without_water: int = 0
    """Seconds."""
    refused: tuple[str, ...] = ()
    """Why its case refuses what the files say; nothing else of it is counted then."""

    def to_json(self) -> Json:
        return {
            "cases": self.cases,
            "notices": self.notices,
            "stopped_on": [day.isoformat() for day in self.stopped_on],
            "avoided": {"payment": self.avoided_by_payment, "hold": self.avoided_by_hold},
            "without_water_seconds": self.without_water,
            "refused": list(self.refused),
        }


class Difference(NamedTuple):
    """An account that comes out otherwise under the other policy."""

    account: str
    a: Outcome
    b: Outcome

    def to_json(self) -> Json:
        return {"account": self.account, "a": self.a.to_json(), "b": self.b.to_json()}


@dataclass
class Rehearsal:
    """The accounts under a policy and, where asked, beside it under another."""

    accounts: int = 0
    rejects: list[Reject] = field(default_factory=list[Reject])
    months: dict[str, Tally] = field(default_factory=dict[str, Tally])
    """By month, such as 2022-03, of the policy's calendar; only those in which something was."""
    chased: int = 0
    """Customers who had a case at least once."""
    stopped: int = 0
    """Customers whose supply was stopped at least once."""
    longest: int = 0
    """Seconds without water of the customer who had the most of them, all stops together."""
    off: int = 0
    """Customers without water at the end."""
    pending: int = 0
    """Notices of which it is not settled at the end whether a stop follows."""
    against: "Rehearsal | None" = None
    differences: list[Difference] = field(default_factory=list[Difference])

    @property
    def total(self) -> Tally:
        """All months together."""
        return added(self.months)

    def merge(self, later: "Rehearsal") -> None:
        """Take in what comes later in the files."""
        self.accounts += later.accounts
        self.rejects += later.rejects
        for month, tally in later.months.items():
            self.months.setdefault(month, Tally()).add(tally)
        self.chased += later.chased
        self.stopped += later.stopped
        self.longest = max(self.longest, later.longest)
        self.off += later.off
        self.pending += later.pending
        if self.against and later.against:
            self.against.merge(later.against)
        self.differences += later.differences

    def to_json(self) -> Json:
        """Amounts of time in seconds."""
        result: Json = {
            "accounts": self.accounts,
            "rejected": len(self.rejects),
            "months": {month: self.months[month].to_json() for month in sorted(self.months)},
            "total": self.total.to_json(),
            "customers_chased": self.chased,
            "customers_stopped": self.stopped,
            "longest_without_water_seconds": self.longest,
            "without_water_at_end": self.off,
            "notices_pending": self.pending,
        }
        if self.against:
            result["against"] = self.against.to_json()
            result["differences"] = [difference.to_json() for difference in self.differences]
        return result
