"""How Lightning writes and reads run checkpoints: atomically in the folder itself, and with nothing executed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from auformer.files import atomic_path
from auformer.models.run_checkpoint import read_checkpoint


class RunCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so a full disk or a kill leaves the old checkpoint whole; reads with `weights_only`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write one checkpoint.

        Args:
            checkpoint: What Lightning gathered.
            path: Where to.
            storage_options: Not used.

        Raises:
            OSError: The disk is full or the folder cannot be written; the old file is still there.
        """
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_path(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        """Read one checkpoint; `weights_only` is always on, see `auformer.models.run_checkpoint.read_checkpoint`."""
        return read_checkpoint(Path(path), map_location)
