"""Sphinx extension: how long a chapter takes to read and to run, and the status page's table of all runs.

Running times come from the record that notebooks/execute.py keeps.
"""

import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

from docutils import nodes
from kaggle import COLAB
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole
from tables import table

RECORD = Path("book", "results", "run_times.json")
WORDS_A_MINUTE = 180  # of technical prose
CODE_LINES_A_MINUTE = 15
PACKAGES = ("resnet-lib", "torch", "torchvision", "jupyter-book", "sphinx", "matplotlib", "numpy", "scikit-learn")


def read_record(root: Path) -> dict[str, dict[str, Any]]:
    return json.loads((root / RECORD).read_text(encoding="utf-8"))


def minutes_to_read(tree: nodes.document) -> int:
    """Prose and code at a reader's pace, in steps of five minutes."""
    code = list(tree.findall(nodes.literal_block))
    words = len(tree.astext().split()) - sum(len(block.astext().split()) for block in code)
    lines = sum(block.astext().count("\n") + 1 for block in code if block.get("language") != "none")
    return max(5, 5 * math.ceil((words / WORDS_A_MINUTE + lines / CODE_LINES_A_MINUTE) / 5))


def in_words(seconds: int) -> str:
    """
    >>> in_words(24), in_words(77), in_words(125)
    ('24 seconds', '80 seconds', '2 minutes')
    """
    if seconds < 30:
        return f"{seconds} second{'' if seconds == 1 else 's'}"
    return f"{round(seconds, -1)} seconds" if seconds < 115 else f"{round(seconds / 60)} minutes"


def add_times(app: Sphinx, tree: nodes.document) -> None:
    """Below the title of each chapter, with the ways to run it."""
    folder, _, chapter = app.env.docname.rpartition("/")
    run = read_record(Path(app.srcdir)).get(chapter)
    if folder != "notebooks" or run is None:
        return
    title, cores = next(tree.findall(nodes.title)), run["environment"]["cores"]
    minutes = app.env.metadata[app.env.docname]["minutes"] = minutes_to_read(tree)
    text = f"About {minutes} minutes to read, {in_words(run['seconds'])} to run on {cores} CPU cores. "
    repository = app.config.html_theme_options["repository_url"].replace("https://github.com/", COLAB)
    colab = nodes.reference(text="Open in Colab", refuri=f"{repository}/blob/main/{app.env.docname}.ipynb")
    home = pending_xref("", nodes.inline(text="Run it at home"), refdomain="std", reftype="ref", reftarget="run")
    home.attributes |= {"refexplicit": True, "refdoc": app.env.docname}
    line = nodes.paragraph("", text, colab, nodes.Text(" · "), home, classes=["times"])
    title.parent.insert(title.parent.index(title) + 1, line)


def whole(date: str) -> str:
    """A date that no narrow column breaks."""
    return date.replace("-", "\N{NON-BREAKING HYPHEN}")


class RunTimes(SphinxDirective):
    """Each notebook's running time, with the machine and the versions of that run."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(RECORD))
        rows = [["notebook", "time", "machine", "versions", "date"]]
        for chapter, run in read_record(Path(self.env.srcdir)).items():
            where = run["environment"]
            machine = f"{where['device_name']}, {where['cores']} cores, {where['system']}"
            versions = f"Python {where['python']}, torch {where['torch']}"
            rows.append([chapter, f"{run['seconds']}\N{NO-BREAK SPACE}s", machine, versions, whole(where["date"])])
        return [table(rows)]


class hours(nodes.Inline, nodes.TextElement):  # noqa: N801, as docutils names its nodes
    """The place of a sum that is known only when all chapters were read."""


class Hours(SphinxRole):
    """``{hours}`1-8` ``: how long chapters 1 to 8 take to read together."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        first, _, last = self.text.partition("-")
        return [hours(numbers=range(int(first), int(last or first) + 1))], []


def fill_in_hours(app: Sphinx, tree: nodes.document, docname: str) -> None:
    for place in list(tree.findall(hours)):
        prefixes = tuple(f"notebooks/{number:02}_" for number in place["numbers"])
        minutes = sum(about["minutes"] for name, about in app.env.metadata.items() if name.startswith(prefixes))
        text = f"{minutes} minutes" if minutes < 90 else f"{round(minutes / 60)} hours"
        place.replace_self(nodes.Text(text))


class Versions(SphinxDirective):
    """The packages that this very build used."""

    def run(self) -> list[nodes.Node]:
        return [table([["package", "version"], *([name, version(name)] for name in PACKAGES)])]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(hours)
    app.add_role("hours", Hours())
    app.connect("doctree-read", add_times)
    app.connect("doctree-resolved", fill_in_hours)
    app.add_directive("run-times", RunTimes)
    app.add_directive("versions", Versions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
