"""A character-level transformer on the source of the Python standard library."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import torch
from torch import Tensor

from ...text import CharTransformer, sample, standard_library
from .workload import Batch, Data, Workload

CONTEXT = 64
WINDOWS = 64  # in a batch of held-out text


def windows(codes: Tensor, size: int, stream: torch.Generator) -> Iterator[Batch]:
    """Draw windows for ever."""
    while True:
        yield sample(codes, size, CONTEXT, stream)


@cache
def source(_seed: int) -> Data:
    """Cut the source by place: nine tenths for training, then half a tenth each for validation and testing."""
    train, held_out = standard_library()
    validation, test = held_out.tensor_split(2)
    fixed = torch.Generator().manual_seed(10**6)
    return Data(
        partial(windows, train),
        [sample(validation, WINDOWS, CONTEXT, fixed) for _ in range(8)],
        [sample(test, WINDOWS, CONTEXT, fixed) for _ in range(16)],
    )


CHARACTERS = Workload(
    "transformer",
    "character-level transformer (2 layers, width 64, context 64) on the standard library's source",
    source,
    partial(CharTransformer, context=CONTEXT),
    steps=1500,
    batch=16,
    seconds=25.0,
    centre=8e-3,
    batches={64: 0.5, 256: 0.125},
    developed_on=True,
)
