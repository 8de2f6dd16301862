"""Tables of plain text, as the extensions put them into pages."""

from collections.abc import Sequence

from docutils import nodes


def table(rows: Sequence[Sequence[str]], *classes: str) -> nodes.table:
    """A table whose first row is its head."""
    head, *body = [nodes.row("", *[nodes.entry("", nodes.paragraph(text=cell)) for cell in row]) for row in rows]
    columns = [nodes.colspec(colwidth=1) for _ in rows[0]]
    group = nodes.tgroup("", *columns, nodes.thead("", head), nodes.tbody("", *body), cols=len(columns))
    return nodes.table("", group, classes=list(classes))
