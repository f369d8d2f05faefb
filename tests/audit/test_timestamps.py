"""Time stamps of checkpoints: from a real authority, and from those that fail or cheat."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activities.timestamps import Authority as Asked
from activities.timestamps import StampError
from audit.timestamps import NotStamped, stamped_at
from tests.activities.appends import ORGANISATION
from tests.audit.authority import Answer, Authority, answering
from tests.audit.signing import Book, book
from tests.conftest import Database

REPLY = "application/timestamp-reply"


@pytest.fixture
async def log(database: Database, tmp_path: Path) -> AsyncIterator[Book]:
    async with book(database, tmp_path / "outside") as log:
        await log.grow(3)
        yield log


async def test_a_checkpoint_is_stamped_and_the_auditor_checks_it_offline(
    log: Book, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    with answering(authority.stamp) as url:
        signing = log.signing(stamper=Asked(url))
        await signing.make()
        await signing.stamped()
    (row,) = await log.pool.fetch(
        "SELECT size, authority, answer FROM timestamps WHERE organisation = $1", ORGANISATION
    )
    assert (row["size"], row["authority"]) == (3, url)
    note, answer = log.kept.read_text(), row["answer"]
    at = stamped_at(answer, note, [authority.root])
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    stranger = Authority(tmp_path / "stranger")
    for wrong in (
        (answer, note.replace("\n3\n", "\n4\n"), [authority.root]),
        (answer, note, [stranger.root]),
        (answer[:-1] + bytes([answer[-1] ^ 1]), note, [authority.root]),
        (b"no answer", note, [authority.root]),
        (answer, note, []),
    ):
        with pytest.raises(NotStamped):
            stamped_at(*wrong)


def refused(question: bytes) -> tuple[int, str, bytes]:
    """PKIStatus rejection, and nothing else."""
    return 200, REPLY, bytes.fromhex("30053003020102")


FAILING: dict[str, tuple[Answer, str]] = {
    "it is down": (lambda _: (503, "text/plain", b"later"), "answered 503"),
    "it says something else": (lambda _: (200, REPLY, b"hello"), "no time stamp"),
    "it says it in another form": (lambda _: (200, "text/html", b"<p>"), "no time stamp"),
    "it says far too much": (lambda _: (200, REPLY, bytes(100_000)), "too long"),
    "it refuses": (refused, r"refused \(status 2\)"),
}


@pytest.mark.parametrize("how", FAILING)
async def test_an_authority_that_fails_never_holds_up_a_checkpoint(
    log: Book, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer, why = FAILING[how]
    made, waited = threading.Event(), list[bool]()

    def later(question: bytes) -> tuple[int, str, bytes]:
        waited.append(made.wait(20))
        return answer(question)

    with answering(later) as url:
        signing = log.signing(stamper=Asked(url))
        assert await signing.make() is not None
        made.set()
        await signing.stamped()
        with pytest.raises(StampError, match=why):
            await Asked(url).stamp(b"x")
    assert waited == [True, True], "it was asked, and nobody waited for it"
    assert "has no time stamp" in caplog.text
    assert await log.pool.fetchval("SELECT count(*) FROM timestamps") == 0
    assert len(await log.signed()) == 1


async def test_an_authority_that_does_not_answer_is_left_alone(log: Book) -> None:
    ended = threading.Event()

    def slow(question: bytes) -> tuple[int, str, bytes]:
        ended.wait(20)
        return 200, REPLY, b""

    with answering(slow) as url:
        with pytest.raises(StampError, match=r"no answer within 0\.2 seconds"):
            await Asked(url, seconds=0.2).stamp(b"x")
        # With the stretch, what is still asked is broken off.
        signing = log.signing(stamper=Asked(url))
        await signing.make()
        await asyncio.wait_for(signing.settle(), 5)
        ended.set()
    assert await log.pool.fetchval("SELECT count(*) FROM timestamps") == 0


async def test_nobody_listens_and_an_old_answer_does_not_count(tmp_path: Path) -> None:
    with pytest.raises(StampError, match="not reached"):
        await Asked("http://127.0.0.1:9/").stamp(b"x")
    authority = Authority(tmp_path / "authority")
    kept: list[tuple[int, str, bytes]] = []

    def replayed(question: bytes) -> tuple[int, str, bytes]:
        kept.append(authority.stamp(question))
        return kept[0]

    with answering(replayed) as url:
        await Asked(url).stamp(b"x")
        for content in (b"x", b"y"):
            with pytest.raises(StampError, match="something else"):
                await Asked(url).stamp(content)
