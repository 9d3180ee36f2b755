"""Weights from saved checkpoints of every common kind."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .checkpoint_formats import read_any
from .checkpoint_keys import Fit, completed, find_weights, fit_keys, mismatched
from .checkpoint_text import few
from .files import BUFFER, as_path


@dataclass(frozen=True)
class CheckpointReport:
    """What was loaded from a checkpoint, and how its keys were made to fit.

    Attributes:
        path: The file or folder, as given.
        format: "torch", "torchscript", "safetensors", "transformers" or "distributed".
        key: Where in the checkpoint the weights were found, e.g. "state_dict"; None if it holds nothing else.
        stripped: Prefix taken off the checkpoint's keys, e.g. "module."; "" if none.
        added: Prefix put before them because the model is wrapped; "" if none.
        unwrapped: Segments of wrappers that had to be disregarded inside the keys, e.g. ("_orig_mod",).
        loaded: Number of entries copied into the model.
        missing: Keys that the model has and the checkpoint lacks; empty if strict.
        unexpected: Keys that fit the prefix but not the model; empty if strict.
        outside: Keys that do not carry the prefix, or hold no tensor; they were left alone.
    """

    path: str
    format: str
    key: str | None = None
    stripped: str = ""
    added: str = ""
    unwrapped: tuple[str, ...] = ()
    loaded: int = 0
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.loaded} tensors"]
        if self.key is not None:
            parts.append(f"under {self.key!r}")
        if self.stripped:
            parts.append(f"prefix {self.stripped!r} stripped")
        if self.added:
            parts.append(f"prefix {self.added!r} added")
        if self.unwrapped:
            parts.append(f"disregarding {', '.join(map(repr, self.unwrapped))} inside the keys")
        for name, keys in (("missing", self.missing), ("unexpected", self.unexpected), ("left alone", self.outside)):
            parts += [f"{name}: {few(keys)}"] if keys else []
        return ", ".join(parts)


_IN_MEMORY = "a state dict that is in memory goes to model.load_state_dict"


@contextmanager
def _unchanged_on_error(state: Mapping[str, Any]) -> Iterator[None]:
    kept = [(value, value.clone()) for value in state.values() if isinstance(value, Tensor) and not is_lazy(value)]
    try:
        yield
    except BaseException:
        for value, copy in kept:
            value.copy_(copy)
        raise


def _versions(everything: Mapping[str, Any], fit: Fit) -> dict[str, Any]:
    """Rename the versions of modules that a state dict carries, by which modules understand older ones."""
    versions = getattr(everything, "_metadata", {})
    return {
        (fit.added + f"{name}."[len(fit.stripped) :]).rstrip("."): version
        for name, version in versions.items()
        if f"{name}.".startswith(fit.stripped)
    }


def load_checkpoint(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    prefix: str | None = None,
    strict: bool = True,
    unsafe: bool = False,
) -> CheckpointReport:
    """Load a checkpoint's weights into a model, wherever they are in it and whatever prefix their keys carry.

    The weights are looked for under the usual keys ("state_dict", "model", "model_state_dict", "model_state", "net",
    "module"), then at the top, then further in. The one prefix that makes the keys fit is stripped ("module.",
    "_orig_mod.", Lightning's "model.", any other that all keys share), or added if it is the model that is wrapped.
    Keys without that prefix (a loss's class weights, say) are left alone if the prefix is a usual wrapper's.

    The names of a tied parameter stand for each other, and a missing ``num_batches_tracked`` stays as it is.

    Args:
        model: The module to load into, on any device and of any dtype.
        path: As for :func:`read_checkpoint`.
        key: Where the weights are, for a checkpoint that holds several sets, e.g. "ema_state_dict"; dots lead
            further in.
        prefix: Take the keys that start with this, and strip it, where several or only some would fit.
        strict: Demand that every key fits; shapes must fit in any case.
        unsafe: Unpickle arbitrary objects, which may run arbitrary code: only for files you trust.

    Returns:
        What was found and done.

    Raises:
        TypeError: If ``model`` is not a module, or ``path`` no name of a file.
        ValueError: If the checkpoint cannot be read (see :func:`read_checkpoint`), does not fit the model, or fits in
            several ways. The model is then bitwise what it was.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "model.pt"
        >>> torch.save({"state_dict": nn.DataParallel(nn.Linear(2, 1)).state_dict(), "epoch": 3}, path)
        >>> report = load_checkpoint(nn.Linear(2, 1), path)
        >>> report.key, report.stripped, report.loaded
        ('state_dict', 'module.', 2)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    file = as_path(path, _IN_MEMORY if isinstance(path, Mapping) else BUFFER)
    content, kind = read_any(file, unsafe)
    everything, where = find_weights(content, file, key)
    wanted = model.state_dict()
    if not wanted:
        raise ValueError(f"model has no weights to load, it is an empty {type(model).__name__}")
    given = {
        name: value
        for name, value in everything.items()
        if isinstance(name, str) and (isinstance(value, Tensor) or name.endswith("_extra_state"))
    }
    fit = fit_keys(model, given, wanted, prefix, file)
    state = completed({target: given[name] for name, target in fit.names.items()}, model, wanted)
    missing = tuple(name for name in wanted if name not in state)
    unexpected = tuple(name for name, target in fit.names.items() if target not in wanted)
    wrong = mismatched(fit.names, given, wanted)
    fits = not wrong and not (strict and (missing or unexpected)) and len(unexpected) < len(fit.names)
    problem = _misfit(model, path, fit, {"missing keys": missing, "unexpected keys": unexpected, "other shapes": wrong})
    # A model with such hooks may rename the keys of older checkpoints itself, so it is asked.
    if not fits and not any(module._load_state_dict_pre_hooks for module in model.modules()):
        raise ValueError(problem)
    carried = OrderedDict(state)
    carried._metadata = _versions(everything, fit)  # type: ignore[attr-defined]  # where load_state_dict looks for them
    try:
        with _unchanged_on_error(wanted):
            model.load_state_dict(carried, strict=strict)
    except RuntimeError as error:
        raise ValueError(f"{problem} ({error})" if fits else problem) from error
    return CheckpointReport(
        path=os.fspath(path),
        format=kind,
        key=where,
        stripped=fit.stripped,
        added=fit.added,
        unwrapped=fit.unwrapped,
        loaded=len(fit.names) - len(unexpected),
        missing=() if strict else missing,
        unexpected=() if strict else unexpected,
        outside=(*(str(name) for name in everything if name not in given), *fit.outside),
    )


def _misfit(model: nn.Module, path: str | os.PathLike[str], fit: Fit, problems: Mapping[str, Iterable[str]]) -> str:
    found = "; ".join(f"{label}: {few(names)}" for label, names in problems.items() if names)
    prefix = f" after stripping {fit.stripped!r}" if fit.stripped else ""
    prefix += f" after adding {fit.added!r}" if fit.added else ""
    return (
        f"{os.fspath(path)} does not fit {type(model).__name__}{prefix}: {found or 'it was refused'}. Build the model "
        "with the settings that the checkpoint was saved with"
    )
