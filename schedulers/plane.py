"""What schedulers share that probe random planes: how a plane is drawn and measured, and the divergence brake."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..landscape import LossSurface, Points, random_directions
from ..landscape.closure import Closure
from ..landscape.engines import Engine, check_engine
from ..landscape.modes import BatchNorm, check_batch_norm
from ..landscape.normalisation import check_length
from ..landscape.parameters import ParameterChoice, movable, repeatable
from ..landscape.random_directions import check_moves
from ..landscape.sweep import sweep
from .base import LandscapeLR
from .checks import Bound, OnError
from .ownership import warn_of_strangers

EMA = 0.2  # weight of the newest loss in the average of the divergence brake


class PlaneLR(LandscapeLR):
    """Base of schedulers that measure the loss on a fresh random plane at each probe.

    Args:
        optimizer: Any torch optimizer.
        model: The model whose parameters move.
        preset: "corrected" or "published"; decides the defaults of ``bias`` and ``min_ratio``, and how the brake
            compares.
        span: Half the width of the probed square, in units of the directions.
        bias: What becomes of 1-D parameters in the directions; by default "zero" (corrected) or "match" (published).
        seed: Directions are drawn from (seed, number of the probe).
        brake: Loss over its average beyond which :meth:`diverging` says so; the published preset has 2.
        parameters: Restricts what moves; see :func:`lrscape.landscape.random_directions`.
        engine: See :func:`lrscape.landscape.evaluate`.
        batch_norm: Likewise.
        interval: As in :class:`LandscapeLR`.
        warmup: Likewise.
        min_ratio: Likewise; by default .05 (corrected) or .2 (published).
        max_ratio: Likewise.
        inner: Likewise.
        history_size: Likewise.
        on_error: Likewise.
        last_epoch: As in torch.

    Raises:
        ValueError: If an option is unknown or out of range, or the model has nothing to move.
    """

    _not_saved = LandscapeLR._not_saved | {"_parameters"}

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module,
        *,
        preset: Literal["corrected", "published"],
        span: float,
        bias: Literal["zero", "match"] | None,
        seed: int,
        brake: float,
        parameters: ParameterChoice,
        engine: Engine,
        batch_norm: BatchNorm,
        interval: int,
        warmup: int,
        min_ratio: Bound | None,
        max_ratio: Bound,
        inner: LRScheduler | None,
        history_size: int,
        on_error: OnError,
        last_epoch: int,
    ) -> None:
        if preset not in {"corrected", "published"}:
            raise ValueError(f"preset must be 'corrected' or 'published', got {preset!r}")
        if not brake > 1:
            raise ValueError(f"brake must be above 1, got {brake}")
        check_batch_norm(batch_norm)
        check_engine(engine)
        parameters = repeatable(parameters)
        slots = movable(model, parameters)
        warn_of_strangers(optimizer, model)
        published = preset == "published"
        self.model = model
        self.preset = preset
        self.span = span
        self.bias: Literal["zero", "match"] = ("match" if published else "zero") if bias is None else bias
        check_length("none", self.bias)
        check_moves(slots, self.bias)  # now rather than at the first probe
        self.seed = seed
        self.brake = brake
        self.engine = engine
        self.batch_norm = batch_norm
        self._parameters = parameters
        self._probes = 0
        self._average: float | None = None
        super().__init__(
            optimizer,
            interval=interval,
            warmup=warmup,
            min_ratio=(0.2 if published else 0.05) if min_ratio is None else min_ratio,
            max_ratio=max_ratio,
            inner=inner,
            history_size=history_size,
            on_error=on_error,
            last_epoch=last_epoch,
        )

    @property
    def plane_seed(self) -> tuple[int, int]:
        """Seed of the next plane, so that no random state has to be saved."""
        return self.seed, self._probes

    def measure_plane(self, closure: Closure, points: Points) -> LossSurface:
        """Evaluate the loss on the next plane; the one after it is another, unless the closure raised.

        Args:
            closure: Returns the loss as a 0-d tensor and does nothing else.
            points: Where on the plane.

        Returns:
            The surface.
        """
        directions = random_directions(self.model, 2, bias=self.bias, seed=self.plane_seed, parameters=self._parameters)
        surface = sweep(self.model, closure, directions, points, engine=self.engine, batch_norm=self.batch_norm)
        self._probes += 1
        return surface

    def diverging(self, loss: float) -> bool:
        """Compare a loss with the average of those before, and take it in.

        e ← .2·ℓ0 + .8·e, from the first loss on (Peng, "TopoAdamW", section 3.3, 2026 draft). The published code takes
        the new loss in before it compares with 2·e, which makes its real threshold 2.667 times the previous average.
        Of a negative average the threshold is as far above as of a positive one: e + |e| (the published code has 2·e,
        which every loss near e exceeds).

        Args:
            loss: The newest.

        Returns:
            Whether the divergence brake applies.
        """
        before = self._average
        self._average = loss if before is None else EMA * loss + (1 - EMA) * before
        if self.preset == "published":
            return _far_above(loss, self._average, 2.0)
        return before is not None and _far_above(loss, before, self.brake)


def _far_above(loss: float, average: float, times: float) -> bool:
    """Tell loss > times·average, from its size where the average is negative: twice −1 is not above −1."""
    return loss > average + (times - 1) * abs(average)
