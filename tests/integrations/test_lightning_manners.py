"""The callback for Lightning leaves no trace, logs, and refuses what cannot work."""

import csv
from collections import defaultdict

import pytest
import torch
import torch.nn.functional as F
from plain_loop import (
    SCHEDULERS,
    batches,
    loss_of,
    network,
    topo,
)

pytest.importorskip("lightning", reason="needs Lightning: pip install 'lrscape[lightning]'")

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning_runs import EPOCHS, Module, Rates, fit, trainer
from torchmetrics import MeanMetric

from lrscape.integrations.lightning import LandscapeCallback
from lrscape.schedulers import InducedMetricLR, RiverLR


class Metered(Module):
    """Keeps batch numbers, sums and a metric besides, and gives the scheduler all of itself."""

    part = False

    def __init__(self, make):
        super().__init__(make)
        self.seen, self.mean, self.total = [], MeanMetric(), 0.0

    def training_step(self, batch, batch_idx):
        found = super().training_step(batch, batch_idx)
        self.mean(found["loss"].detach())
        self.log_dict({"mean": self.mean})
        self.seen.append(batch_idx)
        self.total += 1
        return found


@pytest.mark.parametrize("loss", [None, lambda module, batch: loss_of(module.net, batch)])
def test_probes_leave_no_trace_in_logs_metrics_and_attributes(loss):
    found = []
    for callbacks in ([LandscapeCallback(loss)], []):
        torch.manual_seed(0)
        seen = []
        module = Metered(lambda optimizer, model: topo(optimizer, model, min_ratio=1.0, max_ratio=1.0))
        made, rates = fit(module, *callbacks, Watch(seen))
        assert len(module.scheduler.history) == 15 * len(callbacks)
        metrics = {key: float(value) for key, value in made.callback_metrics.items()}
        found.append((rates, metrics, seen, module.seen, module.total, sorted(vars(module)), float(torch.rand(()))))
    assert found[0] == found[1]
    assert len(found[0][2]) == 12 * EPOCHS


class Free(Module):
    """Skips some batches, takes whatever it is given, and keeps its losses in a dict of lists."""

    def __init__(self, make, skipped):
        super().__init__(make)
        self.losses, self.skipped, self.mean = defaultdict(list), skipped, 0.0

    def training_step(self, *args):
        batch, number = args
        if self.skipped and number % 3 == 2:
            return None
        loss = loss_of(self.net, batch)
        self.losses["loss"].append(loss.detach())
        self.net.last = loss.detach()
        return loss

    def on_train_batch_end(self, *args):
        self.latest = float(self.net.last)

    def on_train_epoch_end(self):
        self.mean = float(torch.stack(self.losses["loss"]).mean())


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
@pytest.mark.parametrize("name", ["TopoLR", "ValleyLR"])
@pytest.mark.parametrize("skipped", [False, True])
def test_a_step_may_skip_batches_and_take_any_arguments(name, skipped):
    made = []
    for callbacks in ([LandscapeCallback()], [Callback()]):
        module = Free(SCHEDULERS[name], skipped)
        fit(module, *callbacks, epochs=2)
        made.append(module)
    probed, plain = (len(module.losses["loss"]) for module in made)
    assert probed == plain == 2 * (8 if skipped else 12)
    assert made[0].mean > 0
    history = [decision.step for decision in made[0].scheduler.history]
    assert history
    assert not skipped or all(step % 12 % 3 != (0 if name == "TopoLR" else 2) for step in history)


class Watch(Callback):
    """Notes the state of the metric after each step."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        mean = pl_module.mean
        self.seen.append((float(mean.mean_value), float(mean.weight), mean._update_count))


def test_loggers_get_rates_and_reasons(tmp_path):
    module = Module(SCHEDULERS["TopoLR"])
    fit(module, logger=[CSVLogger(tmp_path, name="a"), CSVLogger(tmp_path, name="b")], log_every_n_steps=1)
    for name in ("a", "b"):
        with (tmp_path / name / "version_0" / "metrics.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["lrscape/rate"]]
        assert [(int(row["step"]), float(row["lrscape/rate"])) for row in rows] == [
            (decision.step, decision.rates[0]) for decision in module.scheduler.history
        ]
        for row, decision in zip(rows, module.scheduler.history, strict=True):
            assert row[f"lrscape/reason/{decision.reason}"] == "1.0"


def test_average_is_evaluated_and_weights_come_back():
    module = Module(SCHEDULERS["ValleyLR"])
    made, _ = fit(module)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.validation_step = lambda batch, batch_idx: module.log("val", loss_of(module.net, batch))
    with module.scheduler.averaged():
        averaged = made.validate(module, batches(48), verbose=False)[0]["val"]
    plain = network()
    plain.load_state_dict(module.scheduler.averaged_state_dict())
    with torch.no_grad():
        assert averaged == pytest.approx(float(loss_of(plain.eval(), next(iter(batches(48))))), rel=1e-6)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_nothing_stays_behind():
    module = Module(topo)
    hooks = {}

    class Counting(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            hooks["during"] = len(module.optimizer._optimizer_step_post_hooks)

    callback = LandscapeCallback()
    fit(module, callback, Counting())
    assert hooks["during"] == len(module.optimizer._optimizer_step_post_hooks) + 1
    assert callback._batch is None
    assert module.scheduler.history._listeners == []


@pytest.mark.parametrize(
    ("make", "interval", "loss", "text"),
    [
        (lambda optimizer, _: torch.optim.lr_scheduler.ConstantLR(optimizer), "step", None, "found no landscape"),
        (topo, "epoch", None, 'interval": "step"'),
        (lambda optimizer, _: InducedMetricLR(optimizer), "step", None, "automatic=False"),
        (topo, "step", [loss_of, loss_of], "one for each scheduler; got 2"),
    ],
)
def test_set_ups_that_cannot_work_are_refused(make, interval, loss, text):
    with pytest.raises(ValueError, match=text):
        fit(Module(make, interval), LandscapeCallback(loss))


def test_manual_optimisation_needs_a_loss():
    module = Module(topo)
    module.automatic_optimization = False
    with pytest.raises(ValueError, match="needs loss="):
        trainer(LandscapeCallback()).fit(module, batches())


def test_arguments_of_the_wrong_kind():
    with pytest.raises(TypeError, match="loss must be a function"):
        LandscapeCallback(3)
    with pytest.raises(ValueError, match="subset must be at least 1"):
        LandscapeCallback(subset=0)


@pytest.mark.parametrize("name", ["TopoLR", "ValleyLR"])
def test_a_step_without_a_loss_is_refused(name):
    class Silent(Module):
        def training_step(self, batch):
            loss = loss_of(self.net, batch)
            return loss if loss.requires_grad else None  # not as in a step that skips: it does so in probes only

    with pytest.raises(TypeError, match="must return the loss"):
        fit(Silent(SCHEDULERS[name]))


def test_a_probe_that_raises_ends_everything():
    def loss(module, batch):
        if module.scheduler._steps > 9:
            raise ZeroDivisionError
        return loss_of(module.net, batch)

    module, callback = Module(topo), LandscapeCallback(loss)
    with pytest.raises(ZeroDivisionError):
        fit(module, callback)
    assert len(module.optimizer._optimizer_step_post_hooks) == 1  # the scheduler's own
    assert [decision.step for decision in module.scheduler.history] == [4, 8]
    assert callback._batch is None


def test_losses_of_examples_are_observed_without_the_callback():
    class River(Module):
        def training_step(self, batch, batch_idx):
            losses = F.cross_entropy(self.net(batch[0]), batch[1], reduction="none")
            self.lr_schedulers().observe(losses.detach())
            return losses.mean()

    module = River(lambda optimizer, model: RiverLR(optimizer, beta=0.5))
    _, rates = fit(module, Rates())
    assert len(module.scheduler.history) == len(rates) == 12 * EPOCHS
    assert rates == [decision.rates for decision in module.scheduler.history]
    assert len({rate for (rate,) in rates}) > 30
