"""The drills: every bug runs silently and shows in its measurement, and every question has the answer that it says."""

import ast
import re
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_course import drills
from resnet_course.drills import bugs
from resnet_course.drills.answers import write_number
from resnet_course.drills.catalogue import CATALOGUE
from resnet_lib import networks
from resnet_lib.blocks import BasicBlock, Bottleneck

pytestmark = pytest.mark.usefixtures("one_thread")

NUMBERS = range(1, drills.NUMBER_OF_BUGS + 1)
every_bug = pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
every_number = pytest.mark.parametrize("number", NUMBERS)
every_listing = pytest.mark.parametrize("listing", ["resnet50", "resnet20"])


def run_broken(entry):
    return bugs.run_source(bugs.broken_source(entry))


def run_correct(listing):
    return bugs.run_source(bugs.correct_source(listing))


@cache
def measure_correct(measure, listing, seed):
    return measure(run_correct(listing), seed)


def number_of(name):
    return next(number for number in NUMBERS if bugs.entry_of(number).name == name)


# The listings.

LIBRARY = {
    "resnet50": lambda: networks.resnet50(zero_init_residual=True),
    "resnet20": lambda: networks.cifar_resnet(20),
}


@every_listing
def test_a_correct_listing_computes_what_the_library_s_network_computes(listing):
    torch.manual_seed(0)
    model, library = run_correct(listing).ResNet(), LIBRARY[listing]()
    state = library.state_dict()
    assert [value.shape for value in model.state_dict().values()] == [value.shape for value in state.values()]
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    images = torch.rand(2, 3, 64, 64)
    for network in (model, library):  # zero-initialised BatchNorms would hide what the branches do
        torch.manual_seed(1)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
    assert torch.allclose(model(images), library(images), rtol=1e-4, atol=1e-5)


@every_listing
def test_a_correct_listing_begins_like_the_library_s_network(listing):
    torch.manual_seed(0)
    model, library = run_correct(listing).ResNet(), LIBRARY[listing]()
    for (name, own), other in zip(model.state_dict().items(), library.state_dict().values(), strict=True):
        if own.dim() == 4 and own.numel() > 10_000:
            assert own.std().item() == pytest.approx(other.std().item(), rel=0.05), name
        elif "bn3.weight" in name:
            assert own.count_nonzero() == other.count_nonzero() == 0


@every_bug
def test_a_listing_fits_the_page(entry):
    lines = bugs.broken_source(entry).splitlines()
    assert len(lines) <= 85
    assert max(map(len, lines)) <= 83


# The bugs.


@every_bug
def test_the_edits_of_a_bug_hit_one_place_each_and_change_it(entry):
    source = bugs.correct_source(entry.listing)
    for right, wrong in entry.edits:
        assert source.count(right) == 1, right
        assert wrong != right
    for line in entry.also:
        assert sum(line == other.strip() for other in bugs.broken_source(entry).splitlines()) >= 1, line


@every_bug
def test_a_broken_network_trains_and_predicts_without_error_or_warning(entry):
    torch.manual_seed(0)
    code = run_broken(entry)
    model = code.ResNet(width=4, num_classes=10)
    images, labels = torch.rand(4, 3, 64, 64), torch.randint(10, (4,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = [code.train_step(model, optimizer, images, labels) for _ in range(3)]
    assert all(map(torch.isfinite, map(torch.tensor, losses)))
    assert code.predict(model, images).shape == (4, 10)


@pytest.mark.parametrize("seed", range(3))
@every_bug
def test_a_bug_shows_in_its_measurement_and_the_correct_network_does_not(entry, seed):
    symptom = entry.symptom
    broken = symptom.measure(run_broken(entry), seed)
    correct = measure_correct(symptom.measure, entry.listing, seed)
    assert symptom.is_healthy(correct), correct
    assert not symptom.is_healthy(broken), broken
    assert symptom.form.format(broken) != symptom.form.format(correct)


@every_bug
def test_a_measurement_leaves_the_random_state(entry):
    before = torch.get_rng_state()
    entry.symptom.measure(run_correct(entry.listing), 5)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_numbers_do_not_give_the_bugs_away():
    order = [CATALOGUE.index(bugs.entry_of(number)) for number in NUMBERS]
    assert sorted(order) == list(range(len(CATALOGUE)))
    assert sum(b == a + 1 for a, b in pairwise(order)) < 4
    assert len({entry.name for entry in CATALOGUE}) == len({entry.explanation for entry in CATALOGUE}) == len(CATALOGUE)


# Guesses.


@every_number
def test_just_the_lines_of_a_bug_are_right_answers(number):
    entry = bugs.entry_of(number)
    right, broken = bugs.correct_source(entry.listing).splitlines(), bugs.broken_source(entry).splitlines()
    accepted = {line for line in range(1, len(broken) + 1) if drills.guess(number, line)}
    assert 1 <= len(accepted) <= 4
    assert {i for i, line in enumerate(broken, 1) if line not in right} <= accepted
    if entry.name not in LEFT_OUT:
        changes = [wrong.strip() for _, wrong in entry.edits if wrong]
        for line in (broken[i - 1].strip() for i in accepted):
            assert line in entry.also or any(change in line or line in change for change in changes)


LEFT_OUT = {
    "prediction in training mode": ["def predict(model, images):", "return model(images)"],
    "gradients that pile up": ["loss = F.cross_entropy(model(normalise(images)), labels)", "loss.backward()"],
    "no max pooling": [
        "x = F.relu(self.bn1(self.conv1(x)))",
        "x = self.layer4(self.layer3(self.layer2(self.layer1(x))))",
    ],
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_both_neighbours_of_a_line_that_is_left_out_are_right_answers(name):
    number = number_of(name)
    lines = drills.bug(number).source.splitlines()
    accepted = [lines[i].strip() for i in range(len(lines)) if drills.guess(number, i + 1)]
    assert set(LEFT_OUT[name]) <= set(accepted)


@every_number
def test_a_right_guess_names_the_bug_and_shows_the_change_and_the_measurement(number):
    entry = bugs.entry_of(number)
    line = min(bugs.accepted_lines(entry))
    answer = drills.guess(number, line)
    assert answer and repr(answer) == answer.text
    assert answer.text.startswith(f"Right, line {line}: {entry.name}.\n")
    for right, wrong in entry.edits:
        for text in ast.literal_eval(repr(right)).splitlines():
            if text not in wrong and text not in bugs.broken_source(entry):
                assert text.strip() in answer.text
    flat = " ".join(answer.text.split())
    assert " ".join(entry.explanation.split()) in flat
    assert str(drills.symptom(number)) in answer.text
    assert max(map(len, answer.text.splitlines())) <= 100


def test_a_symptom_puts_both_values_side_by_side():
    text = " ".join(drills.symptom(number_of("biases in front of BatchNorm")).split())
    assert text == "Measured, parameters: 25,583,592; in the correct network 25,557,032."
    assert "50 %" not in repr(drills.symptom(number_of("missing first ReLU"))).split("network")[1]


def test_a_wrong_guess_is_one_sentence():
    number = number_of("missing last ReLU")
    assert repr(drills.guess(number, 1)) == "Line 1 is as it should be."
    assert not drills.guess(number, 1)


@pytest.mark.parametrize("line", [0, -1, 78, 1.0, "35", True, None])
def test_a_guess_that_is_no_line_is_one_sentence(line):
    answer = drills.guess(number_of("missing last ReLU"), line)
    assert not answer
    assert repr(answer) == f"A line is a whole number from 1 to 77, got {line!r}."


@every_number
def test_a_bug_shows_its_lines_with_numbers_and_not_its_name(number):
    shown = repr(drills.bug(number)).splitlines()
    lines = drills.bug(number).source.splitlines()
    assert shown[0] == f"Bug {number}: which line is wrong?"
    assert [f"{i:3}  {line}".rstrip() for i, line in enumerate(lines, 1)] == shown[2:]
    assert bugs.entry_of(number).name not in "\n".join(shown)


@every_number
def test_hints_go_from_a_question_over_the_symptom_to_the_place(number):
    entry = bugs.entry_of(number)
    assert repr(drills.hint(number)) == entry.clue
    assert drills.hint(number, 2) == drills.symptom(number)
    place = re.fullmatch(r"It is in (.+)\.", drills.hint(number, 3)).group(1)
    names = [name.rpartition(".")[2] for name in place.split(" or ")]
    assert 1 <= len(names) <= 2
    assert all(f"def {name}(" in drills.bug(number).source for name in names)


@pytest.mark.parametrize("function", [drills.bug, drills.symptom, drills.hint, lambda number: drills.guess(number, 1)])
@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (0, ValueError, "number must be a whole number from 1 up, got 0"),
        (len(NUMBERS) + 1, ValueError, f"number must be from 1 to {len(NUMBERS)}, got {len(NUMBERS) + 1}"),
        ("1", TypeError, "number must be a whole number from 1 up, got '1'"),
    ],
)
def test_a_number_without_a_bug_is_refused(function, number, error, message):
    with pytest.raises(error, match=re.escape(message)):
        function(number)


@pytest.mark.parametrize("level", [0, 4, "1"])
def test_a_level_without_a_hint_is_refused(level):
    with pytest.raises((TypeError, ValueError), match="level must be"):
        drills.hint(1, level)


# Questions. Each is answered a second time without the library's arithmetic.

SEEDS = range(200)
BLOCKS = {"basic block": BasicBlock, "bottleneck": Bottleneck}
every_kind = pytest.mark.parametrize("kind", drills.KINDS)


def on_meta(build):
    with torch.device("meta"):
        return build()


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def stage_output(depth, stage, batch, height, width, dtype=torch.float32):
    """What leaves a stage of a real network, without numbers in it."""
    network = NETWORKS[depth]
    x = torch.empty(batch, 3, height, width, device="meta", dtype=torch.float32)
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    for layer in [network.layer1, network.layer2, network.layer3, network.layer4][:stage]:
        x = layer(x)
    return x.to(dtype)


NETWORKS = {depth: on_meta(getattr(networks, f"resnet{depth}")).eval() for depth in (18, 34, 50, 101, 152)}


def solve_convolution(given):
    shape = given["in_channels"], given["out_channels"], given["kernel"]
    return count(on_meta(lambda: nn.Conv2d(*shape, bias=given["bias"])))


def solve_block(given):
    return count(on_meta(lambda: BLOCKS[given["block"]](given["in_channels"], given["channels"], given["stride"])))


def solve_stage(given):
    block, channels = BLOCKS[given["block"]], given["channels"]
    first = on_meta(lambda: block(given["in_channels"], channels, 2))
    others = [on_meta(lambda: block(channels * block.expansion, channels)) for _ in range(given["count"] - 1)]
    return count(first, *others)


def solve_multiply_adds(given):
    conv = on_meta(
        lambda: nn.Conv2d(
            given["in_channels"], given["out_channels"], given["kernel"], given["stride"], given["kernel"] // 2
        )
    )
    with FlopCounterMode(display=False) as counter:
        conv(torch.empty(1, given["in_channels"], given["size"], given["size"], device="meta"))
    return counter.get_total_flops() // 2


def solve_shape(given):
    return tuple(stage_output(given["depth"], given["stage"], 1, given["height"], given["width"]).shape[1:])


def solve_receptive_field(given):
    """The extent of the gradient that one value sends to the image, with all weights positive."""
    image = torch.zeros(1, 1, 1000, dtype=torch.float64, requires_grad=True)
    out = image
    for kernel, stride in given["layers"]:
        out = nn.functional.conv1d(out, torch.ones(1, 1, kernel, dtype=torch.float64), stride=stride)
    out[0, 0, out.shape[2] // 2].backward()
    seen = image.grad[0, 0].nonzero()
    return int(seen.max() - seen.min()) + 1


def solve_bottleneck_ratio(given):
    wide, narrow = given["channels"], given["narrow"]
    two = on_meta(lambda: nn.ModuleList(nn.Conv2d(wide, wide, 3, bias=False) for _ in range(2)))
    sizes = [(wide, narrow, 1), (narrow, narrow, 3), (narrow, wide, 1)]
    three = on_meta(lambda: nn.ModuleList(nn.Conv2d(*size, bias=False) for size in sizes))
    return count(two) / count(three)


def solve_activation_memory(given):
    dtype = getattr(torch, given["dtype"])
    out = stage_output(given["depth"], given["stage"], given["batch"], given["size"], given["size"], dtype)
    return out.numel() * out.element_size() / 2**20


SOLVERS = {
    "convolution": solve_convolution,
    "block": solve_block,
    "stage": solve_stage,
    "multiply-adds": solve_multiply_adds,
    "shape": solve_shape,
    "receptive field": solve_receptive_field,
    "bottleneck ratio": solve_bottleneck_ratio,
    "activation memory": solve_activation_memory,
}


def test_every_kind_is_solved_a_second_time():
    assert set(SOLVERS) == set(drills.KINDS)


@torch.no_grad()
def solve_without_gradients(kind, given):
    return SOLVERS[kind](given)


@every_kind
def test_the_answer_is_that_of_an_independent_count(kind):
    solve = SOLVERS[kind] if kind == "receptive field" else lambda given: solve_without_gradients(kind, given)
    # A deep network takes a while, even without numbers.
    for seed in SEEDS[:25] if kind in ("shape", "activation memory") else SEEDS:
        ask = drills.question(seed, kind)
        assert ask.answer == solve(ask.given), ask.text


@every_kind
def test_the_text_holds_every_number_that_is_needed_and_the_solution_ends_in_the_answer(kind):
    for seed in SEEDS:
        ask = drills.question(seed, kind)
        drawn = [value for value in ask.given.values() if isinstance(value, int) and not isinstance(value, bool)]
        if kind == "receptive field":
            drawn = [number for layer in ask.given["layers"] for number in layer]
        written = set(re.findall(r"\d+", ask.text))
        expansions = {4 * ask.given["channels"]} if ask.given.get("block") == "bottleneck" else set()
        assert {str(number) for number in {*drawn, *expansions}} <= written, ask.text
        for number in ask.answer if isinstance(ask.answer, tuple) else [ask.answer]:
            assert write_number(number) in ask.solution or str(number) in ask.solution, ask.solution


@every_kind
def test_an_answer_is_told_right_or_wrong(kind):
    for seed in SEEDS:
        ask = drills.question(seed, kind)
        assert ask.check(ask.answer) == f"Right: {ask.write(ask.answer)}."
        for slip, mistake in ask.slips:
            sentence = ask.check(slip)
            hits = slip == ask.answer or (ask.tolerance and abs(slip / ask.answer - 1) <= ask.tolerance)  # by chance
            assert sentence.startswith("Right") if hits else mistake in sentence, ask.text
            assert "\n" not in sentence


@every_kind
def test_most_questions_have_a_slip_that_is_wrong(kind):
    asked = [drills.question(seed, kind) for seed in SEEDS]
    slips = [(ask.answer, slip) for ask in asked for slip, _ in ask.slips]
    assert sum(slip != answer for answer, slip in slips) > 0.9 * len(SEEDS)


@every_kind
def test_the_same_seed_asks_the_same_and_other_seeds_ask_something_else(kind):
    texts = [drills.question(seed, kind).text for seed in range(50)]
    assert texts == [drills.question(seed, kind).text for seed in range(50)]
    assert len(set(texts)) > 40


def test_without_a_kind_all_kinds_come():
    assert {drills.question(seed).kind for seed in SEEDS} == set(drills.KINDS)


def test_a_wrong_number_is_told_its_side():
    ask = drills.question(1, "convolution")
    assert ask.check(ask.answer + 7) == f"{ask.answer + 7:,} is too large."
    assert ask.check(1) == "1 is too small."
    assert ask.check("9,536") == "The answer is a number, got str."
    assert ask.check(True) == "The answer is a number, got bool."


def test_a_wrong_shape_is_told_its_part():
    ask = drills.question(1, "shape")
    channels, height, width = ask.answer
    assert ask.check((channels + 1, height, width + 1)).endswith("is not right: look at channels and width.")
    assert ask.check([channels, height, width]).startswith("Right")
    assert ask.check(channels) == f"The answer is 3 numbers, (channels, height, width), got {channels}."
    assert ask.check((1, 2)).startswith("The answer is 3 numbers")


def test_what_is_written_is_within_the_tolerance():
    for kind in ("bottleneck ratio", "activation memory"):
        for seed in SEEDS:
            ask = drills.question(seed, kind)
            assert ask.check(float(write_number(ask.answer).replace(",", ""))).startswith("Right")


@pytest.mark.parametrize("kind", ["bottleneck ratio", "activation memory"])
def test_a_rounded_answer_within_one_percent_is_right(kind):
    ask = drills.question(2, kind)
    assert ask.check(ask.answer * 1.009).startswith("Right")
    assert not ask.check(ask.answer * 1.011).startswith("Right")


def test_a_question_shows_itself_as_its_text():
    ask = drills.question(4, "stage")
    assert " ".join(repr(ask).split()) == ask.text
    assert max(map(len, repr(ask).splitlines())) <= 88
    assert repr(ask.solution) == str(ask.solution)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises((TypeError, ValueError), match="seed must be a whole number from 0 up"):
        drills.question(seed)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind must be one of 'convolution'"):
        drills.question(0, "riddle")
