"""What lies beside the pages, once the book is built: one style sheet for all, and no library that no page asks for."""

import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

from resnet_lib.figures import DARK_INK, LIGHT_INK

logger = logging.getLogger(__name__)
# What every page wants, in this order: one file, because each file of its own costs a telephone a way to the server.
BUNDLE = "site.css"
BUNDLED = (
    "basic.css",
    "styles/pydata-sphinx-theme.css",
    "pygments.css",
    "styles/sphinx-book-theme.css",
    "copybutton.css",
    "mystnb.*.css",
    "book.css",
    "icons.css",
)
UNUSED = ("scripts/fontawesome.js*", "scripts/bootstrap.js*", "vendor/fontawesome", "scripts/*.map", "styles/*.map")
# What becomes of a picture's paper and ink in dark mode.
DARK = {"#ffffff": "#121212", LIGHT_INK: DARK_INK, "#000000": DARK_INK}
# Classes of the icon library that say how to draw, not what.
MODIFIERS = {"solid", "regular", "brands", "lg", "sm", "xs", "xl", "fw"}


def without_icon_font(style: str) -> str:
    """A minified style sheet without the rules and fonts of Font Awesome.

    >>> without_icon_font('a{b:c}.fas,.fa-bars:before{content:"x"}a .fa-bars{d:e}@font-face{font-family:Font Awesome}')
    'a{b:c}a .fa-bars{d:e}'
    """

    def keep(rule: re.Match[str]) -> str:
        selectors = re.sub(r"/\*.*?\*/", "", rule[1], flags=re.DOTALL).split(",")
        of_library = all(re.match(r"\s*\.fa([srbl]|[-.:].*)?(?=$|[.:])[^ >]*$", one) for one in selectors)
        is_font = rule[1].strip().endswith("@font-face") and re.search(r"Font ?\\?\s?Awesome", rule[2])
        return "" if of_library or is_font else rule[0]

    return re.sub(r"([^{}]+)\{([^{}]*)\}", keep, style)


def is_bundled(name: str) -> bool:
    """Whether the style of this name, without its folder, is part of the bundle.

    >>> is_bundled("pygments.css"), is_bundled("print.css")
    (True, False)
    """
    return any(fnmatch(name, Path(pattern).name) for pattern in BUNDLED)


def write_bundle(static: Path) -> None:
    """All that every page wants in one style sheet; what it names lies in the same folder, or is part of it."""
    styles = [path for pattern in BUNDLED for path in sorted(static.glob(pattern))]
    texts = [path.read_text(encoding="utf-8") for path in styles]
    of_theme = [path.parent.name == "styles" for path in styles]
    parts = [without_icon_font(text) if own else text for text, own in zip(texts, of_theme, strict=True)]
    (static / BUNDLE).write_text("\n".join(parts), encoding="utf-8")


def themed(svg: str) -> str:
    """The picture so that its paper and ink turn with the page's mode; a browser tells a picture which one it is.

    >>> themed('<svg width="1"><path style="stroke: #1a1a1a"/>').count("[style*='stroke: #1a1a1a']{stroke:#e6e6e6")
    1
    """
    rules = "".join(
        f"[style*='{what}: {light}']{{{what}:{dark}!important}}"
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    )
    style = f"<style>@media(prefers-color-scheme:dark){{{rules}}}</style>"
    return re.sub(r"(<svg\b[^>]*>)", lambda tag: tag[0] + style, svg, count=1)


def icons_of(page: str) -> set[str]:
    """The icons that a page asks for.

    >>> icons_of('<i class="theme-switch fa-solid fa-sun fa-lg"></i>')
    {'sun'}
    """
    asked = re.findall(r'<(?:i|span) class="([^"]*\bfa[srb]?\b[^"]*)"', page)
    return set(re.findall(r"\bfa-([a-z0-9-]+)", " ".join(asked))) - MODIFIERS


def tidy(app: Sphinx, failed: Exception | None) -> None:
    """Remove what no page asks for, and warn if a page asks for an icon that nobody drew."""
    if failed or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    for path in {path for pattern in UNUSED for path in static.glob(pattern)}:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_bundle(static)
    for picture in Path(app.outdir, "_images").glob("*.svg"):
        picture.write_text(themed(picture.read_text(encoding="utf-8")), encoding="utf-8")
    drawn = set(re.findall(r"\.fa-([a-z0-9-]+)", (static / "icons.css").read_text(encoding="utf-8")))
    for page in Path(app.outdir).rglob("*.html"):
        if "_static" not in page.parts:
            for icon in sorted(icons_of(page.read_text(encoding="utf-8")) - drawn):
                logger.warning("%s asks for the icon %s, which book/_static/icons.css does not draw", page.name, icon)


def setup(app: Sphinx) -> None:
    app.connect("build-finished", tidy, priority=900)
