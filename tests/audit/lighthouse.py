"""Lighthouse's four marks for a page, with its preset for a telephone."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

CATEGORIES = ("performance", "accessibility", "best-practices", "seo")


# Marks from 0 to 100, and the title of every audit that cost one of them something.
Marks = tuple[dict[str, int], list[str]]


def marks(address: str, modules: Path, browser: str) -> Marks:
    """What Lighthouse says about the page at ``address``."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        program = modules / "lighthouse" / "cli" / "index.js"
        command = ["node", str(program), address, "--output=json", f"--output-path={out}", "--quiet"]
        command += ["--chrome-flags=--headless=new --no-sandbox", f"--only-categories={','.join(CATEGORIES)}"]
        environment = {**os.environ, "CHROME_PATH": browser}
        for _ in range(2):  # now and then it doesn't reach the browser that it started
            done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8")
            if out.is_file():
                break
        else:
            raise RuntimeError(f"Lighthouse did not finish with {address}: {done.stderr.strip()}")
        return read_report(json.loads(out.read_text(encoding="utf-8")))


def read_report(report: dict[str, Any]) -> Marks:
    categories = {name: report["categories"][name] for name in CATEGORIES}
    lost = [
        f"{name}: {report['audits'][audit['id']]['title']} ({report['audits'][audit['id']].get('displayValue', '')})"
        for name, category in categories.items()
        for audit in category["auditRefs"]
        if audit["weight"]
        and (report["audits"][audit["id"]]["score"] or 0) < 0.9
        and report["audits"][audit["id"]]["scoreDisplayMode"] not in ("notApplicable", "informative", "manual")
    ]
    return {name: round(100 * (category["score"] or 0)) for name, category in categories.items()}, lost
