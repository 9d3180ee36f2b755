"""A deep residual network on handwritten digits."""

from __future__ import annotations

from functools import partial

from ...shortcuts import network
from .digits import clean
from .workload import Workload

RESIDUAL = Workload(
    "residual",
    "residual network of 20 layers on handwritten digits",
    clean,
    partial(network, 20, True),
    steps=240,
    batch=64,
    seconds=6.0,
    centre=8e-3,
    batches={16: 1.0, 256: 0.25},
)
