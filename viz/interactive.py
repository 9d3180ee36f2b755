"""A landscape to turn around in the browser."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import ArrayLike, NDArray

from ..landscape import LossSurface
from ..landscape.files import atomic_write
from .field import Field, read_field
from .labels import name_each
from .multiples import shared_scale
from .scale import Scale
from .standalone import load_plotly, standalone
from .style import Theme, current
from .track import height_at, read_track

LIFT = {"path": 0.015, "here": 0.03, "centre": 0.03}  # of the picture's height: in the surface, marks would drown
HALF_SECOND = 500  # milliseconds for which the play button shows each checkpoint


def to_html(
    surface: LossSurface | ArrayLike | Sequence[LossSurface | ArrayLike],
    path: str | os.PathLike[str],
    *,
    axes: Sequence[ArrayLike] | None = None,
    labels: Sequence[str] | None = None,
    track: ArrayLike | None = None,
    metric: str | None = None,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    label: str | None = None,
    title: str | None = None,
) -> Path:
    """Write a 2-D landscape as one HTML file to rotate, zoom and read values from.

    The file holds everything it needs (plotly.js included), asks for nothing from the network, and opens from disk in
    any browser of 2023 or later. Several landscapes get a slider and a play button; colours and heights stay fixed.

    Args:
        surface: A surface on a 2-D grid, or an array of shape (n, m) with its ``axes``; or several, in the order of
            training.
        path: Where; must end in ``.html`` or ``.htm``.
        axes: For arrays, the coordinates along both dimensions.
        labels: What the slider says for each of several; their numbers from 1 by default.
        track: Coordinates of an optimisation path in the plane, shape (T, 2); by default the one that a trajectory's
            surface tells. It runs at the height of the surface. With as many points as there are surfaces, a mark moves
            along it.
        metric: Name of a metric of the surfaces to show instead of the loss.
        log: Logarithmic height and colour.
        limits: Lowest and highest value of heights and colours; those of all surfaces by default.
        label: Name of the values, if it is not "loss" or the name of the metric.
        title: A title.

    Returns:
        The path.

    Raises:
        ImportError: If plotly is not installed.
        ValueError: If the suffix is another, the data is no 2-D grid or has no finite value, or labels or track do not
            fit.

    Example:
        >>> to_html(np.ones((2, 2)), "surface.png")
        Traceback (most recent call last):
        ...
        ValueError: path must end in .html, got 'surface.png'
    """
    target = Path(path)
    if target.suffix.lower() not in {".html", ".htm"}:
        raise ValueError(f"path must end in .html, got {os.fspath(path)!r}")
    surfaces: list[Any] = _several(surface)
    names = name_each(labels, len(surfaces))
    fields = [read_field(one, dims=2, caller="viz.to_html", axes=axes, metric=metric, label=label) for one in surfaces]
    if min(min(field.values.shape) for field in fields) < 2:
        raise ValueError("a surface needs at least 2 points along each direction")
    scale = shared_scale(fields, names, log=log, limits=limits)
    if track is None and isinstance(surfaces[0], LossSurface):
        track = surfaces[0].provenance.get("path")
    walked = None if track is None else read_track(track, "track")
    go, theme = load_plotly("viz.to_html"), current()
    scenes = [_traces(go, field, scale, walked, i, len(fields), theme) for i, field in enumerate(fields)]
    frames = []
    if len(scenes) > 1:
        frames = [go.Frame(name=str(i), data=scene, traces=[*range(len(scene))]) for i, scene in enumerate(scenes)]
    figure = go.Figure(data=scenes[0], layout=_layout(fields[0], scale, names, theme, title), frames=frames)
    text = standalone(figure, title or f"{fields[0].name} landscape", theme)
    with atomic_write(target) as file:
        file.write(text.encode())
    return target


def _several(surface: Any) -> list[Any]:
    """Tell a sequence of surfaces or of 2-D arrays from one of them."""
    if isinstance(surface, LossSurface):
        return [surface]
    if isinstance(surface, (list, tuple)) and any(isinstance(one, LossSurface) for one in surface):
        return list(surface)
    return list(surface) if np.ndim(surface) == 3 else [surface]


def _safe(text: str) -> str:
    """Take from a name what plotly would read as markup or as a placeholder."""
    return text.replace("<", "‹").replace(">", "›").replace("%{", "% {")


def _traces(
    go: Any, field: Field, scale: Scale, track: NDArray[np.float64] | None, number: int, count: int, theme: Theme
) -> list[Any]:
    """Make the surface, its path, the mark on it and the centre; every frame has the same kinds."""
    values = np.where(np.isfinite(field.values), np.clip(field.values, scale.low, scale.high), np.nan).T
    ends = (scale.low, scale.high)
    first, second, name = _safe(field.labels[0]), _safe(field.labels[1]), _safe(field.name)
    colors = mpl.colormaps.get_cmap(theme.cmap)
    ticks = scale.ticks(6)
    traces = [
        go.Surface(
            x=field.axes[0],
            y=field.axes[1],
            z=values.astype(np.float32),
            surfacecolor=(np.log10(values) if scale.log else values).astype(np.float32),
            cmin=_scaled(ends, scale)[0],
            cmax=_scaled(ends, scale)[1],
            colorscale=[[i / 32, to_hex(colors(i / 32))] for i in range(33)],
            colorbar={
                "title": {"text": name},
                "tickvals": _scaled(ticks, scale),
                "ticktext": [f"{tick:.3g}" for tick in ticks],
                "len": 0.7,
                "outlinewidth": 0,
            },
            contours={"z": {"show": True, "color": "rgba(0,0,0,0.25)", "width": 1, "project": {"z": True}}},
            hovertemplate=f"{first} %{{x:.4g}}<br>{second} %{{y:.4g}}<br>{name} %{{z:.4g}}<extra></extra>",
        )
    ]
    marks = []
    if track is not None:
        marks.append((track, "path", {"mode": "lines+markers", "line": {"color": theme.accent, "width": 6}}, 3))
        if count > 1 and len(track) == count:
            marks.append((track[number : number + 1], "here", {"mode": "markers"}, 7))
    if field.center is not None:
        marks.append((np.zeros((1, 2)), "centre", {"mode": "markers"}, 5))
    for places, what, look, size in marks:
        heights = height_at(field, places)
        marker = {"size": size, "color": theme.mark, "line": {"color": theme.outline, "width": 1}}
        traces.append(
            go.Scatter3d(
                x=places[:, 0],
                y=places[:, 1],
                z=_lifted(heights, scale, LIFT[what]),
                customdata=heights,
                name=what,
                marker=marker,
                showlegend=False,
                hovertemplate=f"{what}<br>{name} %{{customdata:.4g}}<extra></extra>",
                **look,
            )
        )
    return traces


def _scaled(values: Any, scale: Scale) -> list[float]:
    array = np.asarray(values, dtype=np.float64)
    return list(map(float, np.log10(array) if scale.log else array))


def _lifted(heights: NDArray[np.float64], scale: Scale, lift: float) -> NDArray[np.float64]:
    shown = np.clip(heights, scale.low, scale.high)
    if scale.log:
        return np.asarray(shown * (scale.high / scale.low) ** lift)
    return np.asarray(shown + lift * (scale.high - scale.low))


def _layout(field: Field, scale: Scale, names: Sequence[str], theme: Theme, title: str | None) -> dict[str, Any]:
    plain = {"color": theme.ink, "gridcolor": theme.missing, "backgroundcolor": theme.paper, "zeroline": False}
    ticks = scale.ticks(6)
    height: dict[str, Any] = {
        "title": {"text": _safe(field.name)},
        "type": "log" if scale.log else "linear",
        "range": _scaled((scale.low, scale.high), scale),
        "tickvals": ticks.tolist(),
        "ticktext": [f"{tick:.3g}" for tick in ticks],
    }
    across, along = ({"title": {"text": _safe(label)}} for label in field.labels)
    layout: dict[str, Any] = {
        "paper_bgcolor": theme.paper,
        "font": {"color": theme.ink, "size": 13},
        "margin": {"l": 10, "r": 10, "t": 50 if title else 20, "b": 20},
        "scene": {
            "xaxis": plain | across,
            "yaxis": plain | along,
            "zaxis": plain | height,
            "aspectmode": "manual",
            "aspectratio": {"x": 1, "y": 1, "z": 0.7},
            "camera": {"eye": {"x": 0.8, "y": -1.3, "z": 1.8}, "center": {"x": 0, "y": 0, "z": -0.12}},
        },
    }
    if title:
        layout["title"] = {"text": _safe(title), "x": 0.5}
    if len(names) > 1:
        layout |= _controls(names, theme)
    return layout


def _controls(names: Sequence[str], theme: Theme) -> dict[str, Any]:
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    moving = still | {"frame": {"duration": HALF_SECOND, "redraw": True}, "fromcurrent": True}
    steps = [{"label": _safe(name), "method": "animate", "args": [[str(i)], still]} for i, name in enumerate(names)]
    buttons = [
        {"label": "play", "method": "animate", "args": [None, moving]},
        {"label": "stop", "method": "animate", "args": [[None], still]},
    ]
    return {
        "sliders": [{"steps": steps, "x": 0.14, "len": 0.82, "y": 0.02, "pad": {"t": 10}, "bgcolor": theme.missing}],
        "updatemenus": [
            {"type": "buttons", "direction": "left", "buttons": buttons, "x": 0.0, "y": 0.0, "xanchor": "left",
             "yanchor": "top", "pad": {"t": 10}, "showactive": False, "bgcolor": theme.paper}
        ],
    }  # fmt: skip
