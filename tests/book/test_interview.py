"""The interview's one source is valid and true, and the deck made of it updates cards instead of doubling them."""

import json
import re
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from interview import deck, questions
from interview.questions import QuestionsError
from notebook_files import ROOT

FILE = "book/interview/questions.yml"
# A small book with two topics and three questions
QUESTIONS = r"""topics: {bottleneck: Bottleneck and arithmetic, depth: Why depth failed}
sizes: ["3×3"]
questions:
  - id: bottleneck-against-basic
    topic: bottleneck
    level: warm-up
    question: How many weights does a `Bottleneck` save beside two 3×3 convolutions?
    short: The two hold 1,179,648 weights, which is 16.9 times as many. ResNet-50 is built of the cheap ones.
    full: |-
      Count $k^2 < 10$ by hand, as in [chapter 3](../../notebooks/03_bottleneck.ipynb) or [the paper](https://arxiv.org/abs/1512.03385):

      ```python
      assert 3 * 3 < 10
      ```
    choice: About 17 times
    wrong: [{answer: About 4 times, why: Both sides shrink.}, {answer: About 16 times, why: The 3×3 costs too.}]
    evidence:
      - chapter: 03_bottleneck
        section: Two blocks
        shows: by hand and in code
      - {citation: he2016deep, where: section 4.1}
    checks:
      - {value: "1,179,648", equals: "2 * conv_parameters(256, 256, 3)", label: two convolutions}
      - {value: "16.9", equals: "2 * conv_parameters(256, 256, 3) / 69632"}
    given: ["50"]
    sheet: Weights at 256 channels

  - id: what-is-degradation
    topic: depth
    level: standard
    question: What is degradation?
    short: A deeper plain network has the higher training error.
    full: It is not overfitting. Of 1,234 images 4·100 = 400 are wrong.
    choice: More layers, more training error
    wrong: [{answer: More test error alone, why: That is overfitting.}, {answer: More time, why: Time is a cost.}]
    evidence: [{chapter: 03_bottleneck, section: Summary}, {run: both networks, code: assert True}]
    cited: ["1,234"]
    checks: [{value: 25.6 million, equals: resnet_cost(50).parameters}]
    sheet: ResNet-50

  - id: is-it-overfitting
    topic: depth
    level: deep
    own: "yes"
    question: Is degradation overfitting?
    short: No. The training error rises too.
    full: Look at both errors.
    wrong: [{answer: "Yes", why: The training error would fall.}]
    evidence: [{citation: he2016deep}]
"""
HEADINGS = ["# 3. The bottleneck", "## 3.2 Two blocks", "```python\n# 3.4 Not a heading\n```", "## Summary"]
BIBLIOGRAPHY = """@misc{he2016deep, author = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},
  year = {2016}, title = {Deep Residual Learning for {Image} Recognition}}
"""


def make_book(root: Path, *changes: tuple[str, str]) -> Path:
    """Write the book into ``root``, with some texts of its questions replaced; the first time they stand there."""
    text = QUESTIONS
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    cells = [{"cell_type": "markdown", "metadata": {}, "source": [heading]} for heading in HEADINGS]
    for folder in ("book/interview", "notebooks"):
        (root / folder).mkdir(parents=True)
    (root / FILE).write_text(text, encoding="utf-8")
    (root / "book" / "references.bib").write_text(BIBLIOGRAPHY, encoding="utf-8")
    (root / "notebooks" / "03_bottleneck.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return root


def line_of(text: str) -> int:
    """The line of the sample that says ``text`` first."""
    return QUESTIONS[: QUESTIONS.index(text)].count("\n") + 1


# --- Validation


def test_every_scalar_is_a_text_and_knows_its_line(tmp_path):
    changes = ("section: Two blocks", "section: 3.2"), ('given: ["50"]', "given: [50]")
    interview = questions.load(make_book(tmp_path, *changes))
    first = interview.questions[0]
    assert [question["id"] for question in interview.on("depth")] == ["what-is-degradation", "is-it-overfitting"]
    assert first["evidence"][0]["section"] == "3.2" and first["given"] == ["50"]
    assert first["checks"][0].line == line_of('{value: "1,179,648"')


LONG = "word " * 61
# What is planted, what the sentence must name, and how many lines behind the planted text the problem stands.
BROKEN = {
    "an unknown key": ("    full: It", "    fulll: It", "fulll", -5),
    "a missing key": ("    full: Look at both errors.\n", "", "full", -6),
    "a key twice": ("level: standard", "topic: depth", "topic stands here twice"),
    "an id twice": ("id: is-it-overfitting", "id: what-is-degradation", "what-is-degradation is taken"),
    "an id that is no anchor": ("id: is-it-overfitting", "id: Is_it", "small letters, digits and hyphens"),
    "an unknown topic": ("topic: depth", "topic: width", "there is no topic width; there are bottleneck, depth"),
    "a long answer": ("short: No. The training error rises too.", f"short: {LONG}", "61 words, at most 60"),
    "no such chapter": ("chapter: 03_bottleneck", "chapter: 03_neck", "notebooks/03_neck.ipynb"),
    "no such section": ("section: Two blocks", "section: Not a heading", "has not one section Not a heading", -1),
    "no such work": ("citation: he2016deep", "citation: he2061deep", "book/references.bib has no he2061deep"),
    "a number that nothing covers": ("16.9 times as", "16.8 times as", "short says 16.8"),
    "a number of the full answer that nothing covers": ("Of 1,234", "Of 1,235", "full says 1,235"),
    "a sum that does not come out": ("4·100 = 400", "4·100 = 401", "4·100 = 401: the last is 400"),
    "a given number that is not there": ('given: ["50"]', 'given: ["50", "34"]', "given holds 34"),
    "a check of no text": ("short: No.", "checks: [{value: 7, equals: 7}]\n    short: No.", "value is 7"),
    "a value that is no number": ('value: "16.9"', "value: many", "one number"),
    "a sheet without figures": ("short: No.", "sheet: No\n    short: No.", "'checks' is a dependency of 'sheet'", -5),
    "a lone wrong choice": ("short: No.", "choice: No\n    short: No.", "two wrong answers", 3),
    "a choice that is also wrong": ("choice: About 17", "choice: About 16", "choice is one of the wrong answers too"),
    "no YAML": ("level: deep", "level: [deep", "expected", 1),
    "nothing": (QUESTIONS, "", "object"),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named_with_file_and_line(tmp_path, rule):
    old, new, named, *offset = BROKEN[rule]
    with pytest.raises(QuestionsError) as error:
        questions.load(make_book(tmp_path, (old, new)))
    place = f"{FILE}, line {line_of(old) + sum(offset)}: "
    assert any(problem.startswith(place) and named in problem for problem in str(error.value).splitlines()), error.value


def test_all_problems_are_named_at_once_in_the_order_of_the_lines(tmp_path):
    changes = [BROKEN[rule][:2] for rule in ("no such chapter", "no such work", "an unknown topic")]
    with pytest.raises(QuestionsError) as error:
        questions.load(make_book(tmp_path, *changes))
    lines = [*map(int, re.findall(r"line (\d+):", str(error.value)))]
    assert len(lines) == 3 and lines == sorted(lines)


# --- The deck

# The questions of the first edition that are still there: cards hang on their ids.
IMPORTED = """
what-is-degradation degradation-or-overfitting did-gradients-vanish construction-argument objections-to-degradation
resnet-1202 residual-formula what-if-f-is-zero addition-before-relu why-add identity-hard-to-learn when-a-projection
options-a-b-c option-c-degrades strided-projection bottleneck-against-basic what-is-narrow macs-are-not-time
one-convolution output-size why-fifty resnet50-parameters resnet50-multiply-adds receptive-field
no-bias-before-batchnorm batchnorm-modes zero-gamma he-initialisation blind-to-size batchnorm-in-residual-networks
why-it-works-briefly white-noise-gradients what-a-shortcut-guarantees is-size-the-cause plain-without-shortcuts
ensemble-of-paths loss-landscape five-networks v1-and-v15 pre-activation resnext squeeze-and-excitation resnet-d
paper-recipe-cifar why-warm-up batch-size-and-rate recipe-or-architecture is-the-difference-real stem-for-small-images
resnet20-or-resnet18 fine-tuning freezing-batchnorm fold-batchnorm fold-pre-activation channels-last half-precision
other-image-sizes write-a-basic-block write-make-layer list-times-n in-place-addition prove-it-right
trains-but-does-not-validate why-is-it-slow loader-bound loss-is-nan out-of-memory batchnorm-on-many-gpus
"""


def write_sample_deck(root: Path, *changes: tuple[str, str], changed: float = 1_700_000_000.0) -> Path:
    interview = questions.load(make_book(root, *changes))
    path = root / "deck.apkg"
    deck.write_deck(interview, questions.citations_of(root), path, changed)
    return path


def rows(path: Path, query: str) -> list[tuple]:
    """What the deck's database answers."""
    with zipfile.ZipFile(path) as package:
        database = package.extract("collection.anki2", path.parent / "opened")
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def test_a_card_holds_question_answers_evidence_and_tags(tmp_path):
    ((fields, tags), *_, (_, own)) = rows(write_sample_deck(tmp_path), "select flds, tags from notes")
    question, short, full, evidence = fields.split("\x1f")
    assert "save beside two 3×3 convolutions" in question and short.startswith("<p>The two hold 1,179,648 weights")
    assert '<pre><code class="language-python">assert 3 * 3 &lt; 10' in full and r"\(k^2 &lt; 10\)" in full
    assert "in chapter 3 or" in full and '<a href="https://arxiv.org/abs/1512.03385">the paper</a>' in full
    assert "Chapter 3, Two blocks: by hand and in code" in evidence
    assert "He et al. 2016: Deep Residual Learning for Image Recognition, section 4.1" in evidence
    assert tags.split() == ["topic::bottleneck", "level::warm-up"] and "own::yes" in own


IDS = "select notes.guid, notes.mid, cards.did, cards.ord from notes join cards on cards.nid = notes.id"


def test_a_changed_text_keeps_the_ids_and_is_newer(tmp_path):
    old = write_sample_deck(tmp_path / "old")
    new = write_sample_deck(tmp_path / "new", ("What is degradation?", "What degrades?"), changed=1_700_000_100.0)
    assert "What degrades?" in str(rows(new, "select flds from notes"))
    assert rows(old, IDS) == rows(new, IDS)
    # Anki takes a note over only if it was modified later than its own.
    assert rows(old, "select min(mod) from notes") < rows(new, "select min(mod) from notes")


def test_the_deck_has_a_card_for_every_question_with_the_ids_that_readers_have_imported(tmp_path):
    assert rows(write_sample_deck(tmp_path), IDS)[0] == ("PIkEsLgl39", 1_603_050_270, 1_512_033_850, 0)
    real, path = questions.load(ROOT), tmp_path / "deck.apkg"
    deck.write_deck(real, questions.citations_of(ROOT), path, changed=1_700_000_000.0)
    for table, name in (("notes", "guid"), ("cards", "nid")):
        assert rows(path, f"select count(*), count(distinct {name}) from {table}") == [(len(real.questions),) * 2]
    assert {question["id"] for question in real.questions} >= {*IMPORTED.split()}
