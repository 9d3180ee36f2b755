"""Cheap second derivatives: torch's values and first derivatives to the bit, and its second derivatives."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrscape.landscape.second_derivatives import CheapSecondDerivatives


def settled(norm):
    """Away from where a BatchNorm starts, with running statistics."""
    for tensor in (norm.running_mean, norm.weight, norm.bias):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm.eval()


LAYERS = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), (5, 4, 9)),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3, padding=1), (5, 4, 7, 6)),
    "conv2d, grouped": (lambda: nn.Conv2d(4, 6, (3, 2), stride=(1, 2), dilation=2, groups=2, bias=False), (3, 4, 9, 9)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 2, 4, 3, 4)),
    "relu": (nn.ReLU, (5, 6)),
    "norm of rows": (lambda: settled(nn.BatchNorm1d(6)), (5, 6)),
    "norm of sequences": (lambda: settled(nn.BatchNorm1d(6)), (5, 6, 3)),
    "norm of images": (lambda: settled(nn.BatchNorm2d(3)), (5, 3, 4, 4)),
    "norm of volumes": (lambda: settled(nn.BatchNorm3d(3)), (2, 3, 2, 3, 2)),
}


def differentiated(layer, x, weights, cheap):
    """Value, first derivatives, and their products with two vectors: one after the other, at once, and one by one."""
    with CheapSecondDerivatives() if cheap else nullcontext():
        y = layer(x)
    inputs = [x, *layer.parameters()]
    first = torch.autograd.grad((y.sin() * weights).sum() + (y**3).sum(), inputs, create_graph=True)
    stream = torch.Generator().manual_seed(0)
    vectors = [torch.randn(2, *tensor.shape, generator=stream, dtype=x.dtype) for tensor in inputs]
    rest = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    single = [torch.autograd.grad(first, inputs, [v[i] for v in vectors], **rest) for i in range(2)]
    together = torch.autograd.grad(first, inputs, vectors, is_grads_batched=True, **rest)
    apart = [torch.autograd.grad(f, inputs, v[0], **rest) for f, v in zip(first, vectors, strict=True)]
    return y, first, [*sum(single, ()), *together, *sum(apart, ())]


CASES = [(kind, torch.contiguous_format) for kind in LAYERS]
CASES += [(kind, torch.channels_last) for kind, (_, shape) in LAYERS.items() if len(shape) == 4]


@pytest.mark.parametrize(("kind", "memory_format"), CASES)
def test_derivatives_are_those_of_torch(kind, memory_format):
    make, shape = LAYERS[kind]
    layer = make().double()
    x = torch.randn(shape, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    weights = torch.randn(layer(x).shape, dtype=torch.float64)
    y, first, second = differentiated(layer, x, weights, cheap=True)
    y_plain, first_plain, second_plain = differentiated(layer, x, weights, cheap=False)
    assert type(y.grad_fn).__name__.startswith("_")  # it was replaced at all
    assert torch.equal(y, y_plain)
    names = ["x", *[name for name, _ in layer.named_parameters()]]
    for name, mine, torchs in zip(names, first, first_plain, strict=True):
        if name == "bias" and kind.startswith("conv"):
            torch.testing.assert_close(mine, torchs, rtol=1e-13, atol=1e-13)  # summed in another order
        else:
            assert torch.equal(mine, torchs)
    for mine, torchs in zip(second, second_plain, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-11, atol=1e-11)


UNUSUAL = {
    "statistics of the batch": lambda x: F.batch_norm(x, None, None, training=True),
    "no gain": lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4)),
    "padding by name": lambda x: F.conv2d(x, torch.ones(2, 4, 3, 3), padding="same"),
    "unbatched": lambda x: F.conv2d(x[0], torch.ones(2, 4, 3, 3)),
    "in place": lambda x: F.relu(x + 0, inplace=True),
    "another precision": lambda x: F.batch_norm(x.bfloat16(), *[torch.ones(4, dtype=torch.bfloat16)] * 4),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_what_is_unusual_is_left_to_torch(kind):
    x = torch.randn(3, 4, 5, 5, requires_grad=True)
    with CheapSecondDerivatives():
        y = UNUSUAL[kind](x)
    assert not type(y.grad_fn).__name__.startswith("_")
    assert torch.equal(y, UNUSUAL[kind](x))


def test_without_gradients_nothing_is_replaced():
    layer, x = nn.Conv2d(4, 6, 3), torch.randn(5, 4, 7, 6)
    with CheapSecondDerivatives(), torch.no_grad():
        assert layer(x).grad_fn is None
    with CheapSecondDerivatives(), torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


def test_statistics_with_a_gradient_are_refused_as_torch_does():
    """Not taken for constants, which would be a silent zero."""
    mean = torch.zeros(4, requires_grad=True)
    with CheapSecondDerivatives(), pytest.raises(RuntimeError, match="not differentiable"):
        F.batch_norm(torch.randn(3, 4), mean, *[torch.ones(4)] * 3)
