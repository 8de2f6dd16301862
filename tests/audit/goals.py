"""The goals of the site, and whether what was measured meets them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from .browse import Visit
from .tools import Marks

MOST_BYTES = 250_000  # compressed, on the first load of a page
LIGHTHOUSE_GOALS = {"performance": 95, "accessibility": 100, "best-practices": 100, "seo": 100}
MOST_SHIFT = 0.1  # what https://web.dev/articles/vitals calls good
MOST_SECONDS_TO_PAINT = 2.5
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
    seconds, page = max((paint, page) for page, (*_, paint, _) in marks.items())
    goal, measured = f"≤ {MOST_SECONDS_TO_PAINT} s", f"{seconds:.1f} s ({page})"
    results.append(Result("largest contentful paint, mobile", goal, measured, seconds <= MOST_SECONDS_TO_PAINT))
    shift, page = max((shift, page) for page, (*_, shift) in marks.items())
    goal, measured = f"≤ {MOST_SHIFT}", f"{shift:.2f} ({page})"
    return [*results, Result("cumulative layout shift, mobile", goal, measured, shift <= MOST_SHIFT)]


def format_table(results: Sequence[Result]) -> str:
    """A Markdown table."""
    rows = [("what, on every page", "goal", "measured", "met"), ("---",) * 4]
    rows += [(result.what, result.goal, result.measured, "yes" if result.met else "NO") for result in results]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
