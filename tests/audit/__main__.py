"""``python -m tests.audit``: measure the built site, print a table and every finding; exit code 1 if a goal is missed.

Lighthouse's mark for performance depends on what else the machine does meanwhile.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from book.pdf import find_browser

from . import goals
from .browse import open_browser, visit
from .links import broken_links
from .server import serve
from .tools import install_packages, lighthouse

SITE = Path("_build/html")
OUT = Path("_build/audit")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description="Measure the site against its goals.")
    parser.add_argument("pages", nargs="*", help="such as book/intro.html; all of them if none is named")
    parser.add_argument("--no-lighthouse", action="store_true", help="leave out what takes longest")
    args = parser.parse_args(arguments)
    pages = args.pages or pages_of(SITE)
    missing = [page for page in pages if not (SITE / page).is_file()]
    if missing or not pages:
        parser.error(f"{SITE} has no page {' '.join(missing)}: say make book, and name pages like book/intro.html")
    program, modules = find_browser(), install_packages(OUT)

    with serve(SITE) as address:
        axe = (modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
        with open_browser(program) as browser:
            visits = [visit(browser, address, SITE.resolve(), page, axe) for page in tqdm(pages, "visits", leave=False)]
        results = goals.of_visits(visits)
        if not args.no_lighthouse:
            every = tqdm(pages, "Lighthouse", leave=False)
            results += goals.of_lighthouse({page: lighthouse(f"{address}/{page}", modules, program) for page in every})
    results.append(goals.none_of("broken internal links and anchors", list(broken_links(SITE))))

    print(goals.format_table(results))
    for result in results:
        if result.details:
            print(f"\n{result.what}:", *result.details, sep="\n")
    return 0 if all(result.met for result in results) else 1


def pages_of(site: Path) -> list[str]:
    """Every page but the one that only sends the reader on."""
    found = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    stays = [path for path in found if 'http-equiv="Refresh"' not in path.read_text(encoding="utf-8")]
    return [path.relative_to(site).as_posix() for path in stays]


if __name__ == "__main__":
    sys.exit(main())
