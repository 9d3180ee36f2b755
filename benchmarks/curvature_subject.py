"""Measure curvature with one package: how accurately on a small trained model, and how fast on a CNN.

Run by curvature.py, by path, in an environment that may have the peer and not lrscape: ``python -P curvature_subject.py
NAME FOLDER SEEDS ROUNDS BATCH``. Prints JSON lines.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

VECTORS = 16  # that are timed together


def beside(name: str) -> dict[str, Any]:
    """Read a file of this folder, which is no package where this runs."""
    return runpy.run_path(str(Path(__file__).with_name(name)))


PEERS, MODELS = beside("curvature_peers.py"), beside("engine_subject.py")
SUBJECTS, loss_of = PEERS["SUBJECTS"], PEERS["loss_of"]


def network() -> nn.Sequential:
    """Make the model of the accuracies: 496 parameters on images of 8 × 8."""
    return nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 18), nn.Tanh(), nn.Linear(18, 10))


def said(error: Exception) -> str:
    """Word an error by its kind and first line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def accuracies(name: str, folder: Path, seeds: int) -> Iterator[dict[str, Any]]:
    """Estimate everything on the small model, in double precision."""
    torch.set_default_dtype(torch.float64)
    saved = torch.load(folder / "network.pt", weights_only=True)
    model = network()
    model.load_state_dict(saved["state"])
    subject = SUBJECTS[name](model, (saved["x"], saved["y"]))
    jobs: dict[str, Callable[[int], Any]] = {
        "largest": lambda seed: subject.largest(1, 10, seed),
        "five": lambda seed: subject.largest(5, 30, seed),
        "trace": lambda seed: subject.trace(99, seed),
        "default trace": subject.default_trace,
        "density": lambda seed: [np.asarray(part).tolist() for part in subject.density(3, 40, seed)],
    }
    for job, measure in jobs.items():
        try:
            for seed in range(seeds):
                subject.hvps = 0
                value = measure(seed)
                if value is None:
                    break
                yield {"job": job, "seed": seed, "value": value, "hvps": subject.hvps}
        except Exception as error:  # a peer may fail in its own way, which the table says
            yield {"job": job, "error": said(error)}
    subject.close()


def seconds(function: Callable[[], Any], times: int = 1) -> float:
    """Time some calls, and give the time of one."""
    start = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - start) / times


def attention(name: str) -> dict[str, Any]:
    """Multiply on a transformer with the attention that torch picks."""
    torch.manual_seed(0)
    model = MODELS["Transformer"]().eval()
    batch = (torch.randint(96, (4, 32)), torch.randint(96, (4, 32)))
    try:
        subject = SUBJECTS[name](model, batch)
        subject.products(torch.randn(2, sum(p.numel() for p in model.parameters())))
        subject.close()
    except Exception as error:  # this is what is asked
        return {"job": "attention", "error": said(error)}
    return {"job": "attention", "value": True}


def times(name: str, rounds: int, batch_size: int) -> Iterator[dict[str, Any]]:
    """Time 16 products on a CNN, set-up apart, over single gradients before and after them."""
    torch.manual_seed(0)
    model = MODELS["cnn"]().eval()
    batch = MODELS["images"](batch_size, 16)
    parameters = list(model.parameters())
    vectors = torch.randn(VECTORS, sum(parameter.numel() for parameter in parameters))

    def gradient() -> None:
        torch.autograd.grad(loss_of(model, batch), parameters)

    def set_up() -> Any:
        model.zero_grad()
        return SUBJECTS[name](model, batch)

    first = set_up()
    first.products(vectors[:2])
    first.close()
    del first
    seconds(gradient, 3)
    for _ in range(rounds):
        before = seconds(gradient, 8)
        start = time.perf_counter()
        subject = set_up()
        made = time.perf_counter() - start
        taken = seconds(partial(subject.products, vectors)) / VECTORS
        subject.close()
        del subject
        unit = (before + seconds(gradient, 8)) / 2
        yield {"job": "time", "product": taken / unit, "set_up": made / unit, "gradient": unit}


def main() -> None:
    """Print one JSON line for each finding: NAME FOLDER SEEDS ROUNDS BATCH."""
    name, folder, seeds, rounds, batch_size = sys.argv[1:6]

    def say(finding: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps({"subject": name, **finding}) + "\n")
        sys.stdout.flush()

    try:
        say({"job": "version", "value": version(SUBJECTS[name].distribution)})
        for finding in times(name, int(rounds), int(batch_size)):
            say(finding)
        say(attention(name))
        if name != "PyHessian, loader":
            for finding in accuracies(name, Path(folder), int(seeds)):
                say(finding)
    except Exception as error:  # likewise
        say({"job": "all", "error": said(error)})


if __name__ == "__main__":
    main()
