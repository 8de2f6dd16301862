"""Make what students and graders get out of degradation.ipynb.

python notebooks/assignment/build.py [FOLDER]

FOLDER is _build/assignment unless named. It then holds

student/                    the notebook without solutions, and its public tests
degradation-student.zip     the same as one file, for Colab
degradation-autograder.zip  all tests, for Gradescope and for otter run
solution/                   the notebook with solutions and rubric

The same source gives the same files, byte for byte.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat

SOURCE = Path(__file__).parent / "degradation.ipynb"
TARGET = Path(__file__).parents[2] / "_build" / "assignment"
TEXT = {"encoding": "utf-8", "newline": "\n"}


def assign(folder: Path) -> None:
    """Let Otter-Grader write folder/student and folder/autograder."""
    # Otter opens files in the system's encoding, which must be that of the notebook.
    subprocess.run(
        [sys.executable, "-m", "otter", "assign", SOURCE, folder, "--no-run-tests"],
        env={**os.environ, "PYTHONUTF8": "1"},
        check=True,
    )


def number_cells(notebook: Path) -> None:
    """Give the cells plain names, since Otter's new ones are random."""
    content = nbformat.read(notebook, as_version=4)
    for number, cell in enumerate(content.cells):
        cell.id = f"cell-{number:02}"
    notebook.write_text(nbformat.writes(content) + "\n", **TEXT)


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    """The same files give the same bytes: they are sorted, and dated 1980."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)


def read_zip(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read_folder(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def build(target: Path) -> None:
    """Replace ``target`` by what the source gives."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        assign(made)
        for notebook in made.glob(f"*/{SOURCE.name}"):
            number_cells(notebook)
        (timestamped,) = made.glob("autograder/*.zip")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(made / "student", target / "student")
        (target / "solution").mkdir()
        shutil.copy(made / "autograder" / SOURCE.name, target / "solution")
        write_zip(target / "degradation-autograder.zip", read_zip(timestamped))
        student = read_folder(target / "student")
        write_zip(target / "degradation-student.zip", student)


def main() -> None:
    target = Path(sys.argv[1]).resolve() if sys.argv[1:] else TARGET
    build(target)
    print(f"The assignment is in {target}")


if __name__ == "__main__":
    main()
