"""The report on a folder of records is true of them, mixes nothing, and trusts nothing that a record says."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from html_pages import Page

from resnet_lib import report
from resnet_lib.recipes import PAPER_CIFAR10, Recipe, paper_grid
from resnet_lib.records import Record, format_table, save_record
from resnet_lib.report import compare, describe, describe_recipe, finding, make_report, origin, plain_text

ENVIRONMENT = {"device": "cpu", "device_name": "Some Processor", "cores": 2, "torch": "2.6.0", "resnet_lib": "0.1.0"}
ENVIRONMENT |= {"commit": "0123abc", "date": "2026-11-22"}


def run(train_error=1.0, test_error=2.0, best=1.5, environment=ENVIRONMENT, **settings) -> Record:
    recipe = Recipe(**{"epochs": 2, **settings})
    curves = {"train_error": [50.0] * recipe.epochs, "test_error": [best] * (recipe.epochs - 1) + [test_error]}
    best = min(curves["test_error"])
    return Record(recipe, train_error, test_error, best, None, 0.1, curves, 1.0, 1.0, environment)


def runs_of(errors: dict[tuple[str, int], list[float]]) -> list[Record]:
    """One run for each training error, {(shortcut, depth): errors}, with seeds 0, 1, …; its test error says nothing."""
    return [
        run(error, 50.0, shortcut=shortcut, depth=depth, seed=seed)
        for (shortcut, depth), of_seeds in errors.items()
        for seed, error in enumerate(of_seeds)
    ]


def saved(records: list[Record], folder: Path) -> Path:
    for record in records:
        save_record(record, folder)
    return folder


# Training errors 1, 2, 6 have the mean 3 and the sample's standard deviation √((4+1+9)/2) = 2.6458.
THREE_SEEDS = [
    run(1.0, 10.0, 9.0, shortcut="none", depth=8, seed=0),
    run(2.0, 12.0, 9.0, shortcut="none", depth=8, seed=1),
    run(6.0, 14.0, 9.0, shortcut="none", depth=8, seed=2),
    run(0.5, 4.0, 3.5, shortcut="A", depth=20),
]
TABLE = [
    ["network", "depth", "n", "training error %", "test error %"],
    ["plain", "8", "3", "3.00 ± 2.65", "12.00 ± 2.00"],
    ["residual, A", "20", "1", "0.50", "4.00"],
]


# The table, and what may stand in it


def test_the_text_report_has_finding_settings_aligned_final_errors_and_origin(tmp_path):
    text = make_report(saved(THREE_SEEDS, tmp_path))
    lines = text.splitlines()
    assert lines[:2] == [finding(THREE_SEEDS), describe_recipe(Recipe(epochs=2))]
    assert [re.split("  +", line) for line in lines[3:6]] == TABLE
    assert len({len(line) for line in lines[3:6]}) == 1
    assert all(f"\n{name}: {value}" in text for name, value in origin(THREE_SEEDS).items())


def test_the_papers_errors_stand_beside_option_a_of_its_own_recipe_only():
    recipes = [*paper_grid(1, precision="bfloat16"), replace(PAPER_CIFAR10, shortcut="B", precision="bfloat16", seed=3)]
    ((shared, records),) = compare(replace(run(), recipe=recipe) for recipe in recipes).items()
    heading, *lines = describe(shared, records)["cells"]
    assert "paper" in heading[5]
    assert {(line[0], int(line[1])): line[5] for line in lines if line[5] != "–"} == {
        ("residual, A", 20): "8.75",
        ("residual, A", 32): "7.51",
        ("residual, A", 44): "7.17",
        ("residual, A", 56): "6.97",
        ("residual, A", 110): "6.43 (6.61 ± 0.16)",
    }


CHANGES = [
    *[{"dataset": "cifar10-jpg-0123abcd"}, {"width": 8}, {"epochs": 10}, {"batch_size": 64}, {"lr": 0.02}],
    *[{"momentum": 0.8}, {"weight_decay": 0.0}, {"schedule": "one-cycle"}, {"augment": False}, {"images": 20000}],
    *[{"held_out": 0}, {"warm_up": True}, {"depth": 110}],  # the last without its warm-up
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_departure_takes_the_papers_errors_away_is_named_and_is_never_averaged_with_others(tmp_path, change):
    like, other = ([replace(PAPER_CIFAR10, seed=seed, **of) for seed in (0, 1)] for of in ({}, change))
    records = [
        replace(run(error, epochs=recipe.epochs), recipe=recipe)
        for recipes, error in ((like, 0.0), (other, 9.0))
        for recipe in recipes
    ]
    comparisons = compare(records)
    assert sorted(describe(*comparison)["cells"][1][3] for comparison in comparisons.items()) == [
        "0.00 ± 0.00",
        "9.00 ± 0.00",
    ]
    text = make_report(saved(records[2:], tmp_path))
    assert "paper's test error" not in text and "Table 6" not in text
    (name,) = change
    assert f"in {'warm_up' if name == 'depth' else name}." in text
    assert len(set(map(describe_recipe, comparisons))) == 2, "the settings tell them apart"


# The finding


@pytest.mark.parametrize(
    ("errors", "sentence"),
    [
        (
            {("none", 8): [1, 2], ("none", 56): [60, 61], ("A", 8): [1, 1], ("A", 56): [0, 1]},
            "56 plain layers train worse than 8; 56 residual layers do not",
        ),
        (
            {("none", 8): [0, 0], ("none", 56): [60, 61], ("A", 8): [0, 0], ("A", 56): [0.3, 0.5]},
            "56 layers train worse than 8: plain by 60.5 points, residual by 0.4 points",
        ),
        # Runs that overlap, a residual mean that is higher but not clearly:
        ({("none", 8): [1, 6], ("none", 20): [5, 9]}, "Training error at 8 and 20 layers: plain 3.5 and 7.0 %"),
        (
            {("none", 8): [1, 1], ("none", 20): [9, 9], ("A", 8): [1, 3], ("A", 20): [2, 4]},
            "Training error at 8 and 20 layers: plain 1.0 and 9.0 %, residual 2.0 and 3.0 %",
        ),
        # Networks that have learned nothing:
        ({("none", 8): [89, 89], ("none", 56): [90, 90]}, "Training error at 8 and 56 layers: plain 89.0 and 90.0 %"),
        # One run proves nothing:
        (
            {("none", 8): [1], ("none", 20): [9, 9], ("A", 8): [1, 1], ("A", 20): [1, 1]},
            "Training error at 8 and 20 layers: plain 1.0 and 9.0 %, residual 1.0 and 1.0 %",
        ),
        # Depths that only one kind has are not compared:
        (
            {("none", 8): [1, 1], ("none", 20): [9, 9], ("A", 8): [1, 1], ("A", 20): [1, 1], ("A", 110): [50, 50]},
            "20 plain layers train worse than 8; 20 residual layers do not",
        ),
        ({("none", 56): [60], ("A", 56): [0.25]}, "Training error: plain-56 60.0 %, residual-56 0.2 %"),
        (
            {("none", 8): [1, 1], ("none", 20): [9, 9], ("A", 8): [1, 1], ("A", 20): [1, 1], ("B", 8): [1, 1]}
            | {("B", 20): [3, 3]},
            "Training error at 8 and 20 layers: "
            "plain 1.0 and 9.0 %, residual A 1.0 and 1.0 %, residual B 1.0 and 3.0 %",
        ),
    ],
)
def test_the_finding_is_true_of_the_runs(errors, sentence):
    assert finding(runs_of(errors)) == sentence


def test_every_machine_version_and_date_is_stated_with_its_number_of_runs():
    other = {**ENVIRONMENT, "device": "cuda", "device_name": "Some GPU", "date": "2026-11-23"}
    facts = origin([run(seed=0), run(seed=1), run(seed=2, environment=other), run(seed=3, environment={})])
    assert facts["hardware"].split("; ") == [
        "Some Processor, 2 cores (2 of 4 runs)",
        "Some GPU (1 of 4 runs)",
        "not recorded (1 of 4 runs)",
    ]
    assert "2026-11-22 (2 of 4 runs); 2026-11-23 (1 of 4 runs)" in facts["date"]
    alike = {"hardware": "Some Processor, 2 cores", "PyTorch": "2.6.0", "resnet_lib": "0.1.0", "commit": "0123abc"}
    assert origin([run(seed=0), run(seed=1)]) == {"runs": "2", **alike, "date": "2026-11-22"}


# Files that can't be used, and reports that can't be made


def changed(path: Path, **changes) -> None:
    """A record with entries changed; those of the recipe are named recipe_…"""
    data = {"format": "resnet_lib record 2", **asdict(run(seed=9))}
    recipe = {key.removeprefix("recipe_"): changes.pop(key) for key in list(changes) if key.startswith("recipe_")}
    path.write_text(json.dumps({**data, **changes, "recipe": {**data["recipe"], **recipe}}), encoding="utf-8")


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "nested without end": lambda path: path.write_text("[" * 200_000, encoding="utf-8"),
    "a folder": lambda path: path.mkdir(),
    "no curves": lambda path: changed(path, curves={}),
    "the same run again": lambda path: shutil.copy(path.parent / THREE_SEEDS[0].recipe.file_name, path),
}
if hasattr(os, "mkfifo"):
    UNUSABLE["a pipe"] = lambda path: os.mkfifo(path)


@pytest.mark.parametrize("spoil", UNUSABLE.values(), ids=UNUSABLE)
def test_a_file_that_cannot_be_used_is_named_with_the_reason_and_the_rest_is_reported(tmp_path, spoil):
    whole = make_report(saved(THREE_SEEDS, tmp_path))
    spoil(tmp_path / "x.json")
    listed = make_report(tmp_path).removeprefix(whole).splitlines()
    assert listed[:-1] == ["", "", "", "Files not used"]
    name, _, reason = listed[-1].partition(": ")
    assert name == "  x.json" and len(reason) > 10 and str(tmp_path) not in reason


def test_with_out_the_page_is_written_and_files_not_used_are_printed(tmp_path):
    folder, out = saved(THREE_SEEDS, tmp_path / "runs"), tmp_path / "new" / "report.HTML"
    (folder / "bad.json").write_text("{", encoding="utf-8")
    first, *rest = make_report(folder, out).splitlines()
    assert first.startswith("4 runs ") and str(folder) in first and str(out) in first
    assert rest[0] == "Files not used" and rest[1].startswith("  bad.json: ")
    assert Page(out.read_text(encoding="utf-8")).sections["Files not used"]["li"] == [rest[1].strip()]


REFUSED = {
    "no folder": ("nowhere", None, "nowhere"),
    "no record": ("empty", None, "empty holds no record"),
    "broken files alone": ("broken", None, "broken holds no record of a run (*.json); a.json: "),
    "another ending": ("nowhere", "report.png", "ends in .html, got"),
    "an out that is a folder": ("runs", "x.html", "x.html"),
}


@pytest.mark.parametrize(("folder", "out", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_reported_is_refused_in_one_sentence(tmp_path, folder, out, words):
    for name in ("empty", "broken", "x.html"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken" / "a.json").write_text("{}", encoding="utf-8")
    saved(THREE_SEEDS, tmp_path / "runs")
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ValueError) as caught:
        make_report(tmp_path / folder, out and tmp_path / out)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert set(tmp_path.rglob("*")) == before, "nothing is written"


# The page


def page_of(folder: Path) -> Page:
    out = folder / "page.html"
    make_report(folder, out)
    return Page(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    return page_of(saved(THREE_SEEDS, tmp_path_factory.mktemp("report")))


def test_the_page_holds_the_finding_the_table_with_scopes_and_the_origin(page):
    page.check_that_it_needs_nothing_but_itself()
    section = page.sections[finding(THREE_SEEDS)]
    assert section["tr"] == [[cell.replace(" %", "\u00a0%") for cell in line] for line in TABLE]
    assert [cell["scope"] for cell in page.all("th")] == ["col"] * 5 + ["row"] * 2
    assert dict(zip(section["dt"], section["dd"], strict=True)) == origin(THREE_SEEDS)
    assert section["p"][0] == describe_recipe(Recipe(epochs=2))


def test_the_page_has_a_wide_and_a_narrow_picture_for_light_and_dark_and_one_text_instead(page):
    assert [source["media"] for source in page.all("source")] == ["(max-width: 40em)"]
    narrow, wide = page.pictures()
    for picture in (narrow, wide):
        assert picture.count("currentColor") > 9, "its ink, which the mode decides"
        assert [picture.count(ink) for ink in ("#1a1a1a", "#e6e6e6")] == [1, 1]
    widths = [re.search(r'width="([\d.]+)pt"', picture)[1] for picture in (narrow, wide)]
    assert widths == ["244.8", "489.6"], "326 pixels fit a screen of 360, 653 a page"
    (image,) = page.all("img")
    assert "plain, 8 layers: 3.00 ± 2.65 and 12.00 ± 2.00; residual, A, 20 layers: 0.50 and 4.00." in image["alt"]


def test_of_many_comparisons_the_first_are_drawn_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "MOST_DRAWN", 1)
    page = page_of(saved([run(0.0, width=2), run(1.0, width=4), run(2.0, width=6)], tmp_path))
    assert [len(section.get("tr", "")) for section in page.sections.values()] == [2, 0, 2, 2]
    assert len(page.all("img")) == 1 and "more than 1 are not drawn" in list(page.sections)[1]


def test_the_same_records_make_the_same_page_whatever_style_the_user_has(tmp_path):
    folder, files = saved(THREE_SEEDS, tmp_path), [tmp_path / f"{name}.html" for name in ("one", "two")]
    make_report(folder, files[0])
    with plt.rc_context({"text.usetex": True, "savefig.dpi": 20, "axes.grid": True, "lines.marker": "x"}):
        make_report(folder, files[1])
    assert files[0].read_bytes() == files[1].read_bytes()


HOSTILE = '<script>alert("$x_{")</script><img src="https://example.org/x">\x1b[31m\u202e\ud800漢字'


def test_what_records_and_file_names_say_is_shown_as_harmless_text(tmp_path):
    odd = {"device": "cpu", "device_name": [HOSTILE], "torch": {"a": HOSTILE}, "commit": "$\\frac{$"}
    for seed, environment in enumerate([dict.fromkeys(ENVIRONMENT, HOSTILE), odd]):
        changed(tmp_path / f"{seed}.json", recipe_dataset=HOSTILE, recipe_seed=seed, environment=environment)
    if sys.platform != "win32":  # where a name can't hold these
        (tmp_path / "<b onclick=x>\n.json").write_text('{"format": "<i>"}', encoding="utf-8")
    text = make_report(tmp_path)
    assert all(character.isprintable() or character == "\n" for character in text) and "$x_{" in text
    page = page_of(tmp_path)
    page.check_that_it_needs_nothing_but_itself()
    assert plain_text(HOSTILE) in page.text and plain_text(HOSTILE).startswith(
        '<script>alert("$x_{")</script><img src='
    )


# Runs that diverged


def test_runs_that_diverged_are_counted_and_no_mean_headline_or_picture_takes_them(tmp_path, monkeypatch):
    of = {("none", 8): [1, 2, 3], ("none", 56): [60, 61, 90], ("A", 8): [1, 1], ("A", 56): [90, 90]}
    records = [replace(run, train_loss=None) if run.train_error == 90 else run for run in runs_of(of)]
    assert finding(records) == "Training error: plain-56 60.5 %, residual-8 1.0 %"
    told = [line.endswith("1 of 3 runs diverged") for line in format_table(records).splitlines()]
    assert told == [False, False, True, False, False]
    ((shared, together),) = compare(records).items()
    cells = describe(shared, together)["cells"]
    assert [line[2:4] for line in cells[1:]] == [
        ["3", "2.00 ± 1.00"],
        ["2 of 3", "60.50 ± 0.71"],
        ["2", "1.00 ± 0.00"],
        ["0 of 2", "–"],
    ]
    drawn = []
    monkeypatch.setattr(report, "draw_training", lambda figure, records, stacked=False: drawn.extend(records))
    page = page_of(saved(records, tmp_path / "some"))
    assert len(drawn) == 2 * 7 and not any(record.diverged for record in drawn)
    assert "diverged" in " ".join(page.sections[finding(records)]["p"])


def test_where_every_run_diverged_the_report_says_so(tmp_path):
    folder = saved([replace(run(seed=seed), train_loss=None) for seed in (0, 1)], tmp_path)
    assert "Every run diverged" in make_report(folder) and "Every run diverged" in page_of(folder).text
