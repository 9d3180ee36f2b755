"""Train a network online on the probes of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .topocnn_network import TopoCNN

RATE, WEIGHT_DECAY = 1e-3, 1e-4
HALF_BATCH = 32  # of images from the run, and of rehearsed ones


@contextmanager
def _apart(device: torch.device) -> Iterator[None]:
    """Shield our passes from the grad mode, autocast and cuDNN choices of the training around them."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":  # a resumed run is to be bitwise the same
            stack.enter_context(
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            )
        yield


class OnlineTrainer:
    """A network, a ring buffer of labelled images, and the cadence at which the one learns from the other.

    The first training starts once the buffer holds ``min_samples`` images, the next ones after every
    ``retrain_every`` further; each is ``train_steps`` steps of Adam (rate 1e-3, weight decay 1e-4) on the cross-entropy
    of all images. Source: Peng, "TopoAdamW", section 3.4 (2026 draft; code topoadamw 0.1.0).

    With ``rehearsal``, each step takes instead 32 images drawn from the buffer and 32 from the rehearsal set: the
    published training on a long flat stretch unlearns every other regime, and a full buffer makes it eight times as
    dear. No random state is consumed: draws follow from the number of trainings.

    Args:
        network: Moved to ``device``; at once usable if ``ready``.
        device: Where the network lives; images are kept on the CPU.
        ready: Whether the network may be asked before its first training here.
        rehearsal: Gives images and labels that are mixed in, called at the first training; None for the published
            form.
        min_samples: See above.
        retrain_every: See above.
        train_steps: See above.
        capacity: Images kept; the oldest make room.

    Raises:
        ValueError: If a number is below 1, or the buffer too small ever to train.
    """

    def __init__(
        self,
        network: TopoCNN,
        device: torch.device,
        *,
        ready: bool = False,
        rehearsal: Callable[[], tuple[Tensor, Tensor]] | None = None,
        min_samples: int = 100,
        retrain_every: int = 25,
        train_steps: int = 20,
        capacity: int = 500,
    ) -> None:
        numbers = {
            "min_samples": min_samples,
            "retrain_every": retrain_every,
            "train_steps": train_steps,
            "buffer_capacity": capacity,
        }
        for name, value in numbers.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if capacity < min_samples:
            raise ValueError(
                f"buffer_capacity must be at least min_samples, got {capacity} and {min_samples}; the network would "
                "never be trained"
            )
        self.network = network.to(device).eval()
        self.ready = ready
        self.trainings = 0
        self._device = device
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
        self._rehearsal = rehearsal
        self._min_samples, self._retrain_every = min_samples, retrain_every
        self._train_steps, self._capacity = train_steps, capacity
        self._images: list[Tensor] = []
        self._labels: list[int] = []
        self._since = 0

    def __len__(self) -> int:
        return len(self._images)

    def add(self, image: NDArray[np.float32], label: int) -> None:
        """Take a labelled image in, and train if it is time.

        Args:
            image: Shape (2, height, width), finite.
            label: Index of its class.
        """
        self._images.append(torch.from_numpy(image.copy()))
        self._labels.append(label)
        del self._images[: -self._capacity], self._labels[: -self._capacity]
        self._since += 1
        if len(self._images) >= self._min_samples and self._since >= self._retrain_every:
            self._train()

    def predict(self, image: NDArray[np.float32]) -> int | None:
        """Ask the network.

        Args:
            image: Shape (2, height, width).

        Returns:
            The likeliest class; None before the first training, unless the network came trained.
        """
        if not self.ready:
            return None
        with _apart(self._device), torch.no_grad():
            return int(self.network(torch.from_numpy(image.copy())[None].to(self._device)).argmax())

    def _train(self) -> None:
        everything = torch.stack(self._images), torch.tensor(self._labels, device="cpu")
        with _apart(self._device):
            self.network.train()
            for step in range(self._train_steps):
                images, labels = everything if self._rehearsal is None else self._mixed(*everything, step)
                self._optimizer.zero_grad()
                loss = F.cross_entropy(self.network(images.to(self._device)), labels.to(self._device))
                torch.autograd.backward(loss)
                self._optimizer.step()
            self._optimizer.zero_grad()
            self.network.eval()
        self.ready = True
        self.trainings += 1
        self._since = 0

    def _mixed(self, images: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        old_images, old_labels = cast("Callable[[], tuple[Tensor, Tensor]]", self._rehearsal)()
        random = np.random.default_rng((self.trainings, step))
        new, old = (
            torch.from_numpy(random.permutation(len(pool))[:HALF_BATCH]).to("cpu") for pool in (images, old_images)
        )
        return torch.cat([images[new], old_images[old]]), torch.cat([labels[new], old_labels[old]])

    def state(self) -> dict[str, Any]:
        """Give everything a resumed run needs.

        Returns:
            Weights, Adam's state, images and labels from the oldest on, and counters; what
            ``torch.load(weights_only=True)`` accepts.
        """
        return {
            "network": {name: value.detach().clone() for name, value in self.network.state_dict().items()},
            "optimizer": torch.utils._pytree.tree_map_only(Tensor, Tensor.clone, self._optimizer.state_dict()),
            "images": torch.stack(self._images) if self._images else None,
            "labels": list(self._labels),
            "since": self._since,
            "trainings": self.trainings,
            "ready": self.ready,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Replace the state.

        Args:
            state: What :meth:`state` gave.

        Raises:
            ValueError: If it belongs to another network.
        """
        shapes = {name: tuple(value.shape) for name, value in self.network.state_dict().items()}
        given = {name: tuple(value.shape) for name, value in state["network"].items()}
        if shapes != given:
            differing = sorted(name for name in shapes | given if shapes.get(name) != given.get(name))
            raise ValueError(
                f"the saved TopoCNN differs from this one in {', '.join(differing)}; construct the scheduler with the "
                "preset it was saved with"
            )
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._images = [] if state["images"] is None else [image.clone() for image in state["images"].cpu()]
        self._labels = [int(label) for label in state["labels"]]
        self._since, self.trainings, self.ready = state["since"], state["trainings"], state["ready"]
