"""Surfaces as files for ParaView and other VTK programs."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..landscape import LossSurface
from ..landscape.files import atomic_write
from .field import read_field

EVEN = 1e-9  # of the extent: how far coordinates may stray from equal steps


def to_vti(
    surface: LossSurface | ArrayLike,
    path: str | os.PathLike[str],
    *,
    axes: Sequence[ArrayLike] | None = None,
    label: str | None = None,
) -> Path:
    """Write a surface as VTK image data (``.vti``): losses, metrics and standard errors on their grid.

    In ParaView, "Warp By Scalar" makes a 2-D surface rise, "Contour" draws the level sets of a 3-D one. What is not
    finite is NaN. The provenance is field data, as JSON.

    The format is VTK's XML, version 1.0, with base64 data behind 64-bit lengths (VTK file formats, kitware, section
    "XML file formats"), which VTK 6 and later read.

    Args:
        surface: A surface on a grid of one to three dimensions, or an array with its ``axes``.
        path: Where; must end in ``.vti``.
        axes: For an array, the coordinates along each dimension, in equal steps.
        label: Name of an array's values; "value" by default.

    Returns:
        The path.

    Raises:
        ValueError: If the suffix is another, the points do not form a grid with equal steps, or it has more than three
            dimensions.

    Example:
        >>> import tempfile
        >>> u = np.linspace(-1, 1, 5)
        >>> file = to_vti(u[:, None] ** 2 + u**2, Path(tempfile.mkdtemp()) / "bowl.vti", axes=(u, u))
        >>> ElementTree.parse(file).getroot()[0].get("WholeExtent")
        '0 4 0 4 0 0'
    """
    target = Path(path)
    if target.suffix.lower() != ".vti":
        raise ValueError(f"path must end in .vti, got {os.fspath(path)!r}")
    dims = surface.dims if isinstance(surface, LossSurface) else np.ndim(surface)
    if not 1 <= dims <= 3:
        raise ValueError(f"VTK image data has one to three dimensions, got {dims}; write a slice of it")
    if isinstance(surface, LossSurface) and surface.shape is None:
        raise ValueError(
            f"these {len(surface)} points do not form a grid, which VTK image data needs; evaluate on "
            "landscape.grid(n, span)"
        )
    field = read_field(surface, dims=dims, caller="viz.to_vti", axes=axes, label=label)
    arrays = {field.name: field.values}
    told: dict[str, object] = {}
    if isinstance(surface, LossSurface):
        shape = field.values.shape
        errors = {} if surface.standard_error is None else {"standard error": surface.standard_error}
        for name, values in [*surface.metrics.items(), *errors.items()]:
            arrays[f"metric {name}" if name in arrays else name] = values.reshape(shape)
        told = dict(surface.provenance)
    document = _document([_steps(axis) for axis in field.axes], field.values.shape, arrays, json.dumps(told))
    with atomic_write(target) as file:
        ElementTree.ElementTree(document).write(file, encoding="utf-8", xml_declaration=True)
    return target


def _steps(axis: NDArray[np.float64]) -> tuple[float, float]:
    """Give first coordinate and step of an axis."""
    if len(axis) < 2:
        return float(axis[0]), 1.0
    extent = float(axis[-1] - axis[0])
    step = extent / (len(axis) - 1)
    if np.abs(axis - (axis[0] + step * np.arange(len(axis)))).max() > EVEN * extent:
        raise ValueError(
            "VTK image data needs coordinates in equal steps, which these are not; evaluate on landscape.grid(n, span)"
        )
    return float(axis[0]), step


def _document(
    steps: Sequence[tuple[float, float]], shape: tuple[int, ...], arrays: dict[str, NDArray[np.float64]], told: str
) -> ElementTree.Element:
    filled = [*steps, *[(0.0, 1.0)] * (3 - len(steps))]
    extent = " ".join(f"0 {n - 1}" for n in (*shape, *(1,) * (3 - len(shape))))
    order = "LittleEndian" if sys.byteorder == "little" else "BigEndian"
    root = ElementTree.Element("VTKFile", type="ImageData", version="1.0", byte_order=order, header_type="UInt64")
    image = ElementTree.SubElement(
        root,
        "ImageData",
        WholeExtent=extent,
        Origin=" ".join(repr(first) for first, _ in filled),
        Spacing=" ".join(repr(step) for _, step in filled),
    )
    notes = ElementTree.SubElement(image, "FieldData")
    text = ElementTree.SubElement(
        notes, "DataArray", type="String", Name="provenance", NumberOfTuples="1", format="ascii"
    )
    text.text = " ".join(map(str, [*told.encode(), 0]))
    piece = ElementTree.SubElement(image, "Piece", Extent=extent)
    data = ElementTree.SubElement(piece, "PointData", Scalars=next(iter(arrays)))
    for name, values in arrays.items():
        shown = "".join(letter if letter.isprintable() else "_" for letter in name)  # XML has no control characters
        item = ElementTree.SubElement(data, "DataArray", type="Float64", Name=shown, format="binary")
        # The first direction runs fastest.
        raw = np.where(np.isfinite(values), values, np.nan).ravel(order="F").tobytes()
        item.text = base64.b64encode(np.uint64(len(raw)).tobytes() + raw).decode()
    return root
