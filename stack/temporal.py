"""The Temporal server from its wheel, with its database in a file, tuned and durable."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from datetime import timedelta
from pathlib import Path

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest

from stack.connect import Endpoints, connect_temporal
from stack.lock import StackError
from stack.server import Place, Server

SEARCH_ATTRIBUTES = ("CaseKind", "Organisation", "District")

# Fewer waits and lookups than the server as it comes, with every commit synchronised to disk;
# `make bench` measures the one against the other.
SQLITE_PRAGMAS = {"journal_mode": "WAL", "synchronous": "FULL"}
TUNING = {
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    "system.forceSearchAttributesCacheRefreshOnRead": "false",
    "history.transferProcessorMaxPollRPS": "500",
    "history.timerProcessorMaxPollRPS": "200",
    "history.shardIOConcurrency": "16",
    "history.enableHostLevelEventsCache": "true",
    "matching.enableFairness": "true",
}
TIME_SKIPPING = {"frontend.WorkflowTimeSkippingEnabled": "true"}


async def launch(
    place: Place, port: int, ui_port: int, *, tuned: bool, time_skipping: bool
) -> Server:
    """Start it; `tuned=False` is the server as it comes, to compare with."""
    program = Path(sys.executable).parent / "temporal"
    if not program.exists():
        raise StackError(f"{program} is missing: install requirements.lock again.")
    command = [str(program), "server", "start-dev"]
    command += ["--db-filename", str(place.data_dir / "temporal.db")]
    command += ["--ip", "127.0.0.1", "--port", str(port), "--ui-port", str(ui_port)]
    command += ["--log-level", "error", "--ui-disable-news-fetch"]
    command += ["--disable-config-file", "--disable-config-env"]
    dynamic = (TUNING if tuned else {}) | (TIME_SKIPPING if time_skipping else {})
    for option, values in (
        ("--search-attribute", dict.fromkeys(SEARCH_ATTRIBUTES, "Keyword")),
        ("--sqlite-pragma", SQLITE_PRAGMAS if tuned else {}),
        ("--dynamic-config-value", dynamic),
    ):
        for name, value in values.items():
            command += [option, f"{name}={value}"]
    return await Server.launch("Temporal", command, place, stop_signal=signal.SIGTERM)


async def check(to: Endpoints) -> None:
    """Any error means that it is not ready: port, namespace, search attributes."""
    host, _, port = to.temporal_address.partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    client = await connect_temporal(to)
    known = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=to.temporal_namespace), timeout=timedelta(seconds=5)
    )
    if not set(SEARCH_ATTRIBUTES) <= set(known.custom_attributes):
        raise StackError("Temporal does not know our search attributes yet.")


def claim_ports(port: int, ui_port: int) -> tuple[int, int]:
    """The two ports, chosen where 0 was asked; StackError naming each that is taken."""
    claims: list[socket.socket] = []
    taken: list[str] = []
    try:
        for wanted, what in ((port, "Temporal"), (ui_port, "its web UI")):
            claim = socket.socket()
            claims.append(claim)
            claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                claim.bind(("127.0.0.1", wanted))
            except OSError as error:
                taken.append(f"{wanted} for {what} ({error.strerror})")
        if taken:
            raise StackError(
                f"Port {' and port '.join(taken)}: stop what uses it, or choose another."
            )
        first, second = (claim.getsockname()[1] for claim in claims)
        return first, second
    finally:
        for claim in claims:
            claim.close()
