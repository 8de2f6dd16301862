"""Run notebooks as readers elsewhere do: in an empty folder, set up by their own cell.

python notebooks/anywhere.py                    every chapter
python notebooks/anywhere.py 01_degradation     one of them
python notebooks/anywhere.py --fresh            in a new environment, other versions

The library comes from the last commit of this checkout instead of the repository's
address. Nothing else may change what is installed: packages may come, none may be
replaced or go. Needs nbclient and ipykernel.
"""

import argparse
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 1800  # seconds a cell; free machines are slow
OTHER_VERSIONS = ("torch==2.8.0", "numpy==2.1.3", "matplotlib==3.9.4")


def installed() -> dict[str, str]:
    """What pip sees: names and versions."""
    command = [sys.executable, "-m", "pip", "list", "--format=freeze"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(line.split("==") for line in lines.split())


def as_elsewhere(path: Path) -> nbformat.NotebookNode:
    """The notebook, its library taken from this checkout, its outputs gone."""
    checkout = ROOT.as_uri()
    if os.name != "nt":  # where git takes a host for part of the path
        checkout = checkout.replace("file://", "file://localhost")  # for an older pip
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source, changes = re.subn(
        r"git\+https://\S+(?=\")", f"git+{checkout}", notebook.cells[1].source
    )
    if changes != 1:
        raise ValueError(f"{path.name}: the second cell installs no library")
    return notebook


def printed(cell: nbformat.NotebookNode) -> str:
    """What a cell printed."""
    return "".join(output.get("text", "") for output in cell.outputs)


def run(path: Path) -> str | None:
    """Run a notebook in an empty folder; what went wrong, or None."""
    notebook = as_elsewhere(path)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=PATIENCE,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute()
        except CellExecutionError as error:
            return f"The set-up cell printed:\n{printed(notebook.cells[1])}\n{error}"
    return None


def run_all(paths: list[Path]) -> list[str]:
    """Run the notebooks and print their times; what went wrong."""
    before, problems = installed(), []
    for path in paths:
        start = time.perf_counter()
        problem = run(path)
        verdict = "FAILED" if problem else "passed"
        print(
            f"{path.stem}: {verdict}, {time.perf_counter() - start:.0f} s", flush=True
        )
        if problem:
            problems.append(f"{path.stem}:\n{problem}")
    after = installed()
    print("came:", ", ".join(sorted(after.keys() - before.keys())) or "nothing")
    changed = sorted(name for name in before if after.get(name) != before[name])
    if changed:
        problems.append(f"replaced or gone: {', '.join(changed)}")
    return problems


def run_in_fresh_environment(names: list[str]) -> int:
    """Run this script in an environment that has other versions; its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
        packages = [*OTHER_VERSIONS, "nbclient", "ipykernel"]
        command = [python, "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(command, check=True)
        return subprocess.run([python, __file__, *names]).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description="Run notebooks in empty folders.")
    parser.add_argument("names", nargs="*", help="chapters, such as 01_degradation")
    parser.add_argument("--fresh", action="store_true", help="in a new environment")
    args = parser.parse_args()
    known = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    unknown = [name for name in args.names if name not in known]
    if unknown:
        parser.error(f"no notebook {unknown[0]}; there are {', '.join(known)}")
    if args.fresh:
        sys.exit(run_in_fresh_environment(args.names))
    # In a container the checkout may belong to somebody else, which git distrusts.
    os.environ.update(
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0="safe.directory",
        GIT_CONFIG_VALUE_0="*",
    )
    torch = importlib.metadata.version("torch")
    print(f"Python {sys.version.split()[0]}, torch {torch}", flush=True)
    problems = run_all([known[name] for name in args.names or known])
    if problems:
        sys.exit("\n\n".join(problems))


if __name__ == "__main__":
    main()
