"""The built site as a browser sees it, opened from its folder, offline."""

import re
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from audit.browse import layout
from audit.links import broken_links
from explorers import EXPLORERS
from lean import files, identity, mathematics, pages
from PIL import Image
from repository import PLACEHOLDER, address

from resnet_lib import figures

INTRO, CHAPTER, PROSE = "book/intro.html", "notebooks/01_degradation.html", "book/bibliography.html"
# One page of each kind
PAGES = (INTRO, "notebooks/05_full_network.html", PROSE, "book/explore/depth.html", "book/interview/index.html")
PAGES += ("search.html", "genindex.html")


def text_of(site: Path, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


def all_pages(site: Path) -> list[str]:
    found = (path for path in site.rglob("*.html") if "_static" not in path.parts and path != site / "index.html")
    return [path.relative_to(site).as_posix() for path in found]


# --- Without a browser


def test_every_link_inside_the_site_leads_to_a_file_and_an_anchor_that_is_there(site):
    assert list(broken_links(site)) == []


def test_no_page_names_another_server_for_what_it_loads(site):
    for page in all_pages(site):
        text = text_of(site, page)
        tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", text)
        loaded = [tag for tag in tags if re.search(r'\b(?:src|href)="(?:https?:)?//', tag) and "canonical" not in tag]
        assert loaded == [], page
        assert not re.search(r"unpkg|jsdelivr|fontawesome|bootstrap\.js|thebe|togglebutton|require\.js", text), page


def test_every_page_has_one_short_description_and_no_script_that_holds_it_up(site):
    for page in all_pages(site):
        text = text_of(site, page)
        (description,) = re.findall(r'<meta name="description" content="([^"]+)" />', text)
        assert len(description) <= 200, page
        if page != "search.html":  # where the search runs at once
            assert [tag for tag in re.findall(r"<script [^>]*src=[^>]*>", text) if "defer" not in tag] == [], page


def test_the_description_is_the_first_words_or_the_page_s_own():
    paragraph = mathematics.nodes.paragraph(text="word " * 40)
    first = pages.first_words(mathematics.nodes.section("", paragraph))
    assert first == " ".join(["word"] * 31) + "…" and len(first) == 155
    own = '<meta name="description" content="Own." />'
    context = {"metatags": own, "css_files": [], "script_files": []}
    pages.prepare(SimpleNamespace(), "page", "page.html", context, None)
    assert context["metatags"] == own


def test_a_page_loads_what_its_text_needs_and_nothing_else(site):
    assert "copybutton.js" in text_of(site, CHAPTER) and "copybutton.js" not in text_of(site, PROSE)
    assert "searchindex.js" in text_of(site, "search.html") and "searchindex.js" not in text_of(site, PROSE)


def test_a_chapter_opens_in_colab_in_binder_and_on_kaggle(site):
    place = address().removeprefix("https://github.com/")
    for link in (
        f"https://colab.research.google.com/github/{place}/blob/main/",
        f"https://mybinder.org/v2/gh/{place}/main?urlpath=lab/tree/",
        f"https://www.kaggle.com/kernels/welcome?src=https://github.com/{place}/blob/main/",
    ):
        assert f'href="{link}notebooks/01_degradation.ipynb"' in text_of(site, CHAPTER)
        assert link not in text_of(site, PROSE)


def test_the_one_style_sheet_holds_every_style_of_the_book_and_no_icon_library(site):
    static = site / "_static"
    bundle = text_of(static, files.BUNDLE)
    for pattern in files.BUNDLED:
        (style,) = static.glob(pattern)
        assert pattern.startswith("styles/") or style.read_text(encoding="utf-8") in bundle
    assert all((static / file).is_file() for file in re.findall(r"url\(\s*[\"']?(?!data:|#)([^)\"']+)", bundle))
    assert not [path for path in static.rglob("*") if re.search(r"awesome|\.map$|mathjax", path.name)]
    assert ".bd-sidebar" in bundle and "@font-face" not in bundle and ".fa-bars:before" not in bundle


def test_an_icon_that_nobody_drew_is_a_warning(tmp_path, caplog):
    (tmp_path / "_static" / "styles").mkdir(parents=True)
    (tmp_path / "_static" / "icons.css").write_text(".fa-bars{}", encoding="utf-8")
    icons = '<i class="fa-solid fa-bars"></i><i class="fas fa-ghost"></i>'
    (tmp_path / "page.html").write_text(icons, encoding="utf-8")
    files.tidy(SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path), None)
    assert len(caplog.messages) == 1 and "page.html asks for the icon ghost" in caplog.messages[0]


def test_pictures_come_when_they_are_near_and_their_place_is_kept(site):
    tags = [tag for page in all_pages(site) for tag in re.findall(r"<img [^>]*_images/[^>]*>", text_of(site, page))]
    assert len(tags) > 20
    for tag in tags:
        assert 'loading="lazy"' in tag and re.search(r"\b(width=|height[=:])", tag) and 'alt="' in tag, tag


@pytest.mark.parametrize("page", ["index.html", "404.html"])
def test_whoever_comes_by_another_way_is_led_to_the_front_page_without_a_script(site, page):
    text = text_of(site, page)
    assert '<html lang="en">' in text and "<title>" in text and 'book/intro.html">' in text
    assert ("Refresh" in text) == (page == "index.html")


def test_every_page_says_who_made_it_which_edition_it_is_and_how_to_cite_it(site):
    words = r"Edition [\d.]+ of 20\d\d-.*CC BY 4\.0.*#cite"
    for page in set(all_pages(site)) - {"404.html", "handout.html", "slides.html"}:
        assert re.search(words, text_of(site, page).partition("bd-footer-content")[2], re.DOTALL), page
    assert "@misc" in text_of(site, "book/status.html")


def test_a_site_with_an_address_names_it_to_search_engines(tmp_path):
    assert identity.address_of_site(f"https://github.com/{PLACEHOLDER}/a-book") == ""
    config = SimpleNamespace(html_baseurl="https://ada.github.io/resnet-book/")
    app = SimpleNamespace(config=config, env=SimpleNamespace(found_docs={"book/intro"}))
    identity.write_sitemap(app, tmp_path)
    assert f"<loc>{config.html_baseurl}book/intro.html</loc>" in (tmp_path / "sitemap.xml").read_text(encoding="utf-8")


def test_mathematics_becomes_mathml_and_what_cannot_be_translated_is_a_warning_and_shows_its_source(caplog):
    mathml = mathematics.to_mathml(mathematics.nodes.math_block("", r"x_0 + \dots + x_L"))
    assert mathml.startswith("<math ") and 'display="block"' in mathml and "<mi>…</mi>" in mathml
    formula = mathematics.nodes.math("", r"\nonsense{x} < 1")
    assert mathematics.to_mathml(formula) == r"<code>\nonsense{x} &lt; 1</code>"
    assert "cannot be turned into MathML" in caplog.text


def luminance(colour: tuple[int, ...]) -> float:
    """Relative luminance from 0, black, to 1, white, as the Web Content Accessibility Guidelines define it."""
    linear = [(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(*colours: tuple[int, ...]) -> float:
    """From 1 to 21; text needs 4.5, a line 3."""
    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("paper", "shade"), [((255, 255, 255), -1), ((18, 18, 18), 0)])
@pytest.mark.parametrize(("kind", "line"), [("plain", figures.PLAIN), ("residual", figures.RESIDUAL)])
def test_text_in_the_two_colours_can_be_read_on_light_and_dark_pages(kind, line, paper, shade):
    ink, line = (tuple(bytes.fromhex(colour[1:])) for colour in (figures.SHADES[kind][shade], line))
    block = tuple(round(0.12 * a + 0.88 * b) for a, b in zip(line, paper, strict=True))  # with a name on it
    assert contrast(ink, paper) >= 4.5 and contrast(ink, block) >= 4.5 and contrast(line, paper) >= 3


# --- In a browser


@pytest.mark.parametrize("address", PAGES)
def test_a_page_opens_without_error_or_request_and_fits_a_narrow_screen(open_page, address):
    page = open_page(address, width=360, color_scheme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.locator("h1:visible").count() == 1
    assert layout(page) == []


def test_without_a_script_a_page_is_whole_and_leads_on(open_page):
    page = open_page(CHAPTER, width=360, java_script_enabled=False)
    page.locator("summary", has_text="Solution").first.click()
    assert page.locator("details[open] p").first.is_visible()
    assert not page.locator(".theme-switch-button").is_visible()
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Glossary").click()
    assert page.url.endswith("book/glossary.html")


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("bottleneck", "3. The bottleneck"),
        ("bottelneck", "3. The bottleneck"),  # a slip of the finger
        ("1,179,648", r"(3|12)\. "),
        ("69632", r"(3|10|12)\. "),
    ],
)
def test_the_search_finds_words_and_numbers_and_puts_the_chapter_on_them_first(open_page, typed, first):
    page = open_page(INTRO)
    page.keyboard.press("Control+k")
    page.keyboard.type(typed)
    page.keyboard.press("Enter")
    result = page.locator("#search-results li a").first
    assert re.match(first, result.inner_text())
    page.goto(result.evaluate("link => link.href"))  # a click may miss it while the list below it grows
    assert page.locator(".highlighted").count() == 0  # no marks to wipe away


def test_what_was_read_is_ticked_off_and_the_front_page_leads_on(open_page):
    page = open_page(CHAPTER)
    page.locator(".prev-next-footer").scroll_into_view_if_needed()
    page.get_by_role("img", name="read").first.wait_for()
    page.locator(".navbar-brand").click()
    assert page.locator("a.go-on").inner_text() == "Go on with chapter 2. The residual block"
    assert page.locator(".cards li", has=page.locator(".read")).count() == 1


@pytest.mark.parametrize(("button", "link"), [("primary", "Glossary"), ("secondary", "Exercises")])
def test_on_a_telephone_a_button_opens_the_chapters_and_another_the_contents(open_page, button, link):
    page = open_page(CHAPTER, width=360)
    assert not page.get_by_role("dialog").is_visible()
    page.locator(f".{button}-toggle:visible").click()
    page.get_by_role("dialog").get_by_role("link", name=link).wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")


@pytest.mark.parametrize("name", ["intro", "interview/quiz", *(f"explore/{name}" for name in EXPLORERS)])
def test_tab_goes_through_a_page_and_shows_where_it_is(open_page, name):
    page, stops = open_page(f"book/{name}.html", reduced_motion="reduce"), []
    while len(stops) < 2 or stops[-1] not in (stops[0], "body"):
        page.keyboard.press("Tab")
        stop, outline, shadow = page.evaluate("""() => {
            const here = document.activeElement;
            const { outlineStyle, boxShadow } = getComputedStyle(here.closest(".explorer-network label") ?? here);
            return [here.matches("body") ? "body" : here.outerHTML, outlineStyle, boxShadow];
        }""")
        stops.append(stop)
        assert stop == "body" or outline == "solid" or "3px" in shadow, stop
        assert len(stops) < 120


def test_a_menu_opens_and_closes_with_mouse_and_keyboard_and_is_whole_on_a_telephone(open_page):
    page = open_page(CHAPTER, width=360)
    button = page.get_by_role("button", name="Download this page")
    link = page.get_by_role("link", name=".ipynb")
    button.press("Enter")
    assert link.is_visible() and button.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    assert not link.is_visible() and button.evaluate("one => one === document.activeElement")
    button.click()
    page.mouse.click(180, 700)
    assert not link.is_visible() and button.get_attribute("aria-expanded") == "false"
    for name in ("Launch interactive content", "Download this page", "Source repositories"):
        page.get_by_role("button", name=name).click()
        box = page.locator(".dropdown-menu.show").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360, name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_figure_is_readable_in_both_modes_and_keeps_its_shape(open_page, scheme):
    page = open_page(CHAPTER, width=390, color_scheme=scheme, device_scale_factor=2)
    shown = page.locator("img[alt*=rror]").first
    shown.scroll_into_view_if_needed()
    page.wait_for_function("one => one.complete && one.naturalWidth > 0", arg=shown.element_handle())
    shape = shown.evaluate("one => one.clientWidth / one.clientHeight")
    assert shape == pytest.approx(shown.evaluate("one => one.naturalWidth / one.naturalHeight"), rel=0.02)
    screen = Image.open(BytesIO(shown.screenshot())).convert("RGB")
    pixels = sorted(screen.getcolors(screen.width * screen.height), reverse=True)
    paper, colours = pixels[0][1], [colour for count, colour in pixels if count > 100]
    assert max(contrast(colour, paper) for colour in colours) >= 7
    lines = [colour for colour in colours if max(colour) - min(colour) > 80]  # those that are no grey
    assert lines and contrast(lines[0], paper) >= 3, (paper, lines)


def test_buttons_show_an_icon(open_page):
    page = open_page(CHAPTER, width=360)
    for name in (".primary-toggle", ".theme-switch-button", ".search-button", ".dropdown-download-buttons button"):
        box = page.locator(f".bd-header-article {name}").first
        pixels = Image.open(BytesIO(box.screenshot())).convert("L").point(lambda grey: 255 * (grey < 150))
        left, top, right, bottom = pixels.getbbox()  # None where nothing is drawn
        inked = pixels.histogram()[255] / ((right - left) * (bottom - top))
        assert right - left < 25 and 0.05 < inked < 0.8, name  # lines, no square and no empty box
