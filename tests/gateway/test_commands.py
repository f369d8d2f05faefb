"""Commands from words: composed values of many, and which commands are nobody's to send."""

import pytest

from gateway import commands
from gateway.commands import Invalid
from gateway.fields import fields, usage

SCREEN = commands.models("complaint")["ScreenComplaint"]
OVERTURN = commands.models("complaint")["OverturnDecision"]


def body(name: str, *words: str) -> commands.Json:
    model = commands.models("complaint")[name]
    given, wrong = commands.options(words, fields(model))
    assert not wrong
    return commands.body(model, name, given)


def test_a_value_of_many_is_put_together_with_colons_and_commas() -> None:
    words = ("--category", "late", "--gravity", "light", "--accused", "s-1", "--accused")
    made = body("ScreenComplaint", *words, "s-2:s-9,s-3")
    assert made["accused"] == [
        {"staff": "s-1", "reports_to": None},
        {"staff": "s-2", "reports_to": "s-9"},
        {"staff": "s-3", "reports_to": None},
    ]
    assert usage(SCREEN).endswith("[--accused STAFF[:REPORTS_TO][,…]]")


def test_findings_of_the_level_above_are_given_in_the_order_of_their_parts() -> None:
    words = ("--outcome", "upheld", "--reason", "tape", "--answer", "letter:1", "--findings")
    made = body("OverturnDecision", *words, "s-1:upheld:serious:breach_of_rules,s-2:not_upheld")
    first, second = made["findings"]
    assert (first["gravity"], first["cause"]) == ("serious", "breach_of_rules")
    assert (second["staff"], second["outcome"]) == ("s-2", "not_upheld")
    assert "STAFF:OUTCOME[:GRAVITY][:CAUSE]" in usage(OVERTURN)


def test_a_wrong_part_is_told_by_its_name_with_the_whole_form() -> None:
    with pytest.raises(Invalid) as refused:
        body("OverturnDecision", "--findings", "s-1", "--findings", "S 2!:perhaps")
    told = [r for r in refused.value.reasons if r.startswith("--findings")]
    form = "write STAFF:OUTCOME[:GRAVITY][:CAUSE][,…]"
    assert told == [
        f"--findings: OUTCOME is missing; {form}",
        "--findings: STAFF must be a staff number, crew or unit, such as crew-7:"
        f" letters, digits and ._:-; {form}",
        f"--findings: OUTCOME must be one of upheld, partly_upheld, not_upheld; {form}",
    ]
    assert not any("perhaps" in r or "S 2" in r for r in refused.value.reasons)


@pytest.mark.parametrize("kind", commands.KINDS)
def test_every_command_for_people_can_be_written_as_options(kind: str) -> None:
    for name, model in commands.models(kind).items():
        assert "TEXT" not in usage(model), name
        assert "integer" not in usage(model), name


def test_what_the_clock_and_other_cases_send_is_not_for_people() -> None:
    known = {name for kind in commands.KINDS for name in commands.models(kind)}
    assert not known & {"RecordFinding", "AdoptComplaint", "RankYear", "DeadlinePassed"}
    assert {"DecideApproval", "AnswerComplaint", "RecordReply", "RecordImprovement"} <= known


def test_amounts_currencies_and_days_are_told_as_such() -> None:
    known = commands.models("arrears")
    assert usage(known["RecordPayment"]) == (
        "--payment REFERENCE --amount NUMBER --currency CURRENCY --paid-at TIME"
    )
    model = known["AgreePlan"]
    words = ("--instalments", "6000:2026-05-01,6000:2026-06-01", "--consent", "letter:1")
    given, wrong = commands.options(words, fields(model))
    assert not wrong
    assert commands.body(model, "AgreePlan", given)["instalments"] == [
        {"amount": 6000, "due": "2026-05-01"},
        {"amount": 6000, "due": "2026-06-01"},
    ]
    with pytest.raises(Invalid) as refused:
        commands.body(model, "AgreePlan", {"instalments": [{"amount": "9.5", "due": "soon"}]})
    told = [r for r in refused.value.reasons if r.startswith("--instalments")]
    assert told[:2] == [
        "--instalments: AMOUNT must be a whole number; of money in the smallest unit, such as fen;"
        " write AMOUNT:DUE[,…]",
        "--instalments: DUE must be a day, such as 2026-05-01; write AMOUNT:DUE[,…]",
    ]


def test_what_opens_an_arrears_case_or_needs_a_look_into_the_log_is_not_for_people() -> None:
    known = commands.models("arrears")
    assert not {"OpenArrears", "AddBills", "IssuePermit"} & known.keys()
    assert {"RecordValveClosed", "PlaceHold", "AuthoriseCutoff"} <= known.keys()
