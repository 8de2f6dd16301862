"""Sphinx extension: the front page offers the PDF that `make pdf` printed, if there is one."""

from pathlib import Path

from docutils import nodes
from sphinx.addnodes import download_reference
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

PDF = Path("book", "_generated", "resnet-book.pdf")


class PdfLink(SphinxDirective):
    """A line with the PDF and its size; nothing where it was not printed."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / PDF
        self.env.note_dependency(str(PDF))
        if not path.exists():
            return []
        text = f"The whole book as a PDF ({path.stat().st_size / 1e6:.0f} MB)"
        target = f"/{PDF.as_posix()}"
        link = download_reference("", "", nodes.inline(text=text), reftarget=target, refdoc=self.env.docname)
        return [nodes.paragraph("", "", link, classes=["pdf-link"])]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("pdf-link", PdfLink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
