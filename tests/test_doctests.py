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


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    from matplotlib import pyplot as plt

    failed, _ = doctest.testmod(importlib.import_module(name))
    plt.close("all")
    assert failed == 0


def test_examples_are_found():
    finder = doctest.DocTestFinder()
    examples = sum(
        len(case.examples) for name in MODULES for case in finder.find(importlib.import_module(name)) if case.examples
    )
    assert examples > 100
