"""The assignment's source, and what is built from it, read as the tests need them."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType

import yaml
from notebook_files import ROOT, read

FOLDER = ROOT / "notebooks" / "assignment"
STUDENT = FOLDER / "degradation.ipynb"
SOURCE = FOLDER / "instructor" / "degradation.ipynb"  # which a fork keeps elsewhere


@dataclass
class Question:
    """A question of the source: its settings, and the cells of its solution and of its tests."""

    name: str
    points: int
    manual: bool = False
    solutions: list[str] = field(default_factory=list)
    tests: list[tuple[dict, str]] = field(default_factory=list)  # settings and source


def questions() -> list[Question]:
    found: list[Question] = []
    part = ""
    for cell in read(SOURCE).cells:
        if cell.cell_type == "raw":
            first, _, rest = cell.source.partition("\n")
            if first == "# BEGIN QUESTION":
                found.append(Question(**yaml.safe_load(rest)))
            part = first.removeprefix("# BEGIN ") if first.startswith("# BEGIN") else ""
        elif part == "SOLUTION":
            found[-1].solutions.append(cell.source)
        elif part == "TESTS":
            settings, _, test = cell.source.removeprefix('""" # BEGIN TEST CONFIG').partition('"""  # END TEST CONFIG')
            found[-1].tests.append((yaml.safe_load(settings), test))
    return found


def load_script(name: str) -> ModuleType:
    """notebooks/assignment/NAME.py, which is a script in no package."""
    spec = importlib.util.spec_from_file_location(f"{name}_assignment", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def solution_lines(text: str) -> Iterator[str]:
    """The lines of a solution cell that a student must not see."""
    lines = text.splitlines()
    inside = "# BEGIN SOLUTION" not in text and "# SOLUTION" not in text  # a written answer: all of it
    for line in lines:
        if line.strip() == "# BEGIN SOLUTION":
            inside = True
        elif line.strip() == "# END SOLUTION":
            inside = False
        elif (inside or line.endswith("# SOLUTION")) and len(line.strip()) > 12:
            yield line.strip()
