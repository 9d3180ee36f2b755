"""Learning-rate schedulers steered by measurements of the loss landscape."""

from .base import LandscapeLR
from .history import Decision, History
from .topo import TopoLR, TopoMeasurement, published_rule
from .topocnn import TopoCNNLR
from .topocnn_measurement import TopoCNNMeasurement
from .topocnn_network import TopoCNN

__all__ = [
    "Decision",
    "History",
    "LandscapeLR",
    "TopoCNN",
    "TopoCNNLR",
    "TopoCNNMeasurement",
    "TopoLR",
    "TopoMeasurement",
    "published_rule",
]
