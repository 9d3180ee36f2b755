"""TopoAdamW: AdamW that probes the loss landscape and steers its own learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.optimizer import ParamsT

from ..schedulers import TopoCNNLR, TopoLR
from ..schedulers.checks import Bound
from .steered import Steered

PROBE = {"grid_size": "reference_grid", "span": "span", "n_samples": "samples"}
DENSE_PROBE = {"tda_grid_size": "grid_size", "span": "span"}
TRAINING = {
    "min_samples": "min_samples",
    "retrain_every": "retrain_every",
    "train_epochs": "train_steps",
    "buffer_capacity": "buffer_capacity",
}


def _translated(argument: str, given: Mapping[str, Any] | None, names: Mapping[str, str], known: set[str]) -> Any:
    """Give the paper's names their meaning here; names of the other mode are accepted and have no effect."""
    unknown = sorted(set(given or {}) - known)
    if unknown:
        raise ValueError(f"{argument} knows {', '.join(sorted(known))}, got {', '.join(unknown)}")
    return {names[name]: value for name, value in (given or {}).items() if name in names}


class TopoAdamW(Steered, AdamW):
    """Run AdamW with learning rates that follow the loss landscape around the model.

    θ ← AdamW step with rates η_i·f_i. Every ``interval`` steps after ``warmup_steps`` the landscape is measured on the
    batch just used, and the factor f_i ∈ [min_lr_ratio, max_lr_ratio] changes from the *next* step on:
    :class:`~lrscape.schedulers.TopoLR` decides, or :class:`~lrscape.schedulers.TopoCNNLR` with ``use_topo_cnn``. With
    preset="published" and no other scheduler, the rates are those of topoadamw 0.1.0.

    It is a ``torch.optim.AdamW``. ``param_groups`` hold the plain rates, which any torch scheduler may set: with a
    cosine on top, each step takes cosine rate × factor. In the published code the two overwrite each other.

    Source: Peng, "TopoAdamW" (2026 draft; code topoadamw 0.1.0). The arguments are the paper's. Differences: the preset
    is "corrected" unless you ask for the published one; it also sets min_lr_ratio, and the probe's points, where they
    are not given. No batch is cloned and nothing is printed.

    Args:
        params: As in AdamW.
        model: The model that the parameters belong to.
        lr: As in AdamW.
        weight_decay: As in AdamW, whose own default is .01; this one is the paper's.
        interval: Steps between probes, T; by default 50 in the published preset, else 100, or 200 with TopoCNN.
        probe_kwargs: ``span`` (.12); ``grid_size`` (15) and ``n_samples`` (16 in the published preset, else 0) of the
            sparse probe; ``tda_grid_size`` (7 in the published preset, else 15) with TopoCNN.
        max_lr_ratio: Upper bound of the factor, one number or one per group.
        min_lr_ratio: Lower bound; by default .05 (corrected) or .2 (published).
        warmup_steps: Steps before the first probe, W.
        use_topo_cnn: Let TopoCNN decide.
        topo_cnn_kwargs: ``min_samples`` (100), ``retrain_every`` (25), ``train_epochs`` (20), ``buffer_capacity``
            (500).
        verbose: Log decisions to the logger "lrscape", at level INFO.
        preset: "corrected" or "published".
        seed: Of the planes.
        **options: Further options of AdamW: betas, eps, amsgrad, foreach, fused, ….

    Raises:
        ValueError: If a number is out of range or a key is unknown.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = TopoAdamW(model.parameters(), model, lr=1e-3, interval=1, warmup_steps=0, preset="published")
        >>> x, y = torch.ones(4, 2), torch.full((4, 1), 9.0)
        >>> criterion = torch.nn.functional.mse_loss
        >>> criterion(model(x), y).backward()
        >>> optimizer.step(data=x, target=y, criterion=criterion)
        >>> optimizer.history[-1].reason, optimizer.factors, optimizer.param_groups[0]["lr"]
        ('flat', [1.0], 0.001)
    """

    def __init__(
        self,
        params: ParamsT,
        model: nn.Module,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 5e-4,
        *,
        interval: int | None = None,
        probe_kwargs: Mapping[str, Any] | None = None,
        max_lr_ratio: Bound = 1.0,
        min_lr_ratio: Bound | None = None,
        warmup_steps: int = 150,
        use_topo_cnn: bool = False,
        topo_cnn_kwargs: Mapping[str, Any] | None = None,
        verbose: bool = False,
        preset: Literal["corrected", "published"] = "corrected",
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, **options)
        keys = PROBE.keys() | DENSE_PROBE.keys()
        chosen = {
            **_translated("probe_kwargs", probe_kwargs, DENSE_PROBE if use_topo_cnn else PROBE, set(keys)),
            **_translated("topo_cnn_kwargs", topo_cnn_kwargs, TRAINING if use_topo_cnn else {}, set(TRAINING)),
            "preset": preset,
            "interval": interval,
            "warmup": warmup_steps,
            "min_ratio": min_lr_ratio,
            "max_ratio": max_lr_ratio,
            "seed": seed,
        }
        kind = TopoCNNLR if use_topo_cnn else TopoLR
        self.steer(model, lambda groups: kind(groups, model, **chosen), log=verbose)
