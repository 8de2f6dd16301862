"""The drills: every bug runs silently and shows in its evidence, and every question has the answer that it says."""

import re
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_course import drills
from resnet_course.drills import bug_hunt
from resnet_course.drills.answers import write_number
from resnet_course.drills.bug_list import BUGS
from resnet_lib import BasicBlock, Bottleneck, networks

pytestmark = pytest.mark.usefixtures("one_thread")

NUMBERS = range(1, drills.NUMBER_OF_BUGS + 1)
SEEDS = range(50)
every_number = pytest.mark.parametrize("number", NUMBERS)
every_kind = pytest.mark.parametrize("kind", drills.KINDS)


# The listings

LIBRARY = {
    "resnet50": lambda: networks.resnet50(zero_init_residual=True),
    "resnet20": lambda: networks.cifar_resnet(20),
    "finetuning": lambda: networks.cifar_resnet(20),
}


@pytest.mark.parametrize("listing", LIBRARY)
def test_a_correct_listing_begins_and_computes_like_the_library_s_network(listing):
    torch.manual_seed(0)
    model, library = bug_hunt.run_source(drills.correct_source(listing)).ResNet(), LIBRARY[listing]()
    pairs = zip(model.state_dict().items(), library.state_dict().values(), strict=True)
    for (name, own), other in pairs:
        assert own.shape == other.shape
        if own.dim() == 4 and own.numel() > 10_000:
            assert own.std().item() == pytest.approx(other.std().item(), rel=0.05), name
        elif "bn3.weight" in name:
            assert own.count_nonzero() == other.count_nonzero() == 0
    model.load_state_dict(dict(zip(model.state_dict(), library.state_dict().values(), strict=True)))
    for network in (model, library):  # zero-initialised BatchNorms would hide what the branches do
        torch.manual_seed(1)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
    images = torch.rand(2, 3, 64, 64)
    assert torch.allclose(model(images), library(images), rtol=1e-4, atol=1e-5)


# The bugs

CORRECT = {  # what each piece of evidence shows of the correct listing; the rest is no round number
    "last_side": "7",
    "used_share": "100 %",
    "neighbours_effect": "0 %",
    "moved_blocks": "16 of 16",
    "loss_when_sure": "0.00",
    "negative_share": "0 %",
    "smallest_output": "0.0",
    "identity_gap": "0.0",
    "without_gradient": "0",
    "zero_channels": "8",
    "top_left_share": "25 %",
    "image_change": "0.0",
    "gradient_growth": "1.00",
    "moved_tensors": "59 of 59",
    "red_share": "100 %",
    "accumulated": "1.00",
    "tensor_losses": "0",
}


@pytest.mark.parametrize("entry", BUGS, ids=lambda entry: entry.name)
def test_a_listing_has_one_bug_and_trains_and_predicts_without_error_or_warning(entry):
    assert all(drills.correct_source(entry.listing).count(right) == 1 for right in entry.edits)
    lines = bug_hunt.broken_source(entry).splitlines()
    assert len(lines) <= 85 and max(map(len, lines)) <= 83, "it fits the page"
    assert not entry.also or entry.also in [line.strip() for line in lines]
    torch.manual_seed(0)
    code = bug_hunt.run_source(bug_hunt.broken_source(entry))
    model = code.ResNet(width=4, num_classes=10)
    images, labels = torch.rand(4, 3, 64, 64), torch.randint(10, (4,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = [code.train_step(model, optimizer, images, labels) for _ in range(3)]
    assert all(torch.as_tensor(loss).isfinite() for loss in losses)
    assert code.predict(model, images).shape == (4, 10)


@every_number
def test_a_bug_shows_in_its_symptom_beside_the_correct_network_and_leaves_the_random_state(number):
    entry, before = bug_hunt.entry_of(number), torch.get_rng_state()
    bug_hunt.symptom.cache_clear()
    text = " ".join(drills.symptom(number).split())
    assert torch.equal(torch.get_rng_state(), before)
    bug_hunt.symptom.cache_clear()
    torch.rand(1)
    assert " ".join(drills.symptom(number).split()) == text, "drawn from a seed of its own"
    label, broken, correct = re.fullmatch(r"Measured, (.*): (.*); in the correct network (.*)\.", text).groups()
    assert label == entry.evidence.__doc__
    assert broken != correct == CORRECT.get(entry.evidence.__name__, correct)
    if entry.evidence.__name__ == "count_parameters":
        counts = [int(value.replace(",", "")) for value in (broken, correct)]
        assert counts[1] == (25_557_032 if entry.listing == "resnet50" else 269_722)
        if difference := re.match(r"[\d,]+(?= parameters)", entry.clue):
            assert int(difference[0].replace(",", "")) == abs(counts[1] - counts[0])


def test_the_numbers_do_not_give_the_bugs_away():
    order = [BUGS.index(bug_hunt.entry_of(number)) for number in NUMBERS]
    assert sorted(order) == list(range(len(BUGS)))
    assert sum(b == a + 1 for a, b in pairwise(order)) < 4
    assert len({entry.name for entry in BUGS}) == len({entry.explanation for entry in BUGS}) == len(BUGS)


# Guesses

NEIGHBOURS = {  # of a line that is left out
    "prediction in training mode": {"def predict(model, images):", "return model(images)"},
    "gradients that pile up": {"loss = F.cross_entropy(model(normalise(images)), labels)", "loss.backward()"},
    "the same order in every epoch": {
        "for epoch in range(epochs):",
        "for places in torch.tensor(list(sampler)).split(8):",
    },
    "no max pooling": {
        "x = F.relu(self.bn1(self.conv1(x)))",
        "x = self.layer4(self.layer3(self.layer2(self.layer1(x))))",
    },
}
BESIDE = {  # other lines that may be said as well: of what stands in another place, or beside what is left out
    "gradients cleared before the step": {"loss.backward()", "optimizer.zero_grad()", "optimizer.step()"},
    "optimizer before the new head": {"model.fc = nn.Linear(model.fc.in_features, num_classes)", "return optimizer"},
    "projection without BatchNorm": {"projection = conv(in_channels, out_channels, 1, stride)"},
    "shortcut of the activated branch": {"x = F.relu(self.bn1(self.conv1(x)))"},
}


@every_number
def test_just_the_lines_of_a_bug_are_right_answers(number):
    entry, lines = bug_hunt.entry_of(number), drills.bug(number).source.splitlines()
    correct = drills.correct_source(entry.listing).splitlines()
    accepted = {lines[i].strip() for i in range(len(lines)) if drills.guess(number, i + 1)}
    changed = {line.strip() for line in lines if line not in correct}
    right = changed | NEIGHBOURS.get(entry.name, set()) | ({entry.also} - {""})
    assert right <= accepted <= right | BESIDE.get(entry.name, set())


@every_number
def test_a_bug_its_hints_and_a_right_guess_tell_no_more_and_no_less_than_they_should(number):
    entry, source = bug_hunt.entry_of(number), drills.bug(number).source
    _, _, *shown = repr(drills.bug(number)).splitlines()
    assert shown == [f"{i:3}  {line}".rstrip() for i, line in enumerate(source.splitlines(), 1)]
    assert entry.name not in repr(drills.bug(number))
    assert [drills.hint(number), drills.hint(number, 2)] == [entry.clue, drills.symptom(number)]
    places = re.fullmatch(r"It is in (.+)\.", drills.hint(number, 3))[1].split(" or ")
    assert len(places) <= 2 and all(f"def {place.rpartition('.')[2]}(" in source for place in places)
    line = min(bug_hunt.accepted_lines(entry))
    answer = drills.guess(number, line)
    assert answer and repr(answer) == answer.text
    assert answer.text.startswith(f"Right, line {line}: {entry.name}.\n")
    assert answer.text.endswith(f"\n\n{drills.symptom(number)}")
    assert entry.explanation in " ".join(answer.text.split())
    difference = set(drills.correct_source(entry.listing).splitlines()) ^ set(source.splitlines())
    assert {line.strip() for line in difference} <= {text[8:].strip() for text in answer.text.splitlines()}


@pytest.mark.parametrize("line", [0, 78, 1.0, "35", True])
def test_a_guess_that_is_wrong_or_no_line_is_one_sentence(line):
    number = next(number for number in NUMBERS if bug_hunt.entry_of(number).name == "missing last ReLU")
    wrong = drills.guess(number, np.int64(1))
    assert repr(wrong) == "Line 1 is as it should be." and not wrong
    assert not drills.guess(number, line)
    assert repr(drills.guess(number, line)) == f"A line is a whole number from 1 to 77, got {line!r}."


# Questions: each is answered a second time from its text alone, and without the library's arithmetic.


def on_meta(build):
    with torch.device("meta"):
        return build()


NETWORKS = {depth: on_meta(getattr(networks, f"resnet{depth}")).eval() for depth in (18, 34, 50, 101, 152)}


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@cache
def stage_output(depth, stage, height, width):
    """The shape that leaves a stage of a real network, without numbers in it."""
    network, x = NETWORKS[depth], torch.empty(1, 3, height, width, device="meta")
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    for layer in [network.layer1, network.layer2, network.layer3, network.layer4][:stage]:
        x = layer(x)
    return tuple(x.shape[1:])


def solve_convolution(text, k, _, before, after):
    return count(on_meta(lambda: nn.Conv2d(before, after, k, bias="with biases" in text)))


def made_block(text, before, wide, stride):
    kind = Bottleneck if "bottleneck" in text else BasicBlock
    return on_meta(lambda: kind(before, wide // kind.expansion, stride))


def solve_block(text, before, wide, *rest):
    return count(made_block(text, before, wide, rest[-1]))


def solve_stage(text, number, before, wide, *_):
    return count(made_block(text, before, wide, 2), *(made_block(text, wide, wide, 1) for _ in range(number - 1)))


def solve_multiply_adds(text, size, _, k, __, before, after, stride, padding, *___):
    layer = on_meta(lambda: nn.Conv2d(before, after, k, stride, padding))
    with FlopCounterMode(display=False) as counter:
        layer(torch.empty(1, before, size, size, device="meta"))
    return counter.get_total_flops() // 2


def solve_shape(text, height, width, depth, stage):
    return stage_output(depth, stage, height, width)


def solve_receptive_field(text, *numbers):
    """The extent of the gradient that one value sends to the image, with all weights positive."""
    image = torch.zeros(1, 1, 1000, dtype=torch.float64, requires_grad=True)
    out = image
    for kernel, stride in zip(numbers[::3], numbers[2::3], strict=True):
        out = nn.functional.conv1d(out, torch.ones(1, 1, kernel, dtype=torch.float64), stride=stride)
    out[0, 0, out.shape[2] // 2].backward()
    seen = image.grad[0, 0].nonzero()
    return int(seen.max() - seen.min()) + 1


def solve_bottleneck_ratio(text, _, __, wide, ___, ____, narrow, *_____):
    sizes = [(wide, narrow, 1), (narrow, narrow, 3), (narrow, wide, 1)]
    layers = [on_meta(lambda size=size: nn.Conv2d(*size, bias=False)) for size in [(wide, wide, 3), *sizes]]
    return 2 * count(layers[0]) / count(*layers[1:])


def solve_activation_memory(text, _, __, stage, depth, batch, size, *rest):
    dtype = torch.bfloat16 if "bfloat16" in text else torch.float32
    return batch * torch.empty(stage_output(depth, stage, size, size), dtype=dtype, device="meta").nbytes / 2**20


@every_kind
def test_a_question_s_answer_is_that_of_an_independent_count_and_ends_its_solution(kind):
    solve = globals()[f"solve_{kind.replace(' ', '_').replace('-', '_')}"]
    for seed in SEEDS[:12] if kind in ("shape", "activation memory") else SEEDS:  # deep networks take a while
        ask = drills.question(seed, kind)
        assert ask.answer == solve(ask.text, *map(int, re.findall(r"\d+", ask.text))), ask.text
        for number in ask.answer if isinstance(ask.answer, tuple) else [ask.answer]:
            assert write_number(number) in ask.solution or str(number) in ask.solution, ask.solution
        for product, result in re.findall(r": (\d+·[\d·(+ )]*) = ([\d,]+)$", ask.solution, re.MULTILINE):
            assert eval(product.replace("·", "*")) == int(result.replace(",", "")), ask.solution


@every_kind
def test_an_answer_is_told_right_or_wrong_and_why(kind):
    wrong_slips = 0
    for seed in SEEDS:
        ask = drills.question(seed, kind)
        assert ask.check(ask.answer).startswith("Right: ") and ask.unit in ask.check(ask.answer)
        if not isinstance(ask.answer, tuple):
            assert ask.check(float(write_number(ask.answer).replace(",", ""))).startswith("Right"), "as it is written"
        for slip, mistake in ask.slips:
            hits = slip == ask.answer or (ask.tolerance and abs(slip / ask.answer - 1) <= ask.tolerance)  # by chance
            assert ask.check(slip).startswith("Right") if hits else mistake in ask.check(slip), ask.text
            wrong_slips += not hits
    assert wrong_slips > 0.9 * len(SEEDS)


@every_kind
def test_the_same_seed_asks_the_same_and_other_seeds_ask_something_else(kind):
    texts = [drills.question(seed, kind).text for seed in SEEDS]
    assert texts == [drills.question(np.int64(seed), kind).text for seed in SEEDS]
    assert len(set(texts)) > 25


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: drills.hint(0), f"number .*from 1 to {len(NUMBERS)}, got 0"),
        (lambda: drills.bug(len(NUMBERS) + 1), f"got {len(NUMBERS) + 1}"),
        (lambda: drills.symptom(1.0), "number .*got 1.0"),
        (lambda: drills.guess(True, 1), "number .*got True"),
        (lambda: drills.hint(1, 4), "level must be 1, 2 or 3, got 4"),
        (lambda: drills.question(-1), "seed .*from 0 up, got -1"),
        (lambda: drills.correct_source("resnet18"), "listing must be one of 'resnet50', .*got 'resnet18'"),
        (lambda: drills.question(0, "riddle"), "kind must be one of 'convolution', .*got 'riddle'"),
    ],
)
def test_what_is_no_number_level_seed_or_kind_is_refused(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_an_answer_of_the_wrong_form_or_size_is_told_so():
    ask = drills.question(1, "convolution")
    assert ask.check(ask.answer + 7) == f"{ask.answer + 7:,} is too large."
    assert ask.check(1) == "1 is too small."
    assert ask.check(True) == "The answer is a number, got bool."
    shape = drills.question(1, "shape")
    channels, height, width = shape.answer
    assert shape.check((channels + 1, height, width + 1)).endswith("is not right: look at channels and width.")
    assert shape.check([channels, height, width]).startswith("Right")
    assert shape.check(channels) == f"The answer is 3 numbers, (channels, height, width), got {channels}."
    ratio = drills.question(2, "bottleneck ratio")
    assert ratio.check(ratio.answer * 1.04).startswith("Right")
    assert not ratio.check(ratio.answer * 1.06).startswith("Right")
