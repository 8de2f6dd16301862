"""Sphinx extension: explorers, which run in the page on data that the library computed while the book was built.

``{explorer} NAME`` puts one into a page: its data as JSON, which the script of that name in book/_static turns into
controls, a drawing and numbers. A page whose scripts are off shows a picture and a table instead. In a chapter a
paragraph that is a link to an explorer's page, which is all that Colab shows, becomes the explorer itself. No explorer
needs a server: its page works from a folder.
"""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective
from tables import table

from explorers import block, degradation, depth, gradient, lesions, train
from resnet_lib import figures

EXPLORERS = {
    "train": train,
    "block": block,
    "depth": depth,
    "lesions": lesions,
    "gradient": gradient,
    "degradation": degradation,
}
PICTURES = "book/_generated"
STATIC = f"{PICTURES}/static"


class Explorer(SphinxDirective):
    """``{explorer} NAME``"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        (name,) = self.arguments
        if name not in EXPLORERS:
            raise self.error(f"there is no explorer {name!r}; there are {', '.join(EXPLORERS)}")
        explorer = EXPLORERS[name]
        return [
            nodes.raw("", as_html(name, explorer.data()), format="html"),
            nodes.raw("", "<noscript>", format="html"),
            nodes.paragraph(text="The explorer needs scripts. Here are a picture and the most important numbers."),
            nodes.image(uri=f"/{PICTURES}/explorer-{name}.svg", alt=explorer.PICTURE_TEXT, width="100%"),
            table(explorer.table(), "explorer-still"),
            nodes.raw("", "</noscript>\n", format="html"),
        ]


def as_html(name: str, data: dict[str, Any]) -> str:
    """An empty box with the data and the book's colours in it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    colours = {"plain": figures.PLAIN, "residual": figures.RESIDUAL}
    for kind, shades in figures.SHADES.items():  # text needs more contrast than lines: the shade that the mode allows
        colours[f"{kind}-light"], _, colours[f"{kind}-dark"] = shades
    style = ";".join(f"--{colour}:{value}" for colour, value in colours.items())
    return (
        f'<div class="explorer" data-explorer="{name}" style="{style}">'
        f'<script type="application/json">{text}</script></div>'
    )


def draw_pictures(app: Sphinx) -> None:
    """For pages without scripts. Such a page is always a light one: dark mode is a script's work."""
    generated = Path(app.srcdir) / PICTURES
    generated.mkdir(parents=True, exist_ok=True)
    for name, explorer in EXPLORERS.items():
        with plt.rc_context(figures.style()):
            figure = explorer.picture()
            figure.savefig(generated / f"explorer-{name}.svg", metadata={"Date": None})
            plt.close(figure)


def replace_links(app: Sphinx, document: nodes.document) -> None:
    """A paragraph that is a link to an explorer becomes that explorer, and stays where scripts are off."""
    for paragraph in list(document.findall(nodes.paragraph)):
        link = paragraph.children[0] if len(paragraph.children) == 1 else None
        folder, _, name = link["reftarget"].rpartition("/") if isinstance(link, pending_xref) else ("", "", "")
        if folder == "book/explore" and name in EXPLORERS:
            live = nodes.raw("", as_html(name, EXPLORERS[name].data()) + "<noscript>", format="html")
            paragraph.replace_self([live, paragraph.deepcopy(), nodes.raw("", "</noscript>\n", format="html")])


def prepare_static(app: Sphinx, config: Config) -> None:
    folder = Path(app.srcdir) / STATIC
    folder.mkdir(parents=True, exist_ok=True)
    train.write_engine(folder)
    config.html_static_path.append(STATIC)


def add_scripts_and_styles(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.Node) -> None:
    """To the pages alone in which an explorer stands."""
    names = re.findall(r'data-explorer="(\w+)"', context.get("body", ""))
    for name in names:
        for style in ("explorers.css", *getattr(EXPLORERS[name], "STYLES", ())):
            app.add_css_file(style)
        for script in ("explorers.js", *getattr(EXPLORERS[name], "SCRIPTS", ()), f"explorers-{name}.js"):
            app.add_js_file(script, loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("explorer", Explorer)
    app.connect("config-inited", prepare_static)
    app.connect("builder-inited", draw_pictures)
    app.connect("doctree-read", replace_links)
    app.connect("html-page-context", add_scripts_and_styles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
