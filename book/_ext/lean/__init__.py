"""Sphinx extension: pages that are light, ask no other server for anything, and need no script to be read.

The theme serves a library of icons and several scripts that no page uses. This extension takes them out of the pages,
turns mathematics into MathML while the book is built, and gives pages and pictures what browsers and search engines
want to know. It changes what the theme hands over, not the theme; `tests/book/test_site.py` tells when a release of the
theme no longer hands over what is expected here.
"""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

from lean import files, identity, mathematics, pages, search

TEMPLATES = Path(__file__).parent / "templates"


def configure(_: Sphinx, config: Config) -> None:
    """The two templates take the place of the theme's own."""
    config.templates_path.insert(0, str(TEMPLATES))
    config.html_math_renderer = "mathml"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", configure)
    for part in (identity, mathematics, pages, search, files):
        part.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
