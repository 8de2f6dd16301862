"""What there is to say of a bug."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace


@dataclass(frozen=True)
class Symptom:
    """A measurement that tells the broken network from the correct one."""

    label: str
    measure: Callable[[SimpleNamespace, int], float]  # of a listing's code and a seed
    form: str  # how a value is written
    is_healthy: Callable[[float], bool]


@dataclass(frozen=True)
class Entry:
    """One bug: edits of a listing, and what there is to say of them."""

    name: str  # what the bug is called, once it is found
    listing: str  # "resnet50" or "resnet20"
    edits: tuple[tuple[str, str], ...]  # what stands in the listing once, and what takes its place
    symptom: Symptom
    clue: str
    explanation: str
    also: tuple[str, ...] = ()  # other lines that are as good an answer
