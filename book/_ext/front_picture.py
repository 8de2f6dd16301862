"""Sphinx extension: draw the front page's picture from the recorded runs, once for light and once for dark pages."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from sphinx.application import Sphinx

from resnet_lib import figures
from resnet_lib.records import Record, load_records, summarize

INK = {"light": "#1a1a1a", "dark": "#e6e6e6"}
SHADE = {"light": -1, "dark": 0}  # letters need more contrast than lines
SIZE = (5.0, 3.0)  # inches; small, so that its letters can be read on a telephone


def title_of(records: list[Record]) -> str:
    """The finding, in the runs' own figures."""
    deepest = max(record.recipe.depth for record in records)
    error = {row.shortcut: row.train_error for row in summarize(records) if row.depth == deepest}
    return f"Training error at {deepest} layers:\n{error['none']:.0f} % plain, {error['A']:.1f} % residual"


def draw_front_picture(app: Sphinx) -> None:
    book = Path(app.srcdir) / "book"
    records = load_records(book / "results" / "digits")
    generated = book / "_generated"
    generated.mkdir(exist_ok=True)
    for mode, ink in INK.items():
        with plt.rc_context({**figures.style(ink=ink, paper="none"), "figure.figsize": SIZE}):
            figure = figures.plot_error_against_depth(records, title_of(records))
            for label in figure.axes[0].texts:
                kind = "plain" if label.get_color() == figures.PLAIN else "residual"
                label.set_color(figures.SHADES[kind][SHADE[mode]])
            figure.savefig(generated / f"degradation-{mode}.svg", metadata={"Date": None})
            plt.close(figure)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", draw_front_picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
