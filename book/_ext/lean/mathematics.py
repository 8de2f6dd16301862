"""Mathematics as MathML, which browsers draw and screen readers read without a script or a font to fetch."""

import re
from html import escape

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)


def to_mathml(node: nodes.math | nodes.math_block) -> str:
    """The node's formula as a ``<math>`` element in one line; its TeX source and a warning where that is not possible.

    >>> to_mathml(nodes.math("", "x_1, …"))
    '<math xmlns="http://www.w3.org/1998/Math/MathML"><msub><mi>x</mi><mn>1</mn></msub><mo>,</mo><mi>…</mi></math>'
    """
    tex = re.sub(r"\\dots(?![a-z])|…", r"\\ldots ", node.astext())  # in docutils' own words
    try:
        mathml = tex2mathml(tex, as_block=isinstance(node, nodes.math_block))
    except MathError as error:
        logger.warning("this formula cannot be turned into MathML: %s: %s", node.astext(), error, location=node)
        return f"<code>{escape(node.astext())}</code>"
    return "".join(line.strip() for line in mathml.splitlines())


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(f"{to_mathml(node)}</span>")
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    # The theme lets keys reach this class where its content is too wide for the screen.
    classes = "math notranslate nohighlight pst-scrollable-table-container"
    number = f'<span class="eqno">({get_node_equation_number(self, node)})</span>' if node.get("number") else ""
    self.body.append(f"{self.starttag(node, 'div', CLASS=classes)}{number}{to_mathml(node)}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", inline_renderers=(visit_math, None), block_renderers=(visit_math_block, None))
