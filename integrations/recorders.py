"""Rates, measurements and reasons to any logger, in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from ..landscape.ranks import Ranks
from ..schedulers import Decision, History
from .decision_file import DecisionFile
from .probers import only_prober

Write = Callable[[Decision, Decision | None], object]


def scalars(decision: Decision, name: str = "lrscape") -> dict[str, float]:
    """Give a decision as numbers that every logger takes.

    Args:
        decision: The decision.
        name: Goes before every key.

    Returns:
        Rate and factor, of each group where there are several; what was measured; and 1 under the reason.

    Example:
        >>> for key, value in scalars(Decision(50, {"sharpness": 0.6}, [0.8], "very sharp", [8e-4])).items():
        ...     print(key, value)
        lrscape/rate 0.0008
        lrscape/factor 0.8
        lrscape/measured/sharpness 0.6
        lrscape/reason/very_sharp 1.0
    """
    values: dict[str, Any] = {"rate": decision.rates, "factor": decision.factors}
    values |= {f"measured/{key}": value for key, value in decision.measurement.items()}
    found: dict[str, float] = {}
    for key, value in values.items():
        several = value if isinstance(value, (list, tuple)) else [value]
        for i, number in enumerate(several):
            found[f"{name}/{key}" if len(several) == 1 else f"{name}/{key}/{i}"] = float(number)
    found[f"{name}/reason/{decision.reason.replace(' ', '_')}"] = 1.0
    return found


def record(scheduler: object, sink: Any, name: str = "lrscape", *, figure_every: int = 50) -> Callable[[], None]:
    """Write every decision of a scheduler to a logger or a file, from now on.

    ==================================================  ==========================================================
    sink                                                what it gets
    ==================================================  ==========================================================
    a path                                              a line of JSON; see :class:`DecisionFile`
    has ``add_scalar`` (TensorBoard)                    scalars; the reason by ``add_text`` and now and then
                                                        :func:`lrscape.viz.lr_trace` by ``add_figure``, if it has them
    has ``log_metrics`` (MLflow, Comet, Lightning)      ``log_metrics(values, step=step)``
    has ``log`` (W&B, ``Accelerator``)                  ``log(values, step=step)``
    a function                                          ``sink(values, step)``
    ==================================================  ==========================================================

    The values are those of :func:`scalars`; the step counts optimizer steps. Under torch.distributed only the first
    process writes. What a scheduler gets back by ``load_state_dict`` is not written again, and copies of it write
    nothing.

    Args:
        scheduler: A landscape-driven scheduler, also as Accelerate has prepared it, or an optimizer that steers itself.
        sink: See above.
        name: Goes before every key.
        figure_every: After how many decisions a figure is drawn, and at the end of the recording; 0 for never.

    Returns:
        A function that ends the recording.

    Raises:
        TypeError: If the scheduler has no decisions, or the sink is of no known kind.
        ValueError: If ``figure_every`` is negative.

    Example:
        >>> import torch
        >>> from lrscape.schedulers import RiverLR
        >>> scheduler = RiverLR(torch.optim.SGD([torch.zeros(1)], lr=0.1))
        >>> end = record(scheduler, lambda values, step: print(step, values["lrscape/reason/even"]))
        >>> decision = scheduler.observe(torch.tensor([2.0, 2.0]))
        0 1.0
    """
    if not isinstance(figure_every, int) or figure_every < 0:
        raise ValueError(f"figure_every must be a whole number of at least 0, got {figure_every!r}")
    history = only_prober(scheduler).history
    board = _Board(sink, name, history, figure_every) if hasattr(sink, "add_scalar") else None
    write = _writer(sink, name) if board is None else board

    def write_once(decision: Decision, before: Decision | None) -> None:
        if Ranks().first:
            write(decision, before)

    unsubscribe = history.subscribe(write_once)

    def end() -> None:
        unsubscribe()
        if board is not None and Ranks().first:
            board.finish()

    return end


def _writer(sink: Any, name: str) -> Write:
    if isinstance(sink, (str, os.PathLike)):
        return DecisionFile(sink, name)
    for method in ("log_metrics", "log"):
        log = getattr(sink, method, None)
        if callable(log):
            return lambda decision, _: log(scalars(decision, name), step=decision.step)
    if callable(sink):
        return lambda decision, _: sink(scalars(decision, name), decision.step)
    raise TypeError(
        f"sink must be a path, a function of (values, step), or have add_scalar, log_metrics or log; got "
        f"{type(sink).__name__}"
    )


class _Board:
    """Write to TensorBoard's SummaryWriter, or to whatever has its methods."""

    def __init__(self, writer: Any, name: str, history: History, figure_every: int) -> None:
        self._writer, self._name, self._history = writer, name, history
        self._every = figure_every if hasattr(writer, "add_figure") else 0
        self._written = 0
        self._drawn = 0

    def __call__(self, decision: Decision, _: Decision | None) -> None:
        values: Mapping[str, float] = scalars(decision, self._name)
        for key, value in values.items():
            self._writer.add_scalar(key, value, decision.step)
        if hasattr(self._writer, "add_text"):
            self._writer.add_text(f"{self._name}/reason", decision.reason, decision.step)
        self._written += 1
        if self._every and self._written % self._every == 0:
            self._draw()

    def finish(self) -> None:
        """Draw what came after the latest figure."""
        if self._every and self._written > self._drawn:
            self._draw()

    def _draw(self) -> None:
        from matplotlib.figure import Figure

        from ..viz import lr_trace

        figure = Figure(figsize=(6.4, 4.8))  # not pyplot's, which would keep it
        lr_trace(self._history, figure.add_subplot())
        self._writer.add_figure(f"{self._name}/trace", figure, self._history[-1].step)
        self._drawn = self._written
