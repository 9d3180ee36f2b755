"""Drop-in optimizers that measure the loss landscape and steer their own learning rate."""

from .steered import Steered
from .topoadamw import TopoAdamW

__all__ = ["Steered", "TopoAdamW"]
