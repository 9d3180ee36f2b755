"""Train with schedulers one after the other, kill that with SIGKILL at random moments, go on each time, and compare.

    python killed_training.py FOLDER KILLS SEED together|each

All schedulers of the contract suite in one run, or a run for each. Prints one JSON object. A process of its own,
because it forks: the children need not load torch again.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
import torch.nn.functional as F
from contract import FACTORIES
from torch import nn

from lrscape.landscape.files import atomic_write

STEPS, BETWEEN_SAVES, BATCH = 24, 2, 8


class Training:
    """A run whose order of the data, dropout and probes depend on the random state: all of it is in the checkpoint."""

    def __init__(self, factory, stage):
        torch.manual_seed(stage)
        self.model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 3))
        groups = [{"params": [*self.model[0].parameters(), *self.model[1].parameters()]},
                  {"params": [*self.model[4].parameters()], "lr": 0.01}]  # fmt: skip
        kind = (torch.optim.AdamW, torch.optim.SGD)[stage % 2]
        self.optimizer = kind(groups, lr=0.02)
        inner = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, STEPS)
        self.scheduler = factory(self.optimizer, self.model, interval=2, warmup=2, inner=inner)
        self.x, self.y = torch.randn(40, 6), torch.randint(3, (40,))
        self.rates, self.step = [], 0

    def advance(self):
        chosen = torch.randperm(len(self.x))[:BATCH]
        x, y = self.x[chosen], self.y[chosen]
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()
        self.optimizer.step()
        self.scheduler.probe(lambda: F.cross_entropy(self.model(x), y))
        self.scheduler.step()
        self.rates.append([float(group["lr"]) for group in self.optimizer.param_groups])
        self.step += 1

    def state(self):
        return {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(), "random": torch.get_rng_state(), "rates": self.rates,
            "step": self.step,
        }  # fmt: skip

    def restore(self, state):
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["random"])
        self.rates, self.step = state["rates"], state["step"]

    def outcome(self):
        weights = {name: value.flatten().tolist() for name, value in self.model.state_dict().items()}
        decisions = [repr(decision) for decision in self.scheduler.history]
        return {"weights": weights, "rates": self.rates, "history": decisions}


def train(factories, file):
    """Run all stages, from the checkpoint if there is one; give what each ended with."""
    saved = torch.load(file, weights_only=True) if file.exists() else {"outcomes": [], "now": None}
    outcomes, now = saved["outcomes"], saved["now"]
    for stage in range(len(outcomes), len(factories)):
        run = Training(factories[stage], stage)
        if now is not None:
            run.restore(now)
        while run.step < STEPS:
            run.advance()
            if run.step % BETWEEN_SAVES == 0:
                now = run.state() if run.step < STEPS else None
                if now is None:
                    outcomes.append(run.outcome())
                with atomic_write(file) as opened:
                    torch.save({"outcomes": outcomes, "now": now}, opened)
    return outcomes


def in_child(factories, file, result):
    child = os.fork()
    if child == 0:
        try:
            outcomes = train(factories, file)
            with atomic_write(result) as opened:
                opened.write(json.dumps(outcomes).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child


def ended_well(child):
    assert os.waitpid(child, 0)[1] == 0, "a child failed"


def campaign(folder, kills, moment, names):
    """Kill one run as often as asked, and compare what it ends with."""
    folder.mkdir()
    factories = [FACTORIES[name] for name in names]
    start = time.monotonic()
    ended_well(in_child(factories, folder / "whole.pt", folder / "whole.json"))
    seconds = time.monotonic() - start
    file, result = folder / "run.pt", folder / "run.json"
    killed, resumed = 0, 0
    while killed < kills or not result.exists():
        resumed += file.exists() and killed > 0
        child = in_child(factories, file, result)
        if killed == kills:
            ended_well(child)
            break
        time.sleep(moment.uniform(0.0, 2.0 * seconds / kills))
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == 0:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            killed += 1
        else:
            assert status == 0, "a child failed"
            if killed < kills:  # it was done before its time: start anew
                file.unlink()
                result.unlink()
    whole, found = (json.loads((folder / name).read_text()) for name in ("whole.json", "run.json"))
    differ = [
        f"{name}: {part}"
        for name, a, b in zip(names, whole, found, strict=True)
        for part in a
        if repr(a[part]) != repr(b[part])  # NaN is like NaN
    ]
    decisions = min(len(outcome["history"]) for outcome in found)
    left = sorted(path.name for path in folder.iterdir())
    told = {"kills": killed, "resumed": resumed, "schedulers": len(found), "differ": differ, "decisions": decisions}
    return {**told, "left_behind": left}


def warm_up():
    """Load here what torch loads when it is first used, or every child would; no backward pass before a fork."""
    import torch._dynamo  # noqa: F401

    run = Training(FACTORIES["TopoCNNLR"], 0)
    run.optimizer.zero_grad()
    run.scheduler.measure(lambda: run.model(run.x).square().mean())
    FACTORIES["TopoLR"](run.optimizer, run.model).measure(lambda: run.model(run.x).square().mean())


def main():
    folder, kills, moment = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    torch.set_num_threads(1)  # a forked child cannot use its parent's threads
    warm_up()
    groups = {"together": list(FACTORIES)} if sys.argv[4] == "together" else {name: [name] for name in FACTORIES}
    found = {name: campaign(folder / name, kills, moment, names) for name, names in groups.items()}
    sys.stdout.write(json.dumps(found))


main()
