"""Write the repository's address everywhere it stands, for a fork of the book.

python book/repository.py https://github.com/OWNER/NAME
python book/repository.py --check       fails while the address is the placeholder, for what publishes the book

`_config.yml` names it; the notebooks' set-up cells, README and the workflows repeat it.
"""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from resnet_lib.files import write_whole

ROOT = Path(__file__).parents[1]
PLACEHOLDER = "YOUR_ACCOUNT"
ADDRESS = re.compile(r"https://github\.com/[\w-]+/(?!\.|.*\.\.)[\w.-]+", flags=re.ASCII)
MAY_NAME_IT = {".bib", ".cff", ".ipynb", ".md", ".py", ".toml", ".txt", ".yml"}
COMMAND = "make repository URL=https://github.com/OWNER/NAME"


def address(root: Path = ROOT) -> str:
    """The address that the configuration names."""
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]


def files(root: Path) -> list[Path]:
    """The project's own files that may name the repository, of those that git knows."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
    return [root / name for name in listed.split("\0") if Path(name).suffix in MAY_NAME_IT]


def change(url: str, root: Path = ROOT) -> list[Path]:
    """Put ``url`` in the place of the present address, and return the files that this changed.

    Raises:
        ValueError: not the address of a repository on GitHub.
    """
    url = url.removesuffix("/").removesuffix(".git")
    if not ADDRESS.fullmatch(url):
        raise ValueError(f"URL must be like https://github.com/OWNER/NAME, got {url!r}")
    whole = re.compile(re.escape(address(root)) + r"(?![\w.-]*\w)")
    old = {path: path.read_text(encoding="utf-8") for path in files(root)}
    new = {path: whole.sub(url, text) for path, text in old.items()}
    changed = [path for path in old if old[path] != new[path]]
    for path in changed:
        write_whole(path, new[path].encode())
    return changed


def main(arguments: list[str]) -> None:
    if arguments == ["--check"]:
        if PLACEHOLDER in address():
            sys.exit(f"the repository's address is still the placeholder, {address()}: say {COMMAND}")
        return
    if len(arguments) != 1 or not arguments[0]:
        sys.exit(f"say the address: {COMMAND}")
    try:
        changed = change(arguments[0])
    except ValueError as error:
        sys.exit(str(error))
    except (OSError, subprocess.CalledProcessError):
        sys.exit("the address is changed in the files that git knows: this needs git, and a clone of the repository")
    for path in changed:
        print(path.relative_to(ROOT).as_posix())
    print(f"{len(changed)} files changed; the repository is {address()}")


if __name__ == "__main__":
    main(sys.argv[1:])
