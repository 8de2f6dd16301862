"""The chapters, read as the tests need them."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def has_tag(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


@dataclass
class TaughtDefinition:
    """A function or class that a chapter writes out, and its source."""

    chapter: Path
    name: str
    source: str


def taught_definitions() -> list[TaughtDefinition]:
    """What stands in cells with the tag ``library``."""
    found = []
    for path in CHAPTERS:
        for cell in code_cells(read(path)):
            if has_tag(cell, "library"):
                for node in ast.parse(cell.source).body:
                    found.append(TaughtDefinition(path, node.name, ast.unparse(node)))
    return found


def solutions() -> list[tuple[str, str]]:
    """(chapter and exercise, Python source) of every solution that holds code."""
    found = []
    for path in CHAPTERS:
        exercise = 0
        for cell in read(path).cells:
            if cell.cell_type != "markdown":
                continue
            for part in re.split(r"(?=^\*\*\d+\. )", cell.source, flags=re.MULTILINE):
                if number := re.match(r"\*\*(\d+)\. ", part):
                    exercise = int(number.group(1))
                for block in re.findall(r"^```python\n(.*?)^```", part, flags=re.MULTILINE | re.DOTALL):
                    found.append((f"{path.stem}, exercise {exercise}", block))
    return found
