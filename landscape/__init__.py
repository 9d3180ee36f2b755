"""Losses at points around a model: directions, points, evaluation, surfaces, features, curvature, checkpoints."""

from .adaptive import evaluate_adaptive, refine
from .by_layer import by_layer
from .checkpoint_formats import read_checkpoint
from .checkpoints import CheckpointReport, load_checkpoint
from .curvature_operator import CurvatureOperator
from .directions import Directions, directions_from_vectors
from .eigenvalues import TopEigenvalues, top_eigenvalues
from .evaluate import evaluate
from .features import Features, QuadraticFit, features, quadratic_fit, sharpness, variance
from .fisher import fisher
from .frobenius import FrobeniusNorm, frobenius
from .gauss_newton import gauss_newton
from .gradient_curvature import GradientCurvature, gradient_curvature
from .gradient_directions import gradient_direction
from .hessian_directions import hessian_directions
from .hvp import hessian, hvp
from .interpolation import Section, line_between, plane_through
from .kappa import Kappa, kappa
from .layers import layer_directions
from .normalisation import normalise
from .objective import Objective
from .points import Points, grid, grid_around, line, points, sparse_stencil
from .power_iteration import PowerIteration, power_iteration
from .preconditioned import PreconditionedSharpness, preconditioned, preconditioned_sharpness
from .random_directions import random_directions
from .spectral_density import SpectralDensity, spectral_density
from .stability import stability_factor
from .stacking import orthogonalise, stack_directions
from .subset import subset
from .surface import LossSurface
from .trace import Trace, trace
from .trajectory import Trajectory, trajectory
from .true_losses import true_losses
from .update_directions import update_direction

__all__ = [
    "CheckpointReport",
    "CurvatureOperator",
    "Directions",
    "Features",
    "FrobeniusNorm",
    "GradientCurvature",
    "Kappa",
    "LossSurface",
    "Objective",
    "Points",
    "PowerIteration",
    "PreconditionedSharpness",
    "QuadraticFit",
    "Section",
    "SpectralDensity",
    "TopEigenvalues",
    "Trace",
    "Trajectory",
    "by_layer",
    "directions_from_vectors",
    "evaluate",
    "evaluate_adaptive",
    "features",
    "fisher",
    "frobenius",
    "gauss_newton",
    "gradient_curvature",
    "gradient_direction",
    "grid",
    "grid_around",
    "hessian",
    "hessian_directions",
    "hvp",
    "kappa",
    "layer_directions",
    "line",
    "line_between",
    "load_checkpoint",
    "normalise",
    "orthogonalise",
    "plane_through",
    "points",
    "power_iteration",
    "preconditioned",
    "preconditioned_sharpness",
    "quadratic_fit",
    "random_directions",
    "read_checkpoint",
    "refine",
    "sharpness",
    "sparse_stencil",
    "spectral_density",
    "stability_factor",
    "stack_directions",
    "subset",
    "top_eigenvalues",
    "trace",
    "trajectory",
    "true_losses",
    "update_direction",
    "variance",
]
