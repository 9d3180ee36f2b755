"""Accelerate: the scheduler behind what ``prepare`` returns."""

from __future__ import annotations

from .probers import Prober, only_prober


def landscape_scheduler(prepared: object) -> Prober:
    """Find the landscape-driven scheduler in what ``accelerator.prepare`` returned, to probe with it.

    ::

        model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, TopoLR(optimizer, model))
        landscape = landscape_scheduler(scheduler)
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = F.cross_entropy(model(x), y)
                accelerator.backward(loss)
                optimizer.step()
                landscape.probe(lambda: F.cross_entropy(model(x), y))
                scheduler.step()
                optimizer.zero_grad()

    The prepared scheduler has no ``probe`` of its own, but it steps as Accelerate wants it: not while gradients
    accumulate or where a step was skipped, and once per process otherwise. The landscape's counts optimizer steps
    instead, by a hook, so it measures once per optimizer step whatever else is called how often; an ``inner`` schedule
    advances with the prepared scheduler.

    Args:
        prepared: What ``prepare`` returned for the scheduler, or for an optimizer that steers itself.

    Returns:
        The scheduler or optimizer that was given to ``prepare``.

    Raises:
        TypeError: If there is none in it, or more than one.

    Example:
        >>> import torch
        >>> from lrscape.schedulers import RiverLR
        >>> scheduler = RiverLR(torch.optim.SGD([torch.zeros(1)], lr=0.1))
        >>> landscape_scheduler(scheduler) is scheduler
        True
    """
    return only_prober(prepared)
