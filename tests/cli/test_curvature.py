"""``lrscape curvature``: what it prints and saves is what the library measures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from curved import exact_hessian
from matplotlib import pyplot as plt
from torch import nn

from lrscape.cli import main
from lrscape.landscape import Directions


@pytest.fixture
def curvature(user):
    def run(*arguments, model="usercode:model", data="usercode:data"):
        return main([
            "curvature",
            "model.pt",
            "--model",
            model,
            "--data",
            data,
            "--dpi",
            "40",
            "--steps",
            "8",
            *arguments,
        ])

    return run


@pytest.fixture
def exact(user):
    """The Hessian over all of the data, written out in double precision."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    model.load_state_dict(torch.load("model.pt")["model"])
    model.double()
    x = torch.linspace(-1, 1, 36).reshape(12, 3).double()
    loss = F.cross_entropy(model(x), torch.arange(12) % 2)
    return float(loss.detach()), exact_hessian(loss, list(model.parameters())).detach().numpy()


def record_of(capsys):
    return json.loads(capsys.readouterr().out)


def test_the_record_holds_what_the_exact_hessian_says(curvature, exact, capsys):
    loss, matrix = exact
    values = np.linalg.eigvalsh(matrix)[::-1]
    assert curvature("--json", "--tolerance", "1e-5", "--metric", "top1=usercode:top1", "--no-figures") == 0
    found = record_of(capsys)
    assert (found["command"], found["loss"], found["parameters"]) == ("curvature", "cross-entropy", 26)
    assert found["loss_value"] == pytest.approx(loss, rel=1e-6)
    assert set(found["metrics"]) == {"top1"}
    assert found["trace"]["estimate"] == pytest.approx(np.trace(matrix), rel=1e-5)
    assert (found["trace"]["method"], found["trace"]["hvps"], found["trace"]["standard_error"]) == ("exact", 26, 0)
    assert found["largest"]["eigenvalues"] == pytest.approx(values[:5], rel=1e-4, abs=1e-6)
    assert found["smallest"]["eigenvalues"] == pytest.approx(values[-1:], rel=1e-4)
    assert found["largest"]["converged"]
    assert found["stable_rate"]["high"] == pytest.approx(2 / values[0], rel=1e-5)
    layers = {one["layer"]: one for one in found["layers"]}
    assert list(layers) == ["0", "2"]
    assert layers["0"]["sharpness"] == pytest.approx(np.linalg.eigvalsh(matrix[:16, :16])[-1], rel=1e-4)
    assert layers["2"]["sharpness"] == pytest.approx(np.linalg.eigvalsh(matrix[16:, 16:])[-1], rel=1e-4)
    assert [one["parameters"] for one in layers.values()] == [16, 10]
    below = (values < -found["density"]["sigma"]).mean()
    assert found["density"]["negative"] == pytest.approx(below, abs=0.1)
    parts = [found["trace"], found["largest"], found["smallest"], found["density"], *found["layers"]]
    assert found["hvps"] == sum(part["hvps"] for part in parts) + found["gradient"]["hvps"]


def test_the_lines_for_a_person(curvature, exact, capsys):
    loss, matrix = exact
    assert curvature() == 0
    out, err = capsys.readouterr()
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["loss"] == f"cross-entropy: {loss:.6g}"
    assert lines["trace"] == f"{np.trace(matrix):.4g} (exact, 26 products)"
    assert float(lines["largest"].split()[0]) == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-4)
    assert "gradient descent diverges above" in out
    assert lines["density"].startswith("3 random vectors, smoothed with σ = ")
    assert lines["layer"].split() == ["parameters", "sharpness", "products"]
    assert lines["saved"] == "curvature.npz"
    assert out.count("figure ") == 2
    assert "loss: cross-entropy (no --loss given)" in err


def test_the_file_holds_arrays_and_the_record(curvature, capsys):
    assert curvature("--json", "--out", "run/sharp.npz", "--figures", "run", "--format", "svg") == 0
    found = record_of(capsys)
    assert found["out"] == "run/sharp.npz"
    assert found["figures"] == ["run/sharp-spectrum.svg", "run/sharp-layers.svg"]
    assert sorted(path.name for path in Path("run").iterdir()) == [
        "sharp-layers.svg",
        "sharp-spectrum.svg",
        "sharp.npz",
    ]
    assert plt.get_fignums() == []
    with np.load("run/sharp.npz", allow_pickle=False) as archive:
        header = json.loads(archive["header"].tobytes().decode())
        assert header["schema"] == 1
        assert archive["largest"].tolist() == found["largest"]["eigenvalues"]
        assert archive["largest_residuals"].tolist() == found["largest"]["residuals"]
        assert archive["layer_sharpness"].tolist() == [one["sharpness"] for one in found["layers"]]
        assert archive["density_ritz_weights"].sum() == pytest.approx(1)
        assert len(archive["trace_samples"]) == 26
    assert {name: header[name] for name in ("trace", "largest", "layers", "hvps")} == {
        name: found[name] for name in ("trace", "largest", "layers", "hvps")
    }


def test_a_json_file_and_less_work(curvature, capsys):
    assert curvature("--json", "-o", "found.json", "--no-figures", "--no-density", "--no-layers", "--top", "1") == 0
    found = record_of(capsys)
    assert (found["density"], found["layers"], found["figures"]) == (None, [], [])
    written = json.loads(Path("found.json").read_text())
    assert written["largest"] == found["largest"]
    assert not Path("figures").exists()


def test_directions_are_what_probe_takes(curvature, exact, capsys):
    _, matrix = exact
    assert curvature("--save-directions", "sharp.npz", "--tolerance", "1e-6", "--no-figures", "-q") == 0
    directions = Directions.load("sharp.npz")
    flat = torch.cat([directions.tensors[name].flatten(1) for name in ("0.weight", "0.bias", "2.weight", "2.bias")], 1)
    vectors = np.linalg.eigh(matrix)[1][:, :-3:-1]
    np.testing.assert_allclose(np.abs(flat.numpy() @ vectors), np.eye(2), atol=1e-3)
    probe = ["probe", "model.pt", "--model", "usercode:model", "--data", "usercode:data"]
    assert main([*probe, "--load-directions", "sharp.npz", "--grid", "3", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_some_parameters_another_mode_and_seed(curvature, exact, capsys):
    _, matrix = exact
    options = ("--parameters", "2", "--mode", "forward", "--chunk", "1", "--seed", "3", "--no-figures")
    assert curvature("--json", *options) == 0
    found = record_of(capsys)
    assert (found["parameters"], found["mode"], found["seed"]) == (10, "forward", 3)
    assert [one["layer"] for one in found["layers"]] == ["2"]
    assert found["trace"]["estimate"] == pytest.approx(np.trace(matrix[16:, 16:]), rel=1e-5)


def test_a_stochastic_trace_says_how_sure_it_is(curvature, exact, capsys):
    _, matrix = exact
    assert curvature("--json", "--products", "12", "--no-figures", "--no-layers", "--no-density") == 0
    found = record_of(capsys)["trace"]
    assert (found["method"], found["hvps"] <= 12) == ("xtrace", True)
    low, high = found["interval"]
    assert low < found["estimate"] < high
    assert abs(found["estimate"] - np.trace(matrix)) <= 8 * found["standard_error"]
    assert curvature("--products", "12", "--no-figures", "--no-layers", "--no-density", "--overwrite") == 0
    assert " ± " in capsys.readouterr().out


def test_the_users_loss_and_prints_stay_apart(curvature, capsys):
    assert curvature("--json", "--loss", "usercode:loss", "--no-figures", data="usercode:noisy") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["loss"] == "usercode:loss"
    assert "printed by the user's code" in err


def test_existing_results_are_kept(curvature, capsys):
    little = ("--no-figures", "--no-density", "--no-layers", "-q")
    assert curvature(*little) == 0
    before = Path("curvature.npz").read_bytes()
    assert curvature(*little) == 1
    assert "curvature.npz exists already; choose another --out, or pass --overwrite" in capsys.readouterr().err
    assert Path("curvature.npz").read_bytes() == before
    assert curvature(*little, "--overwrite") == 0


def test_existing_figures_are_kept(curvature, capsys):
    Path("run").mkdir()
    Path("run/curvature-layers.png").write_text("older")
    assert curvature("--figures", "run", "-q") == 1
    told = "run/curvature-layers.png exists already; choose another --figures, or pass --overwrite"
    assert told in capsys.readouterr().err
    assert not Path("curvature.npz").exists()  # nothing was measured for it
    assert Path("run/curvature-layers.png").read_text() == "older"
    assert curvature("--figures", "run", "-q", "--no-layers") == 0  # which does not write that file
    assert curvature("--figures", "run", "-q", "--overwrite") == 0
    assert sorted(path.name for path in Path("run").iterdir()) == ["curvature-layers.png", "curvature-spectrum.png"]
    assert Path("run/curvature-layers.png").read_bytes().startswith(b"\x89PNG")


def test_only_the_first_of_several_processes_works(curvature, monkeypatch, capsys):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert curvature() == 0
    assert capsys.readouterr() == ("", "")
    assert not Path("curvature.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["--out", "found.txt"], 2, ["--out must end in .npz or .json, got 'found.txt'"]),
        (["--save-directions", "curvature.npz"], 2, ["name the same file"]),
        (["--products", "3"], 2, ["--products must be at least 4", "got 3"]),
        (["--top", "0"], 2, ["--top", "at least 1"]),
        (["--tolerance", "0"], 2, ["--tolerance", "positive"]),
        (["--mode", "fast"], 2, ["--mode", "reverse"]),
        (["--parameters", "nowhere"], 1, ["parameters names 'nowhere'"]),
        (["--loss", "usercode:infinite"], 1, ["the loss of model.pt is inf on this data", "no curvature"]),
        (["--loss", "usercode:item"], 1, ["without .item()"]),
        (["--figures", "model.pt"], 1, ["cannot make the folder model.pt"]),
        (["--device", "nowhere"], 1, ["--device nowhere cannot be used"]),
    ],
)
def test_bad_arguments(curvature, capsys, arguments, code, parts):
    assert curvature("-q", *arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    for part in parts:
        assert part in err, err
    assert not Path("curvature.npz").exists()
