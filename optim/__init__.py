"""Drop-in optimizers that measure the loss landscape and steer their own learning rate."""

from .curvature_clip import curvature_aware_clip_
from .homotopy_adam import HomotopyAdam
from .induced_metric_rms import InducedMetricRMS
from .induced_metric_sgd import InducedMetricLog, InducedMetricSGD
from .steered import Steered
from .topoadamw import TopoAdamW

__all__ = [
    "HomotopyAdam",
    "InducedMetricLog",
    "InducedMetricRMS",
    "InducedMetricSGD",
    "Steered",
    "TopoAdamW",
    "curvature_aware_clip_",
]
