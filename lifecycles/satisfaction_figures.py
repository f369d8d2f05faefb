"""The arithmetic of satisfaction: rates and their Wilson intervals, the ranking, the draw.

Exact: integers, fractions, and decimals of a fixed precision, so that an audit years from now comes
to the same basis points on any machine. Pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from hashlib import sha256
from typing import NamedTuple

from schemas.base import CaseId, Subject
from schemas.satisfaction import ComplaintCounts, Measured, Tally

MOST_DRAWN = 2_000
"""More calls of one day no office makes, and no append could hold."""

_EXACT = Context(prec=50, rounding=ROUND_HALF_EVEN)
_Z = Decimal("1.959963984540054")
"""The normal distribution's 97.5 % point: what lies between -z and z is 95 %."""
_Z2 = _EXACT.multiply(_Z, _Z)


class Ranking(NamedTuple):
    """Departments by their rate, the best first; those with too few answers; the lowest ones."""

    ranked: tuple[Measured, ...]
    unranked: tuple[Measured, ...]
    lowest: tuple[Subject, ...]


def faults(tallies: Sequence[Tally]) -> Iterator[str]:
    """What contradicts itself in the figures."""
    names = [t.department for t in tallies]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name} stands there more than once; give each department once."
    for t in tallies:
        if not t.satisfied <= t.answered <= t.asked:
            yield (
                f"{t.department}: of those asked some answered, of those some were satisfied;"
                " correct the counts."
            )


def collation_faults(complaints: Sequence[ComplaintCounts]) -> Iterator[str]:
    """What contradicts itself in a month's complaints."""
    pairs = [(c.category, c.department) for c in complaints]
    for category, department in sorted(
        {pair for pair in pairs if pairs.count(pair) > 1}, key=lambda p: (p[0], p[1] or "")
    ):
        where = department or "no department"
        yield f"Complaints of {category}, {where}, stand there more than once; give each once."
    for c in complaints:
        if c.in_time + c.late != c.upheld + c.partly_upheld + c.not_upheld:
            where = f"{c.category}, {c.department or 'no department'}"
            yield f"Complaints of {where}: each answered one has one outcome; correct the counts."


def measured(tallies: Iterable[Tally], target: int) -> tuple[Measured, ...]:
    """Every department's rate and Wilson score interval, by name; `target` in percent."""
    return tuple(_measure(t, target) for t in sorted(tallies, key=lambda t: t.department))


def _measure(t: Tally, target: int) -> Measured:
    low, high = wilson(t.satisfied, t.answered) if t.answered else (None, None)
    return Measured(
        department=t.department,
        asked=t.asked,
        answered=t.answered,
        satisfied=t.satisfied,
        rate=_basis_points(Decimal(t.satisfied), Decimal(t.answered)) if t.answered else None,
        low=low,
        high=high,
        # Of the counts, not of the rounded rate: 89.996 % is not 90 %.
        on_target=100 * t.satisfied >= target * t.answered if t.answered else None,
    )


def wilson(satisfied: int, answered: int) -> tuple[int, int]:
    """The Wilson score interval at 95 % in basis points, rounded half to even.

    (s + z²/2 ± z √(s (n - s) / n + z²/4)) / (n + z²), for s of n.
    """
    x, s, n = _EXACT, Decimal(satisfied), Decimal(answered)
    spread = x.divide(x.multiply(s, x.subtract(n, s)), n)
    spread = x.sqrt(x.add(spread, x.divide(_Z2, Decimal(4))))
    middle, half = x.add(s, x.divide(_Z2, Decimal(2))), x.multiply(_Z, spread)
    whole = x.add(n, _Z2)
    return (
        _basis_points(x.subtract(middle, half), whole),
        _basis_points(x.add(middle, half), whole),
    )


def _basis_points(part: Decimal, whole: Decimal) -> int:
    share = _EXACT.divide(_EXACT.multiply(part, Decimal(10_000)), whole)
    return min(max(int(share.to_integral_value(context=_EXACT)), 0), 10_000)


def ranking(departments: Iterable[Measured], fewest: int) -> Ranking:
    """Departments by their exact rate, equals by name (GAS-3.4).

    The lowest are all that share the lowest rate; where every department has the same, nobody is.
    """
    every = sorted(departments, key=lambda m: m.department)
    rates = {m.department: Fraction(m.satisfied, m.answered) for m in every if m.answered >= fewest}
    ranked = [m for m in every if m.department in rates]
    ranked.sort(key=lambda m: -rates[m.department])
    worst = min(rates.values(), default=None)
    lowest = tuple(name for name, rate in rates.items() if rate == worst)
    return Ranking(
        ranked=tuple(ranked),
        unranked=tuple(m for m in every if m.department not in rates),
        lowest=lowest if len(lowest) < len(rates) else (),
    )


def population_hash(population: Iterable[CaseId]) -> str:
    """SHA-256, in hex, of the sorted case ids, one a line."""
    return sha256("".join(f"{case}\n" for case in sorted(set(population))).encode()).hexdigest()


def draw(population: Iterable[CaseId], seed: str, percent: int) -> tuple[CaseId, ...]:
    """So many percent of the population, rounded up: those with the smallest SHA-256(seed/case).

    Nobody can foresee it without the seed, and everybody can repeat it with it (KUN-5.3.6).
    """
    cases = sorted(set(population), key=lambda case: sha256(f"{seed}/{case}".encode()).digest())
    return tuple(cases[: min(-(-percent * len(cases) // 100), MOST_DRAWN)])
