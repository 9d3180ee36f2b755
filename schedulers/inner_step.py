"""Advance an inner scheduler as it would advance without an outer one."""

from __future__ import annotations

from torch.optim.lr_scheduler import ChainedScheduler, LRScheduler, SequentialLR


def check_epoch(inner: LRScheduler, epoch: float) -> None:
    """Reject an epoch for a scheduler that only counts.

    Args:
        inner: The scheduler.
        epoch: Where it is to go.

    Raises:
        ValueError: If torch knows no rates of a given epoch for it.
    """
    if isinstance(inner, SequentialLR | ChainedScheduler):
        raise ValueError(
            f"inner is a {type(inner).__name__}, which cannot be set to epoch {epoch}: torch has no rates of a given "
            "epoch for it. Call step() without one; in a SequentialLR, whose milestones set epoch 0, put it first"
        )


def advance(inner: LRScheduler, epoch: int | None, *, by_step: bool) -> None:
    """Take a step of an inner scheduler.

    Args:
        inner: The scheduler.
        epoch: None for the next one; some schedulers take fractions.
        by_step: Whether the outer scheduler's ``step`` was called. ``SequentialLR`` goes past it at its milestones, and
            not all schedulers give the same rates then.
    """
    if epoch is None:
        inner.step()
    elif not by_step:
        inner._update_lr(epoch)
    elif type(inner).step is LRScheduler.step:
        # What torch's step does, except for deprecating the epoch, as the outer scheduler's has just done.
        inner._step_count += 1
        inner._update_lr(epoch)
    else:
        inner.step(epoch)
