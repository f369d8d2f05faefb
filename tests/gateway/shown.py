"""Cases of whatever kind as their timelines show them, on fixed dates, under the gas policy."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from gateway.drawing import draw
from gateway.policies import load
from gateway.timeline import Timeline, timeline
from lifecycles.lifecycle import Step, dump, lifecycle_of, plan
from lifecycles.policies import Pinned
from schemas.envelope import Json, RecordedDecision

NINE = datetime(2026, 3, 2, 1, tzinfo=UTC)
"""09:00 in Shanghai, where the gas policy's clock hangs."""
HOUR = timedelta(hours=1)
GAS = load("gas", Path(__file__).parents[2] / "policies")


def command(
    name: str, hours: float, *, who: str = "clerk-1", role: str = "clerk", **fields: object
) -> Json:
    return {
        "id": f"{name}/{hours}",
        "actor": {"subject": who, "role": role, "proof": "local"},
        "occurred_at": (NINE + hours * HOUR).isoformat(),
        "body": {"type": name, **fields},
    }


def timeline_of(
    case_id: str,
    policy: Pinned,
    commands: list[Json],
    hours: float,
    *,
    promptly: bool = True,
    ahead: int = 3,
) -> Timeline:
    """The case `hours` after nine; `promptly`: each command was decided when it happened."""
    now = NINE + hours * HOUR
    lifecycle = lifecycle_of(case_id)
    state = lifecycle.initial(case_id, "town", *policy)
    moments = [lifecycle.command(c) for c in commands]
    steps: list[Step] = []
    version = 0
    if promptly:
        for m in moments:
            made = plan(lifecycle, state, version, [m], m.occurred_at or now)
            assert not made.refused, made.refused
            steps += made.steps
            state, version = made.state, made.version
        steps += plan(lifecycle, state, version, [], now).steps
    else:
        made = plan(lifecycle, state, 0, moments, now)
        assert not made.refused, made.refused
        steps = made.steps
    return timeline("town", case_id, policy, recorded(steps), now, ahead=ahead)


def recorded(steps: Sequence[Step], before: int = 0) -> list[RecordedDecision]:
    """Steps as the log would hold them, after so many events of other cases."""
    decisions: list[RecordedDecision] = []
    version = 0
    for step in steps:
        version += len(step.events)
        decisions.append(
            RecordedDecision(
                command_id=step.command.id,
                command_hash="0" * 64,
                version=version,
                position=before + version,
                events=tuple(str(dump(e)["type"]) for e in step.events),
                command=dump(step.command),
                decided_at=step.decided_at,
                bodies=tuple(dump(e) for e in step.events),
            )
        )
    return decisions


def drawn(shown: Timeline, width: int = 80) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(draw(shown))
    return capture.get()
