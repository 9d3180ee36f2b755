"""What the induced-metric optimizers share: one metric over all groups, momentum, decay, and the step."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from ..landscape.ranks import Ranks
from ..landscape.shards import any_spread, local
from ..schedulers.induced_metric import Embedding, agreed_loss, check_metric, metric_factor
from ..schedulers.skipped_steps import skips_step
from .parts import Part

FRESH: dict[str, Any] = {"metric_average": None, "metric_steps": 0}
OF_ALL_GROUPS = ("beta", "embedding", "per_parameter")


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
        super().__init__(params, defaults)
        self._hold(None, 0)

    @property
    def metric_average(self) -> Tensor | None:
        """S; None before the first step."""
        average: Tensor | None = self.param_groups[0]["metric_average"]
        return average

    @property
    def metric_steps(self) -> int:
        """k, how many steps S has seen."""
        steps: int = self.param_groups[0]["metric_steps"]
        return steps

    def _hold(self, average: Tensor | None, steps: int) -> None:
        """Set S and k, in every group: torch.distributed.checkpoint saves nothing else but groups and state."""
        for group in self.param_groups:
            group.update(metric_average=average, metric_steps=steps)

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
        first = self.param_groups[0]
        self.param_groups[-1].update({name: first.get(name, fresh) for name, fresh in FRESH.items()})

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
        self._check_gradients()
        if self._makes_state():
            return found
        value = self._loss(found if loss is None else loss)
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

    def _makes_state(self) -> bool:
        """Make the state and nothing else where the step is none, as torch.distributed.checkpoint takes one."""
        rates = [group["lr"] for group in self.param_groups]
        if any(isinstance(rate, Tensor) and rate.device.type != "cpu" for rate in rates) or any(map(float, rates)):
            return False
        held = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        none = skips_step(self)
        # Of a gradient that is spread over ranks the part here may be zero where others are not.
        if not all(Ranks(together=any_spread(held)).gather(none)):
            return False
        for p in held:
            self._state_of(p)
        return bool(held)

    def _state_of(self, p: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[p]
        if not state:
            state["step"] = 0
            state.update({n: torch.zeros_like(p, memory_format=torch.preserve_format) for n in self.memory})
        return state

    def _parts(self, group: dict[str, Any]) -> Iterator[Part]:
        alike: dict[Any, list[Tensor]] = {}
        for i, p in enumerate(p for p in group["params"] if p.grad is not None):
            alike.setdefault(i if group["foreach"] is False else (p.device, p.dtype), []).append(p)
        for whole in alike.values():
            steps: list[int] = []
            states: dict[str, list[Tensor]] = {name: [] for name in self.memory}
            for p in whole:
                state = self._state_of(p)
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
        past, steps = self.metric_average, self.metric_steps + 1
        average = torch.zeros_like(newest) if past is None else past.to(newest)
        average = self.beta * average + (1 - self.beta) * newest
        self._hold(average, steps)
        return average / (1 - self.beta**steps)

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
        """Give torch's state, with the metric's under "metric", and in numbers in each group.

        Returns:
            What ``torch.load(weights_only=True)`` accepts, and torch.distributed.checkpoint.
        """
        average, steps = self.metric_average, self.metric_steps
        state = super().state_dict()
        number = 0.0 if average is None else float(average)
        groups = [{**group, "metric_average": number} for group in state["param_groups"]]
        metric = {"average": None if average is None else average.clone(), "steps": steps}
        return {**state, "param_groups": groups, "metric": metric}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state_dict: What :meth:`state_dict` gave, or what torch's ``get_optimizer_state_dict`` has made of it.

        Raises:
            ValueError: If it comes from an optimizer of another kind.
        """
        state = dict(state_dict)
        groups = state["param_groups"]
        if "metric" not in state and not all(FRESH.keys() <= group.keys() for group in groups):
            raise ValueError(
                f"this is not a state of {type(self).__name__}: metric missing; pass what its state_dict() returned"
            )
        metric = state.pop("metric", None)
        super().load_state_dict(state)
        if metric is None:
            number, steps = groups[0]["metric_average"], groups[0]["metric_steps"]
            average = torch.as_tensor(number, dtype=torch.float64).clone() if steps else None
        else:
            average, steps = metric["average"], metric["steps"]
            average = None if average is None else average.clone()
        self._hold(average, steps)

    def __getstate__(self) -> dict[str, Any]:
        own = {name: self.__dict__[name] for name in OF_ALL_GROUPS if name in self.__dict__}
        return {**super().__getstate__(), **own}
