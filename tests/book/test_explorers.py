"""The explorers: what they show is what the library counts and what the runs left, by mouse and by keyboard."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import torch
from book_sample import ROOT
from explorers import EXPLORERS, Explorer, as_html, degradation, depth, lesions

from resnet_course.probes import load_record, removable_blocks
from resnet_lib import BasicBlock, Bottleneck, ResNet, cifar_resnet, figures
from resnet_lib.arithmetic import LayerTable, cifar_resnet_cost, layer_table, resnet_cost
from resnet_lib.records import group_runs, load_records, results_folder, summarize

NETWORKS = {network.key: network for network in depth.NETWORKS}
# Network, shortcut option, input size
DEPTH_STATES = [
    ("18", "none", 224),
    ("26", "C", 64),
    ("34", "A", 97),
    ("50", "B", 224),
    ("50", "C", 320),
    ("101", "A", 160),
    ("152", "B", 288),
    ("cifar20", "none", 32),
    ("cifar56", "C", 33),
    ("cifar110", "A", 96),
]
# Seed, mask of the plain network, mask of the residual one
LESION_STATES = [(0, 0, 0), (0, 1, 1), (1, 64, 256), (2, 127, 511), (0, 5, 37)]
LESION_STATES += [(1, 2, 2), (2, 8, 16), (1, 96, 300), (2, 33, 128), (0, 10, 130)]
# Folder of runs, depth, shortcut option, seed
RUNS = [
    ("digits", 8, "none", 0),
    ("digits", 20, "none", 1),
    ("digits", 56, "none", 2),
    ("digits", 20, "A", "all"),
    ("digits", 56, "A", "all"),
    ("digits-long", 56, "none", "all"),
    ("digits-long", 56, "none", 1),
    ("cifar10-jpg", 20, "A", 2),
    ("cifar10-jpg", 56, "none", "all"),
    ("cifar10-jpg", 32, "A", 0),
]


@pytest.fixture(scope="module")
def counted() -> dict:
    return depth.data()


@cache
def layers_of(key: str, shortcut: str, size: int) -> LayerTable:
    """The layers of the network itself, run without values."""
    return layer_table(build_on_meta(key, shortcut), (3, size, size))


def build_on_meta(key: str, shortcut: str) -> torch.nn.Module:
    network = NETWORKS[key]
    with torch.device("meta"):
        if network.family == "cifar":
            return cifar_resnet(network.depth, shortcut)
        block = BasicBlock if network.block == "basic" else Bottleneck
        return ResNet(block, network.num_blocks, shortcut=shortcut)


# --- The data of the depth explorer


@pytest.mark.parametrize(("key", "shortcut", "size"), DEPTH_STATES)
def test_every_part_of_a_network_costs_what_its_layers_cost(counted, key, shortcut, size):
    """Each part of the table, in the order of execution, against the layers of the network itself."""
    layers = layers_of(key, shortcut, size).layers
    by_block: dict[str, list] = {}
    for layer in layers:
        name = layer.name if layer.name.startswith("layer") else layer.name.replace("bn1", "conv1")
        by_block.setdefault(".".join(name.split(".")[:2]), []).append(layer)
    by_block = {name: block for name, block in by_block.items() if sum(layer.parameters for layer in block)}
    at = depth.SIZES[NETWORKS[key].family].index(size)
    sides = counted["sides"][NETWORKS[key].family][at]
    blocks = iter(by_block.values())
    for name, place, count, parameters, macs in counted["designs"][key][shortcut]["parts"]:
        block = counted["blocks"][place]
        in_part = [next(blocks) for _ in range(count)]
        assert sum(layer.parameters for layers in in_part for layer in layers) == parameters, name
        assert sum(layer.macs for layers in in_part for layer in layers) == macs[at], name
        if block["path"] is not None or name.startswith("Stage"):
            side = sides[block["side"]]
            assert in_part[-1][-1].output_shape == (block["channels"], side, side), name
    assert next(blocks, None) is None


@pytest.mark.parametrize("key", NETWORKS)
@pytest.mark.parametrize("shortcut", depth.SHORTCUTS)
def test_lines_add_up_to_blocks_parts_and_the_closed_form(counted, key, shortcut):
    network, design = NETWORKS[key], counted["designs"][key][shortcut]
    for at, size in enumerate(depth.SIZES[network.family]):
        for _, place, count, parameters, macs in design["parts"]:
            block = counted["blocks"][place]
            lines = [counted["lines"][line] for line in block["lines"]]
            assert sum(line["parameters"] for line in lines) == block["parameters"] == parameters / count
            assert sum(line["macs"][at] for line in lines if "macs" in line) == block["macs"][at] == macs[at] / count
        assert design["parameters"] == sum(part[3] for part in design["parts"])
        assert design["macs"][at] == sum(part[4][at] for part in design["parts"])
        if network.in_paper:
            closed_form = cifar_resnet_cost if network.family == "cifar" else resnet_cost
            cost = closed_form(network.depth, shortcut, size)
            assert (design["parameters"], design["macs"][at]) == (cost.parameters, cost.macs)


def test_every_product_gives_the_parameters_beside_it(counted):
    for line in counted["lines"]:
        assert eval(line["product"].replace("·", "*")) == line["parameters"], line["label"]


def test_the_list_of_networks_is_the_papers_and_its_counterparts():
    in_paper = [network.depth for network in depth.NETWORKS if network.in_paper]
    assert in_paper == [18, 34, 50, 101, 152, 20, 32, 44, 56, 110]
    assert [network.depth for network in depth.NETWORKS if not network.in_paper] == [68, 102, 26]


# --- The data of the other two


@pytest.mark.parametrize(("seed", "plain", "residual"), LESION_STATES)
def test_the_errors_of_the_lesions_are_the_recorded_ones(seed, plain, residual):
    shown = lesions.data()["networks"]
    rows = load_record(results_folder("probes") / "lesions.json")["rows"]
    for kind, mask in (("plain", plain), ("residual", residual)):
        (row,) = [row for row in rows if (row["unit"]["kind"], row["unit"]["seed"]) == (kind, seed)]
        assert shown[kind]["errors"][str(seed)][mask] == row["errors"][mask]
        same_size = [row["errors"][m] for m in range(len(row["errors"])) if m.bit_count() == mask.bit_count()]
        ways, lowest, mean, highest = shown[kind]["byCount"][str(seed)][mask.bit_count()]
        assert (ways, lowest, highest) == (len(same_size), min(same_size), max(same_size))
        assert mean == pytest.approx(sum(same_size) / ways, abs=1e-3)


@pytest.mark.parametrize(("kind", "shortcut"), [("plain", "none"), ("residual", "A")])
def test_the_record_of_the_lesions_is_whole_and_of_the_networks_of_chapter_1(kind, shortcut):
    shown = lesions.data()["networks"][kind]
    assert shown["removable"] == removable_blocks(cifar_resnet(20, shortcut))
    runs = group_runs(load_records(results_folder("digits")))[shortcut, 20]
    for run in runs:
        errors = shown["errors"][str(run.recipe.seed)]
        assert len(errors) == 2 ** len(shown["removable"])
        assert errors[0] == pytest.approx(run.test_error, rel=1e-3)


def test_what_the_page_and_the_picture_say_about_lesions_is_so():
    networks = lesions.data()["networks"]
    for seed in lesions.data()["seeds"]:
        plain, residual = (networks[kind]["errors"][seed] for kind in ("plain", "residual"))
        assert min(lesions.by_count(plain)[1]) > 70
        single = lesions.by_count(residual)[1]
        assert max(single) == single[0] and sorted(single)[len(single) // 2] < 8
        assert residual[0] < 5
        assert sum(error > 70 for error in plain[1:]) > 0.95 * len(plain)


@pytest.mark.parametrize(("folder", "layers", "shortcut", "seed"), RUNS)
def test_curves_and_errors_of_the_runs_are_the_recorded_ones(folder, layers, shortcut, seed):
    records = load_records(results_folder(folder))
    networks = degradation.data()["sets"][folder]["networks"]
    (network,) = [n for n in networks if (n["depth"], n["shortcut"]) == (layers, shortcut)]
    assert (network["train"], network["test"]) == expected_errors(folder, layers, shortcut, "all")
    for record in group_runs(records)[shortcut, layers]:
        run = network["runs"][str(record.recipe.seed)]
        for kind in ("train", "test"):
            assert run["curves"][kind] == pytest.approx(record.curves[f"{kind}_error"], abs=0.00501)
    if seed != "all":
        run = network["runs"][str(seed)]
        assert (run["train"], run["test"]) == expected_errors(folder, layers, shortcut, seed)


def expected_errors(folder: str, layers: int, shortcut: str, seed: int | str) -> tuple[str, str]:
    """Training and test error as the table writes them, from the library."""
    records = load_records(results_folder(folder))
    if seed == "all":
        (row,) = [row for row in summarize(records) if (row.depth, row.shortcut) == (layers, shortcut)]
        pairs = [(row.train_error, row.train_std), (row.test_error, row.test_std)]
        return tuple(f"{mean:.2f} ± {deviation:.2f}" for mean, deviation in pairs)
    (run,) = [run for run in group_runs(records)[shortcut, layers] if run.recipe.seed == seed]
    return f"{run.train_error:.2f}", f"{run.test_error:.2f}"


def test_all_runs_but_the_benchmarks_and_probes_are_there():
    folders = {path.name for path in results_folder("digits").parent.glob("*/")}
    assert set(degradation.SETS) == folders - {"benchmarks", "probes", "__pycache__"}
    for name, one in degradation.data()["sets"].items():
        assert sum(len(n["runs"]) for n in one["networks"]) == len(load_records(results_folder(name)))


@pytest.mark.parametrize("name", EXPLORERS)
def test_script_and_data_are_below_150_kb(name):
    scripts = [ROOT / "book" / "_static" / file for file in ("explorers.js", f"explorers-{name}.js")]
    data = as_html(name, EXPLORERS[name].data())
    assert len(data.encode()) + sum(script.stat().st_size for script in scripts) < 150_000


def test_data_can_not_end_the_script_that_holds_them():
    html = as_html("depth", {"text": "</script>"})
    assert html.count("</script>") == 1
    assert json.loads(re.search(r"json\">(.*)</script>", html).group(1)) == {"text": "</script>"}


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2, relative luminance)."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def mixed(colour: str, paper: str, share: float) -> str:
    pairs = [(int(colour[i : i + 2], 16), int(paper[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


@pytest.mark.parametrize(("paper", "shade"), [("#ffffff", -1), ("#121212", 0)])
@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_text_in_the_two_colours_can_be_read_on_light_and_dark_pages(kind, paper, shade):
    ink, line = figures.SHADES[kind][shade], {"plain": figures.PLAIN, "residual": figures.RESIDUAL}[kind]
    assert contrast(ink, paper) >= 4.5
    assert contrast(ink, mixed(line, paper, 0.12)) >= 4.5  # a block's name on the block
    assert contrast(line, paper) >= 3


# --- The pages

CONFIGURATION = f"""
import sys
sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
extensions = ["myst_nb", "explorers"]
nb_execution_mode = "off"
exclude_patterns = ["_build"]
html_theme = "sphinx_book_theme"
html_static_path = [{str(ROOT / "book" / "_static")!r}]
html_css_files = ["book.css"]
html_context = dict(default_mode="auto")
"""
CONTENTS = "# A book\n\n```{toctree}\n:glob:\n\nbook/explore/*\nnotebooks/*\n```\n"


def build(root: Path, *pages: str) -> subprocess.CompletedProcess:
    """Build a book of the explorers' pages, or of others, and of chapters that are mere headings."""
    folder = root / "book" / "explore"
    shutil.copytree(ROOT / "book" / "explore", folder)
    for number, text in enumerate(pages):
        (folder / f"other{number}.md").write_text(text, encoding="utf-8")
    (root / "notebooks").mkdir()
    for chapter in (ROOT / "notebooks").glob("*.ipynb"):
        cells = [{"cell_type": "markdown", "metadata": {}, "source": f"# {chapter.stem}"}]
        notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
        (root / "notebooks" / chapter.name).write_text(json.dumps(notebook), encoding="utf-8")
    (root / "conf.py").write_text(CONFIGURATION, encoding="utf-8")
    (root / "index.md").write_text(CONTENTS, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(root), str(root / "_build")]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    """The folder of the explorers' pages."""
    root = tmp_path_factory.mktemp("explorers")
    made = build(root, "# Another page\n\nWithout an explorer.\n")
    assert made.returncode == 0, made.stderr
    return root / "_build" / "book" / "explore"


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_page_has_its_data_its_picture_and_its_own_script_alone(pages, name):
    page = (pages / f"{name}.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    assert json.loads(data) == json.loads(json.dumps(EXPLORERS[name].data()))
    scripts = re.findall(r'src="\S*(explorers\S*?\.js)', page)
    assert scripts == ["explorers.js", f"explorers-{name}.js"]
    assert "explorers" not in re.sub(r"<a .*?</a>", "", (pages / "other0.html").read_text(encoding="utf-8"))
    still = page.rpartition("<noscript>")[2].partition("</noscript>")[0]
    alternative, picture = re.search(r'<img alt="(.*?)" src="(.*?)"', still).groups()
    assert len(alternative) > 100 and (pages / picture).resolve().is_file()
    assert still.count("<tr") == len(EXPLORERS[name].table())


def test_an_explorer_that_is_not_there_is_an_error():
    directive = Explorer.__new__(Explorer)
    directive.arguments, directive.error = ["width"], ValueError
    with pytest.raises(ValueError, match="there is no explorer 'width'; there are depth, lesions, degradation"):
        directive.run()


@pytest.fixture(scope="module")
def tabs(browser) -> dict:
    """The pages that are open, by their options: to open one takes longer than to use it."""
    return {}


@pytest.fixture
def open_page(browser, tabs, pages) -> Iterator:
    """Open a page from its folder, without a network, and fail on any error in the console."""
    errors = []

    def note(message) -> None:
        if not hasattr(message, "type"):
            errors.append(str(message))
        elif message.type == "error":
            errors.append(message.text)

    def open_it(address: str, **options):
        key = repr(options)
        if key not in tabs:
            tabs[key] = browser.new_context(offline=True, **options).new_page()
            tabs[key].set_default_timeout(5000)
        page = tabs[key]
        for event in ("pageerror", "console"):
            page.on(event, note)
        page.goto("about:blank")  # else an address that differs after its # alone would not load the page anew
        name, _, state = address.partition("#")
        page.goto(f"{(pages / name).as_uri()}.html{'#' + state if state else ''}", wait_until="domcontentloaded")
        return page

    yield open_it
    for page in tabs.values():
        for event in ("pageerror", "console"):
            with suppress(KeyError):  # another test's page
                page.remove_listener(event, note)
    assert errors == []


def depth_numbers(page) -> list[str]:
    return page.locator(".explorer-numbers dd").all_inner_texts()


def expected_numbers(key: str, shortcut: str, size: int) -> list[str]:
    """Parameters, multiply-adds and layers, from the network itself."""
    cost = layers_of(key, shortcut, size).cost
    return [f"{cost.parameters:,}", f"{cost.macs:,}", str(NETWORKS[key].depth)]


def test_the_depth_explorer_by_mouse_shows_the_librarys_numbers(open_page):
    page = open_page("depth")
    assert depth_numbers(page) == expected_numbers("50", "B", 224)
    for key, shortcut, size in DEPTH_STATES:
        page.get_by_label("Network").select_option(key)
        page.locator("label", has=page.locator(f'[name=shortcut][value="{shortcut}"]')).click()
        page.get_by_label("Input size").select_option(str(size))
        assert depth_numbers(page) == expected_numbers(key, shortcut, size)
        last_sum = page.locator(".explorer-parts .sum .amount b").all_inner_texts()
        assert last_sum == depth_numbers(page)[:2]
        blocks = sum(NETWORKS[key].num_blocks)
        assert page.locator(".explorer-drawing path.shortcut").count() == (0 if shortcut == "none" else blocks)
        assert page.locator(".explorer-drawing").get_attribute("data-kind") == (
            "plain" if shortcut == "none" else "residual"
        )


def test_every_line_of_the_arithmetic_is_right_where_it_is_shown(open_page):
    for key, shortcut, size in DEPTH_STATES[2:9:2]:
        page = open_page(f"depth#network={key}&shortcut={shortcut}&size={size}")
        cells = page.locator(".explorer-parts td").all_text_contents()
        products = [cell.split(" = ") for cell in cells if " = " in cell]
        assert len(products) > 20
        for product, result in products:
            assert eval(product.replace("·", "*").replace(",", "")) == int(result.replace(",", "")), product


def test_the_depth_explorer_by_keyboard_alone(open_page):
    page = open_page("depth")
    page.get_by_label("Network").focus()
    page.keyboard.press("ArrowUp")
    assert depth_numbers(page) == expected_numbers("34", "B", 224)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert depth_numbers(page) == expected_numbers("34", "B", 288)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")  # from basic to bottleneck
    assert depth_numbers(page) == expected_numbers("50", "B", 288)
    page.keyboard.press("Tab")
    for shortcut in ("C", "none", "A"):
        page.keyboard.press("ArrowRight")
        assert depth_numbers(page) == expected_numbers("50", shortcut, 288)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator(".explorer-parts details").first.evaluate("part => part.open")
    page.get_by_label("Network").focus()
    page.keyboard.press("End")
    assert depth_numbers(page) == expected_numbers("cifar110", "A", 32)
    assert page.get_by_label("bottleneck", exact=True).is_disabled()


def test_the_parts_that_are_open_stay_open(open_page):
    page = open_page("depth")
    page.locator("summary", has_text="Stage 3, first block").click()
    page.get_by_label("Input size").select_option("128")
    is_open = page.locator(".explorer-parts details").evaluate_all("all => all.map(part => part.open)")
    assert [place for place, part in enumerate(is_open) if part] == [1, 5]


def lesion_errors(page) -> list[str]:
    return page.locator(".explorer-network .result strong").all_inner_texts()


def expected_lesions(seed: int, plain: int, residual: int) -> list[str]:
    rows = load_record(results_folder("probes") / "lesions.json")["rows"]
    by_unit = {(row["unit"]["kind"], row["unit"]["seed"]): row["errors"] for row in rows}
    return [f"{by_unit[kind, seed][mask]:.1f} %" for kind, mask in (("plain", plain), ("residual", residual))]


def blocks_of_mask(kind: str, mask: int) -> list[str]:
    names = removable_blocks(cifar_resnet(20, "none" if kind == "plain" else "A"))
    return [name for place, name in enumerate(names) if mask >> place & 1]


def test_the_lesion_explorer_by_mouse_shows_the_error_of_exactly_that_subset(open_page):
    page = open_page("lesions")
    page.get_by_label("Switch both together").uncheck()
    for seed, plain, residual in LESION_STATES:
        page.get_by_role("button", name="All blocks on").click()
        page.get_by_label("Networks trained with seed").select_option(str(seed))
        for kind, mask in (("plain", plain), ("residual", residual)):
            for block in blocks_of_mask(kind, mask):
                page.locator(f".explorer-network [name={kind}][value='{block}']").click()
        assert lesion_errors(page) == expected_lesions(seed, plain, residual)
        assert page.url.endswith(f"#seed={seed}&plain={plain}&residual={residual}&together=0")


def test_the_lesion_explorer_by_keyboard_switches_both_networks(open_page):
    page = open_page("lesions")
    page.get_by_label("plain-20, block layer1.1").focus()
    page.keyboard.press("Space")
    assert lesion_errors(page) == expected_lesions(0, 2, 2)
    for _ in range(4):  # past layer1.2 and, without layer2.0, which can't be removed, to layer3.1
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert lesion_errors(page) == expected_lesions(0, 2 | 32, 2 | 128)
    assert page.get_by_label("plain-20, block layer2.0, can't be removed").is_disabled()
    page.get_by_label("residual-20, block layer2.0").focus()
    page.keyboard.press("Space")  # only the residual network can do without it
    assert lesion_errors(page) == expected_lesions(0, 2 | 32, 2 | 8 | 128)
    page.keyboard.press("Space")
    assert lesion_errors(page) == expected_lesions(0, 2 | 32, 2 | 128)
    assert "without 2 blocks; the 36 ways to switch off 2 blocks: " in page.locator(".result").nth(1).inner_text()


def degradation_rows(page) -> list[list[str]]:
    rows = page.locator(".explorer-table tbody tr")
    return [row.locator("th, td").all_inner_texts() for row in rows.all()]


def test_the_degradation_explorer_by_mouse_follows_every_choice(open_page):
    page = open_page("degradation")
    for folder, layers, shortcut, seed in RUNS:
        page.get_by_label("Runs").select_option(folder)
        page.get_by_role("combobox", name="Seed").select_option(str(seed))
        for name, wanted in (("depths", layers), ("shortcuts", shortcut)):
            for choice in page.locator(f"[name={name}]").all():
                choice.set_checked(choice.input_value() == str(wanted))
        (row,) = degradation_rows(page)
        kind = "plain" if shortcut == "none" else "residual"
        expected = expected_errors(folder, layers, shortcut, seed)
        assert row == [f"{kind}-{layers}", "3" if seed == "all" else str(seed), *expected]
        assert page.locator(".explorer-drawing .curve").count() == (3 if seed == "all" else 1)
        assert page.locator(".explorer-status").inner_text() == (
            f"Training error at the end: {kind}-{layers}: {expected[0]} %."
        )


def test_the_degradation_explorer_by_keyboard_alone(open_page):
    page = open_page("degradation")
    page.get_by_label("Runs").focus()
    page.keyboard.press("End")
    assert [row[0] for row in degradation_rows(page)] == [
        *(f"{kind}-{layers}" for kind in ("plain", "residual") for layers in (20, 32, 56))
    ]
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert {row[1] for row in degradation_rows(page)} == {"2"}
    for layers in (20, 32):  # take the two away
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        assert f"plain-{layers}" not in [row[0] for row in degradation_rows(page)]
    assert degradation_rows(page) == [
        [f"{kind}-56", "2", *expected_errors("cifar10-jpg", 56, shortcut, 2)]
        for kind, shortcut in (("plain", "none"), ("residual", "A"))
    ]
    for _ in range(4):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.url.endswith("#set=cifar10-jpg&depths=56&shortcuts=all&seed=2&error=test")
    assert "test error (%)" in page.locator(".explorer-drawing").inner_text()


def test_curves_are_drawn_where_the_recorded_errors_are(open_page):
    page = open_page("degradation#depths=56&shortcuts=none&seed=1&error=test")
    points = page.locator(".curve.plain").get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    (record,) = [run for run in group_runs(load_records(results_folder("digits")))["none", 56] if run.recipe.seed == 1]
    errors = record.curves["test_error"]
    assert len(heights) == len(errors)
    # Pixels fall in proportion as errors rise, whatever the scale is.
    scale = (heights[0] - heights[-1]) / (errors[0] - errors[-1])
    for height, error in zip(heights, errors, strict=True):
        assert height - heights[0] == pytest.approx(scale * (error - errors[0]), abs=0.2)
    page.locator("summary", has_text="The curves as numbers").click()
    assert ", ".join(f"{error:.2f}" for error in errors[:3]) in page.locator(".explorer details p").inner_text()


def test_a_choice_of_nothing_says_so(open_page):
    page = open_page("degradation#depths=&shortcuts=all")
    assert degradation_rows(page) == []
    assert page.locator(".explorer-status").inner_text() == "No run is chosen."


@pytest.mark.parametrize(
    ("address", "numbers"),
    [
        ("depth#network=cifar56&shortcut=C&size=48", ("cifar56", "C", 48)),
        ("depth#network=cifar56&size=224", ("cifar56", "B", 32)),  # no such size for this network
        ("depth#network=51&shortcut=D&size=many", ("50", "B", 224)),
        ("depth#what-to-try", ("50", "B", 224)),
    ],
)
def test_an_address_opens_its_state_and_a_wrong_one_a_state_that_is_there(open_page, address, numbers):
    assert depth_numbers(open_page(address)) == expected_numbers(*numbers)


def test_wrong_addresses_of_the_other_explorers_are_mended(open_page):
    page = open_page("lesions#seed=9&plain=128&residual=-1&together=maybe")
    assert lesion_errors(page) == expected_lesions(0, 0, 0)
    page = open_page("degradation#set=nothing&depths=8,9&seed=7&error=none")
    assert [row[0] for row in degradation_rows(page)] == ["plain-8", "residual-8"]


def test_a_link_to_a_heading_keeps_the_state_and_a_link_to_a_state_opens_it(open_page):
    page = open_page("depth#network=18&shortcut=A&size=64")
    page.evaluate("location.hash = 'what-to-try'")
    assert depth_numbers(page) == expected_numbers("18", "A", 64)
    page.evaluate("location.hash = 'network=34'")
    page.wait_for_function("document.querySelector('.explorer select').value === '34'")
    assert depth_numbers(page) == expected_numbers("34", "B", 224)


@pytest.mark.parametrize("name", EXPLORERS)
def test_tab_goes_through_an_explorer_and_out_again(open_page, name):
    page = open_page(name)
    page.locator(".explorer select").first.focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("!document.activeElement.closest('.explorer')"):
            break
        outline = page.evaluate("""() => {
            const here = document.activeElement;
            const shown = here.closest('.explorer-network label') ?? here;
            return getComputedStyle(shown).outlineStyle;
        }""")
        assert outline == "solid"
    assert page.evaluate("!document.activeElement.closest('.explorer')")


@pytest.mark.parametrize("name", EXPLORERS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_narrow_screen_and_every_input_has_a_name(open_page, name, scheme):
    page = open_page(name, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    too_wide = page.evaluate("""() => [...document.querySelectorAll('.explorer *')]
        .filter(one => one.getBoundingClientRect().right > 360).map(one => one.outerHTML.slice(0, 80))""")
    assert too_wide == []
    unnamed = page.evaluate("""() => [...document.querySelectorAll('.explorer :is(input, select)')]
        .filter(one => !one.labels.length || !(one.ariaLabel || one.labels[0].innerText.trim()))
        .map(one => one.outerHTML)""")
    assert unnamed == []


@pytest.mark.parametrize("name", EXPLORERS)
def test_without_scripts_a_page_shows_a_picture_and_a_table(open_page, name):
    page = open_page(name, java_script_enabled=False, viewport={"width": 360, "height": 740})
    assert page.locator("noscript p", has_text="needs scripts").first.is_visible()
    assert page.locator("noscript img").is_visible() and page.locator("noscript table").is_visible()
    assert page.locator(".explorer select").count() == 0
