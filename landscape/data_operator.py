"""Curvature of a loss over data, one batch in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from .ambient import without_autocast, without_inference
from .closure import Closure
from .curvature_operator import CurvatureOperator
from .differentiable import batches, check_objective, graph_loss, tracked
from .exhaustion import exhausted, out_of_memory
from .harmless import harmless
from .linearisation import Linearisation
from .modes import BatchNorm, check_batch_norm, recalibrated
from .objective import Objective
from .parameters import ParameterChoice, Slot, movable
from .shards import is_spread, resharded

SMALL = 20_000  # parameters; on a CPU, larger models take longer per vector the more vectors share a pass: measured
TOGETHER = 16  # vectors that share a pass elsewhere


class DataOptions(TypedDict, total=False):
    """Options of every curvature; see :func:`~lrscape.landscape.hessian`."""

    parameters: ParameterChoice
    batch_norm: BatchNorm
    dropout: bool
    chunk: int | None


class DataOperator(CurvatureOperator):
    """Σ_b (weight × curvature)_b / Σ_b weight_b over batches b, summed in float64 where there are several.

    Args:
        slots: All parameters that count.
        stream: Gives the linearisations of one pass.
        chunk: Vectors that share a pass under vmap.
        which: Numbers of the parameters of this block; all by default.
    """

    def __init__(
        self,
        slots: list[Slot],
        stream: Callable[[], Iterator[Linearisation]],
        chunk: int,
        which: list[int] | None = None,
    ) -> None:
        self._all, self._stream, self._chunk = slots, stream, chunk
        self._which = list(range(len(slots))) if which is None else which
        super().__init__([slots[i] for i in self._which])

    def block(self, names: Iterable[str]) -> DataOperator:
        """Take a diagonal block; autograd then goes no further than it must."""
        chosen = [self._which[i] for i in self.numbers(names)]
        return DataOperator(self._all, self._stream, self._chunk, chosen)

    def gradient(self) -> Tensor:
        """Compute the gradient in one pass."""

        def part(linearisation: Linearisation) -> Tensor:
            parts = linearisation.gradient()
            return self.join(parts[i][None] for i in self._which)

        return self._mean(part)[0]

    def _apply(self, vectors: Tensor) -> Tensor:
        return self._mean(lambda linearisation: self._product(linearisation, vectors))

    def _mean(self, part: Callable[[Linearisation], Tensor]) -> Tensor:
        total: Tensor | None = None
        weight: Tensor | None = None
        for linearisation in self._stream():
            value = part(linearisation)
            if total is None or weight is None:
                total, weight = value, linearisation.weight.detach()
                continue
            if total.device.type != "mps":
                total = total.double()
            total += value
            weight = weight + linearisation.weight.detach()
        if total is None or weight is None:
            raise ValueError("loader gave no batch; the curvature over no data is not defined")
        return (total / weight.to(total.device, total.dtype)).to(self.dtype)

    def _product(self, linearisation: Linearisation, vectors: Tensor) -> Tensor:
        rows: list[Tensor] = []
        done = 0
        while done < len(vectors):
            some = vectors[done : done + self._chunk]
            try:
                rows.append(self.join(linearisation.product(self.split(some), self._which, self._chunk > 1)))
            except (RuntimeError, MemoryError) as error:
                if self._chunk == 1 or not out_of_memory(error):
                    raise
                self._chunk //= 2
                continue
            done += len(some)
        return torch.cat(rows)


def _check(slots: list[Slot], chunk: int | None, sharded: bool) -> None:
    for slot in slots:
        if is_spread(slot.parameter) and not sharded:
            raise ValueError(
                f"parameter {slot.canonical} is spread over ranks (a DTensor), and this curvature needs it whole; take "
                "the Hessian, or measure on an unsharded copy of the model"
            )
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1 vector, got {chunk}")


@contextmanager
def over_data(
    model: nn.Module,
    objective: Objective | Closure,
    linearise: Callable[[list[Slot], Any], Linearisation],
    *,
    parameters: ParameterChoice = None,
    batch_norm: BatchNorm = "eval",
    dropout: bool = False,
    chunk: int | None = None,
    sharded: bool = False,
) -> Iterator[DataOperator]:
    """Open a curvature over data; inside, the model is in the state of a probe, afterwards as it was.

    A closure, and the only batch of an Objective, are linearised once; more batches anew in every pass.

    Args:
        model: The model.
        objective: The loss and its data.
        linearise: Makes the linearisation of a batch for some parameters.
        parameters: See :func:`~lrscape.landscape.hessian`.
        batch_norm: Likewise.
        dropout: Likewise.
        chunk: Likewise.
        sharded: Whether linearisations can deal with parameters that are spread over ranks.

    Yields:
        The operator.

    Raises:
        MemoryError: If the memory does not suffice for one vector, or what torch raises then, with advice.
        RuntimeError: Likewise; or whatever the user's code raises.
    """
    check_objective(objective)
    check_batch_norm(batch_norm)
    movable(model, parameters)  # says what is wrong with the model, if anything
    loader = objective.loader if isinstance(objective, Objective) else None
    single = not isinstance(objective, Objective) or objective.size() == 1
    kept: list[Linearisation] = []
    with ExitStack() as stack:
        stack.enter_context(without_inference())
        stack.enter_context(without_autocast())
        stack.enter_context(resharded(model))
        slots = movable(model, parameters)
        _check(slots, chunk, sharded)
        device = slots[0].parameter.device
        if chunk is None:
            small = sum(slot.parameter.numel() for slot in slots) <= SMALL
            chunk = TOGETHER if small or device.type != "cpu" else 1
        interrupt, rewind = stack.enter_context(harmless(model, batch_norm=batch_norm, dropout=dropout, loader=loader))
        stack.enter_context(tracked([slot.parameter for slot in slots]))
        stack.callback(kept.clear)
        if batch_norm == "recalibrate":

            def forward() -> None:
                for batch in batches(objective, device):
                    graph_loss(model, objective, batch)

            recalibrated(model, forward)

        def stream() -> Iterator[Linearisation]:
            interrupt.check()
            if kept:
                yield kept[0]
                return
            rewind()
            for batch in batches(objective, device):
                linearisation = linearise(slots, batch)
                if single:
                    kept.append(linearisation)
                yield linearisation
                interrupt.check()

        try:
            yield DataOperator(slots, stream, chunk)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            advice = "use a smaller batch, fewer parameters=, or mode='difference', which keeps no second graph"
            told = exhausted(error, "one vector at a time", advice)
            raise told from error
