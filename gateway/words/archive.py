"""What happens in the archive's registers, in plain words. Pure."""

from collections.abc import Mapping
from typing import assert_never

from gateway.words.plain import When
from schemas.archive import ArchiveClosed, ArchiveEvents, ArchiveOpened, HistoryArchived

RULES: Mapping[str, tuple[str, ...]] = {}
BEFORE: Mapping[str, str] = {}


def words(e: ArchiveEvents, when: When) -> str:
    match e:
        case ArchiveOpened():
            return f"the register is opened, for {e.room} histories, until {when(e.until)}"
        case HistoryArchived():
            how = "" if e.original else ", made again from the log because the server had lost it"
            made = f", of build {e.build_id}" if e.build_id else ""
            return f"the history of {e.case} is archived as {e.sha256[:12]}…{made}{how}"
        case ArchiveClosed():
            why = "it is full" if e.reason == "full" else "its month is over"
            return f"the register closes: {why}, and the next one goes on"
        case _:
            assert_never(e)
