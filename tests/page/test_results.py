"""What the page sends of a predictions file, what it writes for download, and a second file beside it."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auformer.annotations.videos import collect, episode_table
from auformer.cli import main
from auformer.data.images import write_image
from auformer.data.manifest import write_predictions
from auformer.page.downloads import FORMATS
from auformer.page.results import find_tables, open_result
from auformer.page.statement import card_of, statement
from auformer.predict.compare import read_predictions
from tests.helpers.annotated import AUS, NAME, rows, talk, write_film, write_predictions_of
from tests.helpers.page import Client, Served, wait_for
from tests.helpers.predicting import make_checkpoint, make_clips, options

TYPES = {"float64": "<f8", "int32": "<i4", "uint8": "|u1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Predictions with boxes, and their video."""
    out = tmp_path / "out"
    out.mkdir()
    table = talk()
    seen = table["status"] == "ok"
    for place, name in enumerate(("x", "y", "w", "h")):
        table[name] = np.where(seen, 2.0 * place + table["face"] * 30 + table["frame"] / 4, np.nan)
    write_predictions(table, out / "predictions.csv", {"thresholds": {"AU1": 0.5, "AU12": 0.4}, "au_names": [*AUS]})
    write_film(out / NAME)
    return out


@pytest.fixture
def served(folder: Path, tmp_path: Path):
    found = Served(tmp_path, results=[("out", folder / "predictions.csv")])
    yield found
    found.close()


@pytest.fixture
def client(served: Served) -> Client:
    return Client(served)


def decode(data: bytes) -> dict:
    """The values of a source with its arrays."""
    (length,) = struct.unpack_from("<I", data)
    head = json.loads(data[4 : 4 + length])
    assert (4 + length) % 8 == 0

    def filled(value):
        if isinstance(value, dict) and set(value) == {"type", "at", "length"}:
            assert value["at"] % 8 == 0
            return np.frombuffer(data, TYPES[value["type"]], value["length"], 4 + length + value["at"])
        if isinstance(value, dict):
            return {name: filled(each) for name, each in value.items()}
        return [filled(each) for each in value] if isinstance(value, list) else value

    return filled(head)


def test_a_source_is_what_the_file_says(client: Client, folder: Path) -> None:
    (item,) = client.items()
    status, _, data = client.ask("GET", f"/api/items/{item['id']}/sources/0")
    found, table = decode(data), read_predictions(folder / "predictions.csv")
    assert status == 200 and found["numbers"].tolist() == list(range(21))
    assert np.allclose(found["times"], np.arange(21) / 25) and found["media"]["plays"] is False  # MPEG-4 Part 2
    assert (found["media"]["width"], found["media"]["height"], found["media"]["codec"]) == (64, 48, "mpeg4")
    for person in found["people"]:
        own = table[(table["face"] == person["face"]) & (table["status"] == "ok")]
        assert found["numbers"][person["places"]].tolist() == own["frame"].tolist()
        assert np.array_equal(person["boxes"].reshape(-1, 4), own[["x", "y", "w", "h"]].to_numpy())
        for k, au in enumerate(AUS):
            part = slice(k * len(own), (k + 1) * len(own))
            assert np.array_equal(person["probs"][part], own[f"{au}_prob"])
            assert np.array_equal(person["intensity"][part], own[f"{au}_intensity_pred"])
            assert np.array_equal(person["active"][part], own[f"{au}_active"].astype(int))


def test_what_a_result_says_of_itself(client: Client) -> None:
    (item,) = client.items()
    _, about = client.json("GET", f"/api/items/{item['id']}/about")
    assert about["thresholds"] == {"AU1": 0.5, "AU12": 0.4} and about["format"] == "native"
    assert [each["name"] for each in about["aus"]] == ["AU1 Inner brow raiser", "AU12 Lip corner puller"]
    assert {each["key"] for each in about["downloads"]} == set(FORMATS)


def unpacked(answer: tuple[int, dict, bytes]) -> dict[str, bytes]:
    """Files of a download by name."""
    status, headers, data = answer
    assert status == 200, data
    name = headers["content-disposition"].split("''")[1]
    if not name.endswith(".zip"):
        from urllib.parse import unquote

        return {unquote(name): data}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {each: archive.read(each) for each in archive.namelist()}


class TestDownloads:
    @pytest.mark.parametrize(
        ("key", "words"),
        [("episodes", ["--to", "csv-episodes"]), ("elan", ["--to", "elan"]), ("praat", ["--to", "praat"]),
         ("boris", ["--to", "boris"]), ("bids", ["--to", "bids"]),
         ("bids-continuous", ["--to", "bids", "--continuous"]), ("mne-text", ["--to", "mne", "--text"]),
         ("mne", ["--to", "mne"])],
    )  # fmt: skip
    def test_exports_are_the_command_s_bytes(
        self, key: str, words: list[str], client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if words[1] == "mne" and "--text" not in words:
            pytest.importorskip("mne")
        monkeypatch.chdir(folder)
        before = {path.name for path in folder.iterdir()}
        assert main(["export-annotations", "predictions.csv", "--out", ".", *words]) == 0
        wanted = {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in before}
        (item,) = client.items()
        found = unpacked(client.ask("GET", f"/api/items/{item['id']}/downloads/{key}"))
        assert found == wanted and wanted

    def test_statistics_and_predictions_are_the_command_s_bytes(
        self, client: Client, folder: Path, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(folder)
        assert main(["summarise", "predictions.csv", "--out", "summary.csv", "--pairs", "pairs.csv"]) == 0
        (item,) = client.items()
        for key, names in (
            ("summary", ["summary.csv"]), ("pairs", ["pairs.csv"]),
            ("predictions", ["predictions.csv", "predictions.json"]),
        ):  # fmt: skip
            found = unpacked(client.ask("GET", f"/api/items/{item['id']}/downloads/{key}"))
            assert found == {name: (folder / name).read_bytes() for name in names}
        wait_for(lambda: not list(served.users.folder.rglob("download-*")))

    def test_other_tools_columns_are_those_of_predict(self, tmp_path: Path, served: Served, monkeypatch) -> None:
        checkpoint, clips = make_checkpoint_in(tmp_path / "model"), make_clips_in(tmp_path / "clips")
        monkeypatch.chdir(clips)
        for kind in ("native", "openface", "pyfeat"):
            words = ["predict", "talk.mp4", "pair.mp4", "--out", str(tmp_path / kind), "--format", kind]
            assert main([*words, *options(checkpoint)]) == 0
        client = Client(served)
        native = [tmp_path / "native" / f"predictions{end}" for end in (".csv", ".json")]
        status, id_, said = client.drop([*native, clips / "talk.mp4", clips / "pair.mp4"])
        assert status == 200, said
        for kind in ("openface", "pyfeat"):
            found = unpacked(client.ask("GET", f"/api/items/{id_}/downloads/{kind}"))
            for name in ("talk.csv", "pair.csv"):
                assert found[name] == (tmp_path / kind / name).read_bytes(), (kind, name)

    def test_thresholds_move_what_is_active_and_nothing_else(self, client: Client, folder: Path) -> None:
        (item,) = client.items()
        path = f"/api/items/{item['id']}/downloads"
        query = "?thresholds=%7B%22AU12%22%3A0.25%7D"  # all reach it
        found = unpacked(client.ask("GET", f"{path}/predictions{query}"))
        table, old = pd.read_csv(io.BytesIO(found["predictions.csv"])), pd.read_csv(folder / "predictions.csv")
        assert (table.loc[table["status"] == "ok", "AU12_active"] == 1).all()
        assert table.loc[table["status"] != "ok", "AU12_active"].isna().all()
        pd.testing.assert_frame_equal(table.drop(columns="AU12_active"), old.drop(columns="AU12_active"))
        assert json.loads(found["predictions.json"])["thresholds"] == {"AU1": 0.5, "AU12": 0.25}
        episodes = pd.read_csv(io.BytesIO(unpacked(client.ask("GET", f"{path}/episodes{query}"))["episodes.csv"]))
        assert episodes.loc[(episodes["au"] == "AU12") & (episodes["face"] == 0), "frames"].tolist() == [20]

    @pytest.mark.parametrize("query", ["AU99%22%3A0.5", "AU12%22%3A2", "AU12%22%3A%22x%22"])
    def test_bad_thresholds(self, query: str, client: Client) -> None:
        (item,) = client.items()
        path = f"/api/items/{item['id']}/downloads/predictions?thresholds=%7B%22{query}%7D"
        assert client.json("GET", path)[0] in (400, 422)
        assert client.json("GET", f"/api/items/{item['id']}/downloads/nothing")[0] == 422


def make_checkpoint_in(folder: Path) -> Path:
    folder.mkdir()
    return make_checkpoint(folder)


def make_clips_in(folder: Path) -> Path:
    folder.mkdir()
    return make_clips(folder)


class TestSecondFile:
    def add(self, client: Client, path: Path) -> tuple[int, dict]:
        (item,) = client.items()
        status, _, said = client.ask("PUT", f"/api/items/{item['id']}/second?name={path.name}", path.read_bytes())
        return status, json.loads(said)

    def agreement(self, client: Client, **thresholds: float) -> dict:
        (item,) = client.items()
        status, said = client.json(
            "POST", f"/api/items/{item['id']}/agreement", {"thresholds": thresholds, "source": 0}
        )
        assert status == 200, said
        return said

    def test_agreement_is_compare_s_and_the_overlay_is_the_second_file(
        self, client: Client, folder: Path, tmp_path: Path
    ) -> None:
        other = read_predictions(folder / "predictions.csv")
        other["AU12_prob"] = other["AU12_prob"].to_numpy()[::-1]
        other["AU12_active"] = (other["AU12_prob"] >= 0.5).astype("Int8").mask(other["AU12_prob"].isna())
        lost = other["AU12_prob"].isna() & (other["status"] == "ok")
        other.loc[lost, ["AU12_prob", "AU12_active"]] = [0.5, 1]
        other.loc[other["status"] != "ok", ["AU12_prob", "AU12_active"]] = np.nan
        other = other.drop(columns=["AU1_active", "AU1_prob", "AU1_intensity_pred"])
        write_predictions(other, tmp_path / "other.csv", {})
        status, said = self.add(client, tmp_path / "other.csv")
        assert status == 200, said
        words = ["compare", str(folder / "predictions.csv"), str(tmp_path / "other.csv")]
        assert main([*words, "--out", str(tmp_path / "c.csv")]) == 0
        wanted = json.loads((tmp_path / "c.json").read_text())
        found = self.agreement(client)
        assert found["agreement"] == wanted["agreement"] and found["counts"] == wanted["counts"]
        for face, person in enumerate(found["people"]):
            own = other[(other["face"] == face) & (other["status"] == "ok")]
            assert set(person) == {"AU12"} and person["AU12"]["active"] == own["AU12_active"].astype(float).tolist()
            assert person["AU12"]["value"] == pytest.approx(own["AU12_prob"].round(4).tolist())

    def test_agreement_follows_thresholds(self, client: Client, folder: Path, tmp_path: Path) -> None:
        write_predictions(read_predictions(folder / "predictions.csv"), tmp_path / "same.csv", {})
        assert self.add(client, tmp_path / "same.csv")[0] == 200
        (_, au12), (_, moved) = (self.agreement(client, **t)["agreement"] for t in ({}, {"AU12": 0.2}))
        assert au12["kappa"] == 1 and moved["kappa"] == 0 and moved["active_first"] == 1
        assert moved["agree"] == pytest.approx(au12["active_second"])

    def test_one_s_own_coding_in_elan(self, client: Client, tmp_path: Path) -> None:
        """AU12 from 80 to 200 ms; the video is the result's, whatever the file names."""
        pytest.importorskip("defusedxml")
        path = elan(tmp_path, {"AU12": [(80, 200, "C")]}, media="elsewhere.mp4")
        table = talk()
        one = table[table["face"] == 0]
        single = write_predictions_of(one, tmp_path / "up")
        film = write_film(tmp_path / "up" / NAME)
        _, id_, _ = client.drop([single, film])
        status, _, said = client.ask("PUT", f"/api/items/{id_}/second?name=coding.eaf", path.read_bytes())
        assert status == 200, said
        _, found = client.json("POST", f"/api/items/{id_}/agreement", {"source": 0})
        active = found["people"][0]["AU12"]["active"]
        assert [k for k, value in enumerate(active) if value] == [2, 3, 4] and len(active) == 20

    @pytest.mark.parametrize(
        ("tiers", "people", "said"),
        [({"AU12": [(0, 80, "")], "R12": [(0, 80, "")], "12": [(0, 40, "")]}, {}, "both code AU12 of one person"),
         ({"AU12@Anna": [(0, 80, "")], "12@Anna": [(0, 40, "")]}, {}, "both code AU12 of one person"),
         ({"AU12@Anna": [(0, 80, "")], "AU12@Ben": [(0, 40, "")]}, {}, "that of Anna, Ben"),
         ({"notes": [(0, 80, "hm")]}, {}, "expected tiers named after action units"),
         ({"AU12": [(90_000, 95_000, "")]}, {}, "is it the coding of another video")],
    )  # fmt: skip
    def test_coding_that_is_not_plain(self, tiers, people, said: str, client: Client, tmp_path: Path) -> None:
        pytest.importorskip("defusedxml")
        status, answer = self.add(client, elan(tmp_path, tiers))
        assert status == 422 and said in answer["error"] and str(tmp_path) not in answer["error"]

    def test_coding_whose_video_is_missing(self, client: Client, folder: Path, tmp_path: Path, served: Served) -> None:
        (folder / NAME).unlink()
        status, answer = self.add(client, elan(tmp_path, {"AU12": [(0, 80, "")]}))
        assert status == 422 and "drop the predictions together with their video" in answer["error"]
        assert not list(served.users.folder.rglob("*.eaf"))

    def test_other_bad_second_files(self, client: Client, tmp_path: Path) -> None:
        (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
        assert "expected the predictions of auformer" in self.add(client, tmp_path / "bad.csv")[1]["error"]
        (tmp_path / "bad.docx").write_text("a")
        assert self.add(client, tmp_path / "bad.docx")[0] == 415
        write_predictions_of(rows(range(100, 110), {"AU12": [101]}), tmp_path, "late.csv")
        assert "Expected two files about the same images" in self.add(client, tmp_path / "late.csv")[1]["error"]
        (item,) = client.items()
        assert client.json("POST", f"/api/items/{item['id']}/agreement", {"source": 0})[0] == 409


def elan(folder: Path, tiers: dict[str, list[tuple[int, int, str]]], media: str = NAME) -> Path:
    """A small ELAN file, written by hand."""
    slots, body, number = [], [], 0
    for name, spans in tiers.items():
        lines = []
        for begin, end, value in spans:
            slots += [begin, end]
            number += 1
            times = f'TIME_SLOT_REF1="ts{2 * number - 1}" TIME_SLOT_REF2="ts{2 * number}"'
            lines.append(
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" {times}><ANNOTATION_VALUE>{value}'
                "</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        body.append(f'<TIER TIER_ID="{name}" LINGUISTIC_TYPE_REF="t">{"".join(lines)}</TIER>')
    order = "".join(f'<TIME_SLOT TIME_SLOT_ID="ts{k}" TIME_VALUE="{t}"/>' for k, t in enumerate(slots, start=1))
    film = f'<MEDIA_DESCRIPTOR MEDIA_URL="./{media}" MIME_TYPE="video/mp4"/>'
    head = f'<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">{film}</HEADER>'
    kind = '<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="t" TIME_ALIGNABLE="true"/>'
    path = folder / "coding.eaf"
    path.write_text(
        f'<?xml version="1.0" encoding="UTF-8"?><ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-01-01T00:00:00+00:00" '
        f'FORMAT="3.0" VERSION="3.0">{head}<TIME_ORDER>{order}</TIME_ORDER>{"".join(body)}{kind}</ANNOTATION_DOCUMENT>',
        encoding="utf-8",
    )
    return path


class TestFiles:
    def test_which_files_a_path_means(self, folder: Path, tmp_path: Path) -> None:
        assert find_tables(folder) == [folder / "predictions.csv"] == find_tables(folder / "predictions.csv")
        other = tmp_path / "of"
        for name in ("b.csv", "a.csv"):
            write_predictions_of(talk(), other, name)
        assert [path.name for path in find_tables(other)] == ["a.csv", "b.csv"]

    def test_numbered_images_are_shown_by_their_numbers(self, tmp_path: Path) -> None:
        for number in (7, 8, 10):
            write_image(tmp_path / "f" / f"{number:03d}.png", np.full((6, 8, 3), number, np.uint8))
        table = rows([7, 8, 10], {}, name=str(tmp_path / "f" / "%03d.png")).drop(columns="time_s")
        result = open_result(write_predictions_of(table, tmp_path))
        assert result.about()["sources"][0] == {
            "name": str(tmp_path / "f" / "%03d.png"), "kind": "frames", "frames": 3, "media": True,
            "people": [{"label": "face0", "frames": 3}],
        }  # fmt: skip
        assert [int(result.image(0, k).max()) for k in range(3)] == [7, 8, 10] and result.image(0, 3) is None
        assert open_result(tmp_path / "predictions.csv", {}).image(0, 0) is None  # a stranger's

    def test_episodes_are_those_of_the_exports(self, folder: Path) -> None:
        result = open_result(folder / "predictions.csv")
        wanted = collect(read_predictions(folder / "predictions.csv")).videos[0]
        for mine, theirs in zip(result.videos[0].people, wanted.people, strict=True):
            pd.testing.assert_frame_equal(episode_table(result.videos[0], mine), episode_table(wanted, theirs))

    def test_a_file_of_openface_finds_its_video_by_name(self, tmp_path: Path) -> None:
        (tmp_path / "talk.csv").write_text(
            "frame, face_id, timestamp, confidence, success, AU12_r, AU12_c\n"
            "1, 0, 0.0, 0.9, 1, 2.5, 1\n2, 0, 0.04, 0.9, 1, 0, 0\n"
        )
        film = write_film(tmp_path / "talk.mp4", 2)
        result = open_result(tmp_path / "talk.csv", {"talk.mp4": film})
        assert result.path_of(result.videos[0]) == film and result.thresholds() == {}
        assert result.about()["made_by"] == "OpenFace"


class TestStatement:
    def test_figures_come_from_the_card(self) -> None:
        told = statement(card_of("demo"))
        (photos, second), (rendered, first) = told["figures"]
        assert (rendered, photos) == ("Measured on rendered faces", "Measured on photographs")
        assert "ICC(3,1) of" in first and "(per AU" not in first and "AUROC" in second
        for text in (first, second):  # every figure stands in the card
            assert all(
                word.strip(".,;:") in told["card"] for word in text.split() if word[0] == "." or word[0].isdigit()
            )

    def test_another_card_other_figures(self, tmp_path: Path) -> None:
        (tmp_path / "README.md").write_text("# Mine\n\n**Measured on our films.** F1 of .61 (n = 4). So.\n\nMore.")
        assert statement(card_of(tmp_path))["figures"] == [("Measured on our films", "F1 of .61. So.")]
        assert card_of(tmp_path / "adapter.safetensors") == card_of(tmp_path)

    def test_without_a_card_training_says_that_it_is_no_test(self, tmp_path: Path) -> None:
        selection = {"score": 0.7222, "monitor": "val/f1 on the validation split"}
        ((heading, text),) = statement("", {"extra": {"selection": selection}})["figures"]
        assert heading == "Not tested" and "val/f1 on the validation split was 0.722: that is no test" in text
        ((heading, text),) = statement(card_of(tmp_path), {"extra": {}})["figures"]
        assert heading == "Not measured" and statement("")["figures"] == []
