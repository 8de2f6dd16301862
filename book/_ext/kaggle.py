"""Sphinx extension: Kaggle stands beside the places to run a chapter that the theme knows."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

COLAB = "https://colab.research.google.com/github/"
KAGGLE = "https://www.kaggle.com/kernels/welcome?src=https://github.com/"


def add_button(app: Sphinx, page_name: str, template: str, context: dict[str, Any], tree: nodes.Node | None) -> None:
    """After Colab's button one for Kaggle, which takes the same notebook."""
    for group in context.get("header_buttons", ()):
        for button in [button for button in group.get("buttons", ()) if button["text"] == "Colab"]:
            kaggle = {"text": "Kaggle", "tooltip": "Launch on Kaggle", "icon": "fas fa-cloud"}
            group["buttons"].append({**button, **kaggle, "url": button["url"].replace(COLAB, KAGGLE)})


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", add_button, priority=900)  # after the theme's own buttons
    return {"parallel_read_safe": True, "parallel_write_safe": True}
