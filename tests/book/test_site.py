"""The site as a browser sees it: a small book, built with the real configuration, opened from a folder offline."""

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pydata_sphinx_theme
import pytest
import yaml
from lean import files, mathematics, pages
from PIL import Image

from resnet_lib import figures

ROOT = Path(__file__).parents[2]
INTRO = """# A small book

Why does a deeper plain network train *worse*? See [chapter 1](../notebooks/01_chapter.ipynb).

```{image} light.svg
:alt: A falling line.
:class: only-light
```

```{image} dark.svg
:alt: A falling line.
:class: only-dark
```
"""
ADMONITION = """# Another page

It cites {cite}`he2016deep`.

|     | layers |
| --- | ------ |
| one | 18     |

```{bibliography}
```

```{note}
Something to know.
```

````{grid} 2
```{grid-item-card} A card
Its text.
```
````
"""
REFERENCE = "@misc{he2016deep, author = {He, Kaiming}, title = {Deep Residual Learning}, year = {2016}}"
FORMULA = r"\frac{18 C^2}{C + \dots + C} = 16.94" + r" \cdot \text{words that no telephone can hold}" * 2
LONG_LINE = "print('bottleneck', " + ", ".join(f"'a long line {i}'" for i in range(12)) + ")"
TABLE = "<table><tr>" + "".join(f"<td>column{i}</td>" for i in range(30)) + "</tr></table>"


def draw(ink: str, paper: str, **kind: str) -> bytes:
    """A figure in the book's style."""
    out = BytesIO()
    with plt.rc_context(figures.style(ink=ink, paper=paper)):
        figure, axes = plt.subplots(figsize=(6, 3))
        axes.plot([8, 20, 56], [60, 20, 1], color=figures.PLAIN, linewidth=4)
        axes.plot([8, 20, 56], [30, 10, 5], color=figures.RESIDUAL, linewidth=4)
        axes.set_title("A line falls")
        figure.savefig(out, **kind)
        plt.close(figure)
    return out.getvalue()


def chapter() -> dict:
    """A notebook with all that a chapter has: code, printed text, a picture, a wide table, mathematics, a solution."""

    def output(**data: str) -> dict:
        return {"output_type": "display_data", "metadata": {}, "data": data}

    picture = base64.b64encode(draw("#1a1a1a", "#ffffff", format="png")).decode()
    solution = "<details>\n<summary>Solution</summary>\n\nIt is $x^2$.\n\n</details>"
    texts = [
        f"# 1. The chapter\n\nIts first words.\n\n$$\n{FORMULA}\n$$\n\nInline $a_1, …, a_L$.\n\n## 1.1 A section",
        solution,
    ]
    code = {
        "cell_type": "code",
        "execution_count": 1,
        "metadata": {},
        "source": LONG_LINE,
        "outputs": [
            {"output_type": "stream", "name": "stdout", "text": "a wide line of output " * 12},
            output(**{"image/png": picture}),
            output(**{"text/html": TABLE, "text/plain": "a table"}),
        ],
    }
    words = [{"cell_type": "markdown", "metadata": {}, "source": text} for text in texts]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return {"cells": [words[0], code, words[1]], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}


def configuration() -> str:
    """The book's own, less the extensions that need the rest of the book."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["sphinx"]["local_extensions"] = {"kaggle": "book/_ext", "lean": "book/_ext"}
    return yaml.safe_dump(config)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The small book, built with warnings as errors."""
    root = tmp_path_factory.mktemp("site")
    for folder in ("book/_ext/lean", "book/_static"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "book/_ext/kaggle.py", root / "book/_ext")
    texts = {
        "_config.yml": configuration(),
        "_toc.yml": "format: jb-book\nroot: book/intro\nchapters:\n- file: notebooks/01_chapter\n- file: book/other\n",
        "book/intro.md": INTRO,
        "book/other.md": ADMONITION,
        "book/references.bib": REFERENCE,
        "notebooks/01_chapter.ipynb": json.dumps(chapter()),
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "book" / "light.svg").write_bytes(draw("#1a1a1a", "none", format="svg"))
    (root / "book" / "dark.svg").write_bytes(draw("#e6e6e6", "none", format="svg"))
    program = Path(sys.executable).with_name("jupyter-book")
    command = [str(program), "build", str(root), "--all", "-W", "-n", "--keep-going", "-q"]
    made = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert made.returncode == 0, made.stderr
    return root / "_build" / "html"


PAGES = ("book/intro.html", "notebooks/01_chapter.html", "book/other.html", "search.html", "genindex.html")


def text_of(site: Path, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


# --- Without a browser


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_no_other_server_for_what_it_loads(site, page):
    tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", text_of(site, page))
    loaded = [tag for tag in tags if re.search(r'\b(?:src|href)="(?:https?:)?//', tag) and "canonical" not in tag]
    assert loaded == []
    assert "unpkg" not in text_of(site, page) and "jsdelivr" not in text_of(site, page)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_one_description_and_no_script_that_holds_it_up(site, page):
    text = text_of(site, page)
    assert len(re.findall(r'<meta name="description" content="[^"]+" />', text)) == 1
    if page != "search.html":  # where the search runs at once
        assert [tag for tag in re.findall(r"<script [^>]*src=[^>]*>", text) if "defer" not in tag] == []


def test_the_description_is_the_first_words_or_the_page_s_own(site):
    assert 'content="Its first words. ' in text_of(site, "notebooks/01_chapter.html")
    context = {"metatags": '<meta name="description" content="Own." />'}
    pages.describe(SimpleNamespace(), "page", "page.html", context, None)
    assert context["metatags"].count("description") == 1


def test_a_page_loads_what_its_text_needs_and_nothing_else(site):
    chapter, other = text_of(site, "notebooks/01_chapter.html"), text_of(site, "book/other.html")
    assert "copybutton.js" in chapter and "copybutton.js" not in other
    assert "sphinx-design.min.css" in other and "sphinx-design.min.css" not in chapter
    for name in ("fontawesome", "bootstrap.js", "thebe", "togglebutton", "MathJax", "require.js", "searchindex.js"):
        assert name not in chapter and name not in other, name
    assert "searchindex.js" in text_of(site, "search.html")


def test_a_chapter_opens_in_colab_in_binder_and_on_kaggle(site):
    address = yaml.safe_load(configuration())["repository"]["url"].removeprefix("https://github.com/")
    chapter, other = text_of(site, "notebooks/01_chapter.html"), text_of(site, "book/other.html")
    for link in (
        f"https://colab.research.google.com/github/{address}/blob/main/notebooks/01_chapter.ipynb",
        f"https://mybinder.org/v2/gh/{address}/main?urlpath=lab/tree/notebooks/01_chapter.ipynb",
        f"https://www.kaggle.com/kernels/welcome?src=https://github.com/{address}/blob/main/notebooks/01_chapter.ipynb",
    ):
        assert f'href="{link}"' in chapter and link.split("/")[2] not in other


def test_nothing_is_left_of_the_icon_library(site):
    static = site / "_static"
    assert not [path for path in static.rglob("*") if re.search(r"awesome|\.map$|mathjax", path.name)]
    styles = (static / "site.css").read_text(encoding="utf-8")
    assert "@font-face" not in styles and ".fa-bars:before" not in styles and "@import" not in styles
    assert ".theme-switch-button .theme-switch{display:none}" in styles  # the rest is still there
    assert len(styles) < 430_000


def test_the_one_style_sheet_holds_every_style_of_the_theme_and_of_the_book(site):
    theme = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme"
    macros = (theme / "static" / "webpack-macros.html").read_text(encoding="utf-8")
    asked = set(re.findall(r"_static/(styles/[\w-]+\.css)", macros))
    assert asked == {"styles/theme.css", "styles/pydata-sphinx-theme.css"}  # the first of them imports basic.css
    scripts = set(re.findall(r"_static/(scripts/[\w-]+\.js)", macros))
    assert scripts == {f"scripts/{name}.js" for name in ("fontawesome", "bootstrap", "pydata-sphinx-theme")}
    styles = (site / "_static" / "site.css").read_text(encoding="utf-8")
    for pattern in files.BUNDLED:
        [style] = (site / "_static").glob(pattern)
        text = style.read_text(encoding="utf-8")
        assert (files.without_icon_font(text) if pattern.startswith("styles/") else text) in styles
    for file in re.findall(r"url\(\s*[\"']?(?!data:|#)([^)\"']+)", styles):
        assert (site / "_static" / file).is_file(), file


def test_every_icon_that_the_theme_asks_for_is_drawn(site):
    drawn = (ROOT / "book" / "_static" / "icons.css").read_text(encoding="utf-8")
    asked = {icon for page in PAGES for icon in files.icons_of(text_of(site, page))}
    assert {"bars", "magnifying-glass", "moon", "download"} <= asked
    assert [icon for icon in asked if f".fa-{icon}" not in drawn] == []


def test_an_icon_that_nobody_drew_is_a_warning(tmp_path, caplog):
    (tmp_path / "_static" / "styles").mkdir(parents=True)
    (tmp_path / "_static" / "icons.css").write_text(".fa-bars{}", encoding="utf-8")
    icons = '<i class="fa-solid fa-bars"></i><i class="fas fa-ghost"></i>'
    (tmp_path / "page.html").write_text(icons, encoding="utf-8")
    files.tidy(SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path), None)
    assert caplog.messages == ["page.html asks for the icon ghost, which book/_static/icons.css does not draw"]


def test_pictures_come_when_they_are_near_and_their_place_is_kept(site):
    for page, count in (("book/intro.html", 2), ("notebooks/01_chapter.html", 1)):
        tags = re.findall(r"<img [^>]*_images/[^>]*>", text_of(site, page))
        assert len(tags) == count
        for tag in tags:
            assert 'loading="lazy"' in tag and re.search(r'width="\d+" height="\d+"', tag) and 'alt="' in tag


def test_works_are_items_of_their_list_and_an_empty_corner_of_a_table_is_no_heading(site):
    text = text_of(site, "book/other.html")
    assert re.search(r' role="list" class="citation-list">\s*<div class="citation"[^>]* role="listitem">', text)
    assert "doc-biblioentry" not in text
    assert re.search(r"<tr[^>]*><td></td>\s*<th class=\"head\"><p>layers</p></th>", text)


def test_the_site_s_first_page_leads_to_the_front_page_without_a_script(site):
    text = text_of(site, "index.html")
    assert '<html lang="en">' in text and "<title>" in text and '<a href="book/intro.html">' in text


@pytest.mark.parametrize(
    ("tex", "part"),
    [
        (r"x_0 + \dots + x_L", "<mi>…</mi>"),
        ("a_1, …, a_L", "<mi>…</mi>"),
        (r"\binom{n}{k}", '<mfrac linethickness="0">'),
        (r"\left\lfloor \frac{n}{s} \right\rfloor", "<mo"),
        (r"\mathrm{ReLU}(F(x) + x)", "<mi>ReLU</mi>"),
    ],
)
def test_mathematics_becomes_mathml(tex, part):
    mathml = mathematics.to_mathml(tex, block=True)
    assert mathml.startswith("<math ") and 'display="block"' in mathml and part in mathml


def test_a_formula_that_cannot_be_translated_is_a_warning_and_shows_its_source(caplog):
    formula = mathematics.nodes.math("", r"\nonsense{x} < 1")
    assert mathematics.mathml_of(formula) == r"<code>\nonsense{x} &lt; 1</code>"
    assert "this formula cannot be turned into MathML" in caplog.text


# --- In a browser


def was_stopped(request) -> bool:
    """Whether the page went away before it had all: its icon, for example."""
    return "ERR_ABORTED" in (request.failure or "")


@pytest.fixture
def open_page(browser, site) -> Iterator:
    """Open a page from the folder, without a network; an error, or a request to anywhere else, fails the test."""
    contexts, problems = [], []

    def open_it(address: str, width: int = 1440, **options):
        context = browser.new_context(offline=True, viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: said.type in ("error", "warning") and problems.append(said.text))
        page.on("requestfailed", lambda request: was_stopped(request) or problems.append(request.url))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or problems.append(request.url))
        page.goto(f"{site.as_uri()}/{address}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert problems == []


@pytest.mark.parametrize(("address", "scheme"), [*((address, "light") for address in PAGES), (PAGES[1], "dark")])
def test_a_page_opens_from_a_folder_without_error_or_request(open_page, address, scheme):
    page = open_page(address, color_scheme=scheme)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.locator("h1:visible").count() == 1


@pytest.mark.parametrize("address", PAGES)
def test_nothing_leaves_a_narrow_screen_and_keys_reach_every_box(open_page, address):
    page = open_page(address, width=360)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    layout = (ROOT / "tests" / "audit" / "layout.js").read_text(encoding="utf-8")
    assert page.evaluate(layout) == []


def test_wide_code_output_tables_and_formulas_scroll_in_their_own_boxes(open_page):
    page = open_page("notebooks/01_chapter.html", width=360)
    boxes = "pre, .cell_output > .output, div.math"
    wide = f"[...document.querySelectorAll('{boxes}')].filter(one => one.scrollWidth > one.clientWidth)"
    assert page.evaluate(f"{wide}.length") >= 4
    assert page.evaluate(f"{wide}.every(one => one.tabIndex === 0)")


def test_without_a_script_a_page_is_whole_and_leads_on(open_page):
    page = open_page("notebooks/01_chapter.html", width=360, java_script_enabled=False)
    page.locator("summary").click()
    for text in ("Its first words.", "It is", "a wide line of output"):
        assert page.get_by_text(text).first.is_visible()
    assert page.locator("math").count() == 3
    assert not page.locator(".theme-switch-button").is_visible()
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Another page").click()
    assert page.url.endswith("book/other.html")


def test_the_search_finds_bottleneck(open_page):
    page = open_page("book/intro.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("bottleneck")
    page.keyboard.press("Enter")
    found = page.locator("#search-results li a").first
    found.wait_for()
    assert found.inner_text() == "1. The chapter"
    found.click()
    assert "notebooks/01_chapter.html" in page.url


def test_a_copy_button_copies_the_code(open_page):
    page = open_page("notebooks/01_chapter.html", permissions=["clipboard-read", "clipboard-write"])
    page.locator("div.highlight").first.hover()
    page.locator("button.copybtn").first.click()
    assert page.evaluate("navigator.clipboard.readText()").strip() == LONG_LINE


def test_the_colour_mode_is_chosen_with_a_button_and_kept(open_page):
    page = open_page("book/intro.html", color_scheme="light")
    button = page.locator(".theme-switch-button")
    seen = set()
    for _ in range(3):
        button.click()
        seen.add(page.evaluate("document.documentElement.dataset.mode"))
    assert seen == {"auto", "dark", "light"}
    while page.evaluate("document.documentElement.dataset.mode") != "dark":
        button.click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize(("button", "link"), [("primary", "Another page"), ("secondary", "1.1 A section")])
def test_on_a_telephone_a_button_opens_the_chapters_and_another_the_contents(open_page, button, link):
    page = open_page("notebooks/01_chapter.html", width=360)
    assert not page.get_by_role("dialog").is_visible()
    page.locator(f".{button}-toggle:visible").click()
    page.get_by_role("dialog").get_by_role("link", name=link).wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")


def test_on_a_wide_screen_a_button_hides_the_chapters_and_brings_them_back(open_page):
    page = open_page("notebooks/01_chapter.html")
    chapters = page.get_by_role("navigation", name="Main")
    for state in ("hidden", "visible"):
        page.locator(".primary-toggle:visible").click()
        chapters.wait_for(state=state)


def test_a_menu_opens_and_closes_with_mouse_and_keyboard(open_page):
    page = open_page("notebooks/01_chapter.html", width=360)
    button = page.get_by_role("button", name="Download this page")
    link = page.get_by_role("link", name=".ipynb")
    assert not link.is_visible()
    button.focus()
    page.keyboard.press("Enter")
    assert link.is_visible() and button.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Tab")
    assert link.evaluate("one => one === document.activeElement")
    page.keyboard.press("Escape")
    assert not link.is_visible() and button.evaluate("one => one === document.activeElement")
    button.click()
    page.mouse.move(5, 600)
    assert link.is_visible()
    page.mouse.click(180, 700)
    assert not link.is_visible() and button.get_attribute("aria-expanded") == "false"


def test_every_menu_is_whole_on_a_telephone(open_page):
    page = open_page("notebooks/01_chapter.html", width=360)
    for name in ("Launch interactive content", "Download this page", "Source repositories"):
        page.get_by_role("button", name=name).click()
        box = page.locator(".dropdown-menu.show").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360, name


def luminance(colour: tuple[int, ...]) -> float:
    """Relative luminance from 0, black, to 1, white, as the Web Content Accessibility Guidelines define it."""
    linear = [(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """From 1 to 21.

    >>> round(contrast((0, 0, 0), (255, 255, 255)))
    21
    """
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_picture_keeps_its_shape_on_a_narrow_screen(open_page):
    picture = open_page("notebooks/01_chapter.html", width=360).locator(".cell_output img")
    picture.scroll_into_view_if_needed()
    shown = picture.evaluate("one => one.clientWidth / one.clientHeight")
    assert shown == pytest.approx(picture.evaluate("one => one.naturalWidth / one.naturalHeight"), rel=0.02)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("address", "picture"), [("book/intro.html", "img[src*={}]"), ("notebooks/01_chapter.html", ".cell_output img")]
)
def test_a_figure_is_readable_in_both_modes(open_page, address, picture, scheme):
    page = open_page(address, color_scheme=scheme, device_scale_factor=2)
    shown = page.locator(picture.format(scheme)).first
    shown.scroll_into_view_if_needed()
    page.wait_for_function("one => one.complete && one.naturalWidth > 0", arg=shown.element_handle())
    screen = Image.open(BytesIO(shown.screenshot())).convert("RGB")
    pixels = sorted(screen.getcolors(screen.width * screen.height), reverse=True)
    paper, colours = pixels[0][1], [colour for count, colour in pixels if count > 400]
    text = max(colours, key=lambda colour: contrast(colour, paper))
    assert contrast(text, paper) >= 7
    lines = [colour for colour in colours if max(colour) - min(colour) > 80]  # the two that are no grey
    assert len(lines) >= 2 and all(contrast(colour, paper) >= 3 for colour in lines[:2]), (paper, lines)


def test_buttons_show_an_icon(open_page):
    page = open_page("notebooks/01_chapter.html", width=360)
    for name in (".primary-toggle", ".theme-switch-button", ".search-button", ".dropdown-download-buttons button"):
        box = page.locator(f".bd-header-article {name}").first
        pixels = Image.open(BytesIO(box.screenshot())).convert("L").point(lambda grey: 255 * (grey < 150))
        left, top, right, bottom = pixels.getbbox()
        assert 10 < right - left < 25 and 8 < bottom - top < 25, name
        inked = pixels.histogram()[255] / ((right - left) * (bottom - top))
        assert 0.05 < inked < 0.8, name  # lines, no square and no empty box
