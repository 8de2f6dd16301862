"""The report on a folder of records: the finding, the table beside the paper's figures, the curves, who measured.

It is text for a terminal, a picture, or one HTML page that needs nothing but itself.

Sources
-------
He et al. 2016: table 6 for the test errors on CIFAR-10, figure 6 for the manner of the curves.
"""

import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from resnet_lib.comparisons import Comparison, compare, departures, describe_recipe, finding, gather_records, origin
from resnet_lib.figures import add_title, draw_training, style
from resnet_lib.files import write_whole
from resnet_lib.pages import (
    align,
    draw_svg,
    format_cells,
    format_error,
    format_facts,
    format_list,
    format_page,
    format_paragraph,
    format_picture,
    format_section,
    save_figure,
)
from resnet_lib.records import Record, summarize

# He et al. 2016, table 6: test error in percent, with option A. Of five runs of ResNet-110 the paper gives the best,
# and their mean and standard deviation.
PAPER_TEST_ERRORS = {20: "8.75", 32: "7.51", 44: "7.17", 56: "6.97", 110: "6.43 (6.61 ± 0.16)"}
MOST_IN_PICTURE = 20  # comparisons; of more a PNG would be taller than many programs open


def make_report(folder: Path, out: Path | None = None) -> str:
    """Report on the records in a folder.

    Args:
        folder: where the records lie, as `run_grid` leaves them. A JSON file that can't be used is named in the
            report, with the reason.
        out: a file for the report, as text (.txt), curves (.png) or a page (.html).

    Returns:
        What to print: the report as text, or with ``out`` what was written and which files were not used.

    Raises:
        ValueError: no such folder, no record in it, or an ``out`` that can't be.
        OSError: the report can't be written.
    """
    writers: dict[str, Callable[[list[Comparison], dict[str, str]], bytes]] = {
        ".txt": lambda *content: f"{format_text(*content)}\n".encode(),
        ".png": lambda comparisons, unusable: draw_png(comparisons),
        ".html": lambda *content: format_html(*content).encode(),
    }
    if out is not None and (out.suffix.lower() not in writers or out.is_dir()):
        raise ValueError(f"out must be a file that ends in .txt, .png or .html, got {out}")
    records, unusable = gather_records(folder)
    comparisons = compare(records)
    if out is None:
        return format_text(comparisons, unusable)
    write_whole(out, writers[out.suffix.lower()](comparisons, unusable))
    runs = "1 run" if len(records) == 1 else f"{len(records)} runs"
    return "\n".join([f"{runs} of {folder} reported in {out}", *_list_unusable(unusable)])


# What stands in every form of the report


def table(comparison: Comparison) -> list[list[str]]:
    """The cells, a line of headings first: errors in percent, the paper's where the runs are like the paper's.

    The last column is the lowest test error of all epochs, which flatters.
    """
    best = [replace(record, test_error=record.best_test_error) for record in comparison.records]
    lines = [["network", "depth", "n", "training error %", "test error %", "paper's test error %", "best test error %"]]
    for row, best_row in zip(summarize(comparison.records), summarize(best), strict=True):
        paper = PAPER_TEST_ERRORS.get(row.depth, "–") if row.shortcut == "A" else "–"
        train, test = format_error(row.train_error, row.train_std), format_error(row.test_error, row.test_std)
        best_test = format_error(best_row.test_error, best_row.test_std)
        network = "plain" if row.shortcut == "none" else f"residual, {row.shortcut}"
        lines.append([network, str(row.depth), str(row.n), train, test, paper, best_test])
    return [line[:5] + line[6:] for line in lines] if departures(comparison) else lines


def notes(comparison: Comparison) -> list[str]:
    """How the errors in the table were come by, and what is or is not beside them."""
    measured = "Errors of the network after its last epoch: mean ± standard deviation over n seeds."
    departing = ", ".join(departures(comparison))
    paper = "The paper's: He et al. 2016, Table 6; of 110 layers the best of 5 runs (their mean ± deviation)."
    left_out = f"The paper's figures are left out: the runs depart from its recipe in {departing}."
    return [measured, left_out if departing else paper]


def _list_unusable(unusable: dict[str, str]) -> list[str]:
    if not unusable:
        return []
    return ["Not used:", *(f"  {name}: {reason}" for name, reason in unusable.items())]


# Text


def format_text(comparisons: list[Comparison], unusable: dict[str, str]) -> str:
    """The report for a terminal: a table a comparison, without curves."""
    parts = []
    for comparison in comparisons:
        cells = [line[:-1] for line in table(comparison)]
        below = [f"{name}: {value}" for name, value in origin(comparison.records).items()]
        above = [finding(comparison.records), describe_recipe(comparison.recipe)]
        parts.append("\n".join([*above, "", *align(cells), "", *notes(comparison), *below]))
    if unusable:
        parts.append("\n".join(_list_unusable(unusable)))
    return "\n\n\n".join(parts)


# Pictures


def draw_png(comparisons: list[Comparison]) -> bytes:
    """The curves of all comparisons, one below the other, each with its finding, settings and origin.

    Raises:
        ValueError: more comparisons than a picture holds.
    """
    if len(comparisons) > MOST_IN_PICTURE:
        raise ValueError(
            f"a .png holds at most {MOST_IN_PICTURE} comparisons, got {len(comparisons)}: write the report as .html"
        )
    with plt.rc_context(style()):
        figure = Figure(figsize=(6.8, 4.8 * len(comparisons)))
        parts = figure.subfigures(2 * len(comparisons), height_ratios=[9, 1] * len(comparisons))
        for comparison, part, below in zip(comparisons, parts[::2], parts[1::2], strict=True):
            draw_training(part, comparison.records)
            add_title(part, finding(comparison.records))
            facts = origin(comparison.records)
            measured = "; ".join(f"{name}: {facts[name]}" for name in ("runs", "hardware", "PyTorch", "date"))
            lines = [textwrap.fill(line, 110) for line in (describe_recipe(comparison.recipe), measured)]
            below.text(0.015, 1, "\n".join(lines), va="top", fontsize=8, parse_math=False)
        return save_figure(figure, "png", dpi=150)


def _draw_svg(records: list[Record], narrow: bool) -> str:
    """The curves; ``narrow`` is for a screen of a phone's width."""
    panels = len({record.recipe.shortcut == "none" for record in records})
    size = (3.4, 1.2 + 2.4 * panels) if narrow else (6.8, 3.8)
    return draw_svg(lambda figure: draw_training(figure, records, stacked=narrow), size)


# The page


def format_html(comparisons: list[Comparison], unusable: dict[str, str]) -> str:
    """The report as one page, light or dark as its reader's system, for screens from 360 pixels on."""
    runs = sum(len(comparison.records) for comparison in comparisons)
    heading = f"Report on {runs} run{'s' if runs > 1 else ''}"
    parts = [_format_comparison(comparison) for comparison in comparisons]
    if unusable:
        items = format_list(f"{name}: {reason}" for name, reason in unusable.items())
        parts.append(format_section("Files that are not used", items))
    return format_page(heading, "\n".join(parts))


def _format_comparison(comparison: Comparison) -> str:
    below = [
        *notes(comparison),
        "The best test error is the lowest of all epochs. The test images themselves choose it, so it flatters.",
        "The curves' training error is taken over the batches as they are trained on, the table's afterwards.",
    ]
    return format_section(
        finding(comparison.records),
        format_paragraph(describe_recipe(comparison.recipe)),
        _format_picture(comparison),
        format_cells(table(comparison), "Table of errors"),
        "".join(map(format_paragraph, below)),
        format_facts(origin(comparison.records)),
    )


def _format_picture(comparison: Comparison) -> str:
    wide, narrow = _draw_svg(comparison.records, narrow=False), _draw_svg(comparison.records, narrow=True)
    ends = [f"{line[0]}, {line[1]} layers: {line[3]} and {line[4]}" for line in table(comparison)[1:]]
    alt = (
        f"Curves of training error (dashed) and test error (bold) by epoch, up to epoch {comparison.recipe.epochs}. "
        f"Final training and test error in percent: {'; '.join(ends)}."
    )
    return format_picture(wide, narrow, alt)
