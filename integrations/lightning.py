"""Lightning: a callback that gives landscape-driven schedulers the batches of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError(
        "lrscape.integrations.lightning needs Lightning, which is not installed: pip install 'lrscape[lightning]'"
    ) from error

from ..landscape.subset import subset as part_of
from ..schedulers import InducedMetricLR, LandscapeLR
from .probers import Prober, find_probers, is_due, scheduler_of
from .recorders import record
from .training_step import SkippedBatch, step_loss, undisturbed

ModuleLoss = Callable[[Any, Any], Tensor]


class LandscapeCallback(Callback):  # type: ignore[misc]  # its types are not read
    """Let the schedulers that ``configure_optimizers`` returns measure the landscape on the batches of training.

    ::

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
            scheduler = TopoLR(optimizer, self)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

        Trainer(callbacks=[LandscapeCallback()])

    Lightning steps the scheduler and keeps its state in checkpoints. A scheduler with ``probes_first``, such as
    ValleyLR, measures before the forward pass on the batch just drawn; any other, and optimizers that steer themselves,
    right after the optimizer's step, on the batch just used (with accumulated gradients: its last part). Rates and
    decisions are then those of a plain loop that calls ``probe`` there. InducedMetricLR, which reads gradients, is told
    the loss that training has computed.

    Without ``loss`` the loss is that of ``training_step``, in the trainer's precision. What it logs meanwhile is
    dropped, and what it changes in the module's own attributes and in metrics of torchmetrics is put back; whatever
    else it does beside computing the loss, it does once more per forward pass. On a batch that it skips by returning
    None nothing is measured. Manual optimisation, whose ``training_step`` runs backward, needs ``loss``; there the
    module steps its schedulers itself.

    Args:
        loss: ``loss(module, batch)`` returns the loss as a 0-d tensor and does nothing else. With several schedulers
            that minimise different losses, one for each, in the order in which ``configure_optimizers`` returns them;
            those of self-steering optimizers come last.
        subset: How many examples of a batch all ranks together probe on; the whole batch by default. Each rank takes
            its share, so that a probe costs less the more ranks there are.
        log: Give rates, measurements and reasons to the trainer's loggers; see :func:`lrscape.integrations.record`. The
            step is the number of optimizer steps.

    Raises:
        TypeError: If a loss is not callable.
        ValueError: If the subset is empty.
    """

    def __init__(
        self,
        loss: ModuleLoss | Sequence[ModuleLoss] | None = None,
        *,
        subset: int | None = None,
        log: bool = True,
    ) -> None:
        super().__init__()
        several = list(loss) if isinstance(loss, Sequence) else loss
        for function in several if isinstance(several, list) else [several]:
            if function is not None and not callable(function):
                raise TypeError(f"loss must be a function of (module, batch), got {type(function).__name__}")
        if subset is not None and subset < 1:
            raise ValueError(f"subset must be at least 1, or None for the whole batch, got {subset}")
        self.loss = several
        self.subset = subset
        self._logging = log
        self._losses: list[tuple[Prober, ModuleLoss | None]] = []
        self._batch: tuple[Any, int] | None = None
        self._training_loss: Tensor | None = None
        self._backward = False  # whether training has found a loss on the batch
        self._skipped: SkippedBatch | None = None  # whether the probe has found none
        self._endings: list[Callable[[], object]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the schedulers, whose state is restored by now.

        Args:
            trainer: Who trains.
            pl_module: What is trained.

        Raises:
            ValueError: If there is none, or one that cannot work as it is set up.
        """
        self._end()
        configs = trainer.lr_scheduler_configs
        probers = find_probers(*(config.scheduler for config in configs), *trainer.optimizers)
        if not probers:
            raise ValueError(
                "LandscapeCallback found no landscape-driven scheduler: return one from configure_optimizers, e.g. "
                '{"optimizer": optimizer, "lr_scheduler": {"scheduler": TopoLR(optimizer, self), "interval": "step"}}'
            )
        if pl_module.automatic_optimization:
            for config in configs:
                _check_interval(config)
            _check_gradients(probers)
        elif self.loss is None:
            raise ValueError(
                "LandscapeCallback needs loss= with manual optimisation, since training_step runs backward there: pass "
                "a function of (module, batch) that returns the loss, or one for each scheduler"
            )
        self._losses = _paired(probers, self.loss)
        for number, (prober, loss) in enumerate(self._losses):
            if not scheduler_of(prober).probes_first:
                optimizer = prober if not isinstance(prober, LandscapeLR) else prober.optimizer
                after = partial(self._after_step, trainer, pl_module, prober, loss)
                self._endings.append(optimizer.register_step_post_hook(after).remove)
            if self._logging:
                name = "lrscape" if len(probers) == 1 else f"lrscape/{number}"
                self._endings += [record(prober, logger, name) for logger in trainer.loggers]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Measure where that belongs before the forward pass.

        Args:
            trainer: Who trains.
            pl_module: What is trained.
            batch: On the device.
            batch_idx: Its number.
        """
        self._batch, self._backward, self._skipped = (batch, batch_idx), False, None
        for prober, loss in self._losses:
            if scheduler_of(prober).probes_first:
                self._probe(trainer, pl_module, prober, loss)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep the loss for schedulers that read its gradients.

        Args:
            trainer: Who trains.
            pl_module: What is trained.
            loss: Divided by the number of batches whose gradients are accumulated, and scaled where a scaler is used.

        Raises:
            TypeError: If the step gave no loss when it was measured on this batch.
        """
        self._backward = True
        self._check_skipped()
        if any(isinstance(prober, InducedMetricLR) for prober, _ in self._losses):
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            scale = 1.0 if scaler is None else scaler.get_scale()
            self._training_loss = loss.detach() * trainer.accumulate_grad_batches / scale

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let go of the batch.

        Args:
            trainer: Who trains.
            pl_module: What is trained.
            outputs: Of ``training_step``.
            batch: The batch.
            batch_idx: Its number.
        """
        self._batch = self._training_loss = None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let go of everything.

        Args:
            trainer: Who trains.
            pl_module: What is trained.
            stage: Of the trainer.
        """
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let go of everything.

        Args:
            trainer: Who trains.
            pl_module: What is trained.
            exception: Why training ended.
        """
        self._end()

    def _end(self) -> None:
        endings, self._endings = self._endings, []
        self._losses, self._batch, self._training_loss = [], None, None
        for end in endings:
            end()

    def _after_step(
        self, trainer: Trainer, module: LightningModule, prober: Prober, loss: ModuleLoss | None, *_: object
    ) -> None:
        self._probe(trainer, module, prober, loss)

    def _probe(self, trainer: Trainer, module: LightningModule, prober: Prober, loss: ModuleLoss | None) -> None:
        if self._batch is None or not is_due(prober):
            return
        if isinstance(prober, InducedMetricLR) and self._training_loss is not None:
            told = self._training_loss  # another forward pass would be one of training, and past the step
            prober.probe(lambda: told)
            return
        batch, number = self._batch
        batch = batch if self.subset is None else part_of(batch, self.subset)

        def closure() -> Tensor:
            with trainer.precision_plugin.train_step_context():
                return step_loss(module, batch, number) if loss is None else loss(module, batch)

        if loss is None:
            try:
                with undisturbed(module):
                    prober.probe(closure)
            except SkippedBatch as skipped:
                self._skipped = skipped
                self._check_skipped()
        else:
            prober.probe(closure)

    def _check_skipped(self) -> None:
        """Refuse a step that skips batches only while it is measured, so that it would never be."""
        if self._skipped is not None and self._backward:
            raise TypeError(str(self._skipped)) from self._skipped


def _paired(
    probers: list[Prober], loss: ModuleLoss | Sequence[ModuleLoss] | None
) -> list[tuple[Prober, ModuleLoss | None]]:
    if loss is None or callable(loss):
        return [(prober, loss) for prober in probers]
    if len(loss) != len(probers):
        raise ValueError(
            f"loss must be one function or one for each scheduler; got {len(loss)} for "
            f"{', '.join(type(prober).__name__ for prober in probers)}"
        )
    return list(zip(probers, loss, strict=True))


def _check_interval(config: Any) -> None:
    if find_probers(config.scheduler) and (config.interval != "step" or config.frequency != 1):
        raise ValueError(
            f"{type(config.scheduler).__name__} must be stepped after every optimizer step, but its configuration has "
            f"interval={config.interval!r} and frequency={config.frequency}: return "
            '{"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}'
        )


def _check_gradients(probers: list[Prober]) -> None:
    for prober in probers:
        if isinstance(prober, InducedMetricLR) and prober.automatic:
            raise ValueError(
                "InducedMetricLR reads gradients before each optimizer step, but with automatic optimisation Lightning "
                "computes them within the step, so it would see those of the step before: construct it with "
                "automatic=False, which takes effect one step later, or use manual optimisation"
            )
