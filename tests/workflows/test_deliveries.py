"""Deliveries to a real server that fails, hangs and goes away: in order, once, and none is lost."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import ActivityEnvironment, TimeSkipper, TimeSkippingConfig

from activities.database import open_pool
from activities.delivery import LANES, Carrier, Deliveries, Patience
from activities.event_log import EventLog
from activities.posting import ForbiddenTarget, Poster, check_target, is_public
from activities.subscriptions import Subscriptions
from activities.vault import rewrap
from gateway.carriers import OurRoads
from gateway.webhooks import chosen, event_types, patterns
from schemas.webhooks import Delivering, DeliveryStretch, Subscription
from settings import Settings
from tests.activities.appends import ORGANISATION, decision, event, request
from tests.conftest import Database
from tests.workflows.desk import until
from tests.workflows.mortal_postman import Mortal, mortal
from tests.workflows.receiver import Receiver, receiving
from worker import build_worker, sandboxed

KEY = bytes(range(32))
TEXT_KEY = base64.b64encode(KEY).decode()
HASTY = Patience(first=timedelta(milliseconds=200), poll=0.05, nap=3)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@dataclass
class Post:
    """One organisation's deliveries, on real servers."""

    client: Client
    skipper: TimeSkipper
    pool: asyncpg.Pool
    log: EventLog
    receiver: Receiver
    task_queue: str
    settings: Settings

    @property
    def subscriptions(self) -> Subscriptions:
        return Subscriptions(self.pool)

    @asynccontextmanager
    async def worker(self, patience: Patience = HASTY) -> AsyncIterator[None]:
        roads = OurRoads(self.pool, self.settings)
        deliveries = Deliveries(self.pool, ORGANISATION, roads, patience)
        async with build_worker(
            self.client,
            self.log,
            organisation=ORGANISATION,
            task_queue=self.task_queue,
            runner=sandboxed(),
            more_activities=[deliveries.deliver],
        ):
            yield

    async def subscribed(
        self, path: str = "/hook", types: list[str] | None = None
    ) -> tuple[str, WorkflowHandle[Any, Any]]:
        """A webhook, delivered from the log's beginning."""
        url = f"{self.receiver.url}{path}"
        id = await self.subscriptions.add(ORGANISATION, url, types, by="s-1", key=KEY, after=0)
        return id, await self.delivered(id)

    async def delivered(self, id: str) -> WorkflowHandle[Any, Any]:
        return await self.client.start_workflow(
            "DeliveryWorkflow",
            Delivering(organisation=ORGANISATION, subscription=id).model_dump(mode="json"),
            id=f"delivery-{id}-{uuid4().hex}",
            task_queue=self.task_queue,
        )

    async def happened(self, stream: str, *names: str, after: int = 0) -> None:
        """Events of a case, one decision each."""
        for number, name in enumerate(names, after):
            made = decision(f"c{number}", event(name))
            result = await self.log.append_events(request(stream, number, made))
            assert result.status == "appended"

    async def found(self, id: str) -> Subscription:
        return await self.subscriptions.find(ORGANISATION, id)

    async def secret(self, id: str) -> bytes:
        return (await self.subscriptions.secret(ORGANISATION, id, KEY))[1]

    async def states(self, id: str) -> list[tuple[int, str, int]]:
        rows = await self.subscriptions.deliveries(ORGANISATION, subscription=id, limit=10_000)
        return [(row.position, row.state, row.attempts) for row in rows]

    async def done(self, id: str, count: int) -> None:
        """Wait until so many are delivered."""

        async def enough() -> bool:
            return sum(state == "delivered" for _, state, _ in await self.states(id)) >= count

        await until(enough)


@pytest.fixture
async def post(
    database: Database, temporal: Client, task_queue: str, receiver: Receiver
) -> AsyncIterator[Post]:
    skipper = TimeSkipper(temporal, config=TimeSkippingConfig(enabled=False))
    settings = Settings.model_validate({"key": TEXT_KEY, "private_targets": True})
    async with await open_pool(database.url(), max_size=20) as pool:
        yield Post(skipper.client, skipper, pool, EventLog(pool), receiver, task_queue, settings)


async def test_a_receiver_gets_every_event_once_signed_and_in_order(post: Post) -> None:
    await post.happened("repair-1", "RepairReported", "CrewDispatched")
    async with post.worker():
        id, _ = await post.subscribed()
        await post.happened("repair-2", "RepairReported")
        await post.happened("repair-1", "CrewArrived", after=2)
        await post.done(id, 4)
        await asyncio.sleep(0.5)
    events = post.receiver.verified(await post.secret(id))
    assert sorted(e["position"] for e in events) == [1, 2, 3, 4]
    assert [e["type"] for e in events if e["subject"] == "repair-1"] == [
        "standpipe.repair.RepairReported",
        "standpipe.repair.CrewDispatched",
        "standpipe.repair.CrewArrived",
    ]
    logged = {str(e.event_id): e.body for e in await post.log.tail(ORGANISATION, 0, 10)}
    assert {e["id"]: e["data"] for e in events} == logged
    assert all(r["headers"]["webhook-id"] in logged for r in post.receiver.requests)
    assert post.receiver.requests[0]["headers"]["content-type"].startswith(
        "application/cloudevents+json"
    )
    with pytest.raises(Exception, match="signature"):
        post.receiver.verified(bytes(32))


async def test_a_case_that_fails_waits_in_its_order_while_others_go_on(post: Post) -> None:
    await post.receiver.behave({"repair-1": ["500", "500", "200"], "*": "200"})
    async with post.worker(HASTY.model_copy(update={"first": timedelta(seconds=1)})):
        id, _ = await post.subscribed()
        await post.happened("repair-1", "A", "B", "C")
        await post.happened("repair-2", "A", "B", "C")
        await post.done(id, 6)
    tried = [position for position, _ in post.receiver.seen()]
    assert tried.index(6) < tried.index(2)
    assert post.receiver.seen("repair-1") == [
        (1, "500"),
        (1, "500"),
        (1, "200"),
        (2, "200"),
        (3, "200"),
    ]


@pytest.mark.parametrize("how", ["hang", "reset", "302", "late"])
async def test_a_receiver_that_hangs_resets_or_redirects_has_not_received(
    post: Post, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 5.0 if how == "late" else 0.5
    monkeypatch.setattr(
        Poster.__init__,
        "__kwdefaults__",
        {**(Poster.__init__.__kwdefaults__ or {}), "seconds": seconds},
    )
    await post.receiver.behave({"*": [how, "200"]})
    async with post.worker():
        id, _ = await post.subscribed()
        await post.happened("repair-1", "A")
        await post.done(id, 1)
    ((_, state, attempts),) = await post.states(id)
    assert (state, attempts) == ("delivered", 1 if how == "late" else 2)
    first, *again = [r["headers"]["webhook-id"] for r in post.receiver.requests]
    assert again == ([] if how == "late" else [first])


async def test_one_dead_receiver_delays_nobody_else(post: Post) -> None:
    await post.receiver.behave({"/dead": "hang", "*": "200"})
    async with post.worker():
        dead, _ = await post.subscribed("/dead")
        id, _ = await post.subscribed()
        for number in range(20):
            await post.happened(f"repair-{number}", "A", "B")
        await post.done(id, 40)
    assert not any(state == "delivered" for _, state, _ in await post.states(dead))


async def test_a_receiver_that_is_gone_ends_its_subscription(post: Post) -> None:
    await post.receiver.behave({"*": "410"})
    async with post.worker():
        id, handle = await post.subscribed()
        await post.happened("repair-1", "A", "B")
        assert await handle.result() == "over"
        found = await post.found(id)
        assert (found.active, found.ended) == (False, "gone")
        await post.receiver.behave({"*": "200"})
        await post.subscriptions.change(ORGANISATION, id, active=True)
        await post.delivered(id)
        await post.done(id, 2)
    assert [answer for _, answer in post.receiver.seen()] == ["410", "200", "200"]


async def test_a_receiver_that_asks_for_time_gets_it(post: Post) -> None:
    await post.receiver.behave({"*": ["429:2", "200"]})
    async with post.worker():
        id, _ = await post.subscribed()
        await post.happened("repair-1", "A")
        began = asyncio.get_running_loop().time()
        await post.done(id, 1)
        took = asyncio.get_running_loop().time() - began
    assert took >= 1.8


async def test_a_receiver_that_fails_at_everything_is_asked_ever_less_often(post: Post) -> None:
    await post.receiver.behave({"*": "503"})
    async with post.worker():
        id, _ = await post.subscribed()
        for number in range(30):
            await post.happened(f"repair-{number}", "A")
        await asyncio.sleep(4)
        attempts = len(post.receiver.seen())
        # The eight that were under way; then one at a time.
        assert 8 <= attempts < 30
        found = await post.found(id)
        assert found.failing_since is not None
        assert found.resume_at is not None
        await post.receiver.behave({"*": "200"})
        await post.done(id, 30)
        found = await post.found(id)
    assert (found.failing_since, found.resume_at, found.waiting) == (None, None, 0)


async def test_what_fails_for_days_is_a_dead_letter_that_can_be_tried_again(post: Post) -> None:
    await post.receiver.behave({"*": "503"})
    # An hour stands for the days: each attempt of the dead time takes the server a second or two.
    slow = HASTY.model_copy(update={"days": 1 / 24, "first": timedelta(minutes=5), "nap": 1})
    for number in range(4):  # before anybody delivers: three that fail are enough to be left alone
        await post.happened(f"repair-{number}", "A", "B")
    async with post.worker(slow):
        id, handle = await post.subscribed()

        async def asleep() -> bool:
            found = await post.found(id)
            return found.resume_at is not None and len(post.receiver.seen()) >= 4

        await until(asleep)
        await asyncio.sleep(1)
        # Where nothing is left to be tried, an activity waits for more, and no time is skipped.
        skip = post.skipper.fast_forward(handle, timedelta(hours=1, minutes=20))
        skipping = asyncio.create_task(skip)

        async def dead() -> bool:
            return {state for _, state, _ in await post.states(id)} == {"dead"}

        await until(dead, 120)
        skipping.cancel()
        assert (await post.found(id)).dead == 8
        await post.receiver.behave({"*": "200"})
        before = len(post.receiver.seen())
        again = await post.subscriptions.redrive(ORGANISATION)
        assert [(each.subscription, each.deliveries) for each in again] == [(id, 8)]
        await handle.signal("wake")
        await post.done(id, 8)
    tried = post.receiver.seen()[before:]
    assert sorted(tried) == [(position, "200") for position in range(1, 9)]
    for first in range(1, 9, 2):
        assert tried.index((first, "200")) < tried.index((first + 1, "200"))


async def test_one_poisonous_case_is_a_dead_letter_and_its_next_events_go_on(post: Post) -> None:
    await post.receiver.behave({"repair-1": ["400", "400", "400", "200"], "*": "200"})
    impatient = HASTY.model_copy(update={"days": 0.4 / 86400, "first": timedelta(seconds=0.2)})
    async with post.worker(impatient):
        id, _ = await post.subscribed()
        await post.happened("repair-1", "A", "B")
        await post.happened("repair-2", "A")
        await post.done(id, 2)
    states = {position: state for position, state, _ in await post.states(id)}
    assert states == {1: "dead", 2: "delivered", 3: "delivered"}


async def test_events_are_chosen_by_type(post: Post) -> None:
    async with post.worker():
        id, _ = await post.subscribed(types=["repair.CrewArrived", "complaint.*"])
        await post.happened("repair-1", "RepairReported", "CrewArrived", "WorkStarted")
        await post.happened("complaint-1", "ComplaintRegistered")
        await post.done(id, 2)
        await until(lambda: _at(post, id, 4))
    assert sorted(post.receiver.seen()) == [(2, "200"), (4, "200")]


async def _at(post: Post, id: str, position: int) -> bool:
    return (await post.found(id)).position == position


async def test_a_worker_that_stops_loses_nothing_and_another_goes_on(post: Post) -> None:
    await post.receiver.behave({"*": "late"})
    async with post.worker():
        id, _ = await post.subscribed()
        for number in range(40):
            await post.happened(f"repair-{number}", "A")
        await post.done(id, 8)
    await post.receiver.behave({"*": "200"})
    async with post.worker():
        await post.done(id, 40)
    answered = [position for position, _ in post.receiver.seen()]
    assert set(answered) == set(range(1, 41))
    assert len(answered) <= 40 + LANES


async def test_a_worker_that_is_hurried_while_it_stops_hangs_up_all_the_same(post: Post) -> None:
    await post.receiver.behave({"*": "hang"})
    id, _ = await post.subscribed()
    await post.happened("repair-1", "A")
    begun, ended = asyncio.Event(), asyncio.Event()

    class Roads(OurRoads):
        @asynccontextmanager
        async def road(
            self, organisation: str, subscription: str, url: str | None
        ) -> AsyncGenerator[Carrier]:
            async with super().road(organisation, subscription, url) as carrier:
                begun.set()
                yield carrier
            ended.set()

    deliveries = Deliveries(post.pool, ORGANISATION, Roads(post.pool, post.settings), HASTY)
    of = DeliveryStretch(organisation=ORGANISATION, subscription=id, now=datetime.now(UTC))
    serving = asyncio.ensure_future(ActivityEnvironment().run(deliveries.deliver, of))
    await begun.wait()
    for _ in range(3):
        serving.cancel()
        await asyncio.sleep(0.1)
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert ended.is_set()
    async with post.worker():
        await post.receiver.behave({"*": "200"})
        await post.done(id, 1)


async def test_a_killed_worker_repeats_only_what_was_under_way(
    post: Post, database: Database
) -> None:
    await post.receiver.behave({"*": "late"})
    for number in range(24):
        await post.happened(f"repair-{number}", "A", "B")
    spec = Mortal(
        address=post.client.service_client.config.target_host,
        database=database.url(),
        task_queue=post.task_queue,
        key=TEXT_KEY,
    )
    async with mortal(spec):
        id, _ = await post.subscribed()
        await post.done(id, 8)
    known = {position for position, state, _ in await post.states(id) if state == "delivered"}
    before = len(post.receiver.requests)
    await post.receiver.behave({"*": "200"})
    async with post.worker():
        await post.done(id, 48)
    again = [position for position, _ in post.receiver.seen()][before:]
    assert not known & set(again)
    tried = [position for position, _ in post.receiver.seen()]
    assert set(tried) == set(range(1, 49))
    assert len(tried) <= 48 + LANES
    for first in range(1, 49, 2):
        assert tried.index(first) < tried.index(first + 1)


async def test_a_thousand_events_cost_temporal_next_to_nothing(post: Post) -> None:
    async with post.worker():
        id, handle = await post.subscribed()
        for number in range(50):
            await post.happened(f"repair-{number}", *("A" for _ in range(20)))
        await post.done(id, 1000)
        history = await handle.fetch_history()
    assert len(history.events) < 10
    for number in range(50):
        positions = [p for p, _ in post.receiver.seen(f"repair-{number}")]
        assert positions == sorted(set(positions))
        assert len(positions) == 20


async def test_two_at_the_same_subscription_take_turns(post: Post) -> None:
    async with post.worker():
        id, _ = await post.subscribed()
        await post.delivered(id)
        for number in range(20):
            await post.happened(f"repair-{number}", "A", "B")
        await post.done(id, 40)
        await asyncio.sleep(0.5)
    assert len(post.receiver.seen()) == 40


async def test_own_networks_are_out_of_reach_unless_the_settings_allow_it(post: Post) -> None:
    post.settings = post.settings.model_copy(update={"private_targets": False})
    async with post.worker():
        id, _ = await post.subscribed()
        await post.happened("repair-1", "A")

        async def tried() -> bool:
            return any(attempts for *_, attempts in await post.states(id))

        await until(tried)
        (row,) = await post.subscriptions.deliveries(ORGANISATION, subscription=id)
    assert post.receiver.requests == []
    assert row.state == "waiting"
    assert row.status is not None
    assert "not a public address" in row.status
    with pytest.raises(ForbiddenTarget):
        await check_target("localhost", 80)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        *((a, False) for a in ("127.0.0.1", "10.0.0.8", "172.16.3.4", "192.168.1.1")),
        *((a, False) for a in ("169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1")),
        *((a, False) for a in ("::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.8", "ff02::1")),
        *((a, False) for a in ("64:ff9b::a00:8", "2002:a00:8::1", "255.255.255.255", "240.0.0.1")),
    ],
)
def test_which_addresses_belong_to_the_internet(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_secrets_are_kept_sealed(post: Post, database: Database) -> None:
    id, _ = await post.subscribed()
    secret = await post.secret(id)
    admin = await asyncpg.connect(database.admin_url)
    try:
        held = await admin.fetch("SELECT s::text FROM standpipe.subscriptions s")
    finally:
        await admin.close()
    assert secret.hex() not in str(held)
    with pytest.raises(Exception, match="sealed under key"):
        await post.subscriptions.secret(ORGANISATION, id, bytes(32))
    assert await rewrap(database.admin_url, KEY, bytes(32), lambda _: None) == 1
    _, rewrapped = await post.subscriptions.secret(ORGANISATION, id, bytes(32))
    assert rewrapped == secret


def test_types_are_chosen_by_name_by_kind_or_altogether() -> None:
    assert chosen(["repair.CrewArrived"]) == ["repair.CrewArrived"]
    assert chosen(["standpipe.repair.CrewArrived", "*"]) is None
    assert patterns(["standpipe.repair.*"]) == ["repair.*"]
    assert patterns(["*"]) is None
    repairs = chosen(["repair.*"])
    assert repairs == [t for t in event_types() if t.startswith("repair.")]
    assert len(repairs or ()) > 40
    with pytest.raises(Exception, match="there is no such type"):
        chosen(["repair.CrewArived"])


async def test_cases_that_are_refused_for_good_never_hold_up_the_others(post: Post) -> None:
    poison = {f"repair-{number}": "422" for number in range(6)}
    await post.receiver.behave({**poison, "*": "200"})
    async with post.worker():
        id, _ = await post.subscribed()
        for number in range(6):
            await post.happened(f"repair-{number}", "A")
        await until(lambda: _refused(post, id))
        found = await post.found(id)
        assert (found.resume_at, found.failing_since, found.waiting) == (None, None, 6)
        await post.happened("repair-9", "A", "B")
        async with asyncio.timeout(3):
            await post.done(id, 2)


async def _refused(post: Post, id: str) -> bool:
    states = await post.states(id)
    return len(states) == 6 and all(attempts >= 3 for *_, attempts in states)
