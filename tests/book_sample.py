"""A small book with two topics and three questions, for the tests of the interview's machinery."""

import json
from pathlib import Path

QUESTIONS = r"""topics:
  bottleneck: Bottleneck and arithmetic
  depth: Why depth failed

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
    wrong:
      - answer: About 4 times
        why: Both sides shrink.
      - answer: About 16 times
        why: The 3×3 costs too.
    evidence:
      - chapter: 03_bottleneck
        section: "3.2"
        shows: by hand and in code
      - citation: he2016deep
        where: section 4.1
    checks:
      - value: "1,179,648"
        equals: 2 * conv_parameters(256, 256, 3)
        label: two convolutions
      - value: "16.9"
        equals: 2 * conv_parameters(256, 256, 3) / 69632
    given: ["50"]
    sheet: Weights at 256 channels

  - id: what-is-degradation
    topic: depth
    level: standard
    question: What is degradation?
    short: A deeper plain network has the higher training error.
    full: It is not overfitting.
    choice: More layers, more training error
    wrong:
      - answer: More layers, more test error alone
        why: That is overfitting.
      - answer: More layers, more time
        why: Time is a cost.
    evidence:
      - chapter: 03_bottleneck
        section: Summary
    checks:
      - value: 25.6 million
        equals: resnet_cost(50).parameters
    sheet: ResNet-50

  - id: is-it-overfitting
    topic: depth
    level: deep
    question: Is degradation overfitting?
    short: No. The training error rises too.
    full: Look at both errors.
    wrong:
      - answer: Yes
        why: The training error would fall.
    evidence:
      - citation: he2016deep
"""
HEADINGS = ["# 3. The bottleneck", "## 3.2 Two blocks", "```python\n# 3.4 Not a heading\n```", "## Summary"]
BIBLIOGRAPHY = """@inproceedings{he2016deep,
  author = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},
  title  = {Deep Residual Learning for {Image} Recognition},
  booktitle = {CVPR},
  year   = {2016}
}
"""


def make_book(root: Path, *changes: tuple[str, str]) -> Path:
    """Write the book into ``root``, with some texts of its questions replaced; the first time they stand there."""
    questions = QUESTIONS
    for old, new in changes:
        assert old in questions, old
        questions = questions.replace(old, new, 1)
    cells = [{"cell_type": "markdown", "metadata": {}, "source": [text]} for text in HEADINGS]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    texts = {
        "book/interview/questions.yml": questions,
        "book/references.bib": BIBLIOGRAPHY,
        "notebooks/03_bottleneck.ipynb": json.dumps(notebook),
    }
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def line_of(text: str) -> int:
    """The line of the sample that says ``text`` first."""
    return QUESTIONS[: QUESTIONS.index(text)].count("\n") + 1
