"""The lives that are measured: of each kind of case all that is asked of one, seven commands."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import rfc8785

from gateway.policies import content_of, load
from lifecycles.changes import changed
from schemas.envelope import Json

CLERK = {"subject": "c-1041", "role": "clerk", "proof": "local"}
PARTY = "party-bench"
POLICIES = Path("policies")


class Asked(NamedTuple):
    """A command, and how many days ago that which it tells of happened; None: just now."""

    command: str
    body: Json
    days_ago: int | None = None


class Life(NamedTuple):
    """A kind of case and all that is asked of one, from first word to last."""

    kind: str
    policy: str
    """Canonical JSON."""
    commands: Sequence[Asked]
    own: Sequence[str] = ()
    """Fields of the opening that no two cases share."""

    @property
    def on_premises(self) -> bool:
        """Whether it tells its premises, another case, when it opens and when it has ended."""
        return "premises" in self.own

    def said(self, name: str) -> list[Json]:
        """The commands to the case of this name."""
        commands: list[Json] = []
        for number, (command, body, days_ago) in enumerate(self.commands):
            own = {} if number else dict.fromkeys(self.own, name)
            at = (datetime.now(UTC) - timedelta(days=days_ago or 0)).isoformat()
            if command == "RecordPayment":
                own["paid_at"] = at
            commands.append(
                {
                    "id": f"bench/{uuid4().hex}",
                    "actor": CLERK,
                    "occurred_at": None if days_ago is None else at,
                    "body": {"type": command, **body, **own},
                }
            )
        return commands


def in_cash() -> str:
    """The water policy of a company that is paid in cash: a case ends as it is paid.

    With the shipped one it would wait for thirty days that the payment is not taken back.
    """
    policy = load("water", POLICIES).policy
    assert policy.arrears is not None
    arrears = changed(policy.arrears, reversal_window=policy.arrears.reversal_window.resolution)
    return rfc8785.dumps(changed(policy, arrears=arrears).model_dump(mode="json")).decode()


def lives() -> tuple[Life, ...]:
    """As long as each other, so that one bare workflow is the measure of all."""
    gas = content_of("gas", POLICIES)
    return (
        Life("repair", gas, _REPAIR),
        Life("complaint", gas, _COMPLAINT),
        Life("arrears", in_cash(), _ARREARS, own=("account", "premises")),
    )


_REPAIR: Sequence[Asked] = (
    Asked(
        "ReportRepair",
        {
            "channel": "phone",
            "category": "no-gas",
            "district": "north",
            "party": PARTY,
            "recorded": ["name", "address", "phone"],
        },
    ),
    Asked("TriageRepair", {"category": "no-gas", "severity": "common"}),
    Asked("DispatchCrew", {"crew": "k-7"}),
    Asked("AcceptJob", {"crew": "k-7"}),
    Asked("RecordArrival", {"crew": "k-7"}),
    Asked("CompleteRepair", {"work": ["valve-replaced"], "evidence": ["photo-1"]}),
    Asked("RecordCallback", {"party": PARTY, "consent": True, "result": "satisfied"}),
)
_COMPLAINT: Sequence[Asked] = (
    Asked(
        "RegisterComplaint",
        {
            "channel": "phone",
            "about": "service",
            "category": "late",
            "district": "north",
            "party": PARTY,
            "recorded": ["name", "phone"],
        },
    ),
    Asked("ScreenComplaint", {"category": "late", "gravity": "light"}),
    Asked("HandOverComplaint", {"department": "field-service"}),
    Asked("AcknowledgeComplaint", {}),
    Asked("StartInvestigation", {}),
    Asked("AnswerComplaint", {"outcome": "upheld", "answer": "letter-1"}),
    Asked("RecordFollowUp", {"consent": True, "result": "satisfied"}),
)
_ARREARS: Sequence[Asked] = (
    Asked(
        "OpenArrears",
        {
            "dn": 20,
            "customer_class": "household",
            "district": "north",
            "currency": "CNY",
            "bills": [
                {"bill": "2024-01", "amount": 8_600, "due": "2024-02-15"},
                {"bill": "2024-02", "amount": 7_900, "due": "2024-03-15"},
            ],
            "run": "billing/2024-04-01",
        },
        2,
    ),
    Asked("RecordContact", {"how": "phone", "evidence": "call-1"}, 2),
    Asked("RecordContact", {"how": "door", "evidence": "slip-1"}, 1),
    Asked("ServeNotice", {"how": "door", "proof": "receipt-1"}),
    Asked("PlaceHold", {"hold": "transfer", "kind": "payment_in_flight", "source": "slip-2"}),
    Asked("RecordPayment", {"payment": "p-1", "amount": 8_600, "currency": "CNY"}, 0),
    Asked("RecordPayment", {"payment": "p-2", "amount": 7_900, "currency": "CNY"}, 0),
)
LENGTH = len(_REPAIR)
