"""RiverLR: a learning rate inversely proportional to how differently the examples of a batch fare."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .base import LandscapeLR
from .checks import Bound, OnError
from .example_losses import RiverMeasurement, measure_examples
from .history import Decision

Start = Literal["unbiased", "first", "zero"]
Preset = Literal["corrected", "published"]


class RiverLR(LandscapeLR):
    """Multiply the learning rate by target roughness over present roughness, both averages of the losses' variance.

    With the population variance Var_t of a batch's losses and their mean L̄_t, k steps on::

        v ← β·v + (1 − β)·r_t          r_t = Var_t/L̄_t²  (published: r_t = Var_t)
        u ← β_u·u + (1 − β_u)·v̂        v̂ = v/(1 − β^k), û = u/(1 − β_u^k)  (published: v̂ = v, û = u)
        m = clip((û + ε)/(v̂ + ε))      (published: m = clip(û/(v̂ + ε)))

    and every rate is its plain value times m, the plain value being the optimizer's own or that of ``inner``, the
    chapter's global schedule. It takes no extra pass: give it the losses that training has computed::

        losses = F.cross_entropy(model(x), y, reduction="none")
        losses.mean().backward()
        optimizer.step()
        scheduler.observe(losses)
        scheduler.step()

    Source: the schedules chapter, section 6.5, which cites a paper under arXiv:2410.05192; that number is another
    paper's (Wen et al. 2024, on WSD), and none that has the method was found. What is corrected: the variance grows as
    the square of the loss, so as published the rate rises just because training succeeds, without bound if the loss
    falls geometrically; Var/L̄² does not depend on the loss's scale and is at most N − 1 for N losses that are not
    negative. The chapter leaves open how the averages start. From the first value, m starts at 1: no warmup. From 0, m
    starts at 1 − β_u whatever the losses are: the warmup that the chapter finds in the landscape is that artefact.
    Bias-corrected averages have neither memory of a start. A batch of equal losses is not rough at all: m = 1 where
    both averages vanish, by the ε in the numerator.

    ==========  =============================================================
    reason      what it means
    ==========  =============================================================
    rougher     examples differ more than they used to: m < 1
    smoother    they differ less: m > 1
    even        neither: m = 1
    non-finite  NaN or infinity, or a mean of 0: × .8
    ==========  =============================================================

    Args:
        optimizer: Any torch optimizer.
        preset: "published" takes the absolute variance and the chapter's formula to the letter.
        beta: β; the chapter's .99.
        target_beta: β_u; the chapter gives none.
        start: How averages start: "unbiased" (default of the corrected preset), "first" (of the published one) or
            "zero".
        eps: ε.
        interval: Optimizer steps between observations by :meth:`probe`; :meth:`observe` takes any.
        warmup: Optimizer steps before the first one by :meth:`probe`.
        min_ratio: Smallest m, one number or one per group; the chapter gives none.
        max_ratio: Largest m, likewise.
        inner: Any torch scheduler of the same optimizer.
        history_size: How many decisions to keep.
        on_error: "raise" what a probe raises, or "skip" the probe; see :class:`LandscapeLR`.
        last_epoch: As in torch.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> import torch
        >>> scheduler = RiverLR(torch.optim.SGD([torch.zeros(1)], lr=0.1), beta=0.5)
        >>> for losses in ([1.0, 3.0], [2.0, 2.0]):  # Var/L̄² = ¼, then 0
        ...     decision = scheduler.observe(torch.tensor(losses))
        >>> decision.reason, round(scheduler.factors[0], 4)
        ('smoother', 1.9995)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        preset: Preset = "corrected",
        beta: float = 0.99,
        target_beta: float = 0.999,
        start: Start | None = None,
        eps: float = 1e-8,
        interval: int = 1,
        warmup: int = 0,
        min_ratio: Bound = 0.2,
        max_ratio: Bound = 2.0,
        inner: LRScheduler | None = None,
        history_size: int = 10_000,
        on_error: OnError = "raise",
        last_epoch: int = -1,
    ) -> None:
        if preset not in get_args(Preset):
            raise ValueError(f"preset must be 'corrected' or 'published', got {preset!r}")
        if start is None:
            start = "unbiased" if preset == "corrected" else "first"
        if start not in get_args(Start):
            raise ValueError(f"start must be one of {', '.join(get_args(Start))}, or None, got {start!r}")
        for name, value in (("beta", beta), ("target_beta", target_beta)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
        if not (math.isfinite(eps) and eps > 0):
            raise ValueError(f"eps must be positive and finite, got {eps}")
        self.preset: str = preset
        self.beta = beta
        self.target_beta = target_beta
        self.start: str = start
        self.eps = eps
        self._rough = 0.0
        self._target = 0.0
        self._seen = 0
        super().__init__(
            optimizer,
            interval=interval,
            warmup=warmup,
            min_ratio=min_ratio,
            max_ratio=max_ratio,
            inner=inner,
            history_size=history_size,
            on_error=on_error,
            last_epoch=last_epoch,
        )

    def measure(self, closure: Callable[[], Tensor]) -> RiverMeasurement:
        """Compute mean and variance of losses.

        Args:
            closure: Returns the losses of single examples, shape (N,), best those that training has just computed:
                ``lambda: losses``. A forward pass in it counts as the user's own, with all that it does to buffers.

        Returns:
            The measurement; under torch.distributed that of all ranks' examples.
        """
        return measure_examples(closure)

    def observe(self, measurement: RiverMeasurement | Tensor) -> Decision:
        """Update the factor by a batch, and record why; the next ``step()`` applies it.

        Args:
            measurement: The losses of single examples, shape (N,), or their mean and population variance. Under
                torch.distributed, losses are pooled over ranks; a mean and a variance must be the same on every rank.

        Returns:
            The record that was added to ``history``.

        Raises:
            TypeError: If it is neither.
        """
        given = measurement
        if isinstance(given, Tensor):
            return super().observe(self.measure(lambda: given))
        if not isinstance(given, RiverMeasurement):
            raise TypeError(
                "measurement must be the losses of single examples, a torch.Tensor of shape (N,), or a "
                f"RiverMeasurement of their mean and variance, got {given!r:.80} ({type(given).__name__})"
            )
        return super().observe(RiverMeasurement(float(given.mean), float(given.variance)))

    def finite(self, measurement: RiverMeasurement) -> bool:
        """Tell whether a measurement can be decided upon.

        Args:
            measurement: What :meth:`measure` returned.

        Returns:
            Whether its numbers, and the roughness they give, are finite.
        """
        return super().finite(measurement) and math.isfinite(self._roughness(measurement))

    def decide(self, measurement: RiverMeasurement) -> str:
        """Average the roughness and compare.

        Args:
            measurement: What :meth:`measure` returned.

        Returns:
            The reason.
        """
        self._seen += 1
        self._rough = self._averaged(self._rough, self._roughness(measurement), self.beta)
        rough = self._rough / self._weight(self.beta)
        self._target = self._averaged(self._target, rough, self.target_beta)
        target = self._target / self._weight(self.target_beta)
        multiplier = (target + (0.0 if self.preset == "published" else self.eps)) / (rough + self.eps)
        self.assign(multiplier)
        if math.isclose(multiplier, 1.0):
            return "even"
        return "smoother" if multiplier > 1 else "rougher"

    def _roughness(self, measurement: RiverMeasurement) -> float:
        return measurement.variance if self.preset == "published" else measurement.relative_variance

    def _averaged(self, average: float, value: float, beta: float) -> float:
        if self.start == "first" and self._seen == 1:
            return value
        return beta * average + (1 - beta) * value

    def _weight(self, beta: float) -> float:
        return 1 - beta**self._seen if self.start == "unbiased" else 1.0
