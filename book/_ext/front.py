"""Sphinx extension: what the front page alone has, a picture of the recorded runs and the PDF that was printed."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from docutils import nodes
from sphinx.addnodes import download_reference
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from resnet_lib import figures
from resnet_lib.records import Record, load_records, summarize

GENERATED = Path("book", "_generated")
PDF = GENERATED / "resnet-book.pdf"
INK = {"light": "#1a1a1a", "dark": "#e6e6e6"}
SHADE = {"light": -1, "dark": 0}  # letters need more contrast than lines
SIZE = (5.0, 3.0)  # inches; small, so that its letters can be read on a telephone


def title_of(records: list[Record]) -> str:
    """The finding, in the runs' own figures."""
    deepest = max(record.recipe.depth for record in records)
    error = {row.shortcut: row.train_error for row in summarize(records) if row.depth == deepest}
    return f"Training error at {deepest} layers:\n{error['none']:.0f} % plain, {error['A']:.1f} % residual"


def draw_picture(app: Sphinx) -> None:
    """Once for light pages and once for dark ones."""
    records = load_records(Path(app.srcdir, "book", "results", "digits"))
    Path(app.srcdir, GENERATED).mkdir(exist_ok=True)
    for mode, ink in INK.items():
        with plt.rc_context({**figures.style(ink=ink, paper="none"), "figure.figsize": SIZE}):
            figure = figures.plot_error_against_depth(records, title_of(records))
            for label in figure.axes[0].texts:
                kind = "plain" if label.get_color() == figures.PLAIN else "residual"
                label.set_color(figures.SHADES[kind][SHADE[mode]])
            figure.savefig(Path(app.srcdir, GENERATED, f"degradation-{mode}.svg"), metadata={"Date": None})
            plt.close(figure)


class PdfLink(SphinxDirective):
    """``{pdf-link}``: a line with the PDF and its size; nothing where it was not printed."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir, PDF)
        self.env.note_dependency(str(PDF))
        if not path.exists():
            return []
        text = nodes.inline(text=f"The whole book as a PDF ({path.stat().st_size / 1e6:.0f} MB)")
        link = download_reference("", "", text, reftarget=f"/{PDF.as_posix()}", refdoc=self.env.docname)
        return [nodes.paragraph("", "", link, classes=["pdf-link"])]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", draw_picture)
    app.add_directive("pdf-link", PdfLink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
