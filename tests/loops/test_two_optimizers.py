"""Two optimizers that share a model, each with a scheduler of its own: what either of them measures."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import CURVATURE, FAMILIES, Loop, batch_of, close_run, moved
from torch import nn

from lrscape.schedulers import HomotopyLR

HESSIAN = [family for family in CURVATURE if family != "kappa"]  # kappa is that of the whole model
WHOLE = ["TopoLR", "TopoCNNLR", "ValleyLR", "kappa", "RiverLR"]


class TwoOptimizers(Loop):
    """Each optimizer has half of the model and a scheduler of its own."""

    def __init__(self, family, **options):
        super().__init__(family, **options)
        self.others = torch.optim.SGD(self.named_groups(self.model[2]), lr=0.003, momentum=0.9)
        self.second = FAMILIES[family][0](self.others, self.probed_by_second(), **options)
        self.second_rates = []

    @staticmethod
    def named_groups(layer):
        return [{"params": [layer.weight]}, {"params": [layer.bias]}]

    def groups(self):
        return self.named_groups(self.model[0])

    def probed_by_second(self):
        return self.model

    def iteration(self, batch):
        schedulers = (self.scheduler, self.second)
        if self.place == "before":
            for scheduler in schedulers:
                scheduler.probe(lambda: self.loss(batch))
        self.model.zero_grad()
        losses = self.losses(batch)
        self.backward(losses)
        for scheduler in schedulers if self.place == "gradient" else ():
            scheduler.use_loss(losses.detach().mean())
        self.optimizer.step()
        self.others.step()
        for scheduler in schedulers:
            if self.place == "after":
                scheduler.probe(lambda: self.loss(batch))
            if self.place == "losses":
                scheduler.observe(losses.detach())
            scheduler.step()
        self.second_rates.append([float(group["lr"]) for group in self.others.param_groups])


@pytest.mark.parametrize("family", WHOLE)
def test_schedulers_that_measure_the_whole_do_as_one(family):
    found, expected = TwoOptimizers(family).train(16), Loop(family).train(16)
    assert found.rates == found.second_rates == expected.rates
    assert found.reasons == expected.reasons
    assert all(map(torch.equal, found.weights, expected.weights))


class Parts(TwoOptimizers):
    """Each scheduler is given its layer as the model; the other layer is a part of its loss."""

    def probed(self):
        return self.model[0]

    def probed_by_second(self):
        return self.model[2]


@pytest.mark.parametrize("family", HESSIAN)
def test_schedulers_that_follow_the_hessian_measure_what_their_optimizer_moves(family):
    options = {"tolerance": 1e-9, "max_hvps": 20}  # sooner ended, it depends on where the search starts
    if family == "CurvatureWarmup":
        options["margin"] = 0.005  # or it would not meet the edge so soon
    found, expected = TwoOptimizers(family, **options).train(16), Parts(family, **options).train(16)
    close_run(found, expected, rtol=1e-6)
    assert found.reasons == expected.reasons
    assert moved(found)
    assert [d.reason for d in found.second.history] == [d.reason for d in expected.second.history]
    assert found.rates != found.second_rates


def test_the_sharpness_of_each_is_that_of_its_block():
    run = TwoOptimizers("HomotopyLR", tolerance=1e-12, max_hvps=17)
    x, y = batch_of(0)
    sizes = [parameter.numel() for parameter in run.model.parameters()]

    def loss(flat):
        first, bias, second, end = flat.split(sizes)
        return (((x @ first.view(4, 3).T + bias).tanh() @ second.view(1, 4).T + end - y) ** 2).mean()

    start = nn.utils.parameters_to_vector(run.model.parameters()).detach()
    exact = torch.autograd.functional.hessian(loss, start)
    run.train(1)
    for scheduler, block in ((run.scheduler, slice(0, 16)), (run.second, slice(16, 21))):
        expected = torch.linalg.eigvalsh(exact[block, block])[-1]
        assert scheduler.history[0].measurement["sharpness"] == pytest.approx(float(expected), rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), rank=st.integers(1, 5), margin=st.floats(0.1, 0.5))
def test_several_stay_below_their_margins_together(seed, rank, margin):
    # λ_max of a Hessian without downward curvature is at most the sum of its blocks', each at rate·λ ≤ margin·2.
    root = torch.randn(5, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert together(root, margin) <= 2 * margin * 2 * (1 + 1e-6)


def test_several_may_need_all_of_their_margins():
    assert together(torch.ones(4, 1, dtype=torch.float64), 0.25) == pytest.approx(1.0)


def together(root, margin):
    """Sharpness at the rates that two schedulers set on ½θᵀHθ, for plain descent, whose edge is 2."""
    model = nn.ParameterList([torch.ones(2, dtype=torch.float64), torch.ones(len(root) - 2, dtype=torch.float64)])
    roots = []
    for part in model:
        optimizer = torch.optim.SGD([part], lr=1e9)
        scheduler = HomotopyLR(optimizer, model, margin=margin, tolerance=0.0)
        scheduler.probe(lambda: (root.T @ torch.cat([*model])).square().sum() / 2)
        roots += [optimizer.param_groups[0]["lr"] ** 0.5] * len(part)
    return float(torch.linalg.matrix_norm(torch.tensor(roots, dtype=torch.float64)[:, None] * root, 2) ** 2)


def test_the_induced_metric_is_that_of_each_optimizers_own_gradient():
    run = TwoOptimizers("InducedMetricLR", beta=0.0, xi=0.1)
    seen = []

    def note(optimizer, *_):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        seen.append(float(sum(gradient.square().sum() for gradient in gradients)))

    for optimizer in (run.optimizer, run.others):
        optimizer.register_step_pre_hook(note)
    run.train(8)
    for scheduler, squares in ((run.scheduler, seen[::2]), (run.second, seen[1::2])):
        for decision, squared in zip(scheduler.history, squares, strict=True):
            loss = decision.measurement["loss"]
            assert decision.factors[0] == pytest.approx(loss / (loss**2 + 0.1 * squared), rel=1e-9)
    assert run.rates != run.second_rates
