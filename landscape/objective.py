"""A loss over a dataset, with metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .closure import accumulator, check_scalar
from .prefetch import prefetched

Value = Tensor | tuple[Any, Any]
LossFunction = Callable[[Any, Any], Value]

_NEEDED = "a 0-d tensor (the mean over the batch), a 1-D one (a loss for each example) or a pair (sum, count)"


def batch_size(batch: Any) -> int:
    """Find the number of examples in a batch of any structure.

    Args:
        batch: Any pytree of tensors, e.g. (x, y) or a dict.

    Returns:
        The first dimension of the first tensor that has one; 1 if there is none.

    Example:
        >>> batch_size({"input_ids": torch.zeros(4, 7), "labels": torch.zeros(4)})
        4
    """
    for leaf in pytree.tree_leaves(batch):
        if isinstance(leaf, Tensor) and leaf.dim() > 0:
            return leaf.shape[0]
    return 1


def weigh(value: Value, batch: Any, name: str) -> tuple[Tensor, Tensor]:
    """Turn what a loss function returned into a sum and a weight, attached to the graph if there is one.

    Args:
        value: A 0-d mean, a 1-D tensor of one loss per example, or a pair (sum, count).
        batch: The batch, whose size weighs a mean.
        name: How to call the function in messages.

    Returns:
        Two 0-d tensors in the dtype of the sums.

    Raises:
        TypeError: If it is none of these.
        ValueError: If a tuple is no pair, or a tensor has more dimensions.
    """
    if isinstance(value, tuple):
        if len(value) != 2:
            raise ValueError(f"{name} must return {_NEEDED}, got a tuple of {len(value)}; return the loss alone")
        total = check_scalar(value[0], name, "a 0-d torch.Tensor as the sum of its pair (sum, count)")
        total = total.to(accumulator(total))
        return total, torch.as_tensor(value[1], device=total.device).detach().to(total.dtype)
    if isinstance(value, Tensor) and value.dim() == 1:
        total = check_scalar(value.sum(), name)
        total = total.to(accumulator(total))
        return total, torch.full_like(total, value.numel(), requires_grad=False)
    mean = check_scalar(value, name, _NEEDED, "reduce it with .mean(), or return (losses.sum(), losses.numel())")
    mean = mean.to(accumulator(mean))
    weight = torch.full_like(mean, batch_size(batch), requires_grad=False)
    return mean * weight, weight


class _SharedForward:
    """A model that answers a repeated call with the same objects from memory.

    The loss and every metric are written as functions of (model, batch) and each calls the model; with this they
    share one forward pass. Only the last call is remembered, and only within one batch at one point.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._key: tuple[Any, ...] | None = None
        self._output: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        key = (*args, *sorted(kwargs.items(), key=lambda item: item[0]))
        if self._key is None or len(key) != len(self._key) or not self._same(key):
            self._output = self._model(*args, **kwargs)
            self._key = key
        return self._output

    def _same(self, key: tuple[Any, ...]) -> bool:
        flat, kept = pytree.tree_leaves(key), pytree.tree_leaves(self._key)
        return len(flat) == len(kept) and all(a is b for a, b in zip(flat, kept, strict=True))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class Objective:
    """A loss over a dataset, with any number of metrics from the same forward pass.

    The value at a point is Σ_b w_b·ℓ_b / Σ_b w_b over the batches b: a 0-d loss is a mean over its batch and weighs
    as many examples as the batch has (the first dimension of its first tensor); a pair (sum, count) is taken as it
    is, which token losses need.

    Args:
        loss_fn: ``loss_fn(model, batch)`` returns a 0-d tensor, a 1-D tensor of one loss per example, or a pair
            (sum, count).
        loader: Iterable of batches of any structure (tuples, dicts, any pytree); read anew at every pass, so a
            generator will not do. Tensors are moved to the model's device.
        metrics: By name, functions like ``loss_fn``. A metric that calls the model on the same batch as the loss
            does not cost another forward pass.
        channels_last: Lay images (4-D floating-point tensors) out with their channels innermost, for which
            convolutions on GPUs have faster kernels.

    Raises:
        TypeError: If a function is not callable or the loader cannot be read twice.
        ValueError: If a metric is called "loss".

    Example:
        >>> objective = Objective(lambda model, batch: model(batch).sum(), [torch.ones(2, 3)])
        >>> objective.names
        ('loss',)
    """

    def __init__(
        self,
        loss_fn: LossFunction,
        loader: Iterable[Any],
        metrics: Mapping[str, LossFunction] | None = None,
        *,
        channels_last: bool = False,
    ) -> None:
        metrics = dict(metrics or {})
        for name, function in {"loss_fn": loss_fn, **metrics}.items():
            if not callable(function):
                raise TypeError(f"{name} must be a function of (model, batch), got {type(function).__name__}")
        if "loss" in metrics:
            raise ValueError("metrics must not be called 'loss': that is the name of loss_fn's values")
        if not isinstance(loader, Iterable):
            raise TypeError(f"loader must be an iterable of batches, got {type(loader).__name__}")
        if isinstance(loader, Iterator):
            raise TypeError(
                f"loader must be readable more than once, got the iterator {type(loader).__name__}; pass the "
                "DataLoader itself or list(...)"
            )
        self.loss_fn = loss_fn
        self.loader: Iterable[Any] = loader
        self.metrics = metrics
        self.channels_last = channels_last
        self.names: tuple[str, ...] = ("loss", *metrics)

    def units(self, device: torch.device) -> Iterator[Any]:
        """Read the loader once.

        Args:
            device: Where tensors are moved to.

        Yields:
            One batch after the other.

        Raises:
            ValueError: If the loader has no batch.
        """
        empty = True
        for batch in prefetched(self.loader, device, channels_last=self.channels_last):
            empty = False
            yield batch
        if empty:
            raise ValueError("loader gave no batch; the loss over no data is not defined")

    def size(self) -> int | None:
        """Count the batches.

        Returns:
            Their number, or None if the loader does not know it.
        """
        try:
            return len(self.loader)  # type: ignore[arg-type]  # an iterable without a length raises TypeError
        except TypeError:
            return None

    def values(self, model: nn.Module, unit: Any) -> tuple[Tensor, Tensor]:
        """Compute the loss and all metrics on one batch.

        Args:
            model: The model at some point.
            unit: A batch.

        Returns:
            Sums and weights, each of shape (number of names,), in float64.
        """
        shared: Any = _SharedForward(model) if self.metrics else model
        sums, weights = [], []
        for name, function in {"loss_fn": self.loss_fn, **self.metrics}.items():
            total, weight = weigh(function(shared, unit), unit, name)
            sums.append(total.detach())
            weights.append(weight)
        return torch.stack(sums), torch.stack(weights)
