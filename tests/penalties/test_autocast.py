"""Mixed precision: under autocast each penalty is that of full precision, to the precision of the forward pass."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrscape.penalties import (
    DMTA,
    NGER,
    SBMP,
    CompositePenalty,
    apply_cvp_,
    cvp,
    head_hessian_trace,
    sasp,
    sasp_general,
    task_scales,
)


@pytest.fixture
def parts():
    torch.manual_seed(0)
    body, head = nn.Sequential(nn.Linear(4, 16), nn.Tanh()), nn.Linear(16, 3)
    return body, head, torch.randn(32, 4), torch.randint(3, (32,))


def penalties(parts):
    body, head, x, y = parts
    whole = nn.Sequential(body, head)
    parameters = list(whole.parameters())
    features = body(x)
    logits = head(features)
    losses = [F.cross_entropy(logits, y), F.cross_entropy(-logits, y)]
    gradients = torch.autograd.grad(losses[0], parameters, create_graph=True)
    tracker, stream = DMTA(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        tracker([torch.ones_like(p) for p in parameters])
    return {
        "sasp": sasp(logits, features, y),
        "trace": head_hessian_trace(logits, features),
        "general, vmap": sasp_general(lambda m, b: F.cross_entropy(m(b[0]), b[1]), whole, (x, y), method="vmap"),
        "general, loop": sasp_general(lambda m, b: F.cross_entropy(m(b[0]), b[1]), whole, (x, y), method="loop"),
        "cvp": cvp(parameters, gradients, beta=0.5),
        "nger": NGER(2)(torch.stack(losses), task_scales(losses, parameters)),
        "sbmp": SBMP(1.0)(whole, x, logits, generator=stream),
        "dmta": tracker(gradients),
    }


def test_values_and_gradients(parts):
    full = penalties(parts)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = penalties(parts)
    parameters = [*parts[0].parameters(), *parts[1].parameters()]
    for name, value in mixed.items():
        assert value.dtype == torch.float32, name
        torch.testing.assert_close(
            value, full[name], rtol=0.05, atol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )
        slopes = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
        wanted = torch.autograd.grad(full[name], parameters, retain_graph=True, materialize_grads=True)
        error, size = (torch.cat([v.flatten() for v in vs]).norm() for vs in (
            [a - b for a, b in zip(slopes, wanted, strict=True)], wanted,
        ))  # fmt: skip
        assert size > 0, name
        assert error < 0.05 * size, name


def test_training_under_autocast_with_a_scaler(parts):
    body, head, x, y = parts
    parameters = [*body.parameters(), *head.parameters()]
    optimizer, scaler = torch.optim.SGD(parameters, lr=0.5), torch.amp.GradScaler("cpu")
    penalty = CompositePenalty(lambda_sasp=1e-2, lambda_sbmp=0.1, lambda_dmta=1e-2, sbmp=SBMP(0.5))
    bases = []
    for _ in range(20):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            features = body(x)
            logits = head(features)
            total, components = penalty(
                F.cross_entropy(logits, y), logits=logits, features=features, targets=y, parameters=parameters,
                head=lambda x: head(body(x)), embeddings=x,
            )  # fmt: skip
        scaler.scale(total).backward()
        scaler.unscale_(optimizer)
        apply_cvp_(parameters, lam=1e-3)
        scaler.step(optimizer)
        scaler.update()
        bases.append(components["base"].item())
    assert bases[-1] < 0.9 * bases[0]
    assert all(p.isfinite().all() for p in parameters)
