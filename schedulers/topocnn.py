"""TopoCNNLR: a small network reads the topology of random planes and steers the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..landscape import grid
from ..landscape.engines import Engine
from ..landscape.modes import BatchNorm
from ..landscape.parameters import ParameterChoice, movable, repeatable
from .base import BRAKE
from .checks import Bound, OnError
from .plane import PlaneLR
from .topo import published_rule
from .topocnn_measurement import TopoCNNMeasurement, read_probe
from .topocnn_network import TopoCNN
from .topocnn_regimes import CORRECTED, PUBLISHED, corrected_label, published_label
from .topocnn_surfaces import rehearsal
from .topocnn_trainer import OnlineTrainer


class TopoCNNLR(PlaneLR):
    """Steer the learning rate by a small network that reads persistence images of the loss on a random plane.

    Every ``interval`` steps the loss is evaluated on a grid of a fresh filter-normalised random plane. Its persistence
    image goes to :class:`TopoCNN`, which names one of several regimes, and η ← clip(η·ρ, η⁰·min_ratio, η⁰·max_ratio)
    with the regime's factor ρ. Each probe is also labelled by a rule and kept, and the network is trained on what was
    kept: at 100 probes, and after every 25 more.

    **preset="published".** TopoAdamW with TopoCNN (Peng, 2026 draft, section 3.4; code topoadamw 0.1.0) as its code
    does it: a 7×7 grid over ±.12, 1-D parameters move too, H0 in both channels, three regimes (1.15, 1, .85), a fresh
    network, and :func:`published_rule` until its first training. A factor within .05 of 1 is not applied (of the five
    that exist this spares 1 only: 1 − .95 exceeds .05 in floating point). The loss's average takes the new loss in
    *before* the divergence brake compares.

    **Corrected (default).** It differs in this:

    - H0 and H1 have a channel each, brightness is absolute, and ratios up to 50 are told apart (published: 5);
    - five regimes with all the factors of Eq. 4, see :func:`~lrscape.schedulers.topocnn_regimes.corrected_label`;
    - a 15×15 grid, for whose step Eq. 4 has its thresholds; on other grids sharpness is converted to that step;
    - 1-D parameters do not move (Li et al. 2018);
    - the network sees where in the image a pair stands, starts from :meth:`TopoCNN.pretrained`, so that it decides from
      the first probe on, and rehearses all regimes when it trains;
    - the brake compares first, and min_ratio is .05 (published: .2).

    A probe that is not finite anywhere decelerates and is never learned from, in both presets.

    225 points are many: every 200 steps, on the whole batch, they cost two fifths of training. The closure says on what
    data: ``lambda: criterion(model(x[:32]), y[:32])`` makes a 15×15 grid about as dear as 7×7 on a batch of 128.
    Topology does not average noise out, but all points see the same examples.

    What it cannot do: the labels are a rule's, so the network is at best as good as the rule, of whose numbers it sees
    the image only: of a single pair, the lowest and the highest loss. It tells five regimes of synthetic surfaces apart
    84 times in 100, and takes a quarter of the moderately sharp for very sharp. On planes of four kinds of trained
    networks (``benchmarks/topocnn_pairs.py``) there was, rounding apart, one basin and no loop, at 7×7 as at 31×31;
    ``basins`` and ``loops`` in the history say what yours have. Then :class:`TopoLR` learns more from nine points.
    Sharpness is relative to the loss; and with max_ratio = 1, accelerating can only undo earlier cuts.

    Learning rates with the published preset, peak 1e-3, if the probes find these:

        ====================  ==========  ==========  =============  =========
        probe                 sharpness   variance    said by        rate
        ====================  ==========  ==========  =============  =========
        step 200              .60         .10         rule, ×.80     8.000e-4
        step 250              .30         .10         rule, ×.95     7.600e-4
        step 6,000 and later  .30         .10         network, ×.85  6.460e-4
        ====================  ==========  ==========  =============  =========

    Args:
        optimizer: Any torch optimizer.
        model: The model whose parameters move; closures must call this very module or a wrapper of it.
        preset: "corrected" or "published".
        interval: Optimizer steps between probes; by default 200 (corrected) or 50 (published).
        warmup: Optimizer steps before the first probe.
        span: Half the width of the grid, in units of the directions.
        grid_size: Points along each axis, odd; by default 15 (corrected) or 7 (published).
        bias: What becomes of 1-D parameters in the directions; by default "zero" (corrected) or "match" (published).
        seed: Directions are drawn from (seed, number of the probe), a fresh network from the seed.
        brake: Loss over its average beyond which the corrected form decelerates by .8; infinity switches it off.
        min_samples: Probes before the first training.
        retrain_every: Probes between trainings.
        train_steps: Steps of Adam in each training.
        buffer_capacity: Probes kept; 20 kB each, in the state as well.
        min_ratio: Lower bound of the factor, one number or one per group; by default .05 (corrected) or .2
            (published).
        max_ratio: Upper bound.
        parameters: Restricts what moves; see :func:`lrscape.landscape.random_directions`.
        engine: See :func:`lrscape.landscape.evaluate`.
        batch_norm: Likewise.
        inner: Any torch scheduler that sets the plain rates.
        history_size: How many decisions to keep.
        on_error: "raise" what a probe raises, or "skip" the probe; see :class:`LandscapeLR`.
        last_epoch: As in torch.

    Raises:
        TypeError: If the model is not a module.
        ValueError: If an option is unknown or out of range, or the model has nothing to move.

    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> scheduler = TopoCNNLR(optimizer, model, interval=1, warmup=0)
        >>> optimizer.step()
        >>> decision = scheduler.probe(lambda: model.weight.square().sum() * 0 + 1)
        >>> decision.reason, decision.measurement["basins"]  # a constant loss
        ('flat', 1.0)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module,
        *,
        preset: Literal["corrected", "published"] = "corrected",
        interval: int | None = None,
        warmup: int = 150,
        span: float = 0.12,
        grid_size: int | None = None,
        bias: Literal["zero", "match"] | None = None,
        seed: int = 0,
        brake: float = 2.0,
        min_samples: int = 100,
        retrain_every: int = 25,
        train_steps: int = 20,
        buffer_capacity: int = 500,
        min_ratio: Bound | None = None,
        max_ratio: Bound = 1.0,
        parameters: ParameterChoice = None,
        engine: Engine = "auto",
        batch_norm: BatchNorm = "eval",
        inner: LRScheduler | None = None,
        history_size: int = 10_000,
        on_error: OnError = "raise",
        last_epoch: int = -1,
    ) -> None:
        published = preset == "published"
        self.grid_size = (7 if published else 15) if grid_size is None else grid_size
        grid(self.grid_size, span)  # rejects bad numbers now rather than at the first probe
        parameters = repeatable(parameters)
        device = movable(model, parameters)[0].parameter.device
        self._trainer = OnlineTrainer(
            TopoCNN.from_seed(seed) if published else TopoCNN.pretrained(),
            torch.device("cpu") if device.type == "meta" else device,
            ready=not published,
            rehearsal=None if published else rehearsal,
            min_samples=min_samples,
            retrain_every=retrain_every,
            train_steps=train_steps,
            capacity=buffer_capacity,
        )
        super().__init__(
            optimizer,
            model,
            preset=preset,
            span=span,
            bias=bias,
            seed=seed,
            brake=brake,
            parameters=parameters,
            engine=engine,
            batch_norm=batch_norm,
            interval=(50 if published else 200) if interval is None else interval,
            warmup=warmup,
            min_ratio=min_ratio,
            max_ratio=max_ratio,
            inner=inner,
            history_size=history_size,
            on_error=on_error,
            last_epoch=last_epoch,
        )

    _not_saved = PlaneLR._not_saved | {"_trainer"}

    @property
    def network(self) -> TopoCNN:
        """The network that decides."""
        return self._trainer.network

    def measure(self, closure: Callable[[], Tensor]) -> TopoCNNMeasurement:
        """Probe a grid on a random plane through the current parameters.

        Args:
            closure: Returns the loss as a 0-d tensor and does nothing else.

        Returns:
            The measurement, with its image if all losses are finite.
        """
        surface = self.measure_plane(closure, grid(self.grid_size, self.span))
        return read_probe(surface, published=self.preset == "published")

    def decide(self, measurement: TopoCNNMeasurement) -> str:
        """Learn from the probe, ask the network, and update the factor.

        Args:
            measurement: What :meth:`measure` found. One without an image is left to the rule, and not learned from.

        Returns:
            The regime. Words of the rule are marked "(rule)".
        """
        published = self.preset == "published"
        label = self._label(measurement)
        said: int | None = None
        if measurement.image is not None:
            self._trainer.add(measurement.image, label)
            said = self._trainer.predict(measurement.image)
        if said is not None:
            regime = (PUBLISHED if published else CORRECTED)[said]
            factor, reason = regime.factor, regime.name
        elif published:
            factor, reason = published_rule(measurement.sharpness, measurement.variance)
            reason += " (rule)"
        else:
            factor, reason = CORRECTED[label].factor, f"{CORRECTED[label].name} (rule)"
        if self.diverging(measurement.loss):
            factor, reason = BRAKE, "brake"
        if not published or abs(factor - 1) > 0.05:
            self.scale(factor)
        return reason

    def _label(self, measurement: TopoCNNMeasurement) -> int:
        if self.preset == "published":
            return published_label(measurement.sharpness, measurement.variance)
        return corrected_label(measurement.sharpness, measurement.variance, measurement.barrier)

    def state_dict(self) -> dict[str, Any]:
        """Give the state, with the network, its optimizer's state, and the probes kept.

        Returns:
            What ``torch.load(weights_only=True)`` accepts.
        """
        return {**super().state_dict(), "trainer": self._trainer.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state; load the optimizer's as well.

        Args:
            state_dict: What :meth:`state_dict` gave.

        Raises:
            ValueError: If it comes from a scheduler of another shape or preset.
        """
        state = dict(state_dict)
        if "trainer" not in state:
            raise ValueError("this is not a state of TopoCNNLR: trainer missing; pass what its state_dict() returned")
        self._check_state(state)  # before anything changes
        self._trainer.restore(state.pop("trainer"))
        super().load_state_dict(state)
