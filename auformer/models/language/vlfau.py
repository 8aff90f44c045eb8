"""VL-FAU: a branch per action unit (AU) that decides, shows where it looked, and says what the muscle does.

In the style of Ge et al., "Towards End-to-End Explainable Facial Action Unit Recognition via Vision-Language Joint
Learning", ACM MM 2024, arxiv.org/abs/2408.00644. Theirs [W: abstract]: a refined branch per AU, a sentence generator
per branch and one for the face on the stem's features, trained jointly with detection. Ours, as neither the text nor
code could be read: everything else. They train a Swin; here the ViT is frozen, and the branches read AUFormer's experts
(`VLFAU`) or the plain tokens (`PlainVLFAU`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from auformer.language.grammar import Grammar
from auformer.language.lexicon import lexicon_version
from auformer.language.vocabulary import Vocabulary, sentence_tokens
from auformer.models.auformer import AUFormer
from auformer.models.experts import Carried
from auformer.models.heads import MLPHead
from auformer.models.language.branches import Branches, Refined
from auformer.models.language.sentence_decoder import SentenceDecoder
from auformer.models.language.speaking import Description, Saying
from auformer.models.network import AUNetwork

LONGEST = 32  # words and signs after which a sentence about an AU ends in any case [ours]
PER_CLAUSE, HEAD = 12, 8  # words and signs of a clause, and of the count before them, in a sentence about the face
PER_SIDE = 6  # more of a clause that names a side


class Parts(NamedTuple):
    """One forward pass: everything that losses and sentences need.

    Args:
        found: As `outputs` gives it.
        refined: What the branches made.
        stem: Normed patch tokens `(B, T, D)`, which the sentence about the face reads.
    """

    found: dict[str, Tensor]
    refined: Refined
    stem: Tensor


class Speech(nn.Module):
    """Branches and decoders on top of a network, the same for both kinds.

    Args:
        au_names: The `N` AUs.
        inputs: Channels of a branch's tokens.
        places: Tokens `T`.
        dim: Channels `D` of the stem's tokens.
        width: Channels `d` of the branches.
        per_au: A decoder for each AU, as the paper says [W], instead of one for all that is told which [ours].
        sides: Sentences say where an AU acts on one side only [ours].

    Raises:
        ValueError: An AU has no words in the lexicon.
    """

    def __init__(
        self, au_names: Sequence[str], inputs: int, places: int, dim: int, width: int, per_au: bool, sides: bool
    ) -> None:
        super().__init__()
        self.au_names = tuple(au_names)
        self.grammar = Grammar(self.au_names, sides=sides)
        self.vocabulary = words = Vocabulary(sentence_tokens(self.grammar))
        self.branches = Branches(len(self.au_names), inputs, places, width)
        ends = {"begin": words.begin, "end": words.end, "pad": words.pad}
        each, subjects = (len(self.au_names), 1) if per_au else (1, len(self.au_names))
        longest = LONGEST + PER_SIDE * sides
        self.local_decoders = nn.ModuleList(
            [SentenceDecoder(len(words), width, subjects, longest=longest, **ends) for _ in range(each)]
        )
        longest = HEAD + (PER_CLAUSE + PER_SIDE * sides) * len(self.au_names)
        self.face_decoder = SentenceDecoder(len(words), dim, 1, longest=longest, **ends)

    def _decoder(self, place: int) -> tuple[Any, int]:
        """The decoder of an AU, and which of its subjects the AU is."""
        return (self.local_decoders[place], 0) if len(self.local_decoders) > 1 else (self.local_decoders[0], place)

    def _groups(self, rows: Tensor) -> list[tuple[Any, Tensor, Tensor]]:
        """For each decoder: which pairs `(M,)` of `rows (n, 2)` of (image, AU) it writes, and their subjects `(M,)`."""
        if len(self.local_decoders) == 1:
            return [(self.local_decoders[0], torch.arange(len(rows), device=rows.device), rows[:, 1])]
        groups = []
        for place, decoder in enumerate(self.local_decoders):
            mine = (rows[:, 1] == place).nonzero().squeeze(1)
            groups.append((decoder, mine, torch.zeros_like(mine)))
        return groups

    def local_loss(self, refined: Refined, rows: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy per word of sentences `(n, L)` about pairs `(n, 2)` of image and AU; 0 without any."""
        total, count = refined.pooled.sum() * 0, 0
        for decoder, mine, subject in self._groups(rows):
            image, au = rows[mine].unbind(1)
            words = int((targets[mine] != decoder.pad).sum())
            loss = decoder.loss(targets[mine], refined.tokens[image, au], refined.pooled[image, au], subject)
            total, count = total + loss * words, count + words
        return total / max(count, 1)

    def face_loss(self, stem: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy per word of sentences about faces `(B, L)`, from the stem's tokens `(B, T, D)`."""
        return self.face_decoder.loss(targets, stem, stem.mean(1), targets.new_zeros(len(targets)))

    def encode(self, texts: Sequence[str], device: Any) -> Tensor:
        """Texts as word numbers `(n, L)`, each with its end, padding behind it."""
        numbers = [[*self.vocabulary.encode(text), self.vocabulary.end] for text in texts]
        longest = max(map(len, numbers), default=1)
        filled = [row + [self.vocabulary.pad] * (longest - len(row)) for row in numbers]
        return torch.tensor(filled, dtype=torch.long, device=device).reshape(len(texts), longest)

    @torch.no_grad()
    def write(self, parts: Parts) -> list[Description]:
        """The sentences about each image of a forward pass."""
        refined, number = parts.refined, len(self.au_names)
        images = len(refined.logits)
        rows = torch.cartesian_prod(torch.arange(images), torch.arange(number)).to(refined.logits.device)
        local: list[Saying] = [Saying("")] * len(rows)
        for decoder, mine, subject in self._groups(rows):
            image, au = rows[mine].unbind(1)
            sayings = self._sayings(decoder, refined.tokens[image, au], refined.pooled[image, au], subject)
            for place, saying in zip(mine.tolist(), sayings, strict=True):
                local[place] = saying
        stem = parts.stem
        faces = self._sayings(self.face_decoder, stem, stem.mean(1), rows.new_zeros(images))
        probs, intensity = parts.found["probs"].float().cpu().numpy(), parts.found.get("intensity")
        levels = [None] * images if intensity is None else list(intensity.float().cpu().numpy())
        return [
            Description(
                probs[image], levels[image], dict(zip(self.au_names, local[image * number :], strict=False)), face
            )
            for image, face in enumerate(faces)
        ]

    def _sayings(self, decoder: Any, tokens: Tensor, pooled: Tensor, subject: Tensor) -> list[Saying]:
        words, log_probs = decoder.write(tokens, pooled, subject)
        texts = map(self.vocabulary.decode, words.tolist())
        return [Saying(text, round(value, 4)) for text, value in zip(texts, log_probs.tolist(), strict=True)]


def check_lexicon(lexicon: str | None) -> None:
    """Refuse a network that was trained on other words.

    Raises:
        ValueError: Says so.
    """
    if lexicon not in (None, lexicon_version()):
        raise ValueError(
            f"Expected the lexicon {lexicon_version()} of this version of auformer, but the sentences were learned "
            f"with the lexicon {lexicon}: use the version that trained it, or train again"
        )


class VLFAU(AUFormer):
    """AUFormer whose experts are the input of the branches: what each expert handed on in all `2L` groups [ours].

    Args:
        backbone: As for `AUFormer`, as are the other arguments of that name.
        au_names: Action units that have words in the lexicon.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels.
        expert_width: Bottleneck channels `R` of one expert; a branch reads `2L R` channels.
        pool: `avg` or `token`, of the main head.
        intensity: `none`, `regression` or `ordinal`.
        expert_heads: Build the expert heads.
        branch_width: Channels `d` of a branch.
        per_au: A sentence decoder for each AU.
        sides: Sentences name the side of what acts on one only; training needs labels of sides, and enough that differ.
        lexicon: Version of the words; in files, so that no network speaks with other words than it learned.

    Raises:
        ValueError: An argument is out of its range, or an action unit has no words.
    """

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, expert_width: int = 8,
        pool: str = "avg", intensity: str = "none", expert_heads: bool = True, branch_width: int = 64,
        per_au: bool = False, sides: bool = False,
        lexicon: str | None = None,
    ) -> None:  # fmt: skip
        check_lexicon(lexicon)
        check_width(branch_width)
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size,
            expert_width=expert_width, pool=pool, intensity=intensity, expert_heads=expert_heads,
        )  # fmt: skip
        places = self.grid_size[0] * self.grid_size[1]
        channels = len(self.groups) * expert_width
        self.speech = Speech(self.au_names, channels, places, self.embed_dim, branch_width, per_au, sides)
        kept = ("backbone", "au_names", "img_size", "pool", "intensity", "expert_width", "expert_heads")
        self.arguments = {name: self.arguments[name] for name in kept if name in self.arguments}
        self.arguments |= {"branch_width": branch_width, "per_au": per_au, "sides": sides, "lexicon": lexicon_version()}
        self.train()

    def parts(self, images: Tensor) -> Parts:
        """One forward pass over images `(B, 3, H, W)` float in [0, 1]."""
        narrow: list[Tensor] = []

        def visit(carried: Carried) -> None:
            narrow.append(carried.g.unflatten(2, (len(self.au_names), -1)))  # (B, T, N, R)

        x, carried = self.tokens(images, visit)
        found = self.head_outputs(self.pool_tokens(x), carried)
        refined = self.speech.branches(torch.cat(narrow, -1).transpose(1, 2))  # (B, N, T, 2L R)
        return Parts(
            with_branches(found, refined), refined, self.backbone.norm(x)[:, self.backbone.num_prefix_tokens :]
        )

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """As `AUNetwork.outputs`, and `branch_logits (B, N)`; `probs` is the mean over main head, experts, branches."""
        return self.parts(images).found

    def predict_probs(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` to probabilities `(B, N)`: the mean over main head, expert heads and branches."""
        return self.outputs(images)["probs"]

    @torch.no_grad()
    def describe(self, images: Tensor) -> list[Description]:
        """Images `(B, 3, H, W)` to a sentence per action unit and one about the face, each."""
        return self.speech.write(self.parts(images))

    def attention_maps(self, images: Tensor) -> Tensor:
        """Where each branch looked `(B, N, h, w)`, of sum 1 each."""
        return self.parts(images).refined.attention.unflatten(2, self.grid_size)


class PlainVLFAU(AUNetwork):
    """The same branches and sentences on the frozen ViT's own patch tokens: what the experts are to be compared with.

    Args:
        backbone: As for `AUNetwork`, as are the other arguments of that name.
        au_names: Action units that have words in the lexicon.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels.
        pool: `avg` or `token`, of the main head.
        intensity: `none`, `regression` or `ordinal`.
        branch_width: Channels `d` of a branch.
        per_au: A sentence decoder for each AU.
        sides: Sentences name the side of what acts on one only; training needs labels of sides, and enough that differ.
        lexicon: Version of the words, as for `VLFAU`.

    Raises:
        ValueError: An argument is out of its range, or an action unit has no words.
    """

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None, pool: str = "avg",
        intensity: str = "none", branch_width: int = 64, per_au: bool = False, sides: bool = False,
        lexicon: str | None = None,
    ) -> None:  # fmt: skip
        check_lexicon(lexicon)
        check_width(branch_width)
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool,
            intensity=intensity,
        )  # fmt: skip
        self.backbone.requires_grad_(False)
        self.head = MLPHead(self.embed_dim, len(self.au_names))
        places = self.grid_size[0] * self.grid_size[1]
        self.speech = Speech(self.au_names, self.embed_dim, places, self.embed_dim, branch_width, per_au, sides)
        self.arguments |= {"branch_width": branch_width, "per_au": per_au, "sides": sides, "lexicon": lexicon_version()}
        self.add_intensity_head()
        self.train()

    def parts(self, images: Tensor) -> Parts:
        """One forward pass over images `(B, 3, H, W)` float in [0, 1]."""
        with torch.no_grad():
            x = self.plain_tokens(images)
        found = self.head_outputs(self.pool_tokens(x), None)
        stem = self.backbone.norm(x)[:, self.backbone.num_prefix_tokens :]
        refined = self.speech.branches(stem.unsqueeze(1))
        return Parts(with_branches(found, refined), refined, stem)

    outputs, predict_probs = VLFAU.outputs, VLFAU.predict_probs
    describe, attention_maps = VLFAU.describe, VLFAU.attention_maps


def with_branches(found: dict[str, Tensor], refined: Refined) -> dict[str, Tensor]:
    """Outputs of the heads with the branches' decisions beside them; `probs` is the mean over all heads there are."""
    heads = [found[name] for name in ("logits", "expert_logits") if name in found]
    probs = torch.stack([logits.sigmoid() for logits in (*heads, refined.logits)]).mean(0)
    return {**found, "branch_logits": refined.logits, "probs": probs}


def check_width(width: int) -> None:
    """Refuse a number of channels of the branches that is out of range.

    Raises:
        ValueError: Not a whole number from 4 to 1,024.
    """
    if type(width) is not int or not 4 <= width <= 1024:
        raise ValueError(f"Expected `branch_width` to be a whole number from 4 to 1024, but got {width!r}")
