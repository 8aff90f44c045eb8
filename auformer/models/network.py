"""What every network of the package is: a ViT, a head on its pooled features, and a list of action units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from auformer.aus import parse_au_names
from auformer.errors import CheckpointError
from auformer.models.backbone import attention_for_training, create_backbone, embed_images, fingerprint, rotary
from auformer.models.heads import LinearHead, MLPHead
from auformer.models.intensity import IntensityHead, check_form

if TYPE_CHECKING:
    from auformer.models.experts import Carried

TensorForm = tuple[tuple[int, ...], "torch.dtype | None"]  # shape and type; None for a type that no network here has


class AUNetwork(nn.Module):
    """Base of AUFormer and the baselines. A subclass sets `head`, and adds its own arguments to `arguments`.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set, see `parse_au_names`.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
        intensity: Predict intensities of 0 to 5 too, see `auformer.models.intensity`: `none`, `regression`, `ordinal`.

    Attributes:
        backbone: The timm model.
        au_names: Canonical names of the action units, in the order of the logits.
        image_size: `(H, W)` in pixels.
        arguments: Plain constructor arguments that build the same network again, without where the weights came from.
        thresholds: Probability from which an action unit counts as active, per name.
        intensity: Form of the intensities, `none` where there are none.
        intensity_aus: Action units whose intensity was trained, in their order; empty where there are none.
        crop_recipe: Name of the crop recipe of the training images, or None where it is unknown.
        metadata: Header of the adapter file that the network was loaded from, `{}` otherwise.
        fingerprint: Fingerprint of the backbone's weights, taken when it was built.
    """

    frozen = True
    exportable = True  # whether its forward pass is one graph
    clip_length = 1  # frames that the network sees at once; above 1 its images are clips `(B, T, 3, H, W)`
    view = "whole"  # what it sees of an image: the whole, or the centre of one that is 8/7 as large
    region_heads: Sequence[tuple[int, ...]] = ()  # action units of each region that it has a head for, by their places
    average_heads = False  # whether the prediction is the mean of two heads' probabilities
    trained_in_backbone: frozenset[str] = frozenset()  # names in the state, where a baseline trains parts of it
    backbone: Any  # a timm ViT, whose attributes timm does not type
    head: MLPHead | LinearHead
    intensity_head: IntensityHead | None
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        pool: str = "avg",
        intensity: str = "none",
    ) -> None:
        super().__init__()
        self.au_names = parse_au_names(au_names)
        check_form(intensity)
        if pool not in ("avg", "token"):
            raise ValueError(f"Expected `pool` to be 'avg' or 'token', but got {pool!r}")
        self.backbone = self.make_backbone(
            backbone, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size
        )
        if pool == "token" and self.backbone.cls_token is None:
            raise ValueError(f"Expected `pool` to be 'avg' for {backbone}, which has no class token, but got 'token'")
        self.pool = pool
        self.backbone_name = backbone
        self.fingerprint = fingerprint(self.backbone)
        self.image_size, self.grid_size = self.sizes()
        for name in ("mean", "std"):  # normalisation belongs to the weight tag
            values = torch.tensor(self.backbone.pretrained_cfg[name]).view(3, 1, 1)
            self.register_buffer(f"pixel_{name}", values, persistent=False)
        self.thresholds = dict.fromkeys(self.au_names, 0.5)
        self.crop_recipe: str | None = None
        self.metadata: dict[str, Any] = {}
        self.arguments: dict[str, Any] = {
            "backbone": backbone,
            "au_names": list(self.au_names),
            "img_size": list(self.image_size),
            "pool": pool,
        }
        self.intensity, self.intensity_head = intensity, None
        self.intensity_aus = () if intensity == "none" else self.au_names
        if intensity != "none":  # without, an adapter file is what it was before there was the argument
            self.arguments["intensity"] = intensity

    def make_backbone(self, name: str, **options: Any) -> Any:
        """The backbone of a name; `options` as of `create_backbone`."""
        return create_backbone(name, **options)

    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """`(H, W)` of an image in pixels, `(h, w)` of the grid of tokens."""
        return tuple(self.backbone.patch_embed.img_size), tuple(self.backbone.patch_embed.grid_size)

    @property
    def embed_dim(self) -> int:
        """Width `D` of the ViT."""
        return self.backbone.embed_dim

    @property
    def dtype(self) -> torch.dtype:
        """Type of the parameters, in which the network computes."""
        return self.pixel_mean.dtype

    @property
    def has_feature_statistics(self) -> bool:
        """Whether the head's standardisation has been measured."""
        return bool(self.head.standardise.measured)

    def train(self, mode: bool = True) -> AUNetwork:
        """Set training mode; a frozen backbone stays in eval mode: no dropout or stochastic depth, fixed BatchNorm."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def embed(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` in [0, 1] to the tokens before block 1 `(B, P+T, D)`, normalised as the ViT wants it.

        Raises:
            ValueError: The images have another shape than the network was built for, or are not floating-point.
        """
        if not images.is_floating_point():
            raise ValueError(f"Expected `images` to be floating-point in [0, 1], but got {images.dtype}")
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, *self.image_size):
            wanted = f"(B, 3, {self.image_size[0]}, {self.image_size[1]})"
            raise ValueError(
                f"Expected `images` to be {wanted}, the size this network was built for, but got {tuple(images.shape)}"
            )
        return embed_images(self.backbone, self.normalise(images))

    def normalise(self, images: Tensor) -> Tensor:
        """Images `(..., 3, H, W)` in [0, 1], normalised as the backbone's weights want them, in the network's type."""
        return (images.to(self.dtype) - self.pixel_mean) / self.pixel_std

    def plain_tokens(self, images: Tensor) -> Tensor:
        """Tokens of the plain ViT before its final norm `(B, P+T, D)`."""
        x = self.embed(images)
        with attention_for_training(self.backbone):
            for block, rope in zip(self.backbone.blocks, rotary(self.backbone), strict=True):
                x = block(x) if rope is None else block(x, rope=rope)
        return x

    def pool_tokens(self, x: Tensor) -> Tensor:
        """Tokens before the final norm `(B, P+T, D)` to pooled, normed features `(B, D)`.

        Exactly one of timm's `norm` (before pooling) and `fc_norm` (after it) is a real norm, the other an identity, so
        both are called.
        """
        x = self.backbone.norm(x)
        x = x[:, 0] if self.pool == "token" else x[:, self.backbone.num_prefix_tokens :].mean(1)
        return self.backbone.fc_norm(x)

    def pooled_features(self, images: Tensor) -> Tensor:
        """Pooled, normed features of the plain ViT `(B, D)`, before standardisation."""
        return self.pool_tokens(self.plain_tokens(images))

    def measured_features(self, images: Tensor) -> Tensor:
        """What standardisation is measured on: of images `(B, 3, H, W)` rows `(n, F)`, one or more per image."""
        return self.pooled_features(images)

    def set_feature_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Fix the head's standardisation: mean and deviation `(D,)` of `measured_features` over training images."""
        self.head.standardise.set_statistics(mean, std)

    def add_intensity_head(self, *, expert_width: int | None = None, linear: bool = False) -> None:
        """Build the intensity head, where there is one; what is drawn for it changes no other weight of the network."""
        if self.intensity != "none":
            with torch.random.fork_rng(devices=[]):
                self.intensity_head = IntensityHead(
                    self.intensity, self.embed_dim, len(self.au_names), expert_width=expert_width, linear=linear
                )

    def streams(self, images: Tensor) -> tuple[Tensor, Carried | None]:
        """What all heads read.

        Args:
            images: `(B, 3, H, W)` float in [0, 1].

        Returns:
            Pooled, normed features `(B, D)` before standardisation, and what the last group of experts handed on; None
            in a network without experts, and while they are disabled.
        """
        return self.pooled_features(images), None

    def expert_logits(self, carried: Carried | None) -> Tensor | None:
        """Logits of the expert heads `(B, N)`, None without expert heads or experts."""
        return None

    def mean_probs(self, logits: Tensor, expert_logits: Tensor | None) -> Tensor:
        """Probabilities `(B, N)` from logits: of the main head, or the mean of both heads' (`average_heads`)."""
        if not self.average_heads or expert_logits is None:
            return logits.sigmoid()
        return (logits.sigmoid() + expert_logits.sigmoid()) / 2

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Everything that the network says about images, in one forward pass.

        Args:
            images: `(B, 3, H, W)` float in [0, 1].

        Returns:
            `logits (B, N)`; `expert_logits (B, N)` where there are any; `probs (B, N)`, as `predict_probs` gives them;
            with an intensity head also `intensity (B, N)` in [0, 5] (of all action units, those not in `intensity_aus`
            among them), and of the form `ordinal` `level_logits (B, N, 5)` of `P(y >= k)`.
        """
        return self.head_outputs(*self.streams(images))

    def head_outputs(self, pooled: Tensor, carried: Carried | None) -> dict[str, Tensor]:
        """As `outputs`, from what `streams` gives."""
        logits, expert_logits = self.head(pooled), self.expert_logits(carried)
        found = {"logits": logits, "probs": self.mean_probs(logits, expert_logits)}
        if expert_logits is not None:
            found["expert_logits"] = expert_logits
        if self.intensity_head is not None:
            means = None if carried is None else carried.means
            found |= self.intensity_head(self.head.standardise(pooled), means)
        return found

    def forward_all(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images `(B, 3, H, W)` float in [0, 1] to `(logits (B, N), expert logits (B, N) or None)`."""
        pooled, carried = self.streams(images)
        return self.head(pooled), self.expert_logits(carried)

    def forward(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` float in [0, 1] to logits `(B, N)`."""
        return self.forward_all(images)[0]

    def predict_probs(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` to probabilities `(B, N)`, as this network predicts them."""
        return self.mean_probs(*self.forward_all(images))

    def num_parameters(self) -> tuple[int, int]:
        """Number of parameters: `(trainable, total)`."""
        sizes = [(parameter.requires_grad, parameter.numel()) for parameter in self.parameters()]
        return sum(size for trainable, size in sizes if trainable), sum(size for _, size in sizes)

    def frozen_names(self) -> set[str]:
        """Names in the state of what is never trained: a frozen backbone, without what a baseline trains of it."""
        names = {name for name in self.state_dict() if name.startswith("backbone.")} if self.frozen else set()
        return names - self.trained_in_backbone

    def adapter_state_dict(self) -> dict[str, Tensor]:
        """Every tensor that is not frozen (everything, if the backbone is trained), detached, by name."""
        frozen = self.frozen_names()
        return {name: tensor for name, tensor in self.state_dict().items() if name not in frozen}

    def load_adapter_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load what `adapter_state_dict` gives; nothing is changed unless everything fits.

        Raises:
            CheckpointError: A key is missing or not expected, or a tensor has another shape or type.
        """
        load_tensors(self.adapter_state_dict(), state, f"The checkpoint does not fit {type(self).__name__}")


def forms(tensors: Mapping[str, Any], *, stored: bool = False) -> dict[str, TensorForm]:
    """Shape and type of the tensors among some values, by name; with `stored`, as an adapter file holds them."""
    found = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    return {
        name: (tuple(value.shape), torch.float32 if stored and value.is_floating_point() else value.dtype)
        for name, value in found.items()
    }


@torch.no_grad()
def load_tensors(own: Mapping[str, Tensor], state: Mapping[str, Any], what: str) -> None:
    """Write tensors into those of the same names; nothing is changed unless everything fits, see `check_tensors`."""
    check_tensors(forms(own), forms(state), what)
    for name, tensor in own.items():
        tensor.copy_(state[name])


def check_tensors(wanted: Mapping[str, TensorForm], found: Mapping[str, TensorForm], what: str) -> None:
    """Compare the tensors of a checkpoint with those of a network, by name, shape and type; `what` begins the message.

    Raises:
        CheckpointError: A name is missing or not expected, or a tensor has another shape or type.
    """
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or extra:
        raise CheckpointError(f"{what}: missing keys {_first(missing)}; unexpected keys {_first(extra)}")
    for name, (shape, dtype) in wanted.items():
        if found[name] != (shape, dtype):
            other, kind = found[name]
            raise CheckpointError(
                f"{what}: expected `{name}` to be {dtype} of shape {shape}, but got {kind or 'another type'} of {other}"
            )


def _first(names: list[str]) -> str:
    return f"{', '.join(names[:5])} and {len(names) - 5} more" if len(names) > 5 else ", ".join(names) or "none"
