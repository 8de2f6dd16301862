"""One place names the repository, everything agrees with it, and one command changes it in a fork."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import repository

ROOT = Path(__file__).parents[2]
FORK = "https://github.com/someone/a-fork.of-it"


@pytest.fixture
def copy(tmp_path) -> Path:
    """A repository of its own with the files that name the address."""
    for path in repository.files(ROOT):
        text = path.read_text(encoding="utf-8")
        if repository.address() in text:
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in repository.files(folder)}


def test_every_link_into_the_repository_names_the_one_of_the_configuration():
    name = repository.address().rsplit("/", 1)[1]
    for path in repository.files(ROOT):
        for link in re.findall(rf"https://github\.com/[\w.-]+/{re.escape(name)}\b", path.read_text(encoding="utf-8")):
            assert link == repository.address(), path


def test_a_fork_changes_every_place_and_nothing_else(copy):
    old, before = repository.address(copy), contents(copy)
    assert len(repository.change(FORK, copy)) == len(before) > 10
    assert repository.address(copy) == FORK
    assert contents(copy) == {name: text.replace(old, FORK) for name, text in before.items()}
    assert old not in "".join(contents(copy).values())


def test_changing_back_leaves_every_file_as_it_was(copy):
    old, before = repository.address(copy), contents(copy)
    repository.change(FORK + ".git", copy)
    repository.change(old + "/", copy)
    assert contents(copy) == before
    assert repository.change(old, copy) == []


def test_a_repository_whose_name_begins_alike_is_left_alone(copy):
    (copy / "README.md").write_text(f"{repository.address(copy)}-two\n", encoding="utf-8")
    repository.change(FORK, copy)
    assert (copy / "README.md").read_text(encoding="utf-8").endswith("/resnet-book-two\n")


@pytest.mark.parametrize("url", ["", "resnet-book", "http://github.com/a/b", "https://github.com/a", "https://x.y/a/b"])
def test_what_is_no_repository_is_refused_and_changes_nothing(url, copy):
    before = contents(copy)
    with pytest.raises(ValueError, match=r"must be like https://github.com/OWNER/NAME"):
        repository.change(url, copy)
    assert contents(copy) == before


def test_the_command_says_in_one_line_what_is_missing():
    done = subprocess.run([sys.executable, ROOT / "book" / "repository.py"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "URL=" in done.stderr
