"""What do penalties change, against none, weight decay and SAM, on digits with wrong labels and on two tasks?

digits: the ten classes, a fifth of the training labels wrong. tasks: the ten classes with right labels, and beside it,
on the same trunk, which of five groups a digit is in, with 60 % of the training labels drawn at random. A network of
two hidden layers, SGD with momentum and a cosine; each arm is run with several coefficients, the published one among
them, and the one with the least validation loss (wrong labels there too) is reported beside the published one. Test
labels are right. The head's Hessian trace is taken on the test images.

Every finished run is one line of ``results/penalties.jsonl``; runs found there are not repeated. ``--quick`` makes
short runs of two seeds and keeps none. 435 runs take half an hour on one core.

    OMP_NUM_THREADS=1 python -m lrscape.benchmarks.penalties [--problems digits tasks] [--seeds 0 1 2 3 4] [--quick]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..cli.digits import digits, noisy_labels
from ..landscape.files import atomic_write
from ..penalties import DMTA, NGER, SBMP, apply_cvp_, head_hessian_trace, sasp, task_scales
from .residual_vs_plain import interval
from .sam import sam_backward

RESULTS = Path(__file__).parent / "results" / "penalties.jsonl"
STEPS, BATCH, PEAK, WIDTH, HELD_OUT = 2000, 64, 0.05, 128, 200
TASK_NOISE = 0.6

# Coefficients tried; the published one first, where there is one. Those of SAM are its radii.
DECAYS = [1e-2, 1e-3, 1e-1]
ARMS: dict[str, list[float]] = {
    "none": [0.0],
    "weight decay": [1e-4, 1e-3, 1e-2, 3e-2],
    "SAM": [0.05, 0.1, 0.2, 0.5],
    "SASP": [1e-2, 1e-3, 1e-1, 1.0],
    "CVP, published": [*DECAYS, 3e-2],
    "CVP, corrected": [*DECAYS, 3e-2],
    "SBMP, α = 5": [1.0, 0.1, 10.0],
    "SBMP, α = 1": [1.0, 0.1, 10.0],
    "DMTA, published": [1e-2, 1e-1, 1.0],
    "DMTA from zero": [1e-2, 1e-1, 1.0],
    "SASP + CVP, published": [1e-2, 1e-3, 3e-2],
    "SASP + CVP, corrected": [1e-2, 1e-3, 3e-2],
    "head Hessian trace": [1e-2, 1e-3, 1e-1],
}
TASK_ARMS: dict[str, list[float]] = {
    "NGER, published": [0.0],
    "NGER, corrected": [0.1, 0.5],
}  # the coefficient is the floor


@dataclass(frozen=True)
class Problem:
    """Images (n, 64) and labels (n, T), to train on, to choose coefficients by, and to test on."""

    x: Tensor
    y: Tensor
    x_validation: Tensor
    y_validation: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[int, ...]


def problem(name: str, seed: int) -> Problem:
    """Draw the wrong labels and the validation set."""
    data, stream = digits(), torch.Generator().manual_seed(seed)
    if name == "digits":
        y, y_test, classes = noisy_labels(seed)[:, None], data.y_test[:, None], (10,)
    else:
        drawn = torch.where(
            torch.rand(len(data.y), generator=stream) < TASK_NOISE,
            torch.randint(5, data.y.shape, generator=stream),
            data.y % 5,
        )
        y, y_test, classes = torch.stack([data.y, drawn], 1), torch.stack([data.y_test, data.y_test % 5], 1), (10, 5)
    order = torch.randperm(len(y), generator=stream)
    held, used = order[:HELD_OUT], order[HELD_OUT:]
    x = data.x.flatten(1)
    return Problem(x[used], y[used], x[held], y[held], data.x_test.flatten(1), y_test, classes)


class Network(nn.Module):
    """A trunk of two hidden layers and a linear head for each task."""

    def __init__(self, classes: Sequence[int]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.heads = nn.ModuleList([nn.Linear(WIDTH, count) for count in classes])

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Give what the heads see, and their logits."""
        features = self.trunk(x)
        return features, [head(features) for head in self.heads]


class Arm:
    """Leaves in ``.grad`` what an arm descends."""

    def __init__(self, name: str, coefficient: float, model: Network) -> None:
        self.name, self.coefficient, self.model = name, coefficient, model
        self.parameters = list(model.parameters())
        self.dmta = DMTA(start="zero" if name.endswith("zero") else "first")
        self.nger = NGER(len(model.heads), floor=coefficient) if name.startswith("NGER") else None
        self.signs = torch.Generator().manual_seed(0)

    def backward(self, x: Tensor, y: Tensor) -> None:
        """Go one pass forward and back, or more if the arm needs them."""
        if self.name == "SAM":
            sam_backward(lambda: self._base(x, y)[0], self.parameters, self.coefficient)
            return
        base, losses, features, logits = self._base(x, y)
        penalty = self._penalty(base, features, logits, x, y)
        if self.nger is not None:
            base = self.nger(torch.stack(losses), task_scales(losses, self.model.trunk.parameters()))
        (base if penalty is None else base + self.coefficient * penalty).backward()
        if "CVP" in self.name:
            published = self.name.endswith("published")
            apply_cvp_(
                self.parameters,
                self.coefficient,
                sign="published" if published else "cautious",
                gate="published" if published else "relative",
            )

    def _base(self, x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor], Tensor, list[Tensor]]:
        features, logits = self.model(x)
        losses = [F.cross_entropy(z, wanted) for z, wanted in zip(logits, y.T, strict=True)]
        return torch.stack(losses).mean(), losses, features, logits

    def _penalty(self, base: Tensor, features: Tensor, logits: list[Tensor], x: Tensor, y: Tensor) -> Tensor | None:
        kind = self.name.split()[0].rstrip(",")
        if kind == "SASP":
            parts = [sasp(z, features, wanted) for z, wanted in zip(logits, y.T, strict=True)]
        elif kind == "head":
            parts = [head_hessian_trace(z, features) for z in logits]
        elif kind == "SBMP":
            noisy = SBMP(float(self.name.split()[-1]))
            parts = [
                noisy(lambda e, head=head: head(self.model.trunk(e)), x, z, generator=self.signs)
                for head, z in zip(self.model.heads, logits, strict=True)
            ]
        elif kind == "DMTA":
            parts = [self.dmta(torch.autograd.grad(base, self.parameters, create_graph=True))]
        else:
            return None
        return torch.stack(parts).mean()


def run(name: str, arm: str, coefficient: float, seed: int, steps: int) -> dict[str, Any]:
    """Train one network and measure it."""
    data = problem(name, seed)
    torch.manual_seed(seed)
    model = Network(data.classes)
    side = Arm(arm, coefficient, model)
    decay = coefficient if arm == "weight decay" else 0.0
    optimizer = torch.optim.SGD(model.parameters(), PEAK, momentum=0.9, weight_decay=decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    stream = torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    for _ in range(steps):
        chosen = torch.randint(len(data.y), (BATCH,), generator=stream)
        optimizer.zero_grad()
        side.backward(data.x[chosen], data.y[chosen])
        optimizer.step()
        scheduler.step()
    seconds = time.perf_counter() - start
    return {
        "problem": name, "arm": arm, "coefficient": coefficient, "seed": seed, "steps": steps, **measure(model, data),
        "seconds": seconds, "torch": str(torch.__version__), "date": date.today().isoformat(),
    }  # fmt: skip


@torch.no_grad()
def measure(model: Network, data: Problem) -> dict[str, Any]:
    """Collect losses, accuracies and traces, a number for each task."""
    found: dict[str, Any] = {}
    parts = {
        "train": (data.x, data.y),
        "validation": (data.x_validation, data.y_validation),
        "test": (data.x_test, data.y_test),
    }
    for part, (x, y) in parts.items():
        features, logits = model(x)
        pairs = list(zip(logits, y.T, strict=True))
        found[f"{part}_loss"] = [float(F.cross_entropy(z, wanted)) for z, wanted in pairs]
        found[f"{part}_accuracy"] = [float((z.argmax(1) == wanted).double().mean()) for z, wanted in pairs]
        found[f"{part}_trace"] = [float(head_hessian_trace(z, features)) for z in logits]
    return found


def rows(runs: list[dict[str, Any]], arms: dict[str, list[float]]) -> list[tuple[str, float, str]]:
    """List arm, coefficient and how it was chosen: the published one, and the one with the least validation loss."""
    listed: list[tuple[str, float, str]] = []
    for arm, coefficients in arms.items():
        losses = {
            c: float(np.mean([e["validation_loss"] for e in runs if (e["arm"], e["coefficient"]) == (arm, c)]))
            for c in coefficients
        }
        finite = {c: loss for c, loss in losses.items() if np.isfinite(loss)}
        best = min(finite, key=lambda c: finite[c], default=coefficients[0])
        if arm.startswith(("SASP", "CVP", "SBMP, α = 5", "DMTA")) and best != coefficients[0]:
            listed.append((arm, coefficients[0], "published"))
        listed.append((arm, best, "by validation" if len(coefficients) > 1 else ""))
    return listed


def print_tables(runs: list[dict[str, Any]], name: str, arms: dict[str, list[float]]) -> None:
    """Print means with 95 % t-intervals over seeds, and paired differences from the runs without a penalty."""
    quantities = {"test loss": "test_loss", "test accuracy": "test_accuracy", "head Hessian trace": "test_trace"}
    for task in range(len(runs[0]["test_loss"])):
        print(f"\n{name}, task {task}: mean with 95 % interval over seeds; paired difference from none")
        heads = [f"{title} | difference" for title in quantities]
        print(f"| arm | coefficient | {' | '.join(heads)} | train loss |\n|{'---|' * (2 * len(heads) + 3)}")
        for arm, coefficient, how in rows(runs, arms):
            cells = []
            for key in [*quantities.values(), "train_loss"]:
                by = {
                    kind: {e["seed"]: e[key][task] for e in runs if (e["arm"], e["coefficient"]) == kind}
                    for kind in ((arm, coefficient), ("none", 0.0))
                }
                mine, none = by[arm, coefficient], by["none", 0.0]
                cells.append(interval(list(mine.values())))
                if key != "train_loss":
                    cells.append("–" if arm == "none" else interval([mine[s] - none[s] for s in mine if s in none]))
            print(f"| {arm} | {coefficient:g}{', ' + how if how else ''} | {' | '.join(cells)} |")


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=["digits", "tasks"], default=["digits", "tasks"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--quick", action="store_true", help="two seeds, 60 steps, nothing kept")
    options = parser.parse_args()
    seeds, steps = (options.seeds[:2], 60) if options.quick else (options.seeds, STEPS)
    found = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() and not options.quick else []
    done: list[dict[str, Any]] = [json.loads(line) for line in found]
    for name in options.problems:
        arms = ARMS | TASK_ARMS if name == "tasks" else ARMS
        for seed in seeds:
            for arm, coefficients in arms.items():
                for coefficient in coefficients:
                    key = {"problem": name, "arm": arm, "coefficient": coefficient, "seed": seed, "steps": steps}
                    if any(key.items() <= entry.items() for entry in done):
                        continue
                    done.append(run(name, arm, coefficient, seed, steps))
                    if not options.quick:
                        with atomic_write(RESULTS) as file:
                            file.write("".join(json.dumps(entry) + "\n" for entry in done).encode())
        print_tables([e for e in done if e["problem"] == name and e["seed"] in seeds], name, arms)


if __name__ == "__main__":
    main()
