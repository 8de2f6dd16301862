"""The instruments of ``make audit``: each finds what is wrong, and is silent where nothing is."""

import pytest
from audit import goals, tools
from audit.browse import LAYOUT, Visit
from audit.links import broken_links


@pytest.mark.parametrize(
    ("link", "problem"),
    [("other.html#here", ""), ("#top", ""), ("https://example.org/nothing", ""), ("missing.html", "no such file")]
    + [(link, "no such anchor") for link in ("other.html#gone", "#gone")],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path, link, problem):
    (tmp_path / "page.html").write_text(f'<a id="top" href="{link}">x</a>', encoding="utf-8")
    (tmp_path / "other.html").write_text('<p id="here">', encoding="utf-8")
    assert list(broken_links(tmp_path)) == ([f"page.html: {link}: {problem}"] if problem else [])


def test_a_goal_is_met_only_if_every_page_meets_it():
    good, bad = Visit("a.html", bytes=100_000), Visit("b.html", elsewhere=["https://x"], errors=["e"], bytes=300_000)
    assert all(result.met for result in goals.of_visits([good]))
    missed = [result.measured for result in goals.of_visits([good, bad]) if not result.met]
    assert missed == ["1", "1", "300 kB (b.html)"]
    audits = {"slow": {"title": "Slow", "score": 0.4, "displayValue": "4 s", "scoreDisplayMode": "numeric"}}
    audits |= {"largest-contentful-paint": {"numericValue": 2600}, "cumulative-layout-shift": {"numericValue": 0.05}}
    categories = {name: {"score": 1, "auditRefs": []} for name in goals.LIGHTHOUSE_GOALS}
    slow = {**categories, "performance": {"score": 0.724, "auditRefs": [{"id": "slow", "weight": 10}]}}
    reports = {"a.html": categories, "b.html": slow}
    marks = {page: tools.read_report({"categories": one, "audits": audits}) for page, one in reports.items()}
    missed = [(result.measured, result.details) for result in goals.of_lighthouse(marks) if not result.met]
    assert missed == [("72", ["b.html: performance: Slow (4 s)"]), ("2.60 s (b.html)", [])]


WORD = "word" * 40


@pytest.mark.parametrize(
    ("html", "problems"),
    [
        ("<p>Short.</p>", []),
        (f"<p>{WORD}</p>", ["the page scrolls sideways", f'"{WORD[:40]}" leaves the screen']),
        (f'<div style="overflow-x: auto" tabindex="0">{WORD}</div>', []),
        (f'<p style="position: absolute; clip-path: inset(50%)">{WORD}</p>', ["the page scrolls sideways"]),
        (f'<div style="overflow: hidden"><p>{WORD}</p></div>', [f'div cuts off "{WORD[:40]}"']),
        (f'<div style="overflow-x: auto">{WORD}</div>', ["div scrolls, but no key reaches it"]),
    ],
)
def test_what_a_reader_cannot_see_or_reach_is_found(browser, html, problems):
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.set_content(f"<!DOCTYPE html><body>{html}")
    assert sorted(page.evaluate(LAYOUT)) == sorted(problems)
    page.close()
