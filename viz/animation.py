"""The landscape along a training run, as a film."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ..landscape import LossSurface
from ..landscape.files import atomic_write
from .contour import frame
from .decisions import HasHistory
from .field import Field, read_field
from .filled import choose_borders, fill
from .keys import color_bar
from .labels import name_each
from .multiples import Kind, check_kind, shared_scale
from .run_curves import Curve, draw_curve, read_curve
from .scale import Scale
from .style import Theme, current, dress
from .surface3d import surface3d
from .track import draw_track, read_track

SUFFIXES = (".gif", ".mp4")


def animate(
    surfaces: LossSurface | Sequence[LossSurface | ArrayLike],
    path: str | os.PathLike[str],
    *,
    axes: Sequence[ArrayLike] | None = None,
    steps: ArrayLike | None = None,
    losses: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
    rates: ArrayLike | tuple[ArrayLike, ArrayLike] | HasHistory | None = None,
    track: ArrayLike | None = None,
    kind: Kind = "contour",
    metric: str | None = None,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    label: str | None = None,
    fps: float = 5.0,
    dpi: float = 120.0,
) -> Path:
    """Write a film of the landscape along a run, with its loss and learning rate beside it.

    Either there is one landscape around each checkpoint, or one for all over which the run's path grows. Colours and
    heights mean the same value in every picture.

    Args:
        surfaces: A 2-D surface for each checkpoint, or arrays of shape (n, m) with their ``axes``; or a single surface,
            with ``track``.
        path: Where; must end in ``.gif``, or in ``.mp4``, for which the program ffmpeg has to be installed.
        axes: For arrays, the coordinates along both dimensions, the same for all.
        steps: Optimizer step of each checkpoint, shape (T,), ascending; 0, 1, 2, … by default.
        losses: What the upper curve shows: one value for each checkpoint, or a pair (steps, values). By default the
            losses at the centres, where there are T surfaces.
        rates: What the lower curve shows, likewise; or a scheduler with a ``history``. None draws no second curve.
        track: Coordinates of the run in a plane that all surfaces share, shape (T, 2); each picture shows it so far.
        kind: "contour" from above, or "surface" in perspective.
        metric: Name of a metric of the surfaces to show instead of the loss.
        log: Logarithmic values.
        limits: Lowest and highest value of the colours; those of all surfaces by default.
        label: Name of the values, if it is not "loss" or the name of the metric.
        fps: Pictures a second.
        dpi: Pixels per inch; the picture has 8 by 3.8 inches.

    Returns:
        The path.

    Raises:
        RuntimeError: If a film is asked for that needs a program which is not installed.
        ValueError: If the suffix is another, there is nothing to show, or arguments do not fit each other.

    Example:
        >>> animate([np.ones((2, 2))], "run.avi", axes=([0, 1], [0, 1]))
        Traceback (most recent call last):
        ...
        ValueError: path must end in .gif or .mp4, got 'run.avi'
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise ValueError(f"path must end in {' or '.join(SUFFIXES)}, got {os.fspath(path)!r}")
    check_kind(kind)
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be a positive number of pictures a second, got {fps}")
    given = [surfaces] if isinstance(surfaces, LossSurface) else list(surfaces)
    if not given:
        raise ValueError("surfaces must hold at least one, got none")
    walked = None if track is None else read_track(track, "track")
    count = len(walked) if walked is not None and len(given) == 1 else len(given)
    if walked is not None and len(walked) != count:
        raise ValueError(f"track must have a point for each of the {count} surfaces, got {len(walked)}")
    times = _times(steps, count)
    fields = [read_field(one, dims=2, caller="viz.animate", axes=axes, metric=metric, label=label) for one in given]
    scale = shared_scale(fields, name_each(None, len(fields), usual="surface "), log=log, limits=limits)
    if losses is None and len(fields) > 1 and all(field.center is not None for field in fields):
        losses = [float(field.ranking[field.center]) for field in fields if field.center is not None]
    curves = [
        read_curve(data, times, name) for data, name in ((losses, "loss"), (rates, "learning rate")) if data is not None
    ]
    writer = _writer(target.suffix.lower(), fps)
    theme = current()
    with mpl.rc_context(theme.sizes() | theme.colors() | {"savefig.bbox": None}):
        unit = "checkpoint" if steps is None else "step"
        figure, show = _stage(fields, scale, curves, times, unit, walked, kind, theme, dpi)
        try:
            with tempfile.TemporaryDirectory() as folder:
                made = Path(folder) / f"film{target.suffix.lower()}"
                writer.setup(figure, str(made), dpi=dpi)
                for number in range(count):
                    show(number)
                    writer.grab_frame()
                writer.finish()
                with atomic_write(target) as file:
                    file.write(made.read_bytes())
        finally:
            from matplotlib import pyplot as plt

            plt.close(figure)
    return target


def _times(steps: ArrayLike | None, count: int) -> NDArray[np.float64]:
    times = np.arange(count, dtype=np.float64) if steps is None else np.asarray(steps, dtype=np.float64)
    if times.shape != (count,) or not (np.diff(times) > 0).all():
        got = f"shape {times.shape}" if times.shape != (count,) else f"{times.tolist()}"
        raise ValueError(f"steps must be {count} ascending numbers, one for each checkpoint, got {got}")
    return times


def _writer(suffix: str, fps: float) -> Any:
    from matplotlib import animation

    if suffix == ".gif":
        return animation.PillowWriter(fps=fps)  # type: ignore[arg-type]  # the stub wants whole numbers
    if not animation.FFMpegWriter.isAvailable():
        raise RuntimeError(
            "an .mp4 needs the program ffmpeg, which is not on the PATH; install it (e.g. apt install ffmpeg, or conda "
            "install ffmpeg), or write a .gif"
        )
    return animation.FFMpegWriter(fps=fps)  # type: ignore[arg-type]  # likewise


def _stage(
    fields: Sequence[Field],
    scale: Scale,
    curves: Sequence[Curve],
    times: NDArray[np.float64],
    unit: str,
    walked: NDArray[np.float64] | None,
    kind: Kind,
    theme: Theme,
    dpi: float,
) -> tuple[Figure, Callable[[int], None]]:
    """Make the figure, and what changes it from picture to picture."""
    from matplotlib import pyplot as plt  # here, since it selects a backend

    size = [2 * round(inches * dpi / 2) / dpi for inches in (8.0 if curves else 4.6, 3.8)]  # films need even pixels
    figure = plt.figure(figsize=(size[0], size[1]), layout="constrained")
    halves = figure.add_gridspec(max(len(curves), 1), 2 if curves else 1, width_ratios=(1.25, 1)[: 2 if curves else 1])
    ax = figure.add_subplot(halves[:, 0], projection="3d" if kind == "surface" else None)
    dress(ax, theme)
    xlabel = "optimizer step" if unit == "step" else unit
    dots = [draw_curve(figure.add_subplot(halves[i, 1]), curve, times, theme, xlabel) for i, curve in enumerate(curves)]
    borders = choose_borders(16, scale)
    before = set(ax.get_children())

    def show(number: int) -> None:
        for artist in set(ax.get_children()) - before:
            artist.remove()
        _landscape(ax, fields[number % len(fields)], scale, borders, walked, number, kind, theme)
        ax.set_title(f"{unit} {times[number]:.15g}", size=theme.text + 1)  # of a million steps, too, the last digit
        for move in dots:
            move(times[number])

    if kind == "contour":
        shown = Scale(float(borders[0]), float(borders[-1]), scale.log)
        color_bar(ScalarMappable(shown.norm(), theme.cmap), ax, theme, shown, fields[0].name)
        before |= set(ax.get_children())
    try:
        show(0)
        figure.canvas.draw()
        figure.set_layout_engine("none")  # what stands must not jump from picture to picture
    except BaseException:
        plt.close(figure)
        raise
    return figure, show


def _landscape(
    ax: Axes,
    field: Field,
    scale: Scale,
    borders: NDArray[np.float64],
    walked: NDArray[np.float64] | None,
    number: int,
    kind: Kind,
    theme: Theme,
) -> None:
    so_far = None if walked is None else walked[: number + 1]
    if kind == "surface":
        surface3d(
            field.values, ax, axes=field.axes, log=scale.log, limits=(scale.low, scale.high), path=so_far,
            label=field.name,
        )  # fmt: skip
        ax.set(xlabel=field.labels[0].replace(" (", "\n("), ylabel=field.labels[1].replace(" (", "\n("))
        return
    fill(ax, field, borders, theme, log=scale.log)
    edge: dict[str, Any] = {"markeredgecolor": theme.outline, "markeredgewidth": theme.hair}
    if so_far is not None:
        draw_track(ax, so_far, theme)
    here = (0.0, 0.0) if so_far is None else so_far[-1]
    if so_far is not None or field.center is not None:
        ax.plot(*here, "o", markersize=5, color=theme.mark, zorder=5, clip_on=False, **edge)
    frame(ax, field, walked)
