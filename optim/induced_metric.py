"""What the induced-metric optimizers share: one metric over all groups, momentum, decay, and the step."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from ..landscape.shards import local
from ..schedulers.induced_metric import Embedding, agreed_loss, check_metric, metric_factor

OF_ALL_GROUPS = ("beta", "embedding", "per_parameter")
OWN = ("beta", "embedding", "per_parameter", "metric_average", "metric_steps")


@dataclass(frozen=True, eq=False)
class Part:
    """Parameters that are updated together, each with its gradient and state.

    Attributes:
        whole: The parameters.
        here: What of them this rank holds; they themselves, unless they are spread over ranks.
        gradients: Likewise, pointing downhill for what is minimised.
        states: By name what the optimizer remembers, without what other ranks hold of it.
        steps: How many steps each has taken, this one included.
        group: Their options.
    """

    whole: list[Tensor]
    here: list[Tensor]
    gradients: list[Tensor]
    states: dict[str, list[Tensor]]
    steps: list[int]
    group: dict[str, Any]


def check_options(lr: float | Tensor, weight_decay: float, **shares: float) -> None:
    """Reject options out of range.

    Args:
        lr: Learning rate.
        weight_decay: Decoupled decay.
        **shares: Weights of averages, by name.

    Raises:
        ValueError: If one is out of range.
    """
    for name, value in (("lr", float(lr)), ("weight_decay", weight_decay)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and not negative, got {value}")
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {value}")


class InducedMetric(Optimizer):
    """Base: θ ← (1 − η·wd)·θ − η·c·direction, with one factor c from the metric of all groups together.

    A subclass says what belongs to the metric (:meth:`_squared`) and where the step goes (:meth:`_directions`).

    Args:
        params: As in torch.
        defaults: Options of groups; "lr", "momentum", "xi", "weight_decay", "maximize" and "foreach" among them.
        beta: b, of the metric's average.
        embedding: f.
        per_parameter: Take ξ/P for ξ.
    """

    memory: tuple[str, ...] = ("momentum_buffer",)

    def __init__(
        self, params: ParamsT, defaults: dict[str, Any], *, beta: float, embedding: Embedding, per_parameter: bool
    ) -> None:
        check_metric(defaults["xi"], beta, embedding)
        self.beta = beta
        self.embedding: Embedding = embedding
        self.per_parameter = per_parameter
        self.metric_average: Tensor | None = None  # S
        self.metric_steps = 0  # k
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group as in torch.

        Args:
            param_group: Parameters and options.

        Raises:
            TypeError: If a parameter is complex.
            ValueError: If an option is given that all groups share.
        """
        shared = [name for name in OF_ALL_GROUPS if name in param_group]
        if shared:
            raise ValueError(
                f"{', '.join(shared)} cannot differ between groups, since all of them share one metric; give it to "
                f"{type(self).__name__} itself"
            )
        super().add_param_group(param_group)
        odd = [p for p in self.param_groups[-1]["params"] if p.is_complex()]
        if odd:
            self.param_groups.pop()
            raise TypeError(
                f"{type(self).__name__} needs real parameters, got {odd[0].dtype} of shape {tuple(odd[0].shape)}; keep "
                "the parameter as torch.view_as_real(…) and make it complex in forward"
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None, *, loss: Tensor | float | None = None) -> Any:
        """Take a step.

        Args:
            closure: As torch's: computes the loss and its gradients.
            loss: The loss that the gradients belong to, for embeddings that need it where no closure returns it, as in
                ``step(loss=loss)`` or ``scaler.step(optimizer, loss=loss)``; not scaled by a GradScaler.

        Returns:
            What the closure returns.

        Raises:
            TypeError: If a gradient is sparse; nothing has changed then.
            ValueError: If the loss is missing, negative or not finite; nothing has changed then either.
        """
        found = None
        if closure is not None:
            with torch.enable_grad():
                found = closure()
        value = self._loss(found if loss is None else loss)
        self._check_gradients()
        parts = [part for group in self.param_groups for part in self._parts(group)]
        if not parts:
            return found
        factor = metric_factor(self._metric(parts), self.embedding, value)
        for part in parts:
            rate, decay = part.group["lr"], part.group["weight_decay"]
            if decay:
                torch._foreach_mul_(part.here, self._scalar(1 - rate * decay, part))
            moves = self._directions(part)
            torch._foreach_mul_(moves, self._scalar(rate * factor, part))
            torch._foreach_sub_(part.here, moves)
        return found

    # What a subclass says

    @abstractmethod
    def _squared(self, part: Part) -> Tensor:
        """Compute ∇LᵀP∇L over a part, a 0-d tensor, after updating what P is made of."""

    @abstractmethod
    def _directions(self, part: Part) -> list[Tensor]:
        """Compute P·m̂ for a part, in new tensors."""

    # What they share

    def _loss(self, loss: Any) -> float | None:
        if self.embedding == "identity":
            return None
        if loss is None:
            raise ValueError(
                f"{type(self).__name__} with embedding={self.embedding!r} needs the loss of each step: pass a closure "
                "that returns it, or step(loss=loss)"
            )
        value = agreed_loss(loss)
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(
                f"embedding={self.embedding!r} needs a finite loss that is not negative, got {value}; add a constant "
                "to the loss, or use embedding='identity'"
            )
        return value

    def _check_gradients(self) -> None:
        for p in (p for group in self.param_groups for p in group["params"]):
            if p.grad is not None and p.grad.is_sparse:
                raise TypeError(
                    f"{type(self).__name__} needs dense gradients, got a sparse one of shape {tuple(p.shape)}; use "
                    "sparse=False in the embedding layer"
                )

    def _parts(self, group: dict[str, Any]) -> Iterator[Part]:
        alike: dict[Any, list[Tensor]] = {}
        for i, p in enumerate(p for p in group["params"] if p.grad is not None):
            alike.setdefault(i if group["foreach"] is False else (p.device, p.dtype), []).append(p)
        for whole in alike.values():
            steps: list[int] = []
            states: dict[str, list[Tensor]] = {name: [] for name in self.memory}
            for p in whole:
                state = self.state[p]
                if not state:
                    state["step"] = 0
                    state.update({n: torch.zeros_like(p, memory_format=torch.preserve_format) for n in self.memory})
                state["step"] += 1
                steps.append(state["step"])
                for name, held in states.items():
                    held.append(local(state[name]))
            gradients = [local(p.grad) for p in whole if p.grad is not None]
            if group["maximize"]:
                gradients = list(torch._foreach_neg(gradients))
            torch._foreach_lerp_(states["momentum_buffer"], gradients, 1 - group["momentum"])
            yield Part(whole, [local(p) for p in whole], gradients, states, steps, group)

    def _metric(self, parts: list[Part]) -> Tensor:
        """Average ξ·∇LᵀP∇L over time: Ŝ."""
        numbers = sum(p.numel() for part in parts for p in part.whole) if self.per_parameter else 1
        found = [part.group["xi"] / max(numbers, 1) * self._squared(part) for part in parts]
        newest = torch.stack([one.to(found[0]) for one in found]).sum()
        average = torch.zeros_like(newest) if self.metric_average is None else self.metric_average.to(newest)
        self.metric_average = self.beta * average + (1 - self.beta) * newest
        self.metric_steps += 1
        return self.metric_average / (1 - self.beta**self.metric_steps)

    @staticmethod
    def _scalar(value: Any, part: Part) -> Tensor:
        like = part.here[0]
        dtype = like.dtype if like.element_size() >= 4 else torch.float32
        return torch.as_tensor(value, dtype=dtype, device=like.device)

    def _momentum(self, part: Part) -> list[Tensor]:
        """Compute m̂."""
        m = part.group["momentum"]
        return list(torch._foreach_div(part.states["momentum_buffer"], [1 - m**k for k in part.steps]))

    # What torch calls

    def state_dict(self) -> dict[str, Any]:
        """Give torch's state, with the metric's under "metric".

        Returns:
            What ``torch.load(weights_only=True)`` accepts.
        """
        average = None if self.metric_average is None else self.metric_average.clone()
        return {**super().state_dict(), "metric": {"average": average, "steps": self.metric_steps}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state_dict: What :meth:`state_dict` gave.

        Raises:
            ValueError: If it comes from an optimizer of another kind.
        """
        state = dict(state_dict)
        if "metric" not in state:
            raise ValueError(
                f"this is not a state of {type(self).__name__}: metric missing; pass what its state_dict() returned"
            )
        metric = state.pop("metric")
        super().load_state_dict(state)
        self.metric_average = None if metric["average"] is None else metric["average"].clone()
        self.metric_steps = metric["steps"]

    def __getstate__(self) -> dict[str, Any]:
        own = {name: self.__dict__[name] for name in OWN if name in self.__dict__}
        return {**super().__getstate__(), **own}
