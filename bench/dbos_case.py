"""The same case written for DBOS: the same decisions, the same append as a durable step."""

import logging
import time
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID

from activities.event_log import EventLog
from bench.cases import Life, Live, envelope
from lifecycles.lifecycle import lifecycle_of, plan
from lifecycles.policies import pinned
from schemas.envelope import AppendRequest, Json

_log: list[EventLog] = []


@DBOS.step()
async def append(request: Json) -> Json:
    """The append as a DBOS step: recorded in its system database when it is done."""
    result = await _log[0].append_events(AppendRequest.model_validate(request))
    return result.model_dump(mode="json")


@DBOS.workflow()
async def case(case_id: str, organisation: str, policy: str) -> str:
    """Wait for a command or the next deadline, decide, append, answer."""
    lifecycle = lifecycle_of(case_id)
    state: Any = lifecycle.initial(case_id, organisation, *pinned(policy))
    version = 0
    while version == 0 or not lifecycle.summary(state).final:
        due = lifecycle.next_deadline(state)
        left = 3600.0 if due is None else max(0.0, (due - datetime.now(UTC)).total_seconds())
        raw = await DBOS.recv_async("command", timeout_seconds=left)
        commands = [lifecycle.command(raw)] if raw else []
        made = plan(lifecycle, state, version, commands, datetime.now(UTC))
        request = AppendRequest(
            organisation=organisation,
            stream=case_id,
            expected_version=version,
            policy=policy if version == 0 else None,
            decisions=tuple(step.decision() for step in made.steps),
            summary=lifecycle.summary(made.state),
        )
        result = await append(request.model_dump(mode="json"))
        state, version = made.state, made.version
        if raw:
            await DBOS.set_event_async(raw["id"], result)
    return str(state.stage)


class Dbos:
    """DBOS on a database of its own in the same server; one per process."""

    def __init__(self, log: EventLog, system_database_url: str) -> None:
        _log[:] = [log]
        logging.getLogger("dbos").setLevel(logging.ERROR)
        config: DBOSConfig = {
            "name": "standpipe-bench",
            "system_database_url": system_database_url,
            "log_level": "ERROR",
        }
        DBOS(config=config)
        DBOS.launch()

    def live(self, organisation: str, policy: str, life: Life) -> Live:
        async def live(name: str) -> list[float]:
            case_id = f"{life.kind}-{name}"
            with SetWorkflowID(case_id):
                await DBOS.start_workflow_async(case, case_id, organisation, policy)
            took: list[float] = []
            for command in life.commands:
                begin = time.perf_counter()
                raw = envelope(*command)
                await DBOS.send_async(case_id, raw, "command")
                await DBOS.get_event_async(case_id, raw["id"])
                took.append((time.perf_counter() - begin) * 1000)
            return took[1:]

        return live

    def close(self) -> None:
        DBOS.destroy()
