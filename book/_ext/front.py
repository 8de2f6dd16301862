"""Sphinx extension: what the front page alone has: its preview for messages, the chapters as cards, the PDF."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import yaml
from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from resnet_lib import figures
from resnet_lib.records import Record, load_records, summarize

GENERATED = Path("book", "_generated")
PDF = GENERATED / "resnet-book.pdf"
PREVIEW = (6.0, 3.15)  # inches, at 200 dots each: what a message shows beside a link to the book


def title_of(records: list[Record]) -> str:
    """The finding, in the runs' own figures."""
    deepest = max(record.recipe.depth for record in records)
    error = {row.shortcut: row.train_error for row in summarize(records) if row.depth == deepest}
    return f"Training error at {deepest} layers:\n{error['none']:.0f} % plain, {error['A']:.1f} % residual"


def draw_preview(app: Sphinx, failed: Exception | None) -> None:
    if failed or app.builder.name != "html":
        return
    records = load_records(Path(app.srcdir, "book", "results", "digits"))
    with plt.rc_context({**figures.style(), "figure.figsize": PREVIEW}):
        figure = figures.plot_error_against_depth(records, title_of(records))
        figure.savefig(Path(app.outdir, "_static", "preview.png"), dpi=200, metadata={"Software": None})
        plt.close(figure)


class chapter_card(nodes.General, nodes.Element):  # noqa: N801, as docutils names its nodes
    """The place of what is known only when the chapter was read: its question and its times."""


class Chapters(SphinxDirective):
    """``{chapters}``: the parts of the book, a card for each of their pages."""

    def run(self) -> list[nodes.Node]:
        toc = yaml.safe_load(Path(self.env.srcdir, "_toc.yml").read_text(encoding="utf-8"))
        parts: list[nodes.Node] = []
        for part in toc["parts"]:
            cards = nodes.bullet_list(classes=["cards"])
            for page in (chapter["file"] for chapter in part["chapters"]):
                link = pending_xref("", nodes.inline(), refdomain="std", reftype="doc", reftarget=f"/{page}")
                link.attributes |= {"refexplicit": False, "refdoc": self.env.docname}
                cards += nodes.list_item("", nodes.paragraph("", "", link), chapter_card(page=page))
            parts += [nodes.rubric(text=part["caption"]), cards]
        return parts


def fill_in_cards(app: Sphinx, tree: nodes.document, docname: str) -> None:
    for place in list(tree.findall(chapter_card)):
        about = []
        for paragraph in app.env.get_doctree(place["page"]).findall(nodes.paragraph):
            if "times" in paragraph["classes"]:
                about.append(nodes.paragraph(text=paragraph[0].astext(), classes=["times"]))
            elif paragraph.astext().startswith("The question."):
                words = [part.deepcopy() for part in paragraph if not isinstance(part, nodes.strong)]
                about.append(nodes.paragraph("", "", *words))
                break
        place.replace_self(about[::-1])


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
    app.connect("build-finished", draw_preview, priority=900)
    app.add_node(chapter_card)
    app.add_directive("chapters", Chapters)
    app.connect("doctree-resolved", fill_in_cards)
    app.add_directive("pdf-link", PdfLink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
