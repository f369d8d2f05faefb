"""Where a case's promises and approvals stand, for people. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from gateway.words import Clock, owner_words, span
from gateway.words.case import asked, facts_in_words, silence_in_words
from lifecycles.calendars import working_between
from lifecycles.commitments import attribution
from lifecycles.promises import terms_of
from schemas.approvals import Approval
from schemas.base import Owner, Value
from schemas.case import AnyCase
from schemas.commitments import Commitment, Pause
from schemas.policy import ApprovalTerms


class Stretch(Value):
    """How long somebody had the case while a promise's time ran."""

    owner: Owner
    since: datetime
    until: datetime
    seconds: int


class Promise(Value):
    """A commitment with what is left of its time, or what was missed."""

    id: str
    name: str
    rule: str
    state: str
    start: datetime
    due: datetime
    agreed: bool
    met_at: datetime | None
    ended_at: datetime | None
    margin_seconds: int | None
    """Left or to spare; below zero: late. Working time where the promise runs on that."""
    fired: int
    """Rungs of its ladder that were told."""
    pauses: tuple[Pause, ...]
    held: tuple[Stretch, ...]
    text: str


class Asked(Approval):
    """A decision that is asked of somebody, or was."""

    due: datetime
    about: str
    """What is asked for, in plain words."""
    facts_text: tuple[str, ...]
    """The facts that it rests on, each as "name: value", times by the organisation's clock."""
    silence_text: str
    """What it means when nobody decides until `due` (超时默认, ADM-7)."""


def promise(state: AnyCase, c: Commitment, now: datetime, clock: Clock) -> Promise:
    """A commitment as it stands at `now`."""
    margin = _margin(state, c, now)
    return Promise(
        id=c.id,
        name=c.name,
        rule=c.rule,
        state=c.state,
        start=c.start,
        due=c.due,
        agreed=c.agreed,
        met_at=c.met_at,
        ended_at=c.ended_at,
        margin_seconds=None if margin is None else int(margin.total_seconds()),
        fired=c.fired,
        pauses=c.pauses,
        held=tuple(
            Stretch(
                owner=h.owner,
                since=h.since,
                until=h.until,
                seconds=int((h.until - h.since).total_seconds()),
            )
            for h in attribution(c, state.owners, now)
        ),
        text=_standing(c, margin, clock),
    )


def _margin(state: AnyCase, c: Commitment, now: datetime) -> timedelta | None:
    if c.state == "cancelled":
        return None
    at = c.met_at or c.ended_at or now
    if c.state == "paused":
        at = c.pauses[-1].since
    if terms_of(state.rules, c).basis == "working" and not c.agreed:
        return working_between(state.policy.calendar, at, c.due)
    return c.due - at


def _standing(c: Commitment, margin: timedelta | None, clock: Clock) -> str:
    late = span(margin or timedelta(0))
    match c.state:
        case "running" if margin is not None and margin < timedelta(0):
            return f"due {clock.write(c.due)}, {late} ago; the breach is not recorded yet"
        case "running":
            return f"due {clock.write(c.due)}, {late} left"
        case "paused":
            return f"time stands still since {clock.write(c.pauses[-1].since)}, {late} left"
        case "kept":
            return f"kept, {late} to spare"
        case "broken" if c.met_at is not None:
            return f"broken, met {late} late"
        case "broken" if c.ended_at is not None:
            return f"broken; {late} late when no longer owed ({c.cancelled})"
        case "broken":
            return f"broken, {late} late so far"
        case "cancelled":
            return f"no longer owed ({c.cancelled})"


def held_words(held: Iterable[Stretch]) -> str:
    """Who had the case while a promise's time ran, longest first."""
    total: dict[str, int] = {}
    for stretch in held:
        who = owner_words(stretch.owner)
        total[who] = total.get(who, 0) + stretch.seconds
    ranked = sorted(((w, s) for w, s in total.items() if s), key=lambda entry: -entry[1])
    return ", ".join(f"{who} {span(timedelta(seconds=s))}" for who, s in ranked)


def approval(a: Approval, due: datetime, terms: ApprovalTerms, clock: Clock) -> Asked:
    """An approval, in plain words; `terms` are those that it was asked under."""
    return Asked(
        **{name: getattr(a, name) for name in Approval.model_fields},
        due=due,
        about=asked(a.kind),
        facts_text=facts_in_words(a.facts, clock.write),
        silence_text=silence_in_words(a.silence, a.roles, terms.escalates_to),
    )
