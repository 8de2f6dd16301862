"""What a page asks for and says about itself, changed just before the theme's templates write it."""

import re
from html import escape
from pathlib import Path
from typing import Any

import imagesize
from docutils import nodes
from sphinx.application import Sphinx

from lean.files import is_bundled

# Scripts and styles that a page gets only if its text has what they are for.
NEEDS = {
    "clipboard.min.js": r'class="highlight',
    "copybutton.js": r'class="highlight',
    "togglebutton.js": r'class="[^"]*\b(toggle|dropdown)\b',
    "togglebutton.css": r'class="[^"]*\b(toggle|dropdown)\b',
    "sphinx-design.min.css": r'class="[^"]*\bsd-',
    "design-tabs.js": r'class="[^"]*\bsd-tab',
    "sphinx-thebe.js": r'class="[^"]*\bthebe\b',
    "sphinx-thebe.css": r'class="[^"]*\bthebe\b',
}
# Scripts inside the page, by the name that they set, and the file for which they set it.
SETTINGS = {
    "toggleHint": "togglebutton.js",
    "toggleOpenOnPrint": "togglebutton.js",
    "togglebuttonSelector": "togglebutton.js",
    "THEBE_JS_URL": "sphinx-thebe.js",
    # These two are read where the search runs while one types, and where a book has several versions: not here.
    "DOCUMENTATION_OPTIONS.pagename": "",
    "DOCUMENTATION_OPTIONS.search_as_you_type": "",
}
DESCRIPTION_LENGTH = 155
VERBATIM = (nodes.literal, nodes.math, nodes.FixedTextElement)


def file_of(asset: Any) -> str:
    """The name of a script or style; "" for a script inside the page."""
    return Path(getattr(asset, "filename", None) or "").name


def is_needed(asset: Any, text: str) -> bool:
    """Whether a page with this text has a use for a script or style.

    >>> from types import SimpleNamespace as Asset
    >>> is_needed(Asset(filename="_static/copybutton.js"), '<div class="highlight">')
    True
    >>> is_needed(Asset(filename="_static/copybutton.js"), "<p>")
    False
    """
    name = file_of(asset)
    if name:
        return name not in NEEDS or re.search(NEEDS[name], text) is not None
    body = asset.attributes.get("body", "")
    served = next((file for setting, file in SETTINGS.items() if setting in body), None)
    return served is None or (served in NEEDS and re.search(NEEDS[served], text) is not None)


def drop_unused(app: Sphinx, page_name: str, template: str, context: dict[str, Any], tree: nodes.Node | None) -> None:
    """Leave out the scripts and styles that this page has no use for; the scripts that stay don't hold up the page."""
    text = context.get("body", "")
    for kind in ("css_files", "script_files"):
        unique = dict.fromkeys(context[kind])  # some are there twice
        context[kind][:] = [asset for asset in unique if is_needed(asset, text) and not is_bundled(file_of(asset))]
    if page_name != "search":  # whose own scripts run at once, and want the others to be there
        context["script_files"][:] = map(deferred, context["script_files"])


def deferred(script: Any) -> Any:
    """The script so that it runs when the page is there; a new one, as the old one belongs to all pages."""
    if not file_of(script) or {"async", "defer"} & script.attributes.keys():
        return script
    return type(script)(script.filename, priority=script.priority, **script.attributes, defer="defer")


def describe(app: Sphinx, page_name: str, template: str, context: dict[str, Any], tree: nodes.Node | None) -> None:
    """Give the page a description, its first words, unless it brings one."""
    if 'name="description"' not in context.get("metatags", ""):
        description = first_words(tree) or f"{context.get('title') or page_name}: {app.config.html_title}"
        context["metatags"] = (
            context.get("metatags", "") + f'\n<meta name="description" content="{escape(description)}" />'
        )


def first_words(tree: nodes.Node | None) -> str:
    """The first paragraphs outside of code, as many whole words as a search engine shows."""
    words: list[str] = []
    for paragraph in tree.findall(nodes.paragraph) if tree else ():
        for word in paragraph.astext().split():
            if len(" ".join([*words, word])) > DESCRIPTION_LENGTH:
                return " ".join(words) + "…"
            words.append(word)
    return " ".join(words)


def prepare_pictures(
    app: Sphinx, page_name: str, template: str, context: dict[str, Any], tree: nodes.Node | None
) -> None:
    """Pictures are fetched when they come near, and the page keeps their place free, so that no text jumps."""
    sources = {name: Path(app.srcdir) / source for source, (_, name) in app.env.images.items()}

    def prepare(match: re.Match[str]) -> str:
        tag, name = match[0], match[1]
        if "loading=" not in tag:
            tag = tag.replace("<img ", '<img loading="lazy" decoding="async" ')
        if not re.search(r"\b(width=|height[=:])", tag) and (size := size_of(sources.get(name))):
            tag = tag.replace("<img ", f'<img width="{size[0]}" height="{size[1]}" ')
        return tag

    if "body" in context:
        context["body"] = re.sub(r'<img [^>]*src="[^"]*_images/([^"]+)"[^>]*>', prepare, context["body"])


def size_of(picture: Path | None) -> tuple[int, int] | None:
    """Width and height in pixels; None where the file does not tell."""
    if picture is None or not picture.is_file():
        return None
    if picture.suffix == ".svg":  # whose width may be in points, or missing
        box = re.search(r'viewBox="\S+ \S+ ([\d.]+) ([\d.]+)"', picture.read_text(encoding="utf-8"))
        return (round(float(box[1])), round(float(box[2]))) if box else None
    width, height = imagesize.get(picture)
    return (width, height) if width > 0 else None


# What axe-core's rules object to, and what says the same without offence.
CORRECTIONS = {
    r'role="doc-biblioentry"': 'role="listitem"',  # the old role is not one that a list may hold
    r'<th class="head">(<p></p>)?</th>': "<td></td>",  # the corner of a table heads nothing
}


def correct_roles(app: Sphinx, page_name: str, template: str, context: dict[str, Any], tree: nodes.Node | None) -> None:
    """What the text says to a screen reader."""
    for wrong, right in CORRECTIONS.items():
        if "body" in context:
            context["body"] = re.sub(wrong, right, context["body"])


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
    for change in (describe, prepare_pictures, correct_roles, drop_unused):
        app.connect("html-page-context", change, priority=900)  # after all who add something
