"""Train the network that TopoCNNLR starts from, on synthetic surfaces of known regime, and measure how good it is.

Surfaces for training and for testing come from different seeds. With ``--compare``, other forms of image and network
are trained on the same surfaces, down to the published one (one mean over the image, H0 twice, brightness divided by
its maximum, ratios up to 5; 7×7 points), to say what each correction is worth.

    python -m lrscape.benchmarks.pretrain_topocnn [--write] [--compare] [--per-class 3000] [--epochs 12]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..landscape.files import atomic_write
from ..schedulers.topocnn_network import CLASSES, POOL, TopoCNN, regime_image
from ..schedulers.topocnn_regimes import CORRECTED
from ..schedulers.topocnn_surfaces import balanced
from ..tda import corrected_image, published_image

WEIGHTS = Path(__file__).parent.parent / "schedulers" / "pretrained" / "topocnn.pt"
TRAIN_SEED, TEST_SEED, INIT_SEED = 0, 5, 0
BATCH = 64
RATE = 6e-3  # peak of the one-cycle schedule

Images = Callable[[NDArray[np.float64]], NDArray[np.float32]]

FORMS: dict[str, tuple[Images, int]] = {
    "corrected: regime_image, pool 4": (regime_image, POOL),
    "regime_image, pool 1": (regime_image, 1),
    "corrected_image (cap 5, no root), pool 4": (corrected_image, POOL),
    "published image of 15×15, pool 4": (published_image, POOL),
    "published image of 15×15, pool 1": (published_image, 1),
    "published image of 7×7, pool 1": (lambda surface: published_image(surface[1::2, 1::2]), 1),
}


def draw_all(surfaces: NDArray[np.float64], images: Images, seed: int) -> Tensor:
    """Draw the images of surfaces under a little noise, as the rounding of a real probe makes it.

    Args:
        surfaces: Shape (n, 15, 15).
        images: Draws one.
        seed: Of the noise: relative, 0 or log-uniform between 1e-7 and 1e-3 for each surface.

    Returns:
        Shape (n, 2, 50, 50).
    """
    random = np.random.default_rng(seed)
    level = np.exp(random.uniform(np.log(1e-7), np.log(1e-3), len(surfaces))) * (random.random(len(surfaces)) < 0.5)
    noisy = surfaces * (1 + level[:, None, None] * random.standard_normal(surfaces.shape))
    return torch.from_numpy(np.stack([images(surface) for surface in noisy]))


def train(images: Tensor, labels: Tensor, pool: int, epochs: int) -> TopoCNN:
    """Train a fresh network with Adam, a one-cycle schedule and fixed seeds."""
    network = TopoCNN.from_seed(INIT_SEED, CLASSES, pool).train()
    stream = torch.Generator().manual_seed(INIT_SEED)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, weight_decay=1e-4)
    steps = epochs * -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(labels), generator=stream).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def predict(network: TopoCNN, images: Tensor) -> Tensor:
    """Name the regimes of images."""
    with torch.no_grad():
        return torch.cat([network(part).argmax(1) for part in images.split(256)])


def report(found: Tensor, labels: Tensor, families: list[str]) -> None:
    """Print the confusion matrix, and the accuracy by family."""
    names = [regime.name for regime in CORRECTED]
    print("| regime \\ said | " + " | ".join(names) + " |\n|---" + "|---" * len(names) + "|")
    for i, name in enumerate(names):
        counts = torch.bincount(found[labels == i], minlength=len(names)).tolist()
        print(f"| {name} | " + " | ".join(map(str, counts)) + " |")
    right = (found == labels).numpy()
    print("\n| family | surfaces | accuracy |\n|---|---|---|")
    for family in sorted(set(families)):
        members = np.array(families) == family
        print(f"| {family} | {members.sum()} | {right[members].mean():.3f} |")


def main() -> None:
    """Train, report, and write the weights if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {WEIGHTS.name} into the package")
    parser.add_argument("--per-class", type=int, default=3000, help="training surfaces of each regime")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--compare", action="store_true", help="train the other forms too")
    options = parser.parse_args()
    _, surfaces, known = balanced(options.per_class, TRAIN_SEED)
    families, held_out, known_held_out = balanced(400, TEST_SEED)
    labels, held_out_labels = torch.from_numpy(known), torch.from_numpy(known_held_out)
    rows: list[tuple[Any, ...]] = []
    for name, (images, pool) in list(FORMS.items())[: None if options.compare else 1]:
        start = time.perf_counter()
        drawn, drawn_held_out = draw_all(surfaces, images, TRAIN_SEED), draw_all(held_out, images, TEST_SEED)
        network = train(drawn, labels, pool, options.epochs)
        found = predict(network, drawn_held_out)
        accuracy = float((found == held_out_labels).float().mean())
        own = float((predict(network, drawn) == labels).float().mean())
        rows.append((name, own, accuracy, time.perf_counter() - start))
        if len(rows) == 1:
            report(found, held_out_labels, families)
            if options.write:
                with atomic_write(WEIGHTS) as file:
                    torch.save(network.state_dict(), file)
                print(f"\nwrote {WEIGHTS}, {WEIGHTS.stat().st_size} bytes")
    print(f"\n{len(labels)} training and {len(held_out_labels)} held-out surfaces, {options.epochs} epochs")
    print("\n| form | accuracy in training | held out | seconds |\n|---|---|---|---|")
    for name, own, accuracy, seconds in rows:
        print(f"| {name} | {own:.3f} | {accuracy:.3f} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
