"""How a ratio is measured: both sides in turn, again and again, and the median over the pairs.

A machine that slows down for a while slows both halves of a pair, so the ratio of a pair is steadier than the ratio
of two figures taken minutes apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

FORMAT = "resnet_lib benchmarks 1"

# Does its work once and returns a figure: images per second, milliseconds or MiB.
Side = Callable[[], float]


class Goal(NamedTuple):
    """What the median ratio should be: ``sign`` is "≥" or "≤"."""

    sign: str
    value: float

    def reached(self, ratio: float) -> bool:
        return ratio >= self.value if self.sign == "≥" else ratio <= self.value


@dataclass(frozen=True)
class Row:
    """One ratio to measure."""

    name: str  # for the command line
    title: str  # ours / theirs, in words
    unit: str  # of both sides' figures
    goal: Goal
    prepare: Callable[[int], tuple[Side, Side]]  # the amount of work → ours, theirs
    work: int  # steps that a side does each time
    missing: str = ""  # what this machine lacks for it


@dataclass(frozen=True)
class Result:
    """The figures of one row, pair by pair; without pairs it says why it was not measured."""

    row: Row
    pairs: list[tuple[float, float]] = field(default_factory=list)  # ours, theirs
    not_measured: str = ""

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in self.pairs]

    @property
    def verdict(self) -> str:
        """Whether the median reaches the goal; where it doesn't, but single pairs do, that is within the noise."""
        if self.row.goal.reached(median(self.ratios)):
            return "yes"
        return "within the noise" if any(map(self.row.goal.reached, self.ratios)) else "no"


def interleave(ours: Side, theirs: Side, pairs: int) -> list[tuple[float, float]]:
    """Both sides' figures, taken in turn: ours, theirs, ours, theirs, …

    Each side runs once before, uncounted: what is started, compiled, captured or allocated once is then done.
    """
    ours(), theirs()
    return [(ours(), theirs()) for _ in range(pairs)]


def format_table(results: Sequence[Result]) -> str:
    """The results as a Markdown table; both sides' figures are medians over the pairs."""
    lines = ["| ratio | goal | median | min–max | ours | theirs | reached |", "|---|---|---|---|---|---|---|"]
    for result in results:
        row, ratios = result.row, result.ratios
        cells = [f"not measured: {result.not_measured}", "", "", "", ""]
        if ratios:
            ours, theirs = (f"{median(side):,.0f} {row.unit}" for side in zip(*result.pairs, strict=True))
            spread = f"{min(ratios):.3f}–{max(ratios):.3f}"
            cells = [f"{median(ratios):.3f}", spread, ours, theirs, result.verdict]
        lines.append(f"| {' | '.join([row.title, f'{row.goal.sign} {row.goal.value:g}', *cells])} |")
    return "\n".join(lines)


def as_json(results: Sequence[Result], environment: dict[str, Any]) -> dict[str, Any]:
    """The results with every figure, for a file."""
    return {"format": FORMAT, "environment": environment, "rows": [_row_as_json(result) for result in results]}


def _row_as_json(result: Result) -> dict[str, Any]:
    row, ratios = result.row, result.ratios
    described = {"name": row.name, "title": row.title, "unit": row.unit, "goal": row.goal._asdict()}
    if not ratios:
        return {**described, "not_measured": result.not_measured}
    ours, theirs = zip(*result.pairs, strict=True)
    summary = {"median": median(ratios), "min": min(ratios), "max": max(ratios), "reached": result.verdict}
    return {**described, **summary, "ours": ours, "theirs": theirs}
