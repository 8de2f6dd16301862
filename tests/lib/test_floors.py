"""The library is a house with floors: a file imports from floors below its own, never from beside or above."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import resnet_lib

HOUSE = Path(resnet_lib.__file__).parent
FILES = {path.stem: path for path in sorted(HOUSE.glob("*.py"))}
# A package has a front door, which readers know, and rooms behind it, on the same floor.
PACKAGES = sorted(path.parent.name for path in HOUSE.glob("*/__init__.py"))
for package in PACKAGES:
    FILES |= {f"{package}.{path.stem}": path for path in sorted((HOUSE / package).glob("*.py"))}
    FILES[package] = FILES.pop(f"{package}.__init__")
# Training builds networks and figures draw summaries of experiments, so each stands above what it uses.
FLOORS = {
    "__main__": 14,
    "report": 13,
    "figures": 11,
    "experiments": 9,
    "environment": 0,
    "cluster": 8,
    "runs": 7,
    "training": 6,
    "fast": 3,
    "checkpoints": 3,
    "orderings": 3,
    "datasets": 2,
    "records": 2,
    "networks": 2,
    "blocks": 1,
    "arithmetic": 2,
    "augment": 1,
    "recipes": 1,
    "parallel": 0,
    "_arguments": 0,
    "files": 0,
}
ROOMS = {f"{package}.": package for package in PACKAGES}
NEED_TORCH_ALONE = ["_arguments", "recipes", "blocks", "networks", "arithmetic"]
every_file = pytest.mark.parametrize("name", FILES)


def front_door(name: str) -> str:
    """The file that a room belongs to; of any other file, the file itself."""
    return next((file for prefix, file in ROOMS.items() if name.startswith(prefix)), name)


def imports(name: str) -> list[str]:
    """Every module that the file imports, anywhere in it; a name out of the package itself as resnet_lib:name."""
    modules = []
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}.py, line {node.lineno}: imports are written in full"
            if node.module == "resnet_lib":
                modules += [
                    f"resnet_lib.{alias.name}" if alias.name in FILES else f"resnet_lib:{alias.name}"
                    for alias in node.names
                ]
            else:
                modules.append(node.module)
    return modules


def imports_from_the_house(name: str) -> list[str]:
    return [module.removeprefix("resnet_lib.") for module in imports(name) if module.startswith("resnet_lib.")]


@every_file
def test_every_file_has_a_floor(name):
    assert name == "__init__" or front_door(name) in FLOORS, f"{name}.py stands on no floor: add it to FLOORS"


@pytest.mark.parametrize("name", [name for name in FILES if name != "__init__"])
def test_a_file_imports_only_from_floors_below(name):
    floor = FLOORS[front_door(name)]
    for other in imports_from_the_house(name):
        own_room = front_door(other) == front_door(name)
        assert own_room or FLOORS[front_door(other)] < floor, f"{name}.py (floor {floor}) imports {other}.py"


@every_file
def test_of_the_package_itself_a_file_imports_only_its_version(name):
    from_package = [module for module in imports(name) if module == "resnet_lib" or module.startswith("resnet_lib:")]
    assert set(from_package) <= {"resnet_lib:__version__"}


def test_rooms_are_entered_by_their_front_door_only():
    for name in FILES:
        for other in imports_from_the_house(name):
            if other.startswith(tuple(ROOMS)):
                assert front_door(name) == front_door(other), f"{name}.py imports {other}.py"


def test_no_import_goes_in_a_circle():
    graph = {name: imports_from_the_house(name) for name in FILES if name != "__init__"}
    assert list(TopologicalSorter(graph).static_order())  # a circle raises CycleError, which names it


@pytest.mark.parametrize("name", [name for name in NEED_TORCH_ALONE if name in FILES])
def test_the_models_and_the_arithmetic_need_torch_alone(name):
    outside = {module.partition(".")[0] for module in imports(name)} - {"resnet_lib"}
    assert outside - sys.stdlib_module_names <= {"torch"}
    assert {front_door(other) for other in imports_from_the_house(name)} <= set(NEED_TORCH_ALONE)


def test_importing_the_package_imports_the_models_alone():
    assert set(imports_from_the_house("__init__")) <= set(NEED_TORCH_ALONE)


@every_file
def test_no_file_is_longer_than_300_lines(name):
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= 300


@every_file
def test_every_file_begins_with_a_docstring(name):
    assert ast.get_docstring(ast.parse(FILES[name].read_text(encoding="utf-8")))
