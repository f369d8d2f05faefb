"""The exact bytes: canonical JSON as the standard has it, identities that depend on no run."""

from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import uuid5

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from activities import canonical as exact
from activities.canonical import canonical, command_hash, event_id, json_time, leaf_hash, seal
from schemas.envelope import AppendRequest, Decision, Message
from tests.activities.appends import decision, event, request

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


class Stage(StrEnum):
    FIXED = "Fixed"


@given(JSON)
def test_every_value_has_the_bytes_of_the_standard(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"b": 1, "a": (True, None)}, b'{"a":[true,null],"b":1}'),
        ({"at": "2026-01-01T00:00:00.5Z"}, b'{"at":"2026-01-01T00:00:00.5Z"}'),
        ([1.0, 1e21, -0.0], b"[1,1e+21,0]"),
        ({"\ue000": 1, "\U0001f600": 2}, '{"\U0001f600":2,"\ue000":1}'.encode()),
        ('\x00\x1f"\\/\x7f\n', b'"\\u0000\\u001f\\"\\\\/\x7f\\n"'),
        ({"stage": Stage.FIXED}, b'{"stage":"Fixed"}'),
    ],
)
def test_what_writers_of_json_disagree_about(value: Any, written: bytes) -> None:
    assert canonical(value) == written


@pytest.mark.parametrize("value", [float("nan"), 2**53, {"a": [float("inf")]}, "\ud800", b"", {1}])
def test_what_json_cannot_say_the_same_way_everywhere_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="no canonical JSON"):
        canonical(value)


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_are_written_as_pydantic_writes_them(time: datetime) -> None:
    assert json_time(time) == TypeAdapter(datetime).dump_python(time, mode="json")


def test_a_command_hash_covers_all_of_its_envelope() -> None:
    command = decision("call-1", tool="wrench").command
    assert command_hash(command) == sha256(rfc8785.dumps(command)).hexdigest()
    for changed in (
        command | {"id": "call-2"},
        command | {"occurred_at": "2026-05-01T07:00:00Z"},
        command | {"actor": command["actor"] | {"subject": "crew-8"}},
        command | {"body": command["body"] | {"tool": "spanner"}},
    ):
        assert command_hash(changed) != command_hash(command)


def test_an_events_identity_is_its_place() -> None:
    assert event_id("town", "repair-1", 7) == uuid5(exact.NAMESPACE, "town/repair-1/7")
    # Known for ever: logs that exist hold ids made like this.
    assert str(event_id("town", "repair-1", 7)) == "b9409c9a-08b8-5b29-97a0-266180992d06"


def test_a_leaf_is_hashed_as_in_certificate_transparency() -> None:
    assert leaf_hash(b"header") == sha256(b"\0header").digest()


def test_a_header_is_the_same_wherever_and_whenever_it_is_made() -> None:
    def headers() -> list[bytes]:
        wanted = request("repair-1", 4, decision("a", event(), event()), decision("b", event()))
        return [
            exact.header("town", "repair-1", sealed, one)
            for sealed in seal(wanted)
            for one in sealed.events
        ]

    assert headers() == headers()
    # Known for ever: the leaves of logs that exist are hashes of such bytes.
    assert headers()[2] == (
        b'{"body_hash":"1d2687eaf0549758ab73284e24982a7e43eecef0c7a28ec236818422c4394155"'
        b',"command_hash":"d539f9787301b0ac7c82ba9d1a1292947b0754810f8b98594a0eb9a17019a170"'
        b',"command_id":"b"'
        b',"decided_at":"2026-05-01T08:00:00.123456Z"'
        b',"event_id":"b9409c9a-08b8-5b29-97a0-266180992d06"'
        b',"occurred_at":"2026-05-01T07:30:00Z"'
        b',"organisation":"town"'
        b',"schema_version":1'
        b',"stream":"repair-1"'
        b',"type":"CrewArrived"'
        b',"version":7}'
    )


def test_everything_that_an_append_lacks_is_told_at_once() -> None:
    word = Message(to="crew", recipient="crew-7", template="go", params={})
    bad = AppendRequest(
        organisation="town",
        stream="repair-1",
        expected_version=0,
        decisions=(
            Decision(
                command={"id": "a", "body": {}},
                decided_at=datetime(2026, 5, 1, tzinfo=UTC),
                events=({"type": "X"},),
                messages=((3, word),),
            ),
            decision("a"),
        ),
    )
    with pytest.raises(ValueError, match="decision 1") as caught:
        seal(bad)
    assert str(caught.value).split("; ") == [
        "decision 1: the command has no actor",
        "decision 1, event 1: no schema_version",
        "decision 1, event 1: no at",
        "decision 1: a message belongs to event 3, which there is not",
        "decision 2: its command id stands in this append already",
    ]
