"""The fast loop computes what the readable loop computes, and chooses its precision by what the device can do."""

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from resnet_lib import fast
from resnet_lib.augment import AugmentedImages
from resnet_lib.checkpoints import find_checkpoint, save_checkpoint
from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.fast import FastLoop, choose_precision, make_optimizer
from resnet_lib.recipes import Recipe
from resnet_lib.training import Run, build_model, make_scheduler, train, train_epoch

pytestmark = pytest.mark.usefixtures("one_thread")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

CPU = torch.device("cpu")
EPOCHS = 3
RECIPE = Recipe(depth=8, width=4, epochs=EPOCHS, batch_size=32)
Losses = list[tuple[float, float]]  # of each epoch: the mean loss, and the error in percent


@pytest.fixture(scope="module")
def few() -> Dataset:
    """The digits cut to 200 images, which is no multiple of the batch."""
    digits = load_dataset("digits")
    return replace(digits, train_images=digits.train_images[:200], train_labels=digits.train_labels[:200])


class Training:
    """One network of RECIPE's kind, its images, and its optimizer, ready for an epoch of either loop."""

    def __init__(self, recipe: Recipe, dataset: Dataset, device: torch.device = CPU) -> None:
        self.recipe = recipe
        self.model = build_model(recipe, dataset).to(device, memory_format=torch.channels_last)
        self.optimizer = make_optimizer(self.model, recipe, device)
        self.images = (
            AugmentedImages(dataset.train_images.to(device), dataset.mean, dataset.std)
            if recipe.augment
            else dataset.normalise(dataset.train_images).contiguous(memory_format=torch.channels_last).to(device)
        )
        self.labels = dataset.train_labels.to(device)
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
        momenta = [state["momentum_buffer"] for state in self.optimizer.state.values()]
        return [tensor.detach().clone() for tensor in [*self.model.state_dict().values(), *momenta]]


def check_equal(ones: list[Tensor], others: list[Tensor]) -> None:
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


SETTINGS = [
    {"shortcut": "none"},
    {"shortcut": "A"},
    {"shortcut": "B", "schedule": "steps"},
    {"augment": True},
    {"shortcut": "none", "augment": True, "momentum": 0.0},
    {"depth": 20, "batch_size": 200},
    {"batch_size": 199},
]
every_setting = pytest.mark.parametrize("settings", SETTINGS, ids=str)


# The readable loop and the fast one


@every_setting
def test_both_loops_compute_the_same_to_the_last_bit(few, settings):
    recipe = replace(RECIPE, **settings)
    readable, fast = Training(recipe, few), Training(recipe, few)
    assert readable.readable() == fast.fast()
    check_equal(readable.everything(), fast.everything())


def test_the_losses_are_numbers_that_fall(few):
    losses = [loss for loss, _ in Training(RECIPE, few).fast()]
    assert losses[0] > losses[1] > losses[2] > 0


def test_a_run_computes_what_the_readable_loop_computes_on_images_in_the_usual_layout(few):
    """Channels last changes the order of sums, so the two agree to rounding."""
    recipe = replace(RECIPE, lr=0.01, augment=True)
    readable = Training(recipe, few)
    readable.model = build_model(recipe, few)
    readable.optimizer = torch.optim.SGD(readable.model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    readable.scheduler = make_scheduler(readable.optimizer, recipe, EPOCHS * 7, [])
    curves = train(recipe, few, CPU).curves
    for (loss, error), fast_loss, fast_error in zip(
        readable.readable(), curves["train_loss"], curves["train_error"], strict=True
    ):
        assert fast_loss == pytest.approx(loss, rel=1e-4) and fast_error == pytest.approx(error, abs=0.51)


def test_the_optimizer_on_a_cpu_is_sgd_with_the_recipes_settings(few):
    recipe = replace(RECIPE, lr=0.3, momentum=0.7, weight_decay=0.01)
    (group,) = make_optimizer(build_model(recipe, few), recipe, CPU).param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.3, 0.7, 0.01)
    assert not group["nesterov"] and not group["dampening"] and not group["fused"]


# Half precision


def autocast_by_hand(training: Training, dtype: torch.dtype, scale: float) -> Losses:
    """The same, written out: forward in half precision, the loss in float32, scaled, its gradients scaled back."""
    losses = []
    training.model.train()
    for _ in range(EPOCHS):
        loss_sum, wrong, order = 0.0, 0, training.order()
        for batch in order.split(training.recipe.batch_size):
            labels = training.labels[batch]
            with torch.autocast("cpu", dtype):
                logits = training.model(training.images[batch])
            assert logits.dtype == dtype
            loss = -logits.to(torch.float32).log_softmax(1)[range(len(batch)), labels].mean()
            parameters = list(training.model.parameters())
            gradients = torch.autograd.grad(scale * loss, parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                assert gradient.dtype == parameter.dtype == torch.float32
                parameter.grad = gradient / scale
            training.optimizer.step()
            training.scheduler.step()
            loss_sum += loss.item() * len(batch)
            wrong += (logits.argmax(1) != labels).sum().item()
        losses.append((loss_sum / len(order), 100 * wrong / len(order)))
    return losses


@pytest.mark.parametrize("settings", [{"shortcut": "none"}, {"shortcut": "A"}, {"augment": True}], ids=str)
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_autocast_by_hand(few, precision, settings):
    recipe = replace(RECIPE, precision=precision, lr=0.02, **settings)
    scale = 1.0 if precision == "bfloat16" else fast.FLOAT16_LOSS_SCALE
    ours = Training(recipe, few).fast()
    by_hand = autocast_by_hand(Training(recipe, few), getattr(torch, precision), scale)
    for (loss, error), (loss_by_hand, error_by_hand) in zip(ours, by_hand, strict=True):
        assert loss == pytest.approx(loss_by_hand, rel=1e-3) and error == pytest.approx(error_by_hand, abs=1.01)
    exact = Training(replace(recipe, precision="float32"), few).fast()
    assert ours != exact, "it is another precision"
    assert [loss for loss, _ in ours] == pytest.approx([loss for loss, _ in exact], rel=0.05), "but not far off"


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_activations_are_in_the_recipes_precision_and_weights_and_statistics_in_float32(few, precision):
    training = Training(replace(RECIPE, precision=precision), few)
    seen = set()
    for module in training.model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    training.fast()
    assert seen == {getattr(torch, precision)}
    assert {t.dtype for t in training.everything() if t.is_floating_point()} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")


class Sure(nn.Module):
    """A network so sure of the right class, 0, that its gradients lie below what float16 can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[9.0, -9.0]]))  # from one pixel to two classes

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight


def gradients_of_a_sure_network(precision: str) -> Tensor:
    """The gradient with which the optimizer steps."""
    model, images, labels = Sure(), torch.ones(4, 1, 1, 1), torch.zeros(4, dtype=torch.int64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gradients = []
    hook = register_optimizer_step_pre_hook(lambda *_: gradients.append(model.weight.grad.clone()))
    try:
        loop = FastLoop(model, optimizer, precision)
        scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
        loss, _ = loop.train_epoch(images, labels, torch.arange(4), 4, scheduler)
    finally:
        hook.remove()
    assert loss == pytest.approx(F.cross_entropy(torch.tensor([[9.0, -9.0]]), torch.zeros(1).long()).item()), "unscaled"
    return gradients[0]


def test_the_loss_scale_saves_gradients_that_float16_would_lose(monkeypatch):
    exact = gradients_of_a_sure_network("float32")
    assert 0 < exact.abs().max() < 6e-8 * 4, "each image's share is below the smallest float16"
    torch.testing.assert_close(gradients_of_a_sure_network("float16"), exact, rtol=0.01, atol=0)
    monkeypatch.setattr(fast, "FLOAT16_LOSS_SCALE", 1.0)
    assert gradients_of_a_sure_network("float16").count_nonzero() == 0


def test_the_loss_scale_is_a_power_of_two_so_that_dividing_by_it_is_exact():
    assert fast.FLOAT16_LOSS_SCALE > 1 and fast.FLOAT16_LOSS_SCALE.hex().startswith("0x1.0000000000000p")


# Which precision


@pytest.mark.parametrize(
    ("capability", "precision"),
    [
        ((6, 1), "float32"),
        ((7, 0), "float16"),
        ((7, 5), "float16"),
        ((8, 0), "bfloat16"),
        ((8, 6), "bfloat16"),
        ((9, 0), "bfloat16"),
        ((12, 0), "bfloat16"),
    ],
)
def test_a_gpus_precision_is_what_its_capability_has_natively(monkeypatch, capability, precision):
    asked = []
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: asked.append(device) or capability)
    # PyTorch says yes to bfloat16 even where it is emulated.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *args, **kwargs: True)
    assert choose_precision(torch.device("cuda", 0)) == precision
    assert asked == [torch.device("cuda", 0)]


@pytest.mark.parametrize(
    ("amx", "avx512", "precision"),
    [(True, True, "bfloat16"), (True, False, "bfloat16"), (False, True, "bfloat16"), (False, False, "float32")],
)
def test_a_cpus_precision_is_bfloat16_only_with_instructions_for_it(monkeypatch, amx, avx512, precision):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    assert choose_precision(CPU) == precision


def test_where_pytorch_cannot_tell_what_the_cpu_has_it_is_float32(monkeypatch):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert choose_precision(CPU) == "float32"


def test_on_apples_gpus_it_is_float32():
    assert choose_precision(torch.device("mps")) == "float32"


# The captured graph, pretended: what surrounds the capture must put everything back, on whatever device


class PretendedGraph:
    """Stands for a CUDA graph: a step that is run again, on the same tensors, at each replay."""

    def __init__(self) -> None:
        self.step: Callable[[], None] | None = None

    def replay(self) -> None:
        self.step()


@pytest.fixture
def pretended_gpu(monkeypatch) -> list[int]:
    """Let a CPU pass for a GPU; the sizes of the batches for which a graph was captured, in order."""
    captured = []

    @contextmanager
    def capture(graph: PretendedGraph):
        yield  # on a GPU the step is only noted; here it is run, and has to be put back all the same

    capture_step = FastLoop._capture

    def capture_and_note(loop, images, labels, batch):
        captured.append(len(batch))
        graph, static_batch = capture_step(loop, images, labels, batch)
        graph.step = lambda: loop._step(images, labels, static_batch)
        return graph, static_batch

    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", PretendedGraph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(FastLoop, "_capture", capture_and_note)
    monkeypatch.setattr(FastLoop, "_step", take_for_a_cpu(FastLoop._step))
    whole = FastLoop.__init__

    def on_a_gpu(loop, *args):
        whole(loop, *args)
        loop.device = torch.device("cuda")

    monkeypatch.setattr(FastLoop, "__init__", on_a_gpu)
    return captured


def take_for_a_cpu(step: Callable) -> Callable:
    def on_the_cpu(loop, *args):
        device, loop.device = loop.device, CPU
        step(loop, *args)
        loop.device = device

    return on_the_cpu


@pytest.mark.parametrize("settings", [*SETTINGS, {"precision": "bfloat16"}], ids=str)
def test_capturing_a_step_changes_nothing_that_training_reads(few, settings, pretended_gpu):
    recipe = replace(RECIPE, **settings)
    training = Training(recipe, few)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FastLoop, "_replay", take_for_a_cpu(FastLoop._step))
        eager = Training(recipe, few)
        expected = eager.fast()
    assert not pretended_gpu
    assert training.fast() == expected
    check_equal(training.everything(), eager.everything())
    last = 200 % recipe.batch_size
    assert pretended_gpu == [recipe.batch_size, *([last] if last else [])], "once for each size of a batch"


def test_a_step_captured_in_the_midst_leaves_all_as_it_was(few, pretended_gpu):
    training = Training(RECIPE, few)
    loop = FastLoop(training.model, training.optimizer)
    loop.train_epoch(training.images, training.labels, training.order(), 32, training.scheduler)
    before = [*training.everything(), loop.loss_sum.clone(), loop.wrong.clone()]
    loop._capture(training.images, training.labels, torch.arange(17))
    check_equal([*training.everything(), loop.loss_sum, loop.wrong], before)


def test_other_images_than_those_that_the_graph_reads_are_refused(few, pretended_gpu):
    training = Training(RECIPE, few)
    loop = FastLoop(training.model, training.optimizer)
    rest = torch.arange(200), 100, training.scheduler
    loop.train_epoch(training.images, training.labels, *rest)
    for images, labels in (
        (training.images.clone(), training.labels),
        (training.images, training.labels.clone()),
    ):
        with pytest.raises(ValueError, match="images and labels must be the same tensors in every epoch"):
            loop.train_epoch(images, labels, *rest)


# A run that goes on on another device: its optimizer stays the one of the new device


def optimizer_of_a_gpu(model: nn.Module, recipe: Recipe, device: torch.device) -> torch.optim.SGD:
    return torch.optim.SGD(
        model.parameters(),
        lr=torch.tensor(recipe.lr),
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


@pytest.mark.parametrize("schedule", ["one-cycle", "steps"])
@pytest.mark.parametrize(("first", "then"), [("cpu", "gpu"), ("gpu", "cpu"), ("gpu", "gpu")])
def test_a_run_goes_on_on_another_device_with_that_devices_optimizer(few, tmp_path, monkeypatch, schedule, first, then):
    recipe = replace(RECIPE, schedule=schedule, epochs=4, lr=0.02)
    optimizers = {"cpu": make_optimizer, "gpu": optimizer_of_a_gpu}
    whole = train(recipe, few, CPU)

    monkeypatch.setattr("resnet_lib.training.make_optimizer", optimizers[first])
    run = Run(recipe, few, CPU)
    run.train_epoch()
    save_checkpoint(run.state(), recipe, tmp_path / "checkpoint")

    monkeypatch.setattr("resnet_lib.training.make_optimizer", optimizers[then])
    run = Run(recipe, few, CPU)
    run.restore(find_checkpoint(recipe, tmp_path / "checkpoint"))
    (group,) = run.optimizer.param_groups
    if then == "gpu":
        assert isinstance(group["lr"], Tensor), "a captured graph can't see a number change"
    else:
        assert isinstance(group["lr"], float)
    assert bool(group["fused"]) == (then == "gpu")
    lr = group["lr"]
    while run.epochs_done < recipe.epochs:
        run.train_epoch()
    assert group["lr"] is lr or then == "cpu", "the graph reads the rate from where it lies"
    assert run.curves["train_loss"] == pytest.approx(whole.curves["train_loss"], rel=1e-3)


# On a GPU


@needs_cuda
@pytest.mark.parametrize("settings", [*SETTINGS, {"depth": 20, "width": 16, "batch_size": 64}], ids=str)
def test_captured_and_eager_steps_have_the_same_losses(few, settings, monkeypatch):
    device, recipe = torch.device("cuda"), replace(RECIPE, lr=0.02, **settings)
    captured = Training(recipe, few, device).fast()
    monkeypatch.setattr(FastLoop, "_replay", FastLoop._step)
    eager = Training(recipe, few, device).fast()
    for (loss, error), (eager_loss, eager_error) in zip(captured, eager, strict=True):
        assert loss == pytest.approx(eager_loss, rel=1e-4) and error == pytest.approx(eager_error, abs=1.01)


@needs_cuda
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_gpu_computes_what_the_readable_loop_computes_on_a_cpu(few, settings):
    recipe = replace(RECIPE, lr=0.02, **settings)
    ours, readable = Training(recipe, few, torch.device("cuda")).fast(), Training(recipe, few).readable()
    for (loss, error), (readable_loss, readable_error) in zip(ours, readable, strict=True):
        # TF32, the usual precision of convolutions on a GPU, has 10 bits.
        assert loss == pytest.approx(readable_loss, rel=5e-3) and error == pytest.approx(readable_error, abs=2.01)


@needs_cuda
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_on_a_gpu_is_not_far_off(few, precision):
    device, recipe = torch.device("cuda"), replace(RECIPE, lr=0.02)
    ours = Training(replace(recipe, precision=precision), few, device).fast()
    exact = Training(recipe, few, device).fast()
    assert [loss for loss, _ in ours] == pytest.approx([loss for loss, _ in exact], rel=0.05)


@needs_cuda
def test_capturing_on_a_gpu_changes_no_weight_no_statistic_and_no_momentum(few):
    device = torch.device("cuda")
    training = Training(RECIPE, few, device)
    loop = FastLoop(training.model, training.optimizer)
    weights = [tensor.clone() for tensor in training.model.state_dict().values()]
    loop._capture(training.images, training.labels, torch.arange(32, device=device))
    check_equal(list(training.model.state_dict().values()), weights)
    assert all(not state["momentum_buffer"].any() for state in training.optimizer.state.values()), "as at the start"

    loop.train_epoch(training.images, training.labels, training.order(), 32, training.scheduler)
    before = [*training.everything(), loop.loss_sum.clone(), loop.wrong.clone()]
    loop._capture(training.images, training.labels, torch.arange(17, device=device))
    check_equal([*training.everything(), loop.loss_sum, loop.wrong], before)


@needs_cuda
def test_on_a_gpu_the_learning_rate_that_the_graph_reads_follows_the_schedule(few):
    """With a rate of nearly zero from half of the steps on, the weights must nearly stand still."""
    recipe = replace(RECIPE, schedule="steps", weight_decay=0.0, momentum=0.0)
    training = Training(recipe, few, torch.device("cuda"))
    loop = FastLoop(training.model, training.optimizer)
    schedule = torch.optim.lr_scheduler.LambdaLR(training.optimizer, lambda step: 1.0 if step < 7 else 1e-9)
    start = [parameter.detach().clone() for parameter in training.model.parameters()]
    for moves in (True, False):
        loop.train_epoch(training.images, training.labels, training.order(), 32, schedule)
        now = [parameter.detach().clone() for parameter in training.model.parameters()]
        close = [torch.allclose(one, other, atol=1e-6) for one, other in zip(start, now, strict=True)]
        assert not any(close) if moves else all(close)
        start = now


@needs_cuda
@pytest.mark.parametrize("first", ["cuda", "cpu"])
@pytest.mark.parametrize("settings", [{}, {"schedule": "steps", "augment": True, "precision": "bfloat16"}], ids=str)
def test_a_run_on_a_gpu_goes_on_from_a_checkpoint(few, tmp_path, settings, first):
    device, recipe = torch.device("cuda"), replace(RECIPE, epochs=4, lr=0.02, **settings)
    whole = train(recipe, few, device).curves
    run = Run(recipe, few, torch.device(first))
    for _ in range(2):
        run.train_epoch()
    save_checkpoint(run.state(), recipe, tmp_path / "checkpoint")
    trained = []
    curves = train(recipe, few, device, lambda epochs, loss: trained.append(epochs), tmp_path / "checkpoint").curves
    assert trained == [2, 1, 1]
    assert curves["train_loss"] == pytest.approx(whole["train_loss"], rel=0.02)
    assert curves["train_error"] == pytest.approx(whole["train_error"], abs=3)


@needs_cuda
def test_the_same_recipe_twice_on_a_gpu_gives_the_same_bits(few):
    recipe = replace(RECIPE, augment=True, precision="bfloat16")
    first, second = (train(recipe, few, torch.device("cuda")) for _ in range(2))
    assert first.curves == second.curves and first.train_loss == second.train_loss
