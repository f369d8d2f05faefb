"""Rounds, medians, percentiles, CPU time, and the table of ratios against their goals."""

import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

Way = Callable[[], Awaitable[float]]
"""One measurement of one way of doing something: its rate or its milliseconds."""


def peak_megabytes() -> float:
    """The most memory that this process had at a time."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1_000_000
    # Elsewhere the best there is, though it counts what this process was before its program began.
    unit = 1 if sys.platform == "darwin" else 1024
    return getrusage(RUSAGE_SELF).ru_maxrss * unit / 1_000_000


@dataclass(frozen=True)
class Line:
    """One comparison: what we measured, what we hold it against, and the goal for their ratio."""

    what: str
    ours: float
    other: float
    unit: str
    goal: float
    at_most: bool = False

    @property
    def ratio(self) -> float:
        return self.ours / self.other

    @property
    def met(self) -> bool:
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal


@dataclass
class Report:
    """All that one run measured."""

    rounds: int
    console: Console = field(default_factory=lambda: Console(stderr=True))
    lines: list[Line] = field(default_factory=list[Line])
    facts: dict[str, object] = field(default_factory=dict[str, object])

    async def interleaved(self, title: str, ways: Mapping[str, Way]) -> dict[str, float]:
        """The median of each way over the rounds, the ways taking turns so that drift hits all."""
        results: dict[str, list[float]] = {name: [] for name in ways}
        with Progress(console=self.console) as progress:
            task = progress.add_task(title, total=self.rounds * len(ways))
            for _ in range(self.rounds):
                for name, way in ways.items():
                    progress.update(task, description=f"{title}: {name}")
                    results[name].append(await way())
                    progress.advance(task)
        medians = {name: statistics.median(values) for name, values in results.items()}
        self.facts[title] = {
            name: {"median": medians[name], "all": values} for name, values in results.items()
        }
        return medians

    def show(self, as_json: bool) -> None:
        """The table of ratios on a terminal, or everything as JSON on standard output."""
        if as_json:
            lines = [vars(line) | {"ratio": line.ratio, "met": line.met} for line in self.lines]
            json.dump({"rounds": self.rounds, "lines": lines, "facts": self.facts}, sys.stdout)
            return
        table = Table(title=f"Medians of {self.rounds} interleaved rounds in one run")
        for column in ("measured", "ours", "against", "unit", "ratio", "goal", ""):
            table.add_column(column, justify="left" if column == "measured" else "right")
        for line in self.lines:
            sign = "≤" if line.at_most else "≥"
            table.add_row(
                line.what,
                f"{line.ours:,.1f}",
                f"{line.other:,.1f}",
                line.unit,
                f"{line.ratio:.2f}",
                f"{sign} {line.goal:g}",
                "[green]met[/]" if line.met else "[red]missed[/]",
            )
        Console(width=110).print(table)


def percentile(values: Sequence[float], share: int) -> float:
    """The value that `share` percent of the values do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


class Cpu:
    """CPU seconds used by groups of processes since the last look (Linux; elsewhere nothing)."""

    def __init__(self, roots: Mapping[str, int]) -> None:
        self._roots = roots
        self._before = self._now()

    def since(self) -> dict[str, float]:
        now, before = self._now(), self._before
        self._before = now
        return {name: now[name] - before[name] for name in now}

    def _now(self) -> dict[str, float]:
        if not Path("/proc/self/stat").exists():
            return {}
        parents: dict[int, int] = {}
        used: dict[int, float] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    rest = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                parents[int(entry.name)] = int(rest[1])
                # utime, stime, and those of children that have ended
                used[int(entry.name)] = sum(int(rest[i]) for i in (11, 12, 13, 14)) / 100

        def belongs(pid: int, root: int) -> bool:
            while pid in parents and pid not in (0, 1):
                if pid == root:
                    return True
                if pid in self._roots.values() and pid != root:
                    return False
                pid = parents[pid]
            return False

        return {
            name: sum(t for pid, t in used.items() if belongs(pid, root))
            for name, root in self._roots.items()
        }


async def rate(count: int, work: Callable[[], Awaitable[object]]) -> float:
    """How many of `count` things per second `work`, which does them all, achieved."""
    begin = time.perf_counter()
    await work()
    return count / (time.perf_counter() - begin)
