"""Schedules that are functions of the step, as factories of ``torch.optim.lr_scheduler.LambdaLR``."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from .decay_shapes import DecayShape
from .stages import Stages, whole_numbers

SHARE = 10  # by default the last tenth of the steps decays, as in Hu et al. 2024, arXiv:2404.06395
INVERSE_FLOOR = 0.1


def linear_warmup(optimizer: Optimizer, steps: int, *, last_epoch: int = -1) -> LambdaLR:
    """Raise the rate linearly to its full value, and leave it there.

    η_t = η·min(1, t/W) at the t-th step, t = 1, 2, …. How many steps a given curvature asks for:
    :func:`min_warmup_steps`. As ``inner=`` of another scheduler it is a warmup in front of that one.

    Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2, here from η/W.

    Args:
        optimizer: Whose rates; those it has now are the full ones.
        steps: W.
        last_epoch: As in torch.

    Returns:
        The scheduler; step it once per optimizer step.

    Example:
        >>> from lrscape.schedulers import planned_rates
        >>> planned_rates(lambda optimizer: linear_warmup(optimizer, 4), 1.0, 6).tolist()
        [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    whole_numbers("steps", [steps], least=0)
    return LambdaLR(optimizer, Stages((max(steps, 1),), (0,), (1.0,), warmup=steps), last_epoch)


def cosine(
    optimizer: Optimizer, total_steps: int, *, warmup: int = 0, floor: float = 0.0, last_epoch: int = -1
) -> LambdaLR:
    """Let the rate fall along half a cosine, after an optional linear warmup.

    η_t = η·(m + (1 − m)·(1 + cos πp)/2), p = (t − W)/(T − W), after t steps. It equals torch's CosineAnnealingLR, after
    torch's LinearLR, but stays at the floor after T steps instead of rising again.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5. Where formulas count the first step as t = 1,
    their last step has the rate 0; here the first has the full rate.

    Args:
        optimizer: Whose rates; those it has now are the peaks.
        total_steps: T, the warmup included.
        warmup: W.
        floor: m, a fraction of the peak.
        last_epoch: As in torch.

    Returns:
        The scheduler; step it once per optimizer step.

    Example:
        >>> from lrscape.schedulers import planned_rates
        >>> planned_rates(lambda optimizer: cosine(optimizer, 4), 1.0, 5).round(4).tolist()
        [1.0, 0.8536, 0.5, 0.1464, 0.0]
    """
    whole_numbers("total_steps", [total_steps], least=1)
    whole_numbers("warmup", [warmup], least=0)
    stages = Stages((total_steps,), (max(total_steps - warmup, 0),), (1.0,), warmup, "cosine", floor)
    return LambdaLR(optimizer, stages, last_epoch)


def wsd(
    optimizer: Optimizer,
    total_steps: int,
    *,
    warmup: int = 0,
    decay: int | None = None,
    shape: DecayShape = "linear",
    floor: float | None = None,
    last_epoch: int = -1,
) -> LambdaLR:
    """Warm up, hold the rate, and let it fall at the end (WSD).

    Source: Hu et al. 2024, arXiv:2404.06395; why it works, and the inverse decay: Wen et al. 2024, arXiv:2410.05192.
    The shapes: :func:`~lrscape.schedulers.decay_shapes.decayed`.

    Args:
        optimizer: Whose rates; those it has now are the peaks.
        total_steps: Warmup and decay included.
        warmup: Steps in which the rate rises linearly.
        decay: Steps in which it falls; a tenth of all by default.
        shape: "linear", "cosine", "sqrt" or "inverse".
        floor: Where it ends, as a fraction of the peak; .1 for "inverse" and 0 for the others by default.
        last_epoch: As in torch.

    Returns:
        The scheduler; step it once per optimizer step.

    Example:
        >>> from lrscape.schedulers import planned_rates
        >>> planned_rates(lambda optimizer: wsd(optimizer, 6, warmup=2, decay=2), 1.0, 7).tolist()
        [0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0]
    """
    return wsd_s(optimizer, [total_steps], warmup=warmup, decay=decay, shape=shape, floor=floor, last_epoch=last_epoch)


def wsd_s(
    optimizer: Optimizer,
    ends: Sequence[int],
    *,
    warmup: int = 0,
    decay: int | Sequence[int] | None = None,
    shape: DecayShape = "inverse",
    floor: float | None = None,
    last_epoch: int = -1,
) -> LambdaLR:
    """Hold the rate, decay for a checkpoint, resume from it at the full rate, and so on (WSD-S).

    The steps of every decay are part of the one run, so each of the checkpoints is good to use.

    Source: Wen et al. 2024, arXiv:2410.05192.

    Args:
        optimizer: Whose rates; those it has now are the peaks.
        ends: Steps at which a decay is over; the checkpoints.
        warmup: Steps in which the rate rises linearly, once.
        decay: Steps of each decay, one number or one for each end; by default a tenth of the steps up to there, at
            most those since the end before.
        shape: "linear", "cosine", "sqrt" or "inverse".
        floor: Where a decay ends, as a fraction of the peak; .1 for "inverse" and 0 for the others by default.
        last_epoch: As in torch.

    Returns:
        The scheduler; step it once per optimizer step.

    Example:
        >>> from lrscape.schedulers import planned_rates
        >>> rates = planned_rates(lambda optimizer: wsd_s(optimizer, [4, 8], decay=2, shape="linear"), 1.0, 8)
        >>> rates.tolist()
        [1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 0.5]
    """
    whole_numbers("ends", ends, least=1)
    begins = [warmup, *ends][: len(ends)]
    if decay is None:
        decays = [min(-(-end // SHARE), max(end - begin, 0)) for begin, end in zip(begins, ends, strict=True)]
    else:
        decays = [decay] * len(ends) if isinstance(decay, int) else list(decay)
    lowest = (INVERSE_FLOOR if shape == "inverse" else 0.0) if floor is None else floor
    stages = Stages(tuple(ends), tuple(decays), (1.0,) * len(ends), warmup, shape, lowest)
    return LambdaLR(optimizer, stages, last_epoch)


def multi_stage(
    optimizer: Optimizer,
    lengths: Sequence[int],
    *,
    peaks: float | Sequence[float] = 1.0,
    decay: int | Sequence[int] | None = None,
    warmup: int = 0,
    shape: DecayShape = "cosine",
    floor: float = 0.0,
    last_epoch: int = -1,
) -> LambdaLR:
    """Let the rate fall within each stage and restart it at the next.

    With one length repeated and a cosine it equals torch's CosineAnnealingWarmRestarts; with decay=0 stages are
    constant.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983.

    Args:
        optimizer: Whose rates; those it has now are what ``peaks`` multiplies.
        lengths: Steps of each stage.
        peaks: Where each stage starts, as a factor on the optimizer's rate; one number or one for each stage.
        decay: Steps of each decay at the end of a stage, one number or one for each stage; by default it takes the
            whole stage, but for the warmup.
        warmup: Steps in which the rate rises linearly, part of the first stage.
        shape: "linear", "cosine", "sqrt" or "inverse".
        floor: Where a decay ends, as a fraction of its peak.
        last_epoch: As in torch.

    Returns:
        The scheduler; step it once per optimizer step.

    Example:
        >>> from lrscape.schedulers import planned_rates
        >>> rates = planned_rates(lambda optimizer: multi_stage(optimizer, [2, 2], peaks=[1, 0.25], decay=0), 0.1, 4)
        >>> rates.tolist()
        [0.1, 0.1, 0.025, 0.025]
    """
    whole_numbers("lengths", lengths, least=1)
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    if decay is None:
        decays = [max(length - (warmup if i == 0 else 0), 0) for i, length in enumerate(lengths)]
    else:
        decays = [decay] * len(lengths) if isinstance(decay, int) else list(decay)
    tops = [peaks] * len(lengths) if isinstance(peaks, (int, float)) else list(peaks)
    stages = Stages(tuple(ends), tuple(decays), tuple(float(top) for top in tops), warmup, shape, floor)
    return LambdaLR(optimizer, stages, last_epoch)
