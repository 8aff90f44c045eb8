"""Training of networks that speak: truthful targets, every term moves what it should, runs resume."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from auformer.data.dataset import AUDataset
from auformer.data.manifest import read_manifest
from auformer.language.facts import Fact
from auformer.models.checkpoints import load_detector
from auformer.models.language.aullava import AULLaVA
from auformer.models.language.vlfau import VLFAU
from auformer.training import fit, language
from auformer.training.language import (
    AULLaVAModule,
    VLFAUModule,
    attention_targets,
    batch_facts,
    check_sides,
    fit_temperature,
    flip,
)
from tests.helpers import runs

pytest.importorskip("transformers")
AUS = runs.AUS


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.write_workspace(tmp_path_factory.mktemp("speaking"))


def module(
    workspace: Path, kind: Any, seed: int = 1, questions: Any = ("occurrence", "list", "describe"),
    sides: bool = False, **given: Any,
) -> Any:  # fmt: skip
    speaks = kind is VLFAUModule
    speaking = partial(VLFAU, expert_width=2, branch_width=8, sides=sides)
    network = speaking if speaks else partial(AULLaVA, questions=list(questions))
    made = partial(network, backbone=runs.VIT, checkpoint_path=workspace / "vit.safetensors", img_size=32)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(made, au_names=AUS, au_weights=[1.0, 1.2, 0.8], **given)


def test_facts_of_a_batch_are_its_labels() -> None:
    label = np.array([[1, 0, -1], [1, 1, 0]])
    levels = np.array([[3.0, 0.2, np.nan], [np.nan, 4.6, 0.0]])
    assert batch_facts(label, levels, ("AU1", "AU4", "AU12")) == [
        [Fact("AU1", True, 2), Fact("AU4", False)],
        [Fact("AU1", True, 0), Fact("AU4", True, 3), Fact("AU12", False)],
    ]
    assert batch_facts(label, None, ("AU1", "AU4", "AU12"))[1][1] == Fact("AU4", True, 0)


def test_a_flip_swaps_the_sides_in_the_sentences(workspace: Path) -> None:
    frame = read_manifest(workspace / "data" / "manifest.csv").head(2)
    frame = frame.assign(AU12=1, AU12_left=[1, 1], AU12_right=[0, 1])
    speaking = module(workspace, VLFAUModule, sides=True)
    for flipped, side in ((False, "left"), (True, "right")):
        turn = partial(lambda image, rng, flipped: (image[:, :: -1 if flipped else 1].copy(), flipped), flipped=flipped)
        dataset = AUDataset(frame, workspace / "data", AUS, 32, turn)
        batch = torch.utils.data.default_collate([dataset[0], dataset[1]])
        texts: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(speaking.network.speech, "encode", partial(_noted, speaking.network.speech.encode, texts))
            speaking.sentence_terms(speaking.network.parts(batch["image"]), batch, np.random.default_rng(0))
        told = [text for text in texts if "only on the" in text or "side alone" in text]
        assert told and all(side in text for text in told)
        facts = [speaking.network.speech.grammar.read(text) for text in texts]
        assert {fact.side for fact in facts if fact is not None and fact.au == "AU12"} == {side, ""}


def _noted(encode: Any, texts: list[str], given: Any, device: Any) -> torch.Tensor:
    texts += given
    return encode(given, device)


def test_sides_are_learned_from_enough_of_them_only(workspace: Path, tmp_path: Path) -> None:
    """The faces of a lab hardly show any; a data set without labels of sides shows none."""
    with pytest.raises(ValueError, match=r"at least 10% of the active .* on one side only, but got [0-4]\.\d%"):
        fit(module(workspace, VLFAUModule, sides=True), runs.make_data(workspace), tmp_path, epochs=1, seed=0)
    rows = pd.DataFrame({"AU1": [1, 1, 0], "AU4": [0, 1, 1], "AU4_left": [0, 1, 0], "AU4_right": [0, 1, 1]})
    check_sides(rows, ("AU1", "AU4"))
    with pytest.raises(ValueError, match=r"but got 0\.0%"):
        check_sides(rows[["AU1", "AU4"]], ("AU1", "AU4"))


def test_a_flip_turns_the_maps() -> None:
    maps = torch.arange(6.0).view(1, 1, 6).expand(2, 1, 6)
    found = flip(maps, torch.tensor([True, False]), (2, 3))
    assert found[0, 0].tolist() == [2, 1, 0, 5, 4, 3] and found[1, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_questions_have_true_answers(workspace: Path) -> None:
    found = module(workspace, AULLaVAModule, questions=["occurrence", "list", "level", "value", "describe"])
    label, levels = np.array([[1, 0, 1], [0, -1, 1]]), np.array([[2.6, 0.0, 4.1], [0.0, np.nan, np.nan]])
    seen = set()
    for number in range(40):
        texts = found.texts(label, levels, np.random.default_rng(number))
        for row, mine in enumerate(texts):
            by_question = dict(mine)
            for at, au in enumerate(AUS):
                asked = found.network.ask("occurrence", [au])
                assert by_question.pop(asked, None) == (
                    None if label[row, at] < 0 else "yes" if label[row, at] else "no"
                )
            for asked, answer in by_question.items():
                kind, _, names = asked.rstrip(":").partition(" ")
                seen.add(kind)
                if kind == "list":
                    assert row == 0  # the other row has an AU without a label
                    states = dict(zip(AUS, label[row], strict=True))
                    assert answer == "; ".join(f"{au}: {'yes' if states[au] else 'no'}" for au in names.split())
                if kind == "level":
                    assert answer == {"AU1": "3", "AU4": "0", "AU12": "4"}[names] if row == 0 else answer == "0"
                if kind == "value":
                    assert answer == {"AU1": "0.52", "AU4": "0.00", "AU12": "0.82"}[names] if row == 0 else True
                if kind == "describe":
                    fact = found.network.grammar.read(answer)
                    assert fact is not None and fact.au == names
                    assert fact.active == (label[row, AUS.index(names)] == 1)
    assert seen == {"list", "level", "value", "describe"}


@pytest.mark.parametrize("kind", [VLFAUModule, AULLaVAModule])
def test_a_run_is_written_resumed_and_the_same(kind: Any, workspace: Path, tmp_path: Path) -> None:
    """Two epochs at once, and one epoch, an interruption, and the other one: the same weights to the bit."""
    options = {"seed": 3, "progress": False, "accelerator": "cpu", "select": "last"}

    def train(out: Path, epochs: int, stop: bool = False) -> Any:
        made = module(workspace, kind)
        if stop:
            made.on_train_epoch_start = _stop_in_epoch(made, 1)
            with pytest.raises(KeyboardInterrupt):
                fit(made, runs.make_data(workspace), out, epochs=epochs, **options)
            return made
        fit(made, runs.make_data(workspace), out, epochs=epochs, **options)
        return made

    whole = train(tmp_path / "whole", 2)
    train(tmp_path / "cut", 2, stop=True)
    resumed = train(tmp_path / "cut", 2)
    for name, tensor in whole.network.adapter_state_dict().items():
        assert torch.equal(tensor, resumed.network.adapter_state_dict()[name]), name
    metrics = (tmp_path / "whole" / "metrics.csv").read_text().splitlines()
    assert {"val/f1", "train/loss"} <= set(metrics[0].split(","))
    loaded: Any = load_detector(
        tmp_path / "whole" / "adapter.safetensors", backbone_checkpoint=workspace / "vit.safetensors"
    )
    assert len(loaded.describe(torch.rand(2, 3, 32, 32))) == 2
    again = kind.load_from_checkpoint(
        tmp_path / "whole" / "last.ckpt", backbone_checkpoint=str(workspace / "vit.safetensors")
    )
    assert set(again.hparams) == set(whole.hparams)


def _stop_in_epoch(made: Any, epoch: int) -> Any:
    begin = type(made).on_train_epoch_start

    def start() -> None:
        if made.current_epoch == epoch:
            made.trainer.should_stop = True
            raise KeyboardInterrupt
        begin(made)

    return start


def test_each_factor_of_the_loss_reaches_its_part(workspace: Path, tmp_path: Path) -> None:
    """With a factor of 0 the decoder stays as it was; with the factor it moves."""
    for factors, still in (({"local_weight": 0.0}, "local_decoders"), ({"global_weight": 0.0}, "face_decoder")):
        made = module(workspace, VLFAUModule, **factors)
        before = {name: value.clone() for name, value in made.network.speech.named_parameters()}
        fit(made, runs.make_data(workspace), tmp_path / still, epochs=1, seed=0, progress=False, accelerator="cpu")
        moved = {
            name.partition(".")[0]
            for name, value in made.network.speech.named_parameters()
            if not torch.equal(value, before[name])
        }
        assert still not in moved and {"branches", "local_decoders", "face_decoder"} - {still} <= moved


def test_attention_without_rendered_changes_is_guided_by_fixed_regions(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(language._log, "warning", lambda text, *given: said.append(text % given))
    rows = runs.make_data(workspace).splits["train"]
    targets = attention_targets(rows, tuple(AUS), (2, 2))
    assert targets.shape == (len(rows), 3, 4)
    torch.testing.assert_close(targets.sum(-1), torch.ones(len(rows), 3))
    assert len(said) == 1 and "fixed per action unit" in said[0]
    assert (targets == targets[:1]).all()


def test_the_temperature_undoes_a_factor(rng: np.random.Generator) -> None:
    logits = torch.from_numpy(rng.normal(0, 2, (4000, 2)))
    target = torch.from_numpy((rng.random((4000, 2)) < 1 / (1 + np.exp(-logits.numpy()))).astype(int))
    assert fit_temperature(logits * 1.85, target) == pytest.approx(1.85, rel=0.06)
    assert fit_temperature(logits, torch.full((4000, 2), -1)) == 1.0


def test_what_does_not_speak_is_refused(workspace: Path) -> None:
    with pytest.raises(ValueError, match="to be VLFAU or PlainVLFAU, but got AUFormer"):
        runs.make_module(workspace, kind=VLFAUModule)
    with pytest.raises(ValueError, match="to be AULLaVA, but got AUFormer"):
        runs.make_module(workspace, kind=AULLaVAModule, lr=1e-3)
    with pytest.raises(ValueError, match="0 or more, but got"):
        module(workspace, VLFAUModule, map_weight=-1.0)
    assert math.isfinite(module(workspace, VLFAUModule).factors["map"])
