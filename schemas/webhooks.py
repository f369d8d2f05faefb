"""Subscriptions and deliveries: who is told of what happens, and what became of telling them."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.base import CaseId, Code, Organisation, Reference, Subject, UtcTime, Value
from schemas.envelope import EventEnvelope, Message

SubscriptionId = Annotated[str, StringConstraints(pattern=r"^(sub|to)-[a-z0-9-]{1,40}$")]
"""A webhook, sub-…; to-customers and to-staff are the outbox's own."""

TO_CUSTOMERS = "to-customers"
TO_STAFF = "to-staff"

EventPattern = Annotated[
    str, StringConstraints(pattern=r"^(\*|(standpipe\.)?[a-z]+\.(\*|[A-Za-z]{1,60}))$")
]
"""Which events: repair.CrewArrived, all of a kind (repair.*), or all (*)."""

TargetUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$", max_length=2000)]
"""Where events are posted to. No user name or password in it: deliveries are signed."""

DeliveryState = Literal["waiting", "delivered", "dead"]


class NewSubscription(Value):
    """A webhook to be: where to post, and which events."""

    url: TargetUrl
    types: Annotated[tuple[EventPattern, ...], Field(min_length=1, max_length=500)] = ("*",)
    after: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    """The log position after which it begins: 0 for all that ever happened; None: from now on."""


class SubscriptionChange(Value):
    """What to change about a webhook; what is left out stays."""

    url: TargetUrl | None = None
    types: Annotated[tuple[EventPattern, ...], Field(min_length=1, max_length=500)] | None = None
    active: bool | None = None
    """False pauses it. True again, it goes on where it stopped."""


class Subscription(Value):
    """A webhook, or one of the outbox's own roads, and how it fares."""

    id: SubscriptionId
    feed: Literal["events", "messages"]
    url: str | None
    """None: where messages go stands in the workers' settings."""
    types: tuple[str, ...] | None
    """Events as kind.Type, or kinds of recipients; None means all."""
    active: bool
    ended: Literal["paused", "gone"] | None
    """Why it is not active: somebody paused it, or the receiver answered 410 Gone."""
    created_at: UtcTime
    created_by: Subject
    position: int
    """So far it has read the log; `waiting` and `dead` were read but not delivered."""
    failing_since: UtcTime | None
    """Since then, no attempt has succeeded."""
    resume_at: UtcTime | None
    """Set while the receiver takes nothing: when it is asked next."""
    waiting: int
    dead: int


class SigningSecret(Value):
    """What signs a webhook's deliveries: for its receiver alone."""

    id: SubscriptionId
    secret: str
    """In the form of Standard Webhooks: whsec_ and base64."""


class DeliveryRow(Value):
    """A delivery as it stands. `status` is what the last attempt came to, in our own words."""

    subscription: SubscriptionId
    position: int
    ordinal: int
    """Of a message among its event's; 0 for an event."""
    case_id: CaseId
    state: DeliveryState
    attempts: int
    due_since: UtcTime
    ended_at: UtcTime | None
    status: str | None
    channel: str | None
    """How somebody was told: sms, email, work. With template, language and the text's hash."""
    template: str | None
    language: str | None
    text_hash: str | None


class Redriven(Value):
    """How many deliveries of a subscription are tried again."""

    subscription: SubscriptionId
    deliveries: int


class Due(Value):
    """A delivery to try now. `event` is what it tells of, `message` what is to be said, if any."""

    position: int
    ordinal: int
    lane: str
    """What keeps its order: a case, or a case's messages to one recipient."""
    attempts: int
    by_hand: bool
    """Whether somebody asked for it to be tried again."""
    event: EventEnvelope
    message: Message | None


class Taken(Value):
    """What is to be tried now of a subscription that is `active`."""

    active: bool
    url: str | None = None
    due: tuple[Due, ...] = ()
    paused_until: UtcTime | None = None
    """The receiver takes nothing; before then it is left in peace."""


class Said(Value):
    """What was said to somebody: enough to make the text again and compare, never the text."""

    channel: Code
    template: Reference
    """Such as party/report_received."""
    language: str
    hash: str
    """SHA-256 of the text, in hex. Nothing personal is in it."""


class Carried(Value):
    """What an attempt came to.

    `failed` is tried again, and so is `refused`, where the receiver answers but has something
    against this one; `dead` can't be delivered at all, `gone` ends the subscription.
    """

    outcome: Literal["delivered", "failed", "refused", "dead", "gone"]
    status: Annotated[str, StringConstraints(max_length=200)]
    """In our own words: never what the receiver wrote."""
    wait: timedelta | None = None
    """What the receiver asked for (Retry-After)."""
    said: Said | None = None


class Delivering(Value):
    """A delivery workflow's only argument: whose subscription it is."""

    organisation: Organisation
    subscription: SubscriptionId


class DeliveryStretch(Delivering):
    """A stretch of delivering."""

    now: UtcTime
    """By the workflow's clock, which in a test may be ahead."""


class Rest(Value):
    """How a stretch ended: not `active`, there is nothing to do any more."""

    active: bool
    until: UtcTime | None = None
    """The receiver takes nothing before then."""
