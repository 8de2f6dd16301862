"""What the audit needs besides Python: Node with npm, a Chromium, and two npm packages of a fixed version."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PACKAGES = Path(__file__).with_name("package.json")
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
# Marks from 0 to 100, the title of every audit that cost one of them something, the seconds until the largest content
# was painted, and how far content shifted.
Marks = tuple[dict[str, int], list[str], float, float]


def install_packages(folder: Path) -> Path:
    """Install Lighthouse and axe-core into ``folder``, unless these versions are there; return their folder."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("Node is not installed (no npm): Lighthouse needs Node 18.16 or newer.")
    installed = folder / "package.json"
    if not installed.is_file() or installed.read_bytes() != PACKAGES.read_bytes():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGES, folder)
        command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error"]
        if subprocess.run(command, cwd=folder).returncode != 0:
            installed.unlink()
            sys.exit("npm could not install Lighthouse and axe-core: see its words above.")
    return folder / "node_modules"


def lighthouse(address: str, modules: Path, browser: str) -> Marks:
    """What Lighthouse says about the page at ``address``, with its preset for a telephone."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        program = modules / "lighthouse" / "cli" / "index.js"
        command = ["node", str(program), address, "--output=json", f"--output-path={out}", "--quiet"]
        command += ["--chrome-flags=--headless=new --no-sandbox", f"--only-categories={','.join(CATEGORIES)}"]
        environment = {**os.environ, "CHROME_PATH": browser}
        for _ in range(2):  # now and then it doesn't reach the browser that it started
            done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8")
            if out.is_file():
                return read_report(json.loads(out.read_text(encoding="utf-8")))
        raise RuntimeError(f"Lighthouse did not finish with {address}: {done.stderr.strip()}")


def read_report(report: dict[str, Any]) -> Marks:
    marks, lost = {}, []
    for name in CATEGORIES:
        marks[name] = round(100 * (report["categories"][name]["score"] or 0))
        for reference in report["categories"][name]["auditRefs"]:
            audit = report["audits"][reference["id"]]
            counts = reference["weight"] and audit["scoreDisplayMode"] not in ("notApplicable", "informative", "manual")
            if counts and (audit["score"] or 0) < 0.9:
                lost.append(f"{name}: {audit['title']} ({audit.get('displayValue', '')})")
    audits = report["audits"]
    paint, shift = (audits[name]["numericValue"] for name in ("largest-contentful-paint", "cumulative-layout-shift"))
    return marks, lost, paint / 1000, shift
