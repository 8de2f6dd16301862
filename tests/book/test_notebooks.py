"""The chapters are stored as a reader should find them, and teach the library's own code."""

import ast
import inspect
import re
import shutil
import sys
import textwrap
from types import SimpleNamespace

import comparisons
import nbformat
import pytest
import style
import torch
from matplotlib import rc_context
from notebook_files import CHAPTERS, ROOT, code_cells, read, solutions, taught_definitions
from repository import address

from resnet_lib import augment, blocks, experiments, networks, orderings, training

every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


@every_chapter
def test_is_executed_in_order_without_errors_and_warnings_and_keeps_no_trace_of_the_machine(path):
    notebook = read(path)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for output in (output for cell in cells for output in cell.outputs):
        assert output.output_type != "error" and output.get("name") != "stderr", output
    assert not re.search(r"/(home|Users|root|tmp)/|[A-Z]:\\\\", path.read_text(encoding="utf-8"))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}


@every_chapter
def test_every_work_that_it_links_to_is_in_the_bibliography(path):
    bibliography = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    markdown = "".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    links = set(re.findall(r"\]\((https://[^)]+)\)", markdown))
    assert not {link for link in links if f"{{{link}}}" not in bibliography and not link.startswith("https://docs.")}


@every_chapter
def test_set_up_cell_is_the_same_everywhere_and_names_the_repository_of_the_configuration(path):
    set_up = read(path).cells[1].source
    assert set_up == read(CHAPTERS[0]).cells[1].source and f'"resnet-lib[chapters] @ git+{address()}"' in set_up


def tree_of(source):
    """The syntax, without comments and docstrings."""
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


@pytest.mark.parametrize("definition", taught_definitions(), ids=lambda d: f"{d.chapter.stem}-{d.name}")
def test_taught_code_is_the_library_s_code(definition):
    """Its behaviour is then the library's as well, which the library's own tests look at."""
    modules = (blocks, networks, training, augment, orderings)
    ours = next(getattr(module, definition.name) for module in modules if hasattr(module, definition.name))
    assert tree_of(definition.source) == tree_of(inspect.getsource(ours))


def test_blocks_and_the_training_loop_are_taught():
    wanted = {"Residual", "Bottleneck", "ResNet", "OrderedBlock", "resnet_block", "train_epoch", "evaluate"}
    assert wanted <= {definition.name for definition in taught_definitions()}


@pytest.mark.parametrize("source", [s for _, s in solutions()], ids=[name for name, _ in solutions()])
def test_solution_runs_as_it_stands(source, monkeypatch):
    # Solutions that measure would take minutes: one epoch shows that they run, the chapter's own cells what they show.
    whole = experiments.degradation_grid

    def smaller(depths=(8,), shortcuts=("none",), seeds=1, **settings):
        return whole([min(depths)], shortcuts, 1, **{**settings, "epochs": 1})

    monkeypatch.setattr(experiments, "degradation_grid", smaller)
    exec(compile(source, "solution", "exec"), {"__name__": "solution"})


def test_on_a_gpu_chapter_8_trains_and_keeps_every_record_whatever_state_the_drive_is_in(tmp_path, monkeypatch, capsys):
    drive = tmp_path / "drive"
    source = {cell.id: cell.source for cell in code_cells(read(CHAPTERS[7]))}
    smaller = 'depths=[8], seeds=1, epochs=2, width=2, images=200, dataset="digits"'
    source["c40"] = re.sub(r"depths=.*images=20_000", smaller, source["c40"]).replace('"cifar10"', '"digits"')
    source["c38"] = source["c38"].replace("= False", "= True").replace("/content/drive", drive.as_posix())
    source["c41"] = source["c41"].replace('device("cuda")', 'device("cpu")')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(drive=SimpleNamespace(mount=str)))

    @rc_context()
    def run_section():
        space, pictures = {}, []
        exec(source["c02"], space)
        space["display"] = lambda first, display_id: pictures.append(first) or SimpleNamespace(update=pictures.append)
        exec("\n".join(source[name] for name in ("c38", "c40", "c41")), space)
        assert len(space["my_runs"]) == 2
        return len(pictures)

    drive.touch()  # no folder, so nothing can be kept there
    assert run_section() == 1 + 4 + 1  # empty, after each epoch, at the end
    assert capsys.readouterr().out.count("five-minutes alone: ") == 2

    kept = drive / "MyDrive" / "resnet-book" / "five-minutes"
    drive.unlink()
    kept.mkdir(parents=True)
    here = sorted((tmp_path / "runs" / "five-minutes").glob("*.json"))
    (kept / here[0].name).write_text("half of it")
    monkeypatch.setattr(experiments, "train", None)  # nothing is trained again
    assert run_section() == 2
    shutil.rmtree(tmp_path / "runs")  # as when the session ends, and the next one gets no GPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run_section() == 2


def test_a_chapter_that_departs_from_the_style_is_named(tmp_path):
    notebook = read(CHAPTERS[0])
    assert list(style.problems(CHAPTERS[0])) == []
    notebook.cells[0].source = notebook.cells[0].source.replace("# 1. ", "# ").replace("**The question.**", "")
    notebook.cells[-1].source = notebook.cells[-1].source.replace("**2. ", "**3. ").replace("- ", "* ")
    notebook.cells[2:2] = [nbformat.v4.new_markdown_cell("See {cite}`he2016deep`."), notebook.cells.pop(1)]
    path = tmp_path / CHAPTERS[0].name
    nbformat.write(notebook, path)
    found = "\n".join(style.problems(path))
    for named in ("number and title", "The question", "set-up cell", "a MyST directive", "numbered [1, 3,", "summary"):
        assert named in found


def test_long_run_of_chapter_1_is_quoted_as_recorded():
    from resnet_lib.records import load_records

    records = load_records(ROOT / "book" / "results" / "digits-long")
    one, two, three = (f"{record.train_error:.1f}" for record in records)
    assert f"{one}, {two} and {three} %" in read(CHAPTERS[0]).cells[-1].source


def test_a_comparison_without_its_words_or_with_the_best_rate_at_an_edge_is_told():
    name, rows = comparisons.OPTION_C
    edge = [row for row in rows if row["unit"]["lr"] <= 0.1]
    told = list(comparisons.problems("04_shortcuts", "words that nobody wrote", [(name, rows), (name, edge)]))
    assert len(told) == 2 and "do not stand" in told[0] and "at the edge of its sweep" in told[1]
