"""Models and the published reference case, shared by the tests of the room."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from examples import MODELS
from torch import nn

REFERENCE = Path(__file__).parent.parent / "reference"


class Reference:
    """The published code's model, data, directions and losses."""

    def __init__(self):
        self.numbers = json.loads((REFERENCE / "topoadamw.json").read_text())
        self.arrays = dict(np.load(REFERENCE / "topoadamw.npz"))
        self.model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3),
        )  # fmt: skip
        self.model.load_state_dict(torch.load(REFERENCE / "model_state.pt", weights_only=True))
        self.x, self.y = torch.tensor(self.arrays["X"]), torch.tensor(self.arrays["Y"])

    def closure(self):
        return F.cross_entropy(self.model(self.x), self.y)


@pytest.fixture
def reference():
    return Reference()


@pytest.fixture(params=MODELS)
def example(request):
    """(model, batch) of ten kinds."""
    return MODELS[request.param]()
