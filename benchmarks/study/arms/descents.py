"""What is descended besides the loss: penalties, and sharpness-aware minimisation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from lrscape.penalties import DMTA, NGER, SBMP, apply_cvp_, sasp, task_scales

from ...sam import sam_backward
from ..workloads.workload import Batch
from .policy import Descent, Policy, Setting
from .time_based import constant

# Coefficients as published
SASP_WEIGHT, CVP_WEIGHT, SBMP_WEIGHT, DMTA_WEIGHT = 1e-2, 1e-2, 1.0, 1e-2
SBMP_ALPHA = 5.0
RADIUS = 0.05  # of SAM, as published

Inner = Callable[[], Tensor]


def descending(setting: Setting, make: Callable[[Setting], Descent]) -> Policy:
    """Train as the constant arm does, on other gradients.

    Args:
        setting: What to train.
        make: Makes what computes them.

    Returns:
        The policy.
    """
    policy = constant(setting)
    policy.descent = make(setting)
    return policy


def sharpness_aware(setting: Setting) -> Descent:
    """Take the gradient a little uphill (Foret et al. 2020, arXiv:2010.01412)."""
    parameters = [parameter for parameter in setting.model.parameters() if parameter.requires_grad]

    def descent(_batch: Batch, loss: Inner) -> Tensor:
        return sam_backward(loss, parameters, RADIUS)

    return descent


class Watched:
    """Keep what goes into a model's last linear layer and what comes out of the model.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.features = self.output = torch.empty(0)
        head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        self.bias = head.bias is not None
        head.register_forward_pre_hook(lambda _module, inputs: self._seen(inputs[0]))
        model.register_forward_hook(lambda _module, _inputs, output: self._came(output))

    def _seen(self, features: Tensor) -> None:
        self.features = features

    def _came(self, output: Tensor) -> None:
        self.output = output


def with_sasp(setting: Setting) -> Descent:
    """Add SASP; where a number is asked for, the row does not count."""
    watched = Watched(setting.model)

    def descent(batch: Batch, loss: Inner) -> Tensor:
        base = loss()
        logits, labels = setting.classes(watched.output, batch[1])
        penalty = sasp(logits, watched.features.flatten(0, -2), labels, bias=watched.bias, ignore_index=-1)
        torch.autograd.backward(base + SASP_WEIGHT * penalty)
        return base

    return descent


def with_cvp(setting: Setting, published: bool = False) -> Descent:
    """Decay where the gradient agrees, in place."""
    parameters = list(setting.model.parameters())

    def descent(_batch: Batch, loss: Inner) -> Tensor:
        base = loss()
        torch.autograd.backward(base)
        if published:
            apply_cvp_(parameters, CVP_WEIGHT, sign="published", gate="published")
        else:
            apply_cvp_(parameters, CVP_WEIGHT)
        return base

    return descent


def with_sbmp(setting: Setting) -> Descent:
    """Ask for the same classes nearby, from the inputs as they are."""
    penalty, watched = SBMP(SBMP_ALPHA, ignore_index=-1), Watched(setting.model)
    stream = torch.Generator().manual_seed(setting.seed)

    def descent(batch: Batch, loss: Inner) -> Tensor:
        base = loss()
        logits, labels = setting.classes(watched.output, batch[1])
        near: Callable[[Tensor], Tensor] = lambda x: setting.classes(setting.model(x), batch[1])[0]  # noqa: E731
        moved = penalty(near, batch[0], logits, targets=labels, generator=stream)
        torch.autograd.backward(base + SBMP_WEIGHT * moved)
        return base

    return descent


def with_dmta(setting: Setting) -> Descent:
    """Ask the gradient to point where it has pointed on average."""
    parameters, tracker = list(setting.model.parameters()), DMTA()

    def descent(_batch: Batch, loss: Inner) -> Tensor:
        base = loss()
        gradients = torch.autograd.grad(base, parameters, create_graph=True)
        torch.autograd.backward(base + DMTA_WEIGHT * tracker(gradients))
        return base

    return descent


def with_nger(setting: Setting, floor: float = 0.1) -> Descent:
    """Weigh the tasks by what each can still gain; they share the model's ``trunk``."""
    if setting.tasks is None:
        raise ValueError("NGER weighs tasks, and this workload has only one")
    tasks, watched, trunk = setting.tasks, Watched(setting.model), setting.model.get_submodule("trunk")
    shared = list(trunk.parameters())
    nger: NGER | None = None

    def descent(batch: Batch, loss: Inner) -> Tensor:
        nonlocal nger
        base = loss()
        losses = tasks(watched.output, batch[1])
        nger = nger or NGER(len(losses), floor=floor)
        torch.autograd.backward(nger(torch.stack(losses), task_scales(losses, shared)))
        return base

    return descent


with_published_nger = partial(with_nger, floor=0.0)
with_published_cvp = partial(with_cvp, published=True)
