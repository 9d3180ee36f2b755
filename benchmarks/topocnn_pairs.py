"""How many H0 and H1 pairs do the planes of trained models hold, and what is left for TopoCNN to see?

Each model is trained with a fixed seed; then its loss on one training batch is measured on filter-normalised random
planes reaching ±.12, as TopoCNNLR's probes do, on grids of 7×7, 15×15 and 31×31 points. Pairs are counted with values
on vertices; "long" pairs exceed a thousandth of the range of losses, others may be rounding; "walls" are planes on
which a minor basin or a loop has a barrier of a tenth of the loss, which the corrected network is to call rugged.

    OMP_NUM_THREADS=1 python -m lrscape.benchmarks.topocnn_pairs [--planes 10] [--seeds 0 1]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import landscape, tda
from ..cli.digits import digits
from ..cli.digits import model as digits_cnn
from ..schedulers.topocnn_regimes import BARRIER, barrier
from .shortcuts import train as train_deep
from .text import CharTransformer, loss_on, sample, standard_library

REACH = 0.12
SIDES = (7, 15, 31)
BATCH = 64

Trained = tuple[nn.Module, Callable[[], Tensor]]


def on_digits(model: nn.Module) -> Trained:
    """Pair a model with its loss on a batch of digits."""
    x, y = digits().x[:BATCH], digits().y[:BATCH]
    model.eval()
    return model, lambda: F.cross_entropy(model(x), y)


def cnn(seed: int, steps: int = 300) -> Trained:
    """Train the demo's CNN by AdamW."""
    torch.manual_seed(seed)
    model, data = digits_cnn(), digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    stream = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(len(data.y), (BATCH,), generator=stream)
        optimizer.zero_grad()
        F.cross_entropy(model(data.x[chosen]), data.y[chosen]).backward()
        optimizer.step()
    return on_digits(model)


def deep(shortcut: bool, seed: int) -> Trained:
    """Train a network of 20 layers, residual or plain."""
    return on_digits(train_deep(20, shortcut, seed))


def transformer(seed: int, steps: int = 500) -> Trained:
    """Train the character transformer by AdamW."""
    torch.manual_seed(seed)
    model, (text, _) = CharTransformer(), standard_library()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    stream = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_on(model, sample(text, 16, model.context, stream)).backward()
        optimizer.step()
    batch = sample(text, 16, model.context, stream)
    return model.eval(), lambda: loss_on(model, batch)


MODELS: dict[str, Callable[[int], Trained]] = {
    "digits CNN": cnn,
    "plain network, 20 layers": partial(deep, False),
    "residual network, 20 layers": partial(deep, True),
    "character transformer": transformer,
}


def count(model: nn.Module, closure: Callable[[], Tensor], side: int, seed: tuple[int, ...]) -> list[Any]:
    """Count on one plane: H0, H1, both again if long, H0 with values on top cells, ratio of losses, wall."""
    directions = landscape.random_directions(model, 2, seed=seed)
    values = landscape.evaluate(model, closure, directions, landscape.grid(side, REACH)).values
    diagrams = tda.persistence(values)
    least = 1e-3 * float(np.ptp(values))
    long = [tda.minima_deeper_than(diagram, least) for diagram in diagrams]
    published = len(tda.persistence(values, "top")[0])
    return [*map(len, diagrams), *long, published, values.max() / values.min(), barrier(values)[0] > BARRIER]


def main() -> None:
    """Count on all planes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planes", type=int, default=10, help="planes for each model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of training; one model each")
    options = parser.parse_args()
    print("Mean number of pairs on a plane, largest in brackets.\n")
    print("| model | loss | grid | planes | H0 | H1 | long H0 | long H1 | H0 on top cells | max/min loss | walls |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, make in MODELS.items():
        trained = [make(seed) for seed in options.seeds]
        with torch.no_grad():
            loss = "–".join(f"{float(closure()):.2g}" for _, closure in trained)
        for side in SIDES:
            rows = np.array([
                count(model, closure, side, (seed, plane))
                for seed, (model, closure) in zip(options.seeds, trained, strict=True)
                for plane in range(options.planes)
            ])
            counts = [f"{column.mean():.1f} ({column.max():.0f})" for column in rows.T[:5]]
            ratio, walls = f"{np.median(rows[:, 5]):.3g}", f"{rows[:, 6].sum():.0f}"
            line = [name, loss, f"{side}×{side}", str(len(rows)), *counts, ratio, walls]
            print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()
