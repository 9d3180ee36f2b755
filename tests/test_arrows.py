"""Rooms import each other in one direction only, and hold one idea per file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FRAMEWORKS = {"lightning", "pytorch_lightning", "transformers", "accelerate", "tensorboard"}

# What each room may import: other rooms, and libraries beside the standard library's.
ROOMS = {
    "landscape": (set(), {"torch", "numpy", "scipy", "tqdm", "safetensors"}),
    "tda": (set(), {"numpy", "scipy", "gudhi", "persim"}),
    "schedulers": ({"landscape", "tda"}, {"torch", "numpy"}),
    "optim": ({"schedulers", "landscape"}, {"torch"}),
    "penalties": (set(), {"torch"}),
    "viz": ({"landscape", "tda", "schedulers"}, {"matplotlib", "mpl_toolkits", "numpy", "plotly"}),
    "integrations": ({"landscape", "tda", "schedulers", "optim", "viz"}, {"torch", "matplotlib", *FRAMEWORKS}),
    "testing": ({"landscape", "schedulers"}, {"torch"}),
    "cli": (
        {"landscape", "tda", "schedulers", "optim", "penalties", "viz", "integrations"},
        {"torch", "numpy", "matplotlib", "sklearn", "tqdm"},
    ),
}
PRESENT = [room for room in ROOMS if (ROOT / room / "__init__.py").exists()]


def imports(path):
    """Yield (level, module) of every import in a file, lazy ones included; level 0 is absolute."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module is None:
                yield from ((node.level, alias.name) for alias in node.names)
            else:
                yield node.level, node.module


def files(room):
    return sorted(path for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("room", PRESENT)
def test_arrows(room):
    import sys

    rooms, libraries = ROOMS[room]
    for path in files(room):
        depth = len(path.relative_to(ROOT / room).parts)  # dots that lead to the root from here
        for level, module in imports(path):
            top = module.split(".")[0]
            where = f"{path.relative_to(ROOT)} imports {'.' * level}{module}"
            if level == 0:
                assert top in libraries or top in sys.stdlib_module_names, where
            elif level == depth + 1:
                assert top in rooms | {room, "__version__"}, where
            else:
                assert level <= depth, where


@pytest.mark.parametrize("room", PRESENT)
def test_one_idea_per_file(room):
    for path in files(room):
        assert path.name not in {"utils.py", "helpers.py", "misc.py", "common.py"}
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 310, path


def test_every_folder_with_code_is_a_known_room():
    code = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert code <= set(ROOMS) | {"benchmarks"}, code
