"""TopoAdamW is AdamW with the arguments, and on request the rates, of the paper."""

import logging

import pytest
import torch
import torch.nn.functional as F
from steered_runs import problem, train

from lrscape.optim import TopoAdamW
from lrscape.schedulers import TopoCNNLR, TopoLR


def published_rates(history, rates, steps, low, high):
    """Follow the published code: the rate changes in place, from the step after the probe on."""
    found = {decision.step: decision.measurement for decision in history}
    initial, rates, taken, mean = list(rates), list(rates), [], None
    for t in range(1, steps + 1):
        taken.append(list(rates))
        if t in found:
            loss, s, v = (found[t][name] for name in ("loss", "sharpness", "variance"))
            rho = 1.15 if s < 0.1 and v < 0.3 else 0.8 if s > 0.5 else 0.85 if v > 0.5 else 0.95 if s > 0.2 else 1.0
            mean = loss if mean is None else 0.2 * loss + 0.8 * mean
            rho = 0.8 if loss > 2 * mean else rho
            rates = [max(min(r * rho, r0 * b), r0 * a) for r, r0, a, b in zip(rates, initial, low, high, strict=True)]
    return taken


@pytest.mark.parametrize("cnn", [False, True])
def test_published_rates(cnn):
    model, x, y = problem()
    groups = [{"params": model[0].parameters()}, {"params": [*model[1:].parameters()], "lr": 1e-2}]
    bounds = {"min_lr_ratio": [0.3, 0.2], "max_lr_ratio": [1.0, 1.5]}
    options = {"lr": 0.05, "interval": 2, "warmup_steps": 3, "preset": "published", "use_topo_cnn": cnn}
    # Wide planes of a sparse grid look sharp, so that the rule has something to do.
    optimizer = TopoAdamW(groups, model, probe_kwargs={"span": 0.9, "grid_size": 5}, **options, **bounds)
    taken = train(model, optimizer, x, y, 40)
    assert [decision.step for decision in optimizer.history] == list(range(4, 41, 2))
    assert len({row[0] for row in taken}) > 2
    expected = published_rates(optimizer.history, [0.05, 1e-2], 40, *bounds.values())
    for a, b in zip(taken, expected, strict=True):
        assert a == pytest.approx(b, rel=1e-12)


def test_it_is_adamw_until_the_first_probe():
    model, x, y = problem()
    twin, _, _ = problem()
    optimizer = TopoAdamW(model.parameters(), model, lr=1e-2, betas=(0.8, 0.9), amsgrad=True)
    plain = torch.optim.AdamW(twin.parameters(), lr=1e-2, weight_decay=5e-4, betas=(0.8, 0.9), amsgrad=True)
    assert isinstance(optimizer, torch.optim.AdamW)
    train(model, optimizer, x, y, 20)
    for _ in range(20):
        plain.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        plain.step()
    for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not len(optimizer.history)


def test_a_probe_changes_nothing_but_the_factor():
    model, x, y = problem()
    optimizer = TopoAdamW(model.parameters(), model, interval=1, warmup_steps=0)
    train(model, optimizer, x, y, 1)
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    gradients = [p.grad.clone() for p in model.parameters()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    optimizer.probe(lambda: F.cross_entropy(model(x), y))
    assert len(optimizer.history) == 2
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(a, p.grad) for a, p in zip(gradients, model.parameters(), strict=True))


@pytest.mark.parametrize("cnn", [False, True])
def test_presets_and_the_papers_arguments(cnn):
    model, _, _ = problem()
    optimizer = TopoAdamW(model.parameters(), model, use_topo_cnn=cnn, preset="published")
    controller = optimizer.controller
    assert type(controller) is (TopoCNNLR if cnn else TopoLR)
    assert optimizer.defaults["lr"] == 1e-3
    assert optimizer.defaults["weight_decay"] == 5e-4
    assert (controller.interval, controller.warmup, controller.span) == (50, 150, 0.12)
    assert (controller.min_ratio, controller.max_ratio, controller.bias) == ([0.2], [1.0], "match")
    probe = {"grid_size": 11, "span": 0.2, "n_samples": 4, "tda_grid_size": 5}
    training = {"min_samples": 7, "retrain_every": 2, "train_epochs": 3, "buffer_capacity": 9}
    controller = TopoAdamW(
        model.parameters(), model, use_topo_cnn=cnn, probe_kwargs=probe, topo_cnn_kwargs=training, warmup_steps=9
    ).controller
    assert (controller.preset, controller.span, controller.warmup) == ("corrected", 0.2, 9)
    if cnn:
        assert controller.grid_size == 5
        assert controller._trainer._min_samples == 7
        assert controller._trainer._train_steps == 3
    else:
        assert (controller.reference_grid, controller.samples) == (11, 4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"probe_kwargs": {"gird_size": 3}}, "probe_kwargs knows .*tda_grid_size, got gird_size"),
        ({"topo_cnn_kwargs": {"epochs": 3}}, "topo_cnn_kwargs knows"),
        ({"max_lr_ratio": [1.0, 1.0]}, "max_ratio"),
        ({"preset": "paper"}, "preset"),
        ({"lr": -1.0}, "learning rate"),
    ],
)
def test_bad_options(options, match):
    model, _, _ = problem()
    with pytest.raises(ValueError, match=match):
        TopoAdamW(model.parameters(), model, **options)


def test_a_batch_is_given_whole_or_not_at_all():
    model, x, y = problem()
    optimizer = TopoAdamW(model.parameters(), model)
    with pytest.raises(ValueError, match="criterion missing"):
        optimizer.step(data=x, target=y)


def test_verbose_logs_and_prints_nothing(caplog, capsys):
    model, x, y = problem()
    optimizer = TopoAdamW(model.parameters(), model, interval=2, warmup_steps=0, verbose=True)
    with caplog.at_level(logging.INFO, logger="lrscape"):
        train(model, optimizer, x, y, 2)
    assert "step 2, reference" in caplog.text
    assert capsys.readouterr() == ("", "")


def test_topocnn_state_resumes_bitwise():
    training = {"min_samples": 2, "retrain_every": 2, "train_epochs": 1, "buffer_capacity": 3}
    options = {"use_topo_cnn": True, "interval": 2, "warmup_steps": 0, "topo_cnn_kwargs": training}
    options["probe_kwargs"] = {"tda_grid_size": 5}
    model, x, y = problem()
    expected = train(model, TopoAdamW(model.parameters(), model, **options), x, y, 14)
    half, _, _ = problem()
    optimizer = TopoAdamW(half.parameters(), half, **options)
    train(half, optimizer, x, y, 7)
    resumed, _, _ = problem()
    resumed.load_state_dict(half.state_dict())
    again = TopoAdamW(resumed.parameters(), resumed, **options)
    again.load_state_dict(optimizer.state_dict())
    assert train(resumed, again, x, y, 7) == expected[7:]
    assert again.controller._trainer.trainings == 3
