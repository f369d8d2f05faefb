"""Replays every golden history: `python -m tests.replay.check [sandboxed]`.

Prints each that fails and why; the exit code says whether any did.
"""

import asyncio
import os
import sys

from temporalio.worker import UnsandboxedWorkflowRunner

from tests.replay.histories import failures
from worker import WORKFLOWS, sandboxed


async def main(in_sandbox: bool) -> int:
    runner = sandboxed() if in_sandbox else UnsandboxedWorkflowRunner()
    failed = await failures(WORKFLOWS, runner)
    for history, why in failed.items():
        print(f"{history}: {why}")
    return 1 if failed else 0


if __name__ == "__main__":
    code = asyncio.run(main("sandboxed" in sys.argv[1:]))
    sys.stdout.flush()
    os._exit(code)  # a process that had a worker sometimes aborts on its way out
