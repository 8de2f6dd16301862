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

from resnet_lib.files import refuse, write_whole
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

    Another file in its place is set aside, with a warning.
    """
    if not path.is_file():  # a pipe would be waited for without end
        return None
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
        if digest != hashlib.sha256(content).hexdigest().encode():
            raise ValueError("its digest differs")
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if not isinstance(saved, dict) or saved.get("format") != FORMAT or not isinstance(saved.get("state"), dict):
            raise ValueError(f"it does not say {FORMAT!r}")
        if saved.get("recipe") != asdict(recipe):
            raise ValueError("it is of another recipe")
        return saved["state"]
    except (OSError, MemoryError):
        raise
    except Exception as error:  # what torch.load raises depends on the content that it stumbles over
        reason = (str(error) or type(error).__name__).splitlines()[0]
        refuse(path, f"{path} is not the run's checkpoint: {reason}", "the run starts again")
        return None
