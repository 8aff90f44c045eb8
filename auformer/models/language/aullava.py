"""AU-LLaVA: a frozen ViT's tokens, one linear map, and a language model (LM) that answers questions about action units.

In the style of Hu et al., "Towards Unified Facial Action Unit Recognition Framework by Large Language Models",
arxiv.org/abs/2409.08444. Theirs [W: abstract and captions]: visual encoder, one linear projector, pre-trained LM; the
text states the purpose, the action units (AUs), and the form of the answer (occurrence, level, continuous value). Ours,
as neither the text nor code could be read: the questions and answers, constrained decoding, all settings. The small LM
that is built here shows that the parts work; it is not what the paper measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from auformer.aus import MAX_INTENSITY
from auformer.language.answers import Slot, make_slot
from auformer.language.grammar import Grammar
from auformer.language.lexicon import lexicon_version
from auformer.language.prompts import KINDS, NO, VERSION, YES, answers, question
from auformer.models.language.decoding import Reader, answer_probs, choose_answers, free_texts, packed_logits
from auformer.models.language.lm import DTYPES, TINY, pretrained_model, tiny_model
from auformer.models.language.projector import Projector, mean_length
from auformer.models.language.speaking import Description, Saying
from auformer.models.language.vlfau import check_lexicon
from auformer.models.network import AUNetwork

IGNORED = -100  # a target that no loss counts
EACH = ("occurrence", "level", "value", "describe")  # kinds that ask about one AU at a time
Text = tuple[str, str]  # a question and its answer


class AULLaVA(AUNetwork):
    """A language model that sees one face and answers in fixed forms.

    The probability of an AU is that of `yes` to its own question, so it does not depend on the order of AUs.

    Args:
        backbone: As for `AUNetwork`, as are the other arguments of that name; always frozen.
        au_names: Action units; with `describe` those that have words in the lexicon.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels.
        intensity: `none`, or `level` or `value`: intensities of 0 to 5 are the expectation of the answered level, or
            five times that of the answered value of 0.00 to 1.00, as FEAFA has them.
        lm: `tiny`, the small Llama that is built here, trained as a whole and kept in the adapter file; or a folder or
            hub name of a causal LM, which stays frozen and outside of the file.
        lm_lora: Rank of LoRA updates of a frozen LM; 0: none.
        lm_bits: Of a frozen LM's weights: 32 or 16 (bfloat16).
        pool_tokens: 2: means of 2 x 2 image tokens, for ViTs with many; 1: all.
        questions: Kinds of questions it is trained on, of `auformer.language.prompts.KINDS`; `occurrence` among them.
        prompts: Version of the questions, `lexicon`: of the words, `lm_digest`: of LM and tokenizer; in files, so that
            nothing is answered by another LM or to other questions than were trained.
        lexicon: See `prompts`.
        lm_digest: See `prompts`.

    Raises:
        ValueError: An argument is out of its range.
        CheckpointError: The LM is not to be had, or not the one that the file was trained with.
    """

    exportable = False
    head: Projector  # type: ignore[assignment]
    temperatures: Tensor

    def __init__(
        self, backbone: str, au_names: str | Sequence[str], *, pretrained: bool = False,
        checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None,
        intensity: str = "none", lm: str = TINY, lm_lora: int = 0, lm_bits: int = 32, pool_tokens: int = 1,
        questions: Sequence[str] = ("occurrence",), prompts: str | None = None, lexicon: str | None = None,
        lm_digest: str | None = None,
    ) -> None:  # fmt: skip
        questions = tuple(questions)
        _check_options(intensity, lm, lm_lora, lm_bits, pool_tokens, questions, prompts)
        check_lexicon(lexicon)
        super().__init__(backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size)
        self.backbone.requires_grad_(False)
        self.questions = questions
        self.grammar = Grammar(self.au_names if lm == TINY or "describe" in questions else ())
        self.lm = tiny_model(self.grammar) if lm == TINY else pretrained_model(lm, lora=lm_lora, bits=lm_bits)
        if lm_digest not in (None, self.lm.digest):
            raise ValueError(
                f"Expected the language model {lm} with the tokenizer and configuration of digest {lm_digest}, which "
                f"the file was trained with, but the one here has {self.lm.digest}: fetch that one again"
            )
        weights = self.lm.model.get_input_embeddings().weight
        self.head = Projector(self.embed_dim, self.lm.width, mean_length(weights), pool_tokens)
        self.register_buffer("temperatures", torch.ones(len(KINDS)))
        self.arguments = {name: one for name, one in self.arguments.items() if name != "pool"} | {
            "lm": lm, "lm_lora": lm_lora, "lm_bits": lm_bits, "pool_tokens": pool_tokens, "questions": list(questions),
            "prompts": VERSION, "lexicon": lexicon_version(), "lm_digest": self.lm.digest,
        }  # fmt: skip
        if intensity != "none":
            self.arguments["intensity"] = self.intensity = intensity
            self.intensity_aus = self.au_names
        self._slots: dict[tuple[str, str], Slot] = {}
        for kind in questions:  # refuses an LM that cannot tell answers apart before anything is trained
            if kind in EACH:
                self.slot(kind, self.au_names[0])
        self.train()

    def train(self, mode: bool = True) -> AULLaVA:
        """Set training mode; a frozen language model stays in eval mode."""
        super().train(mode)
        if hasattr(self, "lm") and self.lm.name != TINY:
            self.lm.eval()
        return self

    def frozen_names(self) -> set[str]:
        """Names in the state of what is never trained: the backbone, and a frozen language model but for its LoRA."""
        names = super().frozen_names()
        if self.lm.name != TINY:
            names |= {name for name in self.state_dict() if name.startswith("lm.") and "lora_" not in name}
        return names

    # images
    # ------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def image_tokens(self, images: Tensor) -> Tensor:
        """The frozen ViT's normed patch tokens `(B, T, D)` of images `(B, 3, H, W)` float in [0, 1]."""
        found: Tensor = self.backbone.norm(self.plain_tokens(images))[:, self.backbone.num_prefix_tokens :]
        return found

    def measured_features(self, images: Tensor) -> Tensor:
        """The tokens themselves `(B T, D)`: they are what the projector standardises."""
        return self.image_tokens(images).flatten(0, 1)

    def prefix(self, tokens: Tensor) -> Tensor:
        """What all questions about images share `(B, P, width)`: the LM's first words, then the image, of tokens."""
        image = self.head(tokens, self.grid_size)
        words = torch.tensor([list(self.lm.head)], dtype=torch.long, device=image.device)
        first = self.lm.embed(words).to(image.dtype).expand(len(image), -1, -1)
        return torch.cat([first, image], 1).to(self.lm.model.get_input_embeddings().weight.dtype)

    # questions
    # ---------------------------------------------------------------------------------------------------------

    def ask(self, kind: str, au_names: Sequence[str]) -> str:
        """A question in the LM's own style, wrapped as its chats are."""
        return self.lm.tail(question(kind, au_names, self.lm.style))

    def slot(self, kind: str, au: str) -> Slot:
        """A question about one AU with its allowed answers, as tokens."""
        if (kind, au) not in self._slots:
            allowed = answers(kind, au, self.grammar)
            self._slots[kind, au] = make_slot(
                self.lm.encode, self.ask(kind, [au]), allowed, end=self.lm.end, model=self.lm.name
            )
        return self._slots[kind, au]

    def probabilities(self, prefix: Tensor, kind: str, au_names: Sequence[str] | None = None) -> Tensor:
        """Probability of every allowed answer to a question about each AU `(B, N, A)`; the kind's temperature counts.

        Raises:
            ValueError: It was not trained on such questions.
        """
        if kind not in self.questions or kind == "list":
            trained = ", ".join(self.questions)
            raise ValueError(
                f"Expected a kind of question that the network was trained on ({trained}), but got {kind!r}"
            )
        names = self.au_names if au_names is None else au_names
        probs = torch.stack(answer_probs(self.lm, prefix, [self.slot(kind, au) for au in names]), 1)
        temperature = self.temperatures[KINDS.index(kind)]
        return (probs.clamp_min(1e-12).log() / temperature).softmax(-1)

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """As `AUNetwork.outputs`: `logits` of `yes` against `no`, `probs`, and where asked for `intensity (B, N)`."""
        return self.token_outputs(self.image_tokens(images))

    def token_outputs(self, tokens: Tensor) -> dict[str, Tensor]:
        """The same from the ViT's tokens `(B, T, D)`."""
        prefix = self.prefix(tokens)
        absent, present = self.probabilities(prefix, "occurrence").log().unbind(-1)
        found = {"logits": present - absent, "probs": present.exp()}
        if self.intensity != "none":
            answered = self.probabilities(prefix, self.intensity)
            steps = torch.linspace(0, MAX_INTENSITY, answered.shape[-1], device=tokens.device)
            found["intensity"] = (answered * steps).sum(-1)
        return found

    def predict_probs(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` to probabilities `(B, N)`."""
        return self.outputs(images)["probs"]

    def forward_all(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images `(B, 3, H, W)` to logits `(B, N)`, and None: there are no experts."""
        return self.outputs(images)["logits"], None

    @torch.no_grad()
    def list_probs(self, tokens: Tensor, order: Sequence[str] | None = None) -> Tensor:
        """P(yes) of every AU in one list `(B, N)`, in the order of `au_names`, given the answers before it.

        Args:
            tokens: The ViT's tokens `(B, T, D)`.
            order: In which the AUs are asked for; that of `au_names` by default.
        """
        names = list(self.au_names if order is None else order)
        prefix, asked = self.prefix(tokens), self.ask("list", names)
        reader = Reader(self.lm, prefix)
        texts, found = [f"{asked} "] * len(prefix), {}
        for place, au in enumerate(names):
            start = [f"{text}{'; ' if place else ''}{au}:" for text in texts]
            cut = [make_slot(self.lm.encode, text, (NO, YES), end=self.lm.end, model=self.lm.name) for text in start]
            pairs = _rows(reader, cut)
            found[au] = pairs
            texts = [f"{text} {YES if yes else NO}" for text, yes in zip(start, (pairs >= 0.5).tolist(), strict=True)]
        return torch.stack([found[au] for au in self.au_names], 1)

    @torch.no_grad()
    def describe(self, images: Tensor) -> list[Description]:
        """Images `(B, 3, H, W)` to a sentence per AU, each one of the grammar's; that about the face is made of them.

        Raises:
            ValueError: It was not trained to describe.
        """
        if "describe" not in self.questions:
            trained = ", ".join(self.questions)
            raise ValueError(f"Expected a network that was trained to describe, but this one answers {trained}")
        tokens = self.image_tokens(images)
        found, reader = self.token_outputs(tokens), Reader(self.lm, self.prefix(tokens))
        sayings: list[dict[str, Saying]] = [{} for _ in images]
        for au in self.au_names:
            texts = answers("describe", au, self.grammar)
            for row, (number, log_prob) in enumerate(
                zip(*choose_answers(reader, self.slot("describe", au)), strict=True)
            ):
                sayings[row][au] = Saying(texts[number], round(log_prob, 4))
        probs = found["probs"].float().cpu().numpy()
        levels = found["intensity"].float().cpu().numpy() if "intensity" in found else [None] * len(probs)
        return [Description(*each, None) for each in zip(probs, levels, sayings, strict=True)]

    @torch.no_grad()
    def free_answers(self, tokens: Tensor, kind: str, au_names: Sequence[str], longest: int = 96) -> list[str]:
        """What the LM writes of itself in answer to a question, for each image of the ViT's tokens `(B, T, D)`."""
        prompt = self.lm.encode(f"{self.ask(kind, au_names)}")
        return free_texts(Reader(self.lm, self.prefix(tokens)), prompt, longest)

    # training
    # ---------------------------------------------------------------------------------------------------------

    def supervised(self, text: Text) -> tuple[list[int], list[int]]:
        """Tokens of a question with its answer, and at each place the target: the answer's next token, its end too.

        Places of the question have the target `IGNORED`.
        """
        asked, answer = text
        tokens, alone = [*self.lm.encode(f"{asked} {answer}"), self.lm.end], self.lm.encode(asked)
        shared = next(
            (at for at, pair in enumerate(zip(tokens, alone, strict=False)) if pair[0] != pair[1]), len(alone)
        )
        targets = [IGNORED] * (shared - 1) + tokens[shared:]
        return tokens[:-1], targets

    def answer_loss(self, tokens: Tensor, texts: Sequence[Sequence[Text]]) -> Tensor:
        """Cross-entropy per token of the answers.

        Args:
            tokens: The ViT's tokens `(B, T, D)`.
            texts: For each image its questions with their answers, at least one in all; none sees another.

        Returns:
            The mean over all tokens of all answers.
        """
        pairs = [[self.supervised(text) for text in row] for row in texts]
        empty: tuple[list[int], list[int]] = ([], [])
        columns = list(zip_longest(*pairs, fillvalue=empty))  # K columns of B texts
        lengths = [max(len(each) for each, _ in column) for column in columns]
        rows, goals = [], []
        for row in zip(*columns, strict=True):
            filled = [
                each + [self.lm.end] * (length - len(each)) for (each, _), length in zip(row, lengths, strict=True)
            ]
            wanted = [goal + [IGNORED] * (length - len(goal)) for (_, goal), length in zip(row, lengths, strict=True)]
            rows.append([token for each in filled for token in each])
            goals.append([token for each in wanted for token in each])
        text, targets = (torch.tensor(each, device=tokens.device) for each in (rows, goals))
        keep = (targets != IGNORED).any(0).nonzero().squeeze(1)
        logits = packed_logits(self.lm, self.prefix(tokens), text, lengths, keep)
        return F.cross_entropy(logits.flatten(0, 1), targets[:, keep].flatten(), ignore_index=IGNORED)


def _rows(reader: Reader, slots: Sequence[Slot]) -> Tensor:
    """P of the second answer in each image's own slot `(B,)`; read together where the texts are equally long."""
    lengths = {len(slot.prompt) for slot in slots}
    if len(lengths) == 1:
        texts = torch.tensor([slot.prompt for slot in slots], device=reader.image.device)
        logits = reader.read(texts)
    else:
        parts = []
        for row, slot in enumerate(slots):
            alone = Reader(reader.model, reader.image[row : row + 1])
            parts.append(alone.read(torch.tensor([slot.prompt], device=reader.image.device)))
        logits = torch.cat(parts)
    firsts = torch.tensor([slot.firsts for slot in slots], device=logits.device)
    return logits.gather(1, firsts).softmax(-1)[:, 1]


def _check_options(
    intensity: str, lm: str, lora: int, bits: int, pool: int, questions: tuple[str, ...], prompts: str | None
) -> None:
    """Refuse what is out of its range, before anything is built."""
    if intensity not in ("none", "level", "value"):
        raise ValueError(f"Expected `intensity` of AULLaVA to be 'none', 'level' or 'value', but got {intensity!r}")
    odd = [kind for kind in questions if kind not in KINDS]
    if odd or "occurrence" not in questions or len(set(questions)) < len(questions):
        raise ValueError(
            f"Expected `questions` to be some of {', '.join(KINDS)}, with occurrence, but got {questions!r}"
        )
    if intensity not in ("none", *questions):
        raise ValueError(f"Expected `{intensity}` among `questions` for intensities, but got {', '.join(questions)}")
    if type(lora) is not int or not 0 <= lora <= 1024 or (lora and lm == TINY):
        raise ValueError(f"Expected `lm_lora` to be 0 to 1024, and 0 with lm: tiny, but got {lora!r}")
    if bits not in DTYPES or (lm == TINY and bits != 32) or pool not in (1, 2):
        raise ValueError(
            f"Expected `lm_bits` of 32 or 16 (32 with lm: tiny) and `pool_tokens` of 1 or 2, but got {bits!r}, {pool!r}"
        )
    if prompts not in (None, VERSION):
        raise ValueError(
            f"Expected questions of version {VERSION}, which this version of auformer asks, but the network was "
            f"trained on version {prompts}: use the version of auformer that trained it"
        )
