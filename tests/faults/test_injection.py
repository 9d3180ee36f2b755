"""Names are drawn as they are, and nothing runs but what the user named."""

import os
import re
import socket
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.text import Text

from lrscape import viz
from lrscape.cli.factories import load_callable
from lrscape.cli.failures import UsageError
from lrscape.cli.marks import mark_anchors
from lrscape.landscape import LossSurface, grid, line
from lrscape.schedulers import Decision, History

NAMES = [
    r"$\frac{",
    "$x$",
    "a_b^c",
    r"a\$b",
    "_hidden",
    r"$\input{/etc/passwd}$",
    "<script>alert(1)</script>",
    "%s {0}",
]


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text()]


def letters(text):
    return re.sub(r"[^A-Za-z0-9]", "", text)


def check(figure, name):
    """The name stands somewhere, is not taken for a formula, and can be drawn."""
    figure.savefig(os.devnull, format="png", dpi=30)
    shown = [text for text in texts(figure) if letters(name) in letters(text.get_text())]
    assert shown, [text.get_text() for text in texts(figure)]
    for text in shown:
        _, formula = text._preprocess_math(text.get_text())
        assert formula is False, f"{text.get_text()!r} is taken for a formula"


def plane(name):
    points = grid(5)
    losses = 1 + (points.coordinates**2).sum(1)
    origin = {
        "anchors": [[0.0, 0.0], [0.5, 0.5]], "anchor_checkpoints": [f"/a/{name}", "b.pt"], "anchor_losses": [1.0, 2.0]
    }  # fmt: skip
    return LossSurface(points.coordinates, losses, points.shape, {name: losses * 2}, None, origin)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_metrics(name):
    made = plane(name)
    check(viz.contour(made, metric=name).figure, name)
    check(viz.surface3d(made, metric=name).figure, name)
    points = line(5)
    check(
        viz.line(LossSurface(points.coordinates, np.arange(5.0), points.shape, {name: np.ones(5)}), metric=name).figure,
        name,
    )


@pytest.mark.parametrize("name", [name for name in NAMES if "/" not in name])
def test_names_of_checkpoints(name):
    made = plane(name)
    axes = viz.basins(made)
    mark_anchors(axes, made, "basins", None)
    check(axes.figure, name)
    check(viz.plane(made).figure, name)
    check(viz.compare([made, made], labels=[name, "other"]), name)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_layers_and_reasons(name):
    history = History(10)
    for step in range(3):
        history.append(Decision(step, {name: 1.0 + step}, [1.0], name, [0.1]))
    check(viz.lr_trace(history, measurement=name).figure, name)
    check(viz.curves({name: (np.arange(3), np.ones(3)), "other": (np.arange(3), np.ones(3))}).figure, name)


@pytest.mark.parametrize("text", ["os:system", "subprocess:run", "builtins:eval", "builtins:exec", "os:_exit"])
def test_a_function_is_named_and_called_without_arguments(text, tmp_path, monkeypatch):
    """What such a name means is refused before it is called: these need arguments."""
    from lrscape.cli import main

    monkeypatch.chdir(tmp_path)
    Path("model.pt").write_bytes(b"")
    assert main(["probe", "model.pt", "--model", text, "--data", text]) in {1, 2}


@given(st.text(st.sampled_from("abos.:;()[]'\"\\ \n_=+-*/$`{}0"), max_size=20))
def test_only_names_are_looked_up(text):
    before = set(sys.modules)
    try:
        found = load_callable(text, "--model")
    except (UsageError, ModuleNotFoundError):
        pass
    else:
        module, _, names = text.partition(":")
        assert all(part.isidentifier() for part in [*module.split("."), *names.split(".")])
        assert callable(found)
    new = {name for name in set(sys.modules) - before if text.partition(":")[0].split(".")[0] != name.split(".")[0]}
    assert not new or all(part.isidentifier() for part in text.replace(":", ".").split("."))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os'):system", "os:system('x')", "os; import sys:path", "lambda: 0", "os:path.__class__()",
        "../evil:f", "evil.py:f", "os:", ":f", "os", "", "os:a b", "os\n:f",
    ],
)  # fmt: skip
def test_anything_but_a_name_is_refused(text):
    with pytest.raises(UsageError, match="--model must look like"):
        load_callable(text, "--model")


def test_no_network(tmp_path, monkeypatch):
    """With sockets closed, importing, probing and drawing work; every command does, see test_environment.py."""

    def closed(*_, **__):
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, closed)
    from lrscape.cli import main

    monkeypatch.chdir(tmp_path)
    plane("accuracy").save("surface.npz")
    assert main(["plot", "surface.npz", "--kind", "contour,basins", "--dpi", "30"]) == 0
    assert main(["tda", "surface.npz"]) == 0


def test_mathtext_is_what_is_tested_against():
    """matplotlib takes $…$ for a formula, and its rc file does not say otherwise here."""
    figure = plt.figure()
    assert figure.text(0, 0, "$x$")._preprocess_math("$x$")[1] is True
    assert mpl.rcParams["text.usetex"] is False
