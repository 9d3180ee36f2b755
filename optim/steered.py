"""A mixin that makes any torch optimizer steer its own learning rate by the loss landscape."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..schedulers import Decision, History, LandscapeLR
from ..schedulers.limited import LimitedLR
from ..schedulers.probed_batch import on_batch
from ..schedulers.rates import Rate
from ..schedulers.skipped_steps import skips_step
from ..schedulers.standpoint import check_standpoint
from .steerable import check_steerable

OWN = ("_model", "_shadow", "_controller", "_log")

logger = logging.getLogger("lrscape")


class Steered(Optimizer):
    """Mixin: an optimizer whose steps take plain rate × factor, with a factor measured on the loss landscape.

    θ ← step of the optimizer class with rates η_i·f_i, where η_i is what stands in ``param_groups`` and f_i comes from
    a :class:`~lrscape.schedulers.LandscapeLR`. The factor is in the rates only during the class's own step and taken
    back afterwards, so that torch schedulers, GradScaler, hooks and users see and set plain rates.

    List it before the optimizer class and call :meth:`steer` last in the constructor::

        class TopoSGD(Steered, torch.optim.SGD):
            def __init__(self, params, model, **options):
                super().__init__(params, **options)
                self.steer(model, lambda groups: TopoLR(groups, model))

    Any scheduler will do that works by its probes alone; ValleyLR, CurvatureWarmup, InducedMetricLR, PerLayerHomotopyLR
    and PerLayerTopoLR need the optimizer itself.

    Measure after the step, by ``probe`` or by the arguments of ``step``; a new factor takes effect at the next step.
    Deep copies and pickles carry model and controller; ``state_dict`` carries the controller's state. A CUDA graph
    that captures ``step`` keeps the factor of the moment of capture.
    """

    _model: nn.Module
    _controller: LandscapeLR
    _shadow: Optimizer

    def steer(self, model: nn.Module, make: Callable[[Optimizer], LandscapeLR], *, log: bool = False) -> None:
        """Attach what measures and decides; the constructor calls it once.

        Args:
            model: What ``step`` calls with the data it is given.
            make: Constructs the scheduler for the stand-in optimizer that it is given: one without the parameters,
                which has a group for each of ours. Its rates are ours, now and at the time of each measurement.
            log: Log decisions, at level INFO.

        Raises:
            TypeError: If ``make`` gives something else than a landscape scheduler of that optimizer, or one that does
                more than its probes.
            ValueError: If it needs an edge of stability that is not known of this optimizer.
        """
        # A scheduler writes rates for good and marks the groups of its optimizer, which is what ours must be spared.
        shadow = torch.optim.SGD([_shadow_of(group) for group in self.param_groups], lr=1.0)
        controller = make(shadow)
        if not isinstance(controller, LandscapeLR) or controller.optimizer is not shadow:
            raise TypeError(
                f"make must construct a LandscapeLR with the optimizer it is given, got {type(controller).__name__}"
            )
        check_steerable(controller, self)
        self._model, self._shadow, self._controller, self._log = model, shadow, controller, log

    # Training

    def step(
        self,
        closure: Callable[[], Any] | None = None,
        *,
        data: Any = None,
        target: Any = None,
        criterion: Callable[[Any, Any], Tensor] | None = None,
    ) -> Any:
        """Take a step with the steered rates; given a batch, measure afterwards if it is time.

        Args:
            closure: As torch's: computes the loss and its gradients.
            data: Input of the model. Given all three, ``probe`` is called with ``criterion(model(data), target)``.
            target: Second argument of the criterion.
            criterion: Returns the loss as a 0-d tensor.

        Returns:
            What the optimizer class's own step returns.

        Raises:
            ValueError: If some of data, target and criterion are given, but not all.
        """
        given = {"data": data, "target": target, "criterion": criterion}
        missing = [name for name, value in given.items() if value is None]
        if 0 < len(missing) < len(given):
            raise ValueError(
                f"step needs data, target and criterion to measure, or none of them; {', '.join(missing)} missing. For "
                "losses of another form call probe(lambda: ...) after step()"
            )
        plain = [group["lr"] for group in self.param_groups]
        scaled = [rate if f == 1 else rate * f for rate, f in zip(plain, self.factors, strict=True)]
        for group, rate in zip(self.param_groups, scaled, strict=True):
            group["lr"] = rate
        written = None if closure is None else [_version(rate) for rate in scaled]
        try:
            loss = self._own_step(closure)
        finally:
            for i, (group, before, during) in enumerate(zip(self.param_groups, plain, scaled, strict=False)):
                if group["lr"] is not during:  # the closure has set it
                    continue
                group["lr"] = before
                if during is not before and written is not None and written[i] != _version(during):
                    before.detach().copy_(during.detach())  # the closure has set it in place
        if not skips_step(self):
            self._shadow.step()  # counts
        if criterion is not None:
            self._probe_batch(data, target, criterion)
        return loss

    def _own_step(self, closure: Callable[[], Any] | None) -> Any:
        inherited = cast("Any", super().step).__func__
        # Torch wraps step in the code that runs hooks, in every class anew; run twice, they would count double.
        if getattr(inherited, "hooked", False):
            inherited = inherited.__wrapped__
        return inherited(self, closure)

    def _probe_batch(self, data: Any, target: Any, criterion: Callable[[Any, Any], Tensor]) -> None:
        device = next(self._model.parameters()).device

        def loss() -> Tensor:
            inputs, wanted = (
                value.to(device, non_blocking=True) if isinstance(value, Tensor) else value for value in (data, target)
            )
            return criterion(self._model(inputs), wanted)

        self.probe(loss)

    def probe(self, closure: Callable[..., Tensor], batch: Any = None, *, subset: int | None = None) -> Decision | None:
        """Measure and decide, if it is time, with this optimizer's own state and rates.

        Args:
            closure: Returns the loss as a 0-d tensor and does nothing else: no zero_grad, no backward.
            batch: Given one, the closure is called with it, or with a part of it; else without arguments.
            subset: How many examples all ranks together probe on; see
                :meth:`~lrscape.schedulers.LandscapeLR.probe`.

        Returns:
            The decision, whose rates are those of the next step; None if no measurement was due.

        Raises:
            ValueError: If the optimizer class is a schedule-free one and stands at its average, or there is a subset of
                no batch.
        """
        check_standpoint(self)
        loss = on_batch(closure, batch, subset)
        if not self._controller.due():
            return None
        for shadow, group in zip(self._shadow.param_groups, self.param_groups, strict=True):
            shadow["lr"] = float(group["lr"])
        with self._read():
            try:
                decision = self._controller.observe(self._controller.measure(loss))
            except Exception as error:  # the user's closure may raise anything
                decision = self._controller.skip(error)
        if self._log:
            logger.info("lrscape: step %d, %s, rates %s", decision.step, decision.reason, decision.rates)
        return decision

    def _read(self) -> AbstractContextManager[None]:
        """Let the controller read our state, if it follows the sharpness that this very optimizer feels."""
        return self._controller.reading(self) if isinstance(self._controller, LimitedLR) else nullcontext()

    # What it knows

    @property
    def factors(self) -> list[float]:
        """Our factor on the rate of each parameter group, at the next step and with the rates of now."""
        if isinstance(self._controller, LimitedLR):
            return self._controller.factors_for([group["lr"] for group in self.param_groups])
        return self._controller._current_factors()

    @property
    def history(self) -> History:
        """The decisions."""
        return self._controller.history

    @property
    def controller(self) -> LandscapeLR:
        """What measures and decides. Do not step it."""
        return self._controller

    # What torch calls

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group as in torch; it starts with the first group's factor.

        Args:
            param_group: Parameters and options.
        """
        super().add_param_group(param_group)
        if "_shadow" in self.__dict__:
            self._shadow.add_param_group(_shadow_of(self.param_groups[-1]))

    def state_dict(self) -> dict[str, Any]:
        """Give torch's state, with the controller's under "controller".

        Returns:
            What ``torch.load(weights_only=True)`` accepts, and the plain optimizer class as well.
        """
        return {**super().state_dict(), "controller": self._controller.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state_dict: What :meth:`state_dict` gave. That of the plain optimizer class will do; the controller then
                goes on as it is.
        """
        state = dict(state_dict)
        controller = state.pop("controller", None)
        super().load_state_dict(state)
        if controller is not None:
            self._controller.load_state_dict(controller)

    def __getstate__(self) -> dict[str, Any]:
        own = {name: self.__dict__[name] for name in OWN if name in self.__dict__}
        return {**super().__getstate__(), **own}


def _shadow_of(group: dict[str, Any]) -> dict[str, Any]:
    """Give what a scheduler may know of a group without holding its parameters."""
    return {"params": [torch.empty(0)], "lr": float(group["lr"])}


def _version(rate: Rate) -> int | None:
    return rate._version if isinstance(rate, Tensor) and not rate.is_inference() else None
