"""Run notebooks in place and store their outputs, in a form that leaves a clean diff.

python notebooks/execute.py                    every chapter
python notebooks/execute.py 01_degradation     one of them

How long each took, and where, is kept in book/results/run_times.json.
"""

import json
import re
import sys
import time
from pathlib import Path

import nbformat
import torch
from nbclient import NotebookClient
from nbformat import NotebookNode

from resnet_lib.environment import describe_environment
from resnet_lib.files import write_whole

FOLDER = Path(__file__).parent
RUN_TIMES = FOLDER.parent / "book" / "results" / "run_times.json"
# What the book uses. The rest, timings and editors' notes, differs from run to run.
CELL_METADATA = {"tags", "mystnb"}
# A progress bar, which is finished when the reader comes.
WIDGET = "application/vnd.jupyter.widget-view+json"


def execute(notebook: NotebookNode) -> None:
    """Run all cells in a fresh kernel, in the notebooks' folder, as a reader would."""
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=600,
        record_timing=False,
        coalesce_streams=True,  # how a cell's output is cut into pieces is chance
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute()


def normalise(notebook: NotebookNode) -> None:
    """Keep what a reader sees and what does not depend on the machine."""
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in CELL_METADATA}
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
            for output in cell.outputs:
                if "image/svg+xml" in output.get("data", {}):
                    svg = re.sub(
                        "<dc:date>.*?</dc:date>", "", output.data["image/svg+xml"]
                    )
                    output.data["image/svg+xml"] = svg


def chapters(names: list[str]) -> list[Path]:
    """The notebooks of these names, or all; an unknown name ends the program."""
    known = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
    for name in names:
        if Path(name).stem not in known:
            sys.exit(f"there is no notebook {name}: name one of {', '.join(known)}")
    return [known[Path(name).stem] for name in names] or list(known.values())


def keep_time(chapter: str, seconds: float) -> None:
    """Note in the record how long the chapter took, and on what."""
    times = json.loads(RUN_TIMES.read_text("utf-8")) if RUN_TIMES.exists() else {}
    environment = describe_environment(torch.device("cpu"))
    del environment["commit"]  # that of before the outputs
    times[chapter] = {"seconds": round(seconds), "environment": environment}
    text = json.dumps(dict(sorted(times.items())), indent=1)
    write_whole(RUN_TIMES, f"{text}\n".encode())


def main() -> None:
    for path in chapters(sys.argv[1:]):
        start = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        execute(notebook)
        seconds = time.perf_counter() - start
        normalise(notebook)
        write_whole(path, f"{nbformat.writes(notebook)}\n".encode())
        keep_time(path.stem, seconds)
        print(f"{path.stem}: {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
