"""What makes training fast: the layout in memory, and a loop for GPUs and for half precision.

The loop computes what `resnet_lib.training.train_epoch` computes, in half precision where the processor has it, with
one fused kernel for all the weights' updates, and on a GPU with the whole step as one captured graph, so that Python
launches one thing a step instead of a thousand.

Source: PyTorch, "CUDA semantics", CUDA graphs, https://docs.pytorch.org/docs/stable/notes/cuda.html
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from resnet_lib.recipes import Recipe, check_choice

# Not float16: the gradients of deep plain networks overflow it, and their failure would look like the degradation.
TRAINED_IN = ("float32", "bfloat16")


def choose_precision(device: torch.device) -> str:
    """The precision that this device computes fastest in, judged by what it can do natively.

    A CPU without instructions for bfloat16 accepts it all the same, and is several times slower in it.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float32"
    has_bfloat16 = cpu_has("_is_amx_tile_supported") or cpu_has("_is_avx512_bf16_supported")
    return "bfloat16" if device.type == "cpu" and has_bfloat16 else "float32"


def cpu_has(test: str) -> bool:
    """Whether this CPU passes a test of `torch.cpu`; PyTorch has no public names for them."""
    return bool(getattr(torch.cpu, test, lambda: False)())


def choose_layout(model: nn.Module, device: torch.device) -> torch.memory_format:
    """The order of an image's values in memory that the model is trained in: channels last, which is faster, or not.

    >>> from resnet_lib.networks import cifar_resnet
    >>> [choose_layout(cifar_resnet(8, "B", width=4), torch.device(name)) for name in ("cpu", "mps", "cuda")]
    [torch.contiguous_format, torch.contiguous_format, torch.channels_last]
    """
    # On CPUs without AVX-512 oneDNN's backward of such a convolution writes past its memory when the channels come
    # last: wrong gradients, or a crash. https://github.com/oneapi-src/oneDNN/issues/6035. The network decides, not the
    # processor, so that every machine computes in the same order.
    strikes = any(
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and layer.stride != (1, 1)
        and layer.in_channels // layer.groups < 8
        for layer in model.modules()
    )
    # On MPS, BatchNorm's backward is wrong then, or fails. https://github.com/pytorch/pytorch/issues/175189
    first = device.type == "mps" or (strikes and device.type == "cpu")
    return torch.contiguous_format if first else torch.channels_last


def make_optimizer(model: nn.Module, recipe: Recipe, device: torch.device) -> torch.optim.SGD:
    """SGD with the recipe's settings; on a GPU it is fused, and its learning rate is a tensor that a graph can read."""
    on_gpu = device.type == "cuda"
    lr = torch.tensor(recipe.lr, device=device) if on_gpu else recipe.lr
    return torch.optim.SGD(
        model.parameters(), lr=lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=on_gpu or None
    )


def restore_optimizer(optimizer: torch.optim.SGD, state: dict[str, Any]) -> None:
    """Load an optimizer's state, which may come from another device: how the rate is kept stays this device's."""
    own = {key: optimizer.param_groups[0][key] for key in ("lr", "fused", "foreach")}
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        rate = float(group["lr"])
        group.update(own, lr=own["lr"].fill_(rate) if isinstance(own["lr"], torch.Tensor) else rate)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On a GPU, let cuDNN use convolutions that give the same bits again; its fastest differ from run to run."""
    if device.type != "cuda":  # where runs side by side would put back each other's settings
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


class FastLoop:
    """`train_epoch` for one model and one optimizer, from `make_optimizer`, in one of the precisions `TRAINED_IN`.

    ``capture`` replays a GPU's steps as graphs. That is for models that do the same in every step: what Python decides
    in their ``forward``, such as which layers to skip, would be frozen.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.SGD, precision: str = "float32", capture: bool = False
    ) -> None:
        check_choice("precision", precision, TRAINED_IN)
        self.model = model
        self.optimizer = optimizer
        self.capture = capture
        self.half = None if precision == "float32" else getattr(torch, precision)  # MPS would warn of float32
        self.device = next(model.parameters()).device
        self.loss_sum = torch.zeros((), device=self.device)
        self.wrong = torch.zeros((), dtype=torch.int64, device=self.device)
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}  # by the number of images in a batch
        self.data: tuple[torch.Tensor, torch.Tensor] | None = None  # that the graphs read

    def train_epoch(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        order: torch.Tensor,
        batch_size: int,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
    ) -> tuple[float, float]:
        """One pass over the images in the given order → mean loss, and error in percent, as seen while training.

        Shapes: images (N, C, H, W) float32 or `AugmentedImages`, labels (N,) int64, order (N,) int64.
        """
        self.model.train()
        self.loss_sum.zero_()
        self.wrong.zero_()
        step = self._replay if self.capture and self.device.type == "cuda" else self._step
        for batch in order.split(batch_size):
            step(images, labels, batch)
            scheduler.step()
        return self.loss_sum.item() / len(order), 100 * self.wrong.item() / len(order)

    def _step(self, images: torch.Tensor, labels: torch.Tensor, batch: torch.Tensor) -> None:
        with torch.autocast(self.device.type, self.half, enabled=self.half is not None):
            logits = self.model(images[batch])
        loss = F.cross_entropy(logits.float(), labels[batch])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.loss_sum += loss.detach() * len(batch)
        self.wrong += (logits.argmax(1) != labels[batch]).sum()

    def _replay(self, images: torch.Tensor, labels: torch.Tensor, batch: torch.Tensor) -> None:
        """`_step`, captured as a graph the first time a batch of that size comes."""
        if self.data is None:
            self.data = images, labels
        if self.data[0] is not images or self.data[1] is not labels:
            raise ValueError("images and labels must be the same tensors in every epoch: a captured graph reads them")
        if len(batch) not in self.graphs:
            self.graphs[len(batch)] = self._capture(images, labels, batch.clone())
        graph, static_batch = self.graphs[len(batch)]
        static_batch.copy_(batch)
        graph.replay()

    def _capture(
        self, images: torch.Tensor, labels: torch.Tensor, batch: torch.Tensor
    ) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
        """Capture one step; a few steps must be run before it, and all that they change is put back."""
        weights = list(self.model.state_dict().values())  # with BatchNorm's running statistics
        changing = [*weights, self.loss_sum, self.wrong]
        before = [tensor.clone() for tensor in changing]
        momenta = {p: state["momentum_buffer"].clone() for p, state in self.optimizer.state.items() if state}

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step(images, labels, batch)
        torch.cuda.current_stream().wait_stream(stream)
        # Gradients made inside the graph lie in its own memory.
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(images, labels, batch)

        with torch.no_grad():
            for tensor, value in zip(changing, before, strict=True):
                tensor.copy_(value)
            for p, state in self.optimizer.state.items():
                # No momentum yet is the same as a momentum of zero: the first step sets it to the gradient.
                state["momentum_buffer"].copy_(momenta.get(p, torch.zeros(())))
        return graph, batch
