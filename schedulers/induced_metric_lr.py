"""InducedMetricLR: the induced metric's factor for any optimizer."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..landscape.closure import check_scalar
from ..landscape.ranks import Ranks
from .base import LandscapeLR, has_begun
from .checks import Bound, OnError
from .gradient_measurement import GradientLossMeasurement, GradientMeasurement, gradients_of, squared_gradient
from .history import Decision
from .immediate import write_now
from .induced_metric import Embedding, agreed_loss, check_metric, metric_factor, read_loss
from .skipped_steps import skips_step


class InducedMetricLR(LandscapeLR):
    """Multiply every learning rate by the induced metric's factor, from gradients and loss alone.

    With T = ξ·Σg² over all parameter groups, S ← b·S + (1 − b)·T and Ŝ = S/(1 − b^k) after k observations, each rate is
    its plain value times c(Ŝ), see :func:`~lrscape.schedulers.induced_metric.metric_factor`: 1/(1 + Ŝ), or with the
    loss L/(L² + Ŝ) and 2√L/(4L + Ŝ). It is a smooth kind of gradient clipping, needs no model and no pass of its own.

    It reads gradients just before each optimizer step, after any unscaling and clipping, and that very step takes the
    new rate. The loop stays as it is::

        scheduler = InducedMetricLR(optimizer)
        ...
        loss.backward()
        scheduler.use_loss(loss)     # with embedding="log" or "sqrt"
        optimizer.step()
        scheduler.step()

    With automatic=False nothing happens at optimizer steps: :meth:`probe` reads the gradients that are there, calls the
    closure for the loss, and the rates change at the next ``step()``.

    Source: Harvey 2025, arXiv:2509.03594, for optimizers of its own; applied to any optimizer as its abstract
    suggests, with P = 1: for preconditioned optimizers such as Adam, whose steps hardly depend on the gradient's size,
    S is then that of the plain gradient. With plain SGD and wd = 0 it equals
    :class:`~lrscape.optim.InducedMetricSGD` without momentum.

    Where optimizer steps take a closure, the gradients before the step are those of the step before. In a SequentialLR
    it does nothing outside of its turn.

    Args:
        optimizer: Any torch optimizer.
        xi: ξ ≥ 0.
        beta: b.
        embedding: f: "identity", "log" or "sqrt".
        per_parameter: Take ξ/P for ξ, where P is how many numbers have a gradient, so that one ξ serves models of every
            size.
        automatic: See above.
        interval: Optimizer steps between measurements.
        warmup: Optimizer steps before the first one.
        min_ratio: Lower bound of the factor, one number or one per group.
        max_ratio: Upper bound, likewise.
        inner: Any torch scheduler of the same optimizer.
        history_size: How many decisions to keep.
        on_error: "raise" what a probe raises, or "skip" the probe; see :class:`LandscapeLR`. The same holds for what
            fails at an optimizer step: raised, it stops that step before any weight moves.
        last_epoch: As in torch.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> p = torch.zeros(1, requires_grad=True)
        >>> optimizer = torch.optim.SGD([p], lr=1.0)
        >>> scheduler = InducedMetricLR(optimizer, xi=0.1)
        >>> (10 * p).sum().backward()
        >>> optimizer.step()
        >>> round(p.item(), 4)
        -0.9091
    """

    _not_saved = LandscapeLR._not_saved | {"_reader", "_loss"}

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        xi: float = 0.1,
        beta: float = 0.8,
        embedding: Embedding = "identity",
        per_parameter: bool = False,
        automatic: bool = True,
        interval: int = 1,
        warmup: int = 0,
        min_ratio: Bound = 1e-15,
        max_ratio: Bound = 1e15,
        inner: LRScheduler | None = None,
        history_size: int = 10_000,
        on_error: OnError = "raise",
        last_epoch: int = -1,
    ) -> None:
        check_metric(xi, beta, embedding)
        self.xi = xi
        self.beta = beta
        self.embedding: Embedding = embedding
        self.per_parameter = per_parameter
        self.automatic = automatic
        self._metric = 0.0
        self._seen = 0
        self._loss: tuple[int, Tensor | float] | None = None  # optimizer steps taken before it, and the loss
        self._set_after = -1  # optimizer steps taken when rates were set last
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
        self._reader = self._read_gradients()

    # What it measures and what follows

    def measure(self, closure: Callable[[], Tensor]) -> GradientLossMeasurement:
        """Read the gradients that are there now, and the loss.

        Args:
            closure: Returns the loss as a 0-d tensor, best the one that training has just computed: ``lambda: loss``.
                A forward pass in it counts as the user's own, with all that it does to buffers.

        Returns:
            The measurement; under torch.distributed with the mean loss of all ranks.
        """
        ranks = Ranks()

        @torch.no_grad()
        def here() -> tuple[float, float]:
            return squared_gradient(self.optimizer), check_scalar(closure(), "the closure").item()

        squared, loss = ranks.jointly(here)
        return GradientLossMeasurement(squared, agreed_loss(loss, ranks))

    def decide(self, measurement: GradientMeasurement) -> str:
        """Average the metric and set the factor.

        Args:
            measurement: With the loss, unless the embedding is the identity.

        Returns:
            The reason.

        Raises:
            ValueError: If the loss is missing or negative.
        """
        loss = None
        if self.embedding != "identity":
            loss = getattr(measurement, "loss", None)
            if loss is None or loss < 0:
                raise ValueError(
                    f"embedding={self.embedding!r} needs a loss that is not negative, got {loss}; add a constant to "
                    "it, or use embedding='identity'"
                )
        self._seen += 1
        self._metric = self.beta * self._metric + (1 - self.beta) * self._scale() * measurement.squared_gradient
        self.assign(metric_factor(self._metric / (1 - self.beta**self._seen), self.embedding, loss))
        return "metric"

    def awaits_probe(self) -> bool:
        """Tell whether :meth:`probe` would measure now; never if it is automatic.

        Returns:
            Whether it is time, and nobody has taken the turn since the latest optimizer step.
        """
        return not self.automatic and super().awaits_probe()

    def use_loss(self, loss: Tensor | float) -> None:
        """Say what the loss of the coming optimizer step is; "log" and "sqrt" need it, before each step that measures.

        Args:
            loss: A 0-d tensor or a number; not scaled by a GradScaler.
        """
        self._loss = self._steps, loss.detach() if isinstance(loss, Tensor) else loss

    def _scale(self) -> float:
        if not self.per_parameter:
            return self.xi
        return self.xi / max(1, sum(gradient.numel() for gradient in gradients_of(self.optimizer)))

    # What an optimizer step does

    def _read_gradients(self) -> Any:
        myself = weakref.ref(self)  # the optimizer must not keep its scheduler alive

        def read(*_: object) -> None:
            scheduler = myself()
            if scheduler is not None and scheduler.automatic:
                scheduler._before_step()

        handle = self.optimizer.register_step_pre_hook(read)
        weakref.finalize(self, handle.remove)
        return handle

    def _before_step(self) -> Decision | None:
        number = self._steps + 1
        if number <= self.warmup or number % self.interval or not self._in_turn() or skips_step(self.optimizer):
            return None
        try:
            if not gradients_of(self.optimizer):
                return None
            decision = self.observe(self._read())
        except Exception as error:  # sparse gradients, a loss that is missing, or not what the embedding takes
            return self.skip(error)
        write_now(self)
        return decision

    def _read(self) -> GradientMeasurement:
        """Read gradients and, where it is needed, the loss of the step about to be taken."""
        scale = 1.0
        if getattr(self.optimizer, "grad_scale", None) is not None:  # a fused optimizer unscales within its step
            scale = float(self.optimizer.grad_scale)  # type: ignore[attr-defined]  # set by GradScaler
        measurement = GradientMeasurement(squared_gradient(self.optimizer) / scale / scale)
        if self.embedding == "identity":
            return measurement
        ranks = Ranks()
        loss = ranks.jointly(self._announced)
        return GradientLossMeasurement(measurement.squared_gradient, agreed_loss(loss, ranks))

    def _announced(self) -> float:
        """Read the loss that belongs to the step about to be taken."""
        if self._loss is None or self._loss[0] != self._steps:
            raise ValueError(
                f"embedding={self.embedding!r} needs the loss of each step: call scheduler.use_loss(loss) before "
                "optimizer.step()"
            )
        return read_loss(self._loss[1])

    def _in_turn(self) -> bool:
        """Tell whether the rates are ours to set: we, and not another member of a SequentialLR, set them last."""
        if not has_begun(self):
            return False
        groups = range(len(self._rates.written))
        return self._set_after == self._steps or all(self._rates._untouched(i) for i in groups)

    def _update_lr(self, epoch: int | None = None) -> None:
        super()._update_lr(epoch)
        self._set_after = self._steps

    # Copies

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_reader"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._reader = self._read_gradients()
