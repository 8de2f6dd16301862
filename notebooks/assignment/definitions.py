"""A student's functions and classes in a process of their own: there the questions about code are tested.

Out of a notebook come the definitions that a question asks for, and what they are made of; whatever else the notebook
does to the library or to Python does not happen there. Code that is tested runs beside its tests, so that a program
written against them can still pass. A person who reads the block sees it.
"""

import ast
import builtins
import json
import os
import subprocess
import symtable
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MAY_IMPORT = {
    "abc",
    "collections",
    "dataclasses",
    "functools",
    "itertools",
    "math",
    "numpy",
    "operator",
    "torch",
}
MAY_IMPORT |= {"typing", "warnings"}  # PyTorch itself imports more
HERE = Path(__file__).resolve().parent
SECONDS = 120  # that the tests of all definitions may take

Verdict = tuple[bool, str]  # of a test: whether it passed, and what it says


def definitions(cells: Iterable[str], wanted: Iterable[str]) -> str:
    """The code that defines the wanted names, in order: their definitions, and those of the names in these.

    >>> print(definitions(["import math\\nimport os", "pi = math.pi\\ndef area(r):\\n    return pi * r**2"], ["area"]))
    import math
    pi = math.pi
    def area(r):
        return pi * r ** 2
    """
    statements = [statement for cell in cells for statement in _parse(cell)]
    names, taken = set(wanted), set[int]()
    classes = {
        statement.name
        for statement in statements
        if isinstance(statement, ast.ClassDef)
    }
    before = -1
    while len(taken) > before:
        before = len(taken)
        for number, statement in enumerate(statements):
            if number not in taken and _binds(statement, classes) & names:
                taken.add(number)
                names |= _uses(statement)
    return "\n".join(ast.unparse(statements[number]) for number in sorted(taken))


def _parse(cell: str) -> list[ast.stmt]:
    from IPython.core.inputtransformer2 import (
        TransformerManager,  # here, since only grading needs it
    )

    try:
        return ast.parse(TransformerManager().transform_cell(cell)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # it did not run in the notebook, either


def _binds(statement: ast.stmt, classes: set[str]) -> set[str]:
    """The names that a statement gives a meaning to: also the class that gets an attribute, by name or decorator."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        inside = [
            node
            for decorator in statement.decorator_list
            for node in ast.walk(decorator)
        ]
        return {statement.name} | {
            node.id for node in inside if isinstance(node, ast.Name)
        } & classes
    nodes = list(ast.walk(statement))
    imported = [
        alias
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    bound = {(alias.asname or alias.name).partition(".")[0] for alias in imported}
    bound |= {
        node.id
        for node in nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    bound |= {
        node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    attributes = [
        node
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    ]
    return (
        bound
        | {node.value.id for node in attributes if isinstance(node.value, ast.Name)}
        & classes
    )


def _uses(statement: ast.stmt) -> set[str]:
    """The global names that a statement refers to."""
    tables = [symtable.symtable(ast.unparse(statement), "cell", "exec")]
    for table in tables:  # which grows on the way
        tables += table.get_children()
    symbols = [(table, symbol) for table in tables for symbol in table.get_symbols()]
    return {
        s.get_name()
        for table, s in symbols
        if s.is_referenced() and (s.is_global() or table is tables[0])
    }


def judge_apart(source: str, tests: dict[str, str]) -> dict[str, list[Verdict]]:
    """What Otter-Grader's test files, by name, say of the definitions in ``source``, in another process."""
    command = [sys.executable, "-c", "from definitions import answer; answer()"]
    asked = json.dumps({"source": source, "tests": tests})
    try:
        done = subprocess.run(
            command,
            cwd=HERE,
            input=asked,
            capture_output=True,
            encoding="utf-8",
            timeout=SECONDS,
        )
        verdicts = json.loads(done.stdout)
        return {
            name: [(passed is True, str(text)) for passed, text in verdicts[name]]
            for name in tests
        }
    except subprocess.TimeoutExpired:
        reason = f"stopped after {SECONDS} seconds: does a loop never end?"
    except (ValueError, TypeError, KeyError):
        reason = "your code ended the program that tests it"
    return {
        name: [(False, reason)] * text.count("@test_case")
        for name, text in tests.items()
    }


def answer() -> None:
    """The other end of `judge_apart`: read what to test, run it, and print the verdicts."""
    import resnet_course.checks
    import resnet_course.classroom  # noqa: F401  # now, before a student's code could say what they are
    from otter.test_files import ExceptionTestFile

    asked = json.load(sys.stdin)
    answers, sys.stdout = (
        os.fdopen(os.dup(1), "w", encoding="utf-8"),
        sys.stderr,
    )  # what a student prints is no answer
    env: dict[str, Any] = {
        "__name__": "__main__",
        "__builtins__": {**vars(builtins), "__import__": _import},
    }
    for statement in ast.parse(asked["source"]).body:
        try:
            exec(compile(ast.unparse(statement), "notebook", "exec"), env)
        except Exception:  # its cell ended with this error in the notebook, too, or what it makes is not asked for
            continue
    verdicts = {}
    for name, text in asked["tests"].items():
        test_file = ExceptionTestFile.from_string(text, path=f"{name}.py")
        test_file.run(env)
        verdicts[name] = [
            (result.passed, result.message) for result in test_file.test_case_results
        ]
    json.dump(verdicts, answers)
    answers.flush()
    os._exit(0)  # whatever the student's code has left to do


def _import(name: str, *details: Any) -> Any:
    if name.partition(".")[0] not in MAY_IMPORT:
        raise ImportError(
            f"{name} is not there for code that is tested: it may import {', '.join(sorted(MAY_IMPORT))}"
        )
    return builtins.__import__(name, *details)
