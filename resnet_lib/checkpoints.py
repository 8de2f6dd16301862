"""A run under way, on disk: what it needs to go on after being cut off.

A checkpoint is one file, the SHA-256 of its content and then the content, written by `torch.save`. The digest tells a
damaged file from a whole one; `torch.load` alone would not always.
"""

import hashlib
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from resnet_lib.files import load_or_set_aside, write_whole
from resnet_lib.recipes import Recipe

FORMAT = "resnet_lib checkpoint 1"


def save_checkpoint(state: dict[str, Any], recipe: Recipe, path: Path) -> None:
    """Write the state of a run, tensors and plain values, at once or not at all."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "recipe": asdict(recipe), "state": state}, buffer)
    content = buffer.getvalue()
    write_whole(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def find_checkpoint(recipe: Recipe, path: Path) -> Any:
    """The state that the run of ``recipe`` left in ``path``, its tensors on the CPU, or None.

    A file in its place that is not its checkpoint is set aside, under a name that says so, with a warning.
    """

    def load(path: Path) -> Any:
        digest, _, content = path.read_bytes().partition(b"\n")
        if digest != hashlib.sha256(content).hexdigest().encode():
            raise ValueError(f"{path} is not a whole checkpoint: its digest differs")
        try:
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # what torch.load raises depends on the content that it stumbles over
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(f"{path} is not a checkpoint: {reason}") from None
        if not isinstance(saved, dict) or saved.get("format") != FORMAT or not saved.keys() >= {"recipe", "state"}:
            raise ValueError(f"{path} is not a checkpoint: it does not say {FORMAT!r}")
        if saved["recipe"] != asdict(recipe):
            raise ValueError(f"{path} is the checkpoint of another recipe")
        return saved["state"]

    return load_or_set_aside(path, load, "the run starts again")
