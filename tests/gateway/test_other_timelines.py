"""Timelines of complaints and staff files: what is asked of whom, and what silence means."""

from gateway.staff_file import staff_file
from gateway.timeline import Timeline
from schemas.envelope import Json
from tests.gateway.shown import GAS, HOUR, NINE, command, drawn, timeline_of

HANDLER = {"who": "s-77", "role": "supervisor"}


def later(hours: float) -> str:
    return (NINE + hours * HOUR).isoformat()


def registered(**fields: object) -> Json:
    return command(
        "RegisterComplaint",
        0,
        **{
            "channel": "phone",
            "about": "staff",
            "category": "attitude",
            "district": "north",
            "accused": [{"staff": "s-1041", "reports_to": "s-2001"}],
            "party": "party-1",
            "recorded": ["name", "phone"],
            **fields,
        },
    )


def investigated() -> list[Json]:
    return [
        registered(),
        command("ScreenComplaint", 0.2, category="attitude", gravity="light"),
        command("HandOverComplaint", 0.5, department="counter"),
        command("AcknowledgeComplaint", 1, **HANDLER),
        command("StartInvestigation", 2, **HANDLER),
    ]


def asked() -> list[Json]:
    more = {"until": later(96), "reason": "witness_away", "evidence": "memo:3"}
    return [*investigated(), command("RequestExtension", 4, **more, **HANDLER)]


def complaint(commands: list[Json], hours: float, *, ahead: int = 3) -> Timeline:
    return timeline_of("complaint-1", GAS, commands, hours, ahead=ahead)


def found(complaint: str, hours: float, **fields: object) -> Json:
    """What a complaint tells a staff file."""
    told = {
        "staff": "s-1041",
        "reports_to": "s-2001",
        "finding": f"{complaint}/s-1041",
        "complaint": complaint,
        "revision": 1,
        "outcome": "upheld",
        "gravity": "light",
        "cause": "carelessness",
        "conduct_at": later(0),
        "decided_at": later(hours),
        **fields,
    }
    system = {"subject": "standpipe", "role": "system", "proof": "system"}
    return command("RecordFinding", hours, **told) | {"actor": system, "id": f"{complaint}/asks/1"}


def staff(commands: list[Json], hours: float) -> Timeline:
    return timeline_of("conduct-s-1041", GAS, commands, hours)


def test_a_complaint_tells_whom_it_is_about_and_when_its_answer_is_due() -> None:
    shown = complaint([registered()], 1)
    first = shown.events[0]
    assert first.text == (
        "registered by phone, about s-1041 (reports to s-2001): attitude, light, district north;"
        " clerk-1 has it"
    )
    assert first.rule == "KUN-5.4.1"
    answer = next(c for c in shown.commitments if c.id == "answer")
    assert (answer.rule, answer.text) == ("KUN-2.2.6", "due 4 Mar 09:00, 1 d 23 h left")
    assert "about s-1041 (reports to s-2001)" in drawn(shown)


def test_a_no_to_the_complainant_is_marked_as_one_that_is_reported_above() -> None:
    refusal = {"outcome": "not_upheld", "reason": "no_breach"}
    shown = complaint(
        [
            *investigated(),
            command(
                "DecideFinding",
                3,
                staff="s-1041",
                conduct_at=later(-1),
                evidence="tape:1",
                **refusal,
                **HANDLER,
            ),
            command("AnswerComplaint", 4, answer="letter:1", **refusal, **HANDLER),
        ],
        5,
    )
    texts = [e.text for e in shown.events]
    assert "found about s-1041: not upheld because of no_breach (否定报备) (tape:1)" in texts
    assert "answered: not upheld because of no_breach (否定报备) (letter:1)" in texts


def test_what_is_asked_shows_its_facts_who_may_decide_and_what_silence_means() -> None:
    shown = complaint(asked(), 5, ahead=10)
    (approval,) = shown.approvals
    assert approval.about == "more time for the answer"
    assert "until: 6 Mar 09:00" in approval.facts_text
    assert "reason: witness_away" in approval.facts_text
    assert approval.roles == ("supervisor",)
    assert {"s-77", "s-1041", "s-2001"} <= set(approval.barred)
    assert approval.due == NINE + 12 * HOUR
    assert approval.silence_text == "the division head may decide too"
    text = drawn(shown, width=100)
    assert "Asked: more time for the answer (extension-1, KUN-2.2.6), by s-77" in text
    assert "2 Mar 21:00; then the division head may decide too (超时默认, ADM-7)" in text
    goes_up = next(n for n in shown.next if n.text.startswith("extension-1"))
    assert goes_up.local == "2026-03-02T21:00:00+08:00"
    assert (goes_up.rule, goes_up.unless) == ("ADM-7", "somebody decides before")


def test_after_the_silence_the_role_above_may_decide_and_what_is_decided_is_told() -> None:
    later_on = complaint(asked(), 13)
    (approval,) = later_on.approvals
    assert approval.roles == ("supervisor", "division_head")
    assert approval.silence_text == "it stays open: it went up already"
    yes = command(
        "DecideApproval",
        14,
        who="s-9",
        role="division_head",
        approval="extension-1",
        decision="approve",
        facts_hash=approval.facts_hash,
    )
    shown = complaint([*asked(), yes], 15)
    texts = {e.text: e.rule for e in shown.events}
    assert texts["s-9 says yes to extension-1"] == "KUN-2.2.6"
    assert texts["extension-1 is approved"] == "KUN-2.2.6"
    assert "the answer is due 6 Mar 09:00 now (witness_away); the complainant is told" in texts
    assert "Asked:" not in drawn(shown)


def test_what_the_clock_or_another_case_sends_is_not_offered() -> None:
    offered = {*complaint(asked(), 5).possible, *staff([found("complaint-1", 0)], 1).possible}
    assert "AnswerComplaint" in offered
    assert not offered & {"AdoptComplaint", "RegisterComplaint", "RecordFinding", "DeadlinePassed"}


def test_a_staff_file_says_what_counts_today_and_what_a_proposal_rests_on() -> None:
    strikes = [found(f"complaint-{n}", 24 * n) for n in range(3)]
    shown = staff(strikes, 60)
    rules = GAS.policy.conduct
    assert rules is not None
    file = staff_file(shown, rules)
    assert (file.strikes, file.needed, file.window_months, file.marks) == (3, 3, 12, 3)
    assert [f.counts_now for f in file.findings] == [True, True, True]
    assert file.findings[0].text == (
        "counts as a strike; black mark on the board; oral warning is due"
    )
    assert (str(file.findings[0].counts_on), str(file.findings[0].counts_until)) == (
        "2026-03-02",
        "2027-03-02",
    )
    assert [p.state for p in file.proposals] == ["open"]
    proposal = next(e for e in shown.events if e.type == "ReassignmentProposed")
    assert proposal.rule == "WAT-3.2b"
    assert "on complaint-0, complaint-1, complaint-2; reply until 11 Mar 09:00" in proposal.text


def test_an_overturned_finding_counts_no_more() -> None:
    upheld, overturned = found("complaint-1", 0), found("complaint-1", 10)
    overturned["body"] |= {"revision": 2, "outcome": "not_upheld"}
    overturned["id"] = "complaint-1/asks/2"
    rules = GAS.policy.conduct
    assert rules is not None
    file = staff_file(staff([upheld, overturned], 20), rules)
    assert (file.strikes, file.marks) == (0, 0)
    assert file.findings[0].text.startswith("overturned: counts no more")


def test_every_kind_of_timeline_fits_eighty_columns() -> None:
    strikes = [found(f"complaint-{n}", 24 * n) for n in range(3)]
    reply = command("RecordReply", 61, who="s-1041", evidence="letter:9")
    for shown in (complaint(asked(), 100), staff([*strikes, reply], 400)):
        assert max(len(line) for line in drawn(shown).splitlines()) <= 80


def presence(case: str, hours: float, **fields: object) -> Json:
    """What a case tells its premises."""
    told = {"premises": "p-1", "case": case, "open": True, "revision": 1, **fields}
    system = {"subject": "standpipe", "role": "system", "proof": "system"}
    sent = command("RecordPresence", hours, **told)
    return sent | {"actor": system, "id": f"{case}/asks/{told['revision']}"}


def test_premises_tell_what_is_open_on_them_and_who_waits_for_it() -> None:
    told = [
        presence("arrears-1", 0),
        presence("repair-2", 1, outage=True),
        presence("complaint-3", 2),
        presence("complaint-3", 3, open=False, revision=2),
    ]
    shown = timeline_of("premises-town--p-1", GAS, told, 4)
    assert [e.text for e in shown.events] == [
        "premises p-1 are watched; unit gas-control-room has them",
        "arrears-1 is open here",
        "repair-2 is open here, an outage",
        "arrears-1 is to wait for the outage repair-2",
        "complaint-3 is open here",
        "arrears-1 is to wait for the case complaint-3",
        "complaint-3 is no longer open here",
        "arrears-1 need not wait any more (complaint-3.1)",
    ]
    assert shown.possible == ()
    head = " ".join(drawn(shown).split())
    assert "premises p-1; policy" in head
    assert "open here: arrears-1, repair-2" in head
    assert "arrears-1 waits for repair-2" in head


def test_a_case_says_on_which_premises_it_is() -> None:
    assert "district north, premises P-1;" in drawn(complaint([registered(premises="P-1")], 1))
    assert "premises" not in drawn(complaint([registered()], 1))
