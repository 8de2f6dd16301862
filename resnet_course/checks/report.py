"""What a check has to say: one line a property, and a learner's exception as a sentence."""

import contextlib
import io
import re
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

UNTOLD = "not to be told before the rest is right"  # of an open line
VERDICTS = ("wrong", "open", "note", "right")  # in the order in which a report shows them


@dataclass(frozen=True)
class Line:
    """One property: "right", "wrong", a "note" that fails nothing, or "open" where nothing could be seen."""

    verdict: str
    name: str
    text: str


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
        untold = [line.name for line in self.lines if line.text == UNTOLD]
        if untold:
            told.append(Line("open", UNTOLD, ", ".join(untold)))
        told.sort(key=lambda line: VERDICTS.index(line.verdict))
        return "\n".join([f"{self.title}: {self._summary()}", *map(_format_line, told)])

    __repr__ = __str__

    def _summary(self) -> str:
        counts = {verdict: sum(line.verdict == verdict for line in self.lines) for verdict in VERDICTS}
        properties = len(self.lines) - counts["note"]
        if self.ok:
            return f"all {properties} properties right"
        open_part = f", {counts['open']} open" if counts["open"] else ""
        return f"{counts['wrong']} of {properties} properties wrong{open_part}"


def _format_line(line: Line) -> str:
    text = f"  {line.verdict:<5}  {line.name}: {line.text}"
    return textwrap.fill(text, width=100, subsequent_indent=" " * 9)


OPEN = "open"  # what a question returns where it has nothing to look at


@dataclass(frozen=True)
class Property:
    """A question that is asked of every subject; it returns what is wrong there, `OPEN`, or None if all is well."""

    name: str
    right: str
    find_problem: Callable[[Any], str | None]


def judge(properties: Iterable[Property], subjects: Sequence[Any]) -> list[Line]:
    """One line a property, over all subjects; each subject has a ``label``. The first problem found is the one told."""
    return [_judge_one(prop, subjects) for prop in properties]


def _judge_one(prop: Property, subjects: Sequence[Any]) -> Line:
    line = Line("open", prop.name, UNTOLD)
    for subject in subjects:
        try:
            problem = prop.find_problem(subject)
        except Exception as error:  # code of the learner's that fails here, but did not fail before
            line = Line("open", prop.name, f"{subject.label} fails on the way: {describe_error(error)}")
            continue
        if problem is None and line.text == UNTOLD:
            line = Line("right", prop.name, prop.right)
        elif problem not in (None, OPEN):
            return Line("wrong", prop.name, f"{subject.label}: {problem}")
    return line


@dataclass(frozen=True)
class Note:
    """Something worth knowing of code that is right."""

    name: str
    text: str
    applies: Callable[[Any], bool]


def take_notes(notes: Iterable[Note], subjects: Sequence[Any]) -> list[Line]:
    """A line for every note that applies to a subject."""
    lines = []
    for note in notes:
        with contextlib.suppress(Exception):  # what fails here is told elsewhere, or nothing
            if any(map(note.applies, subjects)):
                lines.append(Line("note", note.name, note.text))
    return lines


TORCH_FOLDER = str(Path(torch.__file__).parent)
# Parts of messages, with the mistake that is likely behind them.
LIKELY_MISTAKES = {
    "before Module.__init__() call": "call super().__init__() first of all in __init__",
    'missing the required "forward"': "name the method forward, and indent it into the class",
    "positional argument": "the arguments must come in the order that the check's help names",
    "unexpected keyword argument": "the arguments must be those that the check's help names",
    "The size of tensor a": "branch and shortcut differ in shape, so they can't be added",
    "Expected more than 1 value per channel": "BatchNorm needs more than one value a channel while training",
    "channels, but got": "a layer gets another number of channels than its in_channels says",
    "running_mean should contain": "a BatchNorm must have as many channels as the convolution before it puts out",
    "mat1 and mat2": "the linear layer gets another number of features than its in_features says",
    "is not a Module subclass": "unpack the list: nn.Sequential(*blocks)",
    "a leaf Variable that requires grad": "an in-place operation overwrites what is not the block's own",
    "modified by an inplace operation": "an in-place operation (+=, inplace=True) overwrites what backward needs",
}


def describe_error(error: Exception) -> str:
    """An exception as a sentence: type, message, the learner's line in which it arose, and the likely mistake.

    >>> describe_error(TypeError("list is not a Module subclass"))
    'TypeError: list is not a Module subclass (unpack the list: nn.Sequential(*blocks))'
    """
    message = re.sub(r" at 0x\w+", "", (str(error).strip().splitlines() or [""])[0])
    sentence = f"{type(error).__name__}: {textwrap.shorten(message, 200)}" if message else type(error).__name__
    code = _learners_line(error)
    hint = next((hint for part, hint in LIKELY_MISTAKES.items() if part in message), "")
    return sentence + (f", at `{code}`" if code else "") + (f" ({hint})" if hint else "")


def _learners_line(error: Exception) -> str:
    """The innermost line of code that is neither PyTorch's nor a check's own."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        own = Path(frame.filename).parent == Path(__file__).parent
        if not own and not frame.filename.startswith(TORCH_FOLDER):
            return (frame.line or "").strip()
    return ""


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Run learners' code on the CPU so that nothing of it is left: random state, printed lines, warnings.

    One thread does, since the tensors are small; several would wait for each other on a busy machine.

    >>> torch.manual_seed(1).initial_seed()
    1
    >>> with undisturbed():
    ...     print(torch.rand(3).shape)
    >>> torch.initial_seed()
    1
    """
    threads = torch.get_num_threads()
    with (
        torch.random.fork_rng(devices=[]),
        torch.enable_grad(),
        torch.device("cpu"),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(0)  # torch.manual_seed would reach into a GPU's generator as well
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
