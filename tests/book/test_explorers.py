"""The explorers: what they show is what the library counts and what the runs left, by mouse and by keyboard."""

import json
import re
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from explorers import EXPLORERS, Explorer, as_html, block, degradation, depth, lesions

from resnet_course.probes import load_measurement, removable_blocks
from resnet_lib import BasicBlock, Bottleneck, ResNet, cifar_resnet
from resnet_lib.arithmetic import LayerTable, layer_table
from resnet_lib.records import group_runs, load_records, results_folder, summarize

NETWORKS = {network.key: network for network in depth.NETWORKS}
KINDS = {"plain": "none", "residual": "A"}
# Network, shortcut option, input size
DEPTH_STATES = [("18", "none", 224), ("26", "C", 64), ("34", "A", 97), ("50", "B", 224)]
DEPTH_STATES += [("cifar20", "none", 32), ("cifar56", "C", 33), ("cifar110", "A", 96)]
# Seed, mask of the plain network, mask of the residual one
LESION_STATES = [(0, 1, 1), (1, 64, 256), (2, 127, 511), (0, 5, 37), (1, 96, 300)]
# Level, tiles of the branch, shortcut, whether a ReLU ends it, and whether that solves the level
BLOCK_STATES = [
    ("same", "3.64.1-b-r-3.64.1-b", "x", "1", True),
    ("same", "3.64.1-b-r-3.64.1-b", "none", "1", False),
    ("double", "3.128.2-b-r-3.128.1-b", "1.128.2", "1", True),
    ("double", "3.128.2-b-r-3.128.1-b", "x", "1", False),
    ("double", "3.128.1-b-r-3.128.2-b", "1.128.1", "1", False),
    ("narrow", "1.64.1-b-r-3.64.1-b-r-1.256.1-b", "x", "1", True),
    ("narrow", "3.256.1-b-r-3.256.1-b", "x", "1", False),
    ("before", "b-r-3.64.1-b-r-3.64.1", "x", "0", True),
    ("before", "b-r-3.64.1-b-r-3.64.1", "x", "1", False),
]
# Folder of runs, depth, shortcut option, seed
RUNS = [("digits", 20, "none", 1), ("digits", 56, "A", "all"), ("digits-long", 56, "none", "all")]
RUNS += [("cifar10-jpg", 32, "A", 0)]


# --- The data


def recorded_lesions(kind: str, seed: int) -> list[float]:
    rows = load_measurement(results_folder("probes") / "lesions.json")["rows"]
    return next(row["errors"] for row in rows if row["unit"]["kind"] == kind and row["unit"]["seed"] == seed)


@pytest.mark.parametrize(("kind", "shortcut"), KINDS.items())
def test_the_lesions_are_whole_recorded_and_of_the_networks_of_chapter_1(kind, shortcut):
    shown = lesions.data()["networks"][kind]
    assert shown["removable"] == removable_blocks(cifar_resnet(20, shortcut))
    for run in group_runs(load_records(results_folder("digits")))[shortcut, 20]:
        errors = shown["errors"][str(run.recipe.seed)]
        assert errors == recorded_lesions(kind, run.recipe.seed) and len(errors) == 2 ** len(shown["removable"])
        assert errors[0] == pytest.approx(run.test_error, rel=1e-3)
        two_off = [error for mask, error in enumerate(errors) if mask.bit_count() == 2]
        ways, *spread = shown["byCount"][str(run.recipe.seed)][2]
        assert ways == len(two_off)
        assert spread == pytest.approx([min(two_off), sum(two_off) / ways, max(two_off)], abs=1e-3)


def expected_errors(folder: str, layers: int, shortcut: str, seed: int | str) -> list[str]:
    """Training and test error as the table writes them, from the library."""
    records = load_records(results_folder(folder))
    if seed == "all":
        (row,) = [row for row in summarize(records) if (row.depth, row.shortcut) == (layers, shortcut)]
        return [f"{row.train_error:.2f} ± {row.train_std:.2f}", f"{row.test_error:.2f} ± {row.test_std:.2f}"]
    (run,) = [run for run in group_runs(records)[shortcut, layers] if run.recipe.seed == seed]
    return [f"{run.train_error:.2f}", f"{run.test_error:.2f}"]


def test_every_run_but_benchmarks_and_probes_is_there_as_it_was_recorded():
    folders = {path.name for path in results_folder("digits").parent.glob("*/")}
    assert set(degradation.SETS) == folders - {"benchmarks", "probes", "chapters", "h100", "__pycache__"}
    for folder, one in degradation.data()["sets"].items():
        groups = group_runs(load_records(results_folder(folder)))
        assert {(network["shortcut"], network["depth"]) for network in one["networks"]} == groups.keys()
        for network in one["networks"]:
            key = network["shortcut"], network["depth"]
            assert [network["train"], network["test"]] == expected_errors(folder, *key[::-1], "all")
            assert network["n"] == len(network["runs"]) == len(groups[key])
            for record in groups[key]:
                shown = network["runs"][str(record.recipe.seed)]
                assert [shown["train"], shown["test"]] == expected_errors(folder, *key[::-1], record.recipe.seed)
                for kind, curve in shown["curves"].items():
                    assert curve == pytest.approx(record.curves[f"{kind}_error"], abs=0.00501)


def test_data_can_not_end_the_script_that_holds_them():
    html = as_html("depth", {"text": "</script>"})
    assert html.count("</script>") == 1
    assert json.loads(re.search(r"json\">(.*)</script>", html).group(1)) == {"text": "</script>"}


# --- The pages


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_page_has_its_data_its_picture_and_its_own_script_alone(site, name):
    folder = site / "book" / "explore"
    page = (folder / f"{name}.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    assert json.loads(data) == json.loads(json.dumps(EXPLORERS[name].data()))
    assert re.findall(r'src="\S*(explorers\S*?\.js)', page) == ["explorers.js", f"explorers-{name}.js"]
    still = page.partition(data)[2].partition("<noscript>")[2].partition("</noscript>")[0]
    alternative, picture = (re.search(rf' {name}="(.*?)"', still)[1] for name in ("alt", "src"))
    assert len(alternative) > 100 and (folder / picture).resolve().is_file()
    assert still.count("<tr") == len(EXPLORERS[name].table())


def test_an_explorer_that_is_not_there_is_an_error():
    directive = Explorer.__new__(Explorer)
    directive.arguments, directive.error = ["width"], ValueError
    with pytest.raises(ValueError, match=r"no explorer 'width'.*train, block, depth, lesions, gradient, degradation"):
        directive.run()


@pytest.fixture
def open_explorer(open_page) -> Callable:
    """Open an explorer by its name, with the state after a # or without."""

    def open_it(address: str, **options):
        name, hash_sign, state = address.partition("#")
        return open_page(f"book/explore/{name}.html{hash_sign}{state}", **options)

    return open_it


def depth_numbers(page) -> list[str]:
    return page.locator(".explorer-numbers dd").all_inner_texts()


@cache
def layers_of(key: str, shortcut: str, size: int) -> LayerTable:
    """The layers of the network itself, run without values."""
    network = NETWORKS[key]
    with torch.device("meta"):
        if network.family == "cifar":
            model = cifar_resnet(network.depth, shortcut)
        else:
            kind = BasicBlock if network.block == "basic" else Bottleneck
            model = ResNet(kind, network.num_blocks, shortcut=shortcut)
    return layer_table(model, (3, size, size))


def expected_numbers(key: str, shortcut: str, size: int) -> list[str]:
    """Parameters, multiply-adds and layers."""
    cost = layers_of(key, shortcut, size).cost
    return [f"{cost.parameters:,}", f"{cost.macs:,}", str(NETWORKS[key].depth)]


def test_the_depth_explorer_by_mouse_shows_the_librarys_numbers(open_explorer):
    page = open_explorer("depth")
    for key, shortcut, size in DEPTH_STATES:
        page.get_by_label("Network").select_option(key)
        page.locator("label", has=page.locator(f'[name=shortcut][value="{shortcut}"]')).click()
        page.get_by_label("Input size").select_option(str(size))
        assert depth_numbers(page) == expected_numbers(key, shortcut, size)
        amounts = [int(one.replace(",", "")) for one in page.locator(".explorer-parts .amount b").all_inner_texts()]
        *parts, parameters, macs = amounts  # of each part, and of all
        assert (sum(parts[::2]), sum(parts[1::2])) == (parameters, macs)
        assert [f"{parameters:,}", f"{macs:,}"] == depth_numbers(page)[:2]
        layers = [layer for layer in layers_of(key, shortcut, size).layers if layer.name.startswith("layer")]
        shapes = {layer.name[:6]: [*map(str, layer.output_shape[:2])] for layer in layers}
        spoken = page.locator(".explorer-drawing svg").get_attribute("aria-label")
        assert [*map(list, re.findall(r"blocks, (\d+) channels, (\d+)×", spoken))] == [*shapes.values()]
        blocks = sum(NETWORKS[key].num_blocks)
        assert page.locator(".explorer-drawing path.shortcut").count() == (0 if shortcut == "none" else blocks)
        projections = sum("downsample" in layer.name and layer.kind == "Conv2d" for layer in layers)
        assert page.get_by_text(f" {projections} projection (dashed)").count() == (projections > 0)
        products = [cell for cell in page.locator(".explorer-parts td").all_text_contents() if " = " in cell]
        assert len(products) > 20
        assert all(eval(product.replace("·", "*").replace(",", "").replace("=", "==")) for product in products)


def path_of(tiles: str, channels: int) -> torch.nn.Sequential:
    """The modules that the address names."""
    modules = torch.nn.Sequential()
    for tile in tiles.split("-"):
        if tile == "b":
            modules.append(torch.nn.BatchNorm2d(channels))
        elif tile == "r":
            modules.append(torch.nn.ReLU())
        elif tile[0].isdigit():
            kernel, out, stride = map(int, tile.split("."))
            modules.append(torch.nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False))
            channels = out
    return modules


@pytest.mark.parametrize(("level", "branch", "shortcut", "after", "solved"), BLOCK_STATES)
def test_a_built_block_costs_and_fails_as_its_modules_do(open_explorer, level, branch, shortcut, after, solved):
    page = open_explorer(f"block#level={level}&branch={branch}&shortcut={shortcut}&after={after}")
    channels, side = block.LEVELS[level]["in"]
    with torch.device("meta"):
        paths = [path_of(branch, channels), path_of(shortcut, channels)]
        costs = [layer_table(path, (channels, side, side)).cost for path in paths if len(path)]
        outputs = [path(torch.empty(1, channels, side, side)) for path in paths]
    assert depth_numbers(page) == [f"{sum(getattr(cost, what) for cost in costs):,}" for what in ("parameters", "macs")]
    outcome = page.locator(".explorer-outcome").inner_text()
    assert outcome.endswith("Solved!") == solved
    if shortcut != "none" and outputs[0].shape != outputs[1].shape:
        with pytest.raises(RuntimeError) as refused:
            torch.empty(outputs[0].shape) + torch.empty(outputs[1].shape)
        assert outcome == f"RuntimeError: {refused.value}"


def test_the_block_builder_by_keyboard_alone(open_explorer):
    page = open_explorer("block")
    page.get_by_role("button", name="+ 3×3 conv").focus()
    for key in ("Enter", "Tab", "Tab", "Enter", "Tab", "Enter"):  # 3×3 conv, BatchNorm, ReLU
        page.keyboard.press(key)
    assert "branch=3.64.1-b-r" in page.url
    page.get_by_role("button", name="Take away BatchNorm").focus()
    for left in ("3.64.1-r&", "3.64.1&", "&"):  # the keyboard goes to the tile that took its place, or the one before
        page.keyboard.press("Enter")
        assert f"branch={left}" in page.url
    assert page.evaluate("document.activeElement.textContent") == "+ 3×3 conv"


def test_a_volume_opens_its_arithmetic_and_a_part_shows_its_volumes(open_explorer):
    page = open_explorer("depth#network=18")
    page.locator("rect.volume[data-part='2']").first.click()
    part = page.locator(".explorer-parts details").nth(2)
    assert part.evaluate("part => part.open") and page.locator("rect.volume.chosen").count() > 0
    assert set(page.locator("rect.chosen").evaluate_all("all => all.map(one => one.dataset.part)")) == {"2"}


def lesion_errors(page) -> list[str]:
    return page.locator(".explorer-network .result strong").all_inner_texts()


def expected_lesions(seed: int, plain: int, residual: int) -> list[str]:
    return [f"{recorded_lesions(kind, seed)[mask]:.1f} %" for kind, mask in (("plain", plain), ("residual", residual))]


def test_the_lesion_explorer_by_mouse_shows_the_error_of_exactly_that_subset(open_explorer):
    page = open_explorer("lesions")
    removable = {kind: removable_blocks(cifar_resnet(20, shortcut)) for kind, shortcut in KINDS.items()}
    page.get_by_label("Switch both together").uncheck()
    for seed, *masks in LESION_STATES:
        page.get_by_role("button", name="All blocks on").click()
        page.get_by_label("Networks trained with seed").select_option(str(seed))
        for kind, mask in zip(KINDS, masks, strict=True):
            for place, name in enumerate(removable[kind]):
                if mask >> place & 1:
                    page.locator(f".explorer-network [name={kind}][value='{name}']").click()
        assert lesion_errors(page) == expected_lesions(seed, *masks)
        for digits, kind, mask in zip(page.locator(".explorer-digits").all(), KINDS, masks, strict=True):
            is_wrong = ["wrong" in (one.get_attribute("class") or "") for one in digits.locator("canvas").all()]
            wrong = lesions.data()["networks"][kind]["wrong"][str(seed)][mask]
            assert is_wrong == [bool(wrong >> i & 1) for i in range(40)]
        assert page.url.endswith(f"#seed={seed}&plain={masks[0]}&residual={masks[1]}&together=0")


def test_the_lesion_explorer_by_keyboard_switches_both_networks(open_explorer):
    page = open_explorer("lesions")
    page.get_by_label("plain-20, block layer1.1").focus()
    for key in ("Space", "Tab", "Tab", "Tab", "Tab", "Space"):  # without layer2.0, which can't be removed, to layer3.1
        page.keyboard.press(key)
    assert lesion_errors(page) == expected_lesions(0, 2 | 32, 2 | 128)
    assert page.get_by_label("plain-20, block layer2.0, can't be removed").is_disabled()
    assert page.get_by_label("residual-20, block layer2.0").is_disabled()  # plain-20 can't do without it
    page.get_by_label("Switch both together").uncheck()
    page.get_by_label("residual-20, block layer2.0").press("Space")
    assert lesion_errors(page) == expected_lesions(0, 2 | 32, 2 | 8 | 128)


@pytest.mark.parametrize(("seed", "most"), [(0, 2), (2, 3)])
def test_the_lesion_challenge_knows_the_best_answer_and_shows_it(open_explorer, seed, most):
    page = open_explorer(f"lesions#seed={seed}")
    contest = page.locator("[data-kind=residual] .contest")
    assert f"You have 0 off; the best of all 512 ways has {most}." in contest.inner_text()
    contest.get_by_role("button", name="Show it").press("Enter")
    assert page.evaluate("document.activeElement.value") == "layer1.0"  # the button is gone
    assert f"You have {most} off;" in contest.inner_text() and float(lesion_errors(page)[1].split()[0]) < 10


def degradation_rows(page) -> list[list[str]]:
    return [row.locator("th, td").all_inner_texts() for row in page.locator(".explorer-table tbody tr").all()]


def test_the_degradation_explorer_by_mouse_follows_every_choice(open_explorer):
    page = open_explorer("degradation")
    for folder, layers, shortcut, seed in RUNS:
        page.get_by_label("Runs").select_option(folder)
        page.get_by_role("combobox", name="Seed").select_option(str(seed))
        for name, wanted in (("depths", layers), ("shortcuts", shortcut)):
            for choice in page.locator(f"[name={name}]").all():
                choice.set_checked(choice.input_value() == str(wanted))
        name = f"{'plain' if shortcut == 'none' else 'residual'}-{layers}"
        expected = expected_errors(folder, layers, shortcut, seed)
        assert degradation_rows(page) == [[name, "3" if seed == "all" else str(seed), *expected]]
        assert page.locator(".explorer-drawing .curve").count() == (3 if seed == "all" else 1)
        assert page.locator(".explorer-drawing .mean").count() == (1 if seed == "all" else 0)
        assert f"{name}: {expected[0]} %." in page.locator(".explorer-status").inner_text()


def assert_drawn(curve, values):
    """In the order of the values; what is greater stands higher, in proportion."""
    heights = [-float(point.split(",")[1]) for point in curve.get_attribute("points").split()]
    assert np.corrcoef(heights, values)[0, 1] > 0.9999


def test_curves_are_drawn_where_the_recorded_errors_are(open_explorer):
    page = open_explorer("degradation#depths=56&shortcuts=none&seed=1&error=test")
    (record,) = [run for run in group_runs(load_records(results_folder("digits")))["none", 56] if run.recipe.seed == 1]
    errors = record.curves["test_error"]
    assert_drawn(page.locator(".curve.plain"), errors)
    page.locator("summary", has_text="The curves as numbers").click()
    assert ", ".join(f"{error:.2f}" for error in errors[:3]) in page.locator(".explorer details p").inner_text()


def test_an_address_opens_its_state_and_a_wrong_one_a_state_that_is_there(open_explorer):
    for address, numbers in (
        ("network=cifar56&shortcut=C&size=48", ("cifar56", "C", 48)),
        ("network=cifar56&size=224", ("cifar56", "B", 32)),  # no such size for this network
        ("network=51&shortcut=D&size=many", ("50", "B", 224)),
    ):
        assert depth_numbers(open_explorer(f"depth#{address}")) == expected_numbers(*numbers)
    page = open_explorer("lesions#seed=9&plain=128&residual=-1&together=maybe")
    assert lesion_errors(page) == expected_lesions(0, 0, 0)
    page = open_explorer("degradation#set=nothing&depths=8,9&seed=7&error=none")
    assert [row[0] for row in degradation_rows(page)] == ["plain-8", "residual-8"]
    page = open_explorer("degradation#depths=&shortcuts=all")
    assert degradation_rows(page) == [] and page.locator(".explorer-status").inner_text() == "No run is chosen."


def test_a_link_to_a_heading_keeps_the_state_and_a_link_to_a_state_opens_it(open_explorer):
    page = open_explorer("depth#network=18&shortcut=A&size=64")
    page.evaluate("location.hash = 'what-to-try'")
    assert depth_numbers(page) == expected_numbers("18", "A", 64)
    page.wait_for_url("**#network=18&shortcut=A&size=64*")  # the address can still be passed on
    page.get_by_role("button", name="Copy a link").click()
    page.locator(".explorer-link [role=status]", has_text=re.compile(r"\w")).wait_for()
    page.evaluate("location.hash = 'network=34'")
    page.wait_for_function("document.querySelector('.explorer select').value === '34'")
    assert depth_numbers(page) == expected_numbers("34", "B", 224)


def test_the_gradient_explorer_hides_what_is_to_be_guessed_and_then_shows_the_record(open_explorer):
    page = open_explorer("gradient")
    assert not page.locator(".explorer-drawing").first.is_visible()
    rows, others = (load_measurement(results_folder("probes") / f"{name}.json")["rows"] for name in ("trained", "ways"))
    ways = {(row["unit"]["depth"], row["unit"]["seed"]): row["ways"] for row in others}
    norms = {(row["unit"]["depth"], row["unit"]["kind"], row["unit"]["seed"]): row["norms"] for row in rows}
    for layers, moment, seed in ((56, "0", 0), (20, "10", 2)):
        for label, choice in (("Networks", layers), ("When", moment), ("Seed", seed)):
            page.get_by_label(label).select_option(str(choice))
        page.get_by_label("Your guess").fill("-3")
        page.get_by_role("button", name="Play").click()
        status = page.locator(".explorer > [role=status]")
        assert f"-{layers}" not in status.inner_text()  # before the pulse arrives
        status.filter(has_text="You guessed 10⁻³ times").wait_for()
        assert page.get_by_label("Your guess").get_attribute("aria-valuetext") == "10⁻³ times"
        said = status.inner_text()
        by_branch = [branch for _, branch in ways[layers, seed][moment]]
        assert_drawn(page.locator(".curve.by-branch"), np.log10(by_branch[::-1]))
        for kind in KINDS:
            shown = norms[layers, kind, seed][moment][:-1]
            assert_drawn(page.locator(f".curve.{kind}").first, np.log10(shown[::-1]))
            number = float(re.search(rf"([\d.,]+) times [a-z ]*in {kind}-{layers}", said)[1].replace(",", ""))
            assert number == pytest.approx(shown[0] / shown[-1], rel=0.06)
    assert page.url.endswith("#depth=20&moment=10&seed=2&guess=-3&played=1")


def test_two_explorers_of_one_page_share_its_address(open_page):
    page = open_page("notebooks/09_why_it_works.html", reduced_motion="reduce")
    page.get_by_role("button", name="Play").click()
    page.get_by_label("residual-20, block layer1.1").click()
    page = open_page("notebooks/09_why_it_works.html#" + page.url.partition("#")[2])
    assert page.locator("[data-explorer=gradient] .explorer-drawing").first.is_visible()
    assert lesion_errors(page) == expected_lesions(0, 2, 2)
