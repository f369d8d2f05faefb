"""Complaints on the command line: from the report to the staff file and the satisfaction."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.test_cli import (
    COMPLAINT,
    CUSTOMER,
    PERSONAL,
    Cli,
    asked,
    cli,
    nowhere,
    read,
    reported,
    run,
    servers_alone,
)

__all__ = ["cli", "nowhere", "servers_alone"]

HANDLER = ("--as", "s-77", "--role", "supervisor")


@pytest.mark.usefixtures("nowhere")
def test_everything_wrong_with_a_complaint_is_told_at_once_and_nothing_typed_is_repeated() -> None:
    result = run(
        *("complaint", "register", "--channel", "pigeon", "--about", "weather", "--accused", "S 1"),
        *("--anonymous", "--confidential", "--seal-to", "boss", "--name", CUSTOMER["name"]),
        *("--case", "Ouyang", "--text", "tape one", "--role", "chief", "--json"),
    )
    assert result.exit_code == 2
    reasons = json.loads(result.stdout)["reasons"]
    about = ("channel", "about", "category", "district", "accused", "about-case", "text", "role")
    for option in (*about, "anonymous", "seal-to"):
        assert sum(r.startswith(f"--{option}: ") for r in reasons) == 1, (option, reasons)
    assert "write STAFF[:REPORTS_TO]" in result.stderr
    for word in ("pigeon", "weather", "boss", "tape one", "chief", *PERSONAL):
        assert word.lower() not in result.stderr.lower()


async def registered(cli: Cli, staff: str = "s-1041") -> str:
    """A complaint that somebody looks into."""
    words = [word.replace("s-1041", staff) for word in COMPLAINT]
    case = read(await cli(*words, "--json"))["case_id"]
    await asked(cli, case, "ScreenComplaint", "--category", "attitude", "--gravity", "light")
    await asked(cli, case, "HandOverComplaint", "--department", "counter")
    await asked(cli, case, "AcknowledgeComplaint", *HANDLER)
    await asked(cli, case, "StartInvestigation", *HANDLER)
    return case


async def test_what_a_case_asks_is_found_in_the_inbox_and_decided_on_the_facts_shown(
    cli: Cli,
) -> None:
    assert read(await cli("approvals", "--json")) == {"approvals": []}
    case = await registered(cli)
    until = (datetime.now(UTC) + timedelta(hours=72)).isoformat()
    more = ("--until", until, "--reason", "witness_away", "--evidence", "memo:3")
    await asked(cli, case, "RequestExtension", *more, *HANDLER)

    (waiting,) = read(await cli("approvals", "--role", "supervisor", "--json"))["approvals"]
    assert (waiting["case_id"], waiting["id"]) == (case, "extension-1")
    assert waiting["about"] == "more time for the answer"
    assert "reason: witness_away" in waiting["facts_text"]
    assert read(await cli("approvals", "--role", "auditor", "--json"))["approvals"] == []
    assert read(await cli("approvals", "--case", case, "--json"))["approvals"] == [waiting]
    drawn = (await cli("approvals")).stdout
    assert f"standpipe approve {case} extension-1 --as WHO --role supervisor" in drawn

    alone = await cli("approve", case, "extension-1", "--as", "s-9")
    assert alone.exit_code == 2
    assert "add --yes" in alone.stderr
    own = await cli("approve", case, "extension-1", "--yes", *HANDLER, "--json")
    assert own.exit_code == 1
    assert "Who asked for it" in json.loads(own.stdout)["reasons"][0]
    unknown = await cli("approve", case, "extension-9", "--yes", "--as", "s-9")
    assert "which asks now: extension-1" in unknown.stderr
    done = await cli("approve", case, "extension-1", "--yes", "--as", "s-9", "--json")
    assert "ExtensionGranted" in read(done)["outcome"]["events"]
    assert "reason: witness_away" in done.stderr
    assert (await cli("approvals")).stdout.startswith("Nothing waits")


async def test_an_upheld_complaint_shows_in_the_staff_file_and_in_the_satisfaction(
    cli: Cli,
) -> None:
    staff = f"s-{uuid4().hex[:12]}"  # of this test alone: a staff file is named after it
    nobody = read(await cli("staff", "show", staff, "--json"))
    assert nobody["file"] is None
    assert "no complaint ever told of a finding" in (await cli("staff", "show", staff)).stdout
    case = await registered(cli, staff)
    when = datetime.now(UTC).isoformat()
    found = ("--staff", staff, "--outcome", "upheld", "--conduct-at", when, "--evidence", "t:1")
    await asked(cli, case, "DecideFinding", *found, *HANDLER)
    answer = ("--outcome", "upheld", "--answer", "letter:1")
    await asked(cli, case, "AnswerComplaint", *answer, *HANDLER)
    await asked(cli, case, "RecordFollowUp", "--consent", "--result", "satisfied")

    file = None
    async with asyncio.timeout(20):  # the complaint tells the staff file in its own time
        while file is None:
            file = read(await cli("staff", "show", staff, "--json"))["file"]
    assert (file["staff"], file["strikes"], file["needed"]) == (staff, 1, 3)
    assert [f["complaint"] for f in file["findings"]] == [case]
    shown = (await cli("staff", "show", staff.upper())).stdout
    assert "1 of 3 strikes within 12 months" in shown
    assert "oral warning is due" in file["findings"][0]["text"]

    answers = read(await cli("satisfaction", "--json"))
    (month,) = answers["months"]
    (counter,) = month["departments"]
    assert (counter["department"], counter["asked"], counter["rate"]) == ("counter", 1, 10_000)
    assert answers["target"] == 90
    assert answers["ranking"] is None
    assert "Month" in (await cli("satisfaction")).stdout

    kinds = {c["kind"] for c in read(await cli("case", "list", "--json"))["cases"]}
    assert kinds == {"complaint", "conduct"}
    listed = read(await cli("case", "list", "--kind", "conduct", "--stage", "marked", "--json"))
    assert [c["case_id"] for c in listed["cases"]] == [file["case_id"]]


async def test_an_informant_is_shown_to_the_roles_that_they_are_sealed_to_alone(cli: Cli) -> None:
    sealed = ("--confidential", "--seal-to", "conduct_officer", "--remarks", "barking dog")
    opened = read(await cli(*COMPLAINT, *sealed, "--json"))
    case, party = opened["case_id"], opened["party_id"]
    for words in (("case", "show", case), ("case", "show", case, "--json"), ("outbox", "--json")):
        result = await cli(*words)
        assert result.exit_code == 0
        for word in PERSONAL:
            assert word not in result.stdout
    refused = await cli("party", "show", party, "--role", "supervisor")
    assert refused.exit_code == 1
    assert "sealed" in refused.stderr
    kept = read(await cli("party", "show", party, "--role", "conduct_officer", "--json"))
    assert kept["name"] == CUSTOMER["name"]
    noted = await asked(cli, case, "TakeCase", "--remark", "ring Ouyang at night")
    assert noted["outcome"]["events"] == []
    shown = read(await cli("party", "show", party, "--role", "conduct_officer", "--json"))
    assert [note["text"] for note in shown["notes"]] == ["ring Ouyang at night"]


async def test_an_informant_whom_the_vault_knows_is_sealed_already_or_refused(cli: Cli) -> None:
    informed = (*COMPLAINT[:-4], "--confidential", "--party")
    open_party = (await reported(cli))["party_id"]
    refused = await cli(*informed, open_party, "--json")
    assert refused.exit_code == 1
    (reason,) = json.loads(refused.stdout)["reasons"]
    assert reason.startswith("An informant's identity is sealed")
    sealed = ("--confidential", "--seal-to", "conduct_officer")
    party = read(await cli(*COMPLAINT, *sealed, "--json"))["party_id"]
    again = read(await cli(*informed, party, "--role", "conduct_officer", "--json"))
    assert again["party_id"] == party
    unread = await cli(*informed, party, "--seal-to", "supervisor", "--json")
    assert unread.exit_code == 2
    assert json.loads(unread.stdout)["reasons"][0].startswith("--seal-to: ")


async def test_an_anonymous_complaint_has_nobody_in_the_vault(cli: Cli) -> None:
    opened = read(await cli(*COMPLAINT[:-4], "--anonymous", "--json"))
    assert opened["party_id"] is None
    assert opened["timeline"]["state"]["anonymous"] is True
    lacking = await cli(*COMPLAINT[:-2], "--json")
    assert lacking.exit_code == 1
    assert json.loads(lacking.stdout)["error"] == "refused"
