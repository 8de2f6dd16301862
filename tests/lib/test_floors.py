"""The library is a house of few floors, one above what it imports, and the course stands on its roof."""

import ast
import sys
from pathlib import Path

import pytest
from notebook_files import ROOT

MOST_FLOORS = 5
NEED_TORCH_ALONE = {"recipes", "blocks", "networks", "arithmetic"}
LIBRARY, COURSE, EXTENSIONS = (ROOT / folder for folder in ("resnet_lib", "resnet_course", "book/_ext"))
LONGEST_FILE = {LIBRARY: 250, COURSE: 300}  # lines
# Lines of Python; the house is to grow smaller still: 2300, 4000, 1500 and 9000.
MOST_LINES = {LIBRARY: 3152, COURSE: 5989, EXTENSIONS: 1991, ROOT / "tests": 12194}


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that the file imports, anywhere in it; ``from a import b`` counts as a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: imports are written in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def from_the_library(path: Path) -> set[str]:
    return {module.split(".")[1] for module in imports(path) if module.startswith("resnet_lib.")}


def test_no_import_goes_in_a_circle_and_the_library_has_few_floors():
    above = {path.stem: from_the_library(path) - {"__version__"} for path in files(LIBRARY) if path.stem != "__init__"}
    floors = []
    while above:
        floors.append({name for name, needed in above.items() if not needed & above.keys()})
        assert floors[-1], f"these import each other: {', '.join(above)}"
        above = {name: needed for name, needed in above.items() if name not in floors[-1]}
    assert len(floors) <= MOST_FLOORS, floors


def test_the_library_knows_neither_the_course_nor_the_book_nor_the_tests():
    strangers = {"resnet_course", *(path.stem for path in EXTENSIONS.iterdir()), "tests"}
    for path in files(LIBRARY):
        assert not {module.partition(".")[0] for module in imports(path)} & strangers, path


def test_the_models_and_the_arithmetic_need_torch_alone_and_the_package_only_them():
    for name in NEED_TORCH_ALONE:
        path = LIBRARY / f"{name}.py"
        outside = {module.partition(".")[0] for module in imports(path)} - sys.stdlib_module_names
        assert outside <= {"torch", "resnet_lib"} and from_the_library(path) <= NEED_TORCH_ALONE, name
    assert from_the_library(LIBRARY / "__init__.py") <= NEED_TORCH_ALONE


@pytest.mark.parametrize("package", [door.parent for door in COURSE.glob("*/__init__.py")], ids=lambda path: path.name)
def test_a_package_of_the_course_is_entered_by_its_front_door(package):
    windows = {f"resnet_course.{package.name}.{path.stem}" for path in files(package) if path.stem != "__init__"}
    for path in [*files(COURSE), *files(EXTENSIONS)]:
        if package not in path.parents:
            entered = {module for module in imports(path) if module in windows or module.rpartition(".")[0] in windows}
            assert not entered, path


@pytest.mark.parametrize("folder", LONGEST_FILE, ids=lambda folder: folder.name)
def test_every_file_is_short_and_begins_with_a_docstring(folder):
    for path in files(folder):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= LONGEST_FILE[folder], path
        assert ast.get_docstring(ast.parse(text)), path


@pytest.mark.parametrize("folder", MOST_LINES, ids=lambda folder: folder.name)
def test_the_house_stays_small(folder):
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files(folder)) <= MOST_LINES[folder]
