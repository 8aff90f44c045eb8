"""CASME, CASME II, CAS(ME)^2, CAS(ME)^3, SAMM, MMEW, 4DME: trees, known faults, and what each has of its own."""

import shutil
from pathlib import Path

import openpyxl
import pytest

from auformer.data.manifest import read_manifest
from auformer.data_prep import prepare
from auformer.data_prep.datasets import casme2
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees import kinds, read
from tests.helpers.trees.casme import (
    CASME2_HEADER,
    CASME3_HEADER,
    write_casme,
    write_casme2,
    write_casme3,
    write_casme3_c,
    write_casme_sq,
)
from tests.helpers.trees.micro import (
    MMEW_HEADER,
    Clip,
    assert_clips,
    write_clips,
    write_fourdme,
    write_mmew,
    write_samm,
    write_table,
)


def corrected(findings: Findings) -> list[tuple[str, str]]:
    return [(row, text.split(" (")[0]) for _, row, text in findings.corrections]


@pytest.mark.parametrize(
    ("name", "write", "faults"),
    [
        ("casme", write_casme, [("40", "onset 90 -> 100"), ("40", "apex 95 -> 120"), ("40", "offset 99 -> 149")]),
        ("casme2", write_casme2, [("29", "apex / -> 279"), ("60", "apex / -> 78"), ("60", "offset 51 -> 91")]),
        ("casme3", write_casme3, [("128", "apex 300 -> 160"), ("750", "onset 0 -> 1"), ("750", "apex 0 -> 1")]),
        ("samm", write_samm, [("15", "au R12 or R15 -> R12 + R15"), ("56", "offset 5000 -> 5739"),
                              ("125", "apex / -> 1105")]),
        ("mmew", write_mmew, [("33", "apex 90 -> 40"), ("33", "offset 95 -> 75")]),
        ("fourdme", write_fourdme, [("144", "au AU12 -> AU4"), ("145", "au AU4 -> AU12")]),
        ("casme_sq", write_casme_sq, []),
    ],
)  # fmt: skip
def test_known_faults_are_corrected(tmp_path, name, write, faults):
    clips = write(tmp_path)
    rows, findings = read(name, tmp_path)
    assert_clips(rows, clips if name != "casme_sq" else clips[:3], tmp_path)
    assert corrected(findings) == faults and findings.incomplete == []
    if faults:
        assert read(name, tmp_path, corrections=False)[1].corrections == []
    assert len(prepare(name, tmp_path, None, dry_run=True).table) == len(rows)


def test_casme_without_corrections(tmp_path):
    clips = write_casme(tmp_path)
    rows, findings = read("casme", tmp_path, corrections=False)
    assert_clips(rows, clips[:2], tmp_path)
    assert findings.incomplete == [("CASME_raw_selected/sub04/EP19_1", "no image from 90 to 99; there are 100 to 149")]


def test_casme2_without_corrections(tmp_path):
    clips = write_casme2(tmp_path)
    clips[2].apex = clips[3].apex = None
    rows, findings = read("casme2", tmp_path, corrections=False)
    assert_clips(rows, clips, tmp_path)  # an offset before the onset: the folder's images
    found = [kind for kind, where, _ in findings.notes if where.endswith("row 62")]
    assert found == ["clip without a range", "frames without an image", "no apex"]


def test_casme3_without_corrections(tmp_path):
    clips = write_casme3(tmp_path)
    clips[3].apex = None  # 300, outside the clip
    clips[4].name, clips[4].onset, clips[4].apex = "e_0", 0, 0
    rows, findings = read("casme3", tmp_path, corrections=False)
    assert_clips(rows, clips, tmp_path)
    assert kinds(findings) == ["apex outside the clip", "frames without an image"]


def test_samm_without_corrections_leaves_an_or_open(tmp_path):
    clips = write_samm(tmp_path)
    clips[2].labels = {"AU12": -1, "AU15": -1}
    clips[4].apex = None
    rows, findings = read("samm", tmp_path, corrections=False)
    assert_clips(rows, clips, tmp_path)
    assert kinds(findings).count("ambiguous AU text") == 2


def test_mmew_and_4dme_without_corrections(tmp_path):
    clips = write_mmew(tmp_path / "mmew")
    clips[2].apex, clips[2].offset = 90, 95
    assert_clips(read("mmew", tmp_path / "mmew", corrections=False)[0], clips, tmp_path / "mmew")
    clips = write_fourdme(tmp_path / "4dme")
    clips[2].labels, clips[3].labels = clips[3].labels, clips[2].labels
    assert_clips(read("fourdme", tmp_path / "4dme", corrections=False)[0], clips, tmp_path / "4dme")


def test_casme_cropped(tmp_path):
    clips = write_casme(tmp_path)
    (tmp_path / "CASME_raw_selected").rename(tmp_path / "Cropped")
    for clip in clips:
        clip.folder = clip.folder.replace("CASME_raw_selected", "Cropped")
        for path in list((tmp_path / clip.folder).iterdir()):
            path.rename(path.with_name(f"reg_{path.name}"))
    with pytest.raises(DatasetLayoutError, match="images of CASME in"):
        read("casme", tmp_path)
    assert_clips(read("casme", tmp_path, cropped=True)[0], clips, tmp_path)


def test_casme2_cropped_and_a_clip_that_says_nothing(tmp_path):
    clips = write_casme2(tmp_path, cropped=True)
    wanted = r"images of CASME II in .* holds CASME2-coding-20140508.xlsx, Cropped/"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read("casme2", tmp_path)
    rows = read("casme2", tmp_path, cropped=True)[0]
    assert_clips(rows, clips, tmp_path)
    assert rows["source"].iloc[0].endswith("/sub01/EP02_01f/reg_img46.jpg")
    assert set(rows.loc[rows["sequence"] == "EP02_02f", casme2.RELEASE.au_names].to_numpy().ravel()) == {-1}


@pytest.mark.parametrize("folder", ["CASME2_RAW_selected/CASME2_RAW_selected", "CASME II/CASME2_RAW_selected", "."])
def test_other_places_of_the_images(tmp_path, folder):
    clips = write_casme2(tmp_path)
    shutil.move(tmp_path / "CASME2_RAW_selected", tmp_path / "moved")
    (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
    for subject in (tmp_path / "moved").iterdir():
        shutil.copytree(subject, tmp_path / folder / subject.name)
    shutil.rmtree(tmp_path / "moved")
    for clip in clips:
        clip.folder = clip.folder.replace("CASME2_RAW_selected/", f"{folder}/" if folder != "." else "")
    assert_clips(read("casme2", tmp_path)[0], clips, tmp_path)


def test_another_table(tmp_path):
    write_casme2(tmp_path)
    rows = [[*CASME2_HEADER[:7], "Objective Class"], [1, "EP02_01f"]]
    write_table(tmp_path / "CASME2-coding-20140508.xlsx", {"Sheet1": rows})
    with pytest.raises(DatasetLayoutError, match="a column 'Action Units' in row 1"):
        read("casme2", tmp_path)


def test_casme2_to_a_manifest(tmp_path):
    write_casme2(tmp_path / "release", faces=True)
    manifest = read_manifest(prepare("casme2", tmp_path / "release", tmp_path / "out", size=64).manifest)
    side = manifest.attrs["side"]
    assert set(manifest["status"]) == {"ok"} and set(manifest.loc[manifest["clip"] == "EP09_10", "apex"]) == {279}
    assert len(side["corrected"]) == 3 and "from its onset frame" in side["transform"]


def test_casme3_in_whole_videos(tmp_path):
    clips = write_casme3(tmp_path, videos=True)
    rows, findings = read("casme3", tmp_path)
    assert_clips(rows, clips, tmp_path)
    assert set(rows.loc[rows["sequence"] == "e_138", "AU4"]) == {0}  # a text of 0 is a neutral face
    assert findings.incomplete == [] and findings.absent == {"subjects": ["spNO.999"]}


def test_folders_of_clips_in_meb_s_copy(tmp_path):
    clips = write_casme3(tmp_path, videos=True)
    shutil.rmtree(tmp_path / "part_A")
    for clip, folder in zip(clips, ("spNO.1/a", "spNO.1/a2", "spNO.2/e", "spNO.39/b", "spNO.216/e"), strict=True):
        clip.folder = f"ME_A/{folder}/color"
    write_clips(tmp_path, clips, "{0}.jpg")
    assert_clips(read("casme3", tmp_path)[0], clips, tmp_path)


def test_a_clip_without_a_range_in_a_whole_video_is_left_out(tmp_path):
    clips = write_casme3(tmp_path, videos=True)
    table = tmp_path / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
    numbers = ([355, 356, 357, "4+7"], [402, 401, 400, "R12"], [None, 1, 2, "1"])
    write_table(table, {"label": [CASME3_HEADER, *(["spNO.1", "a", *row, "I", "x"] for row in numbers)]})
    rows, findings = read("casme3", tmp_path)
    assert_clips(rows, clips[:1], tmp_path)
    assert [(kind, text) for kind, _, text in findings.notes] == [
        ("clip without a range", "onset 402, offset 400; it is left out"),
        ("clip without a range", "onset empty, offset 2; it is left out"),
    ]
    write_table(table, {"Sheet1": [CASME3_HEADER]})
    with pytest.raises(DatasetLayoutError, match="a sheet 'label' in .* but it has 'Sheet1'"):
        read("casme3", tmp_path)


@pytest.mark.parametrize("videos", [True, False])
def test_part_c(tmp_path, videos):
    clips = write_casme3_c(tmp_path, videos=videos)
    rows, findings = read("casme3", tmp_path, part="C")
    assert_clips(rows, clips, tmp_path)
    assert findings.notes == [] and findings.corrections == []
    with pytest.raises(DatasetLayoutError, match="the table of CAS.ME.\\^3, part A"):
        read("casme3", tmp_path)


@pytest.mark.parametrize("videos", [False, True])
@pytest.mark.parametrize(("expressions", "some"), [("micro", slice(3)), ("macro", slice(3, 4)), ("both", slice(4))])
def test_expressions(tmp_path, videos, expressions, some):
    clips = write_casme_sq(tmp_path, videos=videos)
    rows, findings = read("casme_sq", tmp_path, expressions=expressions)
    assert_clips(rows, clips[some], tmp_path)
    assert kinds(findings) == ([] if expressions == "macro" else ["no offset", "no apex"])
    assert findings.incomplete == [] and findings.absent == {}


def edit(root: Path, sheet: str, cell: str | None = None, value: object = None) -> None:
    """Change a cell of the table of CAS(ME)^2, or remove a sheet."""
    book = openpyxl.load_workbook(root / "CAS(ME)^2code_final.xlsx")
    if cell is None:
        del book[sheet]
    else:
        book[sheet][cell] = value
    book.save(root / "CAS(ME)^2code_final.xlsx")


def test_naming_rules_that_lack_something(tmp_path):
    clips = write_casme_sq(tmp_path, videos=True)
    edit(tmp_path, "naming rule2", "B1", "anger9")
    rows, findings = read("casme_sq", tmp_path)
    assert_clips(rows, clips[2:3], tmp_path)
    assert findings.absent == {"subjects": ["s15"]}
    edit(tmp_path, "CASFEcode_final", "A3", 9)
    wanted = "row 3 to be about a participant of the sheet `naming rule1`, but got '9'; that sheet has 1, 3"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read("casme_sq", tmp_path)
    edit(tmp_path, "naming rule2")
    wanted = "a sheet 'naming rule2' in .* but it has 'CASFEcode_final', 'naming rule1'"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read("casme_sq", tmp_path)


def test_an_unknown_type_is_noted(tmp_path):
    clips = write_casme_sq(tmp_path)
    edit(tmp_path, "CASFEcode_final", "H1", "expression")
    rows, findings = read("casme_sq", tmp_path)
    assert_clips(rows, clips[1:3], tmp_path)
    assert findings.notes[0][:2] == ("type of expression not read", "CAS(ME)^2code_final.xlsx row 1")
    edit(tmp_path, "CASFEcode_final", "H4", None)
    with pytest.raises(DatasetLayoutError, match="rows of the type macro-expression"):
        read("casme_sq", tmp_path, expressions="macro")


@pytest.mark.parametrize("notes", [13, 0])
def test_samm_with_and_without_notes_above_the_header(tmp_path, notes):
    clips = write_samm(tmp_path, notes=notes)
    rows, findings = read("samm", tmp_path)
    assert_clips(rows, clips, tmp_path)
    assert rows["source"].iloc[0] == "SAMM/006/006_1_2/006_05562.jpg"
    assert [(where, text) for kind, where, text in findings.notes if kind == "ambiguous AU text"] == [
        (f"SAMM_Micro_FACS_Codes_v2.xlsx row {5 + notes}", "'4 + R14A or 17A': AU14, AU17 are -1")
    ]
    first = rows.drop_duplicates("sequence").set_index("sequence")
    assert first.loc["006_1_2", ["AU1_intensity", "AU14_intensity", "AU12_intensity"]].tolist() == [2, 1, 0]
    assert first["AU14_intensity"].isna().tolist() == [False, True, False, False, False]  # -1 in the second clip
    assert first["AU12_intensity"].fillna(-1).tolist() == [0, 0, -1, 3, 0]


def test_samm_s_root_may_be_the_folder_of_subjects(tmp_path):
    clips = write_samm(tmp_path)
    (tmp_path / "SAMM_Micro_FACS_Codes_v2.xlsx").rename(tmp_path / "SAMM" / "SAMM_Micro_FACS_Codes_v2.xlsx")
    for clip in clips:
        clip.folder = clip.folder.removeprefix("SAMM/")
    assert_clips(read("samm", tmp_path / "SAMM")[0], clips, tmp_path / "SAMM")
    (tmp_path / "SAMM" / "SAMM_Micro_FACS_Codes_v2.xlsx").rename(tmp_path / "SAMM_Micro_FACS_Codes_v2.xlsx")
    (tmp_path / "SAMM").rename(tmp_path / "elsewhere")
    wanted = "images of SAMM .* the folder holds SAMM_Micro_FACS_Codes_v2.xlsx, elsewhere/"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read("samm", tmp_path)


@pytest.mark.parametrize(
    ("value", "clip", "subject"),
    [(13, "x", "S13"), ("S4", "x", "S4"), (5, "s07-01-001", "S07"), (2.0, "02-01-001", "S02")],
)
def test_subjects_of_mmew(tmp_path, value, clip, subject):
    write_table(tmp_path / "MMEW_Micro_Exp.xlsx", {"Sheet1": [MMEW_HEADER, [value, clip, 1, 2, 3, "4", "anger"]]})
    write_clips(tmp_path, [Clip(subject, clip, f"Micro_Expression/anger/{clip}", [1, 2, 3], 1, 2, 3)], "{0}.jpg")
    assert set(read("mmew", tmp_path)[0]["subject"]) == {subject}


def test_4dme_s_texts_and_columns(tmp_path):
    clips = write_fourdme(tmp_path)
    rows, findings = read("fourdme", tmp_path)
    assert {"AU45", "AU12_left", "AU12_right"} <= set(rows.columns)
    differing = [note[1:] for note in findings.notes if note[0] == "AU text and AU columns differ"]
    assert differing == [("4DME_Labelling_Micro_release v1.xlsx row 3", "'L12+45': AU7; the text counts")]
    clips[0].labels["AU7"] = 1
    assert_clips(read("fourdme", tmp_path, keep_marked=True)[0], clips, tmp_path)
