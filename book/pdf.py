"""Print the whole book to one PDF, with bookmarks and page numbers.

python book/pdf.py        writes book/_generated/resnet-book.pdf, which the next build of the book offers

Needs a Chromium or Chrome.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "_build" / "pdf"
PDF = ROOT / "book" / "_generated" / "resnet-book.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PAGE_NUMBER = '<div style="width: 100%; text-align: center; font-size: 8pt"><span class="pageNumber"></span></div>'


def find_browser() -> str:
    """The program that CHROME_PATH names, or the first browser on the path; without one the program ends."""
    names = [os.environ["CHROME_PATH"]] if os.environ.get("CHROME_PATH") else BROWSERS
    found = next(filter(None, map(shutil.which, names)), None)
    return found or sys.exit(f"There is no Chromium ({', '.join(names)}): install one, or name it in CHROME_PATH.")


def build_one_page() -> Path:
    """The whole book as one HTML page."""
    command = ["jupyter-book", "build", str(ROOT), "--path-output", str(PAGES), "--builder", "singlehtml", "-q", "-n"]
    subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], check=True)
    folder = PAGES / "_build" / "singlehtml"
    # Sphinx puts the page into the front page's folder and writes its links for the folder above.
    return (folder / "book" / "intro.html").rename(folder / "index.html")


def print_page(page: Path, target: Path, browser: Browser) -> None:
    unfinished = target.with_suffix(".tmp")
    tab = browser.new_page(java_script_enabled=False)  # on paper explorers are pictures, and nothing is hidden
    tab.goto(page.as_uri())
    tab.evaluate("document.documentElement.dataset.theme = 'light'")
    tab.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true })")
    tab.evaluate("document.querySelectorAll('img').forEach((picture) => { picture.loading = 'eager' })")
    tab.wait_for_function("[...document.images].every((picture) => picture.complete)")
    tab.pdf(
        path=unfinished,
        prefer_css_page_size=True,
        outline=True,
        tagged=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=PAGE_NUMBER,
    )
    tab.close()
    unfinished.replace(target)


def main() -> None:
    program = find_browser()
    PDF.parent.mkdir(exist_ok=True)
    page = build_one_page()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        print_page(page, PDF, browser)
        browser.close()
    print(f"{PDF.relative_to(ROOT).as_posix()}: {PDF.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
