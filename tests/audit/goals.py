"""The goals of the site, and whether what was measured meets them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .browse import Visit
from .lighthouse import Marks


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    what: str
    goal: str
    measured: str
    met: bool
    details: list[str] = field(default_factory=list)


def result_of_list(what: str, goal: str, problems: Sequence[str]) -> Result:
    """A goal that is met if nothing was found."""
    return Result(what, goal, str(len(problems)), not problems, list(problems))


def of_visits(visits: Sequence[Visit]) -> list[Result]:
    def gather(name: str) -> list[str]:
        return [f"{visit.page}: {line}" for visit in visits for line in getattr(visit, name)]

    heaviest = max(visits, key=lambda visit: visit.bytes)
    folder = result_of_list("works from a folder, offline, with and without scripts", "yes", gather("folder"))
    return [
        result_of_list("requests to another host on load", "0", gather("elsewhere")),
        replace(folder, measured="yes" if folder.met else "no"),
        Result(
            "compressed bytes on first load of the heaviest page",
            "≤ 600 kB",
            f"{heaviest.bytes / 1000:.0f} kB ({heaviest.page})",
            heaviest.bytes <= 600_000,
            [f"{visit.page}: {visit.bytes / 1000:.0f} kB" for visit in visits],
        ),
        result_of_list("axe-core violations, light and dark, 360 and 1440 px", "0", gather("accessibility")),
        result_of_list("text cut off or sideways, boxes no key reaches", "0", gather("layout")),
        result_of_list("errors and warnings on the console", "0", gather("errors")),
    ]


LIGHTHOUSE_GOALS = {"performance": 95, "accessibility": 100, "best-practices": 100, "seo": 100}


def of_lighthouse(marks: dict[str, Marks]) -> list[Result]:
    """The lowest mark of all pages, category by category."""
    results = []
    for category, goal in LIGHTHOUSE_GOALS.items():
        lowest = min(mark[category] for mark, _ in marks.values())
        below = [page for page, (mark, _) in marks.items() if mark[category] < goal]
        details = [
            f"{page}: {marks[page][0][category]}, {line.partition(': ')[2]}"
            for page in below
            for line in marks[page][1] or ["all: nothing of weight"]
            if line.startswith((category, "all"))
        ]
        results.append(Result(f"Lighthouse, mobile: {category}", f"≥ {goal}", str(lowest), not below, details))
    return results


def of_build(seconds: float) -> Result:
    return Result("time to build the book", "≤ 60 s", f"{seconds:.0f} s", seconds <= 60)


def format_table(results: Sequence[Result]) -> str:
    """A Markdown table."""
    rows = [("what, on every page", "goal", "measured", "met")]
    rows += [(result.what, result.goal, result.measured, "yes" if result.met else "NO") for result in results]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    cells.insert(1, ["-" * width for width in widths])
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join(lines)
