"""What an append sees for itself before it writes (docs/decisions/0009), and takes from nobody."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence

from activities.log_reader import LogReader
from activities.signing_keys import SigningKeys
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import dump, lifecycle_of
from lifecycles.policies import pinned
from lifecycles.signing import checks
from schemas.envelope import AppendRequest, Check, Decision, EventEnvelope, SignatureCheck

RESTING = frozenset({"ApprovalGiven", "PermitIssued"})
"""Events that are written only where the log itself comes to them."""
ELSE = "The log comes to something else: look at the case again, then ask anew."


class Proofs:
    """Whether decisions rest on what they say they do: on the log, on signatures, on premises."""

    def __init__(self, log: LogReader, keys: SigningKeys) -> None:
        self._log = log
        self._keys = keys

    async def unproven(self, request: AppendRequest) -> dict[str, tuple[str, ...]]:
        """The reasons, by command id, why a decision does not rest on what it says it does.

        None where the log holds a command already, or is elsewhere than the request expects: then
        nothing is written anyway, and nobody is refused on a state that may be stale.
        """
        if not any(_rests(d) for d in request.decisions):
            return {}
        organisation, stream = request.organisation, request.stream
        events = await self._log.read_stream(organisation, stream)
        if len(events) != request.expected_version:
            return {}
        ids = [d.command["id"] for d in request.decisions]
        if await self._log.any_held(organisation, stream, ids):
            return {}
        policy = await self._log.policy_of(organisation, stream) or request.policy
        reasons: dict[str, tuple[str, ...]] = {}
        for decision, found in zip(
            request.decisions, _again(request, policy or "", events), strict=True
        ):
            if found is None:
                if _rests(decision):
                    reasons[decision.command["id"]] = (ELSE,)
                continue
            id = decision.command["id"]
            if why := tuple([r async for r in self._failing(request, id, found)]):
                reasons[id] = why
        return reasons

    async def _failing(
        self, request: AppendRequest, command_id: str, found: Iterable[Check]
    ) -> AsyncGenerator[str]:
        for check in found:
            if isinstance(check, SignatureCheck):
                async for reason in self._keys.doubts(check, request.stream, command_id):
                    yield reason
                if check.statement.version > request.expected_version:
                    yield "It is signed for a case that is further on: look again, then sign anew."
            else:
                there = await self._log.open_on(request.organisation, check.premises)
                if new := [c for c in there if c not in (*check.known, request.stream)]:
                    yield f"Wait until these cases on the premises end: {', '.join(new)}."


def _rests(decision: Decision) -> bool:
    return bool(decision.checks) or any(e.get("type") in RESTING for e in decision.events)


def _again(
    request: AppendRequest, policy: str, events: Sequence[EventEnvelope]
) -> Iterator[tuple[Check, ...] | None]:
    """What must hold for each decision, as it comes out when it is taken again from the log.

    None for one that comes out otherwise, and for all after it: what a workflow says of its case
    may be somebody else's words, because whoever reaches Temporal can answer for a worker.
    """
    lifecycle = lifecycle_of(request.stream)
    state = lifecycle.initial(request.stream, request.organisation, *pinned(policy))
    state = lifecycle.fold(state, (lifecycle.event(e.body) for e in events))
    same = True
    for decision in request.decisions:
        caused = []
        command = lifecycle.command(decision.command)
        try:
            caused = lifecycle.decide(state, command, decision.decided_at) if same else []
        except Rejected:
            same = False
        same = same and [dump(event) for event in caused] == list(decision.events)
        state = lifecycle.fold(state, caused)
        yield checks(state, command, caused) if same else None
