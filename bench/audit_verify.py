"""`audit verify` against a bare COPY and SHA-256 of the same bytes, and how both grow."""

import asyncio
import sys
import time
from hashlib import sha256
from pathlib import Path
from struct import Struct
from tempfile import TemporaryDirectory

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from activities.checkpoints import Checkpoints
from activities.database import open_pool
from audit.log import COPY_HEADER, COPY_SECONDS
from audit.notes import Signer
from audit.verdict import Verdict
from audit.verify import verify
from bench.audit_logs import Log
from bench.measure import Line, Report, peak_megabytes

_EVENTS = """
    SELECT octet_length(header), octet_length(body), header, body
    FROM events WHERE organisation = $1 ORDER BY position
"""
_COMMANDS = """
    SELECT octet_length(command), 0, command, ''::bytea FROM decisions WHERE organisation = $1
"""
_ROW = Struct(">hiiii")


async def compare(
    report: Report, admin_url: str, database_url: str, small: Log, large: Log
) -> None:
    """Both passes of `audit verify` on both logs, and the memory that the large one takes."""
    signers = {
        log.organisation: await _signed(database_url, log.organisation) for log in (small, large)
    }
    connection = await _connect(admin_url)

    async def leaves(name: str) -> float:
        verdict = await _verified(connection, name, signers[name], meaning=False)
        return verdict.events / verdict.leaves_seconds

    async def meaning(name: str) -> float:
        verdict = await _verified(connection, name, signers[name])
        return verdict.events / verdict.meaning_seconds

    try:
        rates = await report.interleaved(
            "audit verify, events per second",
            {
                "bare": lambda: bare(connection, large.organisation),
                "leaves, large": lambda: leaves(large.organisation),
                "leaves, small": lambda: leaves(small.organisation),
            },
        )
        # Of the large one once: that takes minutes.
        whole = {log: await meaning(log.organisation) for log in (small, large)}
    finally:
        await connection.close()
    # The same process has to serve every log, however many events it has.
    peaks = {name: await _peak(admin_url, name) for name in signers}
    grown = f"{large.events:,} events against {small.events:,}"
    report.facts["audit verify"] = {
        "meaning": {log.organisation: rate for log, rate in whole.items()},
        "peak memory, MB": peaks,
    }
    report.lines += [
        Line(
            f"audit verify: leaves, tree, signatures of {large.events:,} events, against bare COPY"
            " and SHA-256",
            *(rates["leaves, large"], rates["bare"], "events/s", 0.5),
        ),
        Line(
            f"audit verify: leaves, {grown}",
            *(rates["leaves, large"], rates["leaves, small"], "events/s", 0.9),
        ),
        Line(
            f"audit verify: decisions, schemas, read models, {grown}",
            *(whole[large], whole[small], "events/s", 0.9),
        ),
        Line(
            f"audit verify: peak memory, {grown}",
            *(peaks[large.organisation], peaks[small.organisation], "MB", 1.5),
            at_most=True,
        ),
    ]


async def _signed(database_url: str, organisation: str) -> Signer:
    """Sign a checkpoint of a log; by whom."""
    signer = Signer(f"standpipe/{organisation}", Ed25519PrivateKey.generate())
    async with await open_pool(database_url) as pool:
        with TemporaryDirectory() as folder:
            await Checkpoints(pool, organisation, signer, Path(folder)).make()
    return signer


async def bare(connection: asyncpg.Connection, organisation: str) -> float:
    """Events per second of which header, body and command are copied out and hashed, no more."""
    count = 0

    def hashed(data: bytes, at: int) -> int:
        nonlocal count
        unpack, fixed, size = _ROW.unpack_from, _ROW.size, len(data)
        while at + fixed <= size:
            _, _, one, _, two = unpack(data, at)
            first = at + fixed + 4
            second = first + one + 4
            end = second + two
            if end > size:
                break
            sha256(data[first : second - 4]).digest()
            if two:
                sha256(data[second:end]).digest()
                count += 1
            at = end
        return at

    begin = time.perf_counter()
    for query in (_EVENTS, _COMMANDS):
        rest, at = b"", COPY_HEADER

        async def take(chunk: bytes) -> None:
            nonlocal rest, at
            rest += chunk
            if len(rest) >= at + _ROW.size:
                end = hashed(rest, at)
                rest, at = rest[end:], 0

        await connection.copy_from_query(
            query, organisation, output=take, format="binary", timeout=COPY_SECONDS
        )
    return count / (time.perf_counter() - begin)


async def _verified(
    connection: asyncpg.Connection, organisation: str, signer: Signer, *, meaning: bool = True
) -> Verdict:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        verdict = await verify(
            connection, organisation, verifiers=[signer.verifier], meaning=meaning
        )
    if not verdict.clean or verdict.checkpoints != 1:
        raise RuntimeError(f"A log that nobody touched has findings: {verdict.counts}")
    return verdict


async def _connect(admin_url: str) -> asyncpg.Connection:
    return await asyncpg.connect(
        admin_url,
        server_settings={
            "search_path": "standpipe",
            "timezone": "UTC",
            "max_parallel_workers_per_gather": "0",
        },
    )


async def _peak(admin_url: str, organisation: str) -> float:
    """Megabytes that a process of its own takes at most to verify a log."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.audit_verify", admin_url, organisation),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return float(out)


async def _alone(admin_url: str, organisation: str) -> None:
    connection = await _connect(admin_url)
    await verify(connection, organisation)
    await connection.close()
    print(peak_megabytes())


if __name__ == "__main__":
    asyncio.run(_alone(*sys.argv[1:]))
