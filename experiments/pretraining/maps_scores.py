"""Do maps of action units point at what changes? Scores with controls for `fit_maps`, their page and a picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from auformer.data.transforms import to_float
from auformer.models import AUFormer
from auformer.report.faces import blend_evidence
from auformer.scoring.tables import Table
from experiments.ablations.language_scores import BEST_CELLS, MASK, deletion
from experiments.pretraining.maps_data import FINE, Faces

BATCH, SHOWN = 64, 6  # images at once, and in the picture
COLUMNS = ("its own map", "usual place", "norm of the expert", "what it changes")  # of the picture, after the image


def maps_of(network: AUFormer, images: Tensor, usual: Tensor, changes: np.ndarray) -> dict[str, np.ndarray]:
    """Every map of images and action units (AUs), by its name: (n, N, h, w)."""
    rows, columns = network.grid_size
    parts = images.split(BATCH)
    own, evidence = (
        torch.cat([make(part) for part in parts]).numpy() for make in (network.change_maps, network.expert_maps)
    )
    rng, count = np.random.default_rng(0), len(network.au_names)
    other = (np.arange(count) + rng.integers(1, count, own.shape[:2])) % count
    cells = FINE // rows
    return {
        "own": own,
        "another AU's": np.take_along_axis(own, other[:, :, None, None], 1),
        "fixed per AU": np.broadcast_to(usual.reshape(count, rows, columns).numpy(), own.shape),
        "norm of the expert": evidence,
        "random": rng.random(own.shape),
        "the change itself": changes.reshape(*own.shape[:2], rows, cells, columns, cells).mean((3, 5)),
    }


@torch.inference_mode()
def score(network: AUFormer, faces: Faces, usual: Tensor, *, deleted: int = 0) -> dict[str, Any]:
    """Pointing and energy of every map on unseen faces, over pairs of an image and an AU that it shows; and deletion.

    Args:
        network: With its map head.
        faces: The images and their changes.
        usual: (N, T) the mean change per AU in training.
        deleted: Pairs in which cells are wiped out, at equal distances; 0 leaves deletion out.
    """
    images = torch.from_numpy(np.stack([to_float(image) for image in faces.images]))
    maps = maps_of(network, images, usual, faces.changes)
    truth = maps["the change itself"]
    pairs = [(image, au) for image, au in np.argwhere(faces.active) if truth[image, au].max() > 0]
    few = [pairs[place] for place in np.linspace(0, len(pairs) - 1, min(len(pairs), deleted)).astype(int)]
    image, au = np.array(pairs).T
    flat = truth[image, au].reshape(len(pairs), -1)
    mask = flat >= MASK * flat.max(1, keepdims=True)
    found, hits = dict[str, Any](), dict[str, np.ndarray]()
    for name, each in maps.items():
        values = each[image, au].reshape(len(pairs), -1)
        hits[name] = mask[np.arange(len(pairs)), values.argmax(1)]
        energy = (values * mask).sum(1) / values.sum(1).clip(1e-9)
        found[name] = {"pointing": float(hits[name].mean()), "energy": float(energy.mean())}
        if few:
            found[name]["deletion"] = deletion(network, images, few, each)
    missed = ~hits["fixed per AU"]
    return {
        "maps": found, "pairs": len(pairs), "pairs_deletion": len(few), "images": len(images),
        "cells_that_changed": float(mask.mean()),
        "fixed_misses": {"pairs": int(missed.sum()), "own_hits": float(hits["own"][missed].mean())},
        "per_au": {
            name: {"pairs": int((au == place).sum()),
                   **{kind: float(hits[kind][au == place].mean()) for kind in ("own", "fixed per AU")}}
            for place, name in enumerate(network.au_names) if (au == place).any()
        },
    }  # fmt: skip


@torch.inference_mode()
def picture(network: AUFormer, tests: dict[str, Faces], usual: Tensor) -> np.ndarray:
    """A row for some images at equal distances: the image, then the maps of the AU that changes it most; BGR."""
    lines = []
    for faces in tests.values():
        shows = np.flatnonzero(faces.active.any(1))
        places = shows[np.linspace(0, len(shows) - 1, SHOWN // len(tests)).astype(int)]
        images = torch.from_numpy(np.stack([to_float(faces.images[place]) for place in places]))
        maps = maps_of(network, images, usual, faces.changes[places])
        for row, place in enumerate(places):
            au, image = int(faces.changes[place].sum((1, 2)).argmax()), faces.images[place]
            kinds = ("own", "fixed per AU", "norm of the expert", "the change itself")
            tiles = [image, *(blend_evidence(image, maps[kind][row, au]) for kind in kinds)]
            line = np.hstack([cv2.resize(tile, (168, 168), interpolation=cv2.INTER_CUBIC) for tile in tiles])
            cv2.putText(line, network.au_names[au], (4, 160), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
            lines.append(line)
    top = np.full((22, lines[0].shape[1], 3), 255, np.uint8)
    for column, words in enumerate(("image", *COLUMNS)):
        cv2.putText(top, words, (168 * column + 4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return cv2.cvtColor(np.vstack([top, *lines]), cv2.COLOR_RGB2BGR) & 0xF8


def verdict(result: dict[str, Any]) -> str:
    """What the controls say, in words."""
    lines = []
    for name, one in result["sets"].items():
        own, fixed = (one["maps"][kind]["pointing"] for kind in ("own", "fixed per AU"))
        misses = one["fixed_misses"]
        lines.append(
            f"* {name}: {own:.3f} against {fixed:.3f} of the fixed map; of its {misses['pairs']:,} misses the own map "
            f"hits {100 * misses['own_hits']:.0f} %."
        )
    plain = [one for name, one in result["sets"].items() if "moved" not in name]
    gain = np.mean([one["maps"]["own"]["pointing"] - one["maps"]["fixed per AU"]["pointing"] for one in plain])
    words = "adds little to" if gain < 0.03 else "sees more than"
    return f"On crops as `predict` makes them, a map of this image {words} the usual place.\n\n" + "\n".join(lines)


def page(result: dict[str, Any]) -> str:
    """The page of a result."""
    columns = ["faces", "map", "pointing", "energy", "deletion"]
    rows = [
        [name, kind, *(f"{values[key]:.3f}" if key in values else "" for key in ("pointing", "energy", "deletion"))]
        for name, one in result["sets"].items() for kind, values in one["maps"].items()
    ]  # fmt: skip
    names = [name for name in result["sets"] if "moved" not in name]
    aus = sorted({au for name in names for au in result["sets"][name]["per_au"]}, key=lambda au: int(au[2:]))
    per_au = []
    for au in aus:
        cells = []
        for name in names:
            one = result["sets"][name]["per_au"].get(au)
            cells += [f"{one['own']:.2f}", f"{one['fixed per AU']:.2f}", str(one["pairs"])] if one else ["", "", "0"]
        per_au.append([au, *cells])
    return f"""# Maps of the packaged AU detector: where an action unit (AU) shows

`auformer predict --maps` draws, for the packaged AU detector, maps that were fitted to what an AU changes in a rendered
face: the same face with and without it. The detector itself is as it was. Unseen rendered subjects, labs A and B of the
drawn faces and scanned faces, as cropped and `moved` (mirrored or not, turned by up to 10 degrees, scaled by 15 %,
shifted by 10 %). Pointing: the highest of 49 cells is one with at least half of the largest change (a random cell:
{100 * result["sets"][names[0]]["cells_that_changed"]:.0f} %). Energy: share of the map in such cells. Deletion: fall of
the AU's probability when the {BEST_CELLS} highest cells get the image's mean colour. Controls: the own map of another
AU, drawn at random; the mean change of the AU in training, which has not seen the image; the norm of the expert's
output, which the maps were before and for other networks are.

{verdict(result)}

{Table(columns, rows).markdown()}

Pointing per AU, own map and fixed map:

{Table(["AU", *(f"{name}: {what}" for name in names for what in ("own", "fixed", "pairs"))], per_au).markdown()}

What the maps do not say: that the detector's decision rests on these places (that is the column deletion), or
anything measured on photographs, for which there is no such truth. The map of an AU that a face does not show says
where it would. Six test images with an active AU at equal distances, not chosen; the AU that changes each most:

![Rendered faces with maps](maps.png)

Command: `{result["command"]}`; {result["training_images"]:,} images, {result["views"]} views of each,
{result["parameters"]:,} numbers, {result["seconds"] / 60:.1f} minutes beside rendering; {result["machine"]}; commit
{result["commit"]}.
"""
