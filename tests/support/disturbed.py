"""What a probe must survive without a trace: modes that are mixed, and a loss that draws, fails or is interrupted."""

import random
import signal
from contextlib import nullcontext

import numpy as np
import pytest
import torch

OUTCOMES = ["success", "exception", "interrupt"]


class Stop(Exception):
    pass


def mixed_modes(model):
    """Train every other module, and have gradients for some of the parameters."""
    for i, module in enumerate(model.modules()):
        module.training = i % 2 == 0
    wanted = [p for i, p in enumerate(model.parameters()) if i % 3 and p.requires_grad]
    if wanted:
        sum((p.float() ** 2).sum() for p in wanted).backward()


class Disturbed:
    """A loss that uses every random state and goes wrong at one of its calls, if it is to go wrong."""

    def __init__(self, loss, outcome, last):
        self.loss, self.outcome, self.last, self.calls = loss, outcome, last, 0

    def __call__(self):
        random.random()
        np.random.rand()
        torch.rand(1)
        loss = self.loss()  # may raise by itself, as under vmap where a model cannot do that; such calls do not count
        self.calls += 1
        if self.calls == self.last and self.outcome == "exception":
            raise Stop
        if self.calls == self.last and self.outcome == "interrupt":
            signal.raise_signal(signal.SIGINT)
        return loss

    def ending(self):
        """A context for what calls it: the exception that it must end with, if any."""
        if self.outcome == "success":
            return nullcontext()
        return pytest.raises(Stop if self.outcome == "exception" else KeyboardInterrupt)
