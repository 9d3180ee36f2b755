"""ValleyLR: a learning rate found while training, and averaged weights that are good at any time."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..landscape.modes import BatchNorm
from ..landscape.parameters import ParameterChoice
from .averaged import AveragedLR
from .averages import RunningAverage
from .base import BRAKE, has_begun
from .checks import Bound, OnError
from .history import Decision
from .immediate import holds_rates, write_now
from .segment import ValleyMeasurement
from .valley_checks import check_ends, reference_rate
from .valley_pace import newest_weight, probe_period, steps_left
from .valley_theory import retreat, smoothing_weight, window_weight

FIRST = 4  # probes at the lowest rates: they tell the start's loss, and heights above 0 are rounding there
EMA = 0.2  # weight of the newest loss in the divergence brake's average


class ValleyLR(AveragedLR):
    """Find the learning rate while training; needs neither a rate nor a number of steps.

    **Ascend, step back, average.** The rate starts at ``start`` whatever the optimizer was given (ratios between groups
    stay) and is multiplied by ρ = ``growth`` at each step. θ̄ is a running average of the weights with weight
    w = 2·ln ρ. Each probe measures the height h = L(θ) − L(θ̄) on a batch not yet trained on: two forward passes.
    While the iterate travels along the valley the average lags behind and h < 0; when noise across the valley outweighs
    the progress, h > 0. With h ← (1 − 2w)·h + 2w·(newest), at the first h > 0 the rate is divided by 2·e^¼ and stays:
    under constant noise and slope the rate of fastest progress per step, at any speed of growth.
    :func:`~lrscape.schedulers.valley_theory.coefficients` derives why growth and window belong together. A smoothed
    height counts as positive above the largest of the first four, which are rounding. The ascent is Adam's
    second-moment warmup as well. The river-valley picture is Wen et al. 2024, arXiv:2410.05192.

    **The average is the model.** From the turn on, the same average takes iterates with weight 1/(1/w + α·t), t steps
    after the turn, so it reaches over a fixed share of them (Shamir and Zhang 2013, arXiv:1212.1824). Read it at any
    time by :meth:`averaged` or :meth:`averaged_state_dict`. Memory: one copy of parameters and buffers, another one
    during a probe, and a third one during the ascent with ``rewind``.

    **Afterwards** the rate is held; probes become rare (at most 4 per doubling of the steps) and only guard: a loss
    above ``brake`` times both its average over past probes and the loss of θ̄ on the same batch multiplies the rate by
    .8. With ``total_steps`` the rate falls linearly to zero in the last ``decay`` of them, and the average narrows to
    the last iterate.

    The natural place of :meth:`probe` is before the forward pass, with the batch just drawn: on a batch already trained
    on, h is biased towards growing. The ascent stops, too, when the smoothed loss exceeds ``brake`` times the loss of
    the first four probes; with ``rewind`` the next ``step()`` then puts the start weights back.

    ==========  =============================================
    reason      what it means
    ==========  =============================================
    ascent      h ≤ 0: the rate goes on growing
    turn        h > 0: the rate is divided by 2·e^¼ and held
    hold        a rare probe found nothing to do
    brake       the loss is far above where it was
    non-finite  NaN or infinity; ends the ascent
    ==========  =============================================

    In a SequentialLR ascent and average begin with its own part; ``total_steps`` counts all steps.

    Args:
        optimizer: Any torch optimizer.
        model: The model that it trains; closures must call this very module or a wrapper of it.
        start: Rate of the first step, for the group with the largest rate; None starts at the optimizer's own rates.
        growth: ρ, factor on the rate per step during the ascent.
        alpha: α, how fast the average's window grows after the turn: it reaches over a share of about α of the steps.
        brake: See above; infinity switches it off.
        rewind: Return to the start weights if the ascent ends by the brake, as a bad start for fine-tuning does. Off by
            default: a scheduler is not expected to write weights.
        total_steps: Optimizer steps in all, if you know them.
        decay: Share of ``total_steps`` in which the rate falls to zero.
        parameters: Restricts what is averaged; see :func:`lrscape.landscape.random_directions`.
        batch_norm: BatchNorm policy of probes.
        interval: Optimizer steps between probes during the ascent.
        warmup: Optimizer steps before the first probe.
        min_ratio: Lower bound of the factor on the plain rate, one number or one per group.
        max_ratio: Upper bound, likewise.
        inner: Any torch scheduler of the same optimizer; only its shape matters, see ``start``.
        history_size: How many decisions to keep.
        on_error: "raise" what a probe raises, or "skip" the probe; see :class:`LandscapeLR`.
        last_epoch: As in torch.

    Raises:
        TypeError: If the model is not a module.
        ValueError: If an option is out of range, the optimizer's rates are all zero, or nothing can be averaged.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1)
        >>> scheduler = ValleyLR(torch.optim.SGD(model.parameters(), lr=123.0), model)
        >>> scheduler.get_last_lr()
        [1e-05]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module,
        *,
        start: float | None = 1e-5,
        growth: float = 1.2,
        alpha: float = 0.12,
        brake: float = 2.0,
        rewind: bool = False,
        total_steps: int | None = None,
        decay: float = 0.2,
        parameters: ParameterChoice = None,
        batch_norm: BatchNorm = "batch",
        interval: int = 1,
        warmup: int = 3,
        min_ratio: Bound = 1e-15,
        max_ratio: Bound = 1e15,
        inner: LRScheduler | None = None,
        history_size: int = 10_000,
        on_error: OnError = "raise",
        last_epoch: int = -1,
    ) -> None:
        check_ends(start, alpha, brake, total_steps, decay)
        self.start = start
        self.growth = growth
        self.alpha = alpha
        self.brake = brake
        self.rewind = rewind
        self._total_steps = total_steps  # private, since Accelerate takes a total_steps for the most calls of step()
        self.decay = decay
        self._weight = window_weight(growth)
        self._smoothing = smoothing_weight(growth)
        self._climbing = True
        self._returning = False
        self._turned = 0  # optimizer steps at the turn
        self._taken = 0  # optimizer steps that average and growth have seen
        self._probes = 0
        self._height = 0.0
        self._loss = 0.0  # smoothed loss of the iterate
        self._first_loss = 0.0
        self._rounding = 0.0
        super().__init__(
            optimizer,
            model,
            parameters=parameters,
            batch_norm=batch_norm,
            interval=interval,
            warmup=warmup,
            min_ratio=min_ratio,
            max_ratio=max_ratio,
            inner=inner,
            history_size=history_size,
            on_error=on_error,
            last_epoch=last_epoch,
        )
        if rewind:
            self._start_weights = RunningAverage(model, self._parameters)
        if start is not None:
            self.assign(start / reference_rate(optimizer))
            write_now(self)

    # What a probe finds and what follows

    @property
    def climbing(self) -> bool:
        """Whether the rate still grows."""
        return self._climbing

    def awaits_probe(self) -> bool:
        """Tell whether :meth:`probe` would measure now; once the rate is held, the interval doubles again and again.

        Returns:
            Whether it is time, and nobody has taken the turn since the latest optimizer step; never before the
            scheduler's own part of a SequentialLR.
        """
        if not has_begun(self) or self._steps - self._begun <= self.warmup:
            return False
        period = probe_period(self.interval, self._steps, self._climbing)
        return self._steps % period == 0 and super().awaits_probe()

    def observe(self, measurement: ValleyMeasurement) -> Decision:
        """Update the factor by a measurement, and record why.

        Args:
            measurement: What :meth:`measure` found.

        Returns:
            The record that was added to ``history``.
        """
        self._take()
        climbing, ours = self._climbing, holds_rates(self)
        if climbing and not self.finite(measurement):
            self._turn()
        decision = super().observe(measurement)
        if climbing and not self._climbing and ours:
            write_now(self)  # another step at a rate known to be too high would cost what the average has gained
        return decision

    def decide(self, measurement: ValleyMeasurement) -> str:
        """Go on climbing, turn, hold or brake.

        Args:
            measurement: What :meth:`measure` found.

        Returns:
            The reason.
        """
        return self._decide_climbing(measurement) if self._climbing else self._decide_holding(measurement)

    def _decide_climbing(self, found: ValleyMeasurement) -> str:
        self._probes += 1
        if self._probes == 1:
            self._height, self._loss = found.height, found.loss
        else:
            self._height += self._smoothing * (found.height - self._height)
            self._loss += self._smoothing * (found.loss - self._loss)
        if self._probes <= FIRST:
            self._first_loss += found.loss / FIRST
            self._rounding = max(self._rounding, found.height)
            return "ascent"
        if self._beyond(self._loss, self._first_loss):
            self._turn()
            self._returning = self.rewind
            return "brake"
        if self._height > self._rounding:
            self._turn()
            return "turn"
        return "ascent"

    def _decide_holding(self, found: ValleyMeasurement) -> str:
        far = self._beyond(found.loss, self._loss) and self._beyond(found.loss, found.average_loss)
        self._loss += EMA * (found.loss - self._loss)
        if far:
            self.scale(BRAKE)
        return "brake" if far else "hold"

    def _beyond(self, loss: float, reference: float) -> bool:
        return loss - reference > (self.brake - 1) * abs(reference)

    def _turn(self) -> None:
        self._climbing = False
        self._turned = self._steps
        self.scale(1 / retreat())

    # What an optimizer step does

    def step(self, epoch: int | None = None) -> None:
        """Take the optimizer's step into the average and set the rates, as any torch scheduler does.

        Args:
            epoch: As in torch.
        """
        self._take()
        if self._returning and self._start_weights is not None:
            self._start_weights.write()
            self._average.update(1.0)
            self._returning = False
        if not self._climbing:
            self._start_weights = None  # another copy that is not needed any more
        super().step(epoch)

    def _take(self) -> None:
        """Let average and growth see the latest optimizer step, once, whichever of probe and step() comes first."""
        if self._steps <= max(self._taken, self._begun) or not has_begun(self):
            return
        self._taken = self._steps
        since = self._steps - self._turned
        weight = self._weight if self._climbing else newest_weight(self._weight, self.alpha, since)
        left = steps_left(self._total_steps, self._steps, self.decay)
        if left is not None:
            if self._climbing:
                self._climbing, self._turned = False, self._steps
            weight = max(weight, 1 / (left + 1))
            self.scale(left / (left + 1) if left else 1.0)
        elif self._climbing:
            self.scale(self.growth)
        self.take_in(weight)
