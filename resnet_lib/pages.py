"""What reports are made of: tables for a terminal, and HTML pages that need nothing but themselves."""

import base64
import io
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from html import escape

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from resnet_lib.figures import style

LIGHT_INK, DARK_INK = "#1a1a1a", "#e6e6e6"  # of pages on light and on dark paper
DARK, NARROW = "(prefers-color-scheme: dark)", "(max-width: 40em)"
STYLE = f"""
:root {{ color-scheme: light dark; --ink: {LIGHT_INK}; --soft: #555; --paper: #fff; --line: #c8c8c8; }}
@media {DARK} {{ :root {{ --ink: {DARK_INK}; --soft: #a8a8a8; --paper: #121212; --line: #444; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; padding: 1rem; max-width: 48rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.5rem; }}
h2 {{ font-size: 1.2rem; margin: 2.5rem 0 0; line-height: 1.3; }}
p, dl {{ color: var(--soft); margin: .5rem 0; font-size: .9rem; }}
img {{ display: block; max-width: 100%; margin: 1rem auto; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; overflow-wrap: normal; }}
th, td {{ padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }}
td, tbody th {{ white-space: nowrap; font-weight: inherit; }}
thead th {{ vertical-align: bottom; }}
th:first-child {{ text-align: left; padding-left: 0; }}
@media {NARROW} {{ table {{ font-size: .8rem; }} th, td {{ padding: .3rem .25rem; }} }}
dt {{ float: left; margin-right: .5em; }}
dt::after {{ content: ":"; }}
dd {{ margin: 0; }}
"""


def format_error(mean: float, std: float | None) -> str:
    """Mean ± standard deviation; of one run, the run.

    >>> format_error(1.0, 0.25), format_error(1.0, None)
    ('1.00 ± 0.25', '1.00')
    """
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def align(cells: list[list[str]]) -> list[str]:
    """The lines of a table for a terminal: the first column to the left, the others to the right.

    >>> align([["depth", "n"], ["8", "12"]])
    ['depth   n', '8      12']
    """
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in cells]


def format_cells(cells: list[list[str]], label: str) -> str:
    """A table, a line of headings first; ``label`` names it for those who can't see it."""
    heading, *lines = [[escape(cell) for cell in line] for line in cells]
    head = "".join(f'<th scope="col">{cell.replace(" %", "&nbsp;%")}</th>' for cell in heading)
    rows = "\n".join(
        f'<tr><th scope="row">{line[0]}</th>{"".join(f"<td>{cell}</td>" for cell in line[1:])}</tr>' for line in lines
    )
    return f"""<div class="wide" role="region" aria-label="{label}" tabindex="0">
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>"""


def format_section(heading: str, *parts: str) -> str:
    """A part of a page; ``heading`` is text, ``parts`` are HTML."""
    return "\n".join(["<section>", f"<h2>{escape(heading)}</h2>", *parts, "</section>"])


def format_paragraph(text: str) -> str:
    """A paragraph of text.

    >>> format_paragraph("a < b")
    '<p>a &lt; b</p>'
    """
    return f"<p>{escape(text)}</p>"


def format_list(items: Iterable[str]) -> str:
    """A list of texts."""
    lines = "\n".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<ul>\n{lines}\n</ul>"


def format_facts(facts: Mapping[str, str]) -> str:
    """A list of names and what is so named, all of it text."""
    lines = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f"<dl>\n{lines}\n</dl>"


def save_figure(figure: Figure, kind: str, **settings: object) -> bytes:
    """The figure as the content of a file; ``settings`` are those of `Figure.savefig`."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name may have letters that the font lacks: they are drawn as boxes, and the table has them in full.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format=kind, **settings)
    return buffer.getvalue()


def draw_svg(draw: Callable[[Figure], None], size: tuple[float, float]) -> str:
    """What ``draw`` fills a figure of ``size`` (inches) with, as SVG in ink for a light page."""
    with plt.rc_context(style(ink=LIGHT_INK, paper="none")):
        figure = Figure(figsize=size)
        draw(figure)
        svg = save_figure(figure, "svg", metadata=dict.fromkeys(["Creator", "Date", "Format", "Type"])).decode()
    # Two decimals of the curves' coordinates are finer than a screen, and half of the file.
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)


def format_picture(wide: str, narrow: str, alt: str) -> str:
    """A picture by the reader's screen: two SVGs of `draw_svg`, in light and in dark; ``alt`` is said in its place."""
    return f"""<picture>
<source media="{NARROW} and {DARK}" srcset="{_as_address(narrow.replace(LIGHT_INK, DARK_INK))}">
<source media="{NARROW}" srcset="{_as_address(narrow)}">
<source media="{DARK}" srcset="{_as_address(wide.replace(LIGHT_INK, DARK_INK))}">
<img src="{_as_address(wide)}" alt="{escape(alt)}">
</picture>"""


def _as_address(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def format_page(heading: str, body: str) -> str:
    """A page that needs nothing but itself; ``heading`` and ``body`` are HTML."""
    # The policy: should anything foreign slip through, the browser neither runs nor loads it.
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{heading}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{heading}</h1>
{body}
</main>
</body>
</html>
"""
