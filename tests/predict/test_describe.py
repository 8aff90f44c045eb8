"""Descriptions files: by rule and by a network, in two languages; their scores; questions about a face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from auformer.data.manifest import read_manifest, write_manifest
from auformer.errors import ManifestError
from auformer.language.facts import Fact
from auformer.language.grammar import Grammar, shown
from auformer.language.questions import Question
from auformer.models import AUFormer, save_adapter
from auformer.models.language.speaking import Description, Saying
from auformer.models.language.vlfau import VLFAU
from auformer.predict.ask import answer
from auformer.predict.describe import Describer, Seen, describe_to_file, writes_sentences
from auformer.predict.descriptions import as_table, describe_predictions, read_descriptions, write_rule_descriptions
from auformer.predict.text_scores import score_texts
from tests.helpers import runs, vits

AUS = runs.AUS
KEY = ("tiny", "S000", "stills", 3, 0, None, None)


class Scripted:
    """A network that decides and says what a test tells it."""

    au_names, image_size, intensity_aus = tuple(AUS), (32, 32), tuple(AUS)

    def __init__(self, probs: Any, levels: Any, sentences: Any = None, face: str | None = None) -> None:
        self.probs, self.levels, self.face = torch.tensor([probs]), torch.tensor([levels]), face
        self.thresholds = dict.fromkeys(AUS, 0.5)
        if sentences is not None:
            self.describe = lambda images: [
                Description(self.probs[0].numpy(), self.levels[0].numpy(),
                            {au: Saying(text, -0.5) for au, text in zip(AUS, sentences, strict=True)},
                            None if face is None else Saying(face, -0.7))
                for _ in images
            ]  # fmt: skip

    def outputs(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: one.expand(len(images), -1) for name, one in (("probs", self.probs), ("intensity", self.levels))}

    def predict_probs(self, images: torch.Tensor) -> torch.Tensor:
        return self.outputs(images)["probs"]


FACE = [Seen(KEY, torch.zeros(3, 32, 32))]


def rows(network: Any, **given: Any) -> pd.DataFrame:
    return as_table(Describer(network, **given).rows(FACE)).set_index("au")


def test_sentences_by_rule_say_what_was_decided() -> None:
    network = Scripted([0.9, 0.5, 0.4], [4.2, 1.2, 3.0])
    found = rows(network)
    assert found.index.tolist() == ["", "AU1", "AU4"]  # AU12 is at rest, whatever its intensity
    assert found.loc["AU1", "text"] == "The inner ends of the brows are strongly raised."
    assert found.loc["AU4", "text"] == "The brows are slightly lowered and drawn together."
    assert found.loc["", "text"].startswith("Two movements: the inner ends of the brows are strongly raised; the brows")
    assert set(found["source"]) == {"rule"} and found["log_prob"].isna().all()
    everything = rows(network, everything=True, language="de")
    assert everything.loc["AU12", "text"] == "Die Mundwinkel sind nicht nach oben gezogen."
    assert everything.loc["AU12", "active"] == 0 and pd.isna(everything.loc["AU12", "degree"])
    assert everything.loc["AU1", "degree"] == 3


def test_sentences_of_a_network_are_kept_and_compared_with_its_decisions() -> None:
    said = [
        "the inner brows stay at their resting height",
        "the corrugator muscles clearly pull the brows down and inwards",
        "the lip corners pulled",
    ]
    network = Scripted([0.9, 0.8, 0.7], [2.0, 3.0, 1.0], said, "one movement: the brows are lowered and drawn together")
    found = rows(network)
    assert found.index.tolist() == ["", "AU1", "AU4", "AU12"]
    assert found.loc["AU1", ["active", "agrees"]].tolist() == [0, 0]  # decided active, said to rest
    assert found.loc["AU4", ["active", "degree", "agrees"]].tolist() == [1, 2, 1]
    assert pd.isna(found.loc["AU12", "active"]) and found.loc["AU12", "agrees"] == 0  # cannot be read
    assert found.loc["", "agrees"] == 0  # it names one of the three
    assert set(found["source"]) == {"model"} and found.loc["AU4", "log_prob"] == -0.5
    german = rows(network, language="de")
    assert german.loc["AU4", "text"] == "Die Brauen sind deutlich gesenkt und zusammengezogen."
    assert german.loc["AU12", "text"] == "The lip corners pulled."
    assert german.loc["", "text"] == "Eine Bewegung: die Brauen sind gesenkt und zusammengezogen."
    assert writes_sentences(network) and not writes_sentences(Scripted([0.9, 0.8, 0.7], [0.0, 0.0, 0.0]))


def test_a_network_that_learned_sides_is_read_with_them() -> None:
    said = ["the inner ends of the brows are raised, only on the left", "the brows are not lowered",
            "the lip corners are not pulled up"]  # fmt: skip
    network: Any = Scripted([0.9, 0.1, 0.1], [1.0, 0.0, 0.0], said)
    assert pd.isna(rows(network).loc["AU1", "active"])
    network.arguments = {"sides": True}
    found = rows(network, language="de").loc["AU1"]
    assert found[["active", "agrees"]].tolist() == [1, 1]
    assert found["text"] == "Die inneren Enden der Brauen sind angehoben, nur links."


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest, a ViT's weights, and two adapter files on it: one that speaks, one that does not."""
    folder = runs.write_workspace(tmp_path_factory.mktemp("describe"))
    for name, kind, more in (("vlfau", VLFAU, {"branch_width": 8}), ("auformer", AUFormer, {})):
        given = {"checkpoint_path": folder / "vit.safetensors", "img_size": 32, "expert_width": 2, **more}
        network = vits.shaken(vits.network("token", AUS, kind, **given), 0.2)
        save_adapter(folder / f"{name}.safetensors", network)
    return folder


def described(workspace: Path, name: str, out: Path, **given: Any) -> Any:
    return describe_to_file(
        workspace / f"{name}.safetensors", workspace / "test" / "manifest.csv", out,
        backbone_checkpoint=workspace / "vit.safetensors", device="cpu", **given,
    )  # fmt: skip


@pytest.mark.parametrize(("name", "source"), [("vlfau", "model"), ("auformer", "rule")])
def test_a_manifest_is_described(name: str, source: str, workspace: Path, tmp_path: Path) -> None:
    out, counted = tmp_path / "d.csv", []
    done = described(workspace, name, out, everything=True, batch_size=4, advanced=counted.append)
    assert done.faces == 15 and counted == [4, 4, 4, 3]
    table = read_descriptions(out)
    assert len(table) == 15 * 4 and (table.groupby("frame").size() == 12).all()
    assert set(table["source"]) == {source}
    side = table.attrs["side"]
    assert side["source"] == source and len(side["lexicon"]) == 12
    assert (side["blank"] is None) == (source == "rule")
    single = described(workspace, name, tmp_path / "one.parquet", everything=True, batch_size=1).table
    pd.testing.assert_frame_equal(single.drop(columns="log_prob"), done.table.drop(columns="log_prob"))
    np.testing.assert_allclose(single["log_prob"], done.table["log_prob"], atol=2e-4)
    with pytest.raises(ValueError, match="to be a new file, but found .*d.csv and .*d.json"):
        described(workspace, name, out)
    with pytest.raises(ValueError, match="another name than what is described"):
        described(workspace, name, workspace / "test" / "manifest.parquet")
    with pytest.raises(ValueError, match="one of en, de"):
        described(workspace, name, tmp_path / "x.csv", language="fr")
    assert not (tmp_path / "x.csv").exists()


def test_labels_never_reach_the_sentences(workspace: Path, tmp_path: Path) -> None:
    """The same images with all labels turned: the same sentences."""
    turned = workspace / "test" / "turned.csv"
    frame = read_manifest(workspace / "test" / "manifest.csv")
    write_manifest(frame.assign(**{au: 1 - frame[au] for au in AUS}).drop(columns=_sides(frame)), turned, side={})
    given = {"everything": True, "backbone_checkpoint": workspace / "vit.safetensors", "device": "cpu"}
    own = described(workspace, "vlfau", tmp_path / "own.csv", everything=True).table
    other = describe_to_file(workspace / "vlfau.safetensors", turned, tmp_path / "turned.descriptions.csv", **given)
    assert own["text"].nunique() > 3
    assert other.table["text"].tolist() == own["text"].tolist()


def _sides(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame if str(name).endswith(("_left", "_right", "_intensity"))]


def written(folder: Path, manifest: Path, tell: Any, language: str = "en") -> Path:
    """A descriptions file in which `tell(row, au)` decides what is said about each face."""
    from auformer.data.table_file import write_sidecar, write_table

    grammar, lines = Grammar(AUS, language), []
    for row in read_manifest(manifest).to_dict("records"):
        for au in AUS:
            fact = tell(row, au)
            text = "no sentence" if fact is None else shown(grammar.sentence(fact))
            state = (None, None) if fact is None else (int(fact.active), fact.degree or None)
            lines.append((*(row[name] for name in ("dataset", "subject", "sequence", "frame", "face")), None, None, au,
                          text, *state, int(fact is not None), -1.0, "model"))  # fmt: skip
    write_table(as_table(lines), folder / "d.csv")
    write_sidecar({"language": language, "blank": dict.fromkeys(AUS, "The whole face is at rest.")}, folder / "d.csv")
    return folder / "d.csv"


@pytest.mark.parametrize("language", ["en", "de"])
def test_scores_tell_true_sentences_from_those_of_others(language: str, workspace: Path, tmp_path: Path) -> None:
    manifest = workspace / "test" / "manifest.csv"
    path = written(tmp_path, manifest, lambda row, au: Fact(au, row[au] == 1), language)
    found = score_texts(path, manifest, train=workspace / "data" / "manifest.csv", ngrams=True)
    assert found.rows["own"]["f1"] == found.rows["own"]["truth"] == found.rows["own"]["agreement"] == 1.0
    assert found.rows["swapped"]["f1"] < 0.8 and found.rows["constant"]["truth"] < 0.8
    assert found.rows["blank"]["readable"] == 0.0 and found.rows["own"]["bleu4"] > found.rows["swapped"]["bleu4"]
    assert found.faces == 15 and not found.said


def test_sentences_that_do_not_see_score_as_their_controls(workspace: Path, tmp_path: Path) -> None:
    """What is said does not depend on the image: own and swapped are the same, which is how a blind model shows."""
    manifest = workspace / "test" / "manifest.csv"
    path = written(tmp_path, manifest, lambda row, au: Fact(au, au != "AU4"))
    found = score_texts(path, manifest)
    assert found.rows["own"] == pytest.approx(found.rows["swapped"], nan_ok=True)
    assert "name --train" in found.said[0]


def test_a_sentence_that_is_missing_is_wrong_and_not_absent(workspace: Path, tmp_path: Path) -> None:
    manifest = workspace / "test" / "manifest.csv"
    path = written(tmp_path, manifest, lambda row, au: None if au == "AU12" else Fact(au, row[au] == 1))
    own = score_texts(path, manifest).rows["own"]
    assert own["readable"] == pytest.approx(2 / 3) and own["truth"] == pytest.approx(2 / 3)
    assert own["f1"] == pytest.approx(2 / 3)


def test_files_that_cannot_be_scored_are_told(workspace: Path, tmp_path: Path) -> None:
    manifest = workspace / "test" / "manifest.csv"
    path = written(tmp_path, manifest, lambda row, au: Fact(au, True))
    with pytest.raises(ManifestError, match="no key is in both"):
        score_texts(path, workspace / "data" / "manifest.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(ManifestError, match="write the file with --all"):
        score_texts(path, manifest)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ManifestError, match="no column dataset, subject"):
        score_texts(path, manifest)


def test_predictions_become_sentences() -> None:
    table = pd.DataFrame(
        {
            "dataset": "user", "subject": "a.jpg", "sequence": "a.jpg", "frame": [0, 1], "face": 0, "file": "a.jpg",
            "time_s": [0.0, 0.04], "status": ["ok", "no_face"], "AU4_active": [1, None], "AU12_active": [0, None],
            "AU4_intensity_pred": [2.7, None],
        }
    )  # fmt: skip
    found = describe_predictions(table, ["AU4", "AU12", "AU45"])
    assert found["au"].tolist() == ["", "AU4"] and found["frame"].tolist() == [0, 0]
    assert found["text"].tolist() == [
        "One movement: the brows are clearly lowered and drawn together.",
        "The brows are clearly lowered and drawn together.",
    ]


def test_a_predictions_file_gets_its_sentences_beside_it(tmp_path: Path) -> None:
    from auformer.data.manifest import write_predictions

    table = pd.DataFrame(
        {
            "dataset": ["user"] * 2, "subject": ["a"] * 2, "sequence": ["a"] * 2, "frame": [0, 1], "face": [0, 0],
            "status": ["ok"] * 2, "AU4_prob": [0.9, 0.1], "AU4_active": pd.array([1, 0], "Int8"),
            "AU45_prob": [0.9, 0.1], "AU45_active": pd.array([1, 0], "Int8"),
        }
    )  # fmt: skip
    write_predictions(table, tmp_path / "predictions.csv", {"thresholds": {"AU4": 0.5, "AU45": 0.5}})
    out = write_rule_descriptions(tmp_path / "predictions.csv", "de")
    assert out.name == "predictions.descriptions.csv"
    found = read_descriptions(out)
    assert found["text"].tolist() == [
        "Eine Bewegung: die Brauen sind gesenkt und zusammengezogen.",
        "Die Brauen sind gesenkt und zusammengezogen.",
        "Kein Muskel des Gesichts bewegt sich sichtbar.",
    ]
    assert found.attrs["side"]["aus_without_words"] == ["AU45"] and found.attrs["side"]["source"] == "rule"


def test_questions_are_answered_by_rule() -> None:
    network = Scripted([0.9, 0.8, 0.3], [4.2, 3.0, 0.2])
    images = torch.zeros(1, 3, 32, 32)
    lines, source = answer(network, images, Question("occurrence", ("AU4", "AU12")))
    assert source == "rule" and lines[0][0].startswith(
        "Yes: AU4, brow lowerer (probability 0.80). The brows are clearly"
    )
    assert lines[0][1].startswith("No: AU12, lip corner puller (probability 0.30). The lip corners are not pulled up")
    assert answer(network, images, Question("level", ("AU1",)))[0] == [["4.2 of 5: AU1, inner brow raiser."]]
    face, _ = answer(network, images, Question("describe", ()), "de")
    assert face[0][0].startswith("Zwei Bewegungen:") and len(face[0]) == 3


def test_questions_are_answered_by_a_language_model(workspace: Path) -> None:
    pytest.importorskip("transformers")
    from auformer.models.language.aullava import AULLaVA

    given = {"questions": ["occurrence", "level"], "intensity": "level", "img_size": 32}
    network = vits.network("token", AUS, AULLaVA, checkpoint_path=workspace / "vit.safetensors", **given).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        probs = network.predict_probs(images)
    lines, source = answer(network, images, Question("occurrence", ("AU12",)))
    assert source == "model" and len(lines) == 2
    assert f"(probability {float(probs[0, AUS.index('AU12')]):.2f})" in lines[0][0]
    levels, _ = answer(network, images, Question("level", ("AU12", "AU4")))
    assert all("of 5: AU" in line for each in levels for line in each)
    by_rule, source = answer(network, images, Question("describe", ()))
    assert source == "rule" and by_rule[0]
