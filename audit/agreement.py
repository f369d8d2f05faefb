"""Whether a case's log and its Temporal histories agree: two ledgers of one truth. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from activities.builds import makers
from activities.canonical import SealedDecision, canonical, header, json_time, leaf_hash, seal
from audit.findings import Finding
from audit.histories import CaseHistory
from audit.log import RawCase, RawDecision, RawEvent
from audit.replay import Attempt, Replayed
from schemas.base import CaseId, Value
from schemas.envelope import AppendRequest, AppendResult, Recorded


class RunReplayed(Value):
    """One run, and what it said to the log."""

    run_id: str
    source: str
    """archive or temporal."""
    builds: tuple[str, ...]
    """Those that made the history."""
    sdk: str | None
    lock: str | None
    original: bool
    """False: it stands in for a run that the server had deleted, and only read the log."""
    closed: bool
    history_events: int
    appended: int
    """Appends that the log took."""
    behind: int
    """Those that were told what the log held instead."""
    unproven: int
    unanswered: int


class CaseReplayed(Value):
    """What replaying a case came to."""

    case: CaseId
    events: int
    runs: tuple[RunReplayed, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    """What is no fault, but must be known to judge what was proved."""


class Log(NamedTuple):
    """A case in the log, by what its histories name."""

    case: RawCase
    decisions: dict[str, RawDecision]
    events: dict[int, RawEvent]


def indexed(case: RawCase) -> Log:
    decided = {d.command_id: d for d in case.decisions}
    every = (*(e for d in case.decisions for e in d.events), *case.orphans)
    return Log(case, decided, {e.version: e for e in every})


def agree(
    organisation: str,
    stream: CaseId,
    case: RawCase | None,
    runs: Sequence[tuple[CaseHistory, Replayed]],
    *,
    known_until: int | None = None,
) -> CaseReplayed:
    """Compare a case's log with its histories, replayed.

    The histories must have been read before the log, and after it was at `known_until`: what came
    later may be in the log and not in them. None: nothing happens there any more.
    """
    comparison = _Comparison(organisation, stream, case)
    for run, replayed in runs:
        comparison.take(run, replayed)
    comparison.account([run for run, _ in runs], known_until)
    return CaseReplayed(
        case=stream,
        events=0 if case is None else len(comparison.log.events),
        runs=tuple(comparison.runs),
        findings=tuple(comparison.findings),
        notes=tuple(comparison.notes),
    )


class _Comparison:
    def __init__(self, organisation: str, stream: CaseId, case: RawCase | None) -> None:
        self._organisation = organisation
        self._stream = stream
        self._there = case is not None
        self.log = indexed(case or RawCase(stream, "", 0, b"", None, ()))
        self.runs: list[RunReplayed] = []
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self._written: set[int] = set()
        self._found_at_first: set[int] = set()
        self._found: set[int] = set()
        self._told: set[str] = set()
        """Commands that some run knows to be in the log."""
        self._run = ""

    def take(self, run: CaseHistory, replayed: Replayed) -> None:
        """One run's appends, in order."""
        self._run = run.run_id
        answers: list[str | None] = []
        if replayed.failure is not None:
            self._wrong("replay", f"This build does not replay it: {replayed.failure}")
        for attempt in replayed.attempts:
            request, answer = attempt
            if (request.organisation, request.stream) != (self._organisation, self._stream):
                self._wrong("replay", "It writes to another log, or another case.")
                continue
            answers.append(None if answer is None else answer.status)
            self._attempt(attempt)
        made = makers(run.history.events)
        self.runs.append(
            RunReplayed(
                run_id=run.run_id,
                source=run.source,
                builds=made.builds,
                sdk=made.sdk,
                lock=run.lock,
                original=run.original,
                closed=run.closed,
                history_events=len(run.history.events),
                appended=answers.count("appended"),
                behind=answers.count("behind"),
                unproven=answers.count("unproven"),
                unanswered=answers.count(None),
            )
        )

    def account(self, runs: Sequence[CaseHistory], known_until: int | None) -> None:
        """Every event must have a run that wrote it, or that found it in the log."""
        events = self.log.events
        found = (self._found | self._found_at_first) - self._written
        nobodys = {
            v: e
            for v, e in events.items()
            if v not in self._written
            and v not in found
            and (known_until is None or e.position <= known_until)
        }
        if not runs and nobodys:
            self.notes.append(f"No history any more: {_events(nobodys)}.")
        else:
            for version, event in sorted(nobodys.items()):
                what = f"No run of the case wrote this {event.type}, or knew of it."
                self._wrong("replay", what, version, event, run=False)
        if gone := found & self._found_at_first:
            self.notes.append(
                f"No history any more: {_events(gone)}, which a run found in the log when it began."
            )
        if met := found - self._found_at_first:
            self.notes.append(
                f"Found in the log by a run that came to write: {_events(met)}. Its worker had died"
                " before it heard that they were written, or they are of a run whose history is"
                " gone."
            )
        if runs:
            for decision in self.log.case.decisions:
                silent = not decision.events and decision.command_id not in self._told
                if silent and (known_until is None or decision.position <= known_until):
                    what = f"No run of the case wrote {decision.command_id}, or knew of it."
                    self._wrong("replay", what, decision.version, run=False)

    def _attempt(self, attempt: Attempt) -> None:
        request, answer = attempt
        try:
            sealed = seal(request)
        except ValueError as error:
            self._wrong("replay", f"What it decides cannot be written: {error}")
            return
        match answer:
            case AppendResult(status="appended"):
                self._appended(request, sealed, answer)
            case AppendResult(status="behind"):
                self._behind(request, answer)
            case None:
                self._unanswered(request, sealed)
            case _:
                pass  # unproven: nothing of it was written

    def _appended(
        self, request: AppendRequest, sealed: Sequence[SealedDecision], answer: AppendResult
    ) -> None:
        if request.policy is not None and self._there and request.policy != self.log.case.policy:
            self._wrong("policy", "The log has the case under another policy than its history.")
        receipts = {r.command_id: r for r in answer.recorded}
        if list(receipts) != [d.command_id for d in sealed]:
            what = "This build decides other commands than the history says were written."
            self._wrong("receipt", what, request.expected_version + 1)
            return
        for decision in sealed:
            self._told.add(decision.command_id)
            self._written.update(e.version for e in decision.events)
            receipt = receipts[decision.command_id]
            headers = _headers(request, decision)
            if not _is_for(receipt, decision, headers):
                what = f"{decision.command_id}: this build decides otherwise than was written then."
                self._wrong("receipt", what, decision.version)
            there = self.log.decisions.get(decision.command_id)
            if there is None:
                self._missing(decision.command_id, receipt)
                continue
            for what in _differences(self.log, decision, headers, there, receipt):
                first = decision.events[0].version if decision.events else decision.version
                event = there.events[0] if there.events else None
                self._wrong("replay", f"{decision.command_id}: {what}", first, event)

    def _behind(self, request: AppendRequest, answer: AppendResult) -> None:
        """What the run was told that the log held must be what it holds."""
        first = not request.decisions and request.expected_version == 0
        for version, body in enumerate(answer.events, request.expected_version + 1):
            (self._found_at_first if first else self._found).add(version)
            event = self.log.events.get(version)
            if event is None:
                what = "The log does not have an event that it told this run of."
                self._wrong("replay", what, version)
            elif canonical(body) != event.body:
                what = f"The log told this run of another {event.type} than it holds now."
                self._wrong("replay", what, version, event)
        for receipt in answer.recorded:
            self._told.add(receipt.command_id)
            there = self.log.decisions.get(receipt.command_id)
            if there is None:
                self._missing(receipt.command_id, receipt)
            elif _said(receipt) != _said_of(there):
                what = f"The log told this run otherwise of {receipt.command_id}."
                self._wrong("replay", what, there.version, *there.events[:1])

    def _unanswered(self, request: AppendRequest, sealed: Sequence[SealedDecision]) -> None:
        """It may have been written all the same; if exactly this is there, it was."""
        for decision in sealed:
            there = self.log.decisions.get(decision.command_id)
            headers = _headers(request, decision)
            if there is None or any(_differences(self.log, decision, headers, there, None)):
                return
            self._told.add(decision.command_id)
            self._written.update(e.version for e in decision.events)

    def _missing(self, command_id: str, receipt: Recorded) -> None:
        where = f"up to position {receipt.position}" if receipt.events else "without events"
        what = (
            f"The log has lost {command_id}, which it took {where}: if it came back from a backup,"
            " see `standpipe audit restore-log`."
        )
        self._wrong("replay", what, receipt.version)

    def _wrong(
        self,
        check: str,
        what: str,
        version: int | None = None,
        event: RawEvent | None = None,
        *,
        run: bool = True,
    ) -> None:
        finding = Finding(
            check=check,
            what=f"Run {self._run}: {what}" if run else what,
            position=None if event is None else event.position,
            stream=self._stream,
            version=version,
        )
        if finding not in self.findings:
            self.findings.append(finding)


def _headers(request: AppendRequest, decision: SealedDecision) -> list[bytes]:
    return [header(request.organisation, request.stream, decision, e) for e in decision.events]


def _is_for(receipt: Recorded, decision: SealedDecision, headers: Sequence[bytes]) -> bool:
    """Whether it is the receipt for this very decision; those of older builds hold no leaves."""
    types = tuple(e.type for e in decision.events)
    return (
        receipt.command_hash == decision.command_hash.hex()
        and (receipt.version, receipt.events) == (decision.version, types)
        and receipt.leaves in ((), tuple(leaf_hash(h).hex() for h in headers))
    )


def _differences(
    log: Log,
    decision: SealedDecision,
    headers: Sequence[bytes],
    there: RawDecision,
    receipt: Recorded | None,
) -> Iterator[str]:
    """How the log's rows are not what was appended."""
    if there.command != decision.command:
        yield "the log holds another command under this id."
    if json_time(there.decided_at) != decision.decided_at:
        yield f"the log says that it was decided at {json_time(there.decided_at)}."
    if there.version != decision.version:
        yield f"the log has it at version {there.version}, not {decision.version}."
    if receipt is not None and there.position != receipt.position:
        yield f"the log has it at position {there.position}, but took it at {receipt.position}."
    for event, stated in zip(decision.events, headers, strict=True):
        held = log.events.get(event.version)
        if held is None:
            yield f"the log has lost version {event.version}, a {event.type}."
        elif held.body != event.body:
            yield f"the log holds another {held.type} at version {event.version}."
        elif held.header != stated:
            yield f"the log holds another header at version {event.version}."


def _said(receipt: Recorded) -> tuple[str, int, int, tuple[str, ...]]:
    return receipt.command_hash, receipt.version, receipt.position, receipt.events


def _said_of(decision: RawDecision) -> tuple[str, int, int, tuple[str, ...]]:
    types = tuple(e.type for e in decision.events)
    return decision.command_hash.hex(), decision.version, decision.position, types


def _events(versions: Iterable[int]) -> str:
    """Versions as a person says them: events 1-14 and 17."""
    stretches: list[list[int]] = []
    for version in sorted(versions):
        if stretches and stretches[-1][-1] == version - 1:
            stretches[-1][-1] = version
        else:
            stretches.append([version, version])
    said = [f"{a}" if a == b else f"{a}-{b}" for a, b in stretches]
    word = "event" if said == [f"{stretches[0][0]}"] else "events"
    return f"{word} {' and '.join((', '.join(said[:-1]), said[-1]) if said[1:] else said)}"
