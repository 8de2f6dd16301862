"""What README shows is there."""

import re

from front import title_of
from notebook_files import ROOT

from resnet_lib.records import load_records

README = (ROOT / "README.md").read_text(encoding="utf-8")
INNER = {"style", "environment", "environment-book"}  # steps of the others


def test_its_pictures_show_the_recorded_finding():
    finding = title_of(load_records(ROOT / "book" / "results" / "digits")).splitlines()
    for picture in re.findall(r'(?:srcset|src)="(.+?)"', README):
        assert all(line in (ROOT / picture).read_text(encoding="utf-8") for line in finding)


def test_its_commands_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)) == targets - INNER


def test_its_links_and_folders_are_there():
    for place in re.findall(r"\]\((?!http)(.+?)\)", README) + re.findall(r"^\| `(\w+/)`", README, re.MULTILINE):
        assert (ROOT / place).exists(), place
