"""Find the weights in a checkpoint, and make their keys fit a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .checkpoint_text import few
from .parameters import canonical_name

STATE_KEYS = ("state_dict", "model", "model_state_dict", "model_state", "net", "module")
WRAPPERS = frozenset({"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "model", "net", "network"})


def _weights(content: Any) -> Mapping[str, Any] | None:
    if isinstance(content, nn.Module):
        return content.state_dict()
    if isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values()):
        return content
    return None


def find_weights(content: Any, path: Path, key: str | None) -> tuple[Mapping[str, Any], str | None]:
    """Find the one set of weights in a checkpoint.

    Args:
        content: What was read.
        path: Named in errors.
        key: Where the user says it is.

    Returns:
        The weights, and the key under which they were found.

    Raises:
        ValueError: If there is none, or several.
    """
    if key is not None:
        for i, part in enumerate(parts := [key] if isinstance(content, Mapping) and key in content else key.split(".")):
            if not isinstance(content, Mapping) or part not in content:
                keys = few(map(str, content)) if isinstance(content, Mapping) else f"a {type(content).__name__}"
                raise ValueError(f"{path} has no key {'.'.join(parts[: i + 1])!r}; there it has {keys}")
            content = content[part]
        found = {key: weights} if (weights := _weights(content)) is not None else dict(_search(content, key))
    else:
        found = dict(_search(content, ""))
    if len(found) > 1:
        raise ValueError(
            f"{path} holds several sets of weights, under {', '.join(map(repr, found))}; choose with key= "
            "(--key on the command line)"
        )
    for where, state in found.items():
        return state, where or None
    keys = (
        f"its keys are {few(map(str, content))}"
        if isinstance(content, Mapping)
        else f"it is a {type(content).__name__}"
    )
    raise ValueError(f"{path} holds no weights: {keys}; save model.state_dict()")


def _search(content: Any, where: str, depth: int = 3) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield sets of weights by where they are: under a usual key, else here, else further in."""
    if isinstance(content, Mapping):
        for name in STATE_KEYS:
            state = _weights(content.get(name))
            if state is not None:
                yield f"{where}.{name}".lstrip("."), state
                return
    state = _weights(content)
    if state is not None:
        yield where, state
    elif isinstance(content, Mapping) and depth:
        for name, value in content.items():
            if isinstance(name, str) and not name.startswith("optim"):
                yield from _search(value, f"{where}.{name}".lstrip("."), depth - 1)


@dataclass(frozen=True)
class Fit:
    """How keys of a checkpoint become keys of a model: ``stripped`` comes off, ``added`` goes on."""

    stripped: str
    added: str
    names: Mapping[str, str]  # checkpoint's → model's, for those under the prefix
    outside: tuple[str, ...]
    unwrapped: tuple[str, ...] = ()


def _renamed(given: Iterable[str], stripped: str, added: str) -> Fit:
    given = list(given)
    names = {name: added + name[len(stripped) :] for name in given if name.startswith(stripped)}
    return Fit(stripped, added, names, tuple(name for name in given if name not in names))


def _common_prefixes(names: Iterable[str]) -> list[str]:
    """List the dotted prefixes that all names share, shortest first, "" among them."""
    paths = [name.split(".")[:-1] for name in names]
    depth = 0
    while paths and all(len(path) > depth and path[depth] == paths[0][depth] for path in paths):
        depth += 1
    return ["".join(f"{part}." for part in paths[0][:i]) if i else "" for i in range(depth + 1)]


def _fits(given: Iterable[str], wanted: set[str], optional: set[str]) -> list[Fit]:
    """Find the prefixes under which the checkpoint holds exactly what the model wants."""
    given = list(given)
    required = (wanted - optional) or wanted
    for added in _common_prefixes(wanted):
        anchor = max(required, key=len)[len(added) :]
        prefixes = {name.removesuffix(anchor) for name in given if f".{name}".endswith(f".{anchor}")}
        tried = [_renamed(given, prefix, added) for prefix in sorted(prefixes)]
        found = [fit for fit in tried if required <= set(fit.names.values()) <= wanted]
        if found:
            return found
    return []


def _fits_inside(given: Iterable[str], wanted: set[str], optional: set[str]) -> list[Fit]:
    """Do the same where wrappers (torch.compile of single layers, say) stand inside the names."""
    mine = {canonical_name(name): name for name in given}
    theirs = {canonical_name(name): name for name in wanted}
    if len(mine) < len(list(given)) or len(theirs) < len(wanted):
        return []  # "module" is a real part of these names
    parts = {part for name in {*mine.values(), *theirs.values()} for part in name.split(".")}
    unwrapped = tuple(sorted(part for part in parts if canonical_name(part) != part))
    return [
        Fit(fit.stripped, fit.added, {mine[a]: theirs[b] for a, b in fit.names.items()}, fit.outside, unwrapped)
        for fit in _fits(mine, set(theirs), {canonical_name(name) for name in optional})
    ]


def _align(given: Mapping[str, Any], wanted: Mapping[str, Any], optional: set[str], path: Path) -> Fit:
    """Choose the prefix: one that all keys carry, else one made of usual wrappers' names, else the nearest miss."""
    found = _fits(given, set(wanted), optional) or _fits_inside(given, set(wanted), optional)
    matching = [fit for fit in found if not mismatched(fit.names, given, wanted)]
    for usual in (
        [fit for fit in matching if not fit.outside],
        [fit for fit in matching if fit.stripped and set(fit.stripped.split(".")) <= WRAPPERS | {""}],
        [] if matching else [fit for fit in found if not fit.outside],
    ):
        if len(usual) == 1:
            return usual[0]
    if matching:
        prefixes = " or ".join(repr(fit.stripped) for fit in matching)
        raise ValueError(
            f"only the keys under {prefixes} of {path} fit the model; if that is what you mean, choose with prefix= "
            "(--prefix on the command line)"
        )
    first = sorted({name.split(".")[0] for name in given} & WRAPPERS)
    likely = dict.fromkeys([*_common_prefixes(given), *(f"{part}." for part in first)])
    tried = [_renamed(given, stripped, added) for added in _common_prefixes(wanted) for stripped in likely]
    return max(tried, key=lambda fit: len(set(fit.names.values()) & set(wanted)))


def mismatched(names: Mapping[str, str], given: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """List entries whose shapes differ.

    Args:
        names: The checkpoint's keys and what they are called in the model.
        given: Entries of the checkpoint.
        wanted: Entries of the model's state.

    Returns:
        One text per entry.
    """
    found = []
    for name, target in names.items():
        value, model = given[name], wanted.get(target)
        if (
            isinstance(model, Tensor)
            and isinstance(value, Tensor)
            and not is_lazy(model)
            and value.shape != model.shape
        ):
            found.append(f"{target}: {tuple(value.shape)} in the checkpoint, {tuple(model.shape)} in the model")
    return found


def _optional(model: nn.Module) -> dict[str, list[str]]:
    # Keys that a checkpoint may lack, with those that can stand for them: a tied parameter has several keys, of which
    # safetensors files keep one; num_batches_tracked is younger than many checkpoints, and nothing stands for it.
    groups: dict[int, list[str]] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor):
            groups.setdefault(id(value), []).append(name)
    counters: dict[str, list[str]] = {
        name: [] for group in groups.values() for name in group if name.endswith("num_batches_tracked")
    }
    return counters | {name: group for group in groups.values() if len(group) > 1 for name in group}


def completed(state: Mapping[str, Any], model: nn.Module, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Add the entries that a checkpoint may lack.

    Args:
        state: Entries under the model's keys.
        model: The model.
        wanted: Entries of its state.

    Returns:
        The same with other names of tied parameters, and with the model's own counters.
    """
    complete = dict(state)
    for name, others in _optional(model).items():
        present = [other for other in others if other in state]
        if present:
            complete.setdefault(name, state[present[0]])
        elif not others:
            complete.setdefault(name, wanted[name])
    return complete


def fit_keys(
    model: nn.Module, given: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str | None, path: Path
) -> Fit:
    """Find the renaming, as if a prefix that was asked for had never been there.

    Args:
        model: The model to fit.
        given: Entries of the checkpoint.
        wanted: Entries of the model's state.
        prefix: What the user asked to strip, if anything.
        path: Named in errors.

    Returns:
        The renaming.

    Raises:
        ValueError: If no renaming fits, or several do.
    """
    asked = _renamed(given, prefix or "", "")
    if not asked.names:
        raise ValueError(f"prefix={prefix!r} fits no key of {path}; its keys are {few(given)}")
    inner = _align({short: given[name] for name, short in asked.names.items()}, wanted, set(_optional(model)), path)
    return Fit(
        stripped=asked.stripped + inner.stripped,
        added=inner.added,
        names={name: inner.names[short] for name, short in asked.names.items() if short in inner.names},
        outside=(*asked.outside, *(asked.stripped + short for short in inner.outside)),
        unwrapped=inner.unwrapped,
    )
