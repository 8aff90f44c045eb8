"""A small recurrent decoder that writes a sentence about some tokens of an image [ours: VL-FAU's own is not known]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN, EMBEDDING = 128, 64  # [ours]


class SentenceDecoder(nn.Module):
    """A GRU (Cho et al., 2014) over words whose start is the pooled image, and attention over its tokens at each word.

    Args:
        num_words: Size of the vocabulary `V`.
        width: Channels `d` of tokens and pooled features.
        num_subjects: What there are sentences about: each has an embedding in the start state.
        longest: Words after which a sentence ends in any case.
        begin: Number of the word before the first.
        end: Number of the word after the last.
        pad: Number of the word after that.
    """

    def __init__(
        self, num_words: int, width: int, num_subjects: int, *, longest: int, begin: int, end: int, pad: int
    ) -> None:
        super().__init__()
        self.longest, self.begin, self.end, self.pad = longest, begin, end, pad
        self.words = nn.Embedding(num_words, EMBEDDING)
        self.subjects = nn.Embedding(num_subjects, HIDDEN)
        self.start = nn.Linear(width, HIDDEN)
        self.gru = nn.GRU(EMBEDDING, HIDDEN, batch_first=True)
        self.query = nn.Linear(HIDDEN, width)
        self.out = nn.Linear(HIDDEN + width, num_words)

    def state(self, pooled: Tensor, subject: Tensor) -> Tensor:
        """Start state `(1, M, 128)` from pooled features `(M, d)` and what the sentence is about `(M,)`."""
        return (self.start(pooled) + self.subjects(subject)).tanh().unsqueeze(0)

    def forward(self, words: Tensor, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the words that follow `words`.

        Args:
            words: `(M, L)`.
            tokens: `(M, T, d)`.
            state: `(1, M, 128)`.

        Returns:
            Logits `(M, L, V)`, and the state after the last word.
        """
        hidden, state = self.gru(self.words(words), state)
        scores = self.query(hidden) @ tokens.transpose(1, 2) * tokens.shape[-1] ** -0.5  # (M, L, T)
        return self.out(torch.cat([hidden, scores.softmax(-1) @ tokens], -1)), state

    def loss(self, targets: Tensor, tokens: Tensor, pooled: Tensor, subject: Tensor) -> Tensor:
        """Cross-entropy per word of sentences `(M, L)` that end with the end word and are filled up with padding.

        Returns:
            The mean over words, padding left out; 0 without a sentence.
        """
        if not len(targets):
            return pooled.sum() * 0
        before = F.pad(targets[:, :-1], (1, 0), value=self.begin)
        logits, _ = self(before, tokens, self.state(pooled, subject))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=self.pad)

    @torch.no_grad()
    def write(self, tokens: Tensor, pooled: Tensor, subject: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest word after the likeliest word, to the end of each sentence.

        Args:
            tokens: `(M, T, d)`.
            pooled: `(M, d)`.
            subject: `(M,)`.

        Returns:
            Words `(M, L)`, padding behind each end, and the mean log-probability per word `(M,)`.
        """
        state, last = self.state(pooled, subject), torch.full_like(subject, self.begin)
        total, length = pooled.new_zeros(len(pooled)), pooled.new_zeros(len(pooled))
        done = torch.zeros_like(subject, dtype=torch.bool)
        words = []
        for _ in range(self.longest):
            logits, state = self(last.unsqueeze(1), tokens, state)
            best, last = logits[:, 0].log_softmax(-1).max(-1)
            last = last.masked_fill(done, self.pad)
            total, length = total + best.masked_fill(done, 0.0), length + (~done)
            words.append(last)
            done = done | (last == self.end)
            if bool(done.all()):
                break
        return torch.stack(words, 1), total / length.clamp_min(1)
