"""Sharpness as the optimizer feels it: its steps on quadratics decay below the edge, and grow beyond."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from curved import Matrix, exact_hessian, symmetric
from torch import nn
from torch.optim import LBFGS, SGD, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop

from lrscape.landscape import (
    by_layer,
    hessian,
    preconditioned,
    preconditioned_sharpness,
    stability_factor,
    top_eigenvalues,
    trace,
)

SLOW = {"betas": (0.9, 1 - 1e-7)}  # second moments that stay where the test puts them
RULES = {
    "gradient descent": (SGD, {}),
    "heavy ball": (SGD, {"momentum": 0.9}),
    "dampened": (SGD, {"momentum": 0.8, "dampening": 0.5}),
    "nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    "decayed": (SGD, {"momentum": 0.5, "weight_decay": 0.7}),
    "Adam": (Adam, SLOW),
    "Adam, decayed": (Adam, {**SLOW, "weight_decay": 0.7}),
    "Adam, β₁ = .5": (Adam, {"betas": (0.5, 1 - 1e-7), "eps": 0.3}),
    "AMSGrad": (Adam, {**SLOW, "amsgrad": True}),
    "AdamW": (AdamW, {**SLOW, "weight_decay": 0.0}),
    "NAdam": (NAdam, SLOW),
    "Adamax": (Adamax, SLOW),
    "RMSprop": (RMSprop, {"alpha": 1 - 1e-7, "eps": 0.1}),
    "RMSprop, momentum": (RMSprop, {"alpha": 1 - 1e-7, "momentum": 0.9}),
    "RMSprop, centred": (RMSprop, {"alpha": 1 - 1e-7, "centered": True}),
    "Adagrad": (Adagrad, {}),
    "Adagrad, slowing": (Adagrad, {"lr_decay": 1e-8}),
}
LONG = 10**8  # steps after which every bias correction has faded


def settled(kind, options, size=4, rate=0.01):
    """A quadratic away from its minimum, and an optimizer whose denominators have settled."""
    model = Matrix(symmetric(size, 3) @ symmetric(size, 3) / size, np.full(size, 1e-7))
    optimizer = kind(model.parameters(), lr=rate, **options)
    model.weight.grad = torch.full((size,), 1e-9, dtype=torch.float64)
    optimizer.step()
    stream = np.random.default_rng(5)
    for state in optimizer.state.values():
        for name in ("exp_avg", "momentum_buffer", "grad_avg"):
            if isinstance(state.get(name), torch.Tensor):
                state[name].zero_()
        for name in ("exp_avg_sq", "max_exp_avg_sq", "exp_inf", "square_avg", "sum"):
            if name in state:
                state[name].copy_(torch.from_numpy(stream.uniform(0.2, 3.0, size)))
        if "step" in state:
            state["step"].fill_(LONG)
        if "mu_product" in state:
            state["mu_product"].zero_()
        if "max_exp_avg_sq" in state:
            torch.mul(state["max_exp_avg_sq"], 0.5, out=state["exp_avg_sq"])
    with torch.no_grad():
        model.weight.fill_(1e-7)
    return model, optimizer


def growth(model, optimizer, rate, steps=400):
    """The distance from the minimum over that at the start, after some steps or once it is a hundredfold."""
    model, optimizer = copy.deepcopy((model, optimizer))
    start = float(model.weight.detach().norm())
    for group in optimizer.param_groups:
        group["lr"] = rate
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss().backward()
        optimizer.step()
        ratio = float(model.weight.detach().norm()) / start
        if ratio > 100:  # later on large gradients would raise the denominators, and end the growth
            break
    return ratio


@pytest.mark.parametrize("rule", RULES)
def test_steps_decay_below_the_edge_and_grow_beyond(rule):
    """The factor and the denominators together, judged by torch's own steps and by nothing else."""
    model, optimizer = settled(*RULES[rule])
    found = preconditioned_sharpness(model, model.loss, optimizer, tolerance=1e-10)
    assert found.converged
    assert growth(model, optimizer, 0.97 * found.largest_rate) < 1
    assert growth(model, optimizer, 1.03 * found.largest_rate) > 100
    assert found.edge == pytest.approx(found.factor / 0.01)
    assert found.largest_rate == pytest.approx(found.factor / found.sharpness)


def test_factors():
    w = [nn.Parameter(torch.zeros(1))]
    assert stability_factor(SGD(w, 0.1)) == 2
    assert stability_factor(SGD(w, 0.1, momentum=0.9)) == pytest.approx(3.8)
    assert stability_factor(Adam(w)) == pytest.approx(38)
    assert stability_factor(Adam(w, betas=(0.0, 0.9))) == 2
    groups = [{"params": w, "betas": (0.5, 0.99)}, {"params": [nn.Parameter(torch.zeros(1))]}]
    assert stability_factor(AdamW(groups)) == pytest.approx(6)  # the smallest


def network():
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randint(3, (20,))
    return model, lambda: F.cross_entropy(model(x), y)


def trained(optimizer, closure, steps=7):
    for _ in range(steps):
        optimizer.zero_grad()
        closure().backward()
        optimizer.step()
    optimizer.zero_grad()


def test_adams_denominator_in_training():
    """√(v/(1 − β₂ᵗ)) + ε, with rates and weight decays of their own for two groups."""
    model, closure = network()
    first, last = list(model[0].parameters()), list(model[2].parameters())
    groups = [{"params": first, "lr": 1e-3, "weight_decay": 0.2}, {"params": last, "lr": 4e-3, "eps": 1e-3}]
    optimizer = Adam(groups, betas=(0.9, 0.98))
    trained(optimizer, closure)
    roots = [(optimizer.state[p]["exp_avg_sq"] / (1 - 0.98**7)).sqrt() for p in [*first, *last]]
    roots = [(r + (1e-8 if i < 2 else 1e-3)) / (0.25 if i < 2 else 1) for i, r in enumerate(roots)]
    below = torch.cat([root.flatten() for root in roots])
    decay = torch.cat([torch.full_like(root.flatten(), 0.2 if i < 2 else 0) for i, root in enumerate(roots)])
    matrix = exact_hessian(closure(), list(model.parameters())) + torch.diag(decay)
    exact = np.linalg.eigvals((matrix / below[:, None]).numpy()).real
    found = preconditioned_sharpness(model, closure, optimizer, tolerance=1e-9, max_hvps=43)
    assert found.sharpness == pytest.approx(exact.max(), rel=1e-9)
    assert (found.rate, found.factor) == (4e-3, pytest.approx(38))
    with preconditioned(model, closure, optimizer) as operator:
        whole = operator.matmat(torch.eye(43, dtype=torch.float64))
        assert trace(model, operator).estimate == pytest.approx(exact.sum(), rel=1e-9)
        layers = by_layer(top_eigenvalues, model, operator, tolerance=1e-9)
    root = below.sqrt()
    torch.testing.assert_close(whole, matrix / root[:, None] / root, rtol=1e-9, atol=1e-9)
    for name, part in (("0", slice(0, 25)), ("2", slice(25, 43))):
        largest = np.linalg.eigvalsh(whole[part, part].numpy())[-1]
        assert layers[name].eigenvalues[0] == pytest.approx(largest, rel=1e-8)


@pytest.mark.parametrize("kind", [Adam, AdamW, NAdam, Adamax, RMSprop, Adagrad])
def test_before_the_first_step_it_is_what_that_step_will_make_it(kind):
    model, closure = network()
    optimizer = kind(model.parameters(), lr=0.01)
    kept = copy.deepcopy(optimizer.state_dict())
    early = preconditioned_sharpness(model, closure, optimizer, tolerance=1e-9, max_hvps=43)
    assert str(optimizer.state_dict()) == str(kept)
    weights = copy.deepcopy(model.state_dict())
    trained(optimizer, closure, steps=1)
    model.load_state_dict(weights)
    later = preconditioned_sharpness(model, closure, optimizer, tolerance=1e-9, max_hvps=43)
    assert early.sharpness == pytest.approx(later.sharpness, rel=1e-6)


def test_for_gradient_descent_it_is_the_sharpness():
    model, closure = network()
    plain = top_eigenvalues(model, closure, tolerance=1e-8, max_hvps=43)
    found = preconditioned_sharpness(model, closure, SGD(model.parameters(), lr=0.5), tolerance=1e-8, max_hvps=43)
    assert found.sharpness == pytest.approx(plain.eigenvalues[0], rel=1e-10)
    assert (found.edge, found.hvps) == (4.0, plain.hvps)
    assert found.rate_interval[0] <= found.rate_interval[1] == found.largest_rate


def test_the_interval_holds_the_exact_rate():
    model, closure = network()
    exact = 2 / float(torch.linalg.eigvalsh(exact_hessian(closure(), list(model.parameters())))[-1])
    for tolerance in (1e-1, 1e-2, 1e-4):
        found = preconditioned_sharpness(model, closure, SGD(model.parameters()), tolerance=tolerance)
        low, high = found.rate_interval
        assert found.converged
        assert low <= exact * (1 + 1e-9)
        assert exact <= high * (1 + 1e-9)


def test_a_warm_start_and_an_open_operator():
    model, closure = network()
    optimizer = Adam(model.parameters())
    trained(optimizer, closure)
    with hessian(model, closure) as H:
        cold = preconditioned_sharpness(model, H, optimizer)
        assert H.products == cold.hvps
        warm = preconditioned_sharpness(model, H, optimizer, start=cold.vector)
    assert warm.hvps < cold.hvps
    assert warm.sharpness == pytest.approx(cold.sharpness, rel=1e-3)


def test_what_the_optimizer_does_not_hold_does_not_count():
    model, closure = network()
    matrix = exact_hessian(closure(), list(model.parameters()))[25:, 25:]
    optimizer = SGD(model[2].parameters(), lr=0.1)
    found = preconditioned_sharpness(model, closure, optimizer, tolerance=1e-9, max_hvps=43)
    assert found.sharpness == pytest.approx(float(torch.linalg.eigvalsh(matrix)[-1]), rel=1e-9)


def test_a_rate_of_zero_has_no_edge():
    """Some warmups start there."""
    model, closure = network()
    waiting = preconditioned_sharpness(model, closure, SGD(model.parameters(), lr=0.0))
    ready = preconditioned_sharpness(model, closure, SGD(model.parameters(), lr=1.0))
    assert (waiting.rate, waiting.edge) == (0.0, float("inf"))
    assert waiting.largest_rate == ready.largest_rate


def test_rates_may_be_tensors():
    model, closure = network()
    number = preconditioned_sharpness(model, closure, SGD(model.parameters(), lr=0.25))
    tensor = preconditioned_sharpness(model, closure, SGD(model.parameters(), lr=torch.tensor(0.25)))
    assert (tensor.rate, tensor.edge) == (number.rate, number.edge)


def test_a_loss_that_curves_down_allows_any_rate():
    model = Matrix(-np.eye(3), [1.0, 2.0, 3.0])
    found = preconditioned_sharpness(model, model.loss, SGD(model.parameters(), lr=0.1))
    assert found.sharpness == pytest.approx(-1.0)
    assert found.largest_rate == float("inf")
    assert found.rate_interval == (float("inf"), float("inf"))


def test_a_loss_that_has_diverged_allows_no_rate():
    model = Matrix(np.eye(3), [1.0, 2.0, 3.0])
    found = preconditioned_sharpness(model, lambda: model.loss() * float("nan"), SGD(model.parameters(), lr=0.1))
    assert np.isnan([found.sharpness, found.largest_rate, *found.rate_interval]).all()
    assert not found.converged


def test_wrong_arguments_are_named():
    model, closure = network()
    other = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"optimizer must be a torch\.optim\.Optimizer, got str"):
        preconditioned_sharpness(model, closure, "adam")
    for kind in (RAdam, LBFGS):
        with pytest.raises(ValueError, match=f"whose edge is known .*got {kind.__name__}"):
            stability_factor(kind(model.parameters()))
    with pytest.raises(ValueError, match="optimizer must minimise"):
        preconditioned_sharpness(model, closure, SGD(model.parameters(), maximize=True))
    with pytest.raises(ValueError, match="SGD holds none of the parameters that count"):
        preconditioned_sharpness(model, closure, SGD(other.parameters()))
    broken = SGD(model.parameters(), lr=0.1)
    broken.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ValueError, match="rate of the optimizer's groups must be finite and not negative, got nan"):
        preconditioned_sharpness(model, closure, broken)
