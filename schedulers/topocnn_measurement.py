"""What TopoCNNLR measures: numbers for the history, and an image for the network."""

from __future__ import annotations

from dataclasses import InitVar, dataclass

import numpy as np
from numpy.typing import NDArray

from ..landscape import LossSurface, sharpness, variance
from ..landscape.features import neighbours
from ..tda import published_image
from .topocnn_network import regime_image
from .topocnn_regimes import barrier, sharpness_at_reference

Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TopoCNNMeasurement:
    """What a dense probe of a random plane says.

    The image goes along as a property and not as a field, because the history records numbers.

    Attributes:
        loss: Loss at the centre, ℓ0.
        sharpness: Mean of the eight neighbours over ℓ0, minus 1: at the distance of the grid (published preset), or
            converted to a step of .24/14 (corrected).
        variance: Population standard deviation over mean of the grid.
        barrier: Highest wall around a minor basin, max ln(death/birth).
        basins: Number of H0 pairs with values on vertices, the essential one included.
        loops: Number of H1 pairs.
        picture: Given to the constructor only: the image, shape (2, 50, 50), or None.

    Example:
        >>> found = TopoCNNMeasurement(1.0, 0.1, 0.2, 0.0, 1.0, 0.0, None)
        >>> found.image is None
        True
    """

    loss: float
    sharpness: float
    variance: float
    barrier: float
    basins: float
    loops: float
    picture: InitVar[Image | None]

    def __post_init__(self, picture: Image | None) -> None:
        object.__setattr__(self, "_image", picture)

    @property
    def image(self) -> Image | None:
        """The persistence image, or None if there is none, as of a grid that is not finite."""
        image: Image | None = self.__dict__["_image"]
        return image


def read_probe(surface: LossSurface, *, published: bool) -> TopoCNNMeasurement:
    """Describe a dense probe.

    Args:
        surface: A square 2-D grid with its centre on the origin.
        published: Whether to keep the sharpness of the grid's own step, and to draw the published image.

    Returns:
        The measurement; if a loss is not finite, one that is not finite and has no image.
    """
    values, center = surface.values, surface.center
    sharp, varied = sharpness(center, neighbours(surface)), variance(values)
    if not np.isfinite(values).all():
        nan = float("nan")
        return TopoCNNMeasurement(center, sharp, varied, nan, nan, nan, None)
    height, basins, loops = barrier(values)
    if not published:
        axis = surface.axes[0]
        sharp = sharpness_at_reference(sharp, float(axis[1] - axis[0]))
    image = published_image(values) if published else regime_image(values)
    return TopoCNNMeasurement(center, sharp, varied, height, float(basins), float(loops), image)
