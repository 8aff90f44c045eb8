"""Spreadsheets: columns by name and by position, both formats, formulas, and files that are damaged or mean harm."""

import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from auformer.data_prep.formats.sheets import cell_number, cell_text, place, read_sheet
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
    with pytest.raises(DatasetLayoutError, match="holds nothing"):
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
    "content",
    [b"", b"hello", b"PK\x03\x04 junk", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), b"Subject,OnsetF\n1,2\n"],
)
@pytest.mark.parametrize("name", ["a.xlsx", "a.xls"])
def test_no_spreadsheet(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetLayoutError, match=f"a spreadsheet at .*{name}, but it cannot be read"):
        read_sheet(tmp_path / name, columns=COLUMNS)


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
