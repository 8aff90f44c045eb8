"""Ask a question about the faces of an image: about muscles that move, and how strongly.

  auformer ask demo photo.jpg "Is the brow lowered?"
  auformer ask runs/aullava photo.jpg "How strong is AU12?"
  auformer ask demo photo.jpg "What moves in this face?" --language de

A question that names no action unit of the checkpoint is declined. So is, always, any about feelings, identity or
traits: the Facial Action Coding System describes movements. A language model (AULLaVA) answers in the forms it was
trained on; of any other checkpoint the answer is made by rule from its decisions. The last line says which.
Exit code 3: declined.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXIT_DECLINED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer ask`."""
    add = parser.add_argument
    checkpoint = "adapter file, .ckpt, folder with adapter.safetensors, .onnx file, demo, or hf://owner/name"
    add("checkpoint", metavar="CHECKPOINT", help=checkpoint)
    add("image", metavar="IMAGE", help="a photo")
    add("question", metavar="QUESTION", help="in English or German")
    add("--language", choices=("en", "de"), default="en", help="of sentences in the answer (default: en)")
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps ... (default: auto, a GPU where there is one)")
    add("--detector", default="cascade", metavar="SPEC", help="face detector (default: cascade)")
    weights = "local file with the frozen weights, where they cannot be fetched"
    add("--backbone-checkpoint", type=Path, metavar="FILE", help=weights)


def run(args: argparse.Namespace) -> int:
    """Print the answer per face; raises what `auformer.predict.ask.ask` does."""
    from auformer.predict.ask import ask

    answered = ask(
        args.checkpoint, args.image, args.question, language=args.language, device=args.device,
        detector=args.detector, backbone_checkpoint=args.backbone_checkpoint,
    )  # fmt: skip
    if answered.declined is not None:
        print(answered.declined)
        return EXIT_DECLINED
    many = len(answered.faces) > 1
    for number, lines in enumerate(answered.faces, 1):
        for line in lines:
            print(f"face {number}: {line}" if many else line)
    print(f"(source: {answered.source})")
    if answered.notice:
        print(f"\n{answered.notice}")
    return 0
