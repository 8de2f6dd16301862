"""What a page asks for and says about itself, changed just before the theme's templates write it."""

import re
from html import escape
from pathlib import Path
from textwrap import shorten
from typing import Any

import imagesize
from docutils import nodes
from sphinx.application import Sphinx

from lean.files import is_bundled

# A script or style whose name or text has the one comes only with a page of which a class has the other.
NEEDS = {
    "clipboard|copybutton": "highlight",
    "toggle": "toggle|dropdown",
    "sphinx-design|design-tabs": "sd-",
    "thebe": "thebe",
    # Read where the search runs while one types, and where a book has several versions: nowhere here.
    r"DOCUMENTATION_OPTIONS\.(pagename|search_as_you_type)": "(?!)",
}
DESCRIPTION_LENGTH = 155
PIXELS_A_POINT = 1.5  # so that a picture's letters are as large as those of the text
VERBATIM = (nodes.literal, nodes.math, nodes.FixedTextElement)
# What axe-core's rules object to, and what says the same to a screen reader without offence.
CORRECTIONS = {
    r'role="doc-biblioentry"': 'role="listitem"',  # the old role is not one that a list may hold
    r'<th class="head">(<p></p>)?</th>': "<td></td>",  # the corner of a table heads nothing
}


def file_of(asset: Any) -> str:
    """The name of a script or style; "" for a script inside the page."""
    return Path(getattr(asset, "filename", None) or "").name


def is_needed(asset: Any, text: str) -> bool:
    """Whether a page with this text has a use for a script or style.

    >>> from types import SimpleNamespace as Asset
    >>> [is_needed(Asset(filename="_static/copybutton.js"), text) for text in ('<div class="highlight">', "<p>")]
    [True, False]
    """
    what = file_of(asset) or asset.attributes.get("body", "")
    needs = [need for pattern, need in NEEDS.items() if re.search(pattern, what, flags=re.IGNORECASE)]
    return all(re.search(rf'class="[^"]*\b({need})', text) for need in needs)


def deferred(script: Any) -> Any:
    """The script so that it runs when the page is there; a new one, as the old one belongs to all pages."""
    if not file_of(script) or {"async", "defer"} & script.attributes.keys():
        return script
    return type(script)(script.filename, priority=script.priority, **script.attributes, defer="defer")


def first_words(tree: nodes.Node | None) -> str:
    """The first paragraphs but the line of times, as many whole words as a search engine shows."""
    paragraphs = tree.findall(nodes.paragraph) if tree else ()
    words = " ".join(paragraph.astext() for paragraph in paragraphs if "times" not in paragraph["classes"])
    return shorten(words, DESCRIPTION_LENGTH + 1, placeholder="…")


def size_of(picture: Path | None) -> tuple[int, int] | None:
    """Width and height in pixels; None where the file does not tell."""
    if picture is None or not picture.is_file():
        return None
    if picture.suffix == ".svg":  # whose width may be in points, or missing
        box = re.search(r'viewBox="\S+ \S+ ([\d.]+) ([\d.]+)"', picture.read_text(encoding="utf-8"))
        return (round(float(box[1]) * PIXELS_A_POINT), round(float(box[2]) * PIXELS_A_POINT)) if box else None
    width, height = imagesize.get(picture)
    return (width, height) if width > 0 else None


def with_place(tag: str, size: tuple[int, int] | None) -> str:
    """The picture's tag so that it is fetched when it comes near, and its place is kept, so that no text jumps."""
    if "loading=" not in tag:
        tag = tag.replace("<img ", '<img loading="lazy" decoding="async" ')
    if size and not re.search(r"\b(width=|height[=:])", tag):
        tag = tag.replace("<img ", f'<img width="{size[0]}" height="{size[1]}" ')
    return tag


def prepare(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.Node | None) -> None:
    """Describe the page, leave out what it has no use for, and mend what it holds."""
    own = re.search('name="description" content="([^"]*)"', context.get("metatags", ""))
    context["description"] = own[1] if own else escape(first_words(tree) or f"{context.get('title') or page}")
    if not own:
        tag = f'<meta name="description" content="{context["description"]}" />'
        context["metatags"] = f"{context.get('metatags', '')}\n{tag}"
    if "body" in context:
        sources = {name: Path(app.srcdir) / source for source, (_, name) in app.env.images.items()}
        picture = re.compile(r'<img [^>]*src="[^"]*_images/([^"]+)"[^>]*>')
        context["body"] = picture.sub(lambda tag: with_place(tag[0], size_of(sources.get(tag[1]))), context["body"])
        for wrong, right in CORRECTIONS.items():
            context["body"] = re.sub(wrong, right, context["body"])
    for kind in ("css_files", "script_files"):
        unique = dict.fromkeys(context[kind])  # some are there twice
        needed = [asset for asset in unique if is_needed(asset, context.get("body", ""))]
        context[kind][:] = [asset for asset in needed if not is_bundled(file_of(asset))]
    if page != "search":  # whose own scripts run at once, and want the others to be there
        # The one left out marks what was searched for on whichever page is opened next.
        kept = [script for script in context["script_files"] if file_of(script) != "sphinx_highlight.js"]
        context["script_files"][:] = map(deferred, kept)


def drop_settings_of_thebe(app: Sphinx, tree: nodes.document, page_name: str) -> None:
    """Thebe, which runs code on a server, leaves its settings in every page, used or not."""
    for raw in list(tree.findall(nodes.raw)):
        if "text/x-thebe-config" in raw.astext() or raw.astext().startswith("<script>kernelName"):
            raw.parent.remove(raw)


def keep_units(app: Sphinx, tree: nodes.document, page_name: str) -> None:
    """No line ends between a number and its per cent sign, or beside a sign of plus and minus."""
    for text in list(tree.findall(nodes.Text)):
        whole = join_units(text)
        if whole != text and not isinstance(text.parent, VERBATIM):
            text.parent.replace(text, nodes.Text(whole))


def join_units(text: str) -> str:
    r"""
    >>> join_units("60 % and 0.4 ± 0.1")
    '60\xa0% and 0.4\xa0±\xa00.1'
    """
    return re.sub(r"(?<=\d) (?=%)| (?=±)|(?<=±) ", "\N{NO-BREAK SPACE}", text)


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", keep_units)
    app.connect("doctree-resolved", drop_settings_of_thebe, priority=900)
    app.connect("html-page-context", prepare, priority=900)  # after all who add something
