"""The cheat sheet: the figures that one must know by heart, on one printed page."""

import re

from docutils import nodes
from sphinx.application import Sphinx

from interview.links import link_to
from interview.page import InterviewDirective
from interview.questions import Question

QUESTIONS = "book/interview/index"


class InterviewSheet(InterviewDirective):
    """``{interview-sheet}``: a section for each topic, and in it the questions that the sheet holds."""

    def run(self) -> list[nodes.Node]:
        interview = self.load()
        rows = {topic: [question for question in interview.on(topic) if question.sheet] for topic in interview.topics}
        sections = [self._section(topic, interview.topics[topic], rows[topic]) for topic in rows if rows[topic]]
        return [nodes.container("", *sections, classes=["interview-sheet"])]

    def _section(self, topic: str, title: str, questions: list[Question]) -> nodes.section:
        body = nodes.tbody("", *[row for question in questions for row in self._rows(question)])
        columns = nodes.colspec(colwidth=3, stub=1), nodes.colspec(colwidth=2)
        table = nodes.table("", nodes.tgroup("", *columns, body, cols=2))
        return nodes.section("", nodes.title("", "", *self.inlines(title, 0)), table, ids=[f"sheet-{topic}"])

    def _rows(self, question: Question) -> list[nodes.row]:
        """One row a figure, below what they are about; numbers without labels share its row."""
        link = link_to(QUESTIONS, question.id, *self.inlines(question.sheet, question.line), line=question.line)
        labelled = [check for check in question.checks if check.label]
        if not labelled:
            return [_row([link], " · ".join(check.value for check in question.checks))]
        about = nodes.row("", nodes.entry("", nodes.paragraph("", "", link), morecols=1), classes=["about"])
        return [about, *[_row(self.inlines(check.label, check.line), check.value, "one") for check in labelled]]


def _row(label: list[nodes.Node], figures: str, *classes: str) -> nodes.row:
    whole = re.sub(r"(?<=\d) (?=[^\W\d]|%)", "\N{NO-BREAK SPACE}", figures)  # a number and its unit stay on one line
    cells = nodes.paragraph("", "", *label), nodes.paragraph("", whole)
    return nodes.row("", *[nodes.entry("", cell) for cell in cells], classes=[*classes])


def setup(app: Sphinx) -> None:
    app.add_directive("interview-sheet", InterviewSheet)
