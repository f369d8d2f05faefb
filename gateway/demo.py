"""The demonstration: telling cases, played side by side and told one after the other.

Nothing is faked; see gateway/theatre.py for what a scene is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from rich.console import RenderableType
from rich.rule import Rule
from rich.text import Text

from gateway.demo_arrears import full_stop, last_minute
from gateway.demo_complaints import nobodys_department, third_strike, unanswered
from gateway.drawing import table
from gateway.theatre import Scene, Theatre
from gateway.timeline import Timeline
from schemas.envelope import Json
from schemas.party import Party

Tell = Callable[[RenderableType], None]

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

# Nobody's: made up for the demonstration.
WANG = Party(name="Wang Fang", phone="13800000001", address="5 Lane 12")
LIU = Party(name="Liu Yang", phone="13800000002", address="8 Lane 12")
ZHAO = Party(name="Zhao Lei", phone="13800000003", address="17 Bridge Street")
SUN = Party(name="Sun Li", phone="13800000004", address="2 Garden Court, flat 3")
QIAN = Party(name="Qian Jun", phone="13800000005", address="2 Garden Court, flat 4")
ZHOU = Party(name="Zhou Min", phone="13800000006", address="40 Station Road", special_care=True)


async def sent(s: Scene, crew: str, words: str) -> None:
    """A crew is sent, and takes the job."""
    if (await s.timeline()).stage == "Reported":
        await s.done("TriageRepair", category="no-gas", severity="common")
    await s.done("DispatchCrew", crew=crew)
    await s.done("AcceptJob", crew=crew, who=crew, role="crew")
    await s.told(words)


async def repaired(s: Scene, crew: str, words: str, work: str = "valve") -> None:
    """The crew has repaired it."""
    await s.done("CompleteRepair", work=[work], who=crew, role="crew")
    await s.told(words)


async def arrived(s: Scene, crew: str, words: str) -> None:
    """The crew is there."""
    await s.done("RecordArrival", crew=crew, who=crew, role="crew")
    await s.told(words)


async def shut_out(s: Scene, crew: str, card: str, words: str) -> None:
    """The crew is there, and nobody opens."""
    facts = {"crew": crew, "reason": "not_at_home", "evidence": f"card:{card}"}
    await s.done("RecordNoAccess", **facts, who=crew, role="crew")
    await s.told(words)


async def called(s: Scene, party: str, result: str, words: str) -> None:
    """Somebody calls the customer, who agrees to be asked."""
    await s.done("RecordCallback", party=party, consent=True, result=result)
    await s.told(words)


async def in_time(s: Scene) -> None:
    await s.reported("A customer rings: no gas since this morning.", WANG)
    await s.later(5 * MINUTE)
    await sent(s, "crew-7", "Five minutes later a crew is on its way.")
    await s.later(HOUR)
    await arrived(s, "crew-7", "An hour later it rings the bell.")
    await s.later(40 * MINUTE)
    await repaired(s, "crew-7", "A stuck valve.")
    await s.later(DAY)
    await called(s, s.parties[0], "satisfied", "The next day somebody calls the customer.")


async def nobody_takes_it(s: Scene) -> None:
    words = "A report comes in by app, and nobody looks."
    await s.reported(words, LIU, channel="app", role="service")
    await s.later(3 * DAY)
    await s.told("Three days go by. The clock tells one after the other, up to the top.")
    await sent(s, "crew-2", "At last somebody sends a crew.")
    await s.later(HOUR)
    await arrived(s, "crew-2", "An hour later it is there.")
    await s.later(2 * HOUR)
    await repaired(s, "crew-2", "Repaired, days late.", "regulator")
    await called(s, s.parties[0], "satisfied", "The follow-up call, at least, is in time.")


async def nobody_at_home(s: Scene) -> None:
    await s.reported("A customer reports no gas, and goes to work.", ZHAO)
    await sent(s, "crew-4", "A crew sets out.")
    await s.later(HOUR)
    await shut_out(s, "crew-4", "17", "Nobody opens. A card stays, and the time stands still.")
    await s.later(30 * HOUR)
    await shut_out(s, "crew-4", "18", "The next evening: nobody, again.")
    await s.later(8 * DAY)
    await s.told("A week passes without a word, and the case ends by itself.")


async def one_fault(s: Scene) -> None:
    first = await s.reported("A customer rings: no gas.", SUN)
    words = "Her neighbour came to the counter ten minutes before; it is entered only now."
    second = await s.reported(words, QIAN, channel="counter", ago=10 * MINUTE)
    await s.done("MergeInto", of=second, case=first)
    await s.ended(second, "Merged")
    await s.told("One fault: the later case takes the other in, with the earlier clock.", second)
    await sent(s, "crew-3", "From here on there is one case.")
    await s.later(HOUR)
    await arrived(s, "crew-3", "The crew comes once.")
    await s.later(HOUR)
    await repaired(s, "crew-3", "It repairs once.", "service-pipe")
    await s.later(DAY)
    await called(s, s.parties[0], "satisfied", "Both customers are called.")
    await called(s, s.parties[1], "satisfied", "And the neighbour.")


async def not_satisfied(s: Scene) -> None:
    await s.reported("A customer rings: no gas.", ZHOU)
    await sent(s, "crew-5", "A crew sets out.")
    await s.later(HOUR)
    await arrived(s, "crew-5", "It is there within the hour.")
    await repaired(s, "crew-5", "Repaired, it says.")
    await s.later(3 * HOUR)
    await called(s, s.parties[0], "not_satisfied", "The customer says no: the old clock runs on.")
    await sent(s, "crew-5", "The same crew again.")
    await s.later(HOUR)
    await arrived(s, "crew-5", "There.")
    await repaired(s, "crew-5", "Repaired, it says again.")
    await s.later(2 * HOUR)
    await called(s, s.parties[0], "not_satisfied", "No, again: now a supervisor owns it.")
    await s.done("TakeCase", who="supervisor-1", role="supervisor")
    await sent(s, "crew-9", "She takes it, and sends the best crew.")
    await s.later(HOUR)
    await arrived(s, "crew-9", "It finds what the others did not.")
    await repaired(s, "crew-9", "A cracked regulator.", "regulator")
    await s.later(3 * HOUR)
    await called(s, s.parties[0], "satisfied", "Yes.")


SCENES: Sequence[tuple[str, Callable[[Scene], Awaitable[None]]]] = (
    ("Everything in time", in_time),
    ("Nobody takes it: told up to the top", nobody_takes_it),
    ("Nobody at home, twice", nobody_at_home),
    ("Two neighbours, one fault", one_fault),
    ("Not satisfied, twice: a supervisor owns it", not_satisfied),
    ("A complaint that is nobody's, until a supervisor decides", nobodys_department),
    ("A complaint answered too late, and appealed", unanswered),
    ("A third strike: a human decides", third_strike),
    ("Approved, cut off, opened by the customer, cut off for good, paid", full_stop),
    ("Paid while the crew stands at the valve", last_minute),
)
SHOWN_IN_FULL = 4
"""The scene whose case is drawn in full at the end."""


async def play(theatre: Theatre, tell: Tell) -> list[Scene]:
    """Play every scene side by side, and tell them one after the other."""
    scenes = [Scene(theatre, title) for title, _ in SCENES]

    async def act(scene: Scene, story: Callable[[Scene], Awaitable[None]]) -> None:
        try:
            await story(scene)
        finally:
            scene.lines.put_nowait(None)

    acting = [
        asyncio.create_task(act(scene, story))
        for scene, (_, story) in zip(scenes, SCENES, strict=True)
    ]
    try:
        for number, (scene, task) in enumerate(zip(scenes, acting, strict=True), 1):
            tell(Rule(f"{number}  {scene.title}", align="left"))
            while (lines := await scene.lines.get()) is not None:
                tell(lines)
            await task
    finally:
        for task in acting:
            task.cancel()
    return scenes


def facts(title: str, shown: Timeline) -> Json:
    """What a scene came to, in the JSON of `standpipe demo`."""
    raised = [e.body for e in shown.events if e.type == "EscalationRaised"]
    return {
        "title": title,
        "case_id": shown.case_id,
        "stage": shown.stage,
        "events": shown.version,
        "from": shown.events[0].local,
        "until": shown.events[-1].local,
        "kept": [c.rule for c in shown.commitments if c.state == "kept"],
        "broken": [c.rule for c in shown.commitments if c.state == "broken"],
        "told": list(dict.fromkeys(body["tell"] for body in raised)),
        "rework": shown.state.get("rework", shown.state.get("redo", 0)),
        "visits_without_access": shown.state.get("no_access", 0),
        "merged": [a["case"] for a in shown.state.get("adopted", ())],
        "last_owner": None if shown.owner is None else shown.owner.model_dump(),
        "owners": [o["owner"]["id"] for o in shown.state["owners"]],
    }


def summary(scenes: Sequence[Json]) -> RenderableType:
    """All scenes in one table."""
    drawn = table("", "Case", "Ends", "Kept", "Broken", "Last told")
    drawn.columns[1].no_wrap = True
    for number, scene in enumerate(scenes, 1):
        drawn.add_row(
            str(number),
            scene["case_id"],
            scene["stage"],
            str(len(scene["kept"])),
            Text(str(len(scene["broken"])), style="red" if scene["broken"] else ""),
            scene["told"][-1].replace("_", " ") if scene["told"] else "",
        )
    return drawn
