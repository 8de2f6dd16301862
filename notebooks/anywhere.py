"""Run notebooks as readers elsewhere do: in an empty folder, set up by their own cell.

python notebooks/anywhere.py                    every chapter
python notebooks/anywhere.py 01_degradation     one of them

The library comes from the last commit of this checkout instead of the repository's
address. Nothing else may change what is installed: packages may come, none may be
replaced or go. Needs nbclient and ipykernel.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 1800  # seconds a cell; free machines are slow


def installed() -> dict[str, str]:
    """What pip sees: names and versions."""
    command = [sys.executable, "-m", "pip", "list", "--format=freeze"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(line.split("==") for line in lines.split())


def as_elsewhere(path: Path) -> nbformat.NotebookNode:
    """The notebook, its library taken from this checkout, its outputs gone."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source, changes = re.subn(
        r"git\+https://\S+(?=\")", f"git+{ROOT.as_uri()}", notebook.cells[1].source
    )
    if changes != 1:
        raise ValueError(f"{path.name}: the second cell installs no library")
    return notebook


def run(path: Path) -> str | None:
    """Run a notebook in an empty folder; what went wrong, or None."""
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            as_elsewhere(path),
            kernel_name="python3",
            timeout=PATIENCE,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute()
        except CellExecutionError as error:
            return str(error)
    return None


def main(names: list[str]) -> None:
    # In a container the checkout may belong to somebody else, which git distrusts.
    os.environ.update(
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0="safe.directory",
        GIT_CONFIG_VALUE_0="*",
    )
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    chosen = [path for path in paths if not names or path.stem in names]
    if len(chosen) < len(names):
        known = ", ".join(path.stem for path in paths)
        sys.exit(f"no such notebook among {' '.join(names)}; there are {known}")
    print(
        f"Python {sys.version.split()[0]}, torch {importlib.metadata.version('torch')}"
    )
    before, failed = installed(), []
    for path in chosen:
        start = time.perf_counter()
        problem = run(path)
        print(f"{path.stem}: {time.perf_counter() - start:.0f} s", end=" ", flush=True)
        print("FAILED" if problem else "", flush=True)
        if problem:
            failed.append(f"{path.stem}:\n{problem}")
    after = installed()
    new = sorted(after.keys() - before.keys())
    changed = sorted(name for name in before if after.get(name) != before[name])
    print("came:", ", ".join(new) or "nothing")
    if changed:
        failed.append(f"replaced or gone: {', '.join(changed)}")
    if failed:
        sys.exit("\n\n".join(failed))


if __name__ == "__main__":
    main(sys.argv[1:])
