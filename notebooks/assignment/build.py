"""Make what students and graders get out of the instructor's notebook.

make assignment                        or  python notebooks/assignment/build.py [FOLDER]

The answer key is a folder: notebooks/assignment/instructor, or the private one that the environment's ASSIGNMENT_KEY
names. It holds degradation.ipynb, requirements.txt and, if you like, roster.csv (email,number) and secret.txt, which
is made if ASSIGNMENT_SECRET does not give the secret. FOLDER is _build/assignment unless named. It then holds

degradation.ipynb           the student's notebook
degradation-autograder.zip  all tests, for Gradescope and for grade.py
solution.ipynb              the notebook with solutions, model answers and rubric
rubric.csv                  the rubric of the written answers, for a spreadsheet

The student's notebook and its public tests go to notebooks/assignment, too, which is published. The same source and
secret give the same files, byte for byte.
"""

import argparse
import csv
import io
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEY = Path(os.environ.get("ASSIGNMENT_KEY") or HERE / "instructor").expanduser()
TARGET = ROOT / "_build" / "assignment"
MADE = {
    "degradation.ipynb",
    "degradation-autograder.zip",
    "solution.ipynb",
    "rubric.csv",
}
TEXT = {"encoding": "utf-8", "newline": "\n"}
SECONDS = {
    "cell_seconds": 240,
    "notebook_seconds": 400,
}  # Gradescope ends all after 600, unless told otherwise
GRADER = ("grading.py", "definitions.py")  # which the autograder brings with it
# What Gradescope runs: a submission is tidied first.
RUN = """import sys
from pathlib import Path

sys.path.insert(0, "/autograder/source")

from grading import tidy
from otter.run.run_autograder import main

tidy(Path("/autograder/submission"))
main("/autograder")
"""


def assign(folder: Path, key: Path) -> None:
    """Let Otter-Grader write folder/student and folder/autograder."""
    # Otter opens files in the system's encoding, which must be that of the notebook.
    subprocess.run(
        [
            sys.executable,
            "-m",
            "otter",
            "assign",
            key / "degradation.ipynb",
            folder,
            "--no-run-tests",
        ],
        env={**os.environ, "PYTHONUTF8": "1"},
        check=True,
    )


def number_cells(notebook: Path) -> bytes:
    """The notebook with plain names for its cells, since Otter's new ones are random."""
    content = nbformat.read(notebook, as_version=4)
    for number, cell in enumerate(content.cells):
        cell.id = f"cell-{number:02}"
    return f"{nbformat.writes(content)}\n".encode()


def write_zip(files: dict[str, bytes]) -> bytes:
    """The same files give the same bytes: they are sorted, and dated 1980."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return packed.getvalue()


def read_zip(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def find_secret(key: Path) -> str:
    """What a class's teacher alone knows: from the environment, or from a file that is made once."""
    path = key / "secret.txt"
    known = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    secret = os.environ.get("ASSIGNMENT_SECRET") or known or secrets.token_hex(16)
    if not os.environ.get("ASSIGNMENT_SECRET") and not known:
        path.write_text(f"{secret}\n", **TEXT)
    return secret


def read_roster(path: Path) -> dict[str, int]:
    """The student numbers by e-mail address; none without a file."""
    if not path.exists():
        return {}
    numbers = {}
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        sys.exit(f"{path} must be a CSV file in UTF-8 ({error}): save it as that")
    for row in rows:
        try:
            email, number = row["email"].strip().lower(), int(row["number"])
        except (KeyError, ValueError, TypeError, AttributeError):
            email, number = "", 0
        if not email or number < 1:
            sys.exit(
                f"{path} must have an email and a whole number from 1 up in each line, got {row}"
            )
        if numbers.setdefault(email, number) != number:
            sys.exit(f"{path} has two numbers for {email}: leave the right one")
    return numbers


def rubric(key: Path) -> bytes:
    """A line for each thing that a written answer gets points for, out of the model answers."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["question", "points", "for"])
    question = ""
    for cell in nbformat.read(key / "degradation.ipynb", as_version=4).cells:
        if cell.cell_type == "raw" and "BEGIN QUESTION" in cell.source:
            question = re.search(r"(?m)^name: (.+)", cell.source)[1]
        given = re.sub(
            r"\*Take off (\d)\*",
            r"-\1:",
            cell.source.partition("**Rubric (")[2].partition(".** ")[2],
        )
        writer.writerows(
            [question, *item] for item in re.findall(r"(-?\d): (.*?)\.(?= |$)", given)
        )
    return table.getvalue().encode()


def build(target: Path, key: Path = KEY) -> dict[str, bytes]:
    """Write what the source gives into ``target``, and return what is published of it."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        assign(made, key)
        (timestamped,) = made.glob("autograder/*.zip")
        autograder = read_zip(timestamped)
        settings = json.loads(autograder["otter_config.json"])
        ours = {
            **SECONDS,
            "secret": find_secret(key),
            "roster": read_roster(key / "roster.csv"),
        }
        settings["plugins"] = [{"grading.Grading": ours}]
        autograder |= {
            "otter_config.json": json.dumps(settings, indent=1).encode(),
            "run_otter.py": RUN.encode(),
        }
        autograder |= {name: (HERE / name).read_bytes() for name in GRADER}
        student, solution = (
            number_cells(made / who / "degradation.ipynb")
            for who in ("student", "autograder")
        )
        tests = {
            f"tests/{path.name}": path.read_bytes()
            for path in sorted((made / "student" / "tests").glob("*.py"))
        }
    files = {
        "degradation.ipynb": student,
        "solution.ipynb": solution,
        "rubric.csv": rubric(key),
    }
    files["degradation-autograder.zip"] = write_zip(autograder)
    write_folder(target, files)
    return {"degradation.ipynb": student, **tests}


def write_folder(target: Path, files: dict[str, bytes]) -> None:
    """Write the files into a folder that holds nothing else."""
    strange = (
        sorted(path.name for path in target.iterdir() if path.name not in MADE)
        if target.is_dir()
        else []
    )
    if strange or (target.exists() and not target.is_dir()):
        sys.exit(
            f"{target} holds {strange[0] if strange else 'something'} that was not made here: name another folder"
        )
    target.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (target / name).write_bytes(content)


def why_not(root: Path, key: Path) -> str:
    """Why nothing that is built here may be handed out, in a sentence; nothing if it may."""
    from repository import COMMAND, PLACEHOLDER, address  # book/repository.py

    if PLACEHOLDER in address(root):
        return f"Students install the library from {address(root)}, which is only a placeholder: say {COMMAND}"
    for path in (key / "degradation.ipynb", key / "requirements.txt"):
        if not path.is_file():
            return f"The answer key must have {path}, which is not there: say export ASSIGNMENT_KEY=FOLDER"
        if address(root) not in path.read_text(encoding="utf-8"):
            return f"{path} must install the library from {address(root)}: put that into it"
    for folder in (key, root / "notebooks" / "assignment" / "instructor"):
        command = ["git", "ls-files", folder]  # fails for a folder outside
        if not subprocess.run(command, cwd=root, capture_output=True).stdout:
            continue
        return (
            f"Your students install the library from this repository, and the answer key is in it: git knows {folder}. "
            "Move it to a private folder and name that in ASSIGNMENT_KEY, as book/instructors.md shows."
        )
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=TARGET)
    target = parser.parse_args().folder.expanduser().resolve()
    sys.path.append(str(ROOT / "book"))
    if reason := why_not(ROOT, KEY):
        sys.exit(reason)
    public = build(target)
    changed = [
        name
        for name, content in public.items()
        if not (HERE / name).exists() or (HERE / name).read_bytes() != content
    ]
    for name in changed:
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_bytes(public[name])
    print(f"The assignment is in {target}")
    if changed:
        print(
            f"Changed in notebooks/assignment, to be committed and pushed: {', '.join(changed)}"
        )


if __name__ == "__main__":
    main()
