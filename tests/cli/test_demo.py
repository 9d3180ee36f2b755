"""The demo, shortened."""

import json

import numpy as np
import pytest
import torch

from lrscape.cli import main
from lrscape.cli.digits import data, digits, model, noisy_labels
from lrscape.landscape import LossSurface, load_checkpoint

FILES = {"topo.pt", "surface.npz", "contour.png", "surface3d.png", "lr_trace.png", "curves.png"}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    code = main(["demo", "-o", str(out), "--steps", "260", "--grid", "3", "--json", "--quiet"])
    return out, code


def test_demo_writes_what_it_says(outcome, capfd):
    out, code = outcome
    assert code == 0
    assert {path.name for path in out.iterdir()} == FILES


def test_the_probed_model_is_the_saved_one(outcome):
    out, _ = outcome
    surface = LossSurface.load(out / "surface.npz")
    net = model()
    load_checkpoint(net, out / "topo.pt")
    net.eval()
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(net(digits().x), noisy_labels(0))
    assert surface.center == pytest.approx(float(loss), rel=1e-5)
    assert surface.shape == (3, 3)
    assert 0 <= surface.metrics["accuracy"].min() <= surface.metrics["accuracy"].max() <= 1


def test_demo_prints_a_table(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path), "--steps", "40", "--grid", "3"]) == 0
    out = capsys.readouterr().out
    for word in ("constant", "cosine", "TopoLR", "test loss", "probes", "best", "landscape", "total"):
        assert word in out
    assert main(["demo", "-o", str(tmp_path), "--steps", "20", "--grid", "3", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record["arms"]) == {"constant", "cosine", "TopoLR"}
    assert np.isfinite(record["surface"]["center"])


def test_data_is_split_and_noisy():
    found = digits()
    assert (len(found.y), len(found.y_test)) == (1198, 599)
    assert 0.15 < float((noisy_labels(1) != found.y).float().mean()) < 0.25
    assert sum(len(y) for _, y in data()) == 1198
