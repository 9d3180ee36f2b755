"""The systems of the papers in the study: what they descend, which rate they take, how they are compared."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from made_runs import Made, finish
from torch import nn

from lrscape.benchmarks.study.__main__ import main
from lrscape.benchmarks.study.arms import ARMS
from lrscape.benchmarks.study.arms.ablations import Thresholds
from lrscape.benchmarks.study.arms.descents import (
    SASP_WEIGHT,
    sharpness_aware,
    with_nger,
    with_published_nger,
    with_sasp,
)
from lrscape.benchmarks.study.arms.optimizers import MuonBeside
from lrscape.benchmarks.study.arms.policy import Setting
from lrscape.benchmarks.study.plan import Study
from lrscape.benchmarks.study.pooled import pooled
from lrscape.benchmarks.study.workloads import BUNDLED, TASKS
from lrscape.benchmarks.study.workloads.characters import CHARACTERS
from lrscape.penalties import nger_weights, sasp, task_scales
from lrscape.schedulers.topo import TopoMeasurement


def setting(model, workload="digits", **changes):
    about = (BUNDLED | TASKS)[workload]
    made = Setting(
        model=model,
        rate=0.01,
        steps=100,
        budget=100,
        seed=0,
        optimizer="sgd",
        weight_decay=0.0,
        monitor=lambda: 0.0,
        batches=lambda _: [],
        loss=lambda module, batch: about.loss(module(batch[0]), batch[1]),
        examples=about.examples,
        classes=about.classes,
        tasks=about.tasks,
    )
    return replace(made, **changes)


def batch():
    torch.manual_seed(0)
    return torch.rand(6, 5), torch.tensor([0, 1, 2, 2, 1, 0])


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


@pytest.mark.parametrize("workload", BUNDLED | TASKS)
def test_the_losses_of_examples_have_the_loss_as_their_mean(workload):
    about = (BUNDLED | TASKS)[workload]
    torch.manual_seed(0)
    model = about.model().eval()
    x, y = about.data(0).validation[0]
    with torch.no_grad():
        output = model(x[:32])
    losses = about.examples(output, y[:32])
    assert losses.dim() == 1
    assert float(losses.mean()) == pytest.approx(float(about.loss(output, y[:32])), rel=1e-5)
    logits, labels = about.classes(output, y[:32])
    assert logits.shape == (len(losses), logits.shape[1])
    assert labels.shape == losses.shape
    assert -1 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]
    if about.tasks is not None:
        found = about.tasks(output, y[:32])
        assert float(sum(found)) / len(found) == pytest.approx(float(losses.mean()), rel=1e-5)
        torch.testing.assert_close(F.cross_entropy(logits, labels), found[0])
        return
    asked = labels >= 0
    torch.testing.assert_close(F.cross_entropy(logits, labels, ignore_index=-1, reduction="none")[asked], losses[asked])


@pytest.mark.parametrize("bias", [True, False])
def test_sasp_adds_its_own_gradient(bias):
    x, y = batch()
    model = network()
    model[2] = nn.Linear(model[2].in_features, model[2].out_features, bias=bias)
    found = setting(model)
    descent = with_sasp(found)
    value = descent((x, y), found.closure((x, y)))
    hidden = model[1](model[0](x))
    logits = model[2](hidden)
    expected = torch.autograd.grad(
        F.cross_entropy(logits, y) + SASP_WEIGHT * sasp(logits, hidden, y, bias=bias), list(model.parameters())
    )
    assert float(value.detach()) == pytest.approx(F.cross_entropy(model(x), y).item())
    for parameter, wanted in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted)


@pytest.mark.parametrize(("make", "floor"), [(with_nger, 0.1), (with_published_nger, 0.0)])
@pytest.mark.parametrize("workload", TASKS)
def test_nger_weighs_the_tasks_by_what_they_can_gain(workload, make, floor):
    about = TASKS[workload]
    torch.manual_seed(0)
    model = about.model()
    found = setting(model, workload)
    descent = make(found)
    data = about.data(0).batches(64, torch.Generator().manual_seed(0))
    least = torch.full((2,), math.inf)
    for x, y in (next(data) for _ in range(5)):
        model.zero_grad()
        value = descent((x, y), found.closure((x, y)))
        losses = about.tasks(model(x), y)
        assert float(value.detach()) == pytest.approx(float(sum(losses).detach()) / 2, rel=1e-5)
        least = torch.minimum(least, torch.stack(losses).detach())
        weights = nger_weights(torch.stack(losses), least, task_scales(losses, model.trunk.parameters()), floor=floor)
        expected = torch.autograd.grad((weights * torch.stack(losses)).sum(), list(model.parameters()))
        for parameter, wanted in zip(model.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, wanted)


def test_nger_needs_several_tasks():
    with pytest.raises(ValueError, match="this workload has only one"):
        with_nger(setting(network()))


def test_sam_takes_the_gradient_uphill_and_comes_back():
    x, y = batch()
    model, moved = network(), network()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    found = setting(model)
    sharpness_aware(found)((x, y), found.closure((x, y)))
    F.cross_entropy(moved(x), y).backward()
    length = torch.cat([parameter.grad.flatten() for parameter in moved.parameters()]).norm()
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter += 0.05 * parameter.grad / length
            parameter.grad = None
    F.cross_entropy(moved(x), y).backward()
    for parameter, old, other in zip(model.parameters(), before, moved.parameters(), strict=True):
        assert torch.equal(parameter, old)
        torch.testing.assert_close(parameter.grad, other.grad)


def test_muon_gets_the_hidden_matrices_and_adamw_the_rest():
    model = CHARACTERS.model()
    policy = MuonBeside(setting(model))
    muon = {id(parameter) for group in policy.optimizer.param_groups for parameter in group["params"]}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in muon}
    assert {name.split(".", 2)[2] for name in names} == {"qkv.weight", "out.weight", "mlp.0.weight", "mlp.2.weight"}
    assert len(names) == 8
    beside = {id(parameter) for group in policy._beside.param_groups for parameter in group["params"]}
    assert muon.isdisjoint(beside)
    assert len(muon | beside) == len(list(model.parameters()))


@pytest.mark.parametrize(("times", "reason"), [(1.0, "moderately sharp"), (0.5, "very sharp"), (4.0, "flat")])
def test_thresholds_are_multiplied(times, reason):
    model = nn.Linear(2, 1)
    scheduler = Thresholds(torch.optim.SGD(model.parameters(), lr=0.1), model, times=times, preset="published")
    decision = scheduler.observe(TopoMeasurement(1.0, 0.3, 0.1, 1.0, 1.0, 0.0))
    assert decision.reason == reason
    assert decision.measurement["sharpness"] == 0.3


def study(arms, best=None, workloads=("digits", "residual", "digits-noise-sgd")):
    return Study({name: BUNDLED[name] for name in workloads}, arms, Made(best or {}))


def test_a_penalty_takes_the_rate_of_the_constant_arm_without_a_search_of_its_own():
    runs = [run for _, run in finish(study(["sasp"], {"constant": 1.6e-2}, ("digits",)))]
    own = [run for run in runs if run.kind == "sasp"]
    assert {run.rate for run in own} == {1.6e-2}
    assert {run.seed for run in own} == {0, 1, 2, 3, 4}
    assert {run.kind for run in runs} == {"sasp", "constant"}


def test_an_ablation_takes_the_rate_of_what_it_changes():
    runs = [run for _, run in finish(study(["topo-gamma-low"], {"constant": 8e-3, "topo": 1.6e-2}, ("digits",)))]
    assert {run.rate for run in runs if run.kind == "topo-gamma-low"} == {1.6e-2}


def test_arms_keep_to_their_workloads_and_searches_begin_where_they_say():
    runs = [run for _, run in finish(study(["sgd"], {"sgd": 6.4e-2}))]
    assert {run.workload for run in runs} == {"digits", "residual"}
    digits = {run.rate for run in runs if run.workload == "digits"}
    assert digits == {3.2e-2, 6.4e-2, 12.8e-2}


def test_workloads_of_several_tasks_take_only_what_is_for_them():
    wide = Study(BUNDLED | TASKS, ["constant", "sam", "nger"], Made({}))
    runs = [run for _, run in finish(wide)]
    assert {run.kind for run in runs if run.workload in TASKS} == {"constant", "nger"}
    assert {run.workload for run in runs if run.kind == "nger"} == set(TASKS)
    assert not any("wrong" in stage and run.workload in TASKS for stage, run in finish(wide))
    assert set(wide.restricted(several=True).workloads) == set(TASKS)
    assert set(wide.restricted(several=False).workloads) == set(BUNDLED)


def test_systems_and_ablations_name_arms_that_exist():
    for name, arm in ARMS.items():
        if arm.group != "schedulers":
            assert arm.against in ARMS, name
            assert arm.rate in {"tuned", "near constant", *ARMS}, name
            assert set(arm.workloads or ()) <= set(BUNDLED | TASKS), name


class Numbers:
    """Runs with test losses of my choice, by workload, kind and seed."""

    def __init__(self, losses):
        self.losses = losses

    def get(self, wanted):
        value = self.losses(wanted)
        part = {"loss": None if math.isinf(value) else value}
        reads = {
            str(round(wanted.steps * share)): {"raw": {"test": part, "validation": part}} for share in (0.25, 0.5, 1)
        }
        return {"steps": wanted.steps, "horizon": wanted.horizon, "reads": reads}


def two(losses):
    return Study({name: BUNDLED[name] for name in ("digits", "residual")}, ["sasp"], Numbers(losses))


def test_a_ratio_over_workloads_is_a_geometric_mean():
    double = {"digits": 4.0, "residual": 0.5}
    found = pooled(two(lambda run: double[run.workload] if run.kind == "sasp" else 1.0), "sasp", "constant")
    assert found.ratio == found.low == found.high == pytest.approx(math.sqrt(2))
    assert found.medians == {"digits": 4.0, "residual": 0.5}
    assert found.lower == 1


def test_the_interval_is_that_of_the_mean_over_seeds():
    def losses(run):
        return math.exp(0.1 * run.seed) if run.kind == "sasp" and run.seed < 1000 else 1.0

    found = pooled(two(losses), "sasp", "constant")
    assert found.ratio == pytest.approx(math.exp(0.2))
    # Means of five draws from 0, .1, … .4 on two workloads: standard deviation .1·√2/√10.
    for end, sign in ((found.low, -1), (found.high, 1)):
        assert math.log(end) == pytest.approx(0.2 + sign * 1.96 * 0.1 * math.sqrt(2 / 10), abs=0.006)


def test_a_run_that_diverged_is_said_and_not_averaged_away():
    found = pooled(two(lambda run: math.inf if (run.kind, run.seed) == ("sasp", 3) else 1.0), "sasp", "constant")
    assert found.ratio == math.inf
    assert found.diverged == 2


def test_the_command_reports_systems_and_ablations(tmp_path):
    arms = ["constant", "topo", "sasp", "topo-part-4"]
    common = ["--quick", "--workloads", "tabular", "--jobs", "1", "--out", str(tmp_path), "--arms", *arms]
    assert main(common) == 0
    text = (tmp_path / "evidence.md").read_text(encoding="utf-8")
    assert "All runs are there." in text
    assert "| SASP, ρ = .01 |" in text
    assert "| probes on 1/4 of the batch | TopoLR |" in text
    assert (tmp_path / "systems.svg").stat().st_size > 1000
    assert "SASP" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_the_command_reports_several_tasks_apart(tmp_path):
    arms = ["constant", "cosine", "sasp", "nger", "nger-published"]
    names = ["tabular", "tasks-noise"]
    assert main(["--quick", "--workloads", *names, "--jobs", "1", "--out", str(tmp_path), "--arms", *arms]) == 0
    first, _, several = (tmp_path / "evidence.md").read_text(encoding="utf-8").partition("## Several tasks")
    assert "tasks-noise" not in first
    assert "NGER" not in first
    assert "| NGER, φ = .1 |" in several
    assert "| NGER, published |" in several
    assert "tabular" not in several
    assert "tasks-noise" not in (tmp_path / "report.md").read_text(encoding="utf-8")
