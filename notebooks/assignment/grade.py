"""Grade submissions on this machine as Gradescope would, without a container.

python notebooks/assignment/grade.py _build/assignment/degradation-autograder.zip SUBMISSION... --out graded

A SUBMISSION is a notebook, a zip file, or a folder with one of these, as Moodle has it. Of each, graded/NAME holds what
was handed in and graded/NAME.results.json what it got; python -m resnet_course class-report graded makes a page of
them all. One that can't be graded is named, and the others are graded.
Students' code runs with your rights: use an account that can lose nothing.
"""

import argparse
import contextlib
import io
import json
import shutil
import tempfile
import zipfile
from pathlib import Path

from otter.run import main as otter_run

from grading import tidy
from resnet_lib.files import write_whole


def grade(autograder: Path, submission: Path, out: Path) -> None:
    """Write ``out``/NAME, what was handed in, and ``out``/NAME.results.json, as Gradescope has them."""
    handed_in, told = place_of(submission, out), {"output": "", "tests": []}
    name = handed_in.name
    with tempfile.TemporaryDirectory() as temporary:
        try:
            if not (handed_in.exists() and handed_in.samefile(submission)):
                copy(submission, handed_in)
            unpack(handed_in)
            folder = shutil.copytree(handed_in, Path(temporary, "submission"))
            told["output"] = tidy(folder)
            packed = shutil.make_archive(str(Path(temporary, "tidied")), "zip", folder)
            with contextlib.redirect_stdout(io.StringIO()):  # the results say it, too
                otter_run(
                    packed,
                    autograder=str(autograder),
                    output_dir=temporary,
                    no_logo=True,
                )
            told = json.loads(
                Path(temporary, "results.json").read_text(encoding="utf-8")
            )
        except Exception as error:  # of one submission; the others are graded
            told["output"] += f"\nIt could not be graded: {error}"
    write_whole(out / f"{name}.results.json", json.dumps(told).encode())
    points = f"{sum(test.get('score', 0) for test in told['tests']):g} points"
    print(f"{name}: {points if told['tests'] else told['output'].strip()}", flush=True)


def place_of(submission: Path, out: Path) -> Path:
    """Where what was handed in is kept; what lies there is replaced."""
    path = submission.resolve()  # . and .. have no names
    return out.resolve() / (path.name if path.is_dir() else path.stem)


def why_not(submissions: list[Path], out: Path) -> str:
    """Why nothing may be graded, since something handed in would be lost, in a sentence; nothing if it may."""
    places = [place_of(path, out) for path in submissions]
    for path, place in zip(submissions, places, strict=True):
        if places.count(place) > 1:
            return f"{places.count(place)} submissions are called {place.name}, as {path} is: name their folders"
        source = path.resolve()
        if place != source and (place in source.parents or source in place.parents):
            return f"{path} and {place}, which is written anew, lie in one another: name another folder with --out"
    if not __debug__:
        return "tests are assertions, which Python leaves out with -O: unset PYTHONOPTIMIZE"
    return ""


def copy(submission: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if submission.is_dir():
        shutil.copytree(submission, folder)
    else:
        folder.mkdir(parents=True)
        shutil.copy(submission, folder)


def unpack(folder: Path) -> None:
    """Put what a zip file holds into its place."""
    packed = [path for path in folder.rglob("*") if path.suffix.lower() == ".zip"]
    if len(packed) > 1:
        names = ", ".join(sorted(path.name for path in packed))
        raise ValueError(
            f"it has several zip files, {names}: leave the one that counts"
        )
    for path in packed:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(path.parent)
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("autograder", type=Path)
    parser.add_argument("submissions", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("graded"))
    args = parser.parse_args()
    for path in (args.autograder, *args.submissions):
        if not path.exists():
            parser.error(f"there is no {path}")
    if reason := why_not(args.submissions, args.out):
        parser.error(reason)
    args.out.mkdir(parents=True, exist_ok=True)
    for submission in args.submissions:
        grade(args.autograder, submission, args.out)


if __name__ == "__main__":
    main()
