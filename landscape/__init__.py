"""Losses at points around a model: directions, points, evaluation, surfaces, features, checkpoints."""

from .checkpoint_formats import read_checkpoint
from .checkpoints import CheckpointReport, load_checkpoint
from .directions import Directions, directions_from_vectors, random_directions
from .evaluate import evaluate
from .features import Features, QuadraticFit, features, quadratic_fit, sharpness, variance
from .objective import Objective
from .points import Points, grid, line, points, sparse_stencil
from .surface import LossSurface

__all__ = [
    "CheckpointReport",
    "Directions",
    "Features",
    "LossSurface",
    "Objective",
    "Points",
    "QuadraticFit",
    "directions_from_vectors",
    "evaluate",
    "features",
    "grid",
    "line",
    "load_checkpoint",
    "points",
    "quadratic_fit",
    "random_directions",
    "read_checkpoint",
    "sharpness",
    "sparse_stencil",
    "variance",
]
