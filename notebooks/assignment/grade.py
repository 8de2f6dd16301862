"""Grade submissions on this machine as Gradescope would, without a container.

python notebooks/assignment/grade.py _build/assignment/degradation-autograder.zip SUBMISSION... --out graded

A SUBMISSION is a notebook, a zip file or a folder. Of each, graded/NAME holds what was handed in and
graded/NAME.results.json what it got; python -m resnet_course class-report graded makes a page of them all.
Students' code runs with your rights: use an account that can lose nothing.
"""

import argparse
import json
import shutil
import tempfile
import zipfile
from pathlib import Path

from otter.run import main as otter_run

from grading import tidy


def grade(autograder: Path, submission: Path, out: Path) -> None:
    """Write ``out``/NAME, what was handed in, and ``out``/NAME.results.json, as Gradescope has them."""
    name = submission.name if submission.is_dir() else submission.stem
    handed_in = out / name
    if handed_in.exists() and not handed_in.samefile(submission):
        shutil.rmtree(handed_in)
    if submission.is_dir():
        shutil.copytree(submission, handed_in, dirs_exist_ok=True)
    elif submission.suffix.lower() == ".zip":
        with zipfile.ZipFile(submission) as archive:
            archive.extractall(handed_in)
    else:
        handed_in.mkdir(parents=True)
        shutil.copy(submission, handed_in)
    with tempfile.TemporaryDirectory() as temporary:
        folder = shutil.copytree(handed_in, Path(temporary, "submission"))
        told = {"output": tidy(folder), "tests": []}
        packed = shutil.make_archive(str(Path(temporary, "tidied")), "zip", folder)
        try:
            otter_run(
                packed, autograder=str(autograder), output_dir=temporary, no_logo=True
            )
            told = json.loads(
                Path(temporary, "results.json").read_text(encoding="utf-8")
            )
        except Exception as error:  # of one submission; the others are graded
            told["output"] += f"\nIt could not be graded: {error}"
    (out / f"{name}.results.json").write_text(json.dumps(told), encoding="utf-8")
    print(f"{name}: {sum(test.get('score', 0) for test in told['tests']):g} points")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("autograder", type=Path)
    parser.add_argument("submissions", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("graded"))
    args = parser.parse_args()
    for submission in args.submissions:
        grade(args.autograder, submission, args.out)


if __name__ == "__main__":
    main()
