"""What is measured against what. Images are random, since speed doesn't depend on what they show."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from resnet_lib.augment import AugmentedImages
from resnet_lib.datasets import Dataset, load_dataset
from resnet_lib.fast import FastLoop, choose_precision, cpu_has, repeatable
from resnet_lib.networks import resnet50
from resnet_lib.recipes import Recipe
from resnet_lib.training import Run, build_model, train_epoch

from .measure import Goal, Row, Side
from .usual import BATCH, pil_loader, usual_loop

CPU = torch.device("cpu")
GPU = torch.device("cuda")
RESNET50 = {"ours": resnet50, "theirs": torchvision.models.resnet50}
RESNET50_IMAGES = {"cpu": (8, 3, 128, 128), "cuda": (64, 3, 224, 224)}  # N, C, H, W


def all_rows() -> list[Row]:
    """Every ratio, those that this machine can't measure too."""
    no_bfloat16 = "" if choose_precision(CPU) == "bfloat16" else "no instructions for bfloat16 here"
    bfloat16_goal = Goal("≥", 2.5 if cpu_has("_is_amx_tile_supported") else 1.4)
    augmented = "batched augmentation on the CPU / PIL DataLoader with two workers"
    float32 = "ResNet-20 end to end on the CPU, our fast path / the usual loop, both in float32"
    bfloat16 = "ResNet-20 end to end on the CPU, our fast path in bfloat16 / the usual loop in float32"
    readable = "readable loop / bare loop over the same tensors"
    in_page = "residual-32 of width 4 on one thread, the page's WebAssembly in Node / PyTorch's readable loop"
    no_node = "" if shutil.which("node") else "no Node here"
    trained = "ResNet-20 end to end on a GPU / the usual loop with AMP and a worker for each core of the CPU"
    captured_title = "ResNet-{} on a GPU, captured steps / eager steps"
    no_gpu = "" if torch.cuda.is_available() else "no CUDA GPU here"
    return [
        Row("augmentation", augmented, "images/s", Goal("≥", 12), augmentation, 150),
        Row("end-to-end", float32, "images/s", Goal("≥", 1.4), partial(end_to_end, CPU, "float32"), 25),
        Row("bfloat16", bfloat16, "images/s", bfloat16_goal, partial(end_to_end, CPU, "bfloat16"), 25, no_bfloat16),
        *resnet50_rows(CPU, 4),
        Row("readable-loop", readable, "images/s", Goal("≥", 0.97), readable_loop, 60),
        Row("in-page", in_page, "images/s", Goal("≥", 0.4), in_page_training, 10, no_node),
        Row("captured-20", captured_title.format(20), "images/s", Goal("≥", 3), partial(captured, 20), 200, no_gpu),
        Row("captured-110", captured_title.format(110), "images/s", Goal("≥", 3), partial(captured, 110), 200, no_gpu),
        Row("end-to-end-gpu", trained, "images/s", Goal("≥", 5), partial(end_to_end, GPU, None), 390, no_gpu),
        *resnet50_rows(GPU, 10, no_gpu),
    ]


def resnet50_rows(device: torch.device, steps: int, missing: str = "") -> list[Row]:
    suffix, where = ("-gpu", " on a GPU") if device == GPU else ("", "")
    title = f"ResNet-50 forward and backward{where}, our {{}} / torchvision's"
    time, memory = (partial(side, device) for side in (resnet50_time, resnet50_memory))
    return [
        Row(f"resnet50-time{suffix}", title.format("time"), "ms a step", Goal("≤", 1), time, steps, missing),
        Row(f"resnet50-memory{suffix}", title.format("peak memory"), "MiB", Goal("≤", 1), memory, 1, missing),
    ]


def augmentation(steps: int) -> tuple[Side, Side]:
    """Crop, mirror and normalise every image once, in an order drawn anew, in batches that nothing consumes."""
    dataset = made_dataset(steps * BATCH)
    images = AugmentedImages(dataset.train_images, dataset.mean, dataset.std)
    generator = torch.Generator().manual_seed(0)
    loader = pil_loader(dataset, workers=2)
    passes = 5  # one would be over too soon to be timed well

    def ours() -> None:
        for _ in range(passes):
            images.draw(generator)
            for batch in torch.randperm(steps * BATCH, generator=generator).split(BATCH):
                images[batch]

    def theirs() -> None:
        for _ in loader:
            pass

    return rate(ours, passes * steps * BATCH, CPU), rate(theirs, steps * BATCH, CPU)


def end_to_end(device: torch.device, precision: str | None, steps: int) -> tuple[Side, Side]:
    """Train ResNet-20 for an epoch, from uint8 or PIL images to updated weights, from the same weights on.

    Without a precision it is the device's fastest.
    """
    on_gpu = device.type == "cuda"
    dataset = made_dataset(steps * BATCH)
    run = made_run(20, dataset, device, precision or choose_precision(device))
    loader = pil_loader(dataset, workers=available_cores() if on_gpu else 2, pin_memory=on_gpu)
    model = build_model(run.recipe, dataset).to(device)
    theirs = usual_loop(model, loader, device, run.recipe.precision if on_gpu else "float32")
    return rate(partial(trained, run), steps * BATCH, device), rate(theirs, steps * BATCH, device)


def resnet50_time(device: torch.device, steps: int) -> tuple[Side, Side]:
    """The same weights, the same images, PyTorch's default memory format."""
    ours, theirs = (RESNET50[side]().to(device) for side in ("ours", "theirs"))
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(RESNET50_IMAGES[device.type], device=device)
    torch.testing.assert_close(ours(images), theirs(images))  # else the comparison means nothing

    def milliseconds(model: nn.Module) -> float:
        return 1000 * seconds(partial(forward_backward, model, images, steps), device) / steps

    return partial(milliseconds, ours), partial(milliseconds, theirs)


def resnet50_memory(device: torch.device, steps: int) -> tuple[Side, Side]:
    """The most memory that PyTorch holds at once for building the network and some steps, in MiB.

    PyTorch's own account repeats to the byte. What the system gives to a process differs by 5 % from run to run.
    """
    peak = peak_on_gpu if device == GPU else peak_on_cpu
    ours, theirs = (partial(build_and_step, RESNET50[side], device, steps) for side in ("ours", "theirs"))
    return partial(peak, ours), partial(peak, theirs)


def build_and_step(build: Callable[[], nn.Module], device: torch.device, steps: int) -> None:
    forward_backward(build().to(device), torch.randn(RESNET50_IMAGES[device.type], device=device), steps)


def peak_on_cpu(work: Callable[[], None]) -> float:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    with TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]")
    return max(accumulate(change for _, change in changes)) / 2**20


def peak_on_gpu(work: Callable[[], None]) -> float:
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def forward_backward(model: nn.Module, images: torch.Tensor, steps: int) -> None:
    labels = torch.arange(len(images), device=images.device)
    for _ in range(steps):
        model.zero_grad()
        F.cross_entropy(model(images), labels).backward()


def readable_loop(steps: int) -> tuple[Side, Side]:
    """The front page's ResNet-20 of width 8 on images of 8×8 pixels, whose steps are short and show any overhead."""
    dataset = made_dataset(steps * BATCH, channels=1, size=8)
    recipe = Recipe(dataset=dataset.name)
    images, labels = dataset.normalise(dataset.train_images), dataset.train_labels
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))

    def model_and_optimizer() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = build_model(recipe, dataset)
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    model, optimizer = model_and_optimizer()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    bare_model, bare_optimizer = model_and_optimizer()

    def ours() -> None:
        train_epoch(model, images, labels, order, BATCH, optimizer, scheduler)

    def theirs() -> None:
        bare_model.train()
        for batch in order.split(BATCH):
            loss = F.cross_entropy(bare_model(images[batch]), labels[batch])
            bare_optimizer.zero_grad()
            loss.backward()
            bare_optimizer.step()

    return rate(ours, steps * BATCH, CPU), rate(theirs, steps * BATCH, CPU)


def in_page_training(epochs: int) -> tuple[Side, Side]:
    """What trains on the front page, as `tests/book/hero.js` runs it, and the same network here on one thread."""
    recipe = Recipe(depth=32, width=4, images=512, batch_size=64)
    run = Run(recipe, load_dataset("digits"), CPU)
    data = {"images": run.images.flatten().tolist(), "labels": run.labels.tolist(), "side": 8}
    task = {"task": "speed", "epochs": epochs, "recipe": asdict(recipe), "depth": 32, "residual": True, "seed": 0}
    request, order = json.dumps({**task, **data}), torch.arange(512)
    scheduler = torch.optim.lr_scheduler.LambdaLR(run.optimizer, lambda step: 1.0)

    def ours() -> float:
        command = ["node", Path(__file__).parents[1] / "book" / "hero.js"]
        return json.loads(subprocess.run(command, input=request, capture_output=True, text=True, check=True).stdout)

    def theirs() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for _ in range(epochs):
            train_epoch(run.model, run.images, run.labels, order, 64, run.optimizer, scheduler)
        torch.set_num_threads(threads)

    return ours, rate(theirs, epochs * 512, CPU)


def captured(depth: int, steps: int) -> tuple[Side, Side]:
    """An epoch as `Run` trains it, in the precision that the GPU is fastest in."""
    dataset = made_dataset(steps * BATCH)
    ours, theirs = (made_run(depth, dataset, GPU, choose_precision(GPU)) for _ in range(2))
    theirs.fast_loop = FastLoop(theirs.model, theirs.optimizer, theirs.recipe.precision, capture=False)
    return rate(partial(trained, ours), steps * BATCH, GPU), rate(partial(trained, theirs), steps * BATCH, GPU)


def made_dataset(count: int, channels: int = 3, size: int = 32) -> Dataset:
    """Random images; the test set is a single one, so that evaluating takes next to no time."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (count,), generator=generator)
    return Dataset("made", 10, images, labels, images[:1], labels[:1])


def made_run(depth: int, dataset: Dataset, device: torch.device, precision: str) -> Run:
    """Training by the paper's recipe, augmentation included."""
    recipe = Recipe(
        dataset=dataset.name,
        depth=depth,
        width=16,
        schedule="steps",
        augment=True,
        batch_size=BATCH,
        precision=precision,
    )
    return Run(recipe, dataset, device)


def trained(run: Run) -> None:
    """An epoch as `resnet_lib.training.train` does it: on a GPU, with convolutions that repeat their bits."""
    with repeatable(run.device):
        run.train_epoch()


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long the work takes, until the device has done it."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def rate(work: Callable[[], object], images: int, device: torch.device) -> Side:
    """A side that does the work, on so many images, and returns images per second."""
    return lambda: images / seconds(work, device)
