"""What all schedulers share that follow the Hessian: what is measured and when, and the edge that rates stay below."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypedDict

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..landscape.hvp import HessianOptions, Mode
from ..landscape.kappa import KappaMethod
from ..landscape.modes import BatchNorm
from ..landscape.parameters import ParameterChoice, movable, repeatable
from .checks import Bound, OnError
from .curvature_checks import check_curvature
from .curvature_measurement import SharpnessMeasurement, measure_kappa, measure_sharpness, shares
from .limited import LimitedLR
from .ownership import warn_of_strangers

Criterion = Literal["sharpness", "kappa"]
INTERVAL = 200  # a probe costs 4 to 9 training steps: measured
SMOOTHING: dict[Criterion, float] = {"sharpness": 0.8, "kappa": 0.9}


class CurvatureOptions(TypedDict, total=False):
    """Options of every scheduler that follows the Hessian; see :class:`CurvatureLR`."""

    criterion: Criterion
    margin: float
    smoothing: float | None
    tolerance: float
    max_hvps: int
    method: KappaMethod
    parameters: ParameterChoice
    batch_norm: BatchNorm
    mode: Mode
    seed: int
    interval: int | None
    warmup: int
    min_ratio: Bound
    max_ratio: Bound
    inner: LRScheduler | None
    history_size: int
    on_error: OnError
    last_epoch: int


class CurvatureLR(LimitedLR):
    r"""Base of schedulers that follow the largest eigenvalue of the Hessian, or the paper's κ.

    **criterion="sharpness".** Measured is λ_max(P⁻¹H), the sharpness as the optimizer feels it, by Lanczos from the
    eigenvector found last and the gradient. On a quadratic the optimizer diverges beyond the rate c/λ_max, the edge of
    stability (Cohen et al. 2021, arXiv:2103.00065; with P of Adam and kin 2022, arXiv:2207.14484). No rate exceeds

        margin·c/s,   s ← max(λ, s^w·λ^{1−w}),   w = ``smoothing``,

    with λ the upper end of what is known, Ritz value + residual: a sharper loss counts at once, a flatter one little by
    little, but at once in the first ``interval`` steps, in which sharpness falls by orders of magnitude. Whatever an
    ``inner`` scheduler does between two probes, this limit holds at every step; a lower rate is set at once, not at the
    next ``step()``, where nobody else has changed the rates meanwhile. Groups keep the proportions that they had when
    it was measured.

    **criterion="kappa".** κ = |H|/(|g|² + 1e-8) and the rules of the draft "Homotopy learning rates" (2026), as
    published. κ has the unit of 1/loss: a loss ten times as large has a tenth of it.

    A subclass says what follows: :meth:`decide_sharpness` and :meth:`decide_kappa` call :meth:`keep_below_edge` and
    :meth:`want`.

    Args:
        optimizer: For "sharpness" one whose edge is known: SGD, Adam, AdamW, NAdam, Adamax, RMSprop, Adagrad.
        model: The model that it trains; closures must call this very module or a wrapper of it.
        criterion: "sharpness" or "kappa".
        margin: Share of the edge that rates may reach. The edge is where a quadratic diverges; real losses, far from
            quadratic at such steps, suffered well below it where this was tried, see the documentation.
        smoothing: w above; for "kappa" the weight of the past in its average. By default .8 and .9.
        tolerance: Residual at which the eigenvalue counts as found, relative to it.
        max_hvps: Products of a probe at most.
        method: How κ is measured; see :func:`lrscape.landscape.kappa`.
        parameters: Restricts what counts; see :func:`lrscape.landscape.random_directions`.
        batch_norm: BatchNorm policy of probes; "batch" is how the training loss is computed.
        mode: How Hessian-vector products are computed; see :func:`lrscape.landscape.hessian`.
        seed: Random vectors are drawn from (seed, number of the probe).
        interval: Optimizer steps between probes; by default 200 for "sharpness", for "kappa" the published number.
        warmup: Optimizer steps before the first probe. With 0 and "sharpness" the first one is due at once, before the
            first step, and two more after a sixteenth and a quarter of ``interval``.
        min_ratio: Lower bound of the factor, one number or one per group.
        max_ratio: Upper bound; above 1 for rates that climb beyond the optimizer's own, up to the edge.
        inner: Any torch scheduler that sets the plain rates.
        history_size: How many decisions to keep.
        on_error: "raise" what a probe raises, or "skip" the probe; see :class:`LandscapeLR`.
        last_epoch: As in torch.

    Raises:
        TypeError: If the model is not a module or the optimizer is none.
        ValueError: If an option is unknown or out of range, the model has nothing to move, or the optimizer's edge is
            not known.
    """

    _not_saved = LimitedLR._not_saved | {"_parameters"}

    probes_first: ClassVar[bool] = True  # the first probe protects the first step
    published_interval: ClassVar[int] = 1

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module,
        *,
        criterion: Criterion = "sharpness",
        margin: float = 0.25,
        smoothing: float | None = None,
        tolerance: float = 0.3,
        max_hvps: int = 6,
        method: KappaMethod = "hutchinson",
        parameters: ParameterChoice = None,
        batch_norm: BatchNorm = "batch",
        mode: Mode = "auto",
        seed: int = 0,
        interval: int | None = None,
        warmup: int = 0,
        min_ratio: Bound = 1e-12,
        max_ratio: Bound = 1.0,
        inner: LRScheduler | None = None,
        history_size: int = 10_000,
        on_error: OnError = "raise",
        last_epoch: int = -1,
    ) -> None:
        check_curvature(optimizer, criterion, margin, smoothing, tolerance, max_hvps, method, batch_norm, mode)
        self._parameters = repeatable(parameters)
        movable(model, self._parameters)
        warn_of_strangers(optimizer, model)
        self.model = model
        self.criterion: Criterion = criterion
        self.margin = margin
        self.smoothing = SMOOTHING[criterion] if smoothing is None else smoothing
        self.tolerance = tolerance
        self.max_hvps = max_hvps
        self.method: KappaMethod = method
        self.batch_norm: BatchNorm = batch_norm
        self.mode: Mode = mode
        self.seed = seed
        self._probes = 0
        self._vector: Tensor | None = None
        self._sharpness: float | None = None
        usual = INTERVAL if criterion == "sharpness" else self.published_interval
        super().__init__(
            optimizer,
            interval=usual if interval is None else interval,
            warmup=warmup,
            min_ratio=min_ratio,
            max_ratio=max_ratio,
            inner=inner,
            history_size=history_size,
            on_error=on_error,
            last_epoch=last_epoch,
        )

    # What a subclass says

    @abstractmethod
    def decide_sharpness(self, measurement: Any) -> str:
        """Decide by the sharpness, which is positive.

        Args:
            measurement: What was measured.

        Returns:
            The reason.
        """

    @abstractmethod
    def decide_kappa(self, measurement: Any) -> str:
        """Decide by κ, as published.

        Args:
            measurement: What was measured.

        Returns:
            The reason.
        """

    # Measuring

    @property
    def hessian_options(self) -> HessianOptions:
        """Options of :func:`lrscape.landscape.hessian`."""
        return {"parameters": self._parameters, "batch_norm": self.batch_norm, "mode": self.mode}

    def awaits_probe(self) -> bool:
        """Tell whether :meth:`probe` would measure now; see ``interval`` and ``warmup``.

        Returns:
            Whether it is time, and nobody has taken the turn since the latest optimizer step.
        """
        early = self._asked < 0 or self._steps in {self.interval >> 4, self.interval >> 2}
        if self.criterion == "kappa" or self.warmup > 0 or not early:
            return super().awaits_probe()
        return self._steps != self._asked

    def measure(self, closure: Callable[[], Tensor]) -> Any:
        """Measure the sharpness or κ at the current parameters, leaving no trace.

        Args:
            closure: Returns the loss as a 0-d tensor and does nothing else.

        Returns:
            A ``SharpnessMeasurement`` or a ``KappaMeasurement``.
        """
        seed = (self.seed, self._probes)
        if self.criterion == "kappa":
            found = measure_kappa(self.model, closure, method=self.method, seed=seed, **self.hessian_options)
            self._probes += 1
            return found
        sharp, vector = measure_sharpness(
            self.model,
            closure,
            self.measured_optimizer,
            tolerance=self.tolerance,
            max_hvps=self.max_hvps,
            start=self._vector,
            seed=seed,
            **self.hessian_options,
        )
        self._probes += 1
        if self.finite(sharp):
            self._vector = vector
        return sharp

    # Deciding

    def decide(self, measurement: Any) -> str:
        """Decide by the criterion; without upward curvature there is no edge, and everything stays.

        Args:
            measurement: What :meth:`measure` returned.

        Returns:
            The reason.
        """
        if self.criterion == "kappa":
            return self.decide_kappa(measurement)
        return "saddle" if measurement.sharpness <= 0 else self.decide_sharpness(measurement)

    @property
    def memory(self) -> float:
        """The weight w at present: 0 in the first ``interval`` steps."""
        return self.smoothing if self._steps >= self.interval else 0.0

    def edge_rate(self, sharpness: float, edge: float) -> float:
        """Take a sharpness into s, and say what it allows.

        Args:
            sharpness: λ, positive.
            edge: c.

        Returns:
            margin·c/s, the largest rate, for the group with the largest one.
        """
        past = sharpness if self._sharpness is None else self._sharpness
        self._sharpness = max(sharpness, past**self.memory * sharpness ** (1 - self.memory))
        return self.margin * edge / self._sharpness

    def keep_below_edge(self, measurement: SharpnessMeasurement) -> None:
        """Limit the rates from now on, in the proportions that they have.

        Args:
            measurement: What was measured; its sharpness is positive.
        """
        largest = self.edge_rate(measurement.sharpness + measurement.residual, measurement.edge)
        self._limits = [largest * share for share in shares(self.optimizer, measurement.rate)]
