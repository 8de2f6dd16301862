"""What a check has to say, one line a property; and how learners' code is run so that nothing of it is left."""

import contextlib
import io
import os
import random
import re
import signal
import textwrap
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.modules import module as hooks

UNTOLD = "not to be told before the rest is right"  # of an open line
VERDICTS = ("wrong", "open", "note", "right")  # in the order in which a report shows them
LIMIT_S = 20  # seconds that one forward pass of a learner's may take


@dataclass(frozen=True)
class Line:
    """One property: "right", "wrong", a "note" that fails nothing, or "open" where nothing could be seen."""

    verdict: str
    name: str
    text: str


Findings = list[tuple[str, Line]]  # each with what it was found on


@dataclass(frozen=True)
class Report:
    """The outcome of a check. Its text shows as the last expression of a cell; elsewhere, print it.

    >>> Report("Block", (Line("right", "shapes", "all as asked"), Line("wrong", "addition", "x is never added")))
    Block: 1 of 2 properties wrong
      wrong  addition: x is never added
      right  shapes: all as asked
    """

    title: str
    lines: tuple[Line, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong, and nothing was left open."""
        return all(line.verdict in ("right", "note") for line in self.lines)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        told = [line for line in self.lines if line.text != UNTOLD]
        if untold := [line.name for line in self.lines if line.text == UNTOLD]:
            told.append(Line("open", UNTOLD, ", ".join(untold)))
        told.sort(key=lambda line: VERDICTS.index(line.verdict))
        wrong, left, notes = (sum(line.verdict == verdict for line in self.lines) for verdict in VERDICTS[:3])
        number = f"{len(self.lines) - notes} properties"
        summary = f"all {number} right" if self.ok else f"{wrong} of {number} wrong" + f", {left} open" * (left > 0)
        texts = (f"  {line.verdict:<5}  {line.name}: {line.text}" for line in told)
        wrapped = (textwrap.fill(text, width=100, subsequent_indent=" " * 9) for text in texts)
        return "\n".join([f"{self.title}: {summary}", *wrapped])

    __repr__ = __str__


def judged(name: str, problem: str | None) -> Line:
    """The line on a property, wrong if there is a problem."""
    return Line("wrong" if problem else "right", name, problem or "")


def refuse(title: str, sentence: str) -> Report:
    """The report on an argument that can't be checked."""
    return Report(title, (Line("wrong", "argument", sentence),))


def follow(label: str, findings: Iterable[tuple[str, Line]]) -> Findings:
    """The findings as far as they go: no check raises, and what can't be followed stays open."""
    found: Findings = []
    try:
        found.extend(findings)
    except Exception as error:
        found.append((label, Line("open", "steps", f"what runs can't be followed: {describe_error(error)}")))
    return found


def merge(properties: dict[str, str], findings: Findings) -> tuple[Line, ...]:
    """One line a property over all subjects; the first problem found is the one told.

    ``properties`` gives the order, and the text of a property that is right wherever it was looked at; one that no
    subject has a line for stays open. Notes come behind.
    """
    merged = []
    for name, right in properties.items():
        found = [(label, line) for label, line in findings if line.name == name and line.verdict != "note"]
        label, line = min(found, key=lambda pair: VERDICTS.index(pair[1].verdict), default=("", None))
        told = UNTOLD if line is None else f"{label}: {line.text}".removeprefix(": ")
        verdict = "open" if line is None else line.verdict
        merged.append(Line(verdict, name, right if verdict == "right" else told))
    return (*merged, *dict.fromkeys(line for _, line in findings if line.verdict == "note"))


# Parts of messages, with the mistake that is likely behind them.
LIKELY_MISTAKES = {
    "before Module.__init__() call": "call super().__init__() first of all in __init__",
    'missing the required "forward"': "name the method forward, and indent it into the class",
    "The size of tensor a": "branch and shortcut differ in shape, so they can't be added",
    "Expected more than 1 value per channel": "BatchNorm needs more than one value per channel while training",
    "channels, but got": "a layer gets another number of channels than its in_channels says",
    "running_mean should contain": "a BatchNorm must have as many channels as the convolution before it puts out",
    "mat1 and mat2": "the linear layer gets another number of features than its in_features says",
    "is not a Module subclass": "unpack the list: nn.Sequential(*blocks)",
    "a leaf Variable that requires grad": "an in-place operation overwrites what is not the block's own",
    "modified by an inplace operation": "an in-place operation (+=, inplace=True) overwrites what backward needs",
}


def describe_error(error: BaseException) -> str:
    """An exception as a sentence: type, message, the learner's line in which it arose, and the likely mistake.

    >>> describe_error(TypeError("list is not a Module subclass"))
    'TypeError: list is not a Module subclass (unpack the list: nn.Sequential(*blocks))'
    """
    message = re.sub(r" at 0x\w+", "", (show(error, str).strip().splitlines() or [""])[0])
    ours = str(Path(__file__).parent), str(Path(torch.__file__).parent)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(ours)]
    code = (frames[-1].line or "").strip() if frames else ""
    hint = next((hint for part, hint in LIKELY_MISTAKES.items() if part in message), "")
    sentence = f"{type(error).__name__}: {textwrap.shorten(message, 200)}".removesuffix(": ")
    return sentence + (f", at `{code}`" if code else "") + (f" ({hint})" if hint else "")


def show(value: Any, how: Callable[[Any], str] = repr) -> str:
    """The text of a learner's object, even where making it fails."""
    try:
        return how(value)
    except BaseException:  # a message that raises must not hide what it was about
        return f"an object of type {type(value).__name__} without a text" if how is repr else ""


def describe(value: Any) -> str:
    return f"an object of type {type(value).__name__}"


def describe_shape(shape: tuple[int, ...]) -> str:
    """A shape (N, C, H, W) in words.

    >>> describe_shape((2, 64, 8, 6))
    '64 channels of 8×6'
    """
    return f"{shape[1]} channels of {shape[2]}×{shape[3]}" if len(shape) == 4 else f"shape {tuple(shape)}"


def is_whole(value: Any) -> bool:
    """A whole number of any library, such as NumPy's."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def find_wrong_number(name: str, value: Any, choices: Iterable[int] = ()) -> str | None:
    """What is wrong with a number of the caller's: it is none, or none of the choices."""
    if choices and (not is_whole(value) or int(value) not in choices):
        return f"{name} must be one of {', '.join(map(str, choices))}, got {show(value)}"
    return None if is_whole(value) and value > 0 else f"{name} must be a whole number from 1 up, got {show(value)}"


class TookTooLong(BaseException):
    """Learners' code ran out of its time. No `Exception`, so that theirs don't catch it."""


@contextlib.contextmanager
def limited_time() -> Iterator[None]:
    """Raise `TookTooLong` in what takes longer, where the system has such signals and this is the main thread."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"it takes longer than {LIMIT_S} seconds: does a loop in it end?")

    handler = signal.signal(signal.SIGALRM, stop) or signal.SIG_DFL
    timer = signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


def attempt(place: str, call: Callable[..., Any], *args: Any) -> tuple[Any, str]:
    """What learners' code returns, and what it raises as a sentence: exit() and an interrupt, too."""
    try:
        with limited_time():
            return call(*args), ""
    except BaseException as error:
        return None, f"{place}: {describe_error(error)}"


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Run learners' code on the CPU so that nothing of it is left, and nothing of the session reaches it.

    One thread does, since the tensors are small; several would wait for each other on a busy machine.

    >>> torch.manual_seed(1).initial_seed()
    1
    >>> with undisturbed():
    ...     print(torch.rand(3).shape)
    >>> torch.initial_seed()
    1
    """
    threads, dtype, folder = torch.get_num_threads(), torch.get_default_dtype(), os.getcwd()
    device = torch.get_default_device()
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with contextlib.ExitStack() as stack:
        contexts: tuple[Any, ...] = (
            torch.random.fork_rng(devices=[]),
            torch.inference_mode(False),
            torch.autocast("cpu", enabled=False),
            torch.enable_grad(),
            torch.autograd.set_detect_anomaly(False),
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
            mock.patch.dict(vars(F)),  # where a learner's F.relu = … would stay
            *(mock.patch.dict(kept, clear=True) for name, kept in vars(hooks).items() if name.endswith("_hooks")),
        )
        for context in contexts:
            stack.enter_context(context)
        if torch.get_default_device().type != "cpu":  # a device as a context slows every call down
            stack.enter_context(torch.device("cpu"))
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(0)  # torch.manual_seed would reach into a GPU's generator as well
        np.random.seed(0)
        random.seed(0)
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)
            if torch.get_default_device() not in (device, torch.device("cpu")):
                torch.set_default_device(None if device.type == "cpu" else device)
            np.random.set_state(numpy_state)
            random.setstate(python_state)
            os.chdir(folder)
