"""Weights from saved checkpoints, read without executing anything in them."""

from __future__ import annotations

import io
import json
import os
import pathlib
import pickle
import pickletools
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .parameters import canonical_name

STATE_KEYS = ("state_dict", "model", "model_state_dict", "model_state", "net", "module")
WRAPPERS = frozenset({"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "model", "net", "network"})
_SHOWN = 5
_UNSAFE = "unsafe=True (--unsafe-load on the command line)"


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
            parts += [f"{name}: {_few(keys)}"] if keys else []
        return ", ".join(parts)


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{more})"


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_checkpoint(path: str | os.PathLike[str], *, unsafe: bool = False) -> Any:
    """Read a checkpoint onto the CPU, as it was saved.

    Nothing in the file is executed: pickles are read with ``weights_only=True``, and the metadata of
    torch.distributed.checkpoint, which torch itself unpickles without restriction, through an allow-list of torch's
    own classes.

    Args:
        path: A file of ``torch.save`` or safetensors, a Transformers folder (also sharded), or a folder of
            torch.distributed.checkpoint (whose optimizer states and entries that are not tensors are skipped).
        unsafe: Unpickle arbitrary objects, which may run arbitrary code: only for files you trust.

    Returns:
        What was saved, usually a dict.

    Raises:
        FileNotFoundError: If there is no such file, or a shard is missing.
        ImportError: If the file needs safetensors, which is not installed.
        ValueError: If it is no checkpoint, is damaged, or holds objects that are not weights.
    """
    return _read(Path(path), unsafe)[0]


def _read(path: Path, unsafe: bool) -> tuple[Any, str]:
    if path.is_dir():
        return _read_folder(path, unsafe)
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}; check the path, relative to {Path.cwd().name}/")
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise ValueError(f"{path} is empty; saving it was probably interrupted, use an earlier checkpoint")
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a Git LFS pointer, not the checkpoint itself; fetch it with 'git lfs pull'")
    if path.suffix == ".safetensors" or head[8:10] == b'{"':
        return _read_safetensors(path), "safetensors"
    return _read_torch(path, unsafe, is_zip=head.startswith(b"PK"))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError(
            f"{path} needs safetensors, which is not installed; run: pip install lrscape[safetensors]"
        ) from error
    try:
        return load_file(path, device="cpu")
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or not a safetensors file ({error}); use another copy of it") from error


def _read_torch(path: Path, unsafe: bool, is_zip: bool) -> tuple[Any, str]:
    script = is_zip and _is_torchscript(path)
    if script and not unsafe:
        raise ValueError(
            f"{path} is a TorchScript archive, which holds code; save model.state_dict() instead, or load it with "
            f"{_UNSAFE} if you trust it"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and TorchScript: said in our own words
            if unsafe and not is_zip and not _is_legacy(path):
                with path.open("rb") as file:
                    return pickle.load(file), "torch"
            return torch.load(path, map_location="cpu", weights_only=not unsafe), "torchscript" if script else "torch"
    except Exception as error:  # garbage makes the reader raise anything, KeyError and OSError included
        classes = [] if unsafe else _classes(path, is_zip)
        if classes:
            module = any(name.startswith("torch.nn.modules.") for name in classes)
            advice = "save model.state_dict() instead of the model" if module else "save tensors and numbers only"
            raise ValueError(
                f"{path} holds objects other than weights, which could run any code when loaded: {_few(classes)}; "
                f"{advice}, or load it with {_UNSAFE} if you trust it"
            ) from error
        reason = _shortened(str(error).split("\n")[0].strip().rstrip(".")) or type(error).__name__
        if unsafe and isinstance(error, AttributeError | ImportError):
            raise ValueError(
                f"{path} needs a class that cannot be imported here ({reason}); put its module on the path, or save "
                "model.state_dict(), which needs none"
            ) from error
        raise ValueError(
            f"{path} cannot be read as a PyTorch checkpoint ({reason}); it is truncated, damaged, or not written by "
            "torch.save; use another copy of it"
        ) from error


def _shortened(text: str, most: int = 160) -> str:
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _is_legacy(path: Path) -> bool:
    """Tell torch's format before 1.6, a row of pickles that opens with a magic number, from any other pickle."""
    with path.open("rb") as file:
        return 0x1950A86A20F9469CFC6C in {argument for _, argument, _ in _opcodes(file)}


def _opcodes(file: io.BufferedIOBase | io.BufferedReader) -> Iterator[tuple[str, Any, int | None]]:
    """Yield the instructions of one pickle, none if it is damaged, without executing any."""
    try:
        for opcode, argument, position in pickletools.genops(file):  # type: ignore[arg-type]  # needs only read, readline
            yield opcode.name, argument, position
    except Exception:  # damaged pickles raise anything
        return


def _classes(path: Path, is_zip: bool) -> list[str]:
    """Name the classes and functions that keep a file from loading as weights."""
    if is_zip:
        try:
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        except Exception:  # the archive itself is damaged
            return []
    found: set[str] = set()
    with path.open("rb") as file:
        for _ in range(4):  # the magic number, the version, facts about the system, the object
            texts: list[str] = []
            memo: dict[int, str] = {}
            for name, argument, _ in _opcodes(file):
                if name == "GLOBAL":
                    found.add(argument.replace(" ", "."))
                elif name == "STACK_GLOBAL" and len(texts) > 1:
                    found.add(".".join(texts[-2:]))
                elif name == "MEMOIZE":
                    memo[len(memo)] = texts[-1] if texts else ""
                elif name in {"BINGET", "LONG_BINGET"}:
                    texts.append(memo.get(argument, ""))
                elif isinstance(argument, str):
                    texts.append(argument)
    harmless = ("torch._utils._rebuild", "collections.OrderedDict", "torch.Size")
    return sorted(name for name in found if not (name.startswith(harmless) or name.endswith("Storage")))


def _read_folder(path: Path, unsafe: bool) -> tuple[Any, str]:
    if (path / ".metadata").is_file():
        return _read_distributed(path), "distributed"
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (path / name).is_file():
            return _read(path / name, unsafe)[0], "transformers"
        index = path / f"{name}.index.json"
        if index.is_file():
            return _read_shards(index, unsafe), "transformers"
    inside = [entry.name for entry in sorted(path.iterdir())]
    raise ValueError(
        f"the folder {path} holds no checkpoint: neither model.safetensors nor pytorch_model.bin (Transformers) nor "
        f".metadata (torch.distributed.checkpoint), but {_few(inside) if inside else 'nothing'}; name the file itself"
    )


def _read_shards(index: Path, unsafe: bool) -> dict[str, Any]:
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{index} is not the index of a sharded checkpoint ({type(error).__name__}: {error})"
        ) from error
    whole: dict[str, Any] = {}
    for shard in shards:
        if Path(shard).name != shard:
            raise ValueError(f"{index} names the shard {shard!r}, which must be a file in the same folder")
        if not (index.parent / shard).is_file():
            raise FileNotFoundError(f"{index} names the shard {shard}, which is not there; fetch all {len(shards)}")
        whole.update(_read(index.parent / shard, unsafe)[0])
    return whole


_ALLOWED = {
    "torch.distributed.checkpoint.metadata": {
        "Metadata", "MetadataIndex", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata",
        "TensorProperties", "StorageMeta", "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size"},
    "collections": {"OrderedDict"},
}  # fmt: skip


class _MetadataUnpickler(pickle.Unpickler):
    """Reads the pickled ``.metadata`` of torch.distributed.checkpoint, looking up nothing but torch's own records."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "pathlib" and name.endswith("Path"):  # where it was saved, on whatever system
            return pathlib.PureWindowsPath if "Windows" in name else pathlib.PurePosixPath
        if name in _ALLOWED.get(module, ()) or (module == "torch" and isinstance(getattr(torch, name, 0), torch.dtype)):
            return super().find_class(module, name)
        raise ValueError(f"it refers to {module}.{name}, which is no part of a checkpoint and could run any code")


def _read_distributed(path: Path) -> dict[str, Any]:
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    class Reader(FileSystemReader):
        def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
            return metadata

    try:
        metadata: Metadata = _MetadataUnpickler(io.BytesIO((path / ".metadata").read_bytes())).load()
        places = metadata.planner_data or {}
        outward = [
            i.relative_path for i in metadata.storage_data.values() if Path(i.relative_path).name != i.relative_path
        ]
        if outward:
            raise ValueError(f"it refers to {outward[0]!r}, outside of the folder")
        # Tensors only: any other entry is a pickle of its own, which torch loads without restriction.
        flat = {
            name: torch.empty(entry.size, dtype=entry.properties.dtype)
            for name, entry in metadata.state_dict_metadata.items()
            if isinstance(entry, TensorStorageMetadata) and not _is_optimizer(places.get(name, (name,)))
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that torch.distributed is not initialised
            load(flat, storage_reader=Reader(path), no_dist=True)
    except (Exception, CheckpointException) as error:
        # torch wraps whatever happened, an interrupt too, in an exception that is no Exception.
        cause = next(iter(error.failures.values()))[0] if isinstance(error, CheckpointException) else error
        if not isinstance(cause, Exception):
            raise cause from None
        if isinstance(cause, FileNotFoundError):
            raise FileNotFoundError(f"{path} lacks {Path(cause.filename).name}, which its .metadata names") from cause
        reason = _shortened(str(cause).split("\n")[0]) or type(cause).__name__
        raise ValueError(
            f"{path} cannot be read as a torch.distributed.checkpoint folder ({reason}); use another copy of it"
        ) from cause
    nested: dict[str, Any] = {}
    for name, tensor in flat.items():
        *outer, last = places.get(name, (name,))
        inner = nested
        for part in outer:
            inner = inner.setdefault(str(part), {})
        inner[str(last)] = tensor
    return nested


def _is_optimizer(place: tuple[str | int, ...]) -> bool:
    return len(place) > 1 and any(str(part).startswith("optim") for part in place[:-1])


# --- Finding the weights in what was read ----------------------------------------------------------------------------


def _weights(content: Any) -> Mapping[str, Any] | None:
    if isinstance(content, nn.Module):
        return content.state_dict()
    if isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values()):
        return content
    return None


def _find(content: Any, path: Path, key: str | None) -> tuple[Mapping[str, Any], str | None]:
    if key is not None:
        for i, part in enumerate(parts := [key] if isinstance(content, Mapping) and key in content else key.split(".")):
            if not isinstance(content, Mapping) or part not in content:
                keys = _few(map(str, content)) if isinstance(content, Mapping) else f"a {type(content).__name__}"
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
        f"its keys are {_few(map(str, content))}"
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


# --- Making keys fit -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fit:
    """How keys of a checkpoint become keys of a model: ``stripped`` comes off, ``added`` goes on."""

    stripped: str
    added: str
    names: Mapping[str, str]  # checkpoint's → model's, for those under the prefix
    outside: tuple[str, ...]
    unwrapped: tuple[str, ...] = ()


def _renamed(given: Iterable[str], stripped: str, added: str) -> _Fit:
    given = list(given)
    names = {name: added + name[len(stripped) :] for name in given if name.startswith(stripped)}
    return _Fit(stripped, added, names, tuple(name for name in given if name not in names))


def _common_prefixes(names: Iterable[str]) -> list[str]:
    """List the dotted prefixes that all names share, shortest first, "" among them."""
    paths = [name.split(".")[:-1] for name in names]
    depth = 0
    while paths and all(len(path) > depth and path[depth] == paths[0][depth] for path in paths):
        depth += 1
    return ["".join(f"{part}." for part in paths[0][:i]) if i else "" for i in range(depth + 1)]


def _fits(given: Iterable[str], wanted: set[str], optional: set[str]) -> list[_Fit]:
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


def _fits_inside(given: Iterable[str], wanted: set[str], optional: set[str]) -> list[_Fit]:
    """Do the same where wrappers (torch.compile of single layers, say) stand inside the names."""
    mine = {canonical_name(name): name for name in given}
    theirs = {canonical_name(name): name for name in wanted}
    if len(mine) < len(list(given)) or len(theirs) < len(wanted):
        return []  # "module" is a real part of these names
    parts = {part for name in {*mine.values(), *theirs.values()} for part in name.split(".")}
    unwrapped = tuple(sorted(part for part in parts if canonical_name(part) != part))
    return [
        _Fit(fit.stripped, fit.added, {mine[a]: theirs[b] for a, b in fit.names.items()}, fit.outside, unwrapped)
        for fit in _fits(mine, set(theirs), {canonical_name(name) for name in optional})
    ]


def _align(given: Mapping[str, Any], wanted: Mapping[str, Any], optional: set[str], path: Path) -> _Fit:
    """Choose the prefix: one that all keys carry, else one made of usual wrappers' names, else the nearest miss."""
    found = _fits(given, set(wanted), optional) or _fits_inside(given, set(wanted), optional)
    matching = [fit for fit in found if not _mismatched(fit.names, given, wanted)]
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


def _mismatched(names: Mapping[str, str], given: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
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


def _completed(state: Mapping[str, Any], model: nn.Module, wanted: Mapping[str, Any]) -> dict[str, Any]:
    complete = dict(state)
    for name, others in _optional(model).items():
        present = [other for other in others if other in state]
        if present:
            complete.setdefault(name, state[present[0]])
        elif not others:
            complete.setdefault(name, wanted[name])
    return complete


def _fit(model: nn.Module, given: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str | None, path: Path) -> _Fit:
    """Find the renaming, as if a prefix that was asked for had never been there."""
    asked = _renamed(given, prefix or "", "")
    if not asked.names:
        raise ValueError(f"prefix={prefix!r} fits no key of {path}; its keys are {_few(given)}")
    inner = _align({short: given[name] for name, short in asked.names.items()}, wanted, set(_optional(model)), path)
    return _Fit(
        stripped=asked.stripped + inner.stripped,
        added=inner.added,
        names={name: inner.names[short] for name, short in asked.names.items() if short in inner.names},
        outside=(*asked.outside, *(asked.stripped + short for short in inner.outside)),
        unwrapped=inner.unwrapped,
    )


@contextmanager
def _unchanged_on_error(state: Mapping[str, Any]) -> Iterator[None]:
    kept = [(value, value.clone()) for value in state.values() if isinstance(value, Tensor) and not is_lazy(value)]
    try:
        yield
    except BaseException:
        for value, copy in kept:
            value.copy_(copy)
        raise


def _versions(everything: Mapping[str, Any], fit: _Fit) -> dict[str, Any]:
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
        TypeError: If ``model`` is not a module.
        ValueError: If the checkpoint cannot be read (see :func:`read_checkpoint`), does not fit the model, or fits in
            several ways. The model is then bitwise what it was.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "model.pt"
        >>> torch.save({"state_dict": nn.DataParallel(nn.Linear(2, 1)).state_dict(), "epoch": 3}, path)
        >>> report = load_checkpoint(nn.Linear(2, 1), path)
        >>> report.key, report.stripped, report.loaded
        ('state_dict', 'module.', 2)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    content, kind = _read(Path(path), unsafe)
    everything, where = _find(content, Path(path), key)
    wanted = model.state_dict()
    if not wanted:
        raise ValueError(f"model has no weights to load, it is an empty {type(model).__name__}")
    given = {
        name: value
        for name, value in everything.items()
        if isinstance(name, str) and (isinstance(value, Tensor) or name.endswith("_extra_state"))
    }
    fit = _fit(model, given, wanted, prefix, Path(path))
    state = _completed({target: given[name] for name, target in fit.names.items()}, model, wanted)
    missing = tuple(name for name in wanted if name not in state)
    unexpected = tuple(name for name, target in fit.names.items() if target not in wanted)
    wrong = _mismatched(fit.names, given, wanted)
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


def _misfit(model: nn.Module, path: str | os.PathLike[str], fit: _Fit, problems: Mapping[str, Iterable[str]]) -> str:
    found = "; ".join(f"{label}: {_few(names)}" for label, names in problems.items() if names)
    prefix = f" after stripping {fit.stripped!r}" if fit.stripped else ""
    prefix += f" after adding {fit.added!r}" if fit.added else ""
    return (
        f"{os.fspath(path)} does not fit {type(model).__name__}{prefix}: {found or 'it was refused'}. Build the model "
        "with the settings that the checkpoint was saved with"
    )
