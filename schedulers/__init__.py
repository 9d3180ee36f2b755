"""Learning-rate schedulers steered by measurements of the loss landscape."""

from .adaptive_homotopy import AdaptiveHomotopyLR
from .averages import RunningAverage
from .base import LandscapeLR
from .curvature import CurvatureLR
from .curvature_measurement import KappaMeasurement, SharpnessMeasurement
from .curvature_warmup import CurvatureWarmup
from .distributed_state import DistributedState
from .example_losses import RiverMeasurement, measure_examples
from .gradient_measurement import GradientLossMeasurement, GradientMeasurement
from .history import Decision, History
from .homotopy import CurvatureAdaptiveLR, HomotopyLR
from .induced_metric import metric_factor
from .induced_metric_lr import InducedMetricLR
from .layer_groups import layer_param_groups
from .per_layer_homotopy import PerLayerHomotopyLR
from .per_layer_measurement import PerLayerMeasurement
from .per_layer_topo import PerLayerTopoLR
from .per_layer_topo_measurement import PerLayerTopoMeasurement
from .planned_rates import planned_rates
from .river import RiverLR
from .schedules import cosine, linear_warmup, multi_stage, wsd, wsd_s
from .segment import ValleyMeasurement, measure_segment
from .sgd_theory import min_warmup_steps, optimal_constant_lr, sgd_bound, sgd_bound_so_far
from .suggest_lr import SuggestedRate, suggest_lr
from .topo import TopoLR, TopoMeasurement, published_rule
from .topocnn import TopoCNNLR
from .topocnn_measurement import TopoCNNMeasurement
from .topocnn_network import TopoCNN
from .valley import ValleyLR

__all__ = [
    "AdaptiveHomotopyLR",
    "CurvatureAdaptiveLR",
    "CurvatureLR",
    "CurvatureWarmup",
    "Decision",
    "DistributedState",
    "GradientLossMeasurement",
    "GradientMeasurement",
    "History",
    "HomotopyLR",
    "InducedMetricLR",
    "KappaMeasurement",
    "LandscapeLR",
    "PerLayerHomotopyLR",
    "PerLayerMeasurement",
    "PerLayerTopoLR",
    "PerLayerTopoMeasurement",
    "RiverLR",
    "RiverMeasurement",
    "RunningAverage",
    "SharpnessMeasurement",
    "SuggestedRate",
    "TopoCNN",
    "TopoCNNLR",
    "TopoCNNMeasurement",
    "TopoLR",
    "TopoMeasurement",
    "ValleyLR",
    "ValleyMeasurement",
    "cosine",
    "layer_param_groups",
    "linear_warmup",
    "measure_examples",
    "measure_segment",
    "metric_factor",
    "min_warmup_steps",
    "multi_stage",
    "optimal_constant_lr",
    "planned_rates",
    "published_rule",
    "sgd_bound",
    "sgd_bound_so_far",
    "suggest_lr",
    "wsd",
    "wsd_s",
]
