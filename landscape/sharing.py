"""How ranks share the points and the data of a scan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from .closure import Task
from .engines import Job
from .identity import first_unit, hash_batch
from .objective import Objective
from .ranks import Ranks
from .shards import any_spread

Share = Literal["auto", "points", "batches", "data", "none"]


def check_share(share: str) -> None:
    """Reject an unknown way of sharing.

    Args:
        share: What the user passed.

    Raises:
        ValueError: If there is none of that name.
    """
    if share not in get_args(Share):
        raise ValueError(f"share must be one of {', '.join(get_args(Share))}, got {share!r}")


def resolve_share(share: Share, job: Job, ranks: Ranks) -> Literal["points", "batches", "data"]:
    """Decide how ranks share a scan.

    Args:
        share: What the user passed.
        job: What is evaluated.
        ranks: More than one.

    Returns:
        "points": all ranks read the same data and each takes some points. "batches": each takes all points and some
        batches of the same data. "data": each takes all points on data of its own, and the sums are added up.

    Raises:
        ValueError: If the model or the objective does not allow what was asked for.
    """
    in_step = any_spread(job.model.parameters())
    if not isinstance(job.task, Objective):
        if share in {"points", "batches"}:
            raise ValueError(
                f"share={share!r} needs an Objective, whose data every rank can read; with a closure each rank "
                "evaluates its own batch and the losses are averaged (share='data')"
            )
        return "data"
    if share == "points" and in_step:
        raise ValueError(
            "share='points' is not possible with parameters that are sharded over the ranks: all must walk the same "
            "points in step; use share='batches' or 'data'"
        )
    if share in {"points", "batches", "data"}:
        return share
    own = _reads_its_own(job, ranks)
    if own:
        return "data"
    return "batches" if in_step else "points"


def _reads_its_own(job: Job, ranks: Ranks) -> bool:
    """Tell whether ranks have different data: by the sampler, else by the first batch."""
    from torch.utils.data.distributed import DistributedSampler

    samplers = [getattr(job.task.loader, name, None) for name in ("sampler", "batch_sampler")]
    samplers += [getattr(sampler, "sampler", None) for sampler in samplers]
    by_sampler = any(isinstance(s, DistributedSampler) and s.num_replicas == ranks.size for s in samplers)
    first = "sampled" if by_sampler else hash_batch(first_unit(job.task, torch.device("cpu")))
    found = ranks.gather(first)
    return by_sampler or len(set(found)) > 1


class Dealt:
    """The batches of a task that one rank takes: every n-th.

    Where the last round does not go round, the ranks without a batch evaluate another with weight 0: with sharded
    parameters every forward pass needs all ranks.

    Args:
        task: All batches.
        ranks: This rank and their number.
    """

    def __init__(self, task: Task, ranks: Ranks) -> None:
        self.whole, self._ranks = task, ranks
        self.names, self.loader = task.names, task.loader
        self.padded = 0

    def units(self, device: torch.device) -> Iterator[Any]:
        """Read the loader once and yield this rank's batches.

        Args:
            device: Where tensors are moved to.

        Yields:
            Batches, and whether they count.
        """
        self.padded, first, position = 0, None, 0
        for i, unit in enumerate(self.whole.units(device)):
            position = i % self._ranks.size
            first = unit if position == 0 else first
            if position == self._ranks.rank:
                yield unit, True
        if self._ranks.rank > position:
            self.padded = 1
            yield first, False

    def size(self) -> int | None:
        """Count this rank's batches.

        Returns:
            Their number, or None if the loader does not know it.
        """
        size = self.whole.size()
        return None if size is None else -(-size // self._ranks.size)

    def values(self, model: nn.Module, unit: Any) -> tuple[Tensor, Tensor]:
        """Compute sums and weights.

        Args:
            model: The model at some point.
            unit: A batch, and whether it counts.

        Returns:
            As the task does; zeros for a batch that does not count.
        """
        batch, counts = unit
        sums, weights = self.whole.values(model, batch)
        return (sums, weights) if counts else (torch.zeros_like(sums), torch.zeros_like(weights))
