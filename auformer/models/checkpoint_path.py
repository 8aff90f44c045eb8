"""Which file a CHECKPOINT means: itself, the adapter file of a folder, the packaged one, one of the hub's."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from auformer.errors import CheckpointError
from auformer.models.quiet import quiet

ADAPTER_NAME = "adapter.safetensors"
DEMO_DETECTOR = Path(__file__).parent.parent / "assets" / "demo_detector.safetensors"


def resolve_checkpoint(checkpoint: str | Path) -> Path:
    """The file that a CHECKPOINT means: itself, the adapter file of a folder, `demo`, or `hf://owner/name`.

    Raises:
        CheckpointError: There is no such file.
    """
    text = str(checkpoint)
    if text == "demo":
        path = DEMO_DETECTOR
    elif text.startswith("hf://"):
        path = _from_hub(text)
    else:
        path = Path(checkpoint)
        if path.is_dir():
            path = path / ADAPTER_NAME
    if not path.is_file():
        raise CheckpointError(
            f"Expected `checkpoint` to be an adapter file, a .ckpt, a folder with {ADAPTER_NAME}, 'demo' "
            f"or 'hf://owner/name', but {path} does not exist"
        )
    return path


def _from_hub(text: str) -> Path:
    """Fetch a model folder's two files, and nothing else, from the Hugging Face hub, or take them from the cache.

    `hf://owner/name@revision` pins a branch, tag or commit. The folder of the file that is returned is named after the
    commit.
    """
    match = re.fullmatch(r"hf://([\w.\-]+/[\w.\-]+?)(?:@([\w.\-/]+))?/?", text)
    if match is None:
        raise CheckpointError(
            f"Expected `checkpoint` to be like 'hf://owner/name' or 'hf://owner/name@revision', but got {text!r}"
        )
    from huggingface_hub import hf_hub_download

    name, revision = match.groups()
    try:
        with quiet():  # the hub logs every retry
            path = Path(hf_hub_download(repo_id=name, filename=ADAPTER_NAME, revision=revision))
    except Exception as error:
        raise CheckpointError(f"Cannot fetch {ADAPTER_NAME} from {text}: {error}") from error
    with quiet(), contextlib.suppress(Exception):  # the card is for people; a model without one works as well
        hf_hub_download(repo_id=name, filename="README.md", revision=revision)
    return path
