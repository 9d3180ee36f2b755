"""Small runs with Lightning's Trainer; import it only where Lightning is installed."""

import lightning as L
from lightning.pytorch.callbacks import Callback
from plain_loop import batches, loss_of, network, optimizer_of, rates_of

from lrscape.integrations.lightning import LandscapeCallback

EPOCHS = 5


class Module(L.LightningModule):
    """Logs, as training steps do."""

    part = True  # give the scheduler the network, whose parameters have the names of the plain loop's

    def __init__(self, make, interval="step"):
        super().__init__()
        self.net = network()
        self.make, self.interval = make, interval

    def training_step(self, batch, batch_idx):
        loss = loss_of(self.net, batch)
        self.log("loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return {"loss": loss}

    def configure_optimizers(self):
        self.optimizer = optimizer_of(self.net)
        self.scheduler = self.make(self.optimizer, self.net if self.part else self)
        return {
            "optimizer": self.optimizer,
            "lr_scheduler": {"scheduler": self.scheduler, "interval": self.interval},
        }


class Rates(Callback):
    def __init__(self):
        super().__init__()
        self.rates, self.step = [], 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step != self.step:
            self.step = trainer.global_step
            self.rates.append(rates_of(trainer.optimizers[0]))


def trainer(*callbacks, epochs=EPOCHS, **options):
    quiet = {"devices": 1, "logger": False, "enable_checkpointing": False, **options}
    return L.Trainer(
        max_epochs=epochs, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
        callbacks=list(callbacks), **quiet,
    )  # fmt: skip


def fit(module, *callbacks, loader=None, **options):
    rates = Rates()
    callback = LandscapeCallback()
    found = trainer(*(callbacks or [callback]), rates, **options)
    found.fit(module, batches() if loader is None else loader)
    return found, rates.rates
