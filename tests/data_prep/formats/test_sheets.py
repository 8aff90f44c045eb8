"""Spreadsheets: columns by name and by position, both formats, formulas, and files that are damaged or mean harm."""

import datetime
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from auformer.data.cells import cell_text
from auformer.data_prep.formats.clips import without_dates
from auformer.data_prep.formats.sheets import cell_number, place, read_sheet
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError, MissingExtraError
from tests.helpers.trees.micro import write_table

COLUMNS = {"subject": ("Subject", "sub"), "onset": ("Onset Frame", "OnsetF"), "au": ("Action Units",)}
HEAD = ["Subject ", None, "OnsetFrame", "'action units'"]
SHEET, STRINGS = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"


def table(tmp_path: Path, *rows: list[object], sheet: str = "label") -> Path:
    return write_table(tmp_path / "table é 1.xlsx", {sheet: rows})


def test_columns_by_their_spellings(tmp_path):
    path = table(tmp_path, HEAD, [1, "x", 46.0, " 4+L12 "], [], [2, None, "/", None])
    frame = read_sheet(path, columns=COLUMNS)
    assert frame[list(COLUMNS)].values.tolist() == [[1, 46, "4+L12"], [2, "/", None]]
    assert [place(frame, row) for row in frame.index] == ["table é 1.xlsx row 2", "table é 1.xlsx row 4"]


def test_columns_by_position(tmp_path):
    path = table(tmp_path, [1, "a", 3], [2, "b"])
    frame = read_sheet(path, header=None, columns={"name": (1,), "last": (2,), "more": (9,)}, optional=("more",))
    assert frame.values.tolist() == [["a", 3, None], ["b", None, None]]
    assert place(frame, 1).endswith("row 2")
    with pytest.raises(DatasetLayoutError, match="at least 5 columns in table é 1.xlsx, sheet 'label', but it has 3"):
        read_sheet(path, header=None, columns={"name": (4,)})


@pytest.mark.parametrize("stated", [0, 2, 5])
def test_a_header_below_notes_is_found(tmp_path, stated):
    path = table(tmp_path, ["SAMM notes"], [], HEAD, [1, None, 46, "4"])
    frame = read_sheet(path, columns=COLUMNS, header=stated)
    assert frame.loc[0].tolist() == [1, 46, "4"] and place(frame, 0).endswith("row 4")


def test_a_sheet_by_name_and_a_missing_one(tmp_path):
    path = write_table(tmp_path / "t.xlsx", {"about": [["notes"]], "Label ": [HEAD, [1, None, 2, "4"]]})
    assert len(read_sheet(path, columns=COLUMNS, sheet="label")) == 1
    with pytest.raises(DatasetLayoutError, match="a sheet 'labels' in .*t.xlsx, but it has 'about', 'Label '"):
        read_sheet(path, columns=COLUMNS, sheet="labels")


def test_a_missing_column_names_those_there(tmp_path):
    path = table(tmp_path, ["Subject", "OnsetF", None, "AU"], [1, 2, 3, 4])
    wanted = "a column 'Action Units' in row 1 .* that row holds 'Subject', 'OnsetF', 'AU'"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read_sheet(path, columns=COLUMNS)
    assert read_sheet(path, columns=COLUMNS, optional=("au",))["au"].tolist() == [None]
    with pytest.raises(DatasetLayoutError, match="is empty"):
        read_sheet(write_table(tmp_path / "empty.xlsx", {"s": []}), columns=COLUMNS)


def test_formulas_are_not_evaluated(tmp_path):
    path = table(tmp_path, HEAD, [1, None, "=1+45", "4"], [2, None, None, "4"], [3, None, 5, '=HYPERLINK("http://x")'])
    findings = Findings()
    frame = read_sheet(path, columns=COLUMNS, findings=findings)
    assert frame["onset"].tolist() == [None, None, 5] and frame["au"].tolist() == ["4", "4", None]
    assert [(kind, where, text.split()[0]) for kind, where, text in findings.notes] == [
        ("formula without a stored value", "table é 1.xlsx row 2", "onset"),
        ("formula without a stored value", "table é 1.xlsx row 4", "au"),
    ]


def test_a_stored_value_of_a_formula_is_read(tmp_path):
    path = table(tmp_path, HEAD, [1, None, "=1+45", "4"])
    _replace(path, SHEET, lambda text: re.sub("<v></v>|<v />", "<v>46</v>", text))
    findings = Findings()
    assert read_sheet(path, columns=COLUMNS, findings=findings)["onset"].tolist() == [46] and findings.notes == []


def test_a_wrong_stated_size_cuts_nothing_off(tmp_path):
    path = table(tmp_path, HEAD, *[[number, None, number, "4"] for number in range(5)])
    _replace(path, SHEET, lambda text: text.replace('<dimension ref="A1:D6"', '<dimension ref="A1:B2"'))
    assert read_sheet(path, columns=COLUMNS)["onset"].tolist() == [0, 1, 2, 3, 4]


def test_strings_that_cells_share(tmp_path):
    """Spreadsheet programs keep texts in a part of their own, openpyxl in the cells."""
    path = table(tmp_path, HEAD, [1, None, 2, "4+L12"])
    _share_strings(path)
    _replace(path, STRINGS, lambda text: text.replace("<t>4+L12</t>", "<r><t>4+</t></r><r><t>L12</t></r>"))
    assert read_sheet(path, columns=COLUMNS).to_dict("index") == {0: {"subject": 1, "onset": 2, "au": "4+L12"}}


def _share_strings(path: Path) -> None:
    """Move the texts of a spreadsheet with one sheet to `xl/sharedStrings.xml`."""
    texts: list[str] = []

    def share(cell: re.Match[str]) -> str:
        texts.append(f"<si><t>{cell[2]}</t></si>")
        return f'<c r="{cell[1]}" t="s"><v>{len(texts) - 1}</v></c>'

    _replace(path, SHEET, lambda part: re.sub(r'<c r="(\w+)" t="inlineStr"><is><t>([^<]*)</t></is></c>', share, part))
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    entry = f'<Override PartName="/{STRINGS}" ContentType="{kind}"/></Types>'
    _replace(path, "[Content_Types].xml", lambda part: part.replace("</Types>", entry))
    name = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(STRINGS, f'<sst xmlns="{name}">{"".join(texts)}</sst>')


def _record(code: int, data: bytes) -> bytes:
    return struct.pack("<HH", code, len(data)) + data


def test_an_old_format(tmp_path):
    """The oldest `.xls`, a stream of records: BOF, cells (row, column, three bytes of style, content), EOF."""
    texts = ((0, 0, "Subject"), (0, 1, "OnsetF"), (0, 2, "Action Units"), (1, 2, "4+L12"))
    cells = [_record(0x0004, struct.pack("<HH3xB", *at, len(text)) + text.encode()) for *at, text in texts]
    cells += [_record(0x0003, struct.pack("<HH3xd", 1, at, value)) for at, value in ((0, 1.0), (1, 46.0))]
    path = tmp_path / "CASME2_label_Ver_2.xls"
    path.write_bytes(_record(0x0009, struct.pack("<HH", 2, 0x10)) + b"".join(cells) + _record(0x000A, b""))
    assert read_sheet(path, columns=COLUMNS).to_dict("index") == {0: {"subject": 1, "onset": 46, "au": "4+L12"}}


@pytest.mark.parametrize(
    ("value", "text", "number"),
    [
        (None, "", None), (float("nan"), "", None), (4, "4", 4), (4.0, "4", 4), (4.5, "4.5", None), ("46", "46", 46),
        (" 46.0", "46.0", 46), ("/", "/", None), ("-3", "-3", -3), (True, "True", None), ("١٢", "١٢", None),
        ("9" * 40, "9" * 40, None), (1e300, str(int(1e300)), None),
    ],
)  # fmt: skip
def test_cells(value, text, number):
    assert (cell_text(value), cell_number(value)) == (text, number)


def _replace(path: Path, part: str, change: Callable[[str], str]) -> None:
    """Change one part of an `.xlsx`."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    before = parts[part].decode()
    parts[part] = change(before).encode()
    assert parts[part] != before.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 junk", "a spreadsheet at .*, but it cannot be read"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a spreadsheet at .*, but it cannot be read"),
        (b"Subject,OnsetF\n1,2\n", "a column 'Action Units' in row 1 .* holds 'Subject', 'OnsetF'"),
        (b"<html><table><tr><td>Subject</td></tr></table>", "this is a web page with a table"),
        (b"$FL2@(#) SPSS", "this is an SPSS file: save it there as CSV"),
        (b"\x7fELF\0\0\1\2", "this is no text"),
    ],
)
@pytest.mark.parametrize("name", ["a.xlsx", "a.xls"])
def test_no_spreadsheet(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetLayoutError, match=message) as caught:
        read_sheet(tmp_path / name, columns=COLUMNS)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (("mimetype", "application/vnd.oasis.opendocument.spreadsheet"), "an OpenDocument spreadsheet: save it as"),
        (("xl/workbook.bin", "x"), "a binary spreadsheet"),
        (("Index/Document.iwa", "x"), "a spreadsheet of Numbers"),
    ],
)
def test_spreadsheets_of_other_programs(tmp_path, part, message):
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr(*part)
    with pytest.raises(DatasetLayoutError, match=message):
        read_sheet(tmp_path / "a.xlsx", columns=COLUMNS)


def test_a_table_saved_as_text(tmp_path):
    path = tmp_path / "CASME2.xls"  # many programs call text so
    path.write_bytes("Notes;;\r\n\r\nSubject;OnsetF;Action Units\r\n1;46;4+L12\r\n;;\r\n2;/;\r\n".encode("utf-16"))
    frame = read_sheet(path, columns=COLUMNS)
    assert frame.to_dict("index") == {
        0: {"subject": "1", "onset": "46", "au": "4+L12"}, 2: {"subject": "2", "onset": "/", "au": None},
    }  # fmt: skip
    assert place(frame, 2) == "CASME2.xls row 6"


def test_the_sheet_with_the_columns_is_read_wherever_it_stands(tmp_path):
    sheets = {"about": [["notes"]], "macro": [["Subject", "Onset"]], "label": [HEAD, [1, None, 2, "4"]]}
    findings = Findings()
    path = write_table(tmp_path / "t.xlsx", sheets)
    assert read_sheet(path, columns=COLUMNS, findings=findings).loc[0].tolist() == [1, 2, "4"]
    assert findings.notes == [("sheets of a table", "t.xlsx", "'label' of 3 has the columns and is read")]
    book = openpyxl.load_workbook(path)
    book.copy_worksheet(book["label"]).title = "label (2)"
    book.save(path)
    with pytest.raises(DatasetLayoutError, match=r"the sheets 'label' and 'label \(2\)' both hold such a table"):
        read_sheet(path, columns=COLUMNS)
    book["label (2)"].sheet_state = "hidden"
    book.save(path)
    assert len(read_sheet(path, columns=COLUMNS)) == 1


def test_merged_cells_give_their_value_to_all_their_rows(tmp_path):
    path = table(tmp_path, HEAD, [6, None, 10, "4"], [None, None, 20, "12"], [7, None, 30, None], [None] * 4)
    book = openpyxl.load_workbook(path)
    for cells in ("A2:A3", "C4:D4", "A5:D5"):
        book.active.merge_cells(cells)
    book.active["A5"] = "the end"
    book.save(path)
    findings = Findings()
    rows = read_sheet(path, columns=COLUMNS, findings=findings)[list(COLUMNS)].values.tolist()
    assert rows == [[6, 10, "4"], [6, 20, "12"], [7, 30, 30], ["the end", None, None]]
    assert [(kind, text) for kind, _, text in findings.notes] == [
        ("merged cells", "3 in sheet 'label'; each row has their value")
    ]


@pytest.mark.parametrize(
    ("day", "form", "codes"),
    [
        ((2014, 5, 4), "d-mmm", "4+5"),
        ((2014, 12, 1), "d/m", "1+12"),
        ((2025, 4, 1), "mmm-yy", "4+25"),
        ((2014, 5, 4), "[$-407]d/ mmm;@", "4+5"),
        ((2012, 5, 4), "dd.mm.yyyy", None),
        ((2012, 5, 4), "General", None),
    ],
)
def test_codes_that_had_become_a_date(tmp_path, day, form, codes):
    path = table(tmp_path, HEAD, [1, None, 2, datetime.datetime(*day)])
    book = openpyxl.load_workbook(path)
    book.active["D2"].number_format = form
    book.save(path)
    frame = read_sheet(path, columns=COLUMNS)
    if form == "General":  # the number of a day, as no code is
        assert frame.at[0, "au"] == 41033
        return
    if codes is not None:
        assert without_dates(frame, findings := Findings()).at[0, "au"] == codes
        assert findings.notes == [
            ("AU codes that had become a date", "table é 1.xlsx row 2", f"{day[0]}-{day[1]:02}-{day[2]:02} is {codes}")
        ]
        return
    with pytest.raises(DatasetLayoutError, match=r"row 2: expected action units, but got the date 2012-05-04"):
        without_dates(frame, Findings())


def test_a_date_in_the_place_of_a_frame_is_refused(tmp_path):
    frame = read_sheet(table(tmp_path, HEAD, [1, None, datetime.datetime(2014, 5, 4), "4"]), columns=COLUMNS)
    with pytest.raises(DatasetLayoutError, match=r"row 2: expected onset to be a number or a name, but got the date"):
        without_dates(frame, Findings())


@pytest.mark.parametrize("cut", [0.3, 0.7, 0.99])
def test_a_half_copied_or_missing_file(tmp_path, cut):
    path = table(tmp_path, HEAD, [1, None, 2, "4"])
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(DatasetLayoutError, match="cannot be read"):
        read_sheet(path, columns=COLUMNS)
    with pytest.raises(DatasetLayoutError, match="but there is none"):
        read_sheet(tmp_path / "a.xlsx", columns=COLUMNS)


LAUGHS = '<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 50}">' for before, name in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize("entities", [LAUGHS, '<!ENTITY g SYSTEM "file:///etc/hostname">'])
@pytest.mark.parametrize("part", [SHEET, "xl/workbook.xml", "xl/styles.xml", STRINGS, "[Content_Types].xml"])
def test_entities_are_not_expanded(tmp_path, part, entities):
    path = table(tmp_path, HEAD, [1, None, 2, "4"])
    _share_strings(path)
    head = re.compile(r"^(<\?.*?\?>)?\s*", re.DOTALL)
    _replace(path, part, lambda text: head.sub(f"<!DOCTYPE x [{entities}]>", text, count=1).replace(">1<", ">&g;<"))
    with pytest.raises(DatasetLayoutError, match="cannot be read .EntitiesForbidden"):
        read_sheet(path, columns=COLUMNS)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = table(tmp_path, HEAD, [1, None, 2, "4"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/image1.png", bytes(9 * 2**20))
    wanted = r"is refused: its part 'xl/media/image1.png' unpacks .* to 9,437,184 bytes"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read_sheet(path, columns=COLUMNS)


def test_a_row_number_beyond_every_spreadsheet(tmp_path):
    path = table(tmp_path, HEAD, [1, None, 2, "4"])
    _replace(path, SHEET, lambda text: text.replace('<row r="2"', '<row r="99999999"'))
    with pytest.raises(DatasetLayoutError, match="at most 1,048,576 rows"):
        read_sheet(path, columns=COLUMNS)


def test_openpyxl_without_defusedxml_is_refused(tmp_path, monkeypatch):
    path = table(tmp_path, HEAD, [1, None, 2, "4"])
    monkeypatch.setattr(openpyxl, "DEFUSEDXML", False)
    with pytest.raises(DatasetLayoutError, match="OPENPYXL_DEFUSEDXML"):
        read_sheet(path, columns=COLUMNS)
    monkeypatch.setitem(__import__("sys").modules, "defusedxml", None)
    with pytest.raises(MissingExtraError, match=r"\[prepare\]"):
        read_sheet(path, columns=COLUMNS)
