"""The deck of ten slides and the page to hand out: book/slides.html.jinja and book/handout.html.jinja with the book's
own figures. They come with every build of the book; `make pdf` prints them, too.

It is a Sphinx extension as well.
"""

import io
import statistics
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from resnet_lib import figures
from resnet_lib.networks import cifar_resnet
from resnet_lib.records import group_runs, load_records, summarize

BOOK = Path(__file__).parent
FOLDER = BOOK / "_generated" / "extra"  # which the site has at its top
NAMES = ("slides", "handout")


def svg(figure: Figure) -> str:
    """The figure as it stands in a page."""
    figure.set_size_inches(7, 3.9)
    file = io.StringIO()
    figure.savefig(file, format="svg")
    plt.close(figure)
    return file.getvalue()[file.getvalue().index("<svg") :]


def facts() -> dict[str, Any]:
    """What the templates name: pictures, and figures out of the records."""
    records = load_records(BOOK / "results" / "digits")
    deepest = max(record.recipe.depth for record in records)
    plain = [record for record in records if record.recipe.shortcut == "none"]
    error = {(row.shortcut, row.depth): row for row in summarize(records)}
    named = {"plain": error["none", deepest], "residual": error["A", deepest], "shallow": error["none", 8]}
    ranges = {kind: [run.train_error for run in group_runs(records)[kind, deepest]] for kind in ("none", "A")}
    with plt.rc_context(figures.style(paper="none")):
        pictures = {
            "alone": svg(figures.plot_error_against_depth(plain, "Deeper plain networks train worse")),
            "both": svg(figures.plot_error_against_depth(records, f"With + x, {deepest} layers train")),
        }
    parameters = sum(weights.numel() for weights in cifar_resnet(deepest, "A", width=8, in_channels=1).parameters())
    found = {name: {"train": f"{row.train_error:.1f}", "test": f"{row.test_error:.1f}"} for name, row in named.items()}
    spread = f"{min(ranges['none']):.0f} to {max(ranges['none']):.0f}"
    times = statistics.median(record.seconds for record in records if record.recipe.depth == deepest)
    return {**found, "deepest": deepest, "spread": spread, "seconds": f"{times:.0f}",
            "parameters": f"{parameters:,}", "pictures": pictures}  # fmt: skip


def write(folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    told = facts()
    for name in NAMES:
        template = (BOOK / f"{name}.html.jinja").read_text(encoding="utf-8")
        page = jinja2.Template(template, trim_blocks=True, undefined=jinja2.StrictUndefined).render(told)
        (folder / f"{name}.html").write_text(page, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    write()  # now, since Sphinx looks for the folder before the build begins
    app.config.html_extra_path.append(str(FOLDER.relative_to(BOOK.parent)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    write()
