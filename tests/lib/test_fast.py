"""The fast loop computes what the readable loop computes, and chooses its precision by what the device can do."""

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from outcomes import CPU, first_digits
from torch import Tensor, nn

from resnet_lib import fast
from resnet_lib.augment import AugmentedImages
from resnet_lib.checkpoints import find_checkpoint, save_checkpoint
from resnet_lib.fast import FastLoop, choose_layout, choose_precision, make_optimizer
from resnet_lib.recipes import Recipe
from resnet_lib.training import Run, build_model, make_scheduler, train, train_epoch

pytestmark = pytest.mark.usefixtures("one_thread")
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
        loop = FastLoop(self.model, self.optimizer, self.recipe.precision)
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


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_in_the_convolutions_alone_and_trains_nearly_as_float32(precision):
    training, seen = Training(replace(RECIPE, precision=precision, lr=0.02)), set()
    for module in training.model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    losses = training.fast()
    assert seen == {getattr(torch, precision)} and not torch.is_autocast_enabled("cpu")
    assert {t.dtype for t in training.everything() if t.is_floating_point()} == {torch.float32}
    check_close(losses, Training(replace(RECIPE, lr=0.02)).fast(), 0.02, 3.0)


def gradient_of_a_sure_network(precision: str) -> Tensor:
    """The gradient of a network so sure of the right class, 0, that it lies below what float16 can hold."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    model[1].weight.data = torch.tensor([[9.0], [-9.0]])
    images, labels, order = torch.ones(4, 1, 1, 1), torch.zeros(4, dtype=torch.int64), torch.arange(4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    loss, _ = FastLoop(model, optimizer, precision).train_epoch(images, labels, order, 4, schedule)
    assert loss == pytest.approx(F.cross_entropy(torch.tensor([[9.0, -9.0]]), torch.zeros(1).long()).item()), "unscaled"
    return model[1].weight.grad  # with which the optimizer has stepped


def test_the_loss_scale_saves_gradients_that_float16_would_lose(monkeypatch):
    assert fast.FLOAT16_LOSS_SCALE > 1 and fast.FLOAT16_LOSS_SCALE.hex().startswith("0x1.0000000000000p"), "exact"
    exact = gradient_of_a_sure_network("float32")
    torch.testing.assert_close(gradient_of_a_sure_network("float16"), exact, rtol=0.01, atol=0)
    monkeypatch.setattr(fast, "FLOAT16_LOSS_SCALE", 1.0)
    assert gradient_of_a_sure_network("float16").count_nonzero() == 0 < exact.count_nonzero()


@pytest.mark.parametrize(("capability", "precision"), [((6, 1), "float32"), ((7, 5), "float16"), ((8, 0), "bfloat16")])
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


class PretendedGraph:
    """Stands for a CUDA graph: a step that is run again, on the same tensors, at each replay."""

    def replay(self) -> None:
        self.step()


@pytest.fixture
def pretended_gpu(monkeypatch) -> list[int]:
    """Let a CPU pass for a GPU; the sizes of the batches for which a graph was captured, in order."""
    captured, stream = [], SimpleNamespace(wait_stream=lambda other: None)
    capture, make = FastLoop._capture, FastLoop.__init__

    @contextmanager
    def run_it(graph: PretendedGraph):
        yield  # on a GPU the step is only noted; here it is run, and has to be put back all the same

    def capture_and_note(loop, images, labels, batch):
        captured.append(len(batch))
        graph, static_batch = capture(loop, images, labels, batch)
        graph.step = lambda: loop._step(images, labels, static_batch)
        return graph, static_batch

    def make_on_a_gpu(loop, *args):
        make(loop, *args)
        loop.device = GPU

    for name, value in {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": PretendedGraph,
        "graph": run_it,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(FastLoop, "_capture", capture_and_note)
    monkeypatch.setattr(FastLoop, "_step", take_for_a_cpu(FastLoop._step))
    monkeypatch.setattr(FastLoop, "__init__", make_on_a_gpu)
    return captured


def take_for_a_cpu(step: Callable) -> Callable:
    def on_the_cpu(loop, *args):
        device, loop.device = loop.device, CPU
        step(loop, *args)
        loop.device = device

    return on_the_cpu


@pytest.mark.parametrize("settings", [*SETTINGS, {"precision": "bfloat16"}], ids=str)
def test_capturing_a_step_changes_nothing_that_training_reads(settings, pretended_gpu, monkeypatch):
    recipe = replace(RECIPE, **settings)
    with monkeypatch.context() as patch:
        patch.setattr(FastLoop, "_replay", FastLoop._step)
        eager = Training(recipe)
        expected = eager.fast()
    assert not pretended_gpu
    training, before = Training(recipe), torch.backends.cudnn.deterministic
    assert training.fast() == expected and torch.backends.cudnn.deterministic == before
    check_equal(training.everything(), eager.everything())
    last = 200 % recipe.batch_size
    assert pretended_gpu == [recipe.batch_size, *([last] if last else [])], "once for each size of a batch"


def test_other_images_than_those_that_the_graph_reads_are_refused(pretended_gpu):
    training = Training(RECIPE)
    loop, images, labels = FastLoop(training.model, training.optimizer), training.images, training.labels
    rest = torch.arange(200), 100, training.scheduler
    loop.train_epoch(images, labels, *rest)
    for others in ((images.clone(), labels), (images, labels.clone())):
        with pytest.raises(ValueError, match="images and labels must be the same tensors in every epoch"):
            loop.train_epoch(*others, *rest)


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


@needs_cuda
@pytest.mark.parametrize("settings", [*SETTINGS, {"depth": 20, "width": 16, "batch_size": 64}], ids=str)
def test_a_gpu_computes_captured_and_eager_what_the_readable_loop_computes_on_a_cpu(settings, monkeypatch):
    recipe = replace(RECIPE, lr=0.02, **settings)
    captured = Training(recipe, GPU).fast()
    check_close(captured, Training(recipe).readable(), 5e-3, 2.01)  # TF32, usual on a GPU, has 10 bits
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
