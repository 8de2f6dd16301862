"""The interview's three pages, each a directive: all questions, the quiz, and the cheat sheet."""

import re
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from interview.questions import FILE, Entry, Interview, load


class FoldedQuestion(nodes.section):
    """A section that folds, so that search and links find it. Its title and the level behind it stay in sight."""

    tagname = "section"


def open_question(self: HTML5Translator, node: FoldedQuestion) -> None:
    self.section_level += 1
    data = {"data-topic": node["topic"], "data-level": node["level"]}
    self.body.append(self.starttag(node, "details", CLASS="interview-question", **data) + "<summary>")


def close_question(self: HTML5Translator, node: FoldedQuestion) -> None:
    self.section_level -= 1
    self.body.append("</div></details>\n")


raw = partial(nodes.raw, "", format="html")


class InterviewDirective(SphinxDirective):
    """What the three pages share: the questions, their Markdown as nodes of the page, and links to sections."""

    def load(self) -> Interview:
        self.env.note_dependency(FILE)
        return load(Path(self.env.srcdir))

    def blocks(self, markdown: str, line: int) -> list[nodes.Node]:
        """The blocks of a text that stands in ``line`` of the questions' file, which warnings will name."""
        parent = nodes.Element()
        self.state.nested_parse(StringList(markdown.splitlines(), FILE), 0, parent)
        for node in parent.findall(nodes.Element):
            self._place(node, line)
        return parent.children

    def inlines(self, markdown: str, line: int) -> list[nodes.Node]:
        """The content of a text that is one paragraph."""
        (paragraph,) = self.blocks(markdown, line)
        return paragraph.children

    def said(self, kind: str, text: str, why: str, line: int) -> nodes.list_item:
        """First what somebody may say, then why it is right or wrong."""
        said = nodes.paragraph("", "", *self.inlines(text, line), classes=["interview-said"])
        return nodes.list_item("", said, *self.blocks(why, line), classes=[kind] if kind else [])

    def link_to(self, page: str, heading: str, line: int) -> pending_xref:
        """A link to the section of ``page`` whose heading has the words ``heading``; it shows the title."""
        target = {"reftype": "section", "reftarget": f"{page}#{heading}", "refdoc": self.env.docname, "refwarn": True}
        link = pending_xref("", nodes.inline(text=heading), **target)
        self._place(link, line)
        return link

    def _place(self, node: nodes.Element, line: int) -> None:
        node.source, node.line = str(Path(self.env.srcdir) / FILE), line


def resolve(app: Sphinx, env: BuildEnvironment, link: pending_xref, _: nodes.Node) -> nodes.reference | None:
    """The reference that a `link_to` means, once all pages are read; None, and Sphinx warns, if it leads nowhere."""
    page, _, heading = link["reftarget"].partition("#")
    contents = env.tocs.get(page) if link["reftype"] == "section" else None
    for title in contents.findall(nodes.reference) if contents else ():
        if heading in title.astext():
            uri = app.builder.get_relative_uri(link["refdoc"], page) + title["anchorname"]
            return nodes.reference("", "", *[part.deepcopy() for part in title.children], refuri=uri, internal=True)
    return None


class InterviewQuestions(InterviewDirective):
    """``{interview-questions}``: a section for each topic, and in it one for each question."""

    def run(self) -> list[nodes.Node]:
        interview = self.load()
        sections = [nodes.container(classes=["interview-place"])]  # for the search, which a script adds
        for topic, title in interview.topics.items():
            if questions := [self._question(question) for question in interview.on(topic)]:
                section = nodes.section(ids=[f"topic-{topic}"], names=[f"topic-{topic}"])
                sections.append(self._filled(section, title, *questions, line=interview.topics.lines[topic]))
        return sections

    def _filled(self, section: nodes.section, title: str, *content: nodes.Node, line: int) -> nodes.section:
        section += nodes.title(title, "", *self.inlines(title, line))
        section += content
        self.state.document.note_explicit_target(section)
        return section

    def _question(self, question: Entry) -> nodes.section:
        level = question["level"] + (", the book's own" if "own" in question else "")
        return self._filled(
            FoldedQuestion(
                ids=[question["id"]], names=[question["id"]], topic=question["topic"], level=question["level"]
            ),
            question["question"],
            raw(f'<span class="interview-level">{level}</span></summary>\n<div class="interview-answer">\n'),
            nodes.container("", *self.blocks(question["short"], question.line), classes=["interview-short"]),
            *self.blocks(question["full"], question.line),
            nodes.rubric("", "Often answered, and wrong"),
            nodes.bullet_list("", *[self.said("", w["answer"], w["why"], w.line) for w in question["wrong"]]),
            nodes.rubric("", "Evidence"),
            nodes.bullet_list("", *[nodes.list_item("", *self._evidence(item)) for item in question["evidence"]]),
            line=question.line,
        )

    def _evidence(self, item: Entry) -> list[nodes.Node]:
        if "run" in item:
            code = nodes.literal_block(item["code"], item["code"], language="python")
            summary = nodes.inline("", "", *self.inlines(item["run"], item.line))
            return [raw("<details><summary>Run: "), summary, raw("</summary>\n"), code, raw("</details>\n")]
        if "citation" in item:
            where = f", {item['where']}" if "where" in item else ""
            return self.blocks(f"{{cite:t}}`{item['citation']}`{where}", item.line)
        link = self.link_to(f"notebooks/{item['chapter']}", item["section"], line=item.line)
        shows = [nodes.Text(": "), *self.inlines(item["shows"], item.line)] if "shows" in item else []
        return [nodes.paragraph("", "", link, *shows)]


class InterviewQuiz(InterviewDirective):
    """``{interview-quiz}``: every question that has a right choice, as a folded answer; a script makes it a game."""

    def run(self) -> list[nodes.Node]:
        interview = self.load()
        return [
            node
            for topic, title in interview.topics.items()
            for question in interview.on(topic)
            if "choice" in question
            for node in self._question(question, title)
        ]

    def _question(self, question: Entry, topic: str) -> list[nodes.Node]:
        line = question.line
        options = [self.said("right", question["choice"], question["short"], line)]
        options += [self.said("wrong", wrong["answer"], wrong["why"], wrong.line) for wrong in question["wrong"]]
        return [
            raw(f'<details class="interview-quiz" data-id="{question["id"]}" data-topic="{escape(topic)}"><summary>'),
            nodes.inline("", "", *self.inlines(question["question"], line)),
            raw("</summary>\n"),
            nodes.bullet_list("", *options),
            *self.blocks(f"[The full answer](#{question['id']})", line),
            raw("</details>\n"),
        ]


class InterviewSheet(InterviewDirective):
    """``{interview-sheet}``: a table for each topic, of the figures that one must know by heart."""

    def run(self) -> list[nodes.Node]:
        interview = self.load()
        rows = {
            topic: [row for question in interview.on(topic) if "sheet" in question for row in self._rows(question)]
            for topic in interview.topics
        }
        sections = [self._section(topic, interview.topics, rows[topic]) for topic in rows if rows[topic]]
        return [nodes.container("", *sections, classes=["interview-sheet"])]

    def _section(self, topic: str, topics: Entry, rows: list[nodes.row]) -> nodes.section:
        columns = nodes.colspec(colwidth=3, stub=1), nodes.colspec(colwidth=2)
        table = nodes.table("", nodes.tgroup("", *columns, nodes.tbody("", *rows), cols=2))
        title = nodes.title("", "", *self.inlines(topics[topic], topics.lines[topic]))
        return nodes.section("", title, table, ids=[f"sheet-{topic}"])

    def _rows(self, question: Entry) -> list[nodes.row]:
        """One row per labelled figure, below what they are about; without labels the first figure shares its row."""
        about = self.inlines(f"[{question['sheet']}](#{question['id']})", question.line)
        labelled = [check for check in question["checks"] if "label" in check]
        if not labelled:
            return [_row(about, question["checks"][0]["value"])]
        head = nodes.row("", nodes.entry("", nodes.paragraph("", "", *about), morecols=1), classes=["about"])
        return [head, *[_row(self.inlines(check["label"], check.line), check["value"], "one") for check in labelled]]


def _row(label: list[nodes.Node], figures: str, *classes: str) -> nodes.row:
    whole = re.sub(r"(?<=\d) (?=[^\W\d]|%)", "\N{NO-BREAK SPACE}", figures)  # a number and its unit stay on one line
    cells = nodes.paragraph("", "", *label), nodes.paragraph("", whole)
    return nodes.row("", *[nodes.entry("", cell) for cell in cells], classes=[*classes])


def add_script_and_style(app: Sphinx, page_name: str, template: str, context: dict[str, Any], tree: nodes.Node) -> None:
    """To the interview's pages alone, and to a book of one page."""
    if page_name.startswith("book/interview/") or app.builder.name == "singlehtml":
        app.add_css_file("interview.css")
        app.add_js_file("interview.js", loading_method="defer")


def setup(app: Sphinx) -> None:
    app.add_node(FoldedQuestion, html=(open_question, close_question))
    app.connect("missing-reference", resolve)
    app.connect("html-page-context", add_script_and_style)
    for name, directive in (("questions", InterviewQuestions), ("quiz", InterviewQuiz), ("sheet", InterviewSheet)):
        app.add_directive(f"interview-{name}", directive)
