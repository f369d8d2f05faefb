"""A company's file becomes commands: every row is taken in, or refused with all reasons."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.filings import (
    Filing,
    Reject,
    Row,
    admitted,
    check,
    events_of,
    open_filing,
    read_filing,
    write_rejects,
)
from gateway.mappings import FilingError, find_mapping, load_mapping, load_mappings
from gateway.policies import load
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES, Plan
from lifecycles.policies import Pinned, pinned
from schemas.envelope import OpenCase

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
MAPPINGS = load_mappings(ROOT / "policies" / "mappings")
NOW = datetime(2017, 1, 1, 12, tzinfo=UTC)
REPAIR = LIFECYCLES["repair"]

HEADER = (
    "leak Number,Reported Address,Cross Street,Town,Reported Date,15-SQ-05 Class,16-SQ-05 Class,"
    "Grade,Repaired Date,State"
)
GOOD = "900001,1 EXAMPLE ST,,NORTH TOWN,7/4/16,Not Discovered Yet,Not Discovered Yet,1,7/6/16,MA"

WriteFile = Callable[[bytes | str], Path]


@pytest.fixture(scope="module")
def gas() -> Pinned:
    return load("gas", ROOT / "policies")


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    def write_file(content: bytes | str) -> Path:
        file = tmp_path / "filing.csv"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return write_file


def opened(path: Path) -> Filing:
    return open_filing(path, MAPPINGS)


def read(path: Path, organisation: str = "boston") -> list[Row | Reject]:
    return list(read_filing(opened(path), organisation, NOW))


def line(**changed: str) -> str:
    """A good row with other fields, quoted where it must be."""
    fields = dict(zip(HEADER.split(","), GOOD.split(","), strict=True))
    assert not changed.keys() - fields.keys(), "no such column"
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow((fields | changed).values())
    return text.getvalue().removesuffix("\n")


def only(write: WriteFile, row: str) -> Row | Reject:
    [found] = read(write(f"{HEADER}\n{row}\n"))
    return found


def refused(write: WriteFile, row: str) -> tuple[str, ...]:
    found = only(write, row)
    assert isinstance(found, Reject)
    assert found.line == 2
    return found.reasons


def taken(write: WriteFile, row: str) -> Row:
    found = only(write, row)
    assert isinstance(found, Row)
    return found


def fails(path: Path) -> str:
    with pytest.raises(FilingError) as error:
        opened(path)
    return str(error.value)


# A row that makes sense


def test_a_repaired_leak_is_reported_at_eight_and_completed_at_five_by_the_clock_in_boston(
    write: WriteFile,
) -> None:
    row = taken(write, GOOD)
    actor = {"subject": "import", "role": "service", "proof": "import"}
    assert row.commands == [
        {
            "id": "import/boston-gas-2016/900001/report",
            "actor": actor,
            "occurred_at": "2016-07-04T12:00:00+00:00",
            "body": {
                "type": "ReportRepair",
                "channel": "filing",
                "category": "main-leak",
                "severity": "major",
                "asset": "leak-900001",
                "district": "north-town",
                "source": "boston-gas-2016/900001",
            },
        },
        {
            "id": "import/boston-gas-2016/900001/complete",
            "actor": actor,
            "occurred_at": "2016-07-06T21:00:00+00:00",
            "body": {"type": "CompleteRepair", "work": ["leak-repair"]},
        },
    ]
    assert (row.line, row.number, row.district, row.priority) == (2, "900001", "north-town", False)
    assert [REPAIR.command(raw).id for raw in row.commands] == [raw["id"] for raw in row.commands]


def test_an_open_leak_is_reported_and_no_more() -> None:
    rows = read(DATA / "leaks-open.csv")
    assert isinstance(rows[0], Row)
    assert [raw["body"]["type"] for raw in rows[0].commands] == ["ReportRepair"]


def test_the_grade_of_an_open_leak_is_the_latest_survey_s() -> None:
    rows = [row for row in read(DATA / "leaks-open.csv") if isinstance(row, Row)]
    assert [raw["body"]["severity"] for row in rows for raw in row.commands] == [
        "major",
        "common",
        "common",
    ]


@pytest.mark.parametrize(("day", "hour"), [("1/4/16", 13), ("7/4/16", 12)])
def test_winter_and_summer_time_are_told_apart(write: WriteFile, day: str, hour: int) -> None:
    row = taken(write, line(**{"Reported Date": day}))
    assert datetime.fromisoformat(row.commands[0]["occurred_at"]).hour == hour


def test_two_digits_of_a_year_from_69_on_are_the_last_century_s(write: WriteFile) -> None:
    row = taken(write, line(**{"Reported Date": "12/31/98"}))
    assert row.commands[0]["occurred_at"].startswith("1998-12-31")


@pytest.mark.parametrize("grade", ["2", "2A", "3"])
def test_every_grade_but_the_first_is_a_common_network_fault(
    write: WriteFile, gas: Pinned, grade: str
) -> None:
    made = check(taken(write, line(Grade=grade)), gas, NOW)
    assert isinstance(made, Plan)
    assert [c.rule for c in made.state.commitments] == ["KUN-2.2.3a"]


def test_the_first_grade_is_a_major_network_fault(write: WriteFile, gas: Pinned) -> None:
    made = check(taken(write, line(Grade="1")), gas, NOW)
    assert isinstance(made, Plan)
    assert [c.rule for c in made.state.commitments] == ["KUN-2.2.3b"]


def test_a_row_is_the_same_case_whenever_it_is_read_and_another_one_elsewhere(
    write: WriteFile,
) -> None:
    path = write(f"{HEADER}\n{GOOD}\n")
    first, again, elsewhere = (read(path, name)[0] for name in ("boston", "boston", "quincy"))
    assert isinstance(first, Row)
    assert isinstance(elsewhere, Row)
    assert first == again
    assert first.case_id != elsewhere.case_id
    assert "900001" not in first.case_id
    assert OpenCase(organisation="boston", case_id=first.case_id, policy="{}")


def test_the_address_stands_beside_the_commands_and_never_in_them(write: WriteFile) -> None:
    row = taken(write, line(**{"Reported Address": "12 ELM ST", "Cross Street": "OAK AVE"}))
    assert row.address == "12 ELM ST, OAK AVE, NORTH TOWN, MA"
    assert "ELM" not in str(row.commands)
    assert "ELM" not in repr(row)


@pytest.mark.parametrize(
    ("town", "district"),
    [("EAST BOSTON", "east-boston"), (" St. Mary's ", "st-mary-s"), ("CÔTÉ", "cote")],
)
def test_a_town_is_written_as_a_district_s_code(write: WriteFile, town: str, district: str) -> None:
    assert taken(write, line(Town=town)).district == district


# The forms that a file may have


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_line_ends_and_a_byte_order_mark_make_no_difference(
    write: WriteFile, start: str, end: str
) -> None:
    plain = (DATA / "leaks-repaired.csv").read_text(encoding="utf-8")
    assert read(write(start + plain.replace("\n", end))) == read(DATA / "leaks-repaired.csv")


def test_columns_may_stand_in_any_order_and_beside_others(write: WriteFile) -> None:
    with (DATA / "leaks-repaired.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*reversed(rows[0]), "Remark"], restval="x")
    writer.writeheader()
    writer.writerows(rows)
    assert read(write(text.getvalue())) == read(DATA / "leaks-repaired.csv")


def test_spaces_round_a_field_or_a_column_s_name_do_not_count(write: WriteFile) -> None:
    spaced = write(f"{HEADER.replace(',', ' , ')}\n{GOOD.replace(',', ' , ')}\n")
    assert read(spaced) == read(write(f"{HEADER}\n{GOOD}\n"))


def test_blank_lines_are_no_rows_and_lines_are_counted_as_an_editor_does(write: WriteFile) -> None:
    two_lines = line(**{"leak Number": "900002", "Reported Address": "2 ELM ST\nREAR"})
    last = line(**{"leak Number": "900003"})
    path = write(f"{HEADER}\n\n{GOOD}\n{two_lines}\n\n\n{last}\n")
    assert [row.line for row in read(path)] == [3, 4, 8]
    assert opened(path).rows == 3


def test_a_file_without_rows_is_read_as_none(write: WriteFile) -> None:
    assert read(write(HEADER)) == []


def test_rows_are_read_as_they_are_asked_for(write: WriteFile) -> None:
    path = write(f"{HEADER}\n{GOOD}\n")
    rows = read_filing(opened(path), "boston", NOW)
    path.write_text(f"{HEADER}\n{line(Grade='2')}\n")
    row = next(rows)
    assert isinstance(row, Row)
    assert row.commands[0]["body"]["severity"] == "common"


# Rows that make no sense


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"leak Number": ""}, "leak Number: missing."),
        ({"leak Number": "12 ELM ST"}, "leak Number: must look like [0-9]{1,12}."),
        ({"Reported Date": ""}, "Reported Date: missing."),
        ({"Reported Date": "4.7.2016"}, "Reported Date: no date; write one like 06/09/16."),
        ({"Reported Date": "7/4/2016"}, "Reported Date: no date; write one like 06/09/16."),
        ({"Reported Date": "2/30/16"}, "Reported Date: no date; write one like 06/09/16."),
        ({"Repaired Date": ""}, "Repaired Date: missing."),
        ({"Repaired Date": "1/1/30"}, "Repaired Date: lies in the future."),
        ({"Repaired Date": "1/1/17"}, "Repaired Date: lies in the future."),
        (
            {"Repaired Date": "7/3/16"},
            "Repaired Date: before Reported Date; correct one of them.",
        ),
        ({"Grade": "Missed"}, "Grade: unknown; known are 1, 2, 2A, 3."),
        ({"Grade": ""}, "Grade: unknown; known are 1, 2, 2A, 3."),
        ({"Town": " "}, "Town: missing, or nothing that a-z and 0-9 can write."),
        ({"Town": "安阳"}, "Town: missing, or nothing that a-z and 0-9 can write."),
    ],
)
def test_a_row_is_refused_with_its_reason(
    write: WriteFile, changed: dict[str, str], reason: str
) -> None:
    assert refused(write, line(**changed)) == (reason,)


def test_every_reason_is_given_at_once_and_none_repeats_the_row(write: WriteFile) -> None:
    reasons = refused(
        write,
        line(
            **{
                "leak Number": "99-ELM",
                "Reported Date": "99/99/99",
                "Repaired Date": "3/3/40",
                "Grade": "4-ELM",
                "Town": "!",
            }
        ),
    )
    assert [reason.split(":")[0] for reason in reasons] == [
        "leak Number",
        "Reported Date",
        "Repaired Date",
        "Grade",
        "Town",
    ]
    assert "99" not in str(reasons)
    assert "ELM" not in str(reasons)


def test_what_should_be_a_number_and_is_none_is_not_kept(write: WriteFile) -> None:
    found = only(write, line(**{"leak Number": "12 ELM ST"}))
    assert isinstance(found, Reject)
    assert found.number == ""


@pytest.mark.parametrize(("row", "fields"), [(f"{GOOD},more", 11), ("900001,1 ELM ST", 2)])
def test_a_row_of_another_width_is_refused_and_never_guessed_at(
    write: WriteFile, row: str, fields: int
) -> None:
    [reason] = refused(write, row)
    assert reason == f"It has {fields} fields, the header 10; quote commas inside one."


def test_a_number_that_stands_again_is_refused_and_its_first_line_named(write: WriteFile) -> None:
    other = line(**{"leak Number": "900002"})
    rows = read(write(f"{HEADER}\n{GOOD}\n{other}\n{GOOD}\n{line(Grade='9')}\n"))
    assert [type(row) for row in rows] == [Row, Row, Reject, Reject]
    assert isinstance(rows[2], Reject)
    assert isinstance(rows[3], Reject)
    again = "leak Number: stands already in line 2; each number may stand once."
    assert rows[2].reasons == (again,)
    assert rows[3].reasons == (again, "Grade: unknown; known are 1, 2, 2A, 3.")


def test_no_row_is_lost() -> None:
    path = DATA / "leaks-repaired.csv"
    assert [row.line for row in read(path)] == [2, 3, 4, 5, 6, 7]
    assert opened(path).rows == 6


def test_rejects_are_written_with_line_number_and_reasons_and_nothing_personal(
    write: WriteFile, tmp_path: Path
) -> None:
    path = write(f"{HEADER}\n{GOOD}\n{line(Grade='', **{'Reported Date': 'soon, ELM ST'})}\n")
    rejects = [row for row in read(path) if isinstance(row, Reject)]
    assert write_rejects(tmp_path / "rejects.csv", rejects) == 1
    with (tmp_path / "rejects.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["line", "number", "reasons"],
            [
                "3",
                "900001",
                "leak Number: stands already in line 2; each number may stand once."
                " Reported Date: no date; write one like 06/09/16."
                " Grade: unknown; known are 1, 2, 2A, 3.",
            ],
        ]


# Files that cannot be read


def test_missing_columns_are_all_named_for_the_closest_layout_first(write: WriteFile) -> None:
    said = fails(write("leak Number,Town,Reported Date,Repaired Date,State\n"))
    first = next(part for part in said.splitlines() if "lacks" in part)
    assert first.strip() == (
        "To be boston-gas-2016 (repaired), the header lacks: Reported Address, Cross Street,"
        " 15-SQ-05 Class, 16-SQ-05 Class, Grade."
    )


def test_a_file_without_a_header_is_refused_without_repeating_its_first_line(
    write: WriteFile,
) -> None:
    said = fails(write(f"{line(**{'Reported Address': '12 ELM ST'})}\n"))
    assert "the header lacks: leak Number" in said
    assert "ELM" not in said
    assert "900001" not in said


def test_a_column_that_stands_twice_is_refused(write: WriteFile) -> None:
    assert "The header names 'Town' twice." in fails(write(f"{HEADER},Town\n"))


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_an_empty_file_is_refused(write: WriteFile, content: str) -> None:
    assert "It is empty: the first line must name the columns." in fails(write(content))


def test_a_file_that_is_not_there_or_is_a_folder_is_refused(tmp_path: Path) -> None:
    assert "No such file or directory." in fails(tmp_path / "none.csv")
    assert "Is a directory." in fails(tmp_path)


def test_bytes_that_are_not_utf_8_are_named_by_line(write: WriteFile) -> None:
    bad = b"\n".join([HEADER.encode(), GOOD.encode(), *[b"90000\xe9,"] * 7])
    assert "Not UTF-8 text in line 3, 4, 5, 6, 7 and 2 more" in fails(write(bad))


def test_a_spreadsheet_s_utf_16_and_a_binary_file_are_refused(write: WriteFile) -> None:
    assert "Not UTF-8 text in line 1" in fails(write(f"{HEADER}\n{GOOD}\n".encode("utf-16")))
    assert "Not UTF-8 text in line 1" in fails(write(b"PK\x03\x04\x00\x00,\x00"))


@pytest.mark.parametrize(
    "row", [GOOD.replace("1 EXAMPLE ST", '"1 EXAMPLE ST'), GOOD.replace("1 EX", '"1" EX')]
)
def test_a_quote_that_swallows_rows_is_found_before_anything_starts(
    write: WriteFile, row: str
) -> None:
    said = fails(write(f"{HEADER}\n{GOOD}\n{row}\n{GOOD}\n{GOOD}\n"))
    assert "The row that begins on line 3 is not CSV" in said
    assert "EXAMPLE" not in said


def test_everything_that_is_wrong_with_a_file_is_said_at_once(
    write: WriteFile, gas: Pinned
) -> None:
    header = HEADER.replace("Grade", "Class")
    bad = f'{header}\n{GOOD}\n"900002,'.encode() + b"\xff"
    with pytest.raises(FilingError) as error:
        open_filing(write(bad), MAPPINGS, [gas])
    said = str(error.value)
    assert "The row that begins on line 3 is not CSV" in said
    assert "Not UTF-8 text in line 3" in said
    assert "(repaired), the header lacks: Grade." in said


def test_a_policy_that_does_not_know_the_mapping_s_categories_is_refused(gas: Pinned) -> None:
    water = load("water", ROOT / "policies")
    with pytest.raises(FilingError) as error:
        open_filing(DATA / "leaks-open.csv", MAPPINGS, [gas, water])
    assert "Policy water does not know the categories that the mapping names: main-leak" in str(
        error.value
    )
    assert "Policy gas" not in str(error.value)


def test_a_file_that_is_cut_while_it_is_read_is_noticed(write: WriteFile) -> None:
    path = write(f"{HEADER}\n{GOOD}\n")
    filing = opened(path)
    path.write_text(f'{HEADER}\n"900001,')
    with pytest.raises(FilingError, match="changed while it was read"):
        list(read_filing(filing, "boston", NOW))


# Mappings


def test_the_shipped_mapping_is_found_by_the_header_of_either_file() -> None:
    assert opened(DATA / "leaks-repaired.csv").layout.name == "repaired"
    assert opened(DATA / "leaks-open.csv").layout.name == "open"


def test_without_a_mapping_one_is_asked_for() -> None:
    with pytest.raises(FilingError, match="--map"):
        find_mapping(["Town"], [])


def test_a_header_that_fits_several_mappings_is_not_guessed_at(tmp_path: Path) -> None:
    shipped = ROOT / "policies" / "mappings" / "boston-gas-2016.toml"
    text = shipped.read_text(encoding="utf-8")
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(text.replace("boston-gas-2016", name, 1))
    with pytest.raises(FilingError) as error:
        open_filing(DATA / "leaks-open.csv", load_mappings(tmp_path))
    assert "fits several mappings: a (open), b (open)" in str(error.value)


def test_all_that_is_wrong_with_a_mapping_is_said_at_once(tmp_path: Path) -> None:
    shipped = (ROOT / "policies" / "mappings" / "boston-gas-2016.toml").read_text(encoding="utf-8")
    file = tmp_path / "mapping.toml"
    file.write_text(
        shipped.replace("America/New_York", "Boston/Common")
        .replace("%m/%d/%y", "%m/%y")
        .replace('severity = "major"', 'severity = "awful"')
        .replace("[0-9]{1,12}", "[0-9")
        .replace('grade = "Grade"', 'grade = "Class"')
        .replace("title =", "titel =")
    )
    with pytest.raises(FilingError) as error:
        load_mapping(file)
    said = str(error.value)
    for place in (
        "time_zone: is no IANA time zone",
        "dates: write how a date is written",
        "grades.1.severity",
        "numbers: is no regular expression",
        "layouts.0: columns does not list 'Class'",
        "titel",
        "title",
    ):
        assert place in said


@pytest.mark.parametrize("content", [b"source = ", b"\xff"])
def test_a_mapping_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mapping.toml"
    file.write_bytes(content)
    with pytest.raises(FilingError, match="is not TOML"):
        load_mapping(file)


def test_a_mapping_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FilingError, match="No such file"):
        load_mapping(tmp_path / "none.toml")


# What the lifecycle makes of them


def with_repair(gas: Pinned, **changed: Any) -> Pinned:
    content = gas.policy.model_dump(mode="json")
    content["repair"] |= changed
    return pinned(type(gas.policy).model_validate(content).model_dump_json())


def test_a_row_that_the_lifecycle_refuses_is_refused_with_its_reasons(gas: Pinned) -> None:
    strict = with_repair(
        gas, party_channels=["filing"], required_contact={"filing": ["name", "phone"]}
    )
    rows = list(admitted(opened(DATA / "leaks-open.csv"), "boston", strict, NOW))
    assert isinstance(rows[0], Reject)
    assert rows[0].line == 2
    assert "a party is needed" in rows[0].reasons[0]
    assert "Record the customer's name, phone" in rows[0].reasons[1]
    # The second command's refusal says no more than that there is no case: it is given too.
    assert all(isinstance(row, Reject) for row in rows)


def test_rows_that_the_lifecycle_takes_are_given_as_they_are(gas: Pinned) -> None:
    filing = opened(DATA / "leaks-repaired.csv")
    rows = list(admitted(filing, "boston", gas, NOW))
    assert rows == list(read_filing(filing, "boston", NOW))
    assert [type(row) for row in rows] == [Row, Row, Row, Row, Reject, Reject]


def test_a_case_s_events_come_in_business_order_with_the_deadlines_between(
    write: WriteFile, gas: Pinned
) -> None:
    events = events_of(taken(write, GOOD), gas, NOW)
    assert [event["type"] for event in events] == [
        "RepairReported",
        "CommitmentStarted",
        "EscalationRaised",
        "EscalationRaised",
        "EscalationRaised",
        "CommitmentBroken",
        "EscalationRaised",
        "RepairCompleted",
        "CommitmentMetLate",
        "RepairClosed",
    ]
    assert [event["rung"] for event in events if event["type"] == "EscalationRaised"] == [
        1,
        2,
        3,
        4,
    ]


def test_events_are_valid_although_some_are_made_unchecked(gas: Pinned) -> None:
    rows = [*read(DATA / "leaks-repaired.csv"), *read(DATA / "leaks-open.csv")]
    for row in rows:
        if isinstance(row, Row):
            made = check(row, gas, NOW)
            assert isinstance(made, Plan)
            bodies = events_of(row, gas, NOW)
            told = [event for step in made.steps for event in step.events]
            assert [REPAIR.event(body) for body in bodies] == told
            initial = REPAIR.initial(row.case_id, row.organisation, *gas)
            assert REPAIR.fold(initial, told) == made.state


def test_the_events_of_a_row_that_the_lifecycle_refuses_are_asked_for_in_vain(
    write: WriteFile, gas: Pinned
) -> None:
    with pytest.raises(Rejected, match="a party is needed"):
        events_of(taken(write, GOOD), with_repair(gas, party_channels=["filing"]), NOW)
