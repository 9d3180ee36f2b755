"""Every system of the papers, added to the constant arm and compared with it."""

from __future__ import annotations

from functools import partial

from lrscape.optim import InducedMetricLog, InducedMetricRMS, InducedMetricSGD
from lrscape.schedulers import AdaptiveHomotopyLR, CurvatureWarmup, HomotopyLR, PerLayerHomotopyLR

from . import descents
from .curvature import climbing, curvature
from .entry import Arm, Kind
from .feedback import Induced, River
from .landscape import topo_cnn
from .optimizers import MuonBeside, adamw, amsgrad, induced, level_rate, momentum

KAPPA = {"criterion": "kappa"}
OFTEN = KAPPA | {"interval": 10}

KINDS: dict[str, Kind] = {
    "topocnn-published": Kind(partial(topo_cnn, changes={"preset": "published"}), cost=1.5),
    "homotopy": Kind(partial(curvature, kind=HomotopyLR), cost=1.2),
    "homotopy-kappa": Kind(partial(curvature, kind=HomotopyLR, probes=None, changes=KAPPA), cost=3.0),
    "adaptive": Kind(partial(curvature, kind=AdaptiveHomotopyLR, probes=20, changes={"ramp": 5}), cost=1.4),
    "adaptive-kappa": Kind(
        partial(curvature, kind=AdaptiveHomotopyLR, probes=None, changes=OFTEN | {"ramp": 10}), cost=3.0
    ),
    "per-layer": Kind(partial(curvature, kind=PerLayerHomotopyLR, probes=5, layers=True), cost=1.4),
    "per-layer-kappa": Kind(
        partial(curvature, kind=PerLayerHomotopyLR, probes=None, layers=True, changes=OFTEN),
        cost=4.0,
    ),
    "curvature-warmup": Kind(
        partial(curvature, kind=CurvatureWarmup, ramped=False, probes=20, changes={"growth": climbing}), cost=1.1
    ),
    "curvature-warmup-kappa": Kind(
        partial(curvature, kind=CurvatureWarmup, ramped=False, probes=None, changes=KAPPA | {"growth": climbing}),
        cost=1.3,
    ),
    "river": Kind(River),
    "river-published": Kind(partial(River, changes={"preset": "published"})),
    "induced-lr": Kind(Induced),
    "induced-lr-log": Kind(partial(Induced, changes={"embedding": "log"})),
    "sgd": Kind(partial(level_rate, make=momentum)),
    "adamw": Kind(partial(level_rate, make=adamw)),
    "amsgrad": Kind(partial(level_rate, make=amsgrad)),
    "muon": Kind(MuonBeside, cost=1.5),
    "induced-sgd": Kind(partial(induced, kind=InducedMetricSGD), cost=1.1),
    "induced-log": Kind(partial(induced, kind=InducedMetricLog), cost=1.1),
    "induced-rms": Kind(partial(induced, kind=InducedMetricRMS), cost=1.1),
    "sam": Kind(partial(descents.descending, make=descents.sharpness_aware), cost=2.0),
    "sasp": Kind(partial(descents.descending, make=descents.with_sasp), cost=1.2),
    "cvp": Kind(partial(descents.descending, make=descents.with_cvp), cost=1.2),
    "cvp-published": Kind(partial(descents.descending, make=descents.with_published_cvp), cost=1.2),
    "sbmp": Kind(partial(descents.descending, make=descents.with_sbmp), cost=2.0),
    "dmta": Kind(partial(descents.descending, make=descents.with_dmta), cost=4.0),
    "nger": Kind(partial(descents.descending, make=descents.with_nger), cost=2.0),
    "nger-published": Kind(partial(descents.descending, make=descents.with_published_nger), cost=2.0),
}

IMAGES = ("digits", "digits-noise", "residual")
VECTORS = (*IMAGES, "tabular")  # inputs that can be moved
SMALL = ("digits", "digits-noise", "digits-noise-sgd", "tabular")
ADAM = ("digits", "transformer", "digits-noise", "tabular", "residual")  # workloads of AdamW
SEVERAL = ("tasks-noise", "tasks-scale")  # more than one task
MATRICES = ("digits", "transformer", "digits-noise", "tabular")  # with hidden layers that Muon can train


def near(title: str, kind: str, workloads: tuple[str, ...] | None = None) -> Arm:
    """Describe a scheduler: it may find that a neighbour of the constant arm's rate suits it better."""
    return Arm(title, kind, rate="near constant", sensitivity=False, group="systems", workloads=workloads)


def own(title: str, kind: str, shift: float, workloads: tuple[str, ...] | None = None) -> Arm:
    """Describe an optimizer: its rate is tuned."""
    return Arm(title, kind, sensitivity=False, group="systems", workloads=workloads, shift=shift)


def beside(title: str, kind: str, workloads: tuple[str, ...] | None = None) -> Arm:
    """Describe a penalty: everything else is as in the constant arm, its rate too."""
    return Arm(title, kind, rate="constant", sensitivity=False, group="systems", workloads=workloads)


ARMS: dict[str, Arm] = {
    "topocnn-published": near("TopoCNNLR, published", "topocnn-published"),
    "homotopy": near("HomotopyLR", "homotopy"),
    "homotopy-kappa": near("HomotopyLR, published κ", "homotopy-kappa", (*SMALL, "residual")),
    "adaptive": near("AdaptiveHomotopyLR", "adaptive"),
    "adaptive-kappa": near("AdaptiveHomotopyLR, published κ", "adaptive-kappa", SMALL),
    "per-layer": near("PerLayerHomotopyLR", "per-layer"),
    "per-layer-kappa": near("PerLayerHomotopyLR, published κ", "per-layer-kappa", SMALL),
    "curvature-warmup": near("CurvatureWarmup", "curvature-warmup"),
    "curvature-warmup-kappa": near("CurvatureWarmup, published κ", "curvature-warmup-kappa", SMALL),
    "river": near("RiverLR", "river"),
    "river-published": near("RiverLR, published", "river-published", SMALL),
    "induced-lr": near("InducedMetricLR", "induced-lr"),
    "induced-lr-log": near("InducedMetricLR, logarithm", "induced-lr-log"),
    "induced-sgd": own("InducedMetricSGD", "induced-sgd", 32.0),
    "induced-log": own("InducedMetricLog", "induced-log", 8.0),
    "induced-rms": own("InducedMetricRMS", "induced-rms", 1.0),
    "sgd": own("SGD, momentum .9", "sgd", 16.0, ADAM),
    "adamw": own("AdamW", "adamw", 0.25, ("digits-noise-sgd",)),
    "amsgrad": own("AdamW with amsgrad", "amsgrad", 1.0, ADAM),
    "muon": own("Muon, AdamW beside it", "muon", 1.0, MATRICES),
    "sam": beside("SAM, ρ = .05", "sam"),
    "sasp": beside("SASP, ρ = .01", "sasp"),
    "cvp": beside("CVP, λ = .01", "cvp"),
    "cvp-published": beside("CVP, published, λ = .01", "cvp-published"),
    "sbmp": beside("SBMP, α = 5", "sbmp", VECTORS),
    "dmta": beside("DMTA, λ = .01", "dmta", VECTORS),
    "nger": near("NGER, φ = .1", "nger", SEVERAL),
    "nger-published": near("NGER, published", "nger-published", SEVERAL),
}
