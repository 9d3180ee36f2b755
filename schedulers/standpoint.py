"""The point at which a schedule-free optimizer has left the parameters."""

from __future__ import annotations

from torch.optim import Optimizer


def stands_at_average(optimizer: Optimizer) -> bool:
    """Tell whether the parameters are a schedule-free optimizer's average x, not the point y where gradients are taken.

    Schedule-free optimizers keep y = (1 − β)·z + β·x in the parameters while they train and exchange it for x by
    ``optimizer.eval()`` (Defazio et al. 2024, arXiv:2405.15682, Eqs. 3–5). Before the first step all three are one.

    Args:
        optimizer: Any.

    Returns:
        Whether it is one and stands at x.
    """
    return any(
        not group.get("train_mode", True) and any("z" in optimizer.state.get(p, {}) for p in group["params"])
        for group in optimizer.param_groups
    )


def check_standpoint(optimizer: Optimizer) -> None:
    """Reject a probe at the average: the rate would follow a landscape that no step is taken in.

    Args:
        optimizer: Any.

    Raises:
        ValueError: If it stands at its average.
    """
    if stands_at_average(optimizer):
        raise ValueError(
            f"{type(optimizer).__name__} is in eval mode, so the parameters are its average x, but steps start from y; "
            "call optimizer.train() before probe()"
        )
