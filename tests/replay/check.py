"""Replays every golden history, in the sandbox and without it: `python -m tests.replay.check`.

Prints each that fails and why; the exit code says whether any did.
"""

import asyncio
import os
import sys

from temporalio.worker import UnsandboxedWorkflowRunner

from tests.replay.histories import failures
from worker import WORKFLOWS, sandboxed


async def main() -> int:
    failed = 0
    for name, runner in (("sandboxed", sandboxed()), ("unsandboxed", UnsandboxedWorkflowRunner())):
        for history, why in (await failures(WORKFLOWS, runner)).items():
            print(f"{history}, {name}: {why}")
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    code = asyncio.run(main())
    sys.stdout.flush()
    os._exit(code)  # a process that had a worker sometimes aborts on its way out
