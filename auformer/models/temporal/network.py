"""What networks that see clips have in common: consecutive frames of one face in, a row per frame out."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from auformer.models.network import AUNetwork

MAX_CLIP = 4096  # frames; a number read from a stranger's file must not ask for gigabytes [ours]


class ClipNetwork(AUNetwork):
    """Base of the networks that see clips. A subclass defines `clip_outputs`.

    Images are `(B, T, 3, H, W)` instead of `(B, 3, H, W)`: `B` clips of `T` consecutive frames of one face. Everything
    that it gives has a row per frame, clip after clip, `(B T, ...)`. A frame's row depends on its own clip only.
    """

    def take_clip_length(self, clip_length: int) -> None:
        """Note how many frames a clip has.

        Raises:
            ValueError: It is no number of frames, 2 or more.
        """
        if type(clip_length) is not int or not 2 <= clip_length <= MAX_CLIP:
            raise ValueError(
                f"Expected `clip_length` to be a number of frames from 2 to {MAX_CLIP}, but got {clip_length!r}"
            )
        self.clip_length = clip_length
        self.arguments["clip_length"] = clip_length

    def fold(self, clips: Tensor) -> tuple[Tensor, int]:
        """Clips `(B, T, 3, H, W)` to images `(B T, 3, H, W)` and `T`.

        Raises:
            ValueError: They have other dimensions.
        """
        if clips.ndim != 5:
            raise ValueError(f"Expected `images` to be clips (B, T, 3, H, W), but got {tuple(clips.shape)}")
        return clips.flatten(0, 1), clips.shape[1]

    def clip_outputs(self, clips: Tensor) -> dict[str, Tensor]:
        """Clips `(B, T, 3, H, W)` float in [0, 1] to `logits`, `probs` and what else there is, `(B T, ...)` each."""
        raise NotImplementedError

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Everything that the network says about clips `(B, T, 3, H, W)`, `(B T, ...)` each, in one forward pass."""
        return self.clip_outputs(images)

    def forward_all(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Clips `(B, T, 3, H, W)` float in [0, 1] to `(logits (B T, N), expert logits (B T, N) or None)`."""
        found: dict[str, Any] = self.outputs(images)
        return found["logits"], found.get("expert_logits")

    def predict_probs(self, images: Tensor) -> Tensor:
        """Clips `(B, T, 3, H, W)` to probabilities `(B T, N)`, as this network predicts them."""
        return self.outputs(images)["probs"]
