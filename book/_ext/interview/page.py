"""The page of all questions: real sections, so that search and links find them, which fold."""

from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from interview.links import link_to
from interview.questions import FILE, Citation, Interview, Question, Section, Wrong, load


class FoldedQuestion(nodes.section):
    """A section that folds. Its first two children, the title and a `Level`, stay in sight."""


class Level(nodes.Inline, nodes.TextElement):
    """How hard the question is. It ends what stays in sight."""


def open_question(self: HTML5Translator, node: FoldedQuestion) -> None:
    self.section_level += 1
    data = {"data-topic": node["topic"], "data-level": node["level"]}
    self.body.append(self.starttag(node, "details", CLASS="interview-question", **data) + "<summary>")


def close_question(self: HTML5Translator, node: FoldedQuestion) -> None:
    self.section_level -= 1
    self.body.append("</div></details>\n")


def open_level(self: HTML5Translator, node: Level) -> None:
    self.body.append('<span class="interview-level">')


def close_level(self: HTML5Translator, node: Level) -> None:
    self.body.append('</span></summary>\n<div class="interview-answer">\n')


class InterviewDirective(SphinxDirective):
    """What the three pages share: the questions, and their Markdown as nodes of the page."""

    def load(self) -> Interview:
        self.env.note_dependency(FILE)
        return load(Path(self.env.srcdir))

    def blocks(self, markdown: str, line: int) -> list[nodes.Node]:
        """The blocks of a text that stands in ``line`` of the questions' file, which warnings will name."""
        parent = nodes.Element()
        self.state.nested_parse(StringList(markdown.splitlines(), FILE), 0, parent)
        for node in parent.findall(nodes.Element):
            node.source, node.line = str(Path(self.env.srcdir) / FILE), line
        return parent.children

    def inlines(self, markdown: str, line: int) -> list[nodes.Node]:
        """The content of a text that is one paragraph."""
        (paragraph,) = self.blocks(markdown, line)
        return paragraph.children


class InterviewQuestions(InterviewDirective):
    """``{interview-questions}``: a section for each topic, and in it one for each question."""

    def run(self) -> list[nodes.Node]:
        interview = self.load()
        place = nodes.container(classes=["interview-place"])  # for the search, which a script adds
        return [place] + [
            self._section(nodes.section(ids=[f"topic-{topic}"]), title, *map(self._question, interview.on(topic)))
            for topic, title in interview.topics.items()
            if interview.on(topic)
        ]

    def _section(self, section: nodes.section, title: str, *content: nodes.Node, line: int = 0) -> nodes.section:
        section += nodes.title(title, "", *self.inlines(title, line))
        section += content
        self.state.document.set_id(section)
        return section

    def _question(self, question: Question) -> nodes.section:
        def blocks(text: str) -> list[nodes.Node]:
            return self.blocks(text, question.line)

        return self._section(
            FoldedQuestion(ids=[question.id], topic=question.topic, level=question.level),
            question.question,
            Level("", question.level),
            nodes.container("", *blocks(question.short), classes=["interview-short"]),
            *blocks(question.full),
            nodes.rubric("", "Often answered, and wrong"),
            nodes.bullet_list("", *[self._wrong(wrong, question.line) for wrong in question.wrong]),
            nodes.rubric("", "Evidence"),
            nodes.bullet_list("", *[nodes.list_item("", self._evidence(item)) for item in question.evidence]),
            line=question.line,
        )

    def _wrong(self, wrong: Wrong, line: int) -> nodes.list_item:
        answer = nodes.paragraph("", "", *self.inlines(wrong.answer, line), classes=["interview-wrong"])
        return nodes.list_item("", answer, *self.blocks(wrong.why, line))

    def _evidence(self, item: Section | Citation) -> nodes.paragraph:
        if isinstance(item, Section):
            link = link_to(f"notebooks/{item.chapter}", item.section, line=item.line)
            shows = [nodes.Text(": "), *self.inlines(item.shows, item.line)] if item.shows else []
            return nodes.paragraph("", "", link, *shows)
        where = f", {item.where}" if item.where else ""
        return nodes.paragraph("", "", *self.inlines(f"{{cite:t}}`{item.citation}`{where}", item.line))


def setup(app: Sphinx) -> None:
    app.add_node(FoldedQuestion, html=(open_question, close_question))
    app.add_node(Level, html=(open_level, close_level))
    app.add_directive("interview-questions", InterviewQuestions)
