"""The machine: the device to train on, and where a figure was measured, by hardware, versions and date."""

import json
import os
import platform
import subprocess
import warnings
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from resnet_lib.recipes import check_choice

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(device: str = "auto") -> torch.device:
    """The device asked for, or for "auto" the best one here: CUDA, else MPS, else the CPU. ValueError: not here."""
    check_choice("device", device, DEVICES)
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, is_here in here.items() if is_here)
    if not here[device]:
        raise ValueError(f"device must be one that this machine has, got {device!r}: use 'cpu' or 'auto'")
    return torch.device(device)


def describe_environment(device: torch.device) -> dict[str, Any]:
    """What one must know to judge a figure: hardware, versions and date, and nothing that names the machine's owner."""
    from resnet_lib import __version__

    environment: dict[str, Any] = {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor_name(),
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),  # figures from AVX2 are not those from AVX-512
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "resnet_lib": __version__,
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    if device.type == "cuda":  # what decides the bits there
        convolve, multiply = torch.backends.cudnn, torch.backends.cuda.matmul
        environment["capability"] = ".".join(map(str, torch.cuda.get_device_capability(device)))
        environment["tf32"] = {"matmul": _allows_tf32(multiply), "cudnn": _allows_tf32(convolve)}
        environment["cudnn"] = {name: getattr(convolve, name) for name in ("enabled", "deterministic", "benchmark")}
    return environment


def _allows_tf32(backend: Any) -> bool | None:
    try:
        with warnings.catch_warnings(action="ignore"):  # PyTorch 2.9 warns of the older names, which 2.6 has alone
            return bool(backend.allow_tf32)
    except RuntimeError:  # it is allowed for some operators, by the newer names
        return None


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():  # Linux, where platform.processor() is empty or just "x86_64"
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of this library: of the checkout that it runs from, or of the one that pip installed it from.

    A checkout whose files were changed since says so. None where neither is known.
    """
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        # Only if this very file is under version control: an installed package may lie within another checkout.
        subprocess.run([*git[:3], "ls-files", "--error-unmatch", __file__], capture_output=True, check=True)
        return subprocess.run(git, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    try:
        installed_from = metadata.distribution("resnet-lib").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    commit: str | None = json.loads(installed_from or "{}").get("vcs_info", {}).get("commit_id")
    return commit
