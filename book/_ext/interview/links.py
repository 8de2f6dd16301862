"""Links to a section of another page, by the beginning of its heading; one that leads nowhere is a warning."""

from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from interview.questions import FILE
from interview.sources import begins

logger = logging.getLogger(__name__)


class SectionLink(nodes.Inline, nodes.TextElement):
    """A link whose target is not known until all pages are read. Without children it shows the section's title."""


def link_to(page: str, heading: str, *children: nodes.Node, line: int) -> SectionLink:
    """A link to the section of ``page`` whose heading, or anchor, is ``heading`` or begins with it.

    ``line`` is the one of the questions' file that asks for the link.
    """
    return SectionLink("", "", *children, page=page, heading=heading, asked_in_line=line)


def resolve_links(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Turn every link into a reference, or into plain text and a warning."""
    for link in list(tree.findall(SectionLink)):
        target, heading = link["page"], link["heading"]
        for anchor, title in _sections(app, target):
            if anchor == f"#{heading}" or begins(title.astext(), heading):
                content = link.children or title.children
                uri = app.builder.get_relative_uri(page, target) + anchor
                link.replace_self(nodes.reference("", "", *[c.deepcopy() for c in content], refuri=uri, internal=True))
                break
        else:
            logger.warning("%s, line %d: the book has no %s, section %s", FILE, link["asked_in_line"], target, heading)
            link.replace_self(link.children or nodes.Text(f"{target}, {heading}"))


def _sections(app: Sphinx, page: str) -> Iterator[tuple[str, nodes.reference]]:
    """The anchor and the title of every section of a page."""
    contents = app.env.tocs.get(page)
    for title in contents.findall(nodes.reference) if contents else ():
        yield title.get("anchorname", ""), title


def setup(app: Sphinx) -> None:
    app.add_node(SectionLink)
    app.connect("doctree-resolved", resolve_links)
