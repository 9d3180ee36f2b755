"""Small runs with Transformers' Trainer; import it only where Transformers and Accelerate are installed."""

import torch
import torch.nn.functional as F
from plain_loop import dataset, network, optimizer_of, rates_of
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from lrscape.integrations.probe_batches import SampledBatches
from lrscape.integrations.transformers import LandscapeCallback

EPOCHS = 5
SIZE = 4


class Classifier(nn.Module):
    """Takes labels and returns a loss beside the logits, as the models of Transformers do."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x, labels=None):
        logits = self.net(x)
        found = {} if labels is None else {"loss": F.cross_entropy(logits, labels)}
        return {**found, "logits": logits}


def examples():
    return [{"x": x, "labels": y} for x, y in dataset()]


def collate(rows):
    return {name: torch.stack([row[name] for row in rows]) for name in ("x", "labels")}


def loss_of(model, batch):
    return model(**batch)["loss"]


class Ordered(Trainer):
    """Reads the data in its order, so that the plain loop can."""

    def get_train_dataloader(self):
        loader = DataLoader(self.train_dataset, batch_size=self.args.train_batch_size, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)


class Rates(TrainerCallback):
    def __init__(self):
        self.rates = []

    def on_step_end(self, args, state, control, **kwargs):
        self.rates.append(rates_of(kwargs["optimizer"]))


def loader():
    return DataLoader(examples(), batch_size=SIZE, collate_fn=collate)


def arguments(folder, **options):
    defaults = {
        "num_train_epochs": EPOCHS, "per_device_train_batch_size": SIZE, "max_grad_norm": 0.0, "report_to": "none",
        "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no", "use_cpu": True,
        "dataloader_pin_memory": False, "remove_unused_columns": False,
    }  # fmt: skip
    return TrainingArguments(output_dir=str(folder), **{**defaults, **options})


class Run:
    """A Trainer with a scheduler and our callback."""

    def __init__(self, make, folder, *probing, callback=True, **options):
        self.model = Classifier()
        self.optimizer = optimizer_of(self.model)
        self.scheduler = make(self.optimizer, self.model)
        self.recorded = Rates()
        keywords, kind = options.pop("callback_options", {}), options.pop("trainer", Ordered)
        self.trainer = kind(
            self.model, arguments(folder, **options), data_collator=collate, train_dataset=examples(),
            optimizers=(self.optimizer, self.scheduler), callbacks=[self.recorded],
        )  # fmt: skip
        if callback:
            self.trainer.add_callback(LandscapeCallback(self.trainer, *probing, **keywords))

    def train(self, **options):
        self.trainer.train(**options)
        return self


def sampled(size=SIZE):
    return SampledBatches(examples(), collate, size, "0:0")
