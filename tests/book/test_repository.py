"""One place names the repository, everything agrees with it, and one command changes it in a fork."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import repository
from notebook_files import ROOT

if shutil.which("git") is None or not (ROOT / ".git").exists():
    pytest.skip("needs git and a clone of the repository", allow_module_level=True)

FORK = "https://github.com/someone/a-fork.of-it"


@pytest.fixture
def copy(tmp_path) -> Path:
    """A repository of its own with the files that name the address."""
    for path in repository.files(ROOT):
        if repository.address() in path.read_text(encoding="utf-8"):
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    subprocess.run("git init -q && git add -A", shell=True, cwd=tmp_path, check=True)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    return {str(path): path.read_text(encoding="utf-8") for path in repository.files(folder)}


def test_a_fork_changes_every_place_and_nothing_else_and_can_change_it_back(copy):
    (copy / "README.md").write_text(f"{repository.address(copy)} but not {repository.address(copy)}-two", "utf-8")
    old, before = repository.address(copy), contents(copy)
    assert len(repository.change(f"{FORK}.git", copy)) == len(before) > 10
    assert repository.address(copy) == FORK
    changed = {name: text.replace(old, FORK).replace(f"{FORK}-two", f"{old}-two") for name, text in before.items()}
    assert contents(copy) == changed
    name = old.rpartition("/")[2]
    assert not any(re.search(rf"github\.com/[\w.-]+/{re.escape(name)}(?!-two)\b", text) for text in changed.values())
    repository.change(f"{old}/", copy)
    assert contents(copy) == before and repository.change(old, copy) == []


NO_ADDRESSES = ["", "resnet-book", "http://github.com/a/b", "https://x.y/a/b"]
NO_ADDRESSES += [f"https://github.com/{path}" for path in ("a", "a/b;ls", "a/$(ls)", "a/..", "../b", "a/b\n", "a/b c")]


def test_what_is_no_address_is_refused_and_changes_nothing(copy):
    before = contents(copy)
    for url in NO_ADDRESSES:
        with pytest.raises(ValueError, match=r"must be like https://github.com/OWNER/NAME"):
            repository.change(url, copy)
    assert contents(copy) == before


def test_the_command_says_in_one_sentence_what_is_missing(monkeypatch):
    for arguments in ([], [""], ["one", "two"], ["nonsense"]):
        with pytest.raises(SystemExit, match="URL"):
            repository.main(arguments)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="needs git"):
        repository.main([FORK])


def test_a_book_with_the_placeholder_is_not_published(monkeypatch):
    monkeypatch.setattr(repository, "address", lambda: f"https://github.com/{repository.PLACEHOLDER}/a-book")
    with pytest.raises(SystemExit, match="still the placeholder"):
        repository.main(["--check"])
    monkeypatch.setattr(repository, "address", lambda: FORK)
    repository.main(["--check"])
