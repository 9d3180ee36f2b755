"""Learning-rate schedulers steered by measurements of the loss landscape."""

from .averages import RunningAverage
from .base import LandscapeLR
from .history import Decision, History
from .segment import ValleyMeasurement, measure_segment
from .topo import TopoLR, TopoMeasurement, published_rule
from .topocnn import TopoCNNLR
from .topocnn_measurement import TopoCNNMeasurement
from .topocnn_network import TopoCNN
from .valley import ValleyLR

__all__ = [
    "Decision",
    "History",
    "LandscapeLR",
    "RunningAverage",
    "TopoCNN",
    "TopoCNNLR",
    "TopoCNNMeasurement",
    "TopoLR",
    "TopoMeasurement",
    "ValleyLR",
    "ValleyMeasurement",
    "measure_segment",
    "published_rule",
]
