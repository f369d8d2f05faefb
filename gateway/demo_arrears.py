"""Two telling debts: one that ends in a full stop and is paid, one paid at the very last minute."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from gateway.theatre import DEMO, Scene
from lifecycles.arrears import initial
from lifecycles.arrears_guards import not_permitted
from schemas.envelope import Json
from schemas.party import Party

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
OWED = 186_000
"""Fen."""
MORNING = time(9, 30)
CREW = "crew-6"
HEAD: Json = {"who": "head-1", "role": "division_head"}
AT_VALVE: Json = {"who": CREW, "role": "crew"}

# Nobody's: made up for the demonstration.
LAUNDRY = Party(name="Bright Laundry", phone="13800000012", address="3 Mill Lane")
FENG = Party(name="Feng Tao", phone="13800000013", address="21 Mill Lane")


async def chased(s: Scene) -> None:
    """Reminded twice, and noticed; the period of the notice is over."""
    await s.later(DAY)
    await s.done("RecordContact", how="phone", evidence="call:31")
    await s.later(DAY)
    await s.done("RecordContact", how="door", evidence="photo:32", who="reader-4", role="reader")
    await s.done("ServeNotice", how="door", proof="photo:33")
    await s.told("Reminded by phone and at the door; then a written notice, with proof.")
    await s.later(11 * DAY)
    await s.told("Its period passes, and nobody pays.")


async def crew_comes(s: Scene, words: str) -> None:
    """A visit on the first morning on which supply may be stopped; then the crew is there."""
    morning = await first_morning(s, DAY)
    window = {"start": morning.isoformat(), "end": (morning + 2 * HOUR).isoformat()}
    await s.done("ScheduleVisit", crew=CREW, **window)
    await s.told(words)
    await s.later(morning + MINUTE - await s.clock())


async def first_morning(s: Scene, after: timedelta) -> datetime:
    """The first, at least so much later, that the policy allows: no frost, no eve of a holiday."""
    state = initial(s.case, DEMO, *s.rules())
    zone = ZoneInfo(state.policy.calendar.time_zone)
    day = (await s.clock() + after).astimezone(zone).date()
    while True:
        morning = datetime.combine(day, MORNING, zone)
        if not list(not_permitted(state, morning, morning + 2 * HOUR)):
            return morning
        day += DAY


async def permitted(s: Scene, permit: str, *, full: bool = False) -> None:
    """The crew asks for its permit, with a look into the log just now."""
    look: Json = {"premises_open": [], "checked_at": (await s.clock()).isoformat()}
    await s.done("IssuePermit", permit=permit, crew=CREW, for_full_stop=full, **look, **AT_VALVE)


async def closed(s: Scene, permit: str, seal: str, *, full: bool = False) -> None:
    facts = {"valve": "valve:8", "seal": seal, "reading": 512_000, "full": full}
    await s.done("RecordValveClosed", permit=permit, crew=CREW, **facts, **AT_VALVE)


async def full_stop(s: Scene) -> None:
    await s.overdue("A laundry with a large meter owes since last month.", LAUNDRY, OWED, dn=50)
    await chased(s)
    await s.done("RequestCutoff", reason="unpaid")
    await s.approved(s.case, **HEAD)
    await s.told("A meter of DN 50: only the division head may approve it, and does.")
    await crew_comes(
        s, "The visit waits for a day on which the policy allows it: none in the frost."
    )
    await permitted(s, "permit-1")
    await s.later(3 * MINUTE)
    await closed(s, "permit-1", "seal:51")
    await s.told(
        "The crew asks. Every condition holds at that minute: a permit, and the valve is closed."
    )
    await s.later(2 * DAY)
    await s.done("ReportSelfReopened", evidence="photo:52")
    await s.done("ServeStopOrder", how="door", proof="photo:53")
    await s.told("Two days later it is open again, and not by us. A stop order, with its limit.")
    await s.later(await first_morning(s, 3 * DAY + HOUR) - await s.clock())
    await s.done("RequestCutoff", reason="unpaid")
    await s.approved(s.case, **HEAD)
    await permitted(s, "permit-2", full=True)
    await closed(s, "permit-2", "seal:54", full=True)
    await s.told("Approved anew, on what is so by now; permitted anew; stopped in full.")
    await s.later(DAY)
    await s.paid(OWED)
    await s.told("The next day it is paid: now there is a clock for us.")
    await s.later(2 * HOUR)
    facts = {"crew": CREW, "seal_removed": "seal:54", "reading": 512_000}
    await s.done("RecordReconnected", **facts, **AT_VALVE)
    await s.told("Two hours later supply is on.")
    await s.later(31 * DAY)
    await s.told("No payment can be taken back any more.")


async def last_minute(s: Scene) -> None:
    await s.overdue("A household owes since last month.", FENG, OWED)
    await chased(s)
    await s.done("AuthoriseCutoff", who="supervisor-1", role="supervisor")
    await crew_comes(s, "A supervisor authorises the stop, and a crew is to come.")
    await permitted(s, "permit-1")
    await s.told("At the valve the crew asks, and may close it within ten minutes.")
    await s.later(2 * MINUTE)
    await s.paid(OWED)
    await s.told("While it stands there the customer pays by phone: the permit is worth nothing.")
    await s.later(MINUTE)
    left = {"crew": CREW, "reason": "paid_meanwhile", "evidence": "card:55"}
    await s.done("RecordVisitFailed", **left, **AT_VALVE)
    await s.told("The crew goes home; supply stays on.")
    await s.later(31 * DAY)
    await s.told("A month later the case is closed.")
