"""Sphinx extension: pages that are light, ask no other server for anything, and need no script to be read.

The theme serves a library of icons and several scripts that no page uses. This extension takes them out of the pages,
turns mathematics into MathML while the book is built, and gives pages and pictures what browsers and search engines
want to know. It changes what the theme hands over, not the theme; `tests/book/test_site.py` tells when a release of the
theme no longer hands over what is expected here.
"""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

from lean import files, identity, mathematics, pages, search

TEMPLATES = Path(__file__).parent / "templates"


def configure(_: Sphinx, config: Config) -> None:
    """The two templates take the place of the theme's own."""
    config.templates_path.insert(0, str(TEMPLATES))
    config.html_math_renderer = "mathml"


def let_chapters_link_to_terms(app: Sphinx, env: BuildEnvironment) -> None:
    """A notebook's plain link to glossary.md#term-… finds its term; MyST by itself knows the ids of headings alone."""
    for name, _shown, kind, page, anchor, _rank in env.get_domain("std").get_objects():
        if kind == "term":
            env.metadata[page].setdefault("myst_slugs", {})[anchor] = (0, anchor, name)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", configure)
    app.connect("env-updated", let_chapters_link_to_terms)
    for part in (identity, mathematics, pages, search, files):
        part.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
