"""The fast loop computes what the readable loop computes, and chooses its precision by what the device can do."""

import copy
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import MagicMock, call

import pytest
import torch
from outcomes import CPU, first_digits
from torch import Tensor, nn

from resnet_lib.augment import AugmentedImages
from resnet_lib.checkpoints import find_checkpoint, save_checkpoint
from resnet_lib.fast import FastLoop, choose_layout, choose_precision, make_optimizer, repeatable
from resnet_lib.recipes import Recipe
from resnet_lib.schedules import make_scheduler
from resnet_lib.training import Run, build_model, fit, train, train_epoch

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:Please use the new API settings"),  # of TF32: PyTorch 2.9 to 2.11
]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

GPU = torch.device("cuda")
EPOCHS = 3
RECIPE = Recipe(depth=8, width=4, epochs=EPOCHS, batch_size=32)
FEW = first_digits(200)  # no multiple of the batch
SETTINGS = [
    {"shortcut": "none"},
    {"shortcut": "B", "schedule": "steps"},
    {"augment": True, "momentum": 0.0},
    {"depth": 20, "batch_size": 200},
    {"batch_size": 199},
]
Losses = list[tuple[float, float]]  # of each epoch: the mean loss, and the error in percent


class Training:
    """One network of RECIPE's kind, its images, and its optimizer, ready for an epoch of either loop."""

    def __init__(self, recipe: Recipe, device: torch.device = CPU) -> None:
        self.recipe = recipe
        model = build_model(recipe, FEW)
        layout = choose_layout(model, device)
        self.model = model.to(device, memory_format=layout)
        self.optimizer = make_optimizer(self.model, recipe, device)
        self.images = (
            AugmentedImages(FEW.train_images.to(device), FEW.mean, FEW.std)
            if recipe.augment
            else FEW.normalise(FEW.train_images).contiguous(memory_format=layout).to(device)
        )
        self.labels = FEW.train_labels.to(device)
        steps = recipe.epochs * -(-len(self.labels) // recipe.batch_size)
        self.scheduler = make_scheduler(self.optimizer, recipe, steps, [])
        self.generator = torch.Generator().manual_seed(recipe.seed)

    def order(self) -> Tensor:
        """The order of the next epoch; the images are shifted anew."""
        order = torch.randperm(len(self.labels), generator=self.generator)
        if self.recipe.augment:
            self.images.draw(self.generator)
        return order.to(self.labels.device)

    def readable(self) -> Losses:
        rest = self.recipe.batch_size, self.optimizer, self.scheduler
        return [train_epoch(self.model, self.images, self.labels, self.order(), *rest) for _ in range(EPOCHS)]

    def fast(self) -> Losses:
        loop = FastLoop(self.model, self.optimizer, self.recipe.precision, capture=True)
        rest = self.recipe.batch_size, self.scheduler
        return [loop.train_epoch(self.images, self.labels, self.order(), *rest) for _ in range(EPOCHS)]

    def everything(self) -> list[Tensor]:
        """Weights, BatchNorm's statistics, momenta."""
        momenta = [state["momentum_buffer"] for state in self.optimizer.state.values() if state]
        return [tensor.detach().clone() for tensor in [*self.model.state_dict().values(), *momenta]]


def check_equal(ones: list[Tensor], others: list[Tensor]) -> None:
    for one, other in zip(ones, others, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def check_close(losses: Losses, others: Losses, rel: float, points: float) -> None:
    """Losses within a share of the others, errors within so many points."""
    assert [loss for loss, _ in losses] == pytest.approx([loss for loss, _ in others], rel=rel)
    assert [error for _, error in losses] == pytest.approx([error for _, error in others], abs=points)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_both_loops_compute_the_same_to_the_last_bit(settings):
    readable, fast = (Training(replace(RECIPE, **settings)) for _ in range(2))
    losses = readable.readable()
    assert losses == fast.fast()
    check_equal(readable.everything(), fast.everything())


# Half precision


def test_half_precision_is_in_the_convolutions_alone_and_trains_nearly_as_float32():
    training, seen = Training(replace(RECIPE, precision="bfloat16", lr=0.02)), set()
    for module in training.model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    losses = training.fast()
    assert seen == {torch.bfloat16} and not torch.is_autocast_enabled("cpu")
    assert {t.dtype for t in training.everything() if t.is_floating_point()} == {torch.float32}
    check_close(losses, Training(replace(RECIPE, lr=0.02)).fast(), 0.02, 3.0)


def test_nothing_is_trained_in_float16_whose_overflow_would_look_like_degradation():
    with pytest.raises(ValueError, match="precision must be one of 'float32', 'bfloat16', got 'float16'"):
        train(Recipe(depth=56, shortcut="none", epochs=2, precision="float16"), FEW, CPU)


@pytest.mark.parametrize(("capability", "precision"), [((6, 1), "float32"), ((7, 5), "float32"), ((8, 0), "bfloat16")])
def test_a_gpus_precision_is_what_its_capability_has_natively(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    # PyTorch says yes to bfloat16 even where it is emulated.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *args, **kwargs: True)
    assert choose_precision(GPU) == precision


@pytest.mark.parametrize("there", [{"amx"}, {"avx512_bf16"}, set()])
def test_a_cpus_precision_is_bfloat16_only_with_instructions_for_it(monkeypatch, there):
    for name in ("amx", "avx512_bf16"):
        function = f"_is_{name.replace('amx', 'amx_tile')}_supported"
        monkeypatch.setattr(torch.cpu, function, lambda has=name in there: has, raising=False)
    assert choose_precision(CPU) == ("bfloat16" if there else "float32")
    for function in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):  # a release that can't tell
        monkeypatch.delattr(torch.cpu, function)
    assert choose_precision(CPU) == choose_precision(torch.device("mps")) == "float32"


# The captured graph, pretended: what surrounds the capture must put everything back, on whatever device


@pytest.fixture
def pretended_gpu(monkeypatch) -> list[int]:
    """Let a CPU pass for a GPU; the sizes of the batches for which a graph was captured, in order.

    On a GPU the captured step is only noted; here it is run, and has to be put back all the same.
    """
    captured, autocast = [], torch.autocast
    capture, make = FastLoop._capture, FastLoop.__init__

    def capture_and_note(loop, images, labels, batch):
        captured.append(len(batch))
        graph, static_batch = capture(loop, images, labels, batch)
        sums = loop.loss_sum, loop.wrong

        def replay():
            assert loop.loss_sum is sums[0] and loop.wrong is sums[1], "a graph adds to them where they were"
            loop._step(images, labels, static_batch)

        graph.replay = replay
        return graph, static_batch

    def make_on_a_gpu(loop, *args, **options):
        make(loop, *args, **options)
        loop.device = GPU

    stand_ins = {"Stream": MagicMock, "current_stream": MagicMock, "CUDAGraph": SimpleNamespace}
    for name, value in (stand_ins | {"stream": nullcontext, "graph": nullcontext}).items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch, "autocast", lambda device, *rest, **options: autocast("cpu", *rest, **options))
    monkeypatch.setattr(FastLoop, "_capture", capture_and_note)
    monkeypatch.setattr(FastLoop, "__init__", make_on_a_gpu)
    return captured


@pytest.mark.parametrize("settings", [*SETTINGS, {"precision": "bfloat16"}], ids=str)
def test_capturing_a_step_changes_nothing_that_training_reads(settings, pretended_gpu, monkeypatch):
    recipe = replace(RECIPE, **settings)
    with monkeypatch.context() as patch:
        patch.setattr(FastLoop, "_replay", FastLoop._step)
        eager = Training(recipe)
        expected = eager.fast()
    assert not pretended_gpu
    training = Training(recipe)
    assert training.fast() == expected
    check_equal(training.everything(), eager.everything())
    last = 200 % recipe.batch_size
    assert pretended_gpu == [recipe.batch_size, *([last] if last else [])], "once for each size of a batch"


def test_other_images_than_those_that_the_graph_reads_are_refused(pretended_gpu):
    training = Training(RECIPE)
    loop = FastLoop(training.model, training.optimizer, capture=True)
    images, labels = training.images, training.labels
    rest = torch.arange(200), 100, training.scheduler
    loop.train_epoch(images, labels, *rest)
    for others in ((images.clone(), labels), (images, labels.clone())):
        with pytest.raises(ValueError, match="images and labels must be the same tensors in every epoch"):
            loop.train_epoch(*others, *rest)


IN_HALF = replace(RECIPE, precision="bfloat16", augment=True)


def test_only_the_librarys_own_networks_are_captured(pretended_gpu):
    """A graph would freeze what any other model decides in Python, such as which layers to skip."""
    skipped = []

    class SometimesSkipped(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            skipped.append(len(skipped) % 2)
            return super().forward(x) if skipped[-1] else x

    model = nn.Sequential(nn.Flatten(), SometimesSkipped(64, 64), nn.Linear(64, 10))
    fit(model, IN_HALF, FEW)
    assert not pretended_gpu and len(skipped) == EPOCHS * (7 + 1), "Python decides in every step"
    train(IN_HALF, FEW, CPU)
    assert pretended_gpu == [32, 8]


def test_after_restore_the_steps_are_captured_anew(pretended_gpu):
    run = Run(IN_HALF, FEW, CPU)
    run.train_epoch()
    state = copy.deepcopy(run.state())
    run.train_epoch()
    expected = copy.deepcopy(run.curves)
    run.restore(state)
    assert not run.fast_loop.graphs, "which read the momenta from where they were"
    run.train_epoch()
    assert run.curves == expected and pretended_gpu == [32, 8] * 2


def test_cudnn_repeats_its_bits_while_a_run_trains_and_the_users_settings_stay(monkeypatch):
    cudnn, names = torch.backends.cudnn, ("enabled", "deterministic", "benchmark", "allow_tf32")
    for name, value in zip(names, (True, False, True, False), strict=True):
        monkeypatch.setattr(cudnn, name, value)

    def settings() -> list[bool]:
        return [getattr(cudnn, name) for name in names]

    with pytest.raises(CutOffError), repeatable(GPU):
        assert settings() == [True, True, False, False]
        raise CutOffError
    with repeatable(CPU):  # where runs side by side would put back each other's
        assert settings() == [True, False, True, False]
    assert settings() == [True, False, True, False]

    used = MagicMock()
    monkeypatch.setattr("resnet_lib.training.repeatable", used)
    train(RECIPE, FEW, CPU)
    fit(build_model(RECIPE, FEW), RECIPE, FEW)
    assert used.call_args_list == [call(CPU)] * 2, "by all that train"


class CutOffError(Exception):
    """What ends a run before its time."""


def optimizer_of_a_gpu(model: nn.Module, recipe: Recipe, device: torch.device) -> torch.optim.SGD:
    settings = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
    return torch.optim.SGD(model.parameters(), lr=torch.tensor(recipe.lr), fused=True, **settings)


@pytest.mark.parametrize(
    ("schedule", "first", "then"), [("one-cycle", "cpu", "gpu"), ("steps", "gpu", "cpu"), ("one-cycle", "gpu", "gpu")]
)
def test_a_run_goes_on_on_another_device_with_that_devices_optimizer(tmp_path, monkeypatch, schedule, first, then):
    recipe = replace(RECIPE, schedule=schedule, epochs=4, lr=0.02)
    optimizers = {"cpu": make_optimizer, "gpu": optimizer_of_a_gpu}
    whole = train(recipe, FEW, CPU)
    monkeypatch.setattr("resnet_lib.training.make_optimizer", optimizers[first])
    run = Run(recipe, FEW, CPU)
    run.train_epoch()
    save_checkpoint(run.state(), recipe, tmp_path / "checkpoint")

    monkeypatch.setattr("resnet_lib.training.make_optimizer", optimizers[then])
    run = Run(recipe, FEW, CPU)
    (group,) = run.optimizer.param_groups
    lr = group["lr"]
    run.restore(find_checkpoint(recipe, tmp_path / "checkpoint"))
    (group,) = run.optimizer.param_groups
    assert bool(group["fused"]) == isinstance(group["lr"], Tensor) == (then == "gpu"), "a graph sees no number change"
    while run.epochs_done < recipe.epochs:
        run.train_epoch()
    assert group["lr"] is lr or then == "cpu", "the graph reads the rate from where it lies"
    assert run.curves["train_loss"] == pytest.approx(whole.curves["train_loss"], rel=1e-3)


# On a GPU


# At 0.02 the wide network makes of the last bit of a sum, or of TF32, percents of its loss.
WIDE = {"depth": 20, "width": 16, "batch_size": 64, "lr": 0.002}


@needs_cuda
@pytest.mark.parametrize("settings", [*SETTINGS, WIDE], ids=str)
def test_a_gpu_computes_captured_and_eager_what_the_readable_loop_computes_on_a_cpu(settings, monkeypatch):
    recipe = replace(RECIPE, **{"lr": 0.02, **settings})
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # usual on a GPU, and has 10 bits
    with repeatable(GPU):
        captured = Training(recipe, GPU).fast()
        check_close(captured, Training(recipe).readable(), 5e-3, 2.01)
        monkeypatch.setattr(FastLoop, "_replay", FastLoop._step)
        check_close(captured, Training(recipe, GPU).fast(), 1e-4, 1.01)


@needs_cuda
@pytest.mark.parametrize("first", ["cuda", "cpu"])
@pytest.mark.parametrize("settings", [{}, {"schedule": "steps", "augment": True, "precision": "bfloat16"}], ids=str)
def test_a_run_on_a_gpu_repeats_and_goes_on_from_a_checkpoint(tmp_path, settings, first):
    recipe = replace(RECIPE, epochs=4, lr=0.02, **settings)
    whole = train(recipe, FEW, GPU).curves
    assert train(recipe, FEW, GPU).curves == whole
    run = Run(recipe, FEW, torch.device(first))
    run.train_epoch()
    save_checkpoint(run.state(), recipe, tmp_path / "checkpoint")
    curves = train(recipe, FEW, GPU, checkpoint=tmp_path / "checkpoint").curves
    assert curves["train_loss"] == pytest.approx(whole["train_loss"], rel=0.02)


@needs_cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_plain_56_at_a_rate_of_a_tenth_stays_finite_on_a_gpu(precision):
    record = train(Recipe(depth=56, shortcut="none", epochs=3, precision=precision), first_digits(1437), GPU)
    assert not record.diverged and None not in record.curves["train_loss"]
    assert {"capability", "tf32", "cudnn"} <= record.environment.keys()
    assert record.environment["cudnn"]["deterministic"] and not torch.backends.cudnn.deterministic


@needs_cuda
def test_on_a_gpu_a_run_goes_on_after_restore_though_its_steps_were_captured_before():
    run, other = (Run(replace(RECIPE, augment=True, lr=0.02, seed=seed), FEW, GPU) for seed in (0, 1))
    run.train_epoch()
    state = copy.deepcopy(run.state())
    other.train_epoch()  # a second run in the process
    run.train_epoch()
    expected = copy.deepcopy(run.curves)
    run.restore(state)
    run.train_epoch()
    assert run.curves["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-3)
