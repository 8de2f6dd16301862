"""The goals of the site, and whether what was measured meets them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from .browse import Visit
from .tools import Marks

MOST_BYTES = 250_000  # compressed, on the first load of a page
LIGHTHOUSE_GOALS = {"performance": 95, "accessibility": 100, "best-practices": 100, "seo": 100}
# What https://web.dev/articles/vitals calls good, and where it stands among a page's marks.
VITALS = [("largest contentful paint", 2.5, " s", 2), ("cumulative layout shift", 0.1, "", 3)]
NOTHING = {  # of which every page should have none
    "elsewhere": "requests to another host on load",
    "folder": "what fails from a folder, offline, with and without scripts",
    "accessibility": "axe-core violations, light and dark, 360 and 1440 px",
    "layout": "text cut off or sideways, boxes no key reaches",
    "errors": "errors and warnings on the console",
}


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    what: str
    goal: str
    measured: str
    met: bool
    details: list[str] = field(default_factory=list)


def none_of(what: str, problems: list[str]) -> Result:
    """A goal that is met if nothing was found."""
    return Result(what, "0", str(len(problems)), not problems, problems)


def of_visits(visits: Sequence[Visit]) -> list[Result]:
    results = [
        none_of(what, [f"{visit.page}: {line}" for visit in visits for line in getattr(visit, name)])
        for name, what in NOTHING.items()
    ]
    heaviest = max(visits, key=lambda visit: visit.bytes)
    measured = f"{heaviest.bytes / 1000:.0f} kB ({heaviest.page})"
    what = "compressed bytes on first load of the heaviest page"
    return [*results, Result(what, f"≤ {MOST_BYTES // 1000} kB", measured, heaviest.bytes <= MOST_BYTES)]


def of_lighthouse(marks: dict[str, Marks]) -> list[Result]:
    """The lowest mark of all pages, category by category, the latest paint and the largest shift."""
    results = []
    for category, goal in LIGHTHOUSE_GOALS.items():
        below = {page: lost for page, (mark, lost, *_) in marks.items() if mark[category] < goal}
        lowest = min(mark[category] for mark, *_ in marks.values())
        details = [f"{page}: {line}" for page, lost in below.items() for line in lost if line.startswith(category)]
        results.append(Result(f"Lighthouse, mobile: {category}", f"≥ {goal}", str(lowest), not below, details))
    for what, goal, unit, place in VITALS:
        worst, page = max((mark[place], page) for page, mark in marks.items())
        measured = f"{worst:.2f}{unit} ({page})"
        results.append(Result(f"{what}, mobile", f"≤ {goal}{unit}", measured, worst <= goal))
    return results


def format_table(results: Sequence[Result]) -> str:
    """A Markdown table."""
    rows = [("what, on every page", "goal", "measured", "met"), ("---",) * 4]
    rows += [(result.what, result.goal, result.measured, "yes" if result.met else "NO") for result in results]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
