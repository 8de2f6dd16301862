"""The HTML pages that the library and the course write, read as a browser would."""

import base64
import re
from html.parser import HTMLParser

STRUCTURE = {"html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "p", "div", "ul", "li"}
ELEMENTS = STRUCTURE | {"picture", "source", "img", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd"}
ATTRIBUTES = {"lang", "charset", "name", "content", "http-equiv", "media", "srcset", "src", "alt", "class", "role"}
ATTRIBUTES |= {"aria-label", "tabindex", "scope"}


class Page(HTMLParser):
    """A page's elements and text, and by the heading of each section its paragraphs, list, table and facts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.sections: dict[str, dict[str, list]] = {}
        self.feed(source)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag == "tr":
            list(self.sections.values())[-1].setdefault("tr", []).append([])

    def handle_data(self, data: str) -> None:
        self.text += data
        tag = self.elements[-1][0] if self.elements else ""
        if not data.strip():
            return
        if tag == "h2":
            self.sections[data] = {}
        elif self.sections and tag in ("td", "th"):
            list(self.sections.values())[-1]["tr"][-1].append(data)
        elif self.sections:
            list(self.sections.values())[-1].setdefault(tag, []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def pictures(self) -> list[str]:
        """The SVGs that the page holds, in the order of its addresses."""
        addresses = [source["srcset"] for source in self.all("source")] + [image["src"] for image in self.all("img")]
        assert all(address.startswith("data:image/svg+xml;base64,") for address in addresses)
        return [base64.b64decode(address.partition(",")[2]).decode() for address in addresses]

    def check_that_it_needs_nothing_but_itself(self) -> None:
        assert {tag for tag, _ in self.elements} <= ELEMENTS
        assert {name for _, attributes in self.elements for name in attributes} <= ATTRIBUTES
        assert any(meta.get("content", "").startswith("default-src 'none'; img-src data:") for meta in self.all("meta"))
        assert "url(" not in self.text and "@import" not in self.text
        for picture in self.pictures():
            assert "<script" not in picture and "<image" not in picture
            links = re.findall(r"""(?:href|src)\s*=\s*["']([^"']*)|url\(([^)]*)\)""", picture)
            assert links and all((link + other).startswith("#") for link, other in links)
