"""Make .venv, or renew it where requirements.txt has changed; the Makefile calls this first.

python3 book/environment.py book    what the book and its notebooks need
python3 book/environment.py all     what the tests, the assignment and the PDF need besides

requirements.txt bounds the versions of both. The old environment is put aside until the new one is complete, and put
back if that fails. It is plain Python of any version, so that an old one can say that it is too old.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = {"book": "book", "all": "book,test,classroom,cluster"}


def renew(what, root=ROOT):
    """Leave an environment in ``root``/.venv that holds what is asked for, and touch nothing if it does already."""
    venv, before, note = root / ".venv", root / ".venv-before", root / ".venv" / ".ready"
    if venv.is_symlink():
        sys.exit(
            f".venv is a link to {venv.resolve()}, which others may use, so it stays as it is. Remove the link and say "
            "make again, or use its programs without make, as README shows."
        )
    versions = (root / "requirements.txt").read_text(encoding="utf-8")
    noted = note.read_text(encoding="utf-8") if note.exists() else ""
    if noted in (what + "\n" + versions, "all\n" + versions):
        return
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(
            f"Python 3.11 or newer is needed, but {sys.executable} is {sys.version.split()[0]}: "
            "say make PYTHON=python3.12, for example"
        )
    if noted == "book\n" + versions:
        install(venv, what)  # the rest, beside what is there
    else:
        if before.exists() and not note.exists():  # a build was killed: what it left is worth nothing
            shutil.rmtree(venv, ignore_errors=True)
            before.rename(venv)
        shutil.rmtree(before, ignore_errors=True)
        if venv.exists():
            venv.rename(before)
        try:
            run(sys.executable, "-m", "venv", str(venv))
            install(venv, what)
        except BaseException:
            shutil.rmtree(venv, ignore_errors=True)
            if before.exists():
                before.rename(venv)
            raise
    note.write_text(what + "\n" + versions, encoding="utf-8")
    shutil.rmtree(before, ignore_errors=True)


def install(venv, what):
    python = venv / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    project = f"{venv.parent}[{EXTRAS[what]}]"
    bounds = str(venv.parent / "requirements.txt")
    run(str(python), "-m", "pip", "install", "--quiet", "--constraint", bounds, "--editable", project)


def run(*command):
    subprocess.run(command, check=True)


if __name__ == "__main__":
    if sys.argv[1:] not in [[what] for what in EXTRAS]:
        sys.exit("say what the environment is for: python3 book/environment.py book, or all")
    try:
        renew(sys.argv[1])
    except subprocess.CalledProcessError as error:
        sys.exit(f"The environment could not be made ({error}); an earlier one is as it was.")
    except KeyboardInterrupt:
        sys.exit("Interrupted; an earlier environment is as it was.")
