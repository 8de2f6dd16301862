"""The report on a folder of records is true of them, mixes nothing, and trusts nothing that a record says."""

import base64
import json
import os
import re
import sys
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from resnet_lib.comparisons import compare, departures, describe_recipe, finding, gather_records, origin, plain_text
from resnet_lib.recipes import PAPER_CIFAR10, Recipe, paper_grid
from resnet_lib.records import Record, save_record
from resnet_lib.report import MOST_IN_PICTURE, PAPER_TEST_ERRORS, draw_png, make_report, table

ENVIRONMENT = {
    "device": "cpu",
    "device_name": "Some Processor",
    "cores": 2,
    "torch": "2.6.0",
    "resnet_lib": "0.1.0",
    "commit": "0123abc",
    "date": "2026-11-22",
}


def run(train_error=1.0, test_error=2.0, best=None, environment=ENVIRONMENT, **settings) -> Record:
    recipe = Recipe(**{"epochs": 2, **settings})
    return Record(
        recipe=recipe,
        train_error=train_error,
        test_error=test_error,
        best_test_error=test_error if best is None else best,
        held_out_error=None,
        train_loss=0.1,
        curves={"train_error": [50.0] * recipe.epochs, "test_error": [60.0] * recipe.epochs},
        seconds=1.0,
        images_per_second=1.0,
        environment=environment,
    )


def runs_of(errors: dict[tuple[str, int], list[float]], **settings) -> list[Record]:
    """One run for each training error, {(shortcut, depth): errors}, with seeds 0, 1, …"""
    return [
        run(error, shortcut=shortcut, depth=depth, seed=seed, **settings)
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


# The table


def test_the_table_holds_mean_and_sample_deviation_of_each_network():
    (comparison,) = compare(THREE_SEEDS)
    assert table(comparison) == [
        ["network", "depth", "n", "training error %", "test error %", "best test error %"],
        ["plain", "8", "3", "3.00 ± 2.65", "12.00 ± 2.00", "9.00 ± 0.00"],
        ["residual, A", "20", "1", "0.50", "4.00", "3.50"],
    ]


def test_the_text_report_shows_the_final_errors_and_not_the_best(tmp_path):
    lines = make_report(saved(THREE_SEEDS, tmp_path)).splitlines()
    assert lines[1] == describe_recipe(Recipe(epochs=2))
    assert [re.split("  +", line) for line in lines[3:6]] == [
        ["network", "depth", "n", "training error %", "test error %"],
        ["plain", "8", "3", "3.00 ± 2.65", "12.00 ± 2.00"],
        ["residual, A", "20", "1", "0.50", "4.00"],
    ]
    assert len({len(line) for line in lines[3:6]}) == 1, "columns are aligned"


def test_the_papers_errors_stand_beside_runs_of_its_recipe_only():
    paper_runs = [replace(run(), recipe=recipe) for recipe in paper_grid(seeds=1)]
    (comparison,) = compare(paper_runs)
    heading, *lines = table(comparison)
    assert heading[5] == "paper's test error %" and departures(comparison) == []
    assert {(line[0], int(line[1])): line[5] for line in lines} == {
        **{("plain", depth): "–" for depth in (20, 32, 44, 56)},
        ("residual, A", 20): "8.75",
        ("residual, A", 32): "7.51",
        ("residual, A", 44): "7.17",
        ("residual, A", 56): "6.97",
        ("residual, A", 110): "6.43 (6.61 ± 0.16)",
    }


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"precision": "bfloat16"}, True),
        ({"seed": 3}, True),
        ({"dataset": "cifar10-jpg-0123abcd"}, False),
        ({"width": 8}, False),
        ({"epochs": 10}, False),
        ({"held_out": 0}, False),
        ({"augment": False}, False),
        ({"images": 20000}, False),
        ({"schedule": "one-cycle"}, False),
        ({"warm_up": True}, False),
        ({"depth": 110}, False),  # without its warm-up
    ],
    ids=str,
)
def test_a_departure_from_the_papers_recipe_takes_its_errors_away_and_is_named(tmp_path, change, shown):
    recipe = replace(PAPER_CIFAR10, **change)
    text = make_report(saved([replace(run(epochs=recipe.epochs), recipe=recipe)], tmp_path))
    assert ("paper's test error %" in text) == ("Table 6" in text) == shown
    if not shown:
        (name,) = change
        assert f"depart from its recipe in {'warm_up' if name == 'depth' else name}." in text


def test_options_b_and_c_are_not_beside_the_papers_figures_of_option_a():
    (comparison,) = compare([replace(run(), recipe=replace(PAPER_CIFAR10, shortcut=option)) for option in "ABC"])
    assert [line[5] for line in table(comparison)[1:]] == [PAPER_TEST_ERRORS[20], "–", "–"]


# What may stand in one table


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "others"},
        {"width": 16},
        {"epochs": 3},
        {"batch_size": 64},
        {"lr": 0.02},
        {"momentum": 0.8},
        {"weight_decay": 0.0},
        {"schedule": "steps"},
        {"augment": True},
        {"images": 1000},
        {"held_out": 100},
        {"precision": "bfloat16"},
    ],
    ids=str,
)
def test_runs_of_different_recipes_are_never_averaged(change):
    comparisons = compare([run(0.0), run(100.0, **change), run(0.0, seed=1)])
    assert sorted(len(comparison.records) for comparison in comparisons) == [1, 2]
    assert sorted(table(comparison)[1][3] for comparison in comparisons) == ["0.00 ± 0.00", "100.00"]
    assert len({describe_recipe(comparison.recipe) for comparison in comparisons}) == 2, "the settings tell them apart"


def test_depths_shortcuts_and_seeds_are_compared_with_each_other():
    records = runs_of({(shortcut, depth): [1, 2] for shortcut in ("none", "A", "B") for depth in (8, 14)})
    (comparison,) = compare(records)
    assert len(table(comparison)) == 1 + 6 and comparison.records == records


def test_the_warm_up_of_110_layers_belongs_to_the_papers_recipe_and_any_other_does_not():
    steps = {"schedule": "steps"}
    (alike,) = compare([run(**steps), run(depth=110, warm_up=True, **steps)])
    assert len(alike.records) == 2
    assert len(compare([run(**steps), run(warm_up=True, **steps)])) == 2
    assert len(compare([run(depth=110, **steps), run(depth=110, warm_up=True, **steps)])) == 2


def test_two_records_of_one_run_count_once_and_the_other_is_named(tmp_path):
    saved([run(1.0)], tmp_path)
    copy = tmp_path / "a copy.json"
    copy.write_bytes((tmp_path / run().recipe.file_name).read_bytes())
    records, unusable = gather_records(tmp_path)
    assert len(records) == 1
    assert unusable == {"a copy.json": f"it is a record of the same run as {run().recipe.file_name}"}


# The finding


@pytest.mark.parametrize(
    ("errors", "sentence"),
    [
        (
            {("none", 8): [1, 2], ("none", 56): [60, 61], ("A", 8): [1, 1], ("A", 56): [0, 1]},
            "56 plain layers train worse than 8; 56 residual layers do not",
        ),
        ({("none", 8): [1, 2], ("none", 56): [60, 61]}, "56 plain layers train worse than 8"),
        (
            {("none", 8): [0, 0], ("none", 56): [60, 61], ("A", 8): [0, 0], ("A", 56): [0.3, 0.5]},
            "56 layers train worse than 8: plain by 60.5 points, residual by 0.4 points",
        ),
        # No degradation, the reverse of it, runs that overlap, a residual mean that is higher but not clearly:
        (
            {("none", 8): [5, 7], ("none", 20): [5, 7], ("A", 8): [3, 3], ("A", 20): [2, 2]},
            "Training error at 8 and 20 layers: plain 6.0 and 6.0 %, residual 3.0 and 2.0 %",
        ),
        ({("none", 8): [9, 9], ("none", 20): [1, 1]}, "Training error at 8 and 20 layers: plain 9.0 and 1.0 %"),
        ({("none", 8): [1, 6], ("none", 20): [5, 9]}, "Training error at 8 and 20 layers: plain 3.5 and 7.0 %"),
        (
            {("none", 8): [1, 1], ("none", 20): [9, 9], ("A", 8): [1, 3], ("A", 20): [2, 4]},
            "Training error at 8 and 20 layers: plain 1.0 and 9.0 %, residual 2.0 and 3.0 %",
        ),
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
        ({("none", 8): [60], ("A", 56): [0.5]}, "Training error: plain-8 60.0 %, residual-56 0.5 %"),
        ({("A", 8): [1, 3]}, "Training error: residual-8 2.0 %"),
        (
            {("A", 8): [1], ("A", 20): [2], ("B", 8): [3], ("B", 20): [4]},
            "Training error at 8 and 20 layers: residual A 1.0 and 2.0 %, residual B 3.0 and 4.0 %",
        ),
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


def test_the_finding_is_about_the_training_error_not_the_test_error():
    records = [replace(record, test_error=float(record.recipe.depth)) for record in runs_of({("none", 8): [2, 2]})]
    records += [replace(record, test_error=90.0) for record in runs_of({("none", 20): [1, 1]})]
    assert "worse" not in finding(records)


# Where it was measured


def test_every_machine_version_and_date_is_stated_with_its_number_of_runs():
    other = {**ENVIRONMENT, "device": "cuda", "device_name": "Some GPU", "torch": "2.7.0", "date": "2026-11-23"}
    records = [run(seed=0), run(seed=1), run(seed=2, environment=other), run(seed=3, environment={})]
    facts = origin(records)
    assert facts["hardware"] == (
        "Some GPU (1 of 4 runs); Some Processor, 2 cores (2 of 4 runs); not recorded (1 of 4 runs)"
    )
    assert facts["PyTorch"] == "2.6.0 (2 of 4 runs); 2.7.0 (1 of 4 runs); not recorded (1 of 4 runs)"
    assert "2026-11-22 (2 of 4 runs); 2026-11-23 (1 of 4 runs)" in facts["date"]
    assert origin(records[:2]) == {
        "runs": "2",
        "hardware": "Some Processor, 2 cores",
        "PyTorch": "2.6.0",
        "resnet_lib": "0.1.0",
        "commit": "0123abc",
        "date": "2026-11-22",
    }


def test_the_text_report_states_all_of_it(tmp_path):
    text = make_report(saved(THREE_SEEDS, tmp_path))
    for name, value in origin(THREE_SEEDS).items():
        assert f"\n{name}: {value}" in text


# Files that can't be used


def changed(folder: Path, name: str, **changes) -> None:
    """A record under another name with entries changed; those of the recipe are named recipe_…"""
    data = {"format": "resnet_lib record 2", **asdict(run(seed=9))}
    recipe = {key.removeprefix("recipe_"): changes.pop(key) for key in list(changes) if key.startswith("recipe_")}
    data = {**data, **changes, "recipe": {**data["recipe"], **recipe}}
    (folder / name).write_text(json.dumps(data), encoding="utf-8")


UNUSABLE = {
    "empty": lambda folder: (folder / "bad.json").write_bytes(b""),
    "no text": lambda folder: (folder / "bad.json").write_bytes(b"\xff\xfe\x00"),
    "nested without end": lambda folder: (folder / "bad.json").write_text("[" * 200_000, encoding="utf-8"),
    "a folder": lambda folder: (folder / "bad.json").mkdir(),
    "a foreign document": lambda folder: (folder / "bad.json").write_text('{"a": 1}', encoding="utf-8"),
    "another format": lambda folder: changed(folder, "bad.json", format="resnet_lib record 1"),
    "an impossible error": lambda folder: changed(folder, "bad.json", test_error=101),
    "no curves": lambda folder: changed(folder, "bad.json", curves={}),
    "a short curve": lambda folder: changed(
        folder, "bad.json", curves={"train_error": [1.0, 1.0], "test_error": [1.0]}
    ),
    "a curve of words": lambda folder: changed(
        folder, "bad.json", curves={"train_error": ["a", "b"], "test_error": [1.0, 1.0]}
    ),
    "a curve beyond 100 %": lambda folder: changed(
        folder, "bad.json", curves={"train_error": [1.0, 1e9], "test_error": [1.0, 1.0]}
    ),
    "a data set that is a list": lambda folder: changed(folder, "bad.json", recipe_dataset=["digits"]),
    "a learning rate beyond all numbers": lambda folder: changed(folder, "bad.json", recipe_lr=10**400),
}


@pytest.mark.parametrize("spoil", UNUSABLE.values(), ids=UNUSABLE)
def test_a_file_that_cannot_be_used_is_named_with_the_reason_and_the_rest_is_reported(tmp_path, spoil):
    whole = make_report(saved(THREE_SEEDS, tmp_path))
    spoil(tmp_path)
    text = make_report(tmp_path)
    assert text.startswith(whole) and "Not used" not in whole
    listed = text.removeprefix(whole).split("\n")
    assert listed[:-1] == ["", "", "", "Not used:"]
    name, _, reason = listed[-1].partition(": ")
    assert name == "  bad.json" and len(reason) > 10 and str(tmp_path) not in reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(saved(THREE_SEEDS, tmp_path) / "pipe.json")
    assert "  pipe.json: it is not a file" in make_report(tmp_path)


@pytest.mark.parametrize("suffix", [".txt", ".png", ".html"])
def test_files_not_used_are_named_in_what_is_printed_too(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("resnet_lib.report.draw_png", lambda comparisons: b"a picture")
    monkeypatch.setattr("resnet_lib.report._format_picture", lambda comparison: "a picture")
    (saved(THREE_SEEDS, tmp_path / "runs") / "bad.json").write_text("{", encoding="utf-8")
    out = tmp_path / f"report{suffix}"
    first, *rest = make_report(tmp_path / "runs", out).splitlines()
    assert first == f"4 runs of {tmp_path / 'runs'} reported in {out}"
    assert rest[0] == "Not used:" and rest[1].startswith("  bad.json: ")
    assert suffix == ".png" or "bad.json: " in out.read_text(encoding="utf-8")


def refusal(*arguments) -> str:
    """The sentence with which a report is refused."""
    with pytest.raises(ValueError) as caught:
        make_report(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_that_is_not_there_or_empty_is_refused_by_name(tmp_path):
    assert "DIR must be a folder of records, got" in refusal(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in refusal(tmp_path / "file")
    assert refusal(tmp_path) == f"{tmp_path} holds no record of a run (*.json)"


def test_a_folder_of_broken_files_alone_is_refused_with_the_first_reason(tmp_path):
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    (tmp_path / "b.json").write_text("", encoding="utf-8")
    assert refusal(tmp_path).startswith(f"{tmp_path} holds no record of a run (*.json); a.json is none, since it ")


@pytest.mark.parametrize("name", ["report.pdf", "report", "report.json", ".html", "report.html.gz"])
def test_any_other_ending_is_refused_before_anything_is_read_or_written(tmp_path, name):
    sentence = refusal(tmp_path / "nowhere", tmp_path / name)
    assert ".txt, .png or .html" in sentence and name in sentence
    assert not list(tmp_path.iterdir())


def test_an_out_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / "x.html").mkdir()
    assert "x.html" in refusal(saved(THREE_SEEDS, tmp_path), tmp_path / "x.html")


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    folder, out = saved(THREE_SEEDS, tmp_path / "runs"), tmp_path / "report.txt"
    out.write_text("old", encoding="utf-8")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        make_report(folder, out)
    assert out.read_text(encoding="utf-8") == "old" and not list(tmp_path.glob("*.tmp"))


# Pictures and pages


def test_the_text_file_is_what_is_printed_without_out(tmp_path):
    folder = saved(THREE_SEEDS, tmp_path / "runs")
    make_report(folder, tmp_path / "new" / "report.TXT")
    assert (tmp_path / "new" / "report.TXT").read_text(encoding="utf-8") == f"{make_report(folder)}\n"


def test_the_picture_has_a_part_for_each_comparison(tmp_path):
    folder = saved([*THREE_SEEDS, run(width=16)], tmp_path)
    make_report(folder, tmp_path / "two.png")
    png = (tmp_path / "two.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    assert (width, height) == (1020, 2 * 720)


def test_a_picture_of_too_many_comparisons_is_refused_with_a_way_out():
    comparisons = compare([run(width=width + 1) for width in range(MOST_IN_PICTURE + 1)])
    with pytest.raises(ValueError, match=r"at most 20 comparisons, got 21: write the report as \.html"):
        draw_png(comparisons)


class Page(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


STRUCTURE = {"html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "p", "div", "ul", "li"}
ELEMENTS = STRUCTURE | {"picture", "source", "img", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd"}
IN_THE_HEAD = {"lang", "charset", "name", "content", "http-equiv"}
ATTRIBUTES = IN_THE_HEAD | {"media", "srcset", "src", "alt", "class", "role", "aria-label", "tabindex", "scope"}

HOSTILE = '<script>alert("$x_{")</script><img src="https://example.org/x">\x1b[31m\u202e\ud800'
HOSTILE_RUNS = [
    run(dataset=HOSTILE, environment=dict.fromkeys(ENVIRONMENT, HOSTILE)),
    run(dataset=HOSTILE, seed=1, environment={"device": "cpu", "device_name": [HOSTILE], "torch": {"a": HOSTILE}}),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    """The report on usual runs and on a folder full of malice, as HTML."""
    folder = tmp_path_factory.mktemp("report")
    saved(THREE_SEEDS, folder / "usual")
    (folder / "hostile").mkdir()
    for record in HOSTILE_RUNS:  # not under its own name, which holds slashes
        recipe = {"recipe_dataset": HOSTILE, "recipe_seed": record.recipe.seed}
        changed(folder / "hostile", f"{record.recipe.seed}.json", environment=record.environment, **recipe)
    if sys.platform != "win32":  # where a name can't hold these
        (folder / "hostile" / "<b onclick=x>\n.json").write_text('{"format": "<i>"}', encoding="utf-8")
    changed(folder / "hostile", "z.json", recipe_depth="<u>")
    for kind in ("usual", "hostile"):
        make_report(folder / kind, folder / f"{kind}.html")
    return {kind: (folder / f"{kind}.html").read_text(encoding="utf-8") for kind in ("usual", "hostile")}


def pictures_of(page: Page) -> list[str]:
    addresses = [source["srcset"] for source in page.all("source")] + [image["src"] for image in page.all("img")]
    assert all(address.startswith("data:image/svg+xml;base64,") for address in addresses)
    return [base64.b64decode(address.partition(",")[2]).decode() for address in addresses]


@pytest.mark.parametrize("kind", ["usual", "hostile"])
def test_the_page_loads_nothing_and_runs_nothing(pages, kind):
    page = Page(pages[kind])
    assert {tag for tag, _ in page.elements} <= ELEMENTS
    assert {name for _, attributes in page.elements for name in attributes} <= ATTRIBUTES
    assert "url(" not in pages[kind] and "@import" not in pages[kind]
    assert page.all("meta")[1]["content"].startswith("default-src 'none'")
    for picture in pictures_of(page):
        assert "<script" not in picture and "<image" not in picture
        links = re.findall(r"""(?:href|src)\s*=\s*["']([^"']*)""", picture) + re.findall(r"url\(([^)]*)\)", picture)
        assert links and all(link.startswith("#") for link in links)


def test_what_a_record_says_stands_on_the_page_as_text(pages):
    shown = plain_text(HOSTILE)
    assert shown in Page(pages["hostile"]).text
    assert shown.startswith('<script>alert("$x_{")</script><img src=') and shown.endswith("?[31m??")


def test_the_text_report_holds_no_control_characters(tmp_path):
    changed(tmp_path, "x.json", recipe_dataset=HOSTILE, environment=dict.fromkeys(ENVIRONMENT, HOSTILE))
    text = make_report(tmp_path)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "$x_{" in text


def test_a_hostile_record_is_drawn_as_the_text_it_is(tmp_path):
    changed(tmp_path, "x.json", recipe_dataset=HOSTILE + "漢字", environment=dict.fromkeys(ENVIRONMENT, "$\\frac{$ 漢"))
    assert make_report(tmp_path, tmp_path / "x.png").startswith("1 run of")


def test_the_page_holds_the_finding_the_table_and_the_origin(pages):
    page = Page(pages["usual"])
    (comparison,) = compare(THREE_SEEDS)
    assert finding(THREE_SEEDS) in page.text and describe_recipe(comparison.recipe) in page.text
    for line in table(comparison):
        assert "".join(line).replace(" %", "\u00a0%") in page.text
    for name, value in origin(THREE_SEEDS).items():
        assert f"{name}{value}" in page.text
    assert "so it flatters" in page.text, "what the best test error is worth"


def test_every_heading_of_the_table_has_its_scope(pages):
    (comparison,) = compare(THREE_SEEDS)
    lines = table(comparison)
    scopes = [heading["scope"] for heading in Page(pages["usual"]).all("th")]
    assert scopes == ["col"] * len(lines[0]) + ["row"] * (len(lines) - 1)


def test_the_page_has_pictures_for_light_and_dark_wide_and_narrow_and_one_text_instead(pages):
    page = Page(pages["usual"])
    assert [source["media"] for source in page.all("source")] == [
        "(max-width: 40em) and (prefers-color-scheme: dark)",
        "(max-width: 40em)",
        "(prefers-color-scheme: dark)",
    ]
    narrow_dark, narrow, dark, light = pictures_of(page)
    for in_light, in_dark in [(light, dark), (narrow, narrow_dark)]:
        assert "#1a1a1a" in in_light and "#e6e6e6" not in in_light
        assert in_dark == in_light.replace("#1a1a1a", "#e6e6e6")
    points = {re.search(r'width="([\d.]+)pt"', picture)[1] for picture in (narrow, light)}
    assert points == {"244.8", "489.6"}, "326 pixels fit a screen of 360, 653 a page"
    (image,) = page.all("img")
    assert "plain, 8 layers: 3.00 ± 2.65 and 12.00 ± 2.00; residual, A, 20 layers: 0.50 and 4.00." in image["alt"]


def test_the_same_records_make_the_same_page(pages, tmp_path):
    make_report(saved(THREE_SEEDS, tmp_path), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == pages["usual"]
