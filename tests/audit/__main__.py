"""``python -m tests.audit``: build the book, measure the site, print one table; exit code 1 if a goal is missed.

Lighthouse's mark for performance, and the time of the build, depend on what else the machine does meanwhile.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from . import goals
from .browse import Visit, open_browser, visit
from .lighthouse import Marks, marks
from .links import broken_links
from .server import serve
from .tools import CannotMeasureError, find_browser, install_packages

SITE = Path("_build/html")
OUT = Path("_build/audit")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description="Measure the site against its goals.")
    parser.add_argument("pages", nargs="*", help="such as book/intro.html; all of them if none is named")
    parser.add_argument("--built", action="store_true", help=f"take {SITE} as it is")
    parser.add_argument("--no-lighthouse", action="store_true", help="leave out what takes longest")
    args = parser.parse_args(arguments)
    try:
        browser, modules = find_browser(), install_packages(OUT)
        results = [] if args.built else [goals.of_build(build())]
        pages = args.pages or pages_of(SITE)
        check_pages(pages)
    except CannotMeasureError as problem:
        print(f"make audit: {problem}.", file=sys.stderr)
        return 2

    with serve(SITE) as address:
        results += goals.of_visits(visit_all(pages, address, browser, modules))
        if not args.no_lighthouse:
            results += goals.of_lighthouse(mark_all(pages, address, browser, modules))
    results.append(goals.result_of_list("broken internal links and anchors", "0", list(broken_links(SITE))))

    print(goals.format_table(results))
    report = OUT / "audit.json"
    text = json.dumps([dataclasses.asdict(result) for result in results], indent=1, ensure_ascii=False)
    report.write_text(text + "\n", encoding="utf-8")
    print(f"\nEvery finding is in {report.as_posix()}.")
    return 0 if all(result.met for result in results) else 1


def build() -> float:
    """Build the book anew, and return the seconds."""
    start = time.perf_counter()
    program = str(Path(sys.executable).with_name("jupyter-book"))
    command = [program, "build", ".", "--all", "-W", "-n", "--keep-going"]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
        raise CannotMeasureError("The book does not build: see the words above, and say make book")
    return time.perf_counter() - start


def pages_of(site: Path) -> list[str]:
    """Every page but the one that only sends the reader on."""
    found = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    stays = [path for path in found if 'http-equiv="Refresh"' not in path.read_text(encoding="utf-8")]
    return [path.relative_to(site).as_posix() for path in stays]


def check_pages(pages: Sequence[str]) -> None:
    if not pages:
        raise CannotMeasureError(f"There is no page in {SITE}: say make book first")
    for page in pages:
        if not (SITE / page).is_file():
            raise CannotMeasureError(f"There is no page {page} in {SITE}: name one such as book/intro.html")


def visit_all(pages: Sequence[str], address: str, program: str, modules: Path) -> list[Visit]:
    axe = (modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    with open_browser(program) as browser:
        return [visit(browser, address, SITE.resolve(), page, axe) for page in tqdm(pages, desc="visits", leave=False)]


def mark_all(pages: Sequence[str], address: str, program: str, modules: Path) -> dict[str, Marks]:
    return {page: marks(f"{address}/{page}", modules, program) for page in tqdm(pages, desc="Lighthouse", leave=False)}


if __name__ == "__main__":
    sys.exit(main())
