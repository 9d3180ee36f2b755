"""Every example and tutorial of the documentation runs and draws."""

import runpy
from pathlib import Path

import pytest
from matplotlib import pyplot as plt

DOCS = Path(__file__).parent.parent / "docs"
QUICK = {"plot_04_batch_norm", "plot_11_layers", "plot_22_layer_sharpness", "plot_25_valley_trace", "plot_28_depth"}
SCRIPTS = [
    pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow)
    for path in sorted(DOCS.glob("*s/plot_*.py"))
    if "auto" not in path.parent.name
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_draws(script, monkeypatch):
    monkeypatch.syspath_prepend(script.parent)
    runpy.run_path(str(script))
    assert plt.get_fignums()


def test_there_are_at_least_twenty():
    assert len(SCRIPTS) >= 22
    assert {script.id for script in SCRIPTS} >= QUICK
