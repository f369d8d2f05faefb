"""The typed client against the real API on a real socket, and against gateways with bad days."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from activities.signing_keys import SigningKeys
from client import CloudEvent, Problem, Standpipe, Unreachable
from gateway import calling
from gateway.calling import frames
from gateway.http.app import build_app
from gateway.http.server import listening
from gateway.signing import public_key
from schemas.complaint import RegisterComplaint
from schemas.party import Party
from schemas.repair import DispatchCrew, ReportRepair, TriageRepair
from tests.gateway.http.conftest import idle_office, office, office_settings
from tests.gateway.http.office import CUSTOMER, Badges, Office
from tests.lifecycles.arrears_cases import OPEN
from tests.test_cutoff_cli import always

__all__ = ["idle_office", "office", "office_settings"]

ROOT = Path(__file__).parents[1]
REPORT = ReportRepair(channel="phone", category="no-gas", district="north")
LINE = chr(0x2028)
"""Unicode's own end of a line, which is none in an event."""
LI_NA = Party.model_validate(CUSTOMER)


@pytest.fixture
async def url(office: Office) -> AsyncIterator[str]:
    """Where the gateway answers."""
    async with listening(office.app, "127.0.0.1", 0) as address:
        yield address


def by(url: str, *roles: str, who: str | None = None, **more: Any) -> Standpipe:
    """The gateway, for somebody in some roles."""
    return Standpipe(url, f"{who or roles[0] + '-1'}/{','.join(roles)}", **more)


async def until(true: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - of many kinds
            await asyncio.sleep(0.01)


async def listed(rows: AsyncGenerator[Any]) -> list[Any]:
    return [row async for row in rows]


async def test_a_case_is_opened_read_and_carried_on_with_typed_values(url: str) -> None:
    async with by(url, "clerk") as gateway:
        opened = await gateway.open_repair(REPORT, customer=LI_NA)
        case = opened.case_id
        assert opened.party_id is not None
        assert (await gateway.get_party(opened.party_id)).name == CUSTOMER["name"]

        triaged = TriageRepair(category="no-gas", severity="common")
        outcome = await gateway.command(case, triaged)
        assert outcome.stage == "Triaged"
        at = datetime.now(UTC)
        await gateway.command(case, "DispatchCrew", {"crew": "crew-7"}, occurred_at=at)

        shown = await gateway.timeline(case, ahead=1)
        assert shown.events[0].type == "RepairReported"
        dispatched = next(e for e in shown.events if e.type == "CrewDispatched")
        assert (dispatched.at, dispatched.actor.subject) == (at, "clerk-1")
        assert (await gateway.case(case)).stage == "Dispatched"
        assert [row.case_id for row in await gateway.worklist()] == [case]


async def test_lists_come_in_pages_as_far_as_they_are_read(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.PAGE", 2)
    async with by(url, "clerk") as gateway:
        made = [(await gateway.open_repair(REPORT, customer=LI_NA)).case_id for _ in range(5)]
        assert [row.case_id for row in await listed(gateway.cases())] == sorted(made)
        assert len(await listed(gateway.cases(after=sorted(made)[3]))) == 1
        assert await listed(gateway.cases(kind="complaint")) == []
        assert len(await listed(gateway.cases(kind="repair", stage="Reported", open=True))) == 5
        async with aclosing(gateway.cases()) as rows:
            assert (await anext(rows)).case_id == min(made)


async def test_a_refusal_tells_every_reason_and_what_is_possible(url: str) -> None:
    async with by(url, "clerk") as gateway:
        case = (await gateway.open_repair(REPORT, customer=LI_NA)).case_id
        with pytest.raises(Problem) as refused:
            await gateway.command(case, DispatchCrew(crew="crew-7"))
        problem = refused.value
        assert (problem.status, problem.kind, problem.title) == (409, "refused", "Refused")
        assert problem.reasons
        assert "TriageRepair" in problem.possible
        assert problem.instance.startswith("urn:uuid:")
        assert problem.reasons[0] in str(problem)
        with pytest.raises(Problem) as unknown:
            await gateway.timeline("repair-none")
        assert (unknown.value.status, unknown.value.kind) == (404, "no-such-case")
        with pytest.raises(Problem) as wrong:
            await gateway.open_repair({"channel": "phone"})
        assert "body.category: missing" in wrong.value.reasons


async def test_the_same_key_is_the_same_case(url: str) -> None:
    async with by(url, "clerk") as gateway:
        first = await gateway.open_repair(REPORT, customer=LI_NA, key="call-1")
        assert await gateway.open_repair(REPORT, customer=LI_NA, key="call-1") == first
        other = REPORT.model_copy(update={"district": "south"})
        with pytest.raises(Problem) as reused:
            await gateway.open_repair(other, customer=LI_NA, key="call-1")
        assert (reused.value.status, reused.value.kind) == (422, "key-reused")
        assert len(await listed(gateway.cases())) == 1


async def test_an_organisation_that_is_not_the_gateways_is_told_at_once(
    url: str, office: Office
) -> None:
    ours = office.session.organisation
    async with by(url, "clerk", "supervisor", who="s-1041", organisation=ours) as gateway:
        me = await gateway.me()
    assert (me.subject, me.roles, me.organisation) == ("s-1041", ("clerk", "supervisor"), ours)
    with pytest.raises(ValueError, match=f"is of {ours}, not of elsewhere"):
        await by(url, "clerk", organisation="elsewhere").__aenter__()


async def test_an_informant_is_sealed_and_a_party_is_kept_noted_and_erased(url: str) -> None:
    complaint = RegisterComplaint(
        channel="phone", about="service", category="attitude", district="north", confidential=True
    )
    async with by(url, "clerk") as clerk, by(url, "division_head") as head:
        opened = await clerk.open_complaint(complaint, customer=LI_NA, sealed_to=["division_head"])
        assert opened.party_id is not None
        with pytest.raises(Problem) as sealed:
            await clerk.get_party(opened.party_id)
        assert sealed.value.kind == "party-sealed"
        assert (await head.get_party(opened.party_id)).phone == CUSTOMER["phone"]

        party = (await clerk.put_party(Party(name="Li Na"), key="customer-1")).party_id
        assert (await clerk.put_party(Party(name="Li Na"), key="customer-1")).party_id == party
        await clerk.add_note(party, "Ring twice.")
        assert [note.text for note in (await clerk.get_party(party)).notes] == ["Ring twice."]
        async with by(url, "admin") as admin:
            erased = await admin.erase(party)
            assert await admin.erase(party) == erased
        with pytest.raises(Problem) as gone:
            await clerk.get_party(party)
        assert gone.value.status == 410


async def test_what_must_be_signed_is_signed_here(url: str, office: Office) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    office.app.state.policy = always()

    def ago(days: int) -> datetime:
        return datetime.now(UTC) - timedelta(days=days)

    enrolled = SigningKeys(office.session.pool)
    await enrolled.enrol(office.session.organisation, public_key(key), "head-1", "admin-1")
    async with (
        by(url, "service", "clerk", "reader") as billing,
        by(url, "division_head", who="head-1") as head,
    ):
        bills = [{"bill": "B-1", "amount": 8000, "due": "2026-01-31"}]
        debt = {**OPEN, "bills": bills, "party": None, "dn": 50, "account": uuid4().hex}
        case = (await billing.open_arrears(debt, occurred_at=ago(30))).case_id
        for day in (29, 28):
            contact = {"how": "phone", "evidence": f"call/{day}"}
            await billing.command(case, "RecordContact", contact, occurred_at=ago(day))
        notice = {"how": "door", "proof": "p/1"}
        await billing.command(case, "ServeNotice", notice, occurred_at=ago(20))
        await billing.command(case, "RequestCutoff", {"reason": "unpaid"})

        (waiting,) = await listed(head.approvals(mine=True, case=case))
        assert waiting.signed
        yes: dict[str, Any] = {"facts_hash": waiting.facts_hash, "evidence": "minutes/7"}
        with pytest.raises(Problem) as unsigned:
            await head.decide(case, waiting.id, "approve", **yes)
        assert unsigned.value.kind == "refused"
        with pytest.raises(Problem) as forged:
            await head.decide(case, waiting.id, "approve", **yes, signing_key=other)
        assert "not enrolled" in forged.value.reasons[0]
        outcome = await head.decide(case, waiting.id, "approve", **yes, signing_key=key)
        assert outcome.stage == "Authorised"
        with pytest.raises(ValueError, match="asks for no cutoff-9"):
            await head.decide(case, "cutoff-9", "approve", **yes, signing_key=key)


async def test_money_registers_and_records_are_typed(url: str) -> None:
    async with by(url, "supervisor", "admin", who="s-1") as gateway:
        paid = await gateway.payment("A-1", "PAY-1", 12_000, "CNY", date(2026, 5, 2))
        assert (paid.case_id, paid.known, paid.settled) == (None, False, False)
        assert await listed(gateway.stops(open=True)) == []
        assert await listed(gateway.part_payments()) == []
        assert await listed(gateway.approvals(mine=True)) == []
        assert (await gateway.satisfaction(since="2026-01", until="2026-03")).months == ()
        assert "gas" in [policy.name for policy in await gateway.policies()]
        assert (await gateway.policy("gas")).policy.name
        with pytest.raises(Problem) as nobody:
            await gateway.staff("s-404")
        assert nobody.value.kind == "no-such-entry"
        case = (await gateway.open_repair(REPORT, customer=LI_NA)).case_id
        assert {m.case_id for m in await listed(gateway.outbox(case=case))} <= {case}
        assert (await gateway.redrive()).redriven is not None
    async with by(url, "crew") as crew:
        with pytest.raises(Problem) as forbidden:
            await anext(crew.refusals())
        assert forbidden.value.status == 403
    async with by(url, "admin") as gateway:
        assert [row.actor for row in await listed(gateway.refusals())] == ["crew-1"]


async def test_the_log_is_read_in_pages(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.PAGE", 2)
    async with by(url, "clerk") as clerk, by(url, "auditor") as auditor:
        first, second = [
            (await clerk.open_repair(REPORT, customer=LI_NA)).case_id for _ in range(2)
        ]
        read = await listed(auditor.events())
        assert len(read) > 4
        assert [event.position for event in read] == list(range(1, len(read) + 1))
        assert {event.subject for event in read} == {first, second}
        assert await listed(auditor.events(read[-1].position)) == []
        types = ["repair.RepairReported"]
        only = await listed(auditor.events(types=types, case=second))
        assert [(e.type, e.subject) for e in only] == [("standpipe.repair.RepairReported", second)]
        assert only[0].data["district"] == "north"


async def test_the_log_is_followed_through_a_restart_without_a_gap_or_a_double(
    office: Office,
) -> None:
    got: list[CloudEvent] = []
    session = office.session

    async def follow(gateway: Standpipe) -> None:
        async with aclosing(gateway.follow()) as events:
            async for event in events:
                got.append(event)  # noqa: PERF401 - it has no end

    async with listening(office.app, "127.0.0.1", 0) as url, by(url, "clerk") as clerk:
        gateway = by(url, "auditor")
        following = asyncio.create_task(follow(gateway))
        await clerk.open_repair(REPORT, customer=LI_NA)
        await until(lambda: len(got) > 1)
    missed = (await office.reported(), len(got))
    again = build_app(session, Badges(session.organisation))
    async with listening(again, "127.0.0.1", int(url.rpartition(":")[2])):
        head = await session.log.head(session.organisation)
        await until(lambda: got[-1].position >= head)
        assert missed[0] in {event.subject for event in got[missed[1] :]}
        late = await office.reported()
        await until(lambda: got[-1].subject == late)
        following.cancel()
        await asyncio.wait([following])
    await gateway.__aexit__(None, None, None)
    assert [event.position for event in got] == list(range(1, got[-1].position + 1))


# Bad days


class Moody:
    """A gateway that answers what it is told to, one request after the other."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def keys(self) -> list[str]:
        return [request.headers["idempotency-key"] for request in self.asked]


def no(status: int, kind: str, **headers: str) -> httpx.Response:
    told = {"type": f"/problems/{kind}", "title": "No", "status": status, "detail": "Later."}
    return httpx.Response(
        status,
        headers={"content-type": "application/problem+json", **headers},
        content=json.dumps(told),
    )


def kept() -> httpx.Response:
    return httpx.Response(201, json={"party_id": "party-1"})


async def put(moody: Moody, token: calling.Token = "t", patience: float = 5) -> str:
    http = httpx.AsyncClient(transport=httpx.MockTransport(moody))
    async with http, Standpipe("http://gw.test", token, http=http, patience=patience) as gateway:
        return (await gateway.put_party(LI_NA)).party_id


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(calling, "LONGEST_PAUSE", 0.002)


@pytest.mark.usefixtures("hasty")
async def test_what_fails_for_a_moment_is_sent_again_under_the_same_key() -> None:
    retry = {"retry-after": "0"}
    moody = Moody(
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("nothing"),
        httpx.RemoteProtocolError("cut off"),
        no(409, "in-progress", **retry),
        no(429, "too-many-requests", **retry),
        no(503, "unavailable"),
        httpx.Response(502, content="<html>a proxy</html>"),
        kept(),
    )
    assert await put(moody) == "party-1"
    assert len(set(moody.keys)) == 1
    assert len(moody.keys) == 8
    await put(other := Moody(kept()))
    assert other.keys != moody.keys[:1]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("status", "kind"), [(409, "refused"), (409, "conflict"), (422, "invalid"), (500, "fault")]
)
async def test_what_is_settled_is_not_sent_again(status: int, kind: str) -> None:
    moody = Moody(no(status, kind), kept())
    with pytest.raises(Problem) as problem:
        await put(moody)
    assert (problem.value.status, problem.value.kind) == (status, kind)
    assert len(moody.asked) == 1


@pytest.mark.usefixtures("hasty")
async def test_patience_ends() -> None:
    dead = Moody(*(httpx.ConnectError("refused") for _ in range(1000)))
    with pytest.raises(Unreachable, match="ConnectError"):
        await put(dead, patience=0.05)
    assert len(dead.asked) > 2
    busy = Moody(no(429, "too-many-requests", **{"retry-after": "3600"}))
    with pytest.raises(Problem) as problem:
        await put(busy)
    assert problem.value.retry_after == 3600


async def test_a_token_is_asked_for_before_each_request_and_appears_in_no_error() -> None:
    tokens = iter(["secret-1", "secret-2"])
    moody = Moody(no(503, "unavailable"), no(401, "unauthorized"))
    with pytest.raises(Problem) as problem:
        await put(moody, lambda: next(tokens))
    sent = [request.headers["authorization"] for request in moody.asked]
    assert sent == ["Bearer secret-1", "Bearer secret-2"]
    assert "secret" not in f"{problem.value!s}{problem.value!r}"


async def test_what_is_no_gateway_is_told() -> None:
    with pytest.raises(Problem, match="no gateway"):
        await put(Moody(httpx.Response(200, content="<html>a portal</html>")))
    with pytest.raises(Problem) as moved:
        await put(Moody(httpx.Response(301, headers={"location": "https://elsewhere.test"})))
    assert moved.value.status == 301
    with pytest.raises(ValueError, match="base_url"):
        Standpipe("gw.test", "t")


async def test_a_newer_gateway_may_say_more() -> None:
    assert (
        await put(Moody(httpx.Response(201, json={"party_id": "party-1", "new": 1}))) == "party-1"
    )


class Torn(httpx.AsyncByteStream):
    """A stream that tells of some events, and then breaks off in the middle of one."""

    def __init__(self, *positions: int) -> None:
        self.positions = positions

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for position in self.positions:
            yield b"id: %d\ndata: %b\n\n" % (position, json.dumps(told(position)).encode())
        yield b"id: 99\ndata: {"
        raise httpx.ReadError("cut off")


def told(position: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "urn:standpipe:town",
        "type": "standpipe.repair.CrewArrived",
        "subject": "repair-1",
        "time": "2026-05-01T00:00:00Z",
        "position": position,
        "schemaversion": 1,
        "data": {},
    }


@pytest.mark.usefixtures("hasty")
async def test_a_follower_comes_back_after_the_last_event_it_has() -> None:
    moody = Moody(
        httpx.Response(200, stream=Torn(5, 6)),
        httpx.ConnectError("refused"),
        no(503, "unavailable"),
        httpx.Response(200, stream=Torn(6, 7)),  # it tells one again
        httpx.Response(200, stream=Torn()),
        httpx.Response(200, stream=Torn(8)),
        no(403, "forbidden"),
    )
    http = httpx.AsyncClient(transport=httpx.MockTransport(moody))
    async with http, Standpipe("http://gw.test", "t", http=http) as gateway:
        events = gateway.follow(4, types=["repair.*"])
        found = [(await anext(events)).position for _ in range(4)]
        with pytest.raises(Problem, match="403"):
            await anext(events)
    assert found == [5, 6, 7, 8]
    last = [request.headers["last-event-id"] for request in moody.asked]
    assert last == ["4", "6", "6", "6", "7", "7", "8"]
    assert {request.url.params["type"] for request in moody.asked} == {"repair.*"}


@pytest.mark.usefixtures("hasty")
async def test_a_follower_that_cannot_come_back_says_so_in_the_end() -> None:
    moody = Moody(
        httpx.Response(200, stream=Torn(1)), *(httpx.ConnectError("no") for _ in range(1000))
    )
    http = httpx.AsyncClient(transport=httpx.MockTransport(moody))
    async with http, Standpipe("http://gw.test", "t", http=http, patience=0.05) as gateway:
        events = gateway.follow()
        assert (await anext(events)).position == 1
        await asyncio.sleep(0.1)  # silence uses up no patience
        with pytest.raises(Unreachable):
            await anext(events)
    assert len(moody.asked) > 3


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_server_sent_events_are_read_however_they_are_cut(size: int) -> None:
    text = (
        f': hello\n\nid: 7\nevent: a.b\ndata: {{"x": "one{LINE}line — 报修"}}\n\n'
        "id:8\r\ndata: one\r\ndata:two\r\n\r\n: still here\n\nid: 9\ndata: cut o"
    ).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(text), size):
            yield text[start : start + size]

    assert [frame async for frame in frames(chunks())] == [
        ("7", "a.b", f'{{"x": "one{LINE}line — 报修"}}'),
        ("8", None, "one\ntwo"),
    ]


# What the README shows


async def test_the_readme_s_example_works(url: str) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## From Python") :]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    given = {"STANDPIPE_GATEWAY_URL": url, "STANDPIPE_GATEWAY_TOKEN": "s-1/clerk,auditor"}
    example = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", found[1]),
        cwd=ROOT,
        env={**os.environ, **given},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await example.communicate()
    assert example.returncode == 0, err.decode()
    assert "Triage" in out.decode()
    assert "standpipe.repair.RepairReported" in out.decode()
