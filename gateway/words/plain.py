"""Times, lengths of time, amounts, owners and codes in plain words. Pure."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.base import Owner


class Clock:
    """Writes instants as an organisation's clock shows them."""

    def __init__(self, time_zone: str, now: datetime) -> None:
        self._zone = ZoneInfo(time_zone)
        self._year = now.astimezone(self._zone).year

    def write(self, at: datetime) -> str:
        """For people: "12 Mar 14:00", with the year where it is not the present one."""
        there = at.astimezone(self._zone)
        year = "" if there.year == self._year else f" {there.year}"
        return f"{there.day} {there:%b}{year} {there:%H:%M}"

    def local(self, at: datetime) -> str:
        """For machines: ISO 8601 with the offset of that moment."""
        return at.astimezone(self._zone).isoformat()


When = Callable[[datetime], str]
"""How to write an instant."""


def span(length: timedelta) -> str:
    """A length of time for people: "40 d", "3 d 4 h", "2 h 05 min", "40 s"."""
    seconds = int(abs(length).total_seconds())
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h" if hours and days < 10 else f"{days} d"
    if hours:
        return f"{hours} h {minutes:02} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{seconds} s"


_UNUSUAL: Mapping[int, str] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
"""Currencies whose smallest unit is not a hundredth, by their decimals, as ISO 4217 lists them."""
_DECIMALS = {name: decimals for decimals, names in _UNUSUAL.items() for name in names.split()}


def money(amount: int, currency: str | None) -> str:
    """An amount of a currency's smallest unit: "CNY 123.45"; without one, the bare number."""
    if currency is None:
        return f"{amount} (in the smallest unit)"
    decimals = _DECIMALS.get(currency, 2)
    whole, part = divmod(abs(amount), 10**decimals)
    minus = "-" if amount < 0 else ""
    return f"{currency} {minus}{whole}" + (f".{part:0{decimals}}" if decimals else "")


def owner_words(owner: Owner | None) -> str:
    """An owner: a person by subject, a unit or role as such."""
    if owner is None:
        return "nobody"
    return owner.id if owner.kind == "person" else f"{owner.kind} {owner.id}"


def readable(code: str) -> str:
    """A code word as a person reads it: "head removal"."""
    return code.replace("_", " ")


def listed(parts: Iterable[str]) -> str:
    """Some things, one after the other."""
    return ", ".join(parts)
