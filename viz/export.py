"""Figures as files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from ..landscape.files import atomic_write

# Without dates, and with fixed identifiers in an SVG, the same figure gives the same bytes.
METADATA: dict[str, dict[str, Any]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}


def save(figure: Figure | SubFigure | Axes, path: str | os.PathLike[str], *, dpi: float = 300) -> Path:
    """Write a figure to a PNG, PDF or SVG file, whole or not at all.

    Text stays text in a PDF (embedded TrueType, as journals ask) and becomes outlines in an SVG. A figure that no
    layout engine arranges is cropped to what it holds, so that nothing is cut off.

    Args:
        figure: A figure, or an Axes of it.
        path: Where; the suffix chooses the format: .png, .pdf or .svg.
        dpi: Pixels per inch of a PNG, and of what is rasterised in the others.

    Returns:
        The path.

    Raises:
        TypeError: If figure is neither a figure nor an Axes.
        ValueError: If the suffix is another.

    Example:
        >>> save(Figure(), "landscape.bmp")
        Traceback (most recent call last):
        ...
        ValueError: path must end in .png, .pdf or .svg, got 'landscape.bmp'
    """
    if not isinstance(figure, (Figure, SubFigure, Axes)):
        raise TypeError(f"figure must be a matplotlib Figure or Axes, got {type(figure).__name__}")
    target = Path(path)
    suffix = target.suffix.lower().removeprefix(".")
    if suffix not in METADATA:
        raise ValueError(f"path must end in .png, .pdf or .svg, got {os.fspath(path)!r}")
    root = figure.get_figure(root=True)
    if root is None:
        raise ValueError("this Axes has been removed from its figure, so there is nothing to save")
    settings: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "lrscape"}
    with atomic_write(target) as file, mpl.rc_context(settings):
        root.savefig(
            file,
            format=suffix,
            dpi=dpi,
            metadata=METADATA[suffix],
            bbox_inches=None if root.get_layout_engine() is not None else "tight",
        )
    return target
