"""Photos with rendered faces, and a small AUFormer with random experts in an adapter file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from auformer.data.images import write_image
from auformer.models import AUFormer, save_adapter
from auformer.synthetic import AU_NAMES, Identity, Renderer
from tests.helpers import vits

AUS = ("AU12", "AU1", "AU25")  # not in the order of their numbers


@cache
def face_image(number: int = 30_001, size: int = 128) -> np.ndarray:
    """A frontal rendered face that fills its image, uint8 RGB; read-only."""
    renderer = Renderer(size)
    image = renderer.render(renderer.bake(Identity.sample(number)), np.zeros(len(AU_NAMES))).image
    image.flags.writeable = False
    return image


def wall(height: int = 90, width: int = 120) -> np.ndarray:
    """An image without a face."""
    return np.full((height, width, 3), 90, np.uint8)


def several(*numbers: int) -> np.ndarray:
    """Faces side by side on a wall, each smaller than the one before."""
    canvas = wall(150, 150 * len(numbers))
    for place, number in enumerate(numbers):
        side = 128 - 24 * place
        canvas[8 : 8 + side, 150 * place + 8 : 150 * place + 8 + side] = face_image(number, side)
    return canvas


def write_photos(folder: Path) -> dict[str, Path]:
    """One face, two faces, none, a damaged file, by what they hold."""
    paths = {name: folder / f"{name}.png" for name in ("one", "two", "none", "damaged")}
    write_image(paths["one"], face_image())
    write_image(paths["two"], several(30_001, 30_002))
    write_image(paths["none"], wall())
    paths["damaged"].write_bytes(paths["one"].read_bytes()[:500])
    return paths


def write_detector(
    folder: Path, *, au_names: Sequence[str] = AUS, intensity: str = "none", **header: object
) -> AUFormer:
    """A small AUFormer with random experts; writes its `adapter.safetensors` and `backbone.safetensors`."""
    torch.manual_seed(0)
    network = AUFormer(f"vit_tests_{vits.FIT[0]}", au_names, expert_width=2, intensity=intensity).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    save_file(network.backbone.state_dict(), folder / "backbone.safetensors")
    save_adapter(folder / "adapter.safetensors", network, **{"crop_recipe": "eyes", **header})  # type: ignore[arg-type]
    return network
