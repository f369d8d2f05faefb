"""The same case written for DBOS: the same decisions, the same append as a durable step."""

import logging
import time
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID

from activities.event_log import EventLog
from bench.cases import Way, at_rest
from bench.lives import Life
from lifecycles.lifecycle import lifecycle_of, plan
from lifecycles.policies import pinned
from schemas.base import SYSTEM
from schemas.envelope import AppendRequest, CaseRequest, Json, RecordAnswer

_log: list[EventLog] = []


@DBOS.step()
async def append(request: Json) -> Json:
    """The append as a DBOS step: recorded in its system database when it is done."""
    result = await _log[0].append_events(AppendRequest.model_validate(request))
    return result.model_dump(mode="json")


@DBOS.workflow()
async def case(case_id: str, organisation: str, policy: str) -> str:
    """Wait for a command or the next deadline, decide, append, answer, ask other cases."""
    lifecycle = lifecycle_of(case_id)
    state: Any = lifecycle.initial(case_id, organisation, *pinned(policy))
    version = 0
    asked: set[str] = set()
    while version == 0 or not lifecycle.summary(state).final:
        due = lifecycle.next_deadline(state)
        left = 3600.0 if due is None else max(0.0, (due - datetime.now(UTC)).total_seconds())
        said = await DBOS.recv_async("command", timeout_seconds=left)
        commands = [lifecycle.command(said["command"])] if said else []
        made = plan(lifecycle, state, version, commands, datetime.now(UTC))
        appending = AppendRequest(
            organisation=organisation,
            stream=case_id,
            expected_version=version,
            policy=policy if version == 0 else None,
            decisions=tuple(step.decision() for step in made.steps),
            summary=lifecycle.summary(made.state),
        )
        result = await append(appending.model_dump(mode="json"))
        state, version = made.state, made.version
        if said and said["asker"]:
            await _answer(said)
        elif said:
            await DBOS.set_event_async(said["command"]["id"], result)
        for request in state.requests:
            if request.id not in asked:
                asked.add(request.id)
                await _ask(case_id, request, organisation, policy)
    return str(state.stage)


async def _ask(asker: str, request: CaseRequest, organisation: str, policy: str) -> None:
    """Send it to the other case, which is started where there is none; it answers in its time."""
    with SetWorkflowID(request.case_id):
        await DBOS.start_workflow_async(case, request.case_id, organisation, policy)
    command = {
        "id": request.id,
        "actor": SYSTEM.model_dump(mode="json"),
        "body": request.command,
    }
    await DBOS.send_async(request.case_id, {"command": command, "asker": asker}, "command")


async def _answer(said: Json) -> None:
    answered = said["command"]["id"]
    body = RecordAnswer(request=answered, accepted=True)
    command = {
        "id": f"{answered}/answer",
        "actor": SYSTEM.model_dump(mode="json"),
        "body": body.model_dump(mode="json"),
    }
    await DBOS.send_async(said["asker"], {"command": command, "asker": None}, "command")


class Dbos:
    """DBOS on a database of its own in the same server; one per process."""

    def __init__(self, log: EventLog, system_database_url: str) -> None:
        self._log = log
        _log[:] = [log]
        logging.getLogger("dbos").setLevel(logging.ERROR)
        config: DBOSConfig = {
            "name": "standpipe-bench",
            "system_database_url": system_database_url,
            "log_level": "ERROR",
        }
        DBOS(config=config)
        DBOS.launch()

    def way(self, organisation: str, life: Life) -> Way:
        async def live(name: str) -> list[float]:
            case_id = f"{life.kind}-{name}"
            with SetWorkflowID(case_id):
                await DBOS.start_workflow_async(case, case_id, organisation, life.policy)
            took: list[float] = []
            for raw in life.said(name):
                begin = time.perf_counter()
                await DBOS.send_async(case_id, {"command": raw, "asker": None}, "command")
                await DBOS.get_event_async(case_id, raw["id"])
                took.append((time.perf_counter() - begin) * 1000)
            return took[1:]

        return Way(live, at_rest(self._log, organisation) if life.on_premises else None)

    def close(self) -> None:
        DBOS.destroy()
