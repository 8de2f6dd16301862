"""How a submission is graded: a plugin of Otter-Grader, which by itself runs the tests beside a student's code.

The notebook runs in one process, without a hidden test. What it says is then written down as plain data, and graded
in another, whose library no notebook has touched: there the case follows from the number, and runs are trained anew.
The definitions of the questions about code are tested in a third (`definitions`).
"""

import ast
import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from resnet_course.classroom import (
    Drawing,
    Refusal,
    is_unedited,
    look_at,
    require_measured,
    restrict,
    variant,
)

import resnet_lib
from definitions import Verdict, definitions, judge_apart
from resnet_lib.datasets import load_dataset
from resnet_lib.experiments import run_grid
from resnet_lib.recipes import Recipe
from resnet_lib.records import FORMAT, Record, group_runs, parse_record

CODE = {
    "q1": ["Block"],
    "q2": ["block_parameters", "network_parameters"],
}  # names that each question defines
DATA = (
    "STUDENT_NUMBER",
    "recipes",
    "records",
    "training_error",
    "figure",
    "alt_text",
    "prediction",
)
LONGEST = 1200  # letters of what a test or an error says: a report on a block begins with what is wrong
ANSWERS = "answers.json"

HERE = str(Path(__file__).resolve().parent)
LIBRARY = str(Path(resnet_lib.__file__).parents[1])
COLLECT = f"""
import sys
for name in list(sys.modules):
    if name.partition(".")[0] in ("resnet_course", "resnet_lib"):
        del sys.modules[name]  # a notebook may have changed it
sys.path.insert(0, {HERE!r})
from grading import collect
collect(globals(), "{ANSWERS}")
"""
LOAD = f"""
import sys
sys.path.insert(0, {HERE!r})
from grading import load
globals().update(load("{ANSWERS}", {{!r}}, {{!r}}))
"""


class Grading:
    """The plugin. Its settings, which `build.py` writes: ``cell_seconds``, ``notebook_seconds``, and for each class
    a ``secret`` that decides what is trained anew, and a ``roster`` of numbers by e-mail address, or none."""

    def __init__(
        self,
        submission_path: str,
        metadata: Mapping[str, Any],
        settings: Mapping[str, Any],
    ) -> None:
        self.settings, self.feedback = settings, ""
        self.emails = [
            user.get("email", "").lower() for user in metadata.get("users", [])
        ]
        self.verdicts: dict[str, list[Verdict]] = {}

    def before_execution(self, notebook: Any) -> Any:
        """Run a student's notebook, and give Otter one that holds what it said."""
        import nbformat  # here, since only grading needs it

        remarks = _take("remarks.txt")
        _remove("records")  # of this copy: all that is graded is measured here
        tests = {
            path.stem: path.read_text(encoding="utf-8")
            for path in sorted(Path("tests").glob("*.py"))
        }
        for name in (
            "../source/tests",
            "../source/otter_config.json",
        ):  # with the hidden tests and the secret
            _remove(name)
        _write_tests({name: without_hidden(text) for name, text in tests.items()})
        errors = run_notebook(
            notebook, self.settings["cell_seconds"], self.settings["notebook_seconds"]
        )
        self.feedback = "\n\n".join(filter(None, [remarks, errors]))
        answers = _take(ANSWERS)
        for path in (
            Path().iterdir()
        ):  # modules by the library's name would be imported in its place
            _remove(path)
        _write_tests(tests)
        Path(ANSWERS).write_text(answers, encoding="utf-8")
        cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        source = definitions(cells, [name for names in CODE.values() for name in names])
        # What a student reads comes from a process without hidden tests, so that none can be read there.
        public = judge_apart(
            source, {name: without_hidden(tests[name]) for name in CODE}
        )
        whole = judge_apart(source, {name: tests[name] for name in CODE})
        self.verdicts = {
            name: public[name] + whole[name][len(public[name]) :] for name in CODE
        }
        known = sorted(
            {
                self.settings["roster"][email]
                for email in self.emails
                if email in self.settings["roster"]
            }
        )
        given = LOAD.format(self.settings["secret"], known)
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(given)])

    def after_grading(self, results: Any) -> None:
        for name, verdicts in self.verdicts.items():
            for result, (passed, message) in zip(
                results.results[name].test_case_results, verdicts, strict=True
            ):
                result.passed, result.message = passed, message
        for test_file in results.results.values():
            for result in test_file.test_case_results:
                result.message = shorten(result.message or "")
        results.set_output(self.feedback)

    def generate_report(self) -> str:
        return self.feedback


def without_hidden(tests: str) -> str:
    """A test file without its hidden tests, which come last."""
    tree = ast.parse(tests)

    def is_hidden(node: ast.stmt) -> bool:
        calls = [
            call
            for call in getattr(node, "decorator_list", [])
            if isinstance(call, ast.Call)
        ]
        return any(
            word.arg == "hidden" and ast.unparse(word.value) == "True"
            for call in calls
            for word in call.keywords
        )

    tree.body = [node for node in tree.body if not is_hidden(node)]
    return ast.unparse(tree)


def shorten(text: str) -> str:
    return (
        text
        if len(text) <= LONGEST
        else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
    )


def _take(name: str) -> str:
    """The text of a file, which is then gone; none without one."""
    path = Path(name)
    text = (
        path.read_text(encoding="utf-8", errors="replace")
        if path.is_file() and not path.is_symlink()
        else ""
    )
    path.unlink(missing_ok=True)
    return text


def _remove(name: str | Path) -> None:
    path = Path(name)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_tests(tests: dict[str, str]) -> None:
    _remove("tests")
    Path("tests").mkdir()
    for name, text in tests.items():
        Path("tests", f"{name}.py").write_text(text, encoding="utf-8")


# The notebook


def tidy(folder: Path) -> str:
    """Leave one notebook at the top of a submission, as Otter asks, and return what was remarked.

    The others are renamed. What can't be read is no notebook of this assignment.
    """
    found = [path.relative_to(folder) for path in sorted(folder.rglob("*.ipynb"))]
    found = [
        path
        for path in found
        if not any(part.startswith((".", "__")) for part in path.parts)
    ]
    found.sort(key=lambda path: len(path.parts))
    if not found:
        return "No notebook (.ipynb) was handed in."
    edited = [path for path in found if not _can_not_be_graded(folder / path)]
    chosen, remarks = (edited or found)[0], []
    if others := [path for path in found if path != chosen]:
        remarks.append(
            f"{chosen} was graded. Further notebooks were not: {', '.join(map(str, others))}."
        )
    if not edited:
        remarks.append(
            "The notebook is as it was handed out: save it before you hand it in."
        )
    if chosen.parent != Path():
        remarks.append(
            f"The notebook lay in the folder {chosen.parent}: hand it in without one."
        )
    for path in others:
        (folder / path).rename((folder / path).with_suffix(".not-graded"))
    (folder / chosen).replace(folder / chosen.name)
    (folder / "remarks.txt").write_text("\n".join(remarks), encoding="utf-8")
    return "\n".join(remarks)


def _can_not_be_graded(path: Path) -> bool:
    try:
        return path.is_symlink() or is_unedited(path.read_bytes())
    except OSError:
        return True


def run_notebook(notebook: Any, cell_seconds: float, notebook_seconds: float) -> str:
    """Run a notebook in a process of its own, collect its answers there, and say which cells ended with an error."""
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    def ignored(cell: Any) -> bool:
        return "otter_ignore" in cell.metadata.get("tags", []) or cell.metadata.get(
            "otter", {}
        ).get("ignore", False)

    cells = [cell for cell in notebook.cells if not ignored(cell)]
    copy = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(COLLECT)])
    kernel = AsyncKernelManager(kernel_name="python3")
    client = NotebookClient(
        copy,
        km=kernel,
        timeout_func=lambda cell: None if cell is copy.cells[-1] else cell_seconds,
        interrupt_on_timeout=True,
        allow_errors=True,
        extra_arguments=["--log-level=ERROR"],
    )
    client.log.disabled = True
    # First the library, then what lies beside the notebook and may have its name.
    path = os.pathsep.join(filter(None, [LIBRARY, os.environ.get("PYTHONPATH")]))

    async def execute() -> None:
        try:
            await asyncio.wait_for(
                client.async_execute(env={**os.environ, "PYTHONPATH": path}),
                notebook_seconds,
            )
        finally:  # also of a cell that takes no interrupt
            if client.kc:
                client.kc.stop_channels()
            await kernel.shutdown_kernel(now=True)

    ended, began = "", monotonic()
    try:
        with ThreadPoolExecutor(1) as apart:  # where no event loop runs already
            apart.submit(lambda: asyncio.run(execute())).result()
    except Exception as error:
        ended = f"Your notebook could not be run to its end: {shorten(str(error))}"
        if (
            monotonic() - began >= notebook_seconds
        ):  # nbclient says that the kernel died
            ended = f"Your notebook was stopped after {notebook_seconds:g} seconds in all: nothing of it could be graded."
    copy.cells.pop()
    return ended or describe_errors(copy, cell_seconds)


def describe_errors(notebook: Any, seconds: float) -> str:
    """Which cells of a notebook that was run ended with an error: for each, its first line of code and the error."""
    found = []
    for cell in notebook.cells:
        for error in [
            output
            for output in cell.get("outputs", [])
            if output.output_type == "error"
        ]:
            told = f"{error.ename}: {error.evalue}"
            if error.ename == "KeyboardInterrupt":
                told = f"no result: stopped after {seconds:g} seconds. Does a loop never end, or did you train more?"
            lines = [
                line
                for line in cell.source.splitlines()
                if line.strip() and not line.lstrip().startswith("#")
            ]
            found.append(
                f"- The cell that begins with `{lines[0]}` ended with {shorten(told)}"
            )
    if not found:
        return "Your notebook ran from its first to its last cell without an error."
    return "\n".join(
        [
            "Your notebook was run from top to bottom. These cells ended with an error:",
            *found[:20],
        ]
    )


# What it said


def collect(names: Mapping[str, Any], path: str) -> None:
    """Write what a notebook says as plain data; what can't be written is named in its place."""
    answers: dict[str, Any] = {}
    for name in DATA:
        if name in names and names[name] is not ...:
            try:
                answers[name] = [_plain(name, names[name])]
                json.dumps(answers[name])
            except Exception as error:
                answers[name] = (
                    f"`{name}` is not as it was asked for: {shorten(str(error))}"
                )
        elif name in names:
            answers[name] = None
    Path(path).write_text(json.dumps(answers), encoding="utf-8")


def _plain(name: str, value: Any) -> Any:
    if name in ("recipes", "records"):
        return [asdict(item) for item in value]
    if name == "training_error":
        return [[*key, *map(float, of_network)] for key, of_network in value.items()]
    if name == "prediction":
        return {key: [float(end) for end in ends] for key, ends in value.items()}
    return asdict(look_at(value)) if name == "figure" else value


def load(path: str, secret: str, known: list[int]) -> dict[str, Any]:
    """What a notebook said, as its tests find it: its case from the number, its records if they were measured.

    Args:
        path: the file that `collect` wrote.
        secret: what the class's teacher alone knows. From it follows the seed of the network to predict, and with the
            records the run of each network that is trained anew.
        known: the numbers of those who handed in, by the roster; empty where there is none.
    """
    env: dict[str, Any] = {}
    try:
        answers = json.loads(Path(path).read_text(encoding="utf-8"))
        for name, told in answers.items() if isinstance(answers, dict) else ():
            env[name] = (
                ...
                if told is None
                else Refusal(told)
                if isinstance(told, str)
                else _parsed(name, told[0])
            )
    except (ValueError, TypeError, KeyError, RecursionError, IndexError):
        return {}
    number = env.get("STUDENT_NUMBER")
    if known and number not in known:
        return dict.fromkeys(
            env,
            Refusal(
                f"the class list has not {number!r} as your number: write STUDENT_NUMBER = {known[0]}"
            ),
        )
    try:
        case = variant(number)
    except ValueError as error:
        measured = ("recipes", "records", "prediction")
        given = [name for name in measured if env.get(name) is not ...]
        return {**env, **dict.fromkeys(given, Refusal(str(error)))}
    digits = restrict(load_dataset("digits"), case.classes)
    records = env["records"] if isinstance(env.get("records"), list) else []
    networks = group_runs(
        record
        for record in records
        if record.recipe.dataset == digits.name and record.recipe.depth in case.depths
    )
    # One run of each network, and no hint at which
    chosen = [
        runs[_draw(secret, network, answers.get("records")) % len(runs)]
        for network, runs in networks.items()
    ]
    seed = 2_000_000 + _draw(secret, number)
    unseen = [
        Recipe(digits.name, case.held_out_depth, shortcut, seed, case.width)
        for shortcut in ("none", "A")
    ]
    *again, plain, residual = run_grid(
        [*(record.recipe for record in chosen), *unseen], dataset=digits
    )
    env["held_out"] = {"none": plain.train_error, "A": residual.train_error}
    if records:
        try:
            assert max(case.depths) in {depth for _, depth in networks}, (
                f"records has no run of your case: {max(case.depths)} layers, on {digits.name}"
            )
            require_measured(records, digits)
            require_same(chosen, again)
        except (AssertionError, KeyError, TypeError, IndexError) as error:
            env["records"] = Refusal(
                str(error) or "records are not as run_grid makes them"
            )
    return {**env, "case": case, "digits": digits}


def _draw(secret: str, *facts: Any) -> int:
    digest = hashlib.sha256(" ".join(map(str, (secret, *facts))).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def require_same(told: list[Record], again: list[Record]) -> None:
    """Refuse a run whose training error, epoch by epoch, is not what training it anew gives on the same machine."""
    for first, second in zip(told, again, strict=True):
        pairs = zip(
            first.curves["train_error"], second.curves["train_error"], strict=True
        )
        if first.recipe != second.recipe or any(
            abs(a - b) > 2 for a, b in [*pairs, (first.train_error, second.train_error)]
        ):
            raise AssertionError(
                f"{first.recipe.name} was trained anew, and came out otherwise than its record says: leave the records "
                "as run_grid makes them"
            )


def _parsed(name: str, told: Any) -> Any:
    try:
        if name == "recipes":
            return [Recipe(**recipe) for recipe in told]
        if name == "records":
            contents = [
                json.dumps({"format": FORMAT, **record}).encode() for record in told
            ]
            return [parse_record(content, "a record") for content in contents]
        if name == "training_error":
            return {
                (shortcut, depth): (mean, std) for shortcut, depth, mean, std in told
            }
        return Drawing(**told) if name == "figure" else told
    except (ValueError, TypeError) as error:
        return Refusal(f"`{name}` is not as it was asked for: {shorten(str(error))}")
