"""What every handler has at hand: the session, the policy of new cases, and how parts are named."""

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response

from gateway.http.problems import FOLDER, KINDS, MEDIA_TYPE
from gateway.session import Session
from schemas.base import CaseId, Code, PartyId, Role, Subject, Value


# Coroutines, though they wait for nothing: the framework would run a function in a thread.
async def session_of(request: Request) -> Session:
    """The session that the application was built on."""
    return request.app.state.session


async def policy_of(request: Request) -> str:
    """The canonical JSON of the policy that new cases pin: as it was when the gateway started."""
    return request.app.state.policy


Serving = Annotated[Session, Depends(session_of)]
NewCasesPolicy = Annotated[str, Depends(policy_of)]

CasePath = Annotated[CaseId, Path(description="A case, such as repair-1f2e3d.")]
ApprovalPath = Annotated[Code, Path(description="An approval of the case, such as extension-1.")]
PartyPath = Annotated[PartyId, Path(description="A party, such as party-1f2e3d.")]
StaffPath = Annotated[Subject, Path(description="A staff number, such as s-1041.")]

Limit = Annotated[int, Query(ge=1, le=500, description="So many at most.")]
After = Annotated[
    str | None,
    Query(max_length=200, description="Go on after this: the `next` of the page before."),
]
OfCase = Annotated[CaseId | None, Query(description="Of this case alone.")]
AsRole = Annotated[
    Role | None,
    Query(description="In which of your roles you act; the first that may, if left out."),
]

READS = ("unauthorized", "forbidden", "invalid", "too-many-requests", "fault", "unavailable")
"""The problems that any reading may end in …"""
WRITES = (
    *("malformed", "key-missing", "unauthorized", "forbidden", "refused", "conflict"),
    *("in-progress", "too-large", "unsupported-media-type", "invalid", "key-reused"),
    *("too-many-requests", "fault", "unavailable"),
)
"""… and those of anything that starts or changes something."""

Responses = dict[int | str, dict[str, Any]]


def ends_in(*kinds: str, of: tuple[str, ...] = READS) -> Responses:
    """The problems of an operation, for its description: by status, each type with its advice."""
    found: Responses = {}
    for kind in dict.fromkeys((*kinds, *of)):
        known = KINDS[kind]
        entry = found.setdefault(
            known.status,
            {
                "description": "",
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        entry["description"] += f"{' ' if entry['description'] else ''}{known.title} (`{kind}`)."
        entry["content"][MEDIA_TYPE]["examples"][kind] = {
            "summary": known.title,
            "value": {
                "type": f"{FOLDER}{kind}",
                "title": known.title,
                "status": known.status,
                "detail": known.advice,
                "instance": "urn:uuid:0b5b3f8e-7c6f-4a1e-9d0c-2f6a5f2f7a11",
            },
        }
    return dict(sorted(found.items()))


def shown(value: Value) -> Response:
    """An answer, written by pydantic at once: the framework would check and copy it first."""
    return Response(value.model_dump_json(), media_type="application/json")
