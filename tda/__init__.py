"""Topology of sampled functions: arrays in, persistence out."""

from .diagrams import Diagrams, finite_points
from .distances import bottleneck, wasserstein
from .field import Cells
from .images import persistence_image
from .mergetree import MergeTree, merge_tree
from .persistence import persistence
from .profile import Profile, profile
from .ratio_images import corrected_image, log_ratio_image, published_image
from .simplify import simplify
from .summaries import (
    betti_curve,
    max_persistence,
    minima_deeper_than,
    persistence_entropy,
    persistence_landscape,
    total_persistence,
)

__all__ = [
    "Cells",
    "Diagrams",
    "MergeTree",
    "Profile",
    "betti_curve",
    "bottleneck",
    "corrected_image",
    "finite_points",
    "log_ratio_image",
    "max_persistence",
    "merge_tree",
    "minima_deeper_than",
    "persistence",
    "persistence_entropy",
    "persistence_image",
    "persistence_landscape",
    "profile",
    "published_image",
    "simplify",
    "total_persistence",
    "wasserstein",
]
