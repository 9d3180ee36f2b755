"""The four experiments of the curvature paper at the scale of one core: what is trained, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import Tensor, nn

from .study.workloads import BUNDLED
from .study.workloads.workload import Batch, Data, Workload
from .text import CharTransformer

LARGEST, SMALLEST, SIZE = 100.0, 0.1, 50  # of the quadratic's eigenvalues, and how many
DEPTHS = (2, 4, 8, 16)


@dataclass(frozen=True)
class Experiment:
    """What one of the four experiments compares.

    Attributes:
        title: For tables and figures.
        workloads: By name; rates are tuned on the first one for all of them.
        arms: See :data:`lrscape.benchmarks.homotopy_arms.ARMS`; "constant" among them.
        multiples: Of the tuned rate.
        rates: What is tried, for arms with a rate of their own; all others take that of the constant arm.
        reading: Steps between readings of the validation accuracy, or 0 for none.
    """

    title: str
    workloads: dict[str, Workload]
    arms: tuple[str, ...]
    multiples: tuple[float, ...]
    rates: dict[str, tuple[float, ...]]
    reading: int = 0


class Bowl(nn.Module):
    """L = ½ Σ_i λ_i·(q_i·θ)² with λ from .1 to 100 and a random basis q; the output is the residual √λ_i·q_i·θ."""

    root: Tensor

    def __init__(self) -> None:
        super().__init__()
        eigenvalues = torch.linspace(SMALLEST, LARGEST, SIZE)
        basis, _ = torch.linalg.qr(torch.randn(SIZE, SIZE))
        self.register_buffer("root", eigenvalues.sqrt()[:, None] * basis)
        self.weight = nn.Parameter(torch.randn(SIZE))

    def forward(self, _: Tensor) -> Tensor:
        """Give the residual, of shape (1, SIZE), whatever the input."""
        out: Tensor = (self.root @ self.weight)[None]
        return out


def half_square(output: Tensor, target: Tensor) -> Tensor:
    """Compute half the sum of squares of what the target leaves, which is zero here."""
    return (output - target).square().sum() / 2


def share_solved(output: Tensor, target: Tensor) -> Tensor:
    """Give the share of residuals below a thousandth."""
    return ((output - target).abs() < 1e-3).double().mean()


@cache
def nothing(_seed: int) -> Data:
    """Give data for a loss that needs none."""
    batch = torch.zeros(1, 1), torch.zeros(1, SIZE)

    def forever(_size: int, _stream: torch.Generator) -> Iterator[Batch]:
        while True:
            yield batch

    return Data(forever, [batch], [batch])


QUADRATIC = Workload(
    "quadratic", "convex quadratic, condition number 1,000", nothing, Bowl, steps=400, batch=1, centre=0.01,
    optimizer="sgd", weight_decay=0.0, loss=half_square, accuracy=share_solved, seconds=0.3,
)  # fmt: skip
DIGITS = replace(BUNDLED["digits"], optimizer="sgd", weight_decay=0.0)
CHARACTERS = replace(BUNDLED["transformer"], steps=600)


def deep(depth: int) -> Workload:
    """Describe the character transformer at another depth, at half the width."""
    made = partial(CharTransformer, width=32, layers=depth, context=64)
    return replace(CHARACTERS, name=f"depth-{depth}", model=made, steps=300)


SGD_RATES = (1e-2, 2e-2, 4e-2, 8e-2, 0.16, 0.32, 0.64)
ADAM_RATES = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
ADAM_STEPS = (0.01, 0.03, 0.1, 0.3, 1.0)

EXPERIMENTS = {
    "quadratic": Experiment(
        "quadratic with known curvature",
        {"quadratic": QUADRATIC},
        ("constant", "adam", "homotopy", "near edge", "kappa"),
        (1.0, 100.0),
        {"constant": tuple(2 / LARGEST * share for share in (0.25, 0.5, 0.9, 0.99, 0.999)), "adam": ADAM_STEPS},
    ),
    "digits": Experiment(
        "CNN with BatchNorm on digits, SGD with momentum",
        {"digits": DIGITS},
        ("constant", "step", "cosine", "homotopy", "near edge", "homotopy cosine", "kappa"),
        (1.0, 10.0),
        dict.fromkeys(("constant", "step", "cosine"), SGD_RATES),
        reading=10,
    ),
    "transformer": Experiment(
        "character transformer on the standard library's source, AdamW",
        {"transformer": CHARACTERS},
        ("constant", "warmup cosine", "homotopy", "near edge", "homotopy cosine", "curvature warmup", "kappa"),
        (1.0, 3.0, 10.0),
        dict.fromkeys(("constant", "warmup cosine"), ADAM_RATES),
    ),
    "depth": Experiment(
        "character transformer of width 32 by depth, AdamW",
        {f"depth-{depth}": deep(depth) for depth in DEPTHS},
        ("constant", "homotopy", "kappa"),
        (1.0, 3.0),
        {"constant": ADAM_RATES},
    ),
}
