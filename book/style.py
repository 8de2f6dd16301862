"""Say where a chapter departs from the book's style: one line for each place, and exit code 1 if there is one.

python book/style.py                                 every chapter
python book/style.py notebooks/04_shortcuts.ipynb    one of them
"""

import gzip
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[1]
LARGEST_PICTURE = 80_000  # bytes
SHORTEST_ALT = 40  # characters
METADATA = {"tags", "mystnb"}


def problems(path: Path) -> Iterator[str]:
    """What a reader or an editor of the chapter would stumble over."""
    cells = nbformat.read(path, as_version=4).cells
    yield from opening(path, cells)
    yield from pictures(cells)
    yield from markdown(cells)
    yield from claims(cells)
    yield from ending(cells[-1].source)
    if any(set(cell.metadata) - METADATA for cell in cells):
        yield f"the metadata of a cell hold more than {' and '.join(sorted(METADATA))}"


def opening(path: Path, cells: list[Any]) -> Iterator[str]:
    title, set_up = cells[:2]
    if not re.match(rf"# {int(path.stem[:2])}\. ", title.source):
        yield "the first cell does not begin with the chapter's number and title"
    for words in ("**The question.**", "After this chapter you can"):
        if words not in title.source:
            yield f"the first cell does not say: {words}"
    if "remove-cell" not in set_up.metadata.get("tags", []) or 'find_spec("resnet_lib")' not in set_up.source:
        yield "the second cell is not the hidden set-up cell"


def pictures(cells: list[Any]) -> Iterator[str]:
    for number, cell in enumerate(cells):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                yield f"cell {number}: its picture is made of dots; a vector graphic stays sharp and turns dark"
            if picture := data.get("image/svg+xml"):
                size = len(gzip.compress(picture.encode()))  # as it travels
                if size >= LARGEST_PICTURE:
                    yield f"cell {number}: its picture has {size:,} bytes, {LARGEST_PICTURE:,} are too many"
                if len(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")) <= SHORTEST_ALT:
                    yield f"cell {number}: its picture has no alt text of more than {SHORTEST_ALT} characters"


def markdown(cells: list[Any]) -> Iterator[str]:
    for number, cell in enumerate(cells):
        if cell.cell_type == "markdown" and re.search(r"^(```|:::)\{|\{[a-z:]+\}`", cell.source, flags=re.MULTILINE):
            yield f"cell {number}: a MyST directive or role, which Colab does not render"


def claims(cells: list[Any]) -> Iterator[str]:
    """A measurement whose output is not compared is followed by its claim."""
    code = [(number, cell, "nbval-ignore-output" in cell.metadata.get("tags", [])) for number, cell in enumerate(cells)]
    code = [(number, cell, ignored) for number, cell, ignored in code if cell.cell_type == "code"]
    for place, (number, cell, ignored) in enumerate(code):
        if ignored and re.search(r"run_grid|train_epoch", cell.source):
            following = next((after.source for _, after, ignored in code[place:] if not ignored), "")
            if "assert" not in following:
                yield f"cell {number}: no assertion follows a measurement whose output is not compared"


def ending(last: str) -> Iterator[str]:
    exercises, _, summary = last.partition("## Summary")
    numbers = [int(number) for number in re.findall(r"^\*\*(\d+)\. ", exercises, flags=re.MULTILINE)]
    if numbers != [*range(1, len(numbers) + 1)] or not 4 <= len(numbers) <= 6:
        yield f"the exercises are numbered {numbers}, 1 to 4, 5 or 6 would do"
    for fold, times in (("<summary>Hint</summary>", 1), ("<summary>Solution</summary>", 1), ("</details>", 2)):
        if exercises.count(fold) != times * len(numbers):
            yield f"{fold} stands {exercises.count(fold)} times below {len(numbers)} exercises"
    if len(re.findall(r"^- ", summary, flags=re.MULTILINE)) != 3:
        yield "the summary does not have three lines"


def main(arguments: list[str]) -> None:
    chapters = [Path(name) for name in arguments] or sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    found = [f"{path.name}: {problem}" for path in chapters for problem in problems(path)]
    print("\n".join(found or [f"{len(chapters)} chapters keep to the style."]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main(sys.argv[1:])
