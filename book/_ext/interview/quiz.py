"""The quiz: without a script a list of questions with folded answers, out of which the script makes a game."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from interview.links import link_to
from interview.page import InterviewDirective
from interview.questions import Question

QUESTIONS = "book/interview/index"


class QuizQuestion(nodes.General, nodes.Element):
    """A question of the quiz: its first child, a `Summary`, stays in sight."""


class Summary(nodes.General, nodes.TextElement):
    """What stays in sight."""


def open_quiz_question(self: HTML5Translator, node: QuizQuestion) -> None:
    self.body.append(self.starttag(node, "details", CLASS="interview-quiz", **{"data-topic": node["topic"]}))


def close_quiz_question(self: HTML5Translator, node: QuizQuestion) -> None:
    self.body.append("</details>\n")


def open_summary(self: HTML5Translator, node: Summary) -> None:
    self.body.append("<summary>")


def close_summary(self: HTML5Translator, node: Summary) -> None:
    self.body.append("</summary>\n")


class InterviewQuiz(InterviewDirective):
    """``{interview-quiz}``: every question that has a right choice, in the file's order of topics."""

    def run(self) -> list[nodes.Node]:
        interview = self.load()
        return [
            self._question(question, title)
            for topic, title in interview.topics.items()
            for question in interview.on(topic)
            if question.choice
        ]

    def _question(self, question: Question, topic: str) -> QuizQuestion:
        line = question.line
        why_right = nodes.container("", *self.blocks(question.short, line))
        options = [self._option("right", question.choice, why_right.children, line)]
        options += [self._option("wrong", w.answer, self.blocks(w.why, line), line) for w in question.wrong]
        more = link_to(QUESTIONS, question.id, nodes.Text("The full answer"), line=line)
        return QuizQuestion(
            "",
            Summary("", "", *self.inlines(question.question, line)),
            nodes.bullet_list("", *options),
            nodes.paragraph("", "", more),
            topic=topic,
        )

    def _option(self, kind: str, text: str, why: list[nodes.Node], line: int) -> nodes.list_item:
        """First what the option says, then why it is right or wrong."""
        return nodes.list_item("", nodes.paragraph("", "", *self.inlines(text, line)), *why, classes=[kind])


def setup(app: Sphinx) -> None:
    app.add_node(QuizQuestion, html=(open_quiz_question, close_quiz_question))
    app.add_node(Summary, html=(open_summary, close_summary))
    app.add_directive("interview-quiz", InterviewQuiz)
