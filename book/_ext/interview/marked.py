"""YAML whose entries know their lines, so that a problem can be reported where it stands."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Entry:
    """A mapping of the file. Every scalar is text, as it stands: 3.10 stays "3.10"."""

    line: int
    values: dict[str, Any]  # text, list or entry
    lines: dict[str, int]  # of each key


class Problems:
    """What is wrong with a file, sentence by sentence."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[tuple[int, str]] = []

    def add(self, line: int, sentence: str) -> None:
        self._found.append((line, sentence))

    def __bool__(self) -> bool:
        return bool(self._found)

    def __iter__(self) -> Iterator[str]:
        """In the order of the lines, with file and line."""
        return (f"{self.file}, line {line}: {sentence}" for line, sentence in sorted(self._found))


def read_entries(text: str, problems: Problems) -> Any:
    """The file's content; None, and a problem, where it is no YAML.

    >>> problems = Problems("some.yml")
    >>> entry = read_entries("topics:\\n  depth: Why depth failed\\n", problems)
    >>> entry.values["topics"].values, entry.values["topics"].lines
    ({'depth': 'Why depth failed'}, {'depth': 2})
    >>> read_entries("topics: [", problems), list(problems)
    (None, ["some.yml, line 1: this is not YAML: expected the node content, but found '<stream end>'"])
    """
    try:
        node = yaml.compose(text)
    except yaml.MarkedYAMLError as error:
        problems.add(error.problem_mark.line + 1, f"this is not YAML: {error.problem}")
        return None
    return "" if node is None else _value(node, problems)


def _value(node: yaml.Node, problems: Problems) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value.strip()
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, problems) for item in node.value]
    values, lines = {}, {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            problems.add(line, "a key must be a word")
        elif key.value in values:
            problems.add(line, f"{key.value} stands here a second time, after line {lines[key.value]}")
        else:
            values[key.value], lines[key.value] = _value(value, problems), line
    return Entry(node.start_mark.line + 1, values, lines)
