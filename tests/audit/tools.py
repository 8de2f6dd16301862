"""What the audit needs besides Python: Node with npm, a Chromium, and two npm packages of a fixed version."""

import json
import os
import shutil
import subprocess
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
PACKAGES = Path(__file__).with_name("package.json")


class CannotMeasureError(Exception):
    """One sentence: what is missing or wrong, and what would do."""


def find_browser() -> str:
    """The program named by CHROME_PATH, or the first browser that is installed."""
    named = os.environ.get("CHROME_PATH")
    if named and shutil.which(named) is None:
        raise CannotMeasureError(f"CHROME_PATH must name a Chromium, got {named}, which is no program")
    found = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise CannotMeasureError(
            f"No browser is installed (none of {', '.join(BROWSERS)}): install one, or set CHROME_PATH"
        )
    return found


def install_packages(folder: Path) -> Path:
    """Install Lighthouse and axe-core into ``folder``, unless these versions are there; return their folder."""
    npm = shutil.which("npm")
    if npm is None:
        raise CannotMeasureError("Node is not installed (no npm): Lighthouse needs Node 18.16 or newer")
    modules = folder / "node_modules"
    wanted = json.loads(PACKAGES.read_text(encoding="utf-8"))["dependencies"]
    if any(installed_version(modules / name) != version for name, version in wanted.items()):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGES, folder)
        command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error"]
        if subprocess.run(command, cwd=folder).returncode != 0:
            raise CannotMeasureError(f"npm could not install {', '.join(wanted)}: see its words above")
    return modules


def installed_version(package: Path) -> str | None:
    try:
        return json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    except FileNotFoundError:
        return None
