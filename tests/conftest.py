"""Settings shared by all tests."""

import os
import sys

import hypothesis
import matplotlib as mpl
import pytest
import torch

mpl.use("Agg")
hypothesis.settings.register_profile("lrscape", deadline=None, derandomize=True)
hypothesis.settings.load_profile("lrscape")

torch.set_num_threads(1)  # workers share the cores, and the models are small
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_figure_outlives_its_test():
    """Tests ask whether pyplot holds a figure; those of other tests must not count."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")  # most tests draw nothing and do not load it
    if pyplot is not None:
        pyplot.close("all")
