"""Every example in a docstring gives what it says."""

import doctest
import importlib
import pkgutil

import pytest

import lrscape

ROOMS = {"landscape", "schedulers", "optim", "penalties", "tda", "viz", "cli", "testing", "integrations"}
MODULES = [
    module.name
    for module in pkgutil.walk_packages(lrscape.__path__, "lrscape.")
    if len(parts := module.name.split(".")) > 2 and parts[1] in ROOMS
]

OPTIONAL = {"lightning", "transformers"}  # frameworks that a module of this name needs


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    if (framework := name.removeprefix("lrscape.integrations.")) in OPTIONAL:
        pytest.importorskip(framework, reason=f"{framework} is not installed")
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_examples_are_found():
    finder = doctest.DocTestFinder()
    names = [name for name in MODULES if not name.startswith("lrscape.integrations.")]
    examples = sum(
        len(case.examples) for name in names for case in finder.find(importlib.import_module(name)) if case.examples
    )
    assert examples > 100
