"""Schedulers that need no model, as the contract suite constructs them."""

import torch

from lrscape.schedulers import InducedMetricLR, RiverLR


class SplitRiverLR(RiverLR):
    """The suite's closures return one loss, where this scheduler wants one for each example: make it two."""

    def measure(self, closure):
        def losses():
            loss = closure()
            return torch.stack([loss, loss**2]) if isinstance(loss, torch.Tensor) else loss

        return super().measure(losses)


def river(optimizer, model, **options):
    return SplitRiverLR(optimizer, **{"beta": 0.5, **options})


def induced_metric(optimizer, model, **options):
    """Driven by probe(), as the suite does; where optimizer steps drive it, test_induced_metric_lr.py has its own."""
    return InducedMetricLR(optimizer, automatic=False, **options)
