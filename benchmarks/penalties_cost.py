"""What does a training step cost with a penalty, or with SAM, in plain steps; and SASP's general form beside a loop?

First, steps of SGD: forward, backward and update, every kind once per round and in an order that rotates; the medians,
over rounds, of the ratio to the plain step of the same round, with quartiles. Then SASP's general form with its
gradient, likewise, in calls of ``method="loop"``. Weights and data are random, which does not matter for the time.

    OMP_NUM_THREADS=1 python -m lrscape.benchmarks.penalties_cost [--rounds 21] [--device cpu] [--only steps|general]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..cli.digits import model as digits_cnn
from ..penalties import DMTA, SBMP, apply_cvp_, cvp, sasp, sasp_general
from .sam import sam_backward
from .shortcuts import network as residual_network
from .text import CHARACTERS, CharTransformer
from .topocnn_cost import cifarnet

CHARACTER_BATCH, CONTEXT = 16, 64


@dataclass
class Subject:
    """A model as body and head, an input to each example, and the targets; logits have classes in dimension 1."""

    body: nn.Module
    head: nn.Module
    x: Tensor
    y: Tensor

    def loss(self) -> tuple[Tensor, Tensor, Tensor]:
        """Give loss, logits and features."""
        features = self.body(self.x)
        logits = self.head(features)
        if logits.dim() == 3:
            features, logits = features.transpose(1, 2), logits.transpose(1, 2)
        return F.cross_entropy(logits, self.y), logits, features


class CharacterBody(nn.Module):
    """All of the character transformer but its head."""

    def __init__(self, whole: CharTransformer) -> None:
        super().__init__()
        self.token, self.position, self.blocks, self.norm = whole.token, whole.position, whole.blocks, whole.norm

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes of shape (batch, time) to features (batch, time, width)."""
        positions = torch.arange(codes.shape[1], device=codes.device)
        out: Tensor = self.norm(self.blocks(self.token(codes) + self.position(positions)))
        return out


def mlp(width: int) -> nn.Sequential:
    """Make two hidden layers on 64 inputs."""
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))


def images(model: nn.Sequential, size: int, *shape: int) -> Subject:
    """Split off the head and draw a batch."""
    return Subject(model[:-1], model[-1], torch.randn(size, *shape), torch.randint(10, (size,)))


def characters(size: int) -> Subject:
    """Split off the transformer's head and draw a batch."""
    whole = CharTransformer(context=CONTEXT)
    codes = torch.randint(len(CHARACTERS), (2, size, CONTEXT))
    return Subject(CharacterBody(whole), whole.head, codes[0], codes[1])


def on(subject: Subject, device: torch.device) -> Subject:
    """Move a subject to a device."""
    return Subject(subject.body.to(device), subject.head.to(device), subject.x.to(device), subject.y.to(device))


def interleaved(calls: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Time every call once per round, in a rotating order, after one round to warm up."""
    names, seconds = list(calls), {name: [0.0] * rounds for name in calls}
    for turn in range(-1, rounds):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            start = time.perf_counter()
            calls[name]()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= 0:
                seconds[name][turn] = time.perf_counter() - start
    return seconds


def steps(subject: Subject) -> dict[str, Callable[[], object]]:
    """List the kinds of training steps."""
    parameters = [*subject.body.parameters(), *subject.head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=1e-6, momentum=0.9)
    tracker, noisy = DMTA(), SBMP(1.0)

    def with_sasp() -> Tensor:
        loss, logits, features = subject.loss()
        has_bias = getattr(subject.head, "bias", None) is not None
        return loss + 1e-2 * sasp(logits, features, subject.y, bias=has_bias)

    def with_cvp() -> Tensor:
        loss = subject.loss()[0]
        return loss + 1e-2 * cvp(parameters, torch.autograd.grad(loss, parameters, retain_graph=True))

    def with_sbmp() -> Tensor:
        loss, logits, features = subject.loss()
        if subject.x.is_floating_point():
            return loss + noisy(lambda e: subject.head(subject.body(e)), subject.x, logits)
        # Codes have no neighbours: perturb what the head sees.
        return loss + noisy(lambda e: subject.head(e).transpose(1, 2), features.transpose(1, 2), logits)

    def with_dmta() -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            loss = subject.loss()[0]
        return loss + 1e-2 * tracker(torch.autograd.grad(loss, parameters, create_graph=True))

    def step(backward: Callable[[], object]) -> Callable[[], object]:
        def whole() -> None:
            optimizer.zero_grad()
            backward()
            optimizer.step()

        return whole

    def apply() -> None:
        subject.loss()[0].backward()
        apply_cvp_(parameters, lam=1e-2)

    return {
        "plain": step(lambda: subject.loss()[0].backward()),
        "SASP": step(lambda: with_sasp().backward()),
        "SAM": step(lambda: sam_backward(lambda: subject.loss()[0], parameters, 0.05)),
        "CVP, in place": step(apply),
        "CVP, second backward": step(lambda: with_cvp().backward()),
        "SBMP": step(lambda: with_sbmp().backward()),
        "DMTA": step(lambda: with_dmta().backward()),
    }


def general(subject: Subject) -> dict[str, Callable[[], object]]:
    """List the ways to take SASP's general form with its gradient."""
    model = nn.Sequential(subject.body, subject.head).eval()  # single examples have no batch statistics

    def loss_fn(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        logits = model(batch[0])
        return F.cross_entropy(logits.transpose(1, 2) if logits.dim() == 3 else logits, batch[1])

    def call(method: str) -> Callable[[], object]:
        def whole() -> None:
            model.zero_grad()
            sasp_general(loss_fn, model, (subject.x, subject.y), method=method).backward()  # type: ignore[arg-type]

        return whole

    return {method: call(method) for method in ("loop", "vmap", "auto")}


def print_table(title: str, kinds: list[str], measured: dict[str, dict[str, list[float]]], base: str) -> None:
    """Print the median ratios to the base, with quartiles, a line per subject."""
    print(f"\n| {title} | {base}, ms | {' | '.join(kinds)} |\n|---{'|---' * (len(kinds) + 1)}|")
    for name, seconds in measured.items():
        ratios = [np.divide(seconds[kind], seconds[base]) for kind in kinds]
        cells = ["{1:.2f} ({0:.2f} to {2:.2f})".format(*np.percentile(r, [25, 50, 75])) for r in ratios]
        print(f"| {name} | {np.median(seconds[base]) * 1e3:.1f} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Time both and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=["steps", "general"])
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.manual_seed(0)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, {options.rounds} rounds")
    trained = {
        "CifarNet, 128 images": images(cifarnet(), 128, 3, 32, 32),
        "digits CNN, 64 images": images(digits_cnn(), 64, 1, 8, 8),
        "MLP of width 512, 64 rows": images(mlp(512), 64, 64),
        "character transformer, 16 × 64": characters(CHARACTER_BATCH),
    }
    single = {
        "MLP of width 64, 64 rows": images(mlp(64), 64, 64),
        "MLP of width 256, 64 rows": images(mlp(256), 64, 64),
        "MLP of width 512, 64 rows": images(mlp(512), 64, 64),
        "digits CNN, 64 images": images(digits_cnn(), 64, 1, 8, 8),
        "residual network of 20 layers, 16 images": images(residual_network(20, True), 16, 1, 8, 8),
        "character transformer, 16 × 64": characters(CHARACTER_BATCH),
        "CifarNet, 32 images": images(cifarnet(), 32, 3, 32, 32),
    }
    if options.only != "general":
        found = {key: interleaved(steps(on(value, device)), options.rounds, device) for key, value in trained.items()}
        kinds = [kind for kind in next(iter(found.values())) if kind != "plain"]
        print_table("a training step, in plain ones", kinds, found, "plain")
    if options.only != "steps":
        found = {key: interleaved(general(on(value, device)), options.rounds, device) for key, value in single.items()}
        print_table("general SASP and its gradient, in loops", ["vmap", "auto"], found, "loop")


if __name__ == "__main__":
    main()
