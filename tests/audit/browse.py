"""Open every page in a browser, as readers do, and write down what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

LAYOUT = Path(__file__).with_name("layout.js").read_text(encoding="utf-8")
OPEN_ALL = "document.querySelectorAll('details').forEach(one => one.open = true)"
# Words of the text; the buttons beside a piece of code come from a script.
WORDS = """() => {
  const text = document.querySelector("main").cloneNode(true);
  text.querySelectorAll("button, script, noscript, style, .explorer").forEach(one => one.remove());
  return text.textContent.split(/\\s+/).length;
}"""
# These pages are for a script: the others must say the same without one.
SCRIPTED = ("search.html", "book/interview/", "book/explore/")
AXE = "axe.run({ resultTypes: ['violations'], preload: false }).then(all => all.violations)"
SIZES = {360: 740, 1440: 900}


@dataclass
class Visit:
    """What happened while one page was open."""

    page: str
    elsewhere: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    bytes: int = 0
    accessibility: list[str] = field(default_factory=list)
    layout: list[str] = field(default_factory=list)
    folder: list[str] = field(default_factory=list)

    def on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname != "127.0.0.1":
            self.elsewhere.append(request.url)

    def on_failure(self, request: Request) -> None:
        if "ERR_ABORTED" not in (request.failure or ""):  # which is what happens when the page goes away
            self.errors.append(f"not loaded: {request.url}")

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.type}: {message.text}")


@contextmanager
def open_browser(program: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def watched(context: BrowserContext, visit: Visit) -> Page:
    """A new page of which ``visit`` learns every request and every error."""
    page = context.new_page()
    page.on("request", visit.on_request)
    page.on("console", visit.on_console)
    page.on("pageerror", lambda error: visit.errors.append(f"script: {error}"))
    page.on("requestfailed", visit.on_failure)
    return page


def visit(browser: Browser, address: str, site: Path, name: str, axe: str) -> Visit:
    """Everything that is measured on one page."""
    result = Visit(name)
    for (width, height), scheme in product(SIZES.items(), ("light", "dark")):
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
        page = watched(context, result)
        sizes: list[int] = []
        if width == 360:
            page.on("requestfinished", lambda request, sizes=sizes: sizes.append(transferred(request)))
        page.goto(f"{address}/{name}", wait_until="networkidle")
        result.bytes = max(result.bytes, sum(sizes))
        place = f"{width} px, {scheme}"
        result.layout += [f"{place}: {line}" for line in layout(page)]
        result.accessibility += [f"{place}: {line}" for line in violations(page, axe)]
        context.close()
    result.folder = from_folder(browser, site, name)
    return result


def layout(page: Page) -> list[str]:
    """What is cut off or out of reach, everything unfolded; the theme's script takes its time to look at that."""
    page.evaluate(OPEN_ALL)
    for _ in range(10):
        if not (found := page.evaluate(LAYOUT)):
            break
        page.wait_for_timeout(500)
    return list(found)


def transferred(request: Request) -> int:
    sizes = request.sizes()
    return sizes["responseBodySize"] + sizes["responseHeadersSize"]


def violations(page: Page, axe: str) -> Iterator[str]:
    """One line for each element that breaks one of axe-core's rules."""
    page.evaluate(axe)
    for rule in page.evaluate(AXE):
        for node in rule["nodes"]:
            yield f"{rule['id']}: {node['html'][:120]}"


def from_folder(browser: Browser, site: Path, name: str) -> list[str]:
    """What fails when the page is opened as a file without a network, with scripts and without."""
    problems, words = [], []
    for scripts in (True, False):
        context = browser.new_context(offline=True, java_script_enabled=scripts, viewport={"width": 360, "height": 740})
        opened = Visit(name)
        page = watched(context, opened)
        page.goto((site / name).as_uri())
        problems += opened.elsewhere + opened.errors
        words.append(page.evaluate(WORDS))
        context.close()
    if words[1] < words[0] and not name.startswith(SCRIPTED):
        problems.append(f"{words[0] - words[1]} of {words[0]} words are missing without scripts")
    return problems
