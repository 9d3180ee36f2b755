"""The default loss is the one that the output and the target suggest, averaged over what counts."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrscape.cli.default_loss import default_loss, name_loss
from lrscape.landscape import Objective, evaluate, line, random_directions


def mean(model, batch):
    value = default_loss(model, batch)
    return value[0] / value[1] if isinstance(value, tuple) else value


def constant(output):
    return lambda *args, **kwargs: output


def test_classification():
    scores, target = torch.randn(6, 3), torch.arange(6) % 3
    assert torch.allclose(mean(constant(scores), (torch.ones(6), target)), F.cross_entropy(scores, target))
    assert torch.allclose(mean(constant(scores), [torch.ones(6), target.int()]), F.cross_entropy(scores, target))
    assert name_loss(constant(scores), (torch.ones(6), target)) == "cross-entropy"


def test_segmentation_and_language():
    target = torch.randint(5, (2, 4, 3))
    scores = torch.randn(2, 5, 4, 3)
    assert torch.allclose(mean(constant(scores), (0, target)), F.cross_entropy(scores, target))
    tokens = torch.randint(7, (2, 4))
    tokens[0, 2:] = -100
    scores = torch.randn(2, 4, 7)
    expected = F.cross_entropy(scores.reshape(-1, 7), tokens.reshape(-1))
    assert torch.allclose(mean(constant(scores), (0, tokens)), expected)
    assert default_loss(constant(scores), (0, tokens))[1] == 6
    assert torch.allclose(mean(constant(SimpleNamespace(logits=scores)), (0, tokens)), expected)


def test_regression():
    output, target = torch.randn(6, 1), torch.randn(6)
    assert torch.allclose(mean(constant(output), (0, target)), F.mse_loss(output[:, 0], target))
    assert name_loss(constant(output), (0, target)) == "mean squared error"
    with pytest.raises(TypeError, match=r"shapes \(6, 1\) and \(5,\)"):
        default_loss(constant(output), (0, target[:5]))


def test_own_loss():
    own = torch.tensor(2.5)
    for output in (SimpleNamespace(loss=own), {"loss": own}):
        assert default_loss(constant(output), {"x": torch.ones(2)}) is own
        assert default_loss(constant(output), (torch.ones(2), torch.ones(2))) is own
        assert name_loss(constant(output), {"x": torch.ones(2)}) == "the output's .loss"


def test_inputs_are_spread():
    def model(a, b):
        return a * b

    target = torch.ones(3)
    assert mean(model, ((torch.ones(3), torch.full((3,), 3.0)), target)) == 4
    assert mean(model, ({"a": torch.ones(3), "b": torch.ones(3)}, target)) == 0


def test_half_precision_is_summed_in_full():
    scores = torch.zeros(4096, 2, dtype=torch.bfloat16)
    value, count = default_loss(constant(scores), (0, torch.zeros(4096, dtype=torch.long)))
    assert value.dtype == torch.float32
    assert torch.allclose(value / count, torch.tensor(2.0).log())


@pytest.mark.parametrize(
    ("output", "batch", "part"),
    [
        (torch.ones(3, 2), torch.ones(3), "got a Tensor"),
        (torch.ones(3, 2), (1, 2, 3), "got 3 parts"),
        (torch.ones(3, 2), (1, "label"), "got a str"),
        (torch.ones(3, 2), (1, torch.ones(3) > 0), r"got torch\.bool"),
        (torch.ones(3, 2), {"x": torch.ones(3)}, "has no .loss"),
        ((torch.ones(3, 2),), (1, torch.ones(3)), "got tuple"),
        (torch.ones(3), (1, torch.arange(3)), "scores of shape"),
        (torch.ones(3, 2, 4), (1, torch.arange(3)), "scores of shape"),
    ],
)
def test_what_suggests_no_loss(output, batch, part):
    with pytest.raises(TypeError, match=part) as caught:
        default_loss(constant(output), batch)
    assert "--loss" in str(caught.value)


@pytest.mark.parametrize("engine", ["inplace", "batched"])
def test_batches_of_any_size_weigh_as_they_should(engine):
    model = nn.Linear(3, 2)
    x, y = torch.randn(11, 3), torch.arange(11) % 2
    directions = random_directions(model, 1)
    batches = list(zip(x.split(4), y.split(4), strict=True))
    parts = evaluate(model, Objective(default_loss, batches), directions, line(3), engine=engine)
    whole = evaluate(model, Objective(default_loss, [(x, y)]), directions, line(3), engine=engine)
    assert parts.provenance["engine"] == engine
    assert parts.losses == pytest.approx(whole.losses, rel=1e-6)
    assert parts.center == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-6)
