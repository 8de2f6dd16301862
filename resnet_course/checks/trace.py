"""What a learner's module does while it runs: the values that it makes, and of what.

A value is known by its numbers, whatever code made it: what equals an earlier value, flattened or not, is that value,
what equals ReLU of one is "relu", and what equals a weighted sum of others is "+". Every other step keeps its
function's name, and layers count wherever they run: in an `nn.Sequential`, a list or a function. So a check can look at
code of any style.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from resnet_course.checks.report import attempt, describe_shape, limited_time

NORMS = ("batch_norm", "group_norm", "layer_norm", "instance_norm")
# Where the weight stands among the arguments of the functions that hold one.
WEIGHTS = {"conv2d": 1, "linear": 1, "batch_norm": 3, "group_norm": 2, "layer_norm": 2, "instance_norm": 3}


@dataclass(eq=False)
class Value:
    """Numbers that a step put out, and what it was made of."""

    kind: str  # "relu", "+" or the function's name, such as "conv2d"
    numbers: Tensor  # a copy, so a later in-place operation does not change it
    parents: tuple["Value", ...] = ()
    weights: tuple[float, ...] = ()  # of the parents of a sum
    cut: tuple["Value", ...] = ()  # parents that came without a gradient
    weight: Tensor | None = None  # the layer's parameter itself: it tells which layer this is
    bias: Tensor | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The convolutions that it has gone through."""
        before = frozenset().union(*(parent.convs for parent in self.parents))
        self.convs: frozenset[Value] = before | ({self} if self.kind == "conv2d" else set())

    @property
    def shape(self) -> torch.Size:
        return self.numbers.shape

    @property
    def step(self) -> str:
        """Its name in a line of steps."""
        one_term = self.kind == "+" and len(self.weights) == 1
        return "bn" if self.kind == "batch_norm" else f"times {self.weights[0]:g}" if one_term else self.kind

    @property
    def kernel(self) -> tuple[int, int]:
        return self.weight.shape[2], self.weight.shape[3]

    @property
    def channels(self) -> tuple[int, int]:
        """Channels, or features, in and out."""
        return self.weight.shape[1] * self.options.get("groups", 1), self.weight.shape[0]

    def is_affine_of(self, other: "Value") -> bool:
        """It scales and shifts each channel of another, as a norm does, however it is written."""
        pair = [F.batch_norm(value.numbers, None, None, training=True, eps=1e-12).abs() for value in (self, other)]
        return close(*pair)


def close(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding."""
    return a.shape == b.shape and torch.allclose(a, b.to(a.dtype), rtol=1e-4, atol=1e-5)


def relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)  # F.relu may be the learner's own by now


def main_path(convs: list[Value]) -> list[tuple[Value, Value | None]]:
    """The convolutions one after the other, each with the projection that takes the same input, or None.

    Of convolutions that have gone through the same ones, that which another continues *alone* is on the main path; a
    projection meets the others again only after the addition.
    """
    histories = {conv.convs - {conv} for conv in convs}
    path = []
    for history in sorted(histories, key=len):
        siblings = [conv for conv in convs if conv.convs - {conv} == history]
        siblings.sort(key=lambda conv: (conv.convs not in histories, max(conv.kernel) == 1))
        path.append((siblings[0], siblings[1] if len(siblings) > 1 else None))
    return path


class Recorder(TorchFunctionMode):
    """Notes what runs inside its `with` block. Dropout is left out, and counted; padding joins its convolution.

    >>> layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    >>> with Recorder(2) as recorder:
    ...     out = layers(torch.rand(2, 3, 5, 5))
    >>> [(value.kind, tuple(value.shape)) for value in recorder.values]
    [('given', (2, 3, 5, 5)), ('conv2d', (2, 8, 3, 3)), ('batch_norm', (2, 8, 3, 3))]
    """

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch = batch  # only what holds the whole batch is a value
        self.values: list[Value] = []
        self.used: set[int] = set()  # every tensor that any function took
        self.failed: Value | None = None  # what was to be made when an error was raised
        self.dropouts = 0

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "").strip("_")
        if name == "get":  # x.shape, x.T
            return function(*args, **kwargs)

        def option(place: int, keyword: str, default: Any = None) -> Any:
            return args[place] if len(args) > place else kwargs.get(keyword, default)

        tensors = [tensor for tensor in tensors_in((*args, *kwargs.values())) if not is_lazy(tensor)]
        self.used.update(map(id, tensors))
        if "dropout" in name and option(1, "p", 0.5) > 0 and option(2, "training", True):
            self.dropouts += 1
            return tensors[0]
        operands = [tensor for tensor in tensors[: 1 if name in WEIGHTS else None] if self.is_value(tensor)]
        parents = tuple(map(self.find, operands))
        made = Value(name, torch.empty(0), parents)
        made.cut = tuple(p for p, tensor in zip(parents, operands, strict=True) if not tensor.requires_grad)
        if name in WEIGHTS and parents:
            place = 1 if function is torch.batch_norm else WEIGHTS[name]
            made.weight, made.bias = option(place, "weight"), option(place + 1, "bias")
            made.options = {"training": option(5, "training", False), "momentum": option(6, "momentum", 0.1)}
            made.options["given"] = tuple(operands[0].shape)
        if name == "conv2d":
            while made.parents[0].kind == "pad":
                made.parents = made.parents[0].parents
            options = {key: option(i, key, 1) for i, key in ((3, "stride"), (5, "dilation"), (6, "groups"))}
            made.options = {key: value if isinstance(value, int) else value[0] for key, value in options.items()}
        self.failed = made
        out = function(*args, **kwargs)
        self.failed = None
        for tensor in filter(self.is_value, tensors_in([out]) if parents else ()):
            value = replace(made, numbers=tensor.detach().clone())
            vars(tensor)["_value"] = self.keep(self.find_earlier(value) if name in WEIGHTS else self.recognise(value))
        return out

    def is_value(self, tensor: Tensor) -> bool:
        return tensor.is_floating_point() and tensor.dim() > 1 and (len(tensor) == self.batch or tensor.dim() == 5)

    def keep(self, value: Value) -> Value:
        self.values += [value] * (value not in self.values)
        return value

    def find(self, tensor: Tensor) -> Value:
        """The value that a tensor holds."""
        numbers, noted = tensor.detach(), vars(tensor).get("_value")
        near = [*reversed(self.values)] if noted is None else [noted, *reversed(self.values)]
        known = next((value for value in near if close(value.numbers.flatten(), numbers.flatten())), None)
        return known or self.keep(self.recognise(Value("given", numbers.clone())))

    def find_earlier(self, made: Value) -> Value:
        """The same layer's earlier run on the same value, or this one."""
        same = [v for v in self.values if v.weight is made.weight is not None and v.parents == made.parents]
        return next((value for value in same if close(value.numbers, made.numbers)), made)

    def recognise(self, made: Value) -> Value:
        """The value that this one is by its numbers, or itself."""
        inner = [parent for value in made.parents for parent in value.parents]
        near = [*made.parents, *inner, *(parent for value in inner for parent in value.parents), *self.values[-30:]]
        near, flat = [*dict.fromkeys(near)], made.numbers.flatten()
        if known := next((value for value in near if close(value.numbers.flatten(), flat)), None):
            if made.numbers.dim() == 4:  # what was flattened for a while has its shape again
                known.numbers = made.numbers
            return known
        if activated := next((value for value in near if close(relu(value.numbers.flatten()), flat)), None):
            return Value("relu", made.numbers, (activated,))
        for values in (made.parents, inner):
            parts = [value for value in dict.fromkeys(values) if value.numbers.numel() == len(flat)]
            if weights := weigh(parts, made.numbers):
                return Value("+", made.numbers, tuple(weights), tuple(weights.values()), made.cut)
        return made


def first_of(value: Value) -> Value:
    """What it was made of, as far back as it was made of one value."""
    return first_of(value.parents[0]) if len(value.parents) == 1 else value


def weigh(parts: list[Value], whole: Tensor) -> dict[Value, float]:
    """The weights with which the parts add up to the whole; empty if they don't."""
    columns = torch.stack([part.numbers.flatten() for part in parts] or [whole.flatten()], 1).double()
    goal = whole.flatten().double()
    if not parts or not columns.isfinite().all() or not goal.isfinite().all():
        return {}
    some = slice(None, None, 1 + len(goal) // 500)
    found = torch.linalg.lstsq(columns[some], goal[some, None], driver="gelsd").solution[:, 0]
    weights = {part: round(weight, 3) for part, weight in zip(parts, found.tolist(), strict=True)}
    return {part: weight for part, weight in weights.items() if weight} if close(columns @ found, goal) else {}


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors among values, and in lists and tuples of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


@dataclass
class Run:
    """One module of the learner's, built and run once in training mode."""

    label: str  # how it was built, such as "MyBlock(6, 10, 2)"
    build: Callable[[], Any]
    x: Tensor
    wanted_shape: tuple[int, ...]  # of the output
    module: nn.Module | None = None
    given: Tensor | None = None  # the copy of x that went into forward
    returned: Any = None
    out: Tensor | None = None  # what was returned, if it is, or begins with, a tensor
    end: Value | None = None  # the same
    error: str = ""

    def __post_init__(self) -> None:
        self.recorder = Recorder(len(self.x))
        self.start = self.recorder.keep(Value("given", self.x))

    def all(self, kind: str) -> list[Value]:
        return [value for value in self.recorder.values if value.kind == kind]

    def is_followed(self, end: Value | None = None) -> bool:
        """Whether what the convolutions take, and the end, goes back to the input, so that no step was hidden."""
        ends = [value.parents[0] for value in self.all("conv2d")] + [end] * (end is not None)
        return all(value is self.start or value.kind != "given" for value in map(first_of, ends))

    def again(self, x: Tensor) -> Tensor:
        """The output for a copy of ``x``."""
        with limited_time():
            return next(tensors_in([self.module(x.clone())]))

    @cached_property
    def _layers(self) -> dict[int, str]:
        return {id(parameter): name.rpartition(".")[0] or name for name, parameter in self.module.named_parameters()}

    def name_of(self, weight: Tensor | None) -> str | None:
        """The layer of a weight as the learner calls it, or None if no module registers it."""
        return self._layers.get(id(weight))


def make_run(label: str, build: Callable[[], Any], x: Tensor, wanted_shape: tuple[int, ...]) -> Run:
    """Build and run; whatever the learner's code raises becomes ``run.error``, a sentence."""
    run = Run(label, build, x, wanted_shape)
    module, run.error = attempt("the constructor fails", build)
    if not run.error and not isinstance(module, nn.Module):
        run.error = f"what it builds is no nn.Module but {type(module).__name__}: derive it from nn.Module"
    if not run.error:
        _, run.error = attempt("its layers can't be listed", scatter_norms, module)
    if run.error:
        return run
    run.module, run.given = module, x.clone().requires_grad_().clone()  # no leaf: it may be changed in place
    with run.recorder:
        run.returned, run.error = attempt(f"forward fails on an input of shape {tuple(x.shape)}", module, run.given)
    if run.recorder.failed and len(met := run.recorder.failed.parents) == 2:
        run.error += ": " + " met ".join(describe_shape(value.shape) for value in met)
    run.out = next(tensors_in([run.returned]), None)
    run.end = run.recorder.find(run.out) if run.out is not None else None
    return run


def scatter_norms(module: nn.Module) -> None:
    """Take every norm off its start: a branch that begins at zero would hide what the block does with it."""
    for name, value in vars(module).items():
        if callable(getattr(nn.Module, name, None)) and not callable(value):
            raise AttributeError(f"self.{name} hides nn.Module's method {name}(): give it another name")
    for layer in module.modules():
        for name, low in (("weight", 2.5), ("bias", -0.5)) if "norm" in type(layer).__name__.lower() else ():
            value = getattr(layer, name, None)
            if isinstance(value, Tensor) and not is_lazy(value):
                value.data.uniform_(low, low + 1)
