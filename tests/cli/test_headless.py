"""Commands draw without a window where the choice is theirs."""

import sys

import matplotlib as mpl
import pytest
from matplotlib import pyplot

from lrscape.cli.headless import draw_without_window


@pytest.fixture
def chosen(monkeypatch):
    found = []
    monkeypatch.setattr(mpl, "use", found.append)
    return found


def test_in_a_process_of_our_own(chosen, monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot")
    draw_without_window()
    assert chosen == ["Agg"]


def test_in_a_process_that_draws_already(chosen):
    assert sys.modules["matplotlib.pyplot"] is pyplot
    draw_without_window()
    assert chosen == []
