"""A loss with several penalties, each multiplied by its coefficient once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from .cvp import CVP
from .dmta import DMTA
from .nger import NGER
from .sasp import SASP
from .sbmp import SBMP

Given = TypeVar("Given")


class CompositePenalty(nn.Module):
    """Add penalties to a loss and tell what each came to.

    total = base + Σ λ·R

    Source: Patil 2026, doi:10.5281/zenodo.20480620. Every λ is 0 by default, and a penalty with λ = 0 is not computed.
    The published coefficients are 1e-2 for SASP, CVP and DMTA, and 1 for SBMP; with DMTA the published code multiplies
    twice (λ² in effect), here once. A λ may be changed between calls, in ``lambdas``.

    CVP and DMTA need gradients of the base loss before there was a backward pass. They are given as ``gradients=`` or
    taken here, once for both, without touching ``.grad``: one more backward pass, with a graph for DMTA.
    :func:`~lrscape.penalties.apply_cvp_` does without.

    Args:
        lambda_sasp: Coefficient of SASP; its call needs logits, features and targets.
        lambda_cvp: Of CVP; needs parameters.
        lambda_nger: Of NGER; needs ``nger``, and task_losses in the call. To train on the weighted tasks alone, give a
            base of 0.
        lambda_sbmp: Of SBMP; needs head and embeddings, and uses logits and targets where given.
        lambda_dmta: Of DMTA; needs parameters.
        sasp: Its options.
        cvp: Its options.
        nger: Its options and number of tasks.
        sbmp: Its options.
        dmta: Its options.

    Raises:
        ValueError: If a coefficient is negative or not finite, or ``nger`` is missing.

    Example:
        >>> penalty = CompositePenalty(lambda_sasp=0.1)
        >>> logits, features, targets = torch.zeros(1, 2), torch.tensor([[2.0]]), torch.tensor([0])
        >>> total, components = penalty(
        ...     nn.functional.cross_entropy(logits, targets), logits=logits, features=features, targets=targets
        ... )
        >>> round(total.item(), 4), {name: round(value.item(), 4) for name, value in components.items()}
        (0.9431, {'base': 0.6931, 'sasp': 2.5})
    """

    def __init__(
        self,
        *,
        lambda_sasp: float = 0.0,
        lambda_cvp: float = 0.0,
        lambda_nger: float = 0.0,
        lambda_sbmp: float = 0.0,
        lambda_dmta: float = 0.0,
        sasp: SASP | None = None,
        cvp: CVP | None = None,
        nger: NGER | None = None,
        sbmp: SBMP | None = None,
        dmta: DMTA | None = None,
    ) -> None:
        super().__init__()
        self.lambdas = {
            "sasp": lambda_sasp, "cvp": lambda_cvp, "nger": lambda_nger, "sbmp": lambda_sbmp, "dmta": lambda_dmta,
        }  # fmt: skip
        for name, value in self.lambdas.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"lambda_{name} must be finite and at least 0, got {value!r}")
        self.sasp = sasp or SASP()
        self.cvp = cvp or CVP()
        self.nger = nger
        self.sbmp = sbmp or SBMP()
        self.dmta = dmta or DMTA()
        if lambda_nger:
            self._tasks()

    def forward(
        self,
        base: Tensor,
        *,
        logits: Tensor | None = None,
        features: Tensor | None = None,
        targets: Tensor | None = None,
        parameters: Iterable[Tensor] | None = None,
        gradients: Sequence[Tensor | None] | None = None,
        task_losses: Tensor | None = None,
        kappa: Tensor | None = None,
        head: Callable[[Tensor], Tensor] | None = None,
        embeddings: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss and its components.

        Args:
            base: The loss, 0-d.
            logits: Output of the classification head, (N, C) or (N, C, d1, …).
            features: Its input, (N, F) or (N, F, d1, …).
            targets: Class indices, or probabilities.
            parameters: Those that CVP decays and DMTA compares; frozen ones are left out.
            gradients: Theirs, of the base loss, with or without places for frozen ones; with DMTA, with their graph.
                Computed if None.
            task_losses: One for each task, (T,).
            kappa: Scale of each task's kernel, (T,), for NGER.
            head: What makes logits of embeddings.
            embeddings: (B, d) or (B, L, d).
            mask: Which positions of the embeddings are no padding, (B, L).

        Returns:
            base + Σ λ·R, and the components for logging, detached and before the multiplication: "base", and an R for
            each λ above 0.

        Raises:
            ValueError: If what a penalty needs is missing, ``nger`` too where its λ was set later.
        """
        if base.dim():
            raise ValueError(f"base must be a 0-d loss, got shape {tuple(base.shape)}; reduce it first")
        parts: dict[str, Tensor] = {}
        if self.lambdas["sasp"]:
            parts["sasp"] = self.sasp(
                needed("sasp", logits=logits), needed("sasp", features=features), needed("sasp", targets=targets)
            )
        if self.lambdas["cvp"] or self.lambdas["dmta"]:
            name = "cvp" if self.lambdas["cvp"] else "dmta"
            every = list(needed(name, parameters=parameters))
            thetas = [theta for theta in every if theta.requires_grad]
            if gradients is None:
                gradients = self._gradients(base, thetas)
            elif len(gradients) == len(every):
                gradients = [g for g, theta in zip(gradients, every, strict=True) if theta.requires_grad]
            if self.lambdas["cvp"]:
                parts["cvp"] = self.cvp(thetas, gradients)
            if self.lambdas["dmta"]:
                parts["dmta"] = self.dmta(gradients)
        if self.lambdas["nger"]:
            parts["nger"] = self._tasks()(needed("nger", task_losses=task_losses), kappa)
        if self.lambdas["sbmp"]:
            parts["sbmp"] = self.sbmp(
                needed("sbmp", head=head), needed("sbmp", embeddings=embeddings), logits, targets=targets, mask=mask
            )
        total = base
        for name, value in parts.items():
            total = total + self.lambdas[name] * value
        return total, {"base": base.detach(), **{name: value.detach() for name, value in parts.items()}}

    def _tasks(self) -> NGER:
        if self.nger is None:
            raise ValueError("lambda_nger needs the number of tasks: give nger=NGER(tasks)")
        return self.nger

    def _gradients(self, base: Tensor, thetas: list[Tensor]) -> tuple[Tensor | None, ...]:
        if not thetas or not base.requires_grad:
            raise ValueError(
                "parameters and base must require gradients for CVP and DMTA: call outside of torch.no_grad(), or give "
                "gradients="
            )
        return torch.autograd.grad(
            base, thetas, retain_graph=True, create_graph=bool(self.lambdas["dmta"]), allow_unused=True
        )


def needed(name: str, **given: Given | None) -> Given:
    """Give the one argument that a penalty cannot do without."""
    ((argument, value),) = given.items()
    if value is None:
        raise ValueError(f"{argument} must be given, since lambda_{name} is above 0")
    return value
