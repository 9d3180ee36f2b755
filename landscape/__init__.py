"""Losses at points around a model: directions, points, evaluation, surfaces, features, checkpoints."""

from .adaptive import evaluate_adaptive, refine
from .checkpoint_formats import read_checkpoint
from .checkpoints import CheckpointReport, load_checkpoint
from .directions import Directions, directions_from_vectors
from .evaluate import evaluate
from .features import Features, QuadraticFit, features, quadratic_fit, sharpness, variance
from .gradient_directions import gradient_direction
from .interpolation import Section, line_between, plane_through
from .layers import layer_directions
from .normalisation import normalise
from .objective import Objective
from .points import Points, grid, grid_around, line, points, sparse_stencil
from .random_directions import random_directions
from .stacking import orthogonalise, stack_directions
from .surface import LossSurface
from .trajectory import Trajectory, trajectory
from .true_losses import true_losses
from .update_directions import update_direction

__all__ = [
    "CheckpointReport",
    "Directions",
    "Features",
    "LossSurface",
    "Objective",
    "Points",
    "QuadraticFit",
    "Section",
    "Trajectory",
    "directions_from_vectors",
    "evaluate",
    "evaluate_adaptive",
    "features",
    "gradient_direction",
    "grid",
    "grid_around",
    "layer_directions",
    "line",
    "line_between",
    "load_checkpoint",
    "normalise",
    "orthogonalise",
    "plane_through",
    "points",
    "quadratic_fit",
    "random_directions",
    "read_checkpoint",
    "refine",
    "sharpness",
    "sparse_stencil",
    "stack_directions",
    "trajectory",
    "true_losses",
    "update_direction",
    "variance",
]
