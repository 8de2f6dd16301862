"""Mathematics as MathML, which browsers draw and screen readers read without a script or a font to fetch."""

import re
from html import escape

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
# What docutils doesn't know, in its own words.
IN_OTHER_WORDS = {r"\\dots(?![a-z])": r"\ldots", "…": r"\ldots "}


def to_mathml(tex: str, block: bool) -> str:
    """One formula, as a ``<math>`` element in one line.

    >>> to_mathml("x_1, …", block=False)
    '<math xmlns="http://www.w3.org/1998/Math/MathML"><msub><mi>x</mi><mn>1</mn></msub><mo>,</mo><mi>…</mi></math>'

    Raises:
        MathError: a command or a character that docutils does not know.
    """
    for unknown, known in IN_OTHER_WORDS.items():
        tex = re.sub(unknown, lambda _, known=known: known, tex)
    mathml = tex2mathml(tex, as_block=block)
    return "".join(line.strip() for line in mathml.splitlines())


def mathml_of(node: nodes.math | nodes.math_block) -> str:
    """The node's formula; its TeX source and a warning where that cannot be translated."""
    try:
        return to_mathml(node.astext(), block=isinstance(node, nodes.math_block))
    except MathError as error:
        logger.warning("this formula cannot be turned into MathML: %s: %s", node.astext(), error, location=node)
        return f"<code>{escape(node.astext())}</code>"


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(f"{mathml_of(node)}</span>")
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    # The theme lets keys reach this class where its content is too wide for the screen.
    classes = "math notranslate nohighlight pst-scrollable-table-container"
    self.body.append(self.starttag(node, "div", CLASS=classes))
    if node.get("number"):
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})</span>')
    self.body.append(f"{mathml_of(node)}</div>\n")
    raise nodes.SkipNode


def choose_mathml(_: Sphinx, config: Config) -> None:
    config.html_math_renderer = "mathml"


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", inline_renderers=(visit_math, None), block_renderers=(visit_math_block, None))
    app.connect("config-inited", choose_mathml)
