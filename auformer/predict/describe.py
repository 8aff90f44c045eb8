"""Faces in sentences: a descriptions file from a checkpoint and a manifest, or images and videos of the user's own.

A network with sentence decoders (`VLFAU`, or `AULLaVA` that was trained to describe) writes the sentences itself
(`source` is `model`); for any other they are made by rule from its decisions (`rule`). The columns are those of
`auformer.predict.descriptions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from auformer import __version__
from auformer.data.dataset import AUDataset
from auformer.data.manifest import KEY, read_manifest
from auformer.data.table_file import sidecar_path, write_sidecar, write_table
from auformer.data.transforms import resize, to_float
from auformer.errors import FaceNotFoundError, ManifestError
from auformer.files import check_writable, sha256
from auformer.language.facts import Fact, fact_of
from auformer.language.grammar import Grammar, shown
from auformer.language.lexicon import lexicon_version, load_lexicon
from auformer.language.prompts import VERSION
from auformer.models.batches import find_device
from auformer.models.checkpoint_path import DEMO_DETECTOR, resolve_checkpoint
from auformer.models.checkpoints import open_detector
from auformer.predict.descriptions import COLUMNS, MODEL, RULE, as_table, rule_rows
from auformer.predict.predictor import AUPredictor
from auformer.predict.sources import find_sources
from auformer.predict.table import DATASET
from auformer.predict.types import ImagePrediction, Selection, SourceEnd
from auformer.report.html import demo_note

GREY = 0.5  # of the blank image whose sentences say how much a network says without seeing anything


class Seen(NamedTuple):
    """One face that is to be described.

    Args:
        key: The values of `KEY`, `file` and `time_s`.
        image: `(3, H, W)` float in [0, 1], aligned, in the network's size.
    """

    key: tuple[Any, ...]
    image: torch.Tensor


class Described(NamedTuple):
    """What `describe_to_file` did.

    Args:
        table: The rows that were written.
        faces: Number of faces described.
        problems: Source and message of each source that could not be read, or had no face.
        notice: What every output of the packaged demo network has to say; None for others.
    """

    table: pd.DataFrame
    faces: int
    problems: list[tuple[str, str]]
    notice: str | None


def writes_sentences(network: Any) -> bool:
    """Whether a network writes sentences itself."""
    return hasattr(network, "describe") and "describe" in getattr(network, "questions", ("describe",))


class Describer:
    """Turns batches of faces into rows of a descriptions file.

    Args:
        network: In eval mode, on its device.
        thresholds: Probability from which each AU counts as active; the network's own by default.
        language: `en` or `de`; sentences are learned in English, and translated by their facts, which is exact.
        everything: A sentence about every AU, not only about active ones.
        device: The network's.

    Attributes:
        au_names: AUs that have words, in the network's order.
        without_words: The others.
        source: `model` or `rule`.
    """

    def __init__(
        self, network: Any, *, thresholds: Mapping[str, float] | None = None, language: str = "en",
        everything: bool = False, device: str | torch.device = "cpu",
    ) -> None:  # fmt: skip
        self.network, self.everything, self.device = network, everything, torch.device(device)
        known = load_lexicon(language).aus
        self.au_names = [au for au in network.au_names if au in known]
        self.without_words = [au for au in network.au_names if au not in known]
        self.thresholds = {**network.thresholds, **(thresholds or {})}
        sides = bool(getattr(network, "arguments", {}).get("sides"))
        self.grammar = Grammar(self.au_names, language, sides=sides)
        self.learned = Grammar(self.au_names, sides=sides) if language != "en" else self.grammar
        self.source = MODEL if writes_sentences(network) else RULE

    @torch.inference_mode()
    def rows(self, faces: Sequence[Seen]) -> list[tuple[Any, ...]]:
        """Rows of `COLUMNS` for some faces, in their order; the one about the whole face first."""
        images = torch.stack([face.image for face in faces]).to(self.device)
        if self.source == MODEL:
            found = self.network.describe(images)
            rows = [self._model_rows(face.key, each) for face, each in zip(faces, found, strict=True)]
        else:
            probs, levels = self.values(images)
            rows = [
                self.rule_rows(face.key, self._facts(*each))
                for face, each in zip(faces, zip(probs, levels, strict=True), strict=True)
            ]
        return [row for each in rows for row in each]

    def values(self, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and intensities `(n, N)` of a network that writes no sentences; nan where it gives none."""
        learned = getattr(self.network, "intensity_aus", ())
        if not learned:
            probs = self.network.predict_probs(images).float().cpu().numpy()
            return probs, np.full(probs.shape, np.nan)
        found = self.network.outputs(images)
        levels = found["intensity"].float().cpu().numpy()
        levels[:, [au not in learned for au in self.network.au_names]] = np.nan
        return found["probs"].float().cpu().numpy(), levels

    def _facts(self, probs: np.ndarray, levels: np.ndarray) -> dict[str, Fact]:
        """Facts of one face by the network's decisions."""
        values = zip(self.network.au_names, probs.tolist(), levels.tolist(), strict=True)
        decided = {au: fact_of(au, prob >= self.thresholds[au], level) for au, prob, level in values}
        return {au: decided[au] for au in self.au_names}

    def rule_rows(self, key: tuple[Any, ...], facts: Mapping[str, Fact]) -> list[tuple[Any, ...]]:
        """Rows of one face whose sentences are made of its facts."""
        return rule_rows(key, facts, self.grammar, everything=self.everything)

    def _model_rows(self, key: tuple[Any, ...], found: Any) -> list[tuple[Any, ...]]:
        """Rows of one face whose sentences the network wrote, `Description`."""
        levels = np.full(len(found.probs), np.nan) if found.intensity is None else found.intensity
        decided = self._facts(found.probs, levels)
        rows, said = [], []
        for au in self.grammar.au_names:
            saying = found.sentences[au]
            fact = self.learned.read(saying.text)
            fact = fact if fact is not None and fact.au == au else None
            said += [fact] if fact is not None else []
            agrees = int(fact is not None and fact.active == decided[au].active)
            if self.everything or (decided[au].active if fact is None else fact.active or decided[au].active):
                state = (None, None) if fact is None else (int(fact.active), fact.degree or None)
                rows.append((*key, au, self._shown(saying.text), *state, agrees, saying.log_prob, MODEL))
        whole: tuple[Any, ...]
        if found.face is None:
            whole = (shown(self.grammar.face(said)), None, None, None, None, RULE)
        else:
            facts = self.learned.read_face(found.face.text)
            active = {au for au, fact in decided.items() if fact.active}
            agrees = int(facts is not None and {fact.au for fact in facts} == active)
            whole = (self._shown(found.face.text), None, None, agrees, found.face.log_prob, MODEL)
        return [(*key, "", *whole), *rows]

    def _shown(self, text: str) -> str:
        """A learned sentence in the language asked for; one that cannot be read stays as it is."""
        if self.grammar is self.learned:
            return shown(text)
        return shown(self.learned.translate(text, self.grammar) or text)

    def blank(self) -> dict[str, str]:
        """By AU, what the network says about a grey image: whatever it says of it, it has not seen."""
        height, width = self.network.image_size
        image = torch.full((3, height, width), GREY)
        texts = Describer(self.network, thresholds=self.thresholds, everything=True, device=self.device).rows(
            [Seen(("",) * (len(KEY) + 2), image)]
        )
        places = COLUMNS.index("au"), COLUMNS.index("text")
        return {row[places[0]]: row[places[1]] for row in texts if row[places[0]]}


def describe_to_file(
    checkpoint: str | Path,
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    language: str = "en",
    everything: bool = False,
    batch_size: int = 32,
    device: str = "auto",
    detector: str = "cascade",
    selection: Selection | None = None,
    backbone_checkpoint: str | Path | None = None,
    overwrite: bool = False,
    advanced: Callable[[int], object] = lambda faces: None,
) -> Described:
    """Describe the faces of a manifest, or of images and videos, and write a descriptions file with its sidecar.

    Args:
        checkpoint: Anything that `open_detector` takes.
        sources: One manifest (`.csv`, `.parquet`), or photos, folders and videos as `find_sources` takes them.
        out: The file, `.csv` or `.parquet`; written under another name first.
        language: `en` or `de`.
        everything: A sentence about every AU, not only about active ones.
        batch_size: Faces at once.
        device: `auto`, or a name as torch takes it.
        detector: The face detector, of images and videos.
        selection: Which frames of videos.
        backbone_checkpoint: Local file with the frozen weights, where they cannot be fetched.
        overwrite: Replace an existing file.
        advanced: Called with how many faces have been described since the last call.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ManifestError: The manifest cannot be used, or it has no image.
        FaceNotFoundError: There is no face in any source; nothing is written.
        ValueError: An argument is out of its range, there is a file already, or no AU of the checkpoint has words.
        OSError: The file cannot be written.
    """
    out, words = Path(out), [sources] if isinstance(sources, str | Path) else list(sources)
    _check_out(out, words, overwrite)
    if batch_size < 1:
        raise ValueError(f"Expected `batch_size` to be at least 1, but got {batch_size}")
    load_lexicon(language)
    device, adapter = find_device(device), resolve_checkpoint(checkpoint)
    network = open_detector(adapter, device=device, backbone_checkpoint=backbone_checkpoint).eval()
    describer = Describer(network, language=language, everything=everything, device=device)
    if not describer.au_names:
        raise ValueError(
            f"Expected a checkpoint with action units that have words, but none of {', '.join(network.au_names)} has"
        )
    problems: list[tuple[str, str]] = []
    if len(words) == 1 and Path(words[0]).suffix.lower() in (".csv", ".parquet"):
        seen = _of_manifest(Path(words[0]), network)
    else:
        predictor = AUPredictor(network, device=device, batch_size=batch_size, detector=detector)
        seen = _of_sources(words, predictor, selection, problems)
    rows, faces, waiting = [], 0, list[Seen]()
    for face in seen:
        waiting.append(face)
        if len(waiting) == batch_size:
            rows += describer.rows(waiting)
            advanced(len(waiting))
            faces, waiting = faces + len(waiting), []
    if waiting:
        rows += describer.rows(waiting)
        advanced(len(waiting))
        faces += len(waiting)
    if not faces:
        told = "; ".join(f"{file}: {problem}" for file, problem in problems[:3])
        raise FaceNotFoundError(
            f"Expected a face to describe, but found none ({told or 'no image'}); nothing is written"
        )
    table = as_table(rows)
    notice = demo_note(intensity=bool(getattr(network, "intensity_aus", ()))) if adapter == DEMO_DETECTOR else None
    write_table(table, out)
    write_sidecar(_sidecar(describer, str(checkpoint), adapter, faces, problems, notice), out)
    return Described(table, faces, problems, notice)


def _check_out(out: Path, sources: Sequence[str | Path], overwrite: bool) -> None:
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"Expected `--out` to end in .csv or .parquet, but got {out}.")
    if any(sidecar_path(out).resolve() == sidecar_path(source).resolve() for source in sources):
        raise ValueError(f"Expected `--out` to have another name than what is described, but got {out}.")
    taken = [str(path) for path in (out, sidecar_path(out)) if path.exists()]
    if taken and not overwrite:
        raise ValueError(
            f"Expected `--out` to be a new file, but found {' and '.join(taken)}: choose another name, or add "
            "--overwrite."
        )
    check_writable(out.parent)


def _of_manifest(path: Path, network: Any) -> Iterator[Seen]:
    """The faces of a manifest's usable rows."""
    table = read_manifest(path)
    table = table[table["status"] == "ok"] if "status" in table else table
    if not len(table) or "image" not in table:
        raise ManifestError(f"Expected {path} to have rows with an image to describe, but it has none")
    dataset = AUDataset(table, path.parent, network.au_names, network.image_size)
    extra = [table[name].tolist() if name in table else [None] * len(table) for name in ("file", "time_s")]
    keys = zip(*(table[name].tolist() for name in KEY), *extra, strict=True)
    for row, key in enumerate(keys):
        yield Seen(key, dataset[row]["image"])


def _of_sources(
    words: Sequence[str | Path], predictor: AUPredictor, selection: Selection | None, problems: list[tuple[str, str]]
) -> Iterator[Seen]:
    """The faces of images and videos; what cannot be read is added to `problems`."""
    for item in predictor.stream(find_sources(words), selection=selection):
        if isinstance(item, SourceEnd):
            if item.message:
                problems.append((item.source.file, item.message))
            continue
        if isinstance(item, ImagePrediction) and item.status == "ok":
            for face in item.faces:
                image = torch.from_numpy(to_float(resize(face.crop, predictor.network.image_size)))
                yield Seen((DATASET, item.name, item.name, item.frame, face.track, item.file, item.time_s), image)
        elif item.source.kind == "photo":
            problems.append((item.file, item.message))


def _sidecar(
    describer: Describer, checkpoint: str, adapter: Path, faces: int, problems: Sequence[tuple[str, str]],
    notice: str | None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "kind": "descriptions",
        "checkpoint": checkpoint,
        "adapter": {"file": adapter.name, "sha256": sha256(adapter)},
        "source": describer.source,
        "language": describer.grammar.lexicon.language,
        "lexicon": lexicon_version(),
        "prompts": VERSION,
        "au_names": describer.au_names,
        "aus_without_words": describer.without_words,
        "sides": len(describer.grammar.sides) > 1,
        "thresholds": {au: describer.thresholds[au] for au in describer.au_names},
        "faces": faces,
        "problems": [list(problem) for problem in problems],
        "blank": describer.blank() if describer.source == MODEL else None,
        "package_version": __version__,
        "notice": notice,
    }
