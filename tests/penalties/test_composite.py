"""The sum of penalties: coefficients applied once, components for logging, state."""

import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrscape.penalties import CVP, DMTA, NGER, SASP, SBMP, CompositePenalty, cvp, sasp

LAMBDAS = {"lambda_sasp": 0.1, "lambda_cvp": 0.2, "lambda_nger": 0.3, "lambda_sbmp": 0.4, "lambda_dmta": 0.5}


class Setting:
    """A small network with everything that the penalties ask for."""

    def __init__(self, seed=0):
        torch.manual_seed(seed)
        self.body, self.head = nn.Sequential(nn.Linear(4, 6), nn.Tanh()), nn.Linear(6, 3)
        self.x, self.y = torch.randn(8, 4), torch.randint(3, (8,))
        self.parameters = [*self.body.parameters(), *self.head.parameters()]

    def model(self, x):
        return self.head(self.body(x))

    def given(self):
        features = self.body(self.x)
        logits = self.head(features)
        base = F.cross_entropy(logits, self.y)
        return base, {
            "logits": logits, "features": features, "targets": self.y, "parameters": iter(self.parameters),
            "task_losses": torch.stack([base, 2 * base]), "head": self.model, "embeddings": self.x,
        }  # fmt: skip


def test_is_the_base_when_every_lambda_is_zero():
    base, given = Setting().given()
    total, components = CompositePenalty()(base, **given)
    assert total is base
    assert list(components) == ["base"]
    total, _ = CompositePenalty()(base)
    assert total is base


def test_adds_each_penalty_once():
    setting = Setting()
    base, given = setting.given()
    penalty = CompositePenalty(**LAMBDAS, nger=NGER(2))
    base, given = setting.given()
    with torch.no_grad():
        penalty.dmta([torch.randn_like(p) for p in setting.parameters])  # something to differ from
    total, components = penalty(base, **given)
    assert list(components) == ["base", "sasp", "cvp", "dmta", "nger", "sbmp"]
    wanted = components["base"] + sum(LAMBDAS[f"lambda_{name}"] * components[name] for name in list(components)[1:])
    torch.testing.assert_close(total.detach(), wanted)
    assert not any(value.requires_grad for value in components.values())
    assert components["dmta"] > 0.1
    torch.testing.assert_close(components["sasp"], sasp(given["logits"], given["features"], setting.y).detach())
    gradients = torch.autograd.grad(base, setting.parameters, retain_graph=True)
    torch.testing.assert_close(components["cvp"], cvp(setting.parameters, gradients).detach())


@pytest.mark.parametrize("name", ["sasp", "cvp", "nger", "sbmp", "dmta"])
def test_each_penalty_reaches_the_parameters(name):
    setting = Setting()
    penalty = CompositePenalty(**{f"lambda_{name}": 0.7}, nger=NGER(2))
    if name == "dmta":
        with torch.no_grad():
            penalty.dmta([torch.randn_like(p) for p in setting.parameters])
    base, given = setting.given()
    total, _ = penalty(base, **given)
    assert all(p.grad is None for p in setting.parameters)
    total.backward()
    with_penalty = [p.grad.clone() for p in setting.parameters]
    plain = torch.autograd.grad(setting.given()[0], setting.parameters)
    assert any((a - b).abs().max() > 1e-5 for a, b in zip(with_penalty, plain, strict=True))


def test_gradients_given_are_not_taken_again():
    setting = Setting()
    base, given = setting.given()
    gradients = [torch.ones_like(p) for p in setting.parameters]
    total, components = CompositePenalty(lambda_cvp=1.0)(base, **given, gradients=gradients)
    torch.testing.assert_close(components["cvp"], cvp(setting.parameters, gradients).detach())
    total.backward()


def test_parameters_without_a_part_in_the_loss():
    setting = Setting()
    base, given = setting.given()
    given["parameters"] = [*setting.parameters, torch.ones(2, requires_grad=True)]
    with pytest.raises(ValueError, match="1 of 5 parameters have no gradient"):
        CompositePenalty(lambda_cvp=1.0)(base, **given)
    CompositePenalty(lambda_cvp=1.0, cvp=CVP(allow_unused=True))(base, **given)
    with pytest.raises(ValueError, match="1 of 5 gradients are None"):
        CompositePenalty(lambda_dmta=1.0)(base, **given)
    with torch.no_grad(), pytest.raises(ValueError, match="call outside of"):
        CompositePenalty(lambda_dmta=1.0)(setting.given()[0], **given)


def test_frozen_parameters_are_left_out():
    setting = Setting()
    for parameter in setting.body.parameters():
        parameter.requires_grad_(False)
    base, given = setting.given()
    total, _ = CompositePenalty(lambda_cvp=1.0, lambda_dmta=1.0)(base, **given)
    total.backward()
    assert all(p.grad is None for p in setting.body.parameters())


@pytest.mark.parametrize("aligned", ["all", "trained"])
@pytest.mark.parametrize("name", ["cvp", "dmta"])
def test_gradients_may_have_places_for_frozen_parameters(name, aligned):
    setting = Setting()
    setting.parameters[0].requires_grad_(False)
    penalty = CompositePenalty(**{f"lambda_{name}": 1.0}, dmta=DMTA(0.5))
    for step in range(2):
        base, given = setting.given()
        trained = [p for p in setting.parameters if p.requires_grad]
        loss = base - step * setting.model(setting.x)[:, 0].sum()
        found = iter(torch.autograd.grad(loss, trained, create_graph=True))
        places = setting.parameters if aligned == "all" else trained
        gradients = [next(found) if p.requires_grad else None for p in places]
        twin = CompositePenalty(**{f"lambda_{name}": 1.0}, dmta=DMTA(0.5))
        twin.load_state_dict(penalty.state_dict())
        expected, _ = twin(base, **{**given, "parameters": trained}, gradients=gradients[-len(trained) :])
        total, components = penalty(base, **given, gradients=gradients)
        assert torch.equal(total, expected)
    assert components[name].abs() > 0


def test_gradients_of_other_parameters_are_still_refused():
    setting = Setting()
    base, given = setting.given()
    with pytest.raises(ValueError, match="gradients must be one for each of the 4 parameters, got 3"):
        CompositePenalty(lambda_cvp=1.0)(base, **given, gradients=[None] * 3)


def test_options_reach_the_penalties():
    setting = Setting()
    base, given = setting.given()
    options = {"sasp": SASP(bias=False, label_smoothing=0.1), "sbmp": SBMP(alpha=0.0)}
    penalty = CompositePenalty(lambda_sasp=1.0, lambda_sbmp=1.0, **options)
    _, components = penalty(base, **given)
    wanted = sasp(given["logits"], given["features"], setting.y, bias=False, label_smoothing=0.1)
    torch.testing.assert_close(components["sasp"], wanted.detach())
    assert components["sbmp"].abs() < 1e-7


def test_training_resumes_to_the_bit():
    def train(setting, penalty, steps):
        optimizer = torch.optim.SGD(setting.parameters, lr=0.1)
        for _ in range(steps):
            base, given = setting.given()
            optimizer.zero_grad()
            penalty(base, **given)[0].backward()
            optimizer.step()

    options = {"lambda_dmta": 0.5, "lambda_nger": 0.5, "dmta": DMTA(0.5)}
    whole, first, second = Setting(), Setting(), Setting()
    train(whole, CompositePenalty(**options, nger=NGER(2)), 6)
    penalty = CompositePenalty(lambda_dmta=0.5, lambda_nger=0.5, dmta=DMTA(0.5), nger=NGER(2))
    train(first, penalty, 3)
    file = io.BytesIO()
    torch.save(penalty.state_dict(), file)
    file.seek(0)
    resumed = CompositePenalty(lambda_dmta=0.5, lambda_nger=0.5, dmta=DMTA(0.5), nger=NGER(2))
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for a, b in zip(second.parameters, first.parameters, strict=True):
        a.data.copy_(b.data)
    train(second, resumed, 3)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters, second.parameters, strict=True))


def test_what_is_missing_is_named():
    setting = Setting()
    base, given = setting.given()
    for name, argument in [
        ("sasp", "logits"), ("sasp", "features"), ("sasp", "targets"), ("cvp", "parameters"), ("dmta", "parameters"),
        ("nger", "task_losses"), ("sbmp", "head"), ("sbmp", "embeddings"),
    ]:  # fmt: skip
        rest = {key: value for key, value in given.items() if key != argument}
        with pytest.raises(ValueError, match=f"{argument} must be given, since lambda_{name} is above 0"):
            CompositePenalty(**{f"lambda_{name}": 1.0}, nger=NGER(2))(base, **rest)
    with pytest.raises(ValueError, match=r"give nger=NGER\(tasks\)"):
        CompositePenalty(lambda_nger=1.0)
    later = CompositePenalty()
    later.lambdas["nger"] = 1.0
    with pytest.raises(ValueError, match=r"give nger=NGER\(tasks\)"):
        later(base, **given)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="lambda_sasp must be finite"):
            CompositePenalty(lambda_sasp=wrong)
    with pytest.raises(ValueError, match="base must be a 0-d loss"):
        CompositePenalty()(torch.zeros(3))
