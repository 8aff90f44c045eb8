"""Training of networks that speak: the losses of detection, and those of sentences, attention and answers beside them.

What is drawn (which of the sentences that say the same, which question) is a function of (seed, epoch, batch), so a run
that is resumed goes on as it would have.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Mapping
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from auformer.data.manifest import MANIFEST, ROW
from auformer.language.facts import Fact, fact_of
from auformer.language.grammar import Grammar
from auformer.language.lexicon import SIDES
from auformer.language.prompts import KINDS, LEVELS, NO, VALUES, YES, list_answer
from auformer.models.language.aullava import AULLaVA
from auformer.models.language.vlfau import VLFAU, Parts, PlainVLFAU
from auformer.synthetic.change import fixed_regions, read_changes
from auformer.training.module import AUModule, NetworkFactory
from auformer.training.scores import OutputCollector

_log = logging.getLogger(__name__)
ONE_SIDED = 0.1  # share of active AUs that act on one side only, below which words for sides are not learned [ours]


def batch_facts(
    label: np.ndarray, intensity: np.ndarray | None, au_names: tuple[str, ...], sides: np.ndarray | None = None
) -> list[list[Fact]]:
    """Facts of each row of a batch, of its annotated AUs.

    Args:
        label: `(B, N)` of 1, 0, -1.
        intensity: `(B, N)` of 0 to 5, NaN where not coded; None where nothing is.
        au_names: The N AUs.
        sides: Labels of (left, right) `(B, N, 2)`; None where they are not to be named.
    """
    levels = np.full(label.shape, math.nan) if intensity is None else intensity
    halves = np.full((*label.shape, 2), -1) if sides is None else sides
    return [
        [
            fact_of(au, bool(state), float(level), both)
            for au, state, level, both in zip(au_names, row, coded, of_row.tolist(), strict=True)
            if state >= 0
        ]
        for row, coded, of_row in zip(label, levels, halves, strict=True)
    ]


def check_sides(rows: Any, au_names: tuple[str, ...]) -> None:
    """Refuse to learn words for sides from training rows that hardly show any.

    Raises:
        ValueError: There are no labels of sides, or too few active action units act on one side only.
    """
    active, alone = 0, 0
    for au in au_names:
        left, right = (rows.get(f"{au}_{side}") for side in SIDES)
        on = rows[au] == 1
        active += int(on.sum())
        if left is not None and right is not None:
            alone += int((on & (left >= 0) & (right >= 0) & (left != right)).sum())
    share = alone / max(1, active)
    if share < ONE_SIDED:
        raise ValueError(
            f"Expected `sides: true` with labels of sides (AU12_left, AU12_right), and at least {ONE_SIDED:.0%} of the "
            f"active action units on one side only, but got {share:.1%} in the training rows: leave it out, or render "
            "faces with `auformer synth --asymmetry 0.5`"
        )


class SpeakingModule(AUModule):
    """What the modules of this file share: where their draws come from, and scores of the prediction itself."""

    network: Any  # a network that speaks

    def forget_unused(self) -> None:
        """Keep no argument of `AUModule` that this module does not take: it is no fact about the run."""
        own = inspect.signature(type(self)).parameters
        for name in [name for name in self.hparams if name not in own]:
            del self.hparams[name]

    def draws(self, batch_idx: int) -> np.random.Generator:
        """The generator of one batch."""
        data: Any = getattr(self.trainer, "datamodule", None)
        return np.random.default_rng([getattr(data, "seed", 0), self.current_epoch, batch_idx])

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Gather one batch of a split: the logit of the predicted probability, which no single head gives."""
        found = self.network.outputs(batch["image"])
        found = {**found, "logits": found["probs"].float().clamp(1e-7, 1 - 1e-7).logit()}
        self.outputs.update(batch["index"], batch["label"], found, batch.get("intensity"))

    test_step = validation_step


class VLFAUModule(SpeakingModule):
    """Trains VL-FAU: detection by all heads, a sentence per action unit, one per face, and where each branch looks.

    The loss is that of `AUModule` on main and expert heads, plus `branch_weight` times the same on the branches,
    `local_weight` and `global_weight` times the cross-entropy per word of the sentences, and `map_weight` times the
    cross-entropy between a branch's attention and what its action unit changes in the image, for the active ones
    [weights ours]. Sentences are drawn anew in each step from all that say the labels. An action unit that is not
    annotated has no sentence and no map; a side is named where the network was built with `sides`. What changes is
    known of rendered faces (`auformer.synthetic.change`, the file beside the manifest); elsewhere the target is a
    region per action unit that is fixed by us.

    Args:
        network: `VLFAU` or `PlainVLFAU`, all but its action units.
        au_names: As for `AUModule`, as are the other arguments of that name.
        au_weights: Weight of each in the loss.
        loss: Of all heads.
        margin: Margin of MDWA.
        gamma_low: Exponent of the AU with the smallest weight.
        gamma_high: Exponent of the AU with the largest weight.
        dice_weight: Factor of the Dice term.
        expert_loss_weight: Factor of the expert heads' term.
        intensity_weight: Factor of the intensities' term, where the network has an intensity head.
        branch_weight: Factor of the branches' term.
        local_weight: Factor of the sentences about action units; with 0 nothing is learned for them.
        global_weight: Factor of the sentence about the face.
        map_weight: Factor of the attention's term.
        lr: Highest learning rate.
        weight_decay: Decay of AdamW.
        betas: Betas of AdamW.
        warmup_fraction: Fraction of the steps over which the learning rate rises.

    Raises:
        ValueError: As `AUModule`; the network does not speak, or a factor is below 0; as training starts, there is too
            little to learn sides from.
    """

    def __init__(
        self,
        network: NetworkFactory,
        au_names: list[str],
        au_weights: list[float],
        loss: Literal["mdwa", "wa", "asl", "focal", "bce", "weighted_bce"] = "mdwa",
        margin: float = 0.05,
        gamma_low: float = 1.0,
        gamma_high: float = 2.0,
        dice_weight: float = 1.0,
        expert_loss_weight: float = 1.0,
        intensity_weight: float = 1.0,
        branch_weight: float = 1.0,
        local_weight: float = 0.5,
        global_weight: float = 0.25,
        map_weight: float = 0.5,
        lr: float = 2e-3,
        weight_decay: float = 0.05,
        betas: list[float] = [0.9, 0.99],  # noqa: B006 (as in AUModule)
        warmup_fraction: float = 0.08,
    ) -> None:
        super().__init__(
            network, au_names, au_weights, loss=loss, margin=margin, gamma_low=gamma_low, gamma_high=gamma_high,
            dice_weight=dice_weight, expert_loss_weight=expert_loss_weight, intensity_weight=intensity_weight, lr=lr,
            weight_decay=weight_decay, betas=betas, warmup_fraction=warmup_fraction,
        )  # fmt: skip
        if not isinstance(self.network, VLFAU | PlainVLFAU):
            raise ValueError(f"Expected `network` to be VLFAU or PlainVLFAU, but got {type(self.network).__name__}")
        self.forget_unused()
        self.factors = {"branches": branch_weight, "local": local_weight, "global": global_weight, "map": map_weight}
        if not all(0 <= factor < math.inf for factor in self.factors.values()):
            raise ValueError(f"Expected the factors of the loss to be 0 or more, but got {self.factors}")
        self.outputs = OutputCollector(len(au_names), experts=False, intensity=self.network.intensity)
        self.targets: Tensor | None = None  # of the attention, by training row `(rows, N, T)`

    def on_fit_start(self) -> None:
        """Measure features, and read where the action units of the training rows show."""
        super().on_fit_start()
        data: Any = getattr(self.trainer, "datamodule", None)
        if len(self.network.speech.grammar.sides) > 1:
            check_sides(data.splits["train"], self.network.au_names)
        if self.factors["map"]:
            self.targets = attention_targets(data.splits["train"], self.network.au_names, self.network.grid_size)

    def batch_terms(
        self, batch: Mapping[str, Tensor], batch_idx: int
    ) -> tuple[Mapping[str, Tensor], dict[str, Tensor]]:
        """One forward pass, and all terms of the loss over it."""
        parts: Parts = self.network.parts(batch["image"])
        terms = self.joint_terms(parts.found, batch["label"], batch.get("intensity"))
        terms["branches"] = self.loss_function(parts.refined.logits, batch["label"])["loss"]
        terms |= self.sentence_terms(parts, batch, self.draws(batch_idx))
        if self.targets is not None:
            terms["map"] = self.map_term(parts, batch)
        added = [factor * terms[name] for name, factor in self.factors.items() if name in terms]
        return parts.found, {**terms, "loss": terms["loss"] + sum(added)}

    def sentence_terms(self, parts: Parts, batch: Mapping[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Cross-entropy per word of the sentences about action units and about faces; none with a factor of 0."""
        speech: Any = self.network.speech
        label, strength = batch["label"].cpu().numpy(), batch.get("intensity")
        levels = None if strength is None else strength.cpu().numpy()
        sides = batch["sides"].cpu().numpy() if len(speech.grammar.sides) > 1 else None
        facts = batch_facts(label, levels, self.network.au_names, sides)
        terms = {}
        if self.factors["local"]:
            place = {au: number for number, au in enumerate(self.network.au_names)}
            pairs = [(row, place[fact.au]) for row, mine in enumerate(facts) for fact in mine]
            texts = [speech.grammar.sentence(fact, rng) for mine in facts for fact in mine]
            rows = torch.tensor(pairs, dtype=torch.long, device=self.device).reshape(-1, 2)
            terms["local"] = speech.local_loss(parts.refined, rows, speech.encode(texts, self.device))
        whole = [row for row, mine in enumerate(facts) if len(mine) == len(self.network.au_names)]
        if self.factors["global"] and whole:
            texts = [speech.grammar.face(facts[row], rng) for row in whole]
            terms["global"] = speech.face_loss(parts.stem[whole], speech.encode(texts, self.device))
        return terms

    def map_term(self, parts: Parts, batch: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy between attention and what changes, the mean over the active action units of a batch."""
        assert self.targets is not None
        target = self.targets[batch["index"].cpu()].to(parts.refined.scores)  # (B, N, T)
        flipped = batch.get("flipped")
        if flipped is not None:
            target = flip(target, flipped.to(target.device), self.network.grid_size)
        active = batch["label"] == 1
        entropy = -(target * parts.refined.scores.log_softmax(-1)).sum(-1)
        return torch.where(active, entropy, 0.0).sum() / active.sum().clamp_min(1)


def flip(maps: Tensor, flipped: Tensor, grid: tuple[int, int]) -> Tensor:
    """Maps `(B, N, T)` with left and right swapped in the rows `(B,)` whose image is flipped."""
    mirrored = maps.unflatten(-1, grid).flip(-1).flatten(-2)
    return torch.where(flipped.view(-1, 1, 1), mirrored, maps)


def attention_targets(rows: Any, au_names: tuple[str, ...], grid: tuple[int, int]) -> Tensor:
    """Where each action unit shows in each training row `(n, N, T)`, of sum 1: what changes, else a fixed region."""
    fixed = fixed_regions(au_names, grid)
    targets = np.broadcast_to(fixed, (len(rows), *fixed.shape)).copy()
    measured = 0
    for manifest in rows[MANIFEST].astype(str).unique():
        maps = read_changes(manifest, au_names)
        if maps is None:
            continue
        mine = (rows[MANIFEST].astype(str) == manifest).to_numpy().nonzero()[0]
        chosen = maps[rows[ROW].to_numpy()[mine]]  # (m, N, h, w)
        if chosen.shape[2:] != tuple(grid):
            flat = chosen.reshape(-1, *chosen.shape[2:])
            flat = np.stack([cv2.resize(one, (grid[1], grid[0]), interpolation=cv2.INTER_AREA) for one in flat])
            chosen = flat.reshape(*chosen.shape[:2], *grid)
        mass = chosen.sum((2, 3), keepdims=True)
        targets[mine] = np.where(mass > 0, chosen / np.maximum(mass, 1e-9), targets[mine])
        measured += len(mine)
    if measured < len(rows):
        _log.warning(
            "Attention of %d of %d training images is guided by regions that are fixed per action unit: there is no "
            "file of rendered changes beside their manifest.", len(rows) - measured, len(rows),
        )  # fmt: skip
    return torch.from_numpy(targets).float().flatten(2)


class AULLaVAModule(SpeakingModule):
    """Trains AU-LLaVA on questions and their answers; the loss is the cross-entropy per token of the answers.

    In each step every image is asked about the occurrence of each annotated action unit, and in the same pass one other
    kind of question, drawn for the step: about each of them by itself, or, where all are annotated, for a list of all
    in a random order [ours: all kinds in every step cost twice the time]. Weights of action units and a Dice term
    are not used: the probability of an answer keeps its meaning.

    Where the data module does not augment, images are flipped at random here, and the frozen ViT sees each of the two
    forms once: its tokens are kept in half precision, 38 KB an image of the demo backbone.

    Args:
        network: `AULLaVA`, all but its action units.
        au_names: As for `AUModule`.
        au_weights: Not used by this loss.
        lr: Highest learning rate; 1e-3 for the small language model, 2e-4 for LoRA [ours].
        weight_decay: Decay of AdamW.
        betas: Betas of AdamW.
        warmup_fraction: Fraction of the steps over which the learning rate rises.
        max_sentences: Of one image in a step, of a network that describes; the action units are drawn.

    Raises:
        ValueError: As `AUModule`; or the network is no AULLaVA.
    """

    def __init__(
        self,
        network: NetworkFactory,
        au_names: list[str],
        au_weights: list[float],
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        betas: list[float] = [0.9, 0.99],  # noqa: B006 (as in AUModule)
        warmup_fraction: float = 0.08,
        max_sentences: int = 4,
    ) -> None:
        super().__init__(
            network, au_names, au_weights, loss="bce", dice_weight=0.0, expert_loss_weight=0.0, lr=lr,
            weight_decay=weight_decay, betas=betas, warmup_fraction=warmup_fraction,
        )  # fmt: skip
        if not isinstance(self.network, AULLaVA):
            raise ValueError(f"Expected `network` to be AULLaVA, but got {type(self.network).__name__}")
        if max_sentences < 1:
            raise ValueError(f"Expected `max_sentences` to be at least 1, but got {max_sentences}")
        self.forget_unused()
        self.intensity_loss = None  # levels are answers
        self.max_sentences = max_sentences
        self.kept: dict[tuple[int, bool], Tensor] = {}

    def batch_terms(
        self, batch: Mapping[str, Tensor], batch_idx: int
    ) -> tuple[Mapping[str, Tensor], dict[str, Tensor]]:
        """All questions about the images of a batch, and their loss."""
        rng = self.draws(batch_idx)
        tokens = self.tokens_of(batch, rng)
        label, strength = batch["label"].cpu().numpy(), batch.get("intensity")
        texts = self.texts(label, None if strength is None else strength.cpu().numpy(), rng)
        loss = self.network.answer_loss(tokens, texts) if any(texts) else self.network.prefix(tokens).sum() * 0
        return {"logits": loss.detach().expand(len(label), len(self.network.au_names))}, {"loss": loss}

    def on_validation_epoch_end(self) -> None:
        """Score the validation split, and fit the temperature of the answers about occurrence on it."""
        super().on_validation_epoch_end()
        outputs = self.outputs.compute()
        if not self.trainer.sanity_checking and len(outputs.rows):
            place = KINDS.index("occurrence")
            before = float(self.network.temperatures[place])
            self.network.temperatures[place] = fit_temperature(outputs.logits * before, outputs.target)

    def tokens_of(self, batch: Mapping[str, Tensor], rng: np.random.Generator) -> Tensor:
        """The ViT's tokens of a batch `(B, T, D)`; kept between epochs where nothing but flips changes the images."""
        images = batch["image"]
        if "flipped" in batch:
            return self.network.image_tokens(images)
        keys = list(zip(batch["index"].tolist(), (rng.random(len(images)) < 0.5).tolist(), strict=True))
        new = [row for row, key in enumerate(keys) if key not in self.kept]
        if new:
            given = torch.stack([images[row].flip(-1) if keys[row][1] else images[row] for row in new])
            for row, tokens in zip(new, self.network.image_tokens(given).half(), strict=True):
                self.kept[keys[row]] = tokens
        return torch.stack([self.kept[key] for key in keys]).to(self.network.dtype)

    def texts(
        self, label: np.ndarray, levels: np.ndarray | None, rng: np.random.Generator
    ) -> list[list[tuple[str, str]]]:
        """Questions with true answers for each row of a batch: of occurrence, and of one other kind.

        Args:
            label: `(B, N)` of 1, 0, -1.
            levels: `(B, N)` of 0 to 5, NaN where not coded; None where nothing is.
            rng: Draws the other kind, orders, sentences, and what is described.
        """
        network, names = self.network, self.network.au_names
        coded = np.full(label.shape, math.nan) if levels is None else levels
        others = [kind for kind in network.questions if kind != "occurrence"]
        kinds = ["occurrence", *([str(rng.choice(others))] if others else [])]
        found = []
        for mine, level in zip(batch_facts(label, levels, names), coded.tolist(), strict=True):
            by_au = {fact.au: (fact, one) for fact in mine for one in [level[names.index(fact.au)]]}
            asked: list[tuple[str, str]] = []
            for kind in kinds:
                chosen = list(by_au)
                if kind == "list":
                    order = [str(au) for au in rng.permutation(names)]
                    if len(by_au) == len(names):
                        states = {au: by_au[au][0].active for au in order}
                        asked.append((network.ask("list", order), list_answer(states)))
                    continue
                if kind in ("level", "value"):
                    chosen = [au for au in chosen if not math.isnan(by_au[au][1])]
                if kind == "describe":
                    chosen = [str(au) for au in rng.permutation(chosen)][: self.max_sentences]
                asked += [(network.ask(kind, [au]), _answer(kind, *by_au[au], network.grammar, rng)) for au in chosen]
            found.append(asked)
        return found


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """The divisor of logits `(n, N)` with the lowest cross-entropy on labels `(n, N)` of 1, 0, -1 (Guo et al., 2017).

    Of 0.1 to 10, in steps of a per cent; 1 where nothing is annotated.
    """
    known = target >= 0
    if not bool(known.any()):
        return 1.0
    chosen, labels = logits[known].double(), target[known].double()
    tried = torch.logspace(-1, 1, 463, dtype=torch.float64).tolist()
    losses = [float(functional.binary_cross_entropy_with_logits(chosen / each, labels)) for each in tried]
    return float(tried[int(np.argmin(losses))])


def _answer(kind: str, fact: Fact, level: float, grammar: Grammar, rng: np.random.Generator) -> str:
    """The true answer to a question about one action unit, of a fact and an intensity of 0 to 5."""
    if kind == "occurrence":
        return YES if fact.active else NO
    if kind == "level":
        return LEVELS[min(math.floor(level + 0.5), len(LEVELS) - 1)]
    if kind == "value":
        return VALUES[round(100 * level / (len(LEVELS) - 1))]
    return grammar.sentence(fact, rng)
