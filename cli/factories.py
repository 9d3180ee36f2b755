"""The user's own code, named on the command line as ``package.module:name``."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .failures import UsageError


@contextmanager
def importable_from_here() -> Iterator[None]:
    """Put the working directory on ``sys.path`` for a while, as ``python -m`` does.

    Yields:
        Nothing.
    """
    kept = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = kept


def load_callable(text: str, option: str) -> Callable[..., Any]:
    """Import a function or class.

    Args:
        text: ``package.module:name``; the name may have dots.
        option: Where the text was given, for messages.

    Returns:
        The function or class.

    Raises:
        UsageError: If the text has another form, or there is no such module or name, or it cannot be called.
        ModuleNotFoundError: If the module itself imports one that is not there.

    Example:
        >>> load_callable("os.path:join", "--loss")("a", "b")
        'a/b'
    """
    module_name, _, names = text.partition(":")
    parts = [*module_name.split("."), *names.split(".")]
    if not all(part.isidentifier() for part in parts) or module_name.endswith(".py"):
        likely = module_name.removesuffix(".py").strip("./").replace("/", ".") or "package.module"
        raise UsageError(f"{option} must look like package.module:name, got {text!r}; try {likely}:{names or 'name'}")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name != missing and not module_name.startswith(f"{missing}."):
            raise  # the module is there, but imports another that is not
        raise UsageError(
            f"{option} {text}: there is no module {missing!r}, neither in the working directory nor installed; give "
            "its name as an import statement would"
        ) from error
    for name in names.split("."):
        if not hasattr(found, name):
            own = [key for key, value in vars(found).items() if getattr(value, "__module__", None) == module_name]
            raise UsageError(
                f"{option} {text}: {module_name} has no {name!r}; it defines {', '.join(own[:8]) or 'nothing to call'}"
            )
        found = getattr(found, name)
    if not callable(found):
        raise UsageError(f"{option} {text}: it is a {type(found).__name__}, but must be a function; wrap it in one")
    return found  # type: ignore[no-any-return]  # callable, by the line above


def _call(text: str, option: str) -> Any:
    factory = load_callable(text, option)
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise UsageError(f"{option} {text}: it is called without arguments, but {error}; give it defaults") from error
    except ValueError:
        pass  # something in C, without a signature
    return factory()


def build_model(text: str) -> Any:
    """Call the factory of ``--model``.

    Args:
        text: ``package.module:name`` of a function or class that needs no arguments.

    Returns:
        An ``nn.Module``.

    Raises:
        TypeError: If the factory returns anything else.
    """
    from torch import nn

    model = _call(text, "--model")
    if not isinstance(model, nn.Module):
        raise TypeError(f"--model {text} must return a torch.nn.Module, it returned {_described(model)}")
    return model


def build_data(text: str) -> Iterable[Any]:
    """Call the factory of ``--data``.

    Args:
        text: ``package.module:name`` of a function or class that needs no arguments.

    Returns:
        Batches that can be read more than once.

    Raises:
        TypeError: If the factory returns anything else.
    """
    from torch import Tensor
    from torch.utils.data import Dataset

    data = _call(text, "--data")
    advice = None
    if isinstance(data, Iterator):
        advice = ", which can be read only once; return list(…) or a DataLoader"
    elif isinstance(data, Dataset) or not isinstance(data, Iterable):
        advice = "; return a DataLoader or a list of batches"
    elif isinstance(data, Tensor | Mapping | str) or (
        isinstance(data, tuple) and all(isinstance(x, Tensor) for x in data)
    ):
        advice = ", which looks like a single batch; return a list of batches, [batch] for one"
    if advice is not None:
        raise TypeError(f"--data {text} must return an iterable of batches, it returned {_described(data)}{advice}")
    return data  # type: ignore[no-any-return]  # an iterable, by the lines above


def load_metrics(texts: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """Import the functions of ``--metric``.

    Args:
        texts: Each ``name=package.module:function``.

    Returns:
        Functions by name.

    Raises:
        UsageError: If a text has another form, or a name is given twice or is "loss".
    """
    metrics: dict[str, Callable[..., Any]] = {}
    for text in texts:
        name, equals, target = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--metric must look like name=package.module:function, got {text!r}")
        if name in metrics or name == "loss":
            raise UsageError(
                f"--metric {text}: the name {name!r} is {'taken by --loss' if name == 'loss' else 'given twice'}"
            )
        metrics[name] = load_callable(target, "--metric")
    return metrics


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}, not an instance"
    return "None" if value is None else f"a {type(value).__name__}"
