"""The causal language model (LM) behind the images: a small Llama built here, or one of Hugging Face's, frozen.

The only module that imports transformers and peft, inside its functions. Nothing is ever run from a model's repository
(`trust_remote_code` is not passed), and no argument reaches a model that its `forward` does not name: transformers
swallows others in silence.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auformer.errors import CheckpointError, require
from auformer.language.grammar import Grammar
from auformer.language.prompts import KINDS, LEVELS, NO, STYLES, VALUES, YES
from auformer.language.vocabulary import Vocabulary, sentence_tokens, split

TINY = "tiny"
WIDTH, LAYERS, HEADS, INNER, POSITIONS = 128, 3, 4, 344, 4096  # of the small Llama [ours]
DTYPES = {32: torch.float32, 16: torch.bfloat16}
IMAGE = "<image>"  # where the image stands in a chat template


class LanguageModel(nn.Module):
    """An LM with its tokenizer.

    Args:
        name: As the user wrote it.
        model: Takes `inputs_embeds` and gives `logits`.
        encode: Text to token numbers, without special ones.
        decode: Token numbers to text.
        end: The token that ends a text.
        head: Tokens before the image.
        tail: Wraps a question as the model's chats have it.
        style: Style of the questions, `short` or `full`.
        digest: Of what the adapter file does not hold.
    """

    def __init__(
        self, name: str, model: Any, *, encode: Callable[[str], list[int]], decode: Callable[[Sequence[int]], str],
        end: int, head: Sequence[int] = (), tail: Callable[[str], str] = str, style: str = STYLES[0], digest: str = "",
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.model = name, model
        self.encode, self.decode, self.tail = encode, decode, tail
        self.end, self.head, self.style, self.digest = end, tuple(head), style, digest
        self.known = frozenset(inspect.signature(model.forward).parameters)

    @property
    def width(self) -> int:
        """Channels of a token's embedding."""
        return int(self.model.get_input_embeddings().weight.shape[1])

    def embed(self, tokens: Tensor) -> Tensor:
        """Token numbers `(B, L)` to embeddings `(B, L, D)`."""
        found: Tensor = self.model.get_input_embeddings()(tokens)
        return found

    def new_cache(self) -> Any:
        """An empty cache of keys and values."""
        return require("transformers", "language").DynamicCache()

    def forward(
        self, embeds: Tensor, positions: Tensor, *, mask: Tensor | None = None, keep: Tensor | None = None,
        cache: Any = None,
    ) -> Tensor:  # fmt: skip
        """Logits of the next tokens.

        Args:
            embeds: `(B, L, D)`.
            positions: `(B, L)` or `(1, L)`; each token's place in its own text.
            mask: What each token may see, `(1, 1, L, all)`, 0 or minus infinity, added; None: all before it.
            keep: Places `(K,)` whose logits are wanted; None: all.
            cache: Keys and values of what came before; the new ones are added to it.

        Returns:
            `(B, K, V)`, in float32.
        """
        given: dict[str, Any] = {
            "inputs_embeds": embeds, "attention_mask": mask, "position_ids": positions.expand(len(embeds), -1),
            "use_cache": cache is not None, "logits_to_keep": keep,
            "cache" if "cache" in self.known else "past_key_values": cache,
        }  # fmt: skip
        return self.call({name: value for name, value in given.items() if value is not None}).float()

    def call(self, given: dict[str, Any]) -> Tensor:
        """The model's logits for arguments that its `forward` names.

        Raises:
            CheckpointError: It does not name one of them.
        """
        odd = sorted(set(given) - self.known)
        if odd:
            raise CheckpointError(
                f"The language model {self.name} takes no {', '.join(odd)}, which auformer needs: use another one"
            )
        logits: Tensor = self.model(**given).logits
        return logits


@contextmanager
def _quietly() -> Iterator[None]:
    """Inside, transformers shows neither bars nor hints."""
    logging = require("transformers", "language").utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def tiny_vocabulary(grammar: Grammar) -> Vocabulary:
    """Tokens of the small LM: kinds of questions, AUs, answers, and every word of the sentences."""
    fixed = [*KINDS, *grammar.au_names, NO, YES, *LEVELS, ":", ";"]
    return Vocabulary([*fixed, *(token for value in VALUES for token in split(value)), *sentence_tokens(grammar)])


def tiny_model(grammar: Grammar) -> LanguageModel:
    """The small Llama, its weights drawn from torch's global random state; all of it is trained and kept."""
    transformers = require("transformers", "language")
    words = tiny_vocabulary(grammar)
    config = transformers.LlamaConfig(
        vocab_size=len(words), hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=POSITIONS,
        tie_word_embeddings=True, pad_token_id=words.pad, bos_token_id=words.begin, eos_token_id=words.end,
    )  # fmt: skip
    with _quietly():
        model = transformers.LlamaForCausalLM(config)
    return LanguageModel(
        TINY, model, encode=lru_cache(maxsize=200_000)(words.encode), decode=words.decode, end=words.end,
        head=(words.begin,), digest=words.digest,
    )  # fmt: skip


def pretrained_model(name: str, *, lora: int = 0, bits: int = 32) -> LanguageModel:
    """An LM of Hugging Face, frozen, with LoRA updates of some rank on all linear maps of its blocks.

    LoRA: Hu et al., ICLR 2022, arxiv.org/abs/2106.09685; through peft, alpha = 2 rank as ExpLLM has it [C], no dropout.
    On torch's meta device it is built without its weights.

    Args:
        name: A folder, or the name on the hub, `owner/name`.
        lora: Rank; 0 leaves the LM as it is.
        bits: Of the frozen weights, 32 or 16 (bfloat16).

    Raises:
        CheckpointError: There is no such model here and it cannot be fetched, it is damaged, or needs code of its own.
    """
    transformers = require("transformers", "language")
    try:
        with _quietly():
            config = transformers.AutoConfig.from_pretrained(name)
            tokenizer = transformers.AutoTokenizer.from_pretrained(name)
            if torch.empty(0).is_meta:
                model = transformers.AutoModelForCausalLM.from_config(config, dtype=DTYPES[bits])
            else:
                model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=DTYPES[bits])
    except Exception as error:  # whatever a damaged or missing file makes the libraries raise
        raise CheckpointError(_unusable(name, error)) from error
    if tokenizer.eos_token_id is None:
        raise CheckpointError(f"The tokenizer of {name} has no token that ends a text: use another language model")
    model.requires_grad_(False)
    if lora:
        peft = require("peft", "language")
        settings = peft.LoraConfig(r=lora, lora_alpha=2 * lora, lora_dropout=0.0, target_modules=_linear_maps(model))
        peft.inject_adapter_in_model(settings, model)
    begin, tail = _wrapping(tokenizer)

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return LanguageModel(
        name, model, encode=lru_cache(maxsize=200_000)(encode), decode=lambda numbers: str(tokenizer.decode(numbers)),
        end=int(tokenizer.eos_token_id), head=begin, tail=tail, style="full", digest=_digest(name, config, tokenizer),
    )  # fmt: skip


def _unusable(name: str, error: Exception) -> str:
    if Path(name).exists():
        return (
            f"The language model in {name} cannot be used ({_line(error)}): it is damaged or no causal language model; "
            "download it again"
        )
    return (
        f"The language model {name!r} is neither a folder here nor in the cache, and could not be fetched "
        f"({_line(error)}). Give a folder that holds config.json, tokenizer.json and the weights, or download it first "
        f"where there is a network: hf download {name}"
    )


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(os.linesep)[0][:200]}"


def _linear_maps(model: Any) -> list[str]:
    """Names of the linear maps inside the blocks; embeddings and the last map stay as they are."""
    head = model.get_output_embeddings()
    kinds = (nn.Linear, *([require("transformers", "language").pytorch_utils.Conv1D]))
    return [name for name, module in model.named_modules() if isinstance(module, kinds) and module is not head]


def _wrapping(tokenizer: Any) -> tuple[list[int], Callable[[str], str]]:
    """Tokens before the image, and what puts a question into the words after it."""
    if getattr(tokenizer, "chat_template", None):
        turn = [{"role": "user", "content": f"{IMAGE}\n{{question}}"}]
        text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        before, _, after = str(text).partition(IMAGE)
        return list(tokenizer(before, add_special_tokens=False)["input_ids"]), lambda asked: after.replace(
            "{question}", asked
        )
    begin = tokenizer.bos_token_id
    return [] if begin is None else [int(begin)], str


def _digest(name: str, config: Any, tokenizer: Any) -> str:
    """First 16 hex digits of a SHA-256 over configuration, tokenizer, and the list of weights where files are here."""
    found = hashlib.sha256(json.dumps(config.to_diff_dict(), sort_keys=True, default=str).encode())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    found.update(backend.to_str().encode() if backend is not None else repr(sorted(tokenizer.get_vocab())).encode())
    index = Path(name) / "model.safetensors.index.json"
    if index.is_file():
        found.update(index.read_bytes())
    return found.hexdigest()[:16]
