"""Penalties on the loss, as published and corrected."""

from .composite import CompositePenalty
from .cvp import CVP, apply_cvp_, cvp, cvp_gate
from .dmta import DMTA, dmta
from .head_hessian import head_hessian_trace
from .nger import NGER, nger_weights, task_scales
from .sasp import SASP, sasp
from .sasp_general import GeneralSASP, sasp_general
from .sbmp import SBMP, sbmp, sign_noise

__all__ = [
    "CVP",
    "DMTA",
    "NGER",
    "SASP",
    "SBMP",
    "CompositePenalty",
    "GeneralSASP",
    "apply_cvp_",
    "cvp",
    "cvp_gate",
    "dmta",
    "head_hessian_trace",
    "nger_weights",
    "sasp",
    "sasp_general",
    "sbmp",
    "sign_noise",
    "task_scales",
]
