"""An event of the log as a CloudEvent (1.0, structured JSON): the form in which others learn of it.

Nothing in it is personal, because nothing in the log is.
"""

import json
from datetime import UTC, datetime

from schemas.envelope import EventEnvelope, Json

MEDIA_TYPE = "application/cloudevents+json"
TEST_TYPE = "standpipe.webhook.test"
"""Of the event that `standpipe webhook test` sends: it happened to no case."""


def cloudevent(envelope: EventEnvelope, organisation: str) -> Json:
    """The CloudEvent of an event; `id` is the same wherever and however often it is sent.

    `time` is business time. Beyond the standard's own attributes: `position` in the organisation's
    log, `partitionkey` (the case: its events come in order) and `schemaversion` of `data`.
    """
    return {
        "specversion": "1.0",
        "id": str(envelope.event_id),
        "source": source(organisation),
        "type": event_type(envelope.stream, envelope.type),
        "subject": envelope.stream,
        "time": stamp(envelope.occurred_at),
        "datacontenttype": "application/json",
        "partitionkey": envelope.stream,
        "position": envelope.position,
        "schemaversion": envelope.schema_version,
        "data": envelope.body,
    }


def event_type(case_id: str, type: str) -> str:
    """Such as standpipe.repair.CrewArrived."""
    return f"standpipe.{case_id.partition('-')[0]}.{type}"


def source(organisation: str) -> str:
    """Whose log an event comes from, as a URI."""
    return f"urn:standpipe:{organisation}"


def stamp(at: datetime) -> str:
    """An instant as RFC 3339 writes it, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def serialized(event: Json) -> bytes:
    """The JSON that is sent, and signed."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
