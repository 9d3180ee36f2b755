"""What a scheduler does with losses and weights that no textbook has."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..schedulers import Decision
from .runs import Case, Factory, Run

BAD = (float("nan"), float("inf"), float("-inf"))
EVERY: dict[str, Any] = {"interval": 1, "warmup": 0}


@contextmanager
def _only_ours() -> Iterator[None]:
    """Let our own warnings pass, which say what was measured; any other is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".* measured a loss that is not finite", category=RuntimeWarning)
        warnings.filterwarnings("ignore", message="the loss is .* at all", category=RuntimeWarning)
        yield


def _advance(run: Run, closure: Callable[[], Tensor], losses: Callable[[], Tensor] | None = None) -> Decision | None:
    """Take one training step, on the usual loss unless another is given, and probe a closure."""
    run.optimizer.zero_grad()
    torch.autograd.backward(run.closure() if losses is None else losses())
    run.optimizer.step()
    decision = run.scheduler.probe(closure)
    run.scheduler.step()
    _check_rates(run)
    return decision


def _check_rates(run: Run) -> None:
    for rate in run.rates():
        assert 0 < rate < math.inf, f"the rate is {rate} at step {run.scheduler._steps}"


def _replaced(run: Run, value: float) -> Tensor:
    return run.closure() * 0 + value


def check_not_finite_at_each_stage(factory: Factory, case: Case) -> None:
    """NaN, infinity and minus infinity, at the first probe, soon and late, never accelerate and never stay."""
    run = case.start(factory, **EVERY)
    with _only_ours():
        for t in range(20):
            bad = BAD[t // 6] if t % 6 == 0 and t // 6 < len(BAD) else None
            before = run.rates()
            decision = _advance(run, run.closure if bad is None else partial(_replaced, run, bad))
            if bad is not None and decision is not None:
                assert decision.reason == "non-finite", f"{bad} at step {t + 1} was taken for {decision.reason}"
                assert all(a <= b for a, b in zip(run.rates(), before, strict=True)), f"{bad} accelerated"
    latest = run.scheduler.history[-1].measurement.values()
    assert all(math.isfinite(value) for value in latest), "the last probe is not finite though its losses are"


def check_not_finite_around(factory: Factory, case: Case) -> None:
    """A loss that is finite at the weights and nowhere else slows down, or is not noticed; it raises nothing."""
    for bad in BAD:
        run = case.start(factory, **EVERY)
        with _only_ours():
            for _ in range(6):
                run.optimizer.zero_grad()
                run.update()
                here = [p.detach().clone() for p in run.model.parameters()]

                def spoiled(run: Run = run, here: list[Tensor] = here, bad: float = bad) -> Tensor:
                    moved = torch.stack([(p != q).any() for p, q in zip(run.model.parameters(), here, strict=True)])
                    return torch.where(moved.any(), bad, run.closure())

                factors = run.scheduler.factors
                decision = run.scheduler.probe(spoiled)
                if decision is not None and decision.reason == "non-finite":
                    assert all(a <= b for a, b in zip(decision.factors, factors, strict=True)) or _grows(run), (
                        f"{bad} around the weights accelerated"
                    )
                run.scheduler.step()
                _check_rates(run)
                weights = zip(run.model.parameters(), here, strict=True)
                assert all(torch.equal(p, q) for p, q in weights), "a probe that met such a loss moved the weights"


def _grows(run: Run) -> bool:
    """Tell whether a scheduler raises its rate at each step by itself, as an ascent or a warmup does."""
    return hasattr(run.scheduler, "growth")


def _refuses(error: ValueError) -> bool:
    """Tell whether a scheduler says that losses must not be negative; one that takes their logarithm may."""
    return "negative" in str(error)


def check_constant_losses(factory: Factory, case: Case) -> None:
    """A loss that is the same everywhere, of either sign, zero, tiny or huge, leaves usable rates and no brake."""
    for value in (0.0, -3.0, 7.0, 1e-30, 1e30):
        run = case.start(factory, **EVERY)
        try:
            with _only_ours():
                reasons = [d.reason for _ in range(6) if (d := _advance(run, partial(_replaced, run, value)))]
        except ValueError as error:
            if value >= 0 or not _refuses(error):
                raise
            continue
        assert "brake" not in reasons, f"a constant loss of {value} was taken for a divergence"


def check_negative_losses(factory: Factory, case: Case) -> None:
    """A loss below zero that falls as it should is no divergence: only its differences count."""
    run = case.start(factory, **EVERY)
    try:
        with _only_ours():
            for _ in range(12):
                decision = _advance(run, lambda: run.closure() - 100)
                assert decision is None or decision.reason != "brake", "falling negative losses were braked"
    except ValueError as error:
        if not _refuses(error):
            raise


def check_huge_losses(factory: Factory, case: Case) -> None:
    """Losses near the end of double precision overflow to "not finite" where they are squared, and raise nothing."""
    for scale in (1e-300, 1e150, 1e300):
        run = case.start(lambda optimizer, model, **options: factory(optimizer, model.double(), **options), **EVERY)
        x = torch.linspace(-1, 1, 48, dtype=torch.float64).reshape(16, 3)

        def loss(run: Run = run, x: Tensor = x) -> Tensor:
            found: Tensor = ((run.model(x) - x.sin().sum(1, keepdim=True)) ** 2).mean()
            return found

        def scaled(loss: Callable[[], Tensor] = loss, scale: float = scale) -> Tensor:
            return loss() * scale

        with _only_ours():
            for _ in range(5):
                _advance(run, scaled, loss)


def check_exploding_weights(factory: Factory, case: Case) -> None:
    """Weights that overflow or are NaN slow down; put back from a checkpoint, measuring goes on."""
    run = case.start(factory, **EVERY)
    with _only_ours():
        for _ in range(4):
            _advance(run, run.closure)
        kept = copy.deepcopy((run.model.state_dict(), run.optimizer.state_dict()))
        rates = run.rates()
        for factor in (1e30, float("nan")):
            with torch.no_grad():
                for parameter in run.model.parameters():
                    parameter.mul_(factor)
                    parameter.grad = torch.zeros_like(parameter)
            for _ in range(2):
                run.optimizer.step()
                run.scheduler.probe(run.closure)
                run.scheduler.step()
                _check_rates(run)
        assert _grows(run) or all(a <= b for a, b in zip(run.rates(), rates, strict=True)), "must not accelerate"
        run.model.load_state_dict(kept[0])
        slowed = [group["lr"] for group in run.optimizer.param_groups]
        run.optimizer.load_state_dict(kept[1])
        for group, rate in zip(run.optimizer.param_groups, slowed, strict=True):
            group["lr"] = rate
        for _ in range(20):  # probes may be rare by now
            _advance(run, run.closure)
    latest = run.scheduler.history[-1].measurement.values()
    assert all(math.isfinite(value) for value in latest), "measurements stay poisoned by weights that are gone"


class _Odd(nn.Module):
    """Parameters that are 0-d, zero, integer, complex, empty or frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.zero = nn.Parameter(torch.zeros(4, 4))
        self.count = nn.Parameter(torch.tensor(3), requires_grad=False)
        self.phase = nn.Parameter(torch.polar(torch.ones(4), torch.linspace(0, 1, 4)))
        self.empty = nn.Parameter(torch.zeros(0, 4))
        self.frozen = nn.Parameter(torch.ones(4), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Use each of them, and nothing that has no derivative."""
        turned = (x * self.phase).real + x @ self.zero
        return torch.tanh(self.scale * turned * self.frozen * self.count / 3) + self.empty.sum()


def check_odd_parameters(factory: Factory, case: Case) -> None:
    """Parameters that are 0-d, zero, integer, complex, empty or frozen train as ever and disturb no probe."""
    for zeroed in (False, True):

        def with_odd(optimizer: torch.optim.Optimizer, model: nn.Sequential, **options: object) -> object:
            model[1] = _Odd()
            trained = [parameter for parameter in model[1].parameters() if parameter.requires_grad]
            optimizer.param_groups[0]["params"] += trained
            if zeroed:  # noqa: B023  called at once
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter.zero_()
            return factory(optimizer, model, **options)

        run = case.start(with_odd, **EVERY)  # type: ignore[arg-type]  # it is such a factory
        with _only_ours():
            for _ in range(6):
                _advance(run, run.closure)
                before = [p.detach().clone() for p in run.model.parameters()]
                run.scheduler.measure(run.closure)
                after = zip(before, run.model.parameters(), strict=True)
                assert all(torch.equal(p, q) for p, q in after), "a probe moved odd parameters"
        assert len(run.scheduler.history), "nothing was measured"
