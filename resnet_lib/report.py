"""The report on a folder of records: the finding, the table beside the paper's figures, the curves, who measured.

It is text for a terminal, or one HTML page with curves that needs nothing but itself. A record may come from anywhere:
what can't be used is named and passed over, and what it says is text of others.
Source: He et al. 2016, table 6 for the test errors on CIFAR-10, figure 6 for the manner of the curves.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2

from resnet_lib.figures import DARK_INK, LIGHT_INK, draw_pictures, draw_training
from resnet_lib.files import write_whole
from resnet_lib.recipes import PAPER_CIFAR10, Recipe, describe_recipe, plain_text
from resnet_lib.records import Record, format_error, group_runs, load_record, summarize

# Table 6: test error in percent, with option A; of ResNet-110 the best of five runs (their mean ± deviation).
PAPER_TEST_ERRORS = {20: "8.75", 32: "7.51", 44: "7.17", 56: "6.97", 110: "6.43 (6.61 ± 0.16)"}
MOST_DRAWN = 20  # comparisons; with more a page takes its time

# What a report says of some runs: a heading; and a lead, cells (a line of headings first), notes, facts {name: value},
# a picture with its alt, or items that are listed. report.html.jinja shows what is there; all of it is text.
Section = dict[str, Any]


def make_report(folder: Path, out: Path | None = None) -> str:
    """Report on the records in a folder: the text to print, or with ``out``, a file .html, what was written.

    A JSON file that can't be used is named in the report, with the reason. ValueError: no such folder, no record in it,
    or an ``out`` that can't be.
    """
    if out and (out.suffix.lower() != ".html" or out.is_dir()):
        raise ValueError(f"out must be a file that ends in .html, got {out}")
    records, unusable = gather_records(folder)
    sections = [describe(*comparison) for comparison in compare(records).items()]
    not_used = [{"heading": "Files not used", "listed": unusable}] if unusable else []
    if out is None:
        return format_text(sections + not_used)
    runs = f"{len(records)} run{'s' * (len(records) > 1)}"
    if rest := sections[MOST_DRAWN:]:
        rest.insert(0, {"heading": f"Further comparisons, without curves: more than {MOST_DRAWN} are not drawn"})
    page = format_page(f"Report on {runs}", [*map(add_curves, sections[:MOST_DRAWN]), *rest, *not_used])
    write_whole(out, page.encode())
    return "\n".join([f"{runs} of {folder} reported in {out}", *filter(None, [format_text(not_used)])])


# The runs, and what they say


def gather_records(folder: Path) -> tuple[list[Record], list[str]]:
    """The records in a folder, one for each run, and of each other JSON file its name and why it is not used."""
    if not folder.is_dir():
        raise ValueError(f"DIR must be a folder of records, got {folder}, which is none")
    used: dict[Recipe, tuple[Path, Record]] = {}
    unusable = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = load_record(path)
            first, _ = used.setdefault(record.recipe, (path, record))
            if first is not path:  # it would count as another seed
                raise ValueError(f"it is a record of the same run as {plain_text(first.name)}")
        except (ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error).removeprefix(f"{path} is not a record of a run: ")
            unusable.append(f"{plain_text(path.name)}: {plain_text(reason)}")
    if not used:
        raise ValueError("; ".join([f"{folder} holds no record of a run (*.json)", *unusable[:1]]))
    return [record for _, record in used.values()], unusable


def compare(records: Iterable[Record]) -> dict[Recipe, list[Record]]:
    """The records that may stand in one table each, by what they share: all but depth, shortcut and seed."""
    groups: dict[Recipe, list[Record]] = {}
    for record in records:
        groups.setdefault(_shared(record.recipe), []).append(record)
    return dict(sorted(groups.items(), key=lambda item: describe_recipe(item[0])))


def _shared(recipe: Recipe) -> Recipe:
    """The recipe without depth, shortcut and seed; ``warm_up`` says that one in steps has not the paper's warm-up."""
    departs = recipe.schedule == "steps" and recipe.warm_up != (recipe.depth == 110)
    return replace(recipe, depth=8, shortcut="none", seed=0, warm_up=departs)


def origin(records: Iterable[Record]) -> dict[str, str]:
    """On what the runs were measured, with what and when; where they differ, each value and its number of runs."""
    places = [record.environment for record in records]
    keys = {"hardware": "device_name", "PyTorch": "torch", **{key: key for key in ("resnet_lib", "commit", "date")}}
    values = {name: [plain_text(place.get(key) or "not recorded") for place in places] for name, key in keys.items()}
    for i, place in enumerate(places):
        if place.get("device") == "cpu":
            values["hardware"][i] += f", {plain_text(place.get('cores'))} cores"
    return {"runs": str(len(places)), **{name: tally(of_runs) for name, of_runs in values.items()}}


def tally(values: Sequence[str]) -> str:
    """The value that runs share; where they differ, each with its number of runs, the most frequent first.

    >>> tally(["red", "blue", "red"])
    'red (2 of 3 runs); blue (1 of 3 runs)'
    """
    counts = Counter(sorted(values)).most_common()
    if len(counts) == 1:
        return values[0]
    more = [f"and {len(counts) - 6:,} more"] if len(counts) > 6 else []
    return "; ".join([*(f"{value} ({count} of {len(values)} runs)" for value, count in counts[:6]), *more])


def finding(records: Iterable[Record]) -> str:
    """What the final training errors say about depth, in a sentence that is true of these runs.

    It compares the shallowest and the deepest network that plain and residual ones share. The deeper one trains worse
    if each of its runs, at least two, ends with a higher training error than each of the shallower's (the gap is then
    wider than its standard error); it does not if its mean is no higher. The shallower's mean must be below 80 %, at
    which a network has begun to learn, as the paper says in section 4.2. Else the sentence gives the means alone.
    """
    networks = group_runs(record for record in records if not record.diverged)
    if not networks:
        return "Every run diverged"
    errors = {network: [run.train_error for run in runs] for network, runs in networks.items()}
    mean = {network: statistics.mean(of_seeds) for network, of_seeds in errors.items()}
    deepest = dict(errors.keys())  # {shortcut: depth}, since group_runs gives the deepest last
    several = len({"none", *deepest}) > 2
    name = {kind: "plain" if kind == "none" else f"residual {kind}" if several else "residual" for kind in deepest}
    depths = sorted({depth for _, depth in errors if all((kind, depth) in errors for kind in deepest)})
    if len(depths) < 2:
        return "Training error: " + ", ".join(f"{name[kind]}-{d} {mean[kind, d]:.1f} %" for kind, d in deepest.items())
    low, high = depths[0], depths[-1]
    several_runs = {kind for kind in deepest if min(len(errors[kind, low]), len(errors[kind, high])) > 1}
    tested = {kind for kind in several_runs if mean[kind, low] < 80}
    worse = {kind for kind in tested if min(errors[kind, high]) > max(errors[kind, low])}
    no_worse = {kind for kind in tested if mean[kind, high] <= mean[kind, low]}
    residual = deepest.keys() - {"none"}
    if "none" in worse and residual <= no_worse:
        return f"{high} plain layers train worse than {low}{f'; {high} residual layers do not' * bool(residual)}"
    if "none" in worse and residual <= worse:
        rises = [f"{name[kind]} by {mean[kind, high] - mean[kind, low]:.1f} points" for kind in deepest]
        return f"{high} layers train worse than {low}: {', '.join(rises)}"
    ends = [f"{name[kind]} {mean[kind, low]:.1f} and {mean[kind, high]:.1f} %" for kind in deepest]
    return f"Training error at {low} and {high} layers: {', '.join(ends)}"


def describe(shared: Recipe, records: Sequence[Record]) -> Section:
    """What the report says, in both its forms, of runs that share so much: finding, settings, table, notes and origin.

    The errors in the table are in percent. The paper's stand beside those of runs that are like the paper's.
    """
    papers = vars(_shared(replace(PAPER_CIFAR10, precision=shared.precision)))  # of any precision
    departing = [name for name, value in vars(shared).items() if value != papers[name]]
    cells = [["network", "depth", "n", "training error %", "test error %", "paper's test error %"]]
    for row in summarize(records):
        errors = [format_error(row.train_error, row.train_std), format_error(row.test_error, row.test_std)]
        paper = PAPER_TEST_ERRORS.get(row.depth, "–") if row.shortcut == "A" else "–"
        count = f"{row.n} of {row.n + row.diverged}" if row.diverged else str(row.n)
        cells.append([row.network, str(row.depth), count, *errors, paper])
    beside = "The paper's: He et al. 2016, Table 6; of 110 layers the best of 5 runs (their mean ± deviation)."
    if departing:
        cells = [line[:-1] for line in cells]
        beside = f"The paper's figures are left out: the runs depart from its recipe in {', '.join(departing)}."
    notes = ["Errors of the network after its last epoch: mean ± standard deviation over n seeds.", beside]
    if any(record.diverged for record in records):
        notes.append("Where n is some of all runs, the others diverged: heading, errors and curves are without them.")
    described = {"heading": finding(records), "lead": describe_recipe(shared), "facts": origin(records)}
    return {**described, "cells": cells, "notes": notes, "records": records}


# The forms


def format_text(sections: Iterable[Section]) -> str:
    """Sections for a terminal, without pictures."""
    parts = []
    for section in sections:
        facts = [f"{name}: {value}" for name, value in section.get("facts", {}).items()]
        listed = [f"  {item}" for item in section.get("listed", [])]
        above, below = filter(None, [section["heading"], section.get("lead")]), [*section.get("notes", []), *facts]
        blocks = [[*above, *listed], align(section.get("cells", [])), below]
        parts.append("\n\n".join("\n".join(block) for block in blocks if block))
    return "\n\n\n".join(parts)


def align(cells: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table for a terminal: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in cells]


def add_curves(section: Section) -> Section:
    """The section as it stands on a page: with curves."""
    records = section["records"]
    ended = [record for record in records if not record.diverged]
    ends = "; ".join(f"{line[0]}, {line[1]} layers: {line[3]} and {line[4]}" for line in section["cells"][1:])
    panels = len({record.recipe.shortcut == "none" for record in ended})
    pictures = draw_pictures(lambda figure, stacked: draw_training(figure, ended, stacked), panels) if ended else {}
    curves = f"training error (dashed) and test error (bold) by epoch, up to epoch {records[0].recipe.epochs}"
    note = "The curves' training error is taken over the batches as they are trained on, the table's afterwards."
    return section | {
        "picture": pictures,
        "alt": f"Curves of {curves}. Final training and test error in percent: {ends}.",
        "notes": [*section["notes"], note],
    }


def format_page(heading: str, sections: Iterable[Section]) -> str:
    """A page that needs nothing but itself, light or dark as its reader's system, for screens from 360 pixels on."""
    source = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    template: jinja2.Template = jinja2.Template(source, autoescape=True, trim_blocks=True)
    return template.render(heading=heading, sections=sections, light=LIGHT_INK, dark=DARK_INK)
