"""Records golden histories: `python -m tests.replay.record LIFE …`; without a name, all of them.

A new life is recorded by itself, so that the others stay what they were. Do it deliberately, when
the interpreter or the lifecycle has new paths, and say so in the change; never to silence a replay
that fails: that is a case which the new code would strand.
"""

import asyncio
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from google.protobuf.message import Message
from temporalio.api.history.v1 import History
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from activities.database import open_pool
from activities.signing_keys import SigningKeys
from gateway.policies import content_of
from stack import Stack
from tests.replay.histories import HISTORIES, life_of
from tests.replay.lives import FalteringLog
from tests.replay.rare_lives import LIVES
from tests.workflows.desk import Desk

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "frontend.WorkflowTimeSkippingEnabled": "true",
    "limit.historyCount.suggestContinueAsNew": "150",
}


async def main(names: Sequence[str]) -> None:
    lives = {name: tell for name, tell in LIVES.items() if name in (names or LIVES)}
    options = [part for s in SETTINGS.items() for part in ("--dynamic-config-value", "=".join(s))]
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Stack(Path(folder), temporal=False) as stack,
            await WorkflowEnvironment.start_local(
                identity="recorder",
                dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
                dev_server_log_level="error",
                dev_server_extra_args=options,
                data_converter=pydantic_data_converter,
                search_attributes=[
                    SearchAttributeKey.for_keyword(name)
                    for name in ("CaseKind", "Organisation", "District")
                ],
            ) as temporal,
        ):
            pool = await open_pool(stack.endpoints.database_url)
            policy = content_of("gas", ROOT / "policies")
            admin = await open_pool(str(stack.endpoints.admin_url))
            registrar = SigningKeys(admin)
            desk = Desk(temporal.client, FalteringLog(pool), policy, "recording", registrar)
            async with desk.worker():
                await asyncio.gather(*(tell(desk.called(n)) for n, tell in lives.items()))
                await asyncio.sleep(2)  # the server's list of runs lags behind
                histories = await recorded(temporal.client)
            await admin.close()
            await pool.close()
    for old in HISTORIES.glob("*.binpb"):
        if life_of(old.name.partition(".")[0]) in lives:
            old.unlink()
    for name, history in histories.items():
        (HISTORIES / f"{name}.binpb").write_bytes(history.SerializeToString(deterministic=True))
    print(f"{len(histories)} histories in {HISTORIES.relative_to(ROOT)}")


async def recorded(client: Client) -> dict[str, History]:
    """Every run's history, by its workflow's id and the run's number."""
    runs = sorted([run async for run in client.list_workflows()], key=lambda run: run.start_time)
    numbers: Counter[str] = Counter()
    histories: dict[str, History] = {}
    for run in runs:
        numbers[run.id] += 1
        handle = client.get_workflow_handle(run.id, run_id=run.run_id)
        history = History(events=(await handle.fetch_history()).events)
        forget_places(history)
        histories[f"{run.id}.{numbers[run.id]}"] = history
    return histories


def forget_places(message: Message) -> None:
    """Remove stack traces: they name folders of the machine, and a replay does not need them."""
    for field, value in message.ListFields():
        if field.name == "stack_trace":
            message.ClearField(field.name)
        elif isinstance(value, Message):
            forget_places(value)
        elif field.message_type is not None:
            for inner in value.values() if isinstance(value, Mapping) else value:
                if isinstance(inner, Message):
                    forget_places(inner)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)  # a process that had a worker sometimes aborts on its way out
