"""The benchmarks of int8, loader, preparation and prediction run in small; their pages are right by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto

from auformer.models import OnnxDetector
from auformer.predict.predictor import AUPredictor
from experiments.harness import RESULTS
from experiments.speed import (
    bench_exports,
    bench_int8,
    bench_loader,
    bench_predict,
    bench_prepare,
    bench_video,
    cost,
    one_export,
    vit_table,
)
from tests.helpers.photos import write_detector

HOW = {"machine": "m", "commit": "c", "date": "d", "load": 3.5, "torch": "t"}
Rig = tuple[list[str], dict[str, Any], Path]


def _result(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """Words for an AU detector for 32 px, what is measured with them, and the folder of the exported files."""
    folder = tmp_path_factory.mktemp("int8")
    write_detector(folder)
    words = ["--checkpoint", str(folder), "--backbone-checkpoint", str(folder / "backbone.safetensors")]
    small = "--large test_vit --subjects 2 --frames 6 --batches 2 1 --threads 1 --rounds 2"
    words += small.split()
    words += ["--data", str(folder / "data")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_int8, "CALIBRATION", 8)
        return words, bench_int8.measure(bench_int8.parse_arguments(words), folder), folder


@pytest.mark.slow
class TestInt8:
    def test_every_form_is_measured_on_other_people(self, rig: Rig) -> None:
        _, found, folder = rig
        for network in bench_int8.NETWORKS:
            faster = found[network]["faster"]
            assert faster.keys() == bench_int8.FORMS.keys() and all(value > 0 for value in faster.values())
            assert found[network]["megabytes"].keys() == {"float32", *bench_int8.FORMS}
        for lab in "AB":
            assert found["loss"][lab]["float32"]["differ"] == 0
            assert set(found["loss"][lab]) == {"float32", *bench_int8.FORMS}
        sets = ("test_A", "calibration_A")
        test, calibration = ({path.name for path in (folder / "data" / one / "images").iterdir()} for one in sets)
        assert len(test) == 2 and not test & calibration

    def test_both_files_are_written(
        self, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(bench_int8, "measure", lambda args, folder: rig[1])
        found = bench_int8.main([*rig[0], "--out", str(tmp_path)])
        assert _result(tmp_path, "int8")["pays"] == found["pays"]
        written = (tmp_path / "int8.md").read_text(encoding="utf-8")
        assert written == capsys.readouterr().out and written.count("\n|") == 2 + 1 + len(bench_int8.FORMS)

    def test_the_forms_hold_8_bits_and_the_header(self, rig: Rig) -> None:
        paths = {name: rig[2] / "detector" / f"{name}.onnx" for name in ("float32", *bench_int8.FORMS)}
        images, wanted = torch.rand(8, 3, 32, 32), OnnxDetector(paths["float32"])
        for name in bench_int8.FORMS:
            assert TensorProto.INT8 in {each.data_type for each in onnx.load(paths[name]).graph.initializer}
            detector = OnnxDetector(paths[name])
            assert detector.metadata == wanted.metadata
            assert 1e-7 < (detector.predict_probs(images) - wanted.predict_probs(images)).abs().max() < 0.2
        kinds = {name: {node.op_type for node in onnx.load(path).graph.node} for name, path in paths.items()}
        assert "QuantizeLinear" in kinds["static"] and "DynamicQuantizeLinear" in kinds["dynamic"] - kinds["static"]

    def test_a_form_pays_by_speed_on_a_network_and_loss_in_both_labs(self) -> None:
        fast, forms = dict.fromkeys(bench_int8.FORMS, 1.3), bench_int8.FORMS
        loss = {lab: {"float32": {"f1": 80.0}, **{form: {"f1": 79.5} for form in forms}} for lab in "AB"}
        found: dict[str, Any] = {"detector": {"faster": fast}, "large": {"faster": dict(fast)}, "loss": loss}
        both = ["detector", "large"]
        assert bench_int8.verdict(found) == {"dynamic": both, "static": both}
        found["large"]["faster"]["static"] = 1.29
        assert bench_int8.verdict(found) == {"dynamic": both, "static": ["detector"]}
        found["loss"]["B"]["dynamic"] = {"f1": 79.4}
        assert bench_int8.verdict(found) == {"dynamic": [], "static": ["detector"]}


class TestLoader:
    def test_it_measures_and_writes_both_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(bench_loader, "WORKERS", (0, 1))
        monkeypatch.setattr(bench_loader, "TOGETHER", (0,))
        words = "--tiny --images 64 --seconds 0.05 --threads 1 --out"
        bench_loader.main([*words.split(), str(tmp_path)])
        sizes = _result(tmp_path, "loader")["sizes"]
        assert (tmp_path / "loader.md").read_text(encoding="utf-8") in capsys.readouterr().out
        assert list(sizes) == ["32", "64"] and "together" not in sizes["64"]
        assert set(sizes["32"]["together"]) == {"0"}
        for one in sizes.values():
            assert set(one["loader"]) == {"0", "1"} and min(*one["loader"].values(), one["training"]) > 0
            stages = dict(one["stages_ms"])
            assert stages.pop("all") == pytest.approx(sum(stages.values())) and stages["augment"] > 0

    def test_rate_counts_images_over_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A clock that moves by a quarter of a second with each batch of 8; two batches are for warming up."""
        clock = itertools.count(0.0, 0.25)
        monkeypatch.setattr(bench_loader.time, "perf_counter", lambda: next(clock))
        assert bench_loader.rate(iter([100, 100, 8, 8, 8, 8, 8]), 1.0, warm_up=2) == pytest.approx(3 * 8 / 1.0)

    def test_the_page_by_hand(self) -> None:
        stages = {"read the file": 0.1, "decode": 0.5, "augment": 1.2, "collate": 0.2, "all": 2.0}
        one: dict[str, Any] = {"backbone": "v", "batch": 16, "stages_ms": stages, "training": 600.0}
        one |= {"loader": {"0": 500.0, "1": 450.0, "2": 900.0}}
        sizes = {"112": {**one, "together": {"0": 0.5, "2": 0.97}}, "224": {**one, "training": 1000.0}}
        said = bench_loader.page({"settings": {"images": 8, "threads": 2, **HOW}, "sizes": sizes})
        for text in (
            "112 px: 2 workers keep up on this machine; loading takes 120.0 % of one core while it trains.",
            "One core loads 500 ",
            "bounds it is `augment`, 60 % of its time",
            "50 % with 0 workers, 97 % with 2 workers",
            "would keep 2.0 cores busy",
            "before the start: 3.5;",
            "224 px: no number of workers that was measured keeps up",
            "| decode | 0.500 (25 %) | 0.500 (25 %) |",
        ):
            assert text in said
        needed = [bench_loader.workers_needed(one["loader"], rate) for rate in (400.0, 500.0, 501.0, 901.0)]
        assert needed == [0, 0, 2, None]


class TestExports:
    def test_the_made_up_predictions_have_the_episodes_that_are_counted(self, tmp_path: Path) -> None:
        from auformer.annotations import collect, episode_table
        from auformer.data.manifest import validate_predictions

        table = validate_predictions(bench_exports.predictions(200, 2))
        (video,) = collect(table).videos
        episodes = sum(len(episode_table(video, person)) for person in video.people)
        assert episodes == bench_exports.count_episodes(table, 2)
        assert len(video.au_names) == 18 and video.length == 8.0

    def test_a_way_is_measured(self, tmp_path: Path) -> None:
        path = tmp_path / "predictions.csv"
        bench_exports.predictions(50, 2).to_csv(path, index=False)
        for way in ("praat", "summarise"):
            found = json.loads(one_export.run_one(way, path, tmp_path / "out"))
            assert found["seconds"] > 0 and found["processor_seconds"] > 0
        assert (tmp_path / "out" / "praat" / "talk.TextGrid").is_file() and (
            tmp_path / "out" / "summarise.csv"
        ).is_file()

    def test_the_page_by_hand(self) -> None:
        ways = {"elan": {"processor_seconds": 3.5, "seconds": 5.0, "mib": 400.0}}
        found = {"seconds": 3.5, "mib": 501.0, "ways": ways, "file_mib": 66.0, "episodes": 1234}
        how = {**HOW, "command": "x", "frames": 90_000, "people": 2, "rounds": 1, "pandas": "3", "mne": "1"}
        said = bench_exports.page({"settings": how, "measured": found})
        assert "| elan | 3.5 | 5.0 | 400 |" in said and "1,234 episodes" in said
        assert said.count("| met |") == 1 and said.count("missed") == 1


def test_reading_videos(tmp_path: Path) -> None:
    """Without git: the older reader is left out."""
    bench_video.main(["--frames", "6", "--size", "64", "48", "--rounds", "1", "--out", str(tmp_path)])
    result = _result(tmp_path, "video")
    assert list(result["fps"]) == ["bare", "now", "now, 1 of 5"] and result["ratios"]["now / bare"] > 0
    assert "| now / bare |" in (tmp_path / "video.md").read_text(encoding="utf-8")


@pytest.mark.slow
class TestPrepare:
    def test_it_measures_every_target_and_writes_both_files(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = "--videos 1 --frames 3 --long 10 --rows 50 --rounds 1 --out"
        bench_prepare.main([*words.split(), str(tmp_path)])
        measured = _result(tmp_path, "prepare")["measured"]
        assert all(measured[name] > 0 for name in bench_prepare.TARGETS)
        assert measured["runs_default"][0]["status"] == measured["runs_table"][0]["status"] == {"ok": 3}
        written = (tmp_path / "prepare.md").read_text(encoding="utf-8")
        assert written in capsys.readouterr().out and written.count("\n|") == 2 + len(bench_prepare.TARGETS)

    def test_verdicts(self) -> None:
        run = [{"seconds": 1.0, "processor_seconds": 2.0, "status": {"ok": 8}}]
        measured = {"default_fps": 14.9, "table_fps": 100.0, "long_mib": None, "short_mib": None, "read_seconds": 2.1}
        measured |= {"validate_seconds": 2.9, "stages_ms": {"decode": 1.0, "detect": 2.0}}
        measured |= {"runs_default": run, "runs_table": run}
        how = {"command": "x", "videos": 2, "frames": 4, "long": 10, "rows": 5, "opencv": "o", "av": "a", **HOW}
        said = bench_prepare.page({"settings": how, "measured": measured})
        verdicts = [line.split(" | ")[3].strip("| ") for line in said.splitlines() if line.startswith("| ")][2:]
        assert verdicts == ["missed", "met", "", "missed", "met"] and said.count("not known here") == 2
        assert "2 free cores would do 8.0 and\n8.0 frames a second" in said
        assert "What bounds the default run: detect." in said


def test_predicting_a_video(tmp_path: Path) -> None:
    bench_predict.write_clip(tmp_path / "clip.mp4", 3)
    found = bench_predict.run(AUPredictor.from_checkpoint("demo", detect_every=3), tmp_path / "clip.mp4")
    assert (found["frames"], found["faces"]) == (3, 3) and found["fps"] > 0
    assert set(found["stage_seconds"]) == {"read", "detect", "follow", "network"}


class TestCost:
    def test_the_committed_page_follows_from_the_committed_rates(self, tmp_path: Path) -> None:
        assert cost.main(["--out", str(tmp_path)]) == (RESULTS / "cost.md").read_text(encoding="utf-8")

    def test_numbers_by_hand(self) -> None:
        """100 frames a second: 10 million frames take 100,000 s, 27.8 hours, 55.6 core-hours, 2.78 dollars."""
        rates = _result(RESULTS, "bench_predict")
        rates["every_frame"]["fps"] = 100.0
        works = {"video": {"size": "900 frames", "cpu_before": 90.0, "cpu_after": 9.0, "commit": "c"}}
        text = cost.page(rates, {"before": "b", "works": works})
        assert "| 100.0 | 27.8 | 55.6 | 0.9 | 2.8 |" in text and "= 2.78 dollars" in text
        assert "640 x 360, one face, 900 frames, build of b | 100.0 | 277.8 | 13.9 |" in text
        assert "build of c | 10.0 | 27.8 | 1.4 |" in text


class TestTableOfViTs:
    def test_a_row_by_hand(self) -> None:
        row = vit_table.describe("vit_base_patch16_224")
        head = 768 * 192 + 192 + 192 * 12 + 12 + 12 * 769
        assert isinstance(row, vit_table.Row)
        assert row[:7] == ("vit_base_patch16_224", "VisionTransformer", 224, "14x14", 768, 12, 85_798_656)
        assert row.trained == 4_555_008 + head and row.tags > 5

    def test_what_is_refused_says_why(self) -> None:
        refused = vit_table.describe("vit_base_patch16_rpn_224")
        assert refused == "vit_base_patch16_rpn_224: its block class is ResPostBlock"
        found = ["a: its block class is B", "c: its block class is B", vit_table.describe("eva02_tiny_patch14_224")]
        text = vit_table.page(found, "1.2.3")
        assert "timm 1.2.3: 1 of 3 names" in text and "* 2 x its block class is B" in text
        assert "| eva02_tiny_patch14_224 | Eva | 224 | 16x16 | 192 | 12 | 5.5 M |" in text

    @pytest.mark.parametrize(
        "name", ["vit_small_patch16_dinov3", "vit_base_patch14_reg4_dinov2", "vit_tiny_patch16_224"]
    )
    def test_the_committed_table_is_current(self, name: str) -> None:
        row = vit_table.describe(name)
        assert isinstance(row, vit_table.Row) and name in vit_table.names()
        assert f"| {' | '.join(row.cells())} |" in (RESULTS / "vits.md").read_text(encoding="utf-8")
