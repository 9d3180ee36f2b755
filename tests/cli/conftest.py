"""A user's folder: their own module, a checkpoint of it, and the command line called from there."""

import sys

import pytest
import torch
from torch import nn

from lrscape.cli import main

USERCODE = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import torch.nn.functional as F

constant = 3
x = torch.linspace(-1, 1, 36).reshape(12, 3)

def model():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

def data():
    return DataLoader(TensorDataset(x, torch.arange(12) % 2), batch_size=5)

def floats():
    return [(x, x[:, :2].contiguous())]

def loss(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])

def top1(model, batch):
    return (model(batch[0]).argmax(1) == batch[1]).float().mean()

def infinite(model, batch):
    return loss(model, batch) / 0

def wrong(model, batch):
    return batch["labels"]

def refused(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1][:2])

def item(model, batch):
    return loss(model, batch).item()

def noisy():
    print("printed by the user's code")
    return data()

def interrupted(model, batch):
    raise KeyboardInterrupt

def needs(width):
    return model()

def nothing():
    pass

def generator():
    yield from data()

def dataset():
    return data().dataset

def one_batch():
    return x, torch.arange(12) % 2

def one_dict():
    return {"x": x}

def no_batches():
    return []

class WithLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x, labels=None):
        logits = self.linear(x)
        return {"logits": logits, "loss": None if labels is None else F.cross_entropy(logits, labels)}

class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTM(3, 2)

    def forward(self, x):
        return self.cell(x)[0]

class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return (x * self.scale)[:, :2]

def dicts():
    return [{"x": x, "labels": torch.arange(12) % 2}]
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "usercode", raising=False)
    (tmp_path / "usercode.py").write_text(USERCODE)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    torch.save({"model": model.state_dict(), "epoch": 1}, "model.pt")
    yield tmp_path
    sys.modules.pop("usercode", None)


@pytest.fixture
def probe(user):
    def run(*arguments, checkpoint="model.pt", model="usercode:model", data="usercode:data", grid="3"):
        size = () if any(a in {"--line", "--grid", "--cube"} for a in arguments) else ("--grid", grid)
        return main(["probe", checkpoint, "--model", model, "--data", data, *size, *arguments])

    return run
