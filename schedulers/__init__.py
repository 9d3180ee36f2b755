"""Learning-rate schedulers steered by measurements of the loss landscape."""

from .base import LandscapeLR
from .history import Decision, History
from .topo import TopoLR, TopoMeasurement, published_rule

__all__ = ["Decision", "History", "LandscapeLR", "TopoLR", "TopoMeasurement", "published_rule"]
