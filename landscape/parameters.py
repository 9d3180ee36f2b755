"""Which parameters of a model move, and under which names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

ParameterChoice = Iterable[str] | Callable[[str, nn.Parameter], bool] | None

WRAPPER_PREFIXES = ("module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")


def canonical_name(name: str) -> str:
    """Strip the segments that wrappers put into a parameter's name.

    The same weight has the same name under DataParallel, DDP, FSDP, activation checkpointing and ``torch.compile``,
    so that the same seed draws the same direction in all of them.

    Args:
        name: A dotted name as ``named_parameters`` gives it.

    Returns:
        The name without ``module.``, ``_orig_mod.``, ``_fsdp_wrapped_module.`` and ``_checkpoint_wrapped_module.``.

    Example:
        >>> canonical_name("module._orig_mod.layers.0.weight")
        'layers.0.weight'
    """
    wrappers = {prefix.rstrip(".") for prefix in WRAPPER_PREFIXES}
    return ".".join(part for part in name.split(".") if part not in wrappers)


@dataclass(frozen=True, eq=False)
class Slot:
    """A parameter that moves, the module that owns it, and its names.

    Attributes:
        name: The name in ``model.named_parameters()``.
        canonical: The same without the segments of wrappers.
        parameter: The parameter itself.
        module: The module whose attribute it is.
        aliases: Further names of a parameter that several modules share, without the segments of wrappers.
    """

    name: str
    canonical: str
    parameter: nn.Parameter
    module: nn.Module
    aliases: tuple[str, ...] = ()


def all_slots(model: nn.Module) -> list[Slot]:
    """List every parameter with its owner; a parametrised layer owns what its parametrisations hold.

    Args:
        model: Any module.

    Returns:
        One slot per parameter, in the order of ``model.parameters()``.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    owners = ((name, name.rpartition(".")[0].partition("parametrizations.")[0]) for name, _ in model.named_parameters())
    names: dict[Tensor, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(canonical_name(name))
    return [
        Slot(name, canonical_name(name), parameter, modules[owner.rstrip(".")], tuple(names[parameter][1:]))
        for (name, owner), parameter in zip(owners, model.parameters(), strict=True)
    ]


def _chosen(slot: Slot, choice: ParameterChoice) -> bool:
    if choice is None:
        return slot.parameter.requires_grad
    if callable(choice):
        return bool(choice(slot.canonical, slot.parameter))
    return any(
        fnmatchcase(name, pattern) or name.startswith(f"{pattern}.") or slot.name == pattern
        for pattern in choice
        for name in (slot.canonical, *slot.aliases)
    )


def repeatable(parameters: ParameterChoice) -> list[str] | Callable[[str, nn.Parameter], bool] | None:
    """Keep a choice of parameters in a form that can be gone through many times.

    Args:
        parameters: What a user gave; an iterator of names is used up.

    Returns:
        None, the predicate, or a list of the names.

    Raises:
        TypeError: If ``parameters`` is a single string.
    """
    if isinstance(parameters, str):
        raise TypeError(f"parameters must be several names or a predicate, got the string {parameters!r}; pass a list")
    return parameters if parameters is None or callable(parameters) else list(parameters)


def movable(model: nn.Module, parameters: ParameterChoice = None) -> list[Slot]:
    """List the floating-point parameters that a direction may move.

    A parameter that several modules share is listed once, under its first name; it may be asked for by any.

    Args:
        model: Any module.
        parameters: None for every parameter with ``requires_grad``; names, names of submodules or glob patterns
            (these may be frozen parameters); or a predicate of the name and the parameter.

    Returns:
        One slot per parameter, in the order of ``model.parameters()``.

    Raises:
        TypeError: If ``model`` is not a module or ``parameters`` is a single string.
        ValueError: If a name matches nothing, nothing is left to move, or a lazy layer has no weights yet.

    Example:
        >>> [slot.name for slot in movable(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), ["1", "0.bias"])]
        ['0.bias', '1.weight', '1.bias']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    parameters = repeatable(parameters)
    everything = all_slots(model)
    lazy = [slot.canonical for slot in everything if is_lazy(slot.parameter)]
    if lazy:
        raise ValueError(
            f"{', '.join(lazy[:5])}{', …' if len(lazy) > 5 else ''} of {type(model).__name__} "
            f"{'has' if len(lazy) == 1 else 'have'} no shape before the first forward pass of a lazy layer: run the "
            "model once on a batch, then go on"
        )
    if isinstance(parameters, list):
        for pattern in parameters:
            if not any(_chosen(slot, [pattern]) for slot in everything):
                inside = f"{pattern}.*"
                below = any(_chosen(slot, [inside]) for slot in everything)
                known = ", ".join(slot.canonical for slot in everything[:8])
                raise ValueError(
                    f"parameters names {pattern!r}, which the model does not have; "
                    + (f"what is within is {inside!r}" if below else f"it has {known}, …")
                )
    slots = [slot for slot in everything if _chosen(slot, parameters) and slot.parameter.is_floating_point()]
    if not slots:
        kinds = sorted({str(slot.parameter.dtype).removeprefix("torch.") for slot in everything})
        raise ValueError(
            f"{type(model).__name__} has no parameter that can move: {len(everything)} parameters "
            f"({', '.join(kinds) or 'none'}), {sum(slot.parameter.requires_grad for slot in everything)} with "
            "requires_grad. A direction needs at least one floating-point parameter with requires_grad=True; name "
            "frozen ones in parameters= to move them all the same."
        )
    return slots


def left_out(model: nn.Module, slots: Iterable[Slot]) -> tuple[str, ...]:
    """Name the parameters that stay where they are.

    Args:
        model: The module that the slots belong to.
        slots: The parameters that move.

    Returns:
        Canonical names of all others: frozen, integer or complex ones and those not asked for.
    """
    moving = {slot.name for slot in slots}
    return tuple(canonical_name(name) for name, _ in model.named_parameters() if name not in moving)


def working_dtype(tensor: Tensor) -> torch.dtype:
    """Give the precision in which a parameter's moves are computed.

    Half precision has three digits, too few for a step of a hundredth, so those are moved in float32 and rounded once.

    Args:
        tensor: A floating-point parameter.

    Returns:
        float64 for float64, float32 for everything else.
    """
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
