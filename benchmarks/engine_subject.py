"""Time one landscape package against bare forward passes of the same model, in one process.

Run by engine.py, by path, in an environment that may have the peer and not lrscape: ``python -P engine_subject.py NAME
ROUNDS``. Each round times both in turn; the ratio of their times per point is printed for every cell as one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 21  # points along each axis
LEAST = 0.1  # seconds that bare forward passes take before and after a grid


class Transformer(nn.Module):
    """A decoder of two layers for characters, about 307,000 parameters."""

    def __init__(self, vocabulary: int = 96, width: int = 108, context: int = 32) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Parameter(torch.zeros(context, width))
        layer = partial(nn.TransformerEncoderLayer, width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.ModuleList([layer(), layer()])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, vocabulary))
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(context), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Predict the next character: (batch, vocabulary, context), as cross_entropy takes it."""
        hidden = self.tokens(x) + self.positions
        for layer in self.layers:
            hidden = layer(hidden, src_mask=self.mask, is_causal=True)
        return self.head(hidden).transpose(1, 2)


def cnn() -> nn.Sequential:
    """Make a CNN with BatchNorm: about 280,000 parameters, images of 16 × 16."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128), (128, 144)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if after != 64 else []
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(144, 144), nn.ReLU(), nn.Linear(144, 10)]
    return nn.Sequential(*layers)


def cifarnet() -> nn.Sequential:
    """Make CifarNet: three blocks of a convolution, and two linear layers."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 10))


def mlp() -> nn.Sequential:
    """Make an MLP of 9,098 parameters on 64 features."""
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 26), nn.ReLU(), nn.Linear(26, 10))


def images(batch: int, side: int) -> tuple[Tensor, Tensor]:
    """Make a batch of images with labels; what they show does not matter for the time."""
    return torch.randn(batch, 3, side, side), torch.randint(10, (batch,))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], tuple[Tensor, Tensor]]]] = {
    "CNN": (cnn, lambda batch: images(batch, 16)),
    "transformer": (Transformer, lambda batch: (torch.randint(96, (batch, 32)), torch.randint(96, (batch, 32)))),
    "MLP": (mlp, lambda batch: (torch.randn(batch, 64), torch.randint(10, (batch,)))),
    "CifarNet": (cifarnet, lambda batch: images(batch, 32)),
}
BATCHES = (32, 128)


class Subject(NamedTuple):
    """A package: how to evaluate a grid of n × n points with it, and what it is a distribution of."""

    distribution: str
    walk: Callable[[nn.Module, Tensor, Tensor, int], Any]
    closure: bool = False


def _ours(engine: str, closure: bool, model: nn.Module, x: Tensor, y: Tensor, n: int) -> Any:
    from lrscape import landscape

    directions = landscape.random_directions(model, 2, seed=0)
    what: Any = landscape.Objective(lambda m, b: F.cross_entropy(m(b[0]), b[1]), [(x, y)])
    if closure:
        what = lambda: F.cross_entropy(model(x), y)  # noqa: E731  one of two kinds of the same thing
    return landscape.evaluate(model, what, directions, landscape.grid(n), engine=engine)  # type: ignore[arg-type]


def _ours_in_loop(model: nn.Module, x: Tensor, y: Tensor, n: int) -> Any:
    from lrscape import landscape
    from lrscape.landscape.sweep import sweep

    directions = landscape.random_directions(model, 2, seed=0)
    return sweep(model, lambda: F.cross_entropy(model(x), y), directions, landscape.grid(n))


def _loss_landscapes(model: nn.Module, x: Tensor, y: Tensor, n: int) -> Any:
    import loss_landscapes

    metric = lambda wrapper: F.cross_entropy(wrapper.modules[0](x), y).item()  # noqa: E731  as its examples do
    return loss_landscapes.random_plane(model, metric, steps=n)


def _landscaper(model: nn.Module, x: Tensor, y: Tensor, n: int) -> Any:
    from landscaper.compute import compute_loss_landscape
    from landscaper.utils import generate_random_orthogonal_directions

    directions = generate_random_orthogonal_directions(model, 2)
    loss = lambda moved, _: float(F.cross_entropy(moved(x), y))  # noqa: E731  as its examples do
    return compute_loss_landscape(model, None, directions, loss, steps=n, distance=1.0, dim=2, device="cpu")


def _topoadamw(model: nn.Module, x: Tensor, y: Tensor, n: int) -> Any:
    from topoadamw.probe import SubspaceProbe

    return SubspaceProbe(model).grid_probe(x, y, F.cross_entropy, n)


SUBJECTS = {
    **{f"lrscape {name}": Subject("lrscape", partial(_ours, name, False)) for name in ("auto", "inplace")},
    **{f"lrscape {name}": Subject("lrscape", partial(_ours, name, False)) for name in ("batched", "threads")},
    "lrscape closure": Subject("lrscape", partial(_ours, "auto", True), closure=True),
    "lrscape in-loop": Subject("lrscape", _ours_in_loop, closure=True),
    "loss-landscapes": Subject("loss-landscapes", _loss_landscapes),
    "Landscaper": Subject("landscaper", _landscaper),
    "topoadamw": Subject("topoadamw", _topoadamw),
}


def seconds(function: Callable[[], Any]) -> float:
    """Time one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def bare(model: nn.Module, x: Tensor, y: Tensor, passes: int) -> None:
    """Run forward passes and nothing else."""
    with torch.no_grad():
        for _ in range(passes):
            F.cross_entropy(model(x), y)


def ratios(name: str, model_name: str, batch: int, side: int, rounds: int) -> list[float]:
    """Measure the time per point over that of a bare forward pass, before and after which it is taken."""
    torch.manual_seed(0)
    make, data = MODELS[model_name]
    model, (x, y) = make().eval(), data(batch)
    subject, found = SUBJECTS[name], []
    subject.walk(model, x, y, 3)  # imports, and kernels that are chosen at the first call
    bare(model, x, y, 5)
    passes = max(5, round(LEAST / (seconds(lambda: bare(model, x, y, 20)) / 20)))
    for _ in range(rounds):
        before = seconds(lambda: bare(model, x, y, passes))
        taken = seconds(lambda: subject.walk(model, x, y, side))
        after = seconds(lambda: bare(model, x, y, passes))
        found.append(taken / side**2 / ((before + after) / 2 / passes))
    return found


def main() -> None:
    """Print one JSON line for each cell that the arguments name: SUBJECT,… MODEL,… BATCH,… SIDE ROUNDS."""
    names, models, batches, side, rounds = sys.argv[1:6]
    for model in models.split(","):
        for batch in map(int, batches.split(",")):
            for name in names.split(","):
                try:
                    version(SUBJECTS[name].distribution)
                    cell: dict[str, Any] = {"ratios": ratios(name, model, batch, int(side), int(rounds))}
                except Exception as error:  # a peer may fail in its own way, which the table says
                    cell = {"error": f"{type(error).__name__}: {error}"}
                about = {"subject": name, "model": model, "batch": batch, "side": int(side)}
                sys.stdout.write(json.dumps({**about, **cell}) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
