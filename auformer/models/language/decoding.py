"""Answers of a language model about images: many questions in one pass, and texts that cannot be anything else.

All questions about a batch of images share the image tokens, so they are packed behind them: each question sees the
image and itself, never another question, and counts its positions from the end of the image. That is exact, not an
approximation, and without the positions silently wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from auformer.language.answers import Node, Slot, build_trie
from auformer.models.language.lm import LanguageModel

DROPPED = 1e-3  # answers behind a branch that no image gives this probability are left out [ours]


def packed_mask(prefix: int, lengths: Sequence[int], *, dtype: torch.dtype, device: Any) -> Tensor:
    """What each token of `[prefix, block, block, ...]` may see, added to attention: 0 or the lowest number.

    Args:
        prefix: Tokens that all blocks share.
        lengths: Tokens of each block.
        dtype: Of the result.
        device: Of the result.

    Returns:
        `(1, 1, L, L)` with `L = prefix + sum(lengths)`.

    >>> (packed_mask(1, [2, 1], dtype=torch.float32, device="cpu")[0, 0] == 0).int().tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 1]]
    """
    whose = torch.repeat_interleave(torch.arange(len(lengths) + 1), torch.tensor([prefix, *lengths]))
    place = torch.arange(len(whose))
    sees = (place[:, None] >= place) & ((whose == 0) | (whose[:, None] == whose))
    mask = torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)
    return mask[None, None].to(device)


def packed_positions(prefix: int, lengths: Sequence[int], device: Any) -> Tensor:
    """Each token's place in its own text `(1, L)`: every block goes on where the prefix ends.

    >>> packed_positions(2, [2, 1], "cpu").tolist()
    [[0, 1, 2, 3, 2]]
    """
    return torch.cat([torch.arange(prefix), *(torch.arange(prefix, prefix + each) for each in lengths)])[None].to(
        device
    )


def packed_logits(model: LanguageModel, image: Tensor, text: Tensor, lengths: Sequence[int], keep: Tensor) -> Tensor:
    """Logits at some places of blocks of text behind image tokens.

    Args:
        model: The language model.
        image: What all blocks share `(B, P, D)`, see `AULLaVA.prefix`.
        text: Token numbers of the blocks, one after the other `(B, S)`, or `(1, S)` where all images have the same.
        lengths: Tokens of each block, of sum S.
        keep: Places `(M,)` in the text.

    Returns:
        `(B, M, V)` float32.
    """
    prefix = image.shape[1]
    embeds = torch.cat([image, model.embed(text).expand(len(image), -1, -1).to(image.dtype)], 1)
    mask = packed_mask(prefix, lengths, dtype=image.dtype, device=image.device)
    return model(embeds, packed_positions(prefix, lengths, image.device), mask=mask, keep=prefix + keep)


@dataclass
class _Branch:
    """A place in a slot's trie where a choice is open: its slot, the tokens up to it, and the mass `(B,)` it has."""

    slot: int
    tokens: tuple[int, ...]
    node: Node
    mass: Tensor


def answer_probs(model: LanguageModel, image: Tensor, slots: Sequence[Slot]) -> list[Tensor]:
    """Probability of each allowed answer to each question; nothing else can be answered.

    At every place where the answers part, a softmax over the tokens that are allowed there. Where the first token
    settles all answers that is one pass through the model.

    Args:
        model: The language model.
        image: As for `packed_logits`.
        slots: The questions with their answers.

    Returns:
        Per slot `(B, A)`, rows of sum 1.
    """
    found = [image.new_zeros(len(image), len(slot.rests), dtype=torch.float32) for slot in slots]
    one = image.new_ones(len(image), dtype=torch.float32)
    open_ = [_Branch(number, slot.prompt, build_trie(slot.rests), one) for number, slot in enumerate(slots)]
    while open_:
        logits = _at_ends(model, image, [branch.tokens for branch in open_])
        following = []
        for branch, row in zip(open_, logits.unbind(1), strict=True):
            allowed = list(branch.node.next)
            probs = row[:, allowed].softmax(-1) * branch.mass[:, None]
            for token, mass in zip(allowed, probs.unbind(1), strict=True):
                tokens, node = _forced((*branch.tokens, token), branch.node.next[token])
                if node.answer >= 0:
                    found[branch.slot][:, node.answer] = mass
                elif bool((mass >= DROPPED).any()):
                    following.append(_Branch(branch.slot, tokens, node, mass))
        open_ = following
    return [probs / probs.sum(1, keepdim=True) for probs in found]


def _forced(tokens: tuple[int, ...], node: Node) -> tuple[tuple[int, ...], Node]:
    """Go on as long as there is no choice."""
    while len(node.next) == 1:
        ((token, node),) = node.next.items()
        tokens = (*tokens, token)
    return tokens, node


def _at_ends(model: LanguageModel, image: Tensor, texts: Sequence[tuple[int, ...]]) -> Tensor:
    """Logits after each of some texts `(B, K, V)`; all behind the same images, packed."""
    lengths = [len(text) for text in texts]
    text = torch.tensor([[token for each in texts for token in each]], device=image.device)
    return packed_logits(model, image, text, lengths, torch.tensor(lengths, device=image.device).cumsum(0) - 1)


class Reader:
    """An image prefix in a cache, behind which texts are read and taken back again.

    Args:
        model: The language model.
        image: As for `packed_logits`.
    """

    def __init__(self, model: LanguageModel, image: Tensor) -> None:
        self.model, self.image = model, image
        self.cache = model.new_cache()
        self.length = image.shape[1]
        self.tokens = torch.zeros(len(image), 0, dtype=torch.long, device=image.device)
        positions = torch.arange(self.length, device=image.device)[None]
        model(image, positions, keep=positions[0, -1:], cache=self.cache)

    def read(self, tokens: Tensor) -> Tensor:
        """Logits after whole texts `(B, L)`: `(B, V)`; what they share with those read before is not read again."""
        shared = min(self.tokens.shape[1], tokens.shape[1] - 1)
        same = (self.tokens[:, :shared] == tokens[:, :shared]).all(0)
        shared = int(same.cumprod(0).sum())
        if self.tokens.shape[1] > shared:
            self.cache.crop(shared - self.tokens.shape[1])  # negative: so many are taken off the end
        new = tokens[:, shared:]
        first = self.length + shared
        positions = torch.arange(first, first + new.shape[1], device=tokens.device)[None]
        keep = torch.tensor([new.shape[1] - 1], device=tokens.device)
        logits = self.model(self.model.embed(new).to(self.image.dtype), positions, keep=keep, cache=self.cache)
        self.tokens = tokens
        return logits[:, 0]


def choose_answers(reader: Reader, slot: Slot) -> tuple[list[int], list[float]]:
    """The likeliest token after the likeliest token among those allowed, to the end of an answer, for each image.

    Returns:
        The answers' numbers, and the mean log-probability of the choices that were open (0 where none was).
    """
    number, device = len(reader.image), reader.image.device
    nodes = [build_trie(slot.rests)] * number
    texts = torch.tensor(slot.prompt, device=device).expand(number, -1)
    totals, choices = [0.0] * number, [0] * number
    while any(_forced((), node)[1].answer < 0 for node in nodes):
        log_probs, following = reader.read(texts), []
        for row, node in enumerate(nodes):
            allowed = list(node.next)
            if not allowed:
                following.append(reader.model.end)
                continue
            if len(allowed) > 1:
                scores = log_probs[row, allowed].log_softmax(-1)
                best = int(scores.argmax())
                totals[row], choices[row] = totals[row] + float(scores[best]), choices[row] + 1
            else:
                best = 0
            following.append(allowed[best])
            nodes[row] = node.next[allowed[best]]
        texts = torch.cat([texts, torch.tensor(following, device=device)[:, None]], 1)
    answers = [_forced((), node)[1].answer for node in nodes]
    return answers, [total / max(open_, 1) for total, open_ in zip(totals, choices, strict=True)]


def free_texts(reader: Reader, prompt: Sequence[int], longest: int) -> list[str]:
    """What the model writes of itself after a prompt, greedily, for each image: to compare with allowed answers."""
    number, device = len(reader.image), reader.image.device
    texts = torch.tensor(list(prompt), device=device).expand(number, -1)
    done = torch.zeros(number, dtype=torch.bool, device=device)
    for _ in range(longest):
        last = reader.read(texts).argmax(-1).masked_fill(done, reader.model.end)
        done |= last == reader.model.end
        texts = torch.cat([texts, last[:, None]], 1)
        if bool(done.all()):
            break
    found = []
    for row in texts[:, len(prompt) :].tolist():
        found.append(reader.model.decode(row[: row.index(reader.model.end)] if reader.model.end in row else row))
    return found
