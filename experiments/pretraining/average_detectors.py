"""Average the weights of the packaged AU detector before and after its second training.

    python -m experiments.pretraining.average_detectors runs/first.safetensors runs/second.safetensors --share 0.5 \
        --folder runs/second --out-file auformer/assets/demo_detector.safetensors

A training that goes on from a checkpoint gains on what it sees and loses elsewhere; between both sets of weights lie
networks that keep most of both (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). `--share` is how
much of the second goes in. Temperatures and thresholds are then fitted anew on the rendered validation subjects of
`train_demo_detector`'s folder, and the scores on its test subjects are written as that script writes them.
"""

from __future__ import annotations

from pathlib import Path

import torch

from auformer.files import read_json
from auformer.models import AUFormer, load_detector
from auformer.models.adapter_file import save_adapter
from experiments.harness import circumstances, new_parser, write_result
from experiments.pretraining.calibrate import KEY, calibrate, divide_heads
from experiments.pretraining.train_demo_detector import PACKAGED, evaluate, page, render


def average(first: Path, second: Path, share: float, out: Path) -> None:
    """Write the adapter file of the averaged weights; the header is that of the second, without temperatures.

    Args:
        first: Adapter file of an AUFormer.
        second: One that was trained on from it.
        share: Of the second, in [0, 1].
        out: Where to.

    Raises:
        ValueError: They differ in more than weights.
    """
    networks = [load_detector(path) for path in (first, second)]
    for network in networks:
        if not isinstance(network, AUFormer):
            raise ValueError(f"Expected adapter files of AUFormer, but one is of {type(network).__name__}")
        temperatures = (network.metadata.get("extra") or {}).get(KEY)
        if temperatures:  # those of one are not those of the other
            divide_heads(network, [1 / temperatures[au] for au in network.au_names])
    states = [network.state_dict() for network in networks]
    if networks[0].au_names != networks[1].au_names or states[0].keys() != states[1].keys():
        raise ValueError(f"Expected {first} and {second} to hold the same network")
    mixed = {
        name: torch.lerp(value, states[1][name], share) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    networks[1].load_state_dict(mixed)
    extra = {name: value for name, value in (networks[1].metadata.get("extra") or {}).items() if name != KEY}
    save_adapter(out, networks[1], extra={**extra, "averaged": share})


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("runs/second"), help="of train_demo_detector")
    parser.add_argument("--out-file", type=Path, default=PACKAGED, help="default: the packaged file")
    args = parser.parse_args(argv)
    average(args.first, args.second, args.share, args.out_file)
    manifests = render(args.folder, workers=1)
    temperatures = calibrate(args.out_file, manifests["val"])
    trained = read_json(args.out / "demo_detector.json") or {}
    result = {**trained, "averaged": args.share, "temperatures": temperatures, **circumstances()}
    words = f"python -m experiments.pretraining.average_detectors FIRST SECOND --share {args.share}"
    result["command"] = f"{result.get('command', '')}`, then `{words}"
    result |= evaluate(args.out_file, manifests["test"])
    if args.out_file == PACKAGED:
        write_result(args.out, "demo_detector", result, page(result))
    print(page(result).split("\n| mean")[1].splitlines()[0])


if __name__ == "__main__":
    main()
