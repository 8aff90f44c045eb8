"""Write a checkpoint as one file that runs without this package: images in, probabilities and intensities out.

  auformer export runs/demo/adapter.safetensors --format onnx --out detector.onnx
  auformer export demo --format torch --out detector.pt2
  auformer export runs/bp4d/adapter.safetensors --int8 --out small.onnx

The file takes float32 RGB images (batch, 3, height, width) in [0, 1], aligned by the checkpoint's crop recipe, in
batches of any size; normalisation and sigmoid are inside. It gives `probs`, and `intensity` (0 to 5) where the
checkpoint has an intensity head. AU names, decision thresholds and crop recipe are in its metadata. `auformer evaluate`
and `auformer predict` take the ONNX file as a CHECKPOINT.

--int8 stores matrices in 8 bits: about a quarter of the size, and about twice as fast on a CPU for ViT-B/16, at the
price of slightly different probabilities (experiments/results/int8.md); small networks gain little. Score the file with
`auformer evaluate` before you rely on it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auformer.models import AUNetwork

PARITY = 1e-4  # largest difference of a probability between the file and the network; of an intensity, of its range
PARITY_INT8 = 0.2  # the same in 8 bits, on images of noise: more is a broken file, not rounding [ours]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer export`."""
    add = parser.add_argument
    add(
        "checkpoint",
        metavar="CHECKPOINT",
        help="adapter file, .ckpt, folder with adapter.safetensors, demo, or hf://owner/name",
    )
    add("--format", choices=("onnx", "torch"), default="onnx", help="ONNX, or a torch.export program (default: onnx)")
    add(
        "--int8",
        action="store_true",
        help="matrices in 8-bit integers (onnx only): smaller and faster on CPUs, slightly less exact",
    )
    add("--out", required=True, type=Path, metavar="FILE", help="file to write, .onnx or .pt2")
    add(
        "--backbone-checkpoint",
        type=Path,
        metavar="FILE",
        help="local file with the frozen weights, where they cannot be downloaded",
    )
    add("--overwrite", action="store_true", help="replace an existing file")


def run(args: argparse.Namespace) -> int:
    """Export, read the file back, and compare it with the network.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        MissingExtraError: The packages for ONNX are not installed.
        ValueError: The file is there already, has another suffix, or gives other probabilities than the network.
    """
    from auformer.files import atomic_path
    from auformer.models import export_detector, load_detector
    from auformer.models.checkpoint_path import DEMO_DETECTOR, resolve_checkpoint
    from auformer.models.export import FORMATS, output_names

    if args.out.suffix.lower() != FORMATS[args.format] or args.out.is_dir():
        found = f"the folder {args.out}" if args.out.is_dir() else args.out
        wanted = f"a file that ends in {FORMATS[args.format]} for the format {args.format}"
        raise ValueError(f"Expected `--out` to be {wanted}, but got {found}.")
    if args.out.exists() and not args.overwrite:
        raise ValueError(
            f"Expected `--out` to be a new file, but found {args.out}: choose another name, or add --overwrite."
        )
    if args.int8 and args.format != "onnx":
        raise ValueError(f"Expected `--int8` with the format onnx only, but got {args.format}.")
    path = resolve_checkpoint(args.checkpoint)
    network = load_detector(args.checkpoint, backbone_checkpoint=args.backbone_checkpoint)
    with atomic_path(args.out) as temporary:
        export_detector(
            network, temporary, kind=args.format, int8=args.int8, source={"checkpoint": str(args.checkpoint)}
        )
        difference, allowed = _difference(network, temporary, args.format), PARITY_INT8 if args.int8 else PARITY
        if not difference <= allowed:
            raise ValueError(
                f"Expected the exported file to give the network's outputs, but they differ by {difference:.2g} of "
                "their range."
            )
    height, width = network.image_size
    print(f"wrote {args.out}: {args.out.stat().st_size / 1e6:.1f} MB, {len(network.au_names)} action units")
    recipe = network.crop_recipe or "unknown"
    names = output_names(network.intensity)
    given = " and ".join(f"`{name}`" for name in names)
    print(f"takes `images` (batch, 3, {height}, {width}) in [0, 1], crop recipe {recipe}; gives {given}")
    what = "probabilities" if len(names) == 1 else "outputs"
    print(f"checked: its {what} are the network's to within {allowed:g} (largest difference {difference:.1g})")
    if path == DEMO_DETECTOR:
        from auformer.report.html import demo_note

        print(demo_note(intensity=bool(network.intensity_aus)))
    return 0


def _difference(network: AUNetwork, out: Path, kind: str) -> float:
    """Largest difference of an output on random images, in a batch of another size than the exporter saw.

    Of intensities it is relative to their range.
    """
    import torch

    from auformer.models import OnnxDetector
    from auformer.models.export import output_names
    from auformer.models.intensity import LEVELS

    images = torch.rand(3, 3, *network.image_size, generator=torch.Generator().manual_seed(0))
    names, ranges = output_names(network.intensity), {"probs": 1.0, "intensity": float(LEVELS)}
    with torch.no_grad():
        if kind == "onnx":
            found = OnnxDetector(out).outputs(images)
        else:
            given = torch.export.load(out).module()(images)
            found = dict(zip(names, (given,) if len(names) == 1 else given, strict=True))
        wanted = network.outputs(images)
    return max(float((found[name] - wanted[name]).abs().max()) / ranges[name] for name in names)
