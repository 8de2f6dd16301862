"""The instruments of ``make audit``: each finds what is wrong, and is silent where nothing is."""

import gzip
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit import __main__ as command
from audit import goals, tools
from audit.browse import LAYOUT, Visit
from audit.lighthouse import read_report
from audit.links import broken_links
from audit.server import serve


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("other.html", None),
        ("other.html#here", None),
        ("#top", None),
        ("https://example.org/nothing", None),
        ("missing.html", "page.html: missing.html: no such file"),
        ("other.html#gone", "page.html: other.html#gone: no such anchor"),
        ("#gone", "page.html: #gone: no such anchor"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path, link, problem):
    (tmp_path / "page.html").write_text(f'<a id="top" href="{link}">x</a>', encoding="utf-8")
    (tmp_path / "other.html").write_text('<p id="here">', encoding="utf-8")
    assert list(broken_links(tmp_path)) == ([problem] if problem else [])


def test_the_server_compresses_text_and_has_no_page_that_is_not_there(tmp_path):
    text = "<p>words</p>" * 100
    (tmp_path / "index.html").write_text(text, encoding="utf-8")
    with serve(tmp_path) as address:
        request = urllib.request.Request(f"{address}/", headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(request) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(answer.read()).decode() == text
        with pytest.raises(urllib.error.HTTPError, match="404") as refusal:
            urllib.request.urlopen(f"{address}/gone.html")
        refusal.value.close()


def test_what_is_missing_is_said_in_one_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CHROME_PATH", "no-such-program")
    with pytest.raises(tools.CannotMeasureError, match="CHROME_PATH must name a Chromium, got no-such-program"):
        tools.find_browser()
    monkeypatch.delenv("CHROME_PATH")
    monkeypatch.setattr(tools.shutil, "which", lambda _: None)
    with pytest.raises(tools.CannotMeasureError, match="Node is not installed"):
        tools.install_packages(tmp_path)
    assert command.main(["--built"]) == 2
    assert capsys.readouterr().err.startswith("make audit: No browser is installed")


def test_a_page_that_is_not_there_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "SITE", tmp_path)
    with pytest.raises(command.CannotMeasureError, match="There is no page in"):
        command.check_pages(command.pages_of(tmp_path))
    with pytest.raises(command.CannotMeasureError, match=r"There is no page gone\.html"):
        command.check_pages(["gone.html"])


def test_the_page_that_only_leads_on_is_not_measured(tmp_path):
    (tmp_path / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=a.html">', encoding="utf-8")
    (tmp_path / "a.html").write_text("<p>", encoding="utf-8")
    assert command.pages_of(tmp_path) == ["a.html"]


def test_a_goal_is_met_only_if_every_page_meets_it():
    good, bad = Visit("a.html", bytes=100_000), Visit("b.html", elsewhere=["https://x"], errors=["e"], bytes=700_000)
    assert all(result.met for result in goals.of_visits([good]))
    missed = {result.what: result.measured for result in goals.of_visits([good, bad]) if not result.met}
    assert list(missed.values()) == ["1", "700 kB (b.html)", "1"]
    full = dict.fromkeys(goals.LIGHTHOUSE_GOALS, 100)
    marks = {"a.html": (full, []), "b.html": ({**full, "seo": 91}, ["seo: no description ()"])}
    results = {result.what.split(": ")[1]: result for result in goals.of_lighthouse(marks)}
    assert [name for name, result in results.items() if not result.met] == ["seo"]
    assert results["seo"].details == ["b.html: 91, no description ()"]
    assert "| Lighthouse, mobile: seo | ≥ 100 | 91       | NO  |" in goals.format_table([results["seo"]])
    assert not goals.of_build(61).met


def test_lighthouse_s_report_becomes_four_marks_and_what_they_lost():
    audits = {"slow": {"title": "Slow", "score": 0.4, "displayValue": "4 s", "scoreDisplayMode": "numeric"}}
    categories = {name: {"score": 1, "auditRefs": []} for name in goals.LIGHTHOUSE_GOALS}
    categories["performance"] = {"score": 0.724, "auditRefs": [{"id": "slow", "weight": 10}]}
    marks, lost = read_report({"categories": categories, "audits": audits})
    assert marks == {"performance": 72, "accessibility": 100, "best-practices": 100, "seo": 100}
    assert lost == ["performance: Slow (4 s)"]


# --- In a browser


@pytest.fixture
def page(browser) -> Iterator:
    page = browser.new_page(viewport={"width": 360, "height": 740})
    yield page
    page.close()


WORD = "word" * 40


@pytest.mark.parametrize(
    ("html", "problems"),
    [
        ("<p>Short.</p>", []),
        (f'<div style="overflow-x: auto" tabindex="0">{WORD}</div>', []),
        (f'<p style="position: absolute; clip-path: inset(50%)">{WORD}</p>', ["the page scrolls sideways"]),
        (f'<div style="overflow: hidden"><p>{WORD}</p></div>', [f'div cuts off "{WORD[:40]}"']),
        (f'<div style="overflow-x: auto">{WORD}</div>', ["div scrolls, but no key reaches it"]),
        (f'<p style="display: none">{WORD}</p>', []),
    ],
)
def test_what_a_reader_cannot_see_or_reach_is_found(page, html, problems):
    page.set_content(f"<!DOCTYPE html><body>{html}")
    assert page.evaluate(LAYOUT) == problems


def test_text_that_leaves_the_screen_is_found(page):
    page.set_content(f"<!DOCTYPE html><body><p>{WORD}</p>")
    assert set(page.evaluate(LAYOUT)) == {"the page scrolls sideways", f'"{WORD[:40]}" leaves the screen'}


def test_the_files_beside_the_audit_are_there():
    assert tools.PACKAGES.is_file() and Path(command.__file__).with_name("layout.js").is_file()
