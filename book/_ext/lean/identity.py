"""Who made the book, which edition this is and where it stands: on every page, for readers and for machines."""

import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import yaml
from docutils import nodes
from jinja2 import Template
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

from resnet_lib.figures import RESIDUAL

ENTRANCE = Path(__file__).parent / "templates" / "entrance.html"
PLACEHOLDER = "YOUR_ACCOUNT"
TOUCH_ICON = 180  # pixels, as telephones want it


def address_of_site(repository: str) -> str:
    """Where GitHub shows the pages of a repository; "" while it has no owner.

    >>> address_of_site("https://github.com/Ada/a-book")
    'https://ada.github.io/a-book/'
    """
    found = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+)", repository)
    return "" if found is None or found[1] == PLACEHOLDER else f"https://{found[1].lower()}.github.io/{found[2]}/"


def read_citation(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def configure(app: Sphinx, config: Config) -> None:
    """The page's foot names the edition, and its head the address, which Sphinx adds if it knows the site's."""
    config.html_baseurl = config.html_baseurl or address_of_site(config.html_theme_options["repository_url"])
    config.html_theme_options["footer_content_items"] = ["colophon.html"]
    citation = read_citation(Path(app.srcdir))
    released = citation["date-released"].isoformat()
    config.html_context |= {"edition": citation["version"], "released": released, "site": config.html_baseurl}


class Citation(SphinxDirective):
    """``{citation}``: CITATION.cff as an entry for BibTeX."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency("CITATION.cff")
        cff = read_citation(Path(self.env.srcdir))
        fields = {
            "title": cff["title"],
            "author": " and ".join(f"{{{author['name']}}}" for author in cff["authors"]),
            "year": cff["date-released"].year,
            "version": cff["version"],
            "url": cff["repository-code"],
        }
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
        return [nodes.literal_block(text=f"@misc{{resnet-book,\n{lines}}}", language="bibtex")]


def write_sitemap(app: Sphinx, out: Path) -> None:
    places = sorted(f"<url><loc>{app.config.html_baseurl}{name}.html</loc></url>" for name in app.env.found_docs)
    text = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n' + "\n".join(places) + "\n</urlset>\n"
    (out / "sitemap.xml").write_text(text, encoding="utf-8")


def write_entrances(app: Sphinx, out: Path) -> None:
    """The page that leads to the front page, and the one a visitor meets who asks for a page that isn't there."""
    page = Template(ENTRANCE.read_text(encoding="utf-8"), keep_trailing_newline=True, autoescape=True)
    names = {"language": app.config.language, "title": app.config.html_title or app.config.project}
    front = app.builder.get_target_uri(app.config.root_doc)
    if app.config.root_doc != "index":
        (out / "index.html").write_text(page.render(target=front, **names), encoding="utf-8")
    text = page.render(target=app.config.html_baseurl + front, missing=True, **names)
    (out / "404.html").write_text(text, encoding="utf-8")


def draw_touch_icon(path: Path) -> None:
    figure = plt.figure(figsize=(TOUCH_ICON / 100, TOUCH_ICON / 100), dpi=100, facecolor=RESIDUAL)
    figure.text(0.5, 0.48, "+ x", color="white", size=54, weight="bold", ha="center", va="center")
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def finish(app: Sphinx, failed: Exception | None) -> None:
    if failed or app.builder.name != "html":
        return
    out = Path(app.outdir)
    write_entrances(app, out)
    draw_touch_icon(out / "_static" / "touch-icon.png")
    if app.config.html_baseurl:
        write_sitemap(app, out)


def setup(app: Sphinx) -> None:
    app.add_directive("citation", Citation)
    app.connect("config-inited", configure)
    app.connect("build-finished", finish, priority=900)
