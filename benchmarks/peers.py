"""Walk a small model through planes with one landscape package, and record what came back and what was left behind.

Run by exactness.py, by path, in an environment that may have the peer and not lrscape: ``python -P peers.py NAME DIR``.
The loss handed to the package notes the weights it is called at, so nothing is taken from the package's own account.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]
Finding = tuple[bool, str]  # whether it is as it should be, and what was measured

SEED = 20_261_121  # long enough not to turn up by chance among the numbers that a package returns
RUNS = 15  # of the angle between directions
ODD, SURPRISED = 7, (9, 20)  # points along a side, and the calls at which the loss is not finite


def network() -> nn.Sequential:
    """Make the CNN of the checks: 690 parameters, two of its layers batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def flat(model: nn.Module) -> Array:
    """Copy all parameters into one float64 vector."""
    return torch.cat([p.detach().double().flatten() for p in model.parameters()]).numpy()


class Watch:
    """The loss on one batch; notes where it is called, and misbehaves at the calls it is told to."""

    def __init__(self, model: nn.Module, batch: tuple[Tensor, Tensor], surprises: Mapping[int, Any] | None = None):
        self.model, self.batch, self.surprises = model, batch, surprises or {}
        self.visited: list[Array] = []
        self.losses: list[float] = []

    def __call__(self, model: nn.Module | None = None, out: Tensor | None = None) -> Tensor:
        """Compute the loss of a model, or of its output."""
        model = self.model if model is None else model
        self.visited.append(flat(model))
        surprise = self.surprises.get(len(self.losses))
        if isinstance(surprise, BaseException):
            raise surprise
        out = model(self.batch[0]) if out is None else out
        loss = F.cross_entropy(out.double(), self.batch[1])
        self.losses.append(float(loss) if surprise is None else surprise)
        return loss if surprise is None else torch.tensor(surprise)


def _loss_landscapes(model: nn.Module, watch: Watch, n: int, _seed: int, copy: bool = False) -> Any:
    import loss_landscapes

    settings = {"steps": n, "deepcopy_model": copy}
    return loss_landscapes.random_plane(model, lambda wrapper: watch(wrapper.modules[0]).item(), **settings)


def _landscaper(model: nn.Module, watch: Watch, n: int, _seed: int) -> Any:
    from landscaper.compute import compute_loss_landscape
    from landscaper.utils import generate_random_orthogonal_directions

    settings: dict[str, Any] = {"steps": n, "distance": 1.0, "dim": 2, "device": "cpu"}
    directions = generate_random_orthogonal_directions(model, 2)
    return compute_loss_landscape(model, None, directions, lambda moved, _: float(watch(moved)), **settings)


def _landscaper_coordinates(result: Any, theta: Array) -> tuple[Array, float]:
    from landscaper import LossLandscape

    return np.asarray(LossLandscape(*result).coords), float(np.linalg.norm(theta))


def _topoadamw(model: nn.Module, watch: Watch, n: int, _seed: int) -> Any:
    from topoadamw.probe import SubspaceProbe

    return SubspaceProbe(model).grid_probe(*watch.batch, lambda out, _: watch(out=out), n)


def _lrscape(model: nn.Module, watch: Watch, n: int, seed: int) -> Any:
    from lrscape import landscape

    directions = landscape.random_directions(model, 2, orthogonal=True, seed=seed)
    return landscape.evaluate(model, watch, directions, landscape.grid(n))


def _lrscape_coordinates(result: Any, _: Array) -> tuple[Array, float]:
    return result.coordinates, result.provenance["direction_norms"][0]


class Subject(NamedTuple):
    """One package: how to walk a plane of n × n points with it, and how to read what it returns."""

    distribution: str
    walk: Callable[..., Any]
    losses: Callable[[Any], Array] = np.asarray
    coordinates: Callable[[Any, Array], tuple[Array, float]] | None = None  # (N, 2), and the length of their unit
    n: int = 21
    snake: bool = False  # every second row is walked backwards

    def centre(self, n: int) -> float:
        """Index of the model itself along either axis, by the package's documentation."""
        return n / 2 if self.snake else (n - 1) / 2

    def cell(self, call: int, n: int) -> tuple[int, int]:
        """Row and column that the value of a call is stored in."""
        i, j = divmod(call, n)
        return i, n - 1 - j if self.snake and i % 2 else j

    def plane(self, visited: Any, n: int) -> tuple[Array, Array]:
        """Read the steps along both axes from the weights visited."""
        return visited[n] - visited[n - 2 if self.snake else 0], visited[1] - visited[0]


SUBJECTS = {
    "loss-landscapes": Subject("loss-landscapes", _loss_landscapes, n=20, snake=True),
    "loss-landscapes (deepcopy)": Subject("loss-landscapes", partial(_loss_landscapes, copy=True), n=20, snake=True),
    "Landscaper": Subject("landscaper", _landscaper, lambda result: result[0], _landscaper_coordinates),
    "topoadamw": Subject("topoadamw", _topoadamw),
    "lrscape": Subject("lrscape", _lrscape, lambda result: result.values, _lrscape_coordinates),
}


class Recorder:
    """Walks of one package from one checkpoint."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject = subject
        saved = torch.load(folder / "checkpoint.pt", weights_only=True)
        self.state, self.batch = saved["state"], (saved["x"], saved["y"])

    def model(self) -> nn.Sequential:
        """Load the checkpoint, in evaluation mode."""
        model = network()
        model.load_state_dict(self.state)
        return model.eval()

    def walk(self, model: nn.Module, n: int, seed: int = SEED, **options: Any) -> tuple[Any, Watch]:
        """Walk a plane; the global random state is seeded just before."""
        dtype = next(model.parameters()).dtype
        watch = Watch(model, (self.batch[0].to(dtype), self.batch[1]), **options)
        torch.manual_seed(seed)
        return self.subject.walk(model, watch, n, seed), watch

    def surfaces(self) -> Iterator[tuple[str, Any]]:
        """Walk a whole plane in float64, one with a NaN and an infinity, and one with even sides."""
        subject, n = self.subject, self.subject.n
        model = self.model().double()
        theta = flat(model)
        result, watch = self.walk(deepcopy(model), n)
        leaves = list(_leaves(result))
        yield from {"theta": theta, "visited": watch.visited, "losses": watch.losses}.items()
        yield "grid", subject.losses(result)
        yield "axes", any(leaf.shape in {(n,), (n * n, 2)} for leaf in leaves)
        yield "numbers", [float(leaf) for leaf in leaves if leaf.ndim == 0]
        odd, watch = self.walk(self.model(), ODD, surprises=dict(zip(SURPRISED, (np.nan, np.inf), strict=True)))
        yield from {"odd_grid": subject.losses(odd), "odd_losses": watch.losses}.items()
        if subject.coordinates is None:
            return
        yield from zip(("coordinates", "unit"), subject.coordinates(result, theta), strict=True)
        try:
            result, watch = self.walk(self.model(), n - 1)
        except ValueError:
            return
        home = int(np.argmin([np.abs(weights - theta).max() for weights in watch.visited]))
        yield "even", subject.coordinates(result, theta)[0][home]  # row by row, like the calls

    def angles(self) -> Iterator[tuple[str, list[float]]]:
        """Measure the angle between the directions walked, on a larger model and on the one of the other checks."""
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(64, 1024), nn.ReLU(), nn.Linear(1024, 205), nn.ReLU(), nn.Linear(205, 10)]
        for name, model in {"angles": nn.Sequential(*layers), "small_angles": self.model()}.items():
            planes = [self.subject.plane(self.walk(deepcopy(model), 3, seed)[1].visited, 3) for seed in range(RUNS)]
            yield name, [float(abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in planes]

    def traces(self) -> Iterator[tuple[str, Finding]]:
        """Compare the model before and after, one of its two norms being frozen, as in fine-tuning."""
        model = self.model().train()
        model[1].eval()
        F.cross_entropy(model(self.batch[0]), self.batch[1]).backward()
        pending = F.cross_entropy(model(self.batch[0]), self.batch[1])
        wanted = list(torch.autograd.grad(pending, list(model.parameters()), retain_graph=True))
        torch.manual_seed(SEED)
        before = _state(model)
        self.walk(model, 5)
        yield from ((name, _difference(before[name], now)) for name, now in _state(model).items())
        model.zero_grad()
        try:
            pending.backward()
            same, text = _difference(wanted, [p.grad for p in model.parameters()])
            yield "pending", (same, "as without the walk" if same else f"gradients: {text}")
        except RuntimeError as error:
            yield "pending", (False, f"{type(error).__name__}: {str(error)[:60]}…")

    def failures(self) -> Iterator[tuple[str, Finding]]:
        """Raise in the loss, in the middle of the plane, and compare the model before and after."""
        for name, error in {"exception": RuntimeError("out of memory"), "interrupt": KeyboardInterrupt()}.items():
            model = self.model()
            before = _state(model)
            try:
                self.walk(model, 5, surprises={7: error})
                yield name, (False, "it was swallowed")
            except type(error):
                after = {key: _difference(before[key], now) for key, now in _state(model).items()}
                del after["random state"]
                bad = [f"{key}: {text}" for key, (good, text) in after.items() if not good]
                yield name, (after["weights"][0], "; ".join(bad) or "unchanged")

    def kinds(self) -> Iterator[tuple[str, Finding]]:
        """Walk a channels-last model and one with a convolution in bfloat16."""
        mixed = self.model()
        mixed[4].to(torch.bfloat16)
        for layer in (mixed[0], mixed[1], mixed[4], mixed[5], mixed[9]):
            layer.register_forward_pre_hook(lambda layer, given: given[0].to(layer.weight.dtype))
        strided = self.model().to(memory_format=torch.channels_last)
        for name, model in {"channels_last": strided, "mixed": mixed}.items():
            before = [(p.dtype, p.stride()) for p in model.parameters()]
            said = []
            try:
                self.walk(model, 5)
            except Exception as error:
                said = [f"{type(error).__name__}: {str(error)[:60]}…"]
            for k, what in enumerate(("dtype", "strides")):
                changed = sum(b[k] != (p.dtype, p.stride())[k] for b, p in zip(before, model.parameters(), strict=True))
                said += [f"{what} of {changed} of {len(before)} parameters changed"] if changed else []
            yield name, (not said, "; ".join(said) or "ran, unchanged")


def _leaves(thing: Any) -> Iterator[Array]:
    """Walk through whatever is returned, down to arrays and numbers."""
    if hasattr(thing, "__dict__"):
        thing = vars(thing)
    if isinstance(thing, Mapping | list | tuple):
        for value in thing.values() if isinstance(thing, Mapping) else thing:
            yield from _leaves(value)
    elif isinstance(thing, np.ndarray | int | float):
        yield np.asarray(thing)


def _state(model: nn.Module) -> dict[str, Any]:
    """Copy everything that a probe must leave alone."""
    parameters = list(model.parameters())
    numpys = str(np.random.get_state(legacy=False))  # noqa: NPY002  the global state is what this is about
    return {
        "weights": [p.detach().clone() for p in parameters],
        "storage": [p.data_ptr() for p in parameters],
        "shared": len({p.untyped_storage().data_ptr() for p in parameters}),
        "trainable": [p.requires_grad for p in parameters],
        "gradients": [None if p.grad is None else p.grad.clone() for p in parameters],
        "modes": [m.training for m in model.modules()],
        "buffers": [b.clone() for b in model.buffers()],
        "random state": {"torch": torch.get_rng_state().tolist(), "numpy": numpys, "Python": random.getstate()},
    }


def _difference(was: Any, now: Any) -> Finding:
    """Say how two parts of the state differ."""
    if isinstance(was, dict):
        moved = [name for name in was if was[name] != now[name]]
        return not moved, f"changed: {', '.join(moved)}" if moved else "unchanged"
    if not isinstance(was, list):
        return was == now, f"{now}" if was == now else f"{was} before, {now} after"
    tensors = all(isinstance(a, Tensor) for a in (*was, *now))
    same = [torch.equal(a, b) if tensors else a is b or a == b for a, b in zip(was, now, strict=True)]
    if all(same):
        return True, "unchanged"
    text = f"{same.count(False)} of {len(same)} changed"
    if tensors:
        text += f", by up to {max(float((a - b).abs().max()) for a, b in zip(was, now, strict=True)):.2g}"
    return False, text


def answer() -> None:
    """Write the walks to a file, and print what they left behind as a line of JSON."""
    name, folder = sys.argv[1:]
    torch.set_num_threads(1)
    recorder = Recorder(SUBJECTS[name], Path(folder))
    np.savez(Path(folder) / f"{name}.npz", **dict(recorder.surfaces()), **dict(recorder.angles()))
    found = dict(recorder.traces()) | dict(recorder.failures()) | dict(recorder.kinds())
    print("\n" + json.dumps({"version": version(SUBJECTS[name].distribution), "found": found}, default=bool))


if __name__ == "__main__":
    answer()
