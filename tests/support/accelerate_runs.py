"""Small runs with Accelerate; import it only where Accelerate is installed."""

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from plain_loop import batches, loss_of, losses_of, network, optimizer_of, rates_of

from lrscape.integrations.accelerate import landscape_scheduler

EPOCHS = 5


def forget():
    """Accelerate keeps its settings in classes."""
    for kind in (AcceleratorState, GradientState, PartialState):
        kind._reset_state()


@pytest.fixture(autouse=True)
def fresh():
    forget()
    yield
    forget()


class Prepared:
    """The loop of docs/integrations.md."""

    def __init__(self, make, loader=None, *, first=False, optimizer_of=optimizer_of, accelerator=None, **options):
        self.accelerator = Accelerator(cpu=True, **options) if accelerator is None else accelerator
        model = network()
        optimizer = optimizer_of(model)
        if first:  # the scheduler is made for what is prepared already
            optimizer = self.accelerator.prepare(optimizer)
        self.model, self.optimizer, self.loader, self.scheduler = self.accelerator.prepare(
            model, optimizer, batches() if loader is None else loader, make(optimizer, model)
        )
        self.landscape = landscape_scheduler(self.scheduler)
        self.rates = []

    def train(self, epochs=EPOCHS):
        for _ in range(epochs):
            for batch in self.loader:
                with self.accelerator.accumulate(self.model):
                    self.advance(batch)
        return self

    def advance(self, batch):
        closure = lambda: loss_of(self.model, batch)  # noqa: E731
        if self.landscape.probes_first:
            self.landscape.probe(closure)
        self.backward(batch)
        self.optimizer.step()
        if not self.landscape.probes_first:
            self.landscape.probe(closure)
        self.finish()

    def backward(self, batch):
        self.accelerator.backward(loss_of(self.model, batch))

    def finish(self):
        self.scheduler.step()
        self.optimizer.zero_grad()
        if self.accelerator.sync_gradients:
            self.rates.append(rates_of(self.optimizer))


class Observed(Prepared):
    """Without a probe: the scheduler is told the losses of training, whose gradients are taken."""

    def advance(self, batch):
        losses = losses_of(self.model, batch)
        self.landscape.observe(losses.detach())
        self.accelerator.backward(losses.mean())
        self.optimizer.step()
        self.finish()
