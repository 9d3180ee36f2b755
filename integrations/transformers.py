"""Transformers: a callback that lets landscape-driven schedulers probe while the Trainer trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

try:
    from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise ImportError(
        "lrscape.integrations.transformers needs Transformers, which is not installed: "
        "pip install 'lrscape[transformers]'"
    ) from error

from .probe_batches import CycledBatches, SampledBatches, Source
from .probers import Prober, find_probers, is_due, scheduler_of
from .recorders import record

# Where reading stands, among what the Trainer saves. Not by ExportableState: with its option to restore callbacks the
# Trainer would construct ours anew, without a trainer.
POSITION = "lrscape.batches"

Batches = Iterable[Any] | Callable[[int], Any] | None


class LandscapeCallback(TrainerCallback):  # type: ignore[misc]  # its types are not read
    """Let the scheduler of a Trainer measure the landscape, on batches of its own.

    ::

        scheduler = TopoLR(optimizer, model)
        trainer = Trainer(model, arguments, train_dataset=dataset, optimizers=(optimizer, scheduler))
        trainer.add_callback(LandscapeCallback(trainer))

    The Trainer does not show its callbacks the batches of training. So a probe takes other examples of the training
    data, drawn by seed and step, or batches that you give. It happens at ``on_optimizer_step``, between the optimizer's
    step and the scheduler's; for schedulers with ``probes_first``, such as ValleyLR, at ``on_step_begin``. Rates and
    decisions are then those of a plain loop that calls ``probe`` there with these batches. The Trainer steps the
    scheduler and keeps its state in checkpoints, and ``resume_from_checkpoint`` goes on exactly.

    Args:
        trainer: Whose loss, data and log are used.
        batches: A DataLoader or a list of batches, read again and again; or a function of the number of optimizer
            steps, the same at every call. By default, examples of the training dataset, put together as the Trainer
            does.
        loss: ``loss(model, batch)`` returns the loss as a 0-d tensor; by default ``trainer.compute_loss``.
        batch_size: Examples of a default batch on each device; as many as the Trainer takes by default.
        seed: Of the default batches.
        log: Give rates, measurements and reasons to ``trainer.log``; see :func:`lrscape.integrations.record`.

    Raises:
        TypeError: If ``batches`` or ``loss`` is of the wrong kind.
        ValueError: If ``batch_size`` is not positive, or given beside ``batches``.
    """

    def __init__(
        self,
        trainer: Trainer,
        batches: Batches = None,
        *,
        loss: Callable[[Any, Any], Tensor] | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        log: bool = True,
    ) -> None:
        if not isinstance(trainer, Trainer):
            raise TypeError(f"trainer must be a transformers.Trainer, got {type(trainer).__name__}")
        if loss is not None and not callable(loss):
            raise TypeError(f"loss must be a function of (model, batch), got {type(loss).__name__}")
        if batch_size is not None and (batches is not None or batch_size < 1):
            raise ValueError(
                f"batch_size must be at least 1 and is that of batches drawn from the training data, got {batch_size}"
                + (" together with batches" if batches is not None else "")
            )
        self.trainer = trainer
        self.loss = loss
        self.batch_size = batch_size
        self.seed = seed
        self._logging = log
        self._cycle = CycledBatches(batches) if isinstance(batches, Iterable) else None
        self._given: Source | None = self._cycle
        if batches is not None and not isinstance(batches, Iterable):
            if not callable(batches):
                raise TypeError(
                    f"batches must be an iterable of batches or a function of the step, got {type(batches).__name__}"
                )
            self._given = batches
        self._source: Source | None = None
        self._probers: list[Prober] = []
        self._endings: list[Callable[[], object]] = []
        self._unlogged: list[dict[str, float]] = []

    # What the Trainer calls

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Find the schedulers, and go on where a checkpoint stands.

        Args:
            args: The Trainer's.
            state: The Trainer's.
            control: The Trainer's.
            **kwargs: What it has besides: optimizer, scheduler, loader.

        Raises:
            ValueError: If there is no landscape-driven scheduler.
        """
        self._end()
        self._probers = find_probers(kwargs.get("lr_scheduler"), kwargs.get("optimizer"))
        if not self._probers:
            raise ValueError(
                "LandscapeCallback found no landscape-driven scheduler: pass one to the Trainer, with its "
                "optimizer, as optimizers=(optimizer, TopoLR(optimizer, model))"
            )
        if self._cycle is not None:
            self._cycle.go_on(state.stateful_callbacks.get(POSITION, (0, 0)))
        self._source = self._given or self._sampled(args, kwargs["train_dataloader"])
        if self._logging:
            for number, prober in enumerate(self._probers):
                name = "lrscape" if len(self._probers) == 1 else f"lrscape/{number}"
                self._endings.append(record(prober, self._collect, name))

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure where that belongs before the forward pass.

        Args:
            args: The Trainer's.
            state: The Trainer's.
            control: The Trainer's.
            **kwargs: Its model and more.
        """
        self._probe(state, kwargs["model"], first=True)
        self._write(control)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure where that belongs after the optimizer's step; the scheduler's comes next.

        Args:
            args: The Trainer's.
            state: The Trainer's.
            control: The Trainer's.
            **kwargs: Its model and more.
        """
        self._probe(state, kwargs["model"], first=False)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Log what was decided; the Trainer has counted the step by now.

        Args:
            args: The Trainer's.
            state: The Trainer's.
            control: The Trainer's.
            **kwargs: What it has besides.
        """
        self._write(control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let go of everything.

        Args:
            args: The Trainer's.
            state: The Trainer's.
            control: The Trainer's.
            **kwargs: What it has besides.
        """
        self._end()

    # How it measures

    def _sampled(self, args: TrainingArguments, loader: Any) -> SampledBatches:
        size = args.per_device_train_batch_size if self.batch_size is None else self.batch_size
        return SampledBatches(loader.dataset, loader.collate_fn, size, f"{self.seed}:{args.process_index}")

    def _probe(self, state: TrainerState, model: Any, *, first: bool) -> None:
        for prober in self._probers:
            scheduler = scheduler_of(prober)
            if scheduler.probes_first == first and is_due(prober):
                assert self._source is not None
                batch = _moved(self._source(scheduler._steps), next(model.parameters()).device)
                prober.probe(partial(self._loss, model, batch))
                if self._cycle is not None:
                    state.stateful_callbacks[POSITION] = list(self._cycle.position)

    def _loss(self, model: Any, batch: Any) -> Tensor:
        with self.trainer.compute_loss_context_manager():
            if self.loss is not None:
                return self.loss(model, batch)
            # A copy, from which compute_loss may take the labels away.
            loss: Tensor = self.trainer.compute_loss(model, dict(batch))
            return loss

    # Logging

    def _collect(self, values: dict[str, float], _: int) -> None:
        self._unlogged.append(values)

    def _write(self, control: TrainerControl) -> None:
        values, self._unlogged = self._unlogged, []
        asked = control.should_log
        for entry in values:
            self.trainer.log(entry)  # takes it for the answer to the question whether to log
        control.should_log = asked

    def _end(self) -> None:
        endings, self._endings = self._endings, []
        self._probers, self._source, self._unlogged = [], None, []
        for end in endings:
            end()


def _moved(batch: Any, device: torch.device) -> Any:
    if hasattr(batch, "to"):  # BatchEncoding, which is no dict
        return batch.to(device)
    return pytree.tree_map_only(Tensor, lambda tensor: tensor.to(device), batch)
