"""Groups, frozen parts, adapters, averages of weights: rates as in the plain loop."""

import pytest
import torch
from loops import FAMILIES, PINNED, Loop, every, moved, network, same_run
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lrscape.landscape import random_directions
from lrscape.schedulers import HomotopyLR, TopoLR, ValleyLR

MODELLED = [family for family in FAMILIES if family not in {"RiverLR", "InducedMetricLR"}]


class Averaged(Loop):
    """An exponential average of the weights beside the training."""

    def __init__(self, family=None, **options):
        super().__init__(family, **options)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)

    def take_step(self):
        super().take_step()
        self.average.update_parameters(self.model)


@pytest.mark.parametrize("family", every())
def test_an_average_of_the_weights_goes_its_own_way(family):
    found = Averaged(family).train(12)
    same_run(found, Loop(family).train(12))
    pinned, plain = Averaged(family, **PINNED).train(12), Averaged().train(12)
    for a, b in zip(pinned.average.parameters(), plain.average.parameters(), strict=True):
        assert torch.equal(a, b)


class OneGroup(Loop):
    def groups(self):
        return self.model.parameters()


@pytest.mark.parametrize("family", every("PerLayerHomotopyLR"))
def test_groups_of_equal_rates_are_as_one(family):
    one, two = OneGroup(family).train(12), Loop(family).train(12)
    assert [rates * 2 for rates in one.rates] == two.rates
    assert all(map(torch.equal, one.weights, two.weights))
    assert moved(one)


class Layered(Loop):
    """The second layer at a fifth of the rate."""

    def groups(self):
        return [{"params": self.model[0].parameters()}, {"params": self.model[2].parameters(), "lr": 0.0006}]


@pytest.mark.parametrize("family", every("PerLayerHomotopyLR"))
def test_layers_keep_the_proportion_of_their_rates(family):
    run = Layered(family).train(12)
    assert moved(run)
    for first, second in run.rates:
        assert second == pytest.approx(first / 5, rel=1e-12)


class Frozen(Loop):
    """The first layer does not train."""

    def make_model(self):
        model = super().make_model()
        for parameter in model[0].parameters():
            parameter.requires_grad_(False)
        return model

    def groups(self):
        return [{"params": self.model[2].parameters()}]


class Outside(Loop):
    """The same layer as a part of the data."""

    class Head(nn.Module):
        def __init__(self, first, layer):
            super().__init__()
            self.first = [first]  # not registered
            self.add_module("2", layer)

        def forward(self, x):
            return getattr(self, "2")(self.first[0](x).tanh())

    def make_model(self):
        whole = super().make_model()
        for parameter in whole[0].parameters():
            parameter.requires_grad_(False)
        return self.Head(whole[0], whole[2])

    def groups(self):
        return [{"params": self.model.parameters()}]


@pytest.mark.parametrize("family", every())
def test_frozen_parts_are_as_if_they_were_data(family):
    frozen, outside = Frozen(family).train(16), Outside(family).train(16)
    assert frozen.rates == outside.rates
    assert frozen.reasons == outside.reasons
    assert torch.equal(frozen.weights[0], network()[0].weight)


class Adapter(nn.Module):
    """A frozen layer with a trainable correction of low rank, W + B·A with B = 0 at the start (LoRA)."""

    def __init__(self, layer, rank=2):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        stream = torch.Generator().manual_seed(1)
        self.a = nn.Parameter(torch.randn(rank, layer.in_features, generator=stream, dtype=torch.float64))
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank, dtype=torch.float64))

    def forward(self, x):
        return self.layer(x) + x @ self.a.T @ self.b.T


class Adapted(Loop):
    def make_model(self):
        return nn.Sequential(*(Adapter(part) if isinstance(part, nn.Linear) else part for part in network()))

    def groups(self):
        return [{"params": [p for p in self.model.parameters() if p.requires_grad]}]


class Merged(Adapted):
    """The frozen weights as constants within the loss, so that the model holds nothing but adapters."""

    class Bare(nn.Module):
        def __init__(self, adapter):
            super().__init__()
            self.a, self.b = adapter.a, adapter.b
            self.constant = [adapter.layer]

        def forward(self, x):
            return self.constant[0](x) + x @ self.a.T @ self.b.T

    def make_model(self):
        return nn.Sequential(*(self.Bare(part) if isinstance(part, Adapter) else part for part in super().make_model()))


@pytest.mark.parametrize("family", every())
def test_adapters_are_all_that_moves(family):
    found, expected = Adapted(family).train(16), Merged(family).train(16)
    assert found.rates == expected.rates
    assert found.reasons == expected.reasons
    for name, parameter in found.model.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(parameter, dict(network().named_parameters())[name.replace(".layer", "")])
    if family in MODELLED:
        assert not any("layer" in name for name in random_directions(found.model, 1).tensors)


STRANGERS = r"none of the 4 parameters of SGD belong to the Sequential"


@pytest.mark.parametrize("kind", [TopoLR, ValleyLR, HomotopyLR])
def test_an_optimizer_of_another_model_is_noticed(kind):
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1)
    with pytest.warns(UserWarning, match=STRANGERS) as caught:
        kind(optimizer, network())
    assert caught[0].filename == __file__
    encoder, decoder = nn.Linear(2, 2), nn.Linear(2, 2)
    both = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.1)
    with pytest.warns(UserWarning, match="only 2 of the 4 parameters of SGD belong to the Linear"):
        kind(both, encoder)
    kind(both, nn.ModuleList([encoder, decoder]))  # no warning, nor for a part of the model
    kind(torch.optim.SGD(encoder.parameters(), lr=0.1), nn.ModuleList([encoder, decoder]))
