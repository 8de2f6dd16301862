"""The environment that make builds: nothing is lost, whatever fails."""

import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import environment
import pytest


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A checkout in which an environment is a folder with a file that names who made it; ``commands`` counts them."""
    (tmp_path / "requirements.txt").write_text("torch==1\n")
    monkeypatch.setattr(environment, "run", lambda *command: build(tmp_path, command))
    return tmp_path


def build(root: Path, command: tuple[str, ...]) -> None:
    log = root / "log"
    log.write_text(f"{log.read_text() if log.exists() else ''}{command[2]} {command[-1].removeprefix(str(root))}\n")
    (root / ".venv").mkdir(exist_ok=True)
    (root / ".venv" / "versions").write_text((root / "requirements.txt").read_text())
    if (root / "offline").exists() and "pip" in command:
        raise subprocess.CalledProcessError(1, command)


def steps(root: Path) -> list[str]:
    lines = (root / "log").read_text().splitlines()
    (root / "log").unlink()
    return lines


def test_it_is_built_once_and_again_when_the_versions_change_not_when_the_file_is_touched(root):
    environment.renew("book", root)
    assert steps(root) == ["venv /.venv", "pip [book]"]
    environment.renew("all", root)  # which serves the book, too
    assert steps(root) == ["pip [book,test,classroom,cluster]"]
    (root / "requirements.txt").touch()
    environment.renew("book", root)
    assert not (root / "log").exists()
    (root / "requirements.txt").write_text("torch==2\n")
    environment.renew("book", root)
    assert steps(root) == ["venv /.venv", "pip [book]"]
    assert sorted(path.name for path in root.iterdir()) == [".venv", "requirements.txt"]


@pytest.mark.parametrize("error", ["offline", "killed"])
def test_what_fails_leaves_the_old_environment(root, error, monkeypatch):
    environment.renew("all", root)
    (root / "requirements.txt").write_text("torch==2\n")
    (root / "offline").touch()
    if error == "killed":  # no handler runs; the next make finds what is there
        (root / ".venv").rename(root / ".venv-before")
        (root / ".venv").mkdir()
    with pytest.raises(subprocess.CalledProcessError):
        environment.renew("all", root)
    assert (root / ".venv" / "versions").read_text() == "torch==1\n"
    assert not (root / ".venv-before").exists()


def test_a_link_is_refused_and_followed_nowhere(root, tmp_path_factory):
    shared = tmp_path_factory.mktemp("shared")
    (shared / "file").touch()
    (root / ".venv").symlink_to(shared, target_is_directory=True)
    with pytest.raises(SystemExit, match="link to"):
        environment.renew("all", root)
    assert [path.name for path in shared.iterdir()] == ["file"]


def test_every_package_that_the_project_names_is_in_the_lock():
    project = tomllib.loads((environment.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {*project["dependencies"], *chain(*project["optional-dependencies"].values())}
    lock = (environment.ROOT / "requirements.txt").read_text(encoding="utf-8")
    locked = {re.match(r"[\w.-]+", line)[0] for line in lock.splitlines() if line[0].isalpha()}
    assert {re.match(r"[\w.-]+", one)[0] for one in named} - locked == {"resnet-lib"}
