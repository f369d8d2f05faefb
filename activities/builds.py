"""Which build this is, and which builds made a history: the version and a hash of the sources.

A build that decides, records or waits otherwise has another id; tests, documents and the gateway
do not count. A checkout and the package made of it are the same build.
"""

import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from temporalio.api.history.v1 import HistoryEvent

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("activities", "lifecycles", "schemas", "workflows", "worker.py")
"""What a worker runs for the cases: rules, messages, interpreter, activities."""
LOCK = "requirements.lock"


class Makers(NamedTuple):
    """What made a history, as it says itself."""

    builds: tuple[str, ...]
    """Every build that had a part in it, in order of its first."""
    last: str | None
    """The one that came last; None where no worker ever answered."""
    sdk: str | None
    """The version of Temporal's SDK that came last."""


@cache
def build_id() -> str:
    """<version>+<12 hex of SHA-256 over the sources that run cases>."""
    return f"{_version()}+{sources_hash(ROOT)[:12]}"


def sources_hash(root: Path) -> str:
    """SHA-256, in hex, over names and contents, whatever the line ends of a checkout are."""
    files = [
        file
        for source in SOURCES
        for file in ((root / source).rglob("*.py") if "." not in source else (root / source,))
    ]
    digest = sha256()
    for file in sorted(files, key=lambda file: file.relative_to(root).as_posix()):
        content = file.read_bytes().replace(b"\r\n", b"\n")
        name = file.relative_to(root).as_posix().encode()
        digest.update(b"%d %s %d " % (len(name), name, len(content)) + content)
    return digest.hexdigest()


@cache
def lock_hash() -> str | None:
    """SHA-256, in hex, of the lock file that this was installed from; None where there is none."""
    for folder in (ROOT, Path(sys.prefix) / "share" / "standpipe"):
        if (folder / LOCK).is_file():
            return sha256((folder / LOCK).read_bytes()).hexdigest()
    return None


def makers(events: Iterable[HistoryEvent]) -> Makers:
    """Which builds and which SDK a history says that it was made by."""
    builds: dict[str, None] = {}
    last = sdk = None
    for event in events:
        if not event.HasField("workflow_task_completed_event_attributes"):
            continue
        done = event.workflow_task_completed_event_attributes
        build = done.deployment_version.build_id or done.worker_version.build_id
        if build:
            builds[build] = None
            last = build
        sdk = done.sdk_metadata.sdk_version or sdk  # said when it changes
    return Makers(tuple(builds), last, sdk)


def _version() -> str:
    project = ROOT / "pyproject.toml"
    if project.is_file():
        return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
    try:
        return version("standpipe")
    except PackageNotFoundError:
        return "0"
