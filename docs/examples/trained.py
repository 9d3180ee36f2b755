"""What the examples look at: CNNs on scikit-learn's handwritten digits, each trained in a second or two."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrscape import benchmarks, landscape
from lrscape.benchmarks import gallery
from lrscape.cli import digits

RESULTS = Path(benchmarks.__path__[0]) / "results"
State = dict[str, Tensor]


@cache
def network(seed: int = 0) -> tuple[nn.Module, list[State]]:
    """Train on clean labels: the network, and its states at thirteen times, the first before any step."""
    return gallery.train(seed, checkpoints=13, epochs=8)


def load(state: State) -> nn.Module:
    """Make a network of one of the states."""
    model = digits.model()
    model.load_state_dict(state)
    return model.eval()


def objective(images: int = 200) -> landscape.Objective:
    """Make the loss on some training images, in two batches, with the accuracy as a metric."""
    data = digits.digits()
    half = images // 2
    batches = list(zip(data.x[:images].split(half), data.y[:images].split(half), strict=True))
    return landscape.Objective(
        lambda m, b: F.cross_entropy(m(b[0]), b[1]), batches, {"accuracy": gallery.accuracy}
    )  # fmt: skip


def closure(model: nn.Module) -> Callable[[], Tensor]:
    """Make the loss on 400 training images as a closure."""
    data = digits.digits()
    return lambda: F.cross_entropy(model(data.x[:400]), data.y[:400])


@cache
def minima_surface() -> landscape.LossSurface:
    """Measure the plane through three minima, with statistics estimated anew at each point."""
    minima = [network(seed)[0] for seed in range(3)]
    section = landscape.plane_through(minima[0], *minima)
    return landscape.evaluate(
        section.model, objective(), section.directions, section.points(25), batch_norm="recalibrate"
    )


def steps(make: Callable[..., Any], lr: float, count: int, optimizer: str = "adamw") -> Any:
    """Train on noisy labels for some steps under a scheduler that probes, and give it back."""
    torch.manual_seed(0)
    model, x, labels = digits.model(), digits.digits().x, digits.noisy_labels()
    parameters = model.parameters()
    sgd = optimizer == "sgd"
    used = torch.optim.SGD(parameters, lr, momentum=0.9) if sgd else torch.optim.AdamW(parameters, lr)
    scheduler = make(used, model)
    for _ in range(count):
        chosen = torch.randint(len(x), (64,))
        loss = F.cross_entropy(model(x[chosen]), labels[chosen])
        used.zero_grad()
        loss.backward()
        used.step()
        scheduler.probe(lambda chosen=chosen: F.cross_entropy(model(x[chosen]), labels[chosen]))
        scheduler.step()
    return scheduler
