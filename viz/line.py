"""Profiles of a landscape along one direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from ..landscape import LossSurface
from .field import Field, read_field
from .keys import legend_below
from .labels import name_each
from .scale import choose_scale, log_axis
from .style import Theme, canvas, current, few_ticks, open_frame
from .titles import entitle

DASHES = ("-", "--", "-.", (0, (1, 1)))


def line(
    surface: LossSurface | ArrayLike | Sequence[LossSurface | ArrayLike],
    ax: Axes | None = None,
    *,
    axes: Sequence[ArrayLike] | None = None,
    labels: Sequence[str] | None = None,
    metric: str | None = None,
    log: bool = False,
    mark_center: bool = True,
    label: str | None = None,
    title: str | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw one or several 1-D profiles.

    Where the surface knows the standard error of its losses, a band of ±2 of them is drawn. Points without a finite
    value leave a gap in the curve and a cross at the upper edge.

    Args:
        surface: A 1-D surface, several of them, or an array of shape (n,) or (curves, n) with its ``axes``.
        ax: Where to draw; a new figure by default.
        axes: For an array, a tuple with the n ascending coordinates.
        labels: Names of the curves, as many as there are surfaces.
        metric: Name of a metric of the surfaces to draw instead of the loss; no band then.
        log: Logarithmic height.
        mark_center: Mark the origin, where the model stands.
        label: Name of the values, if it is not "loss" or the name of the metric.
        title: A title.
        **kwargs: For :meth:`matplotlib.axes.Axes.plot`, for every curve.

    Returns:
        The Axes.

    Raises:
        ValueError: If the data is not 1-D or has no finite value, or the labels do not fit it.

    Example:
        >>> t = np.linspace(-1, 1, 11)
        >>> len(line(t**2, axes=(t,), label="loss", mark_center=False).lines)
        1
    """
    theme = current()
    several = isinstance(surface, (list, tuple)) and any(isinstance(item, LossSurface) for item in surface)
    if not several and axes is not None and len(axes) == 1 and not isinstance(surface, LossSurface):
        several = np.ndim(surface) == 2  # type: ignore[arg-type]  # surfaces are told apart above
    surfaces: Sequence[Any] = list(surface) if several else [surface]  # type: ignore[arg-type]  # narrowed above
    fields = [read_field(s, dims=1, caller="viz.line", axes=axes, metric=metric, label=label) for s in surfaces]
    if labels is not None:
        labels = name_each(labels, len(fields), what="curves")
    for field in fields:
        choose_scale(field.values, log=log, name=field.name)
    with canvas(ax, theme, size=(3.8, 2.9)) as ax:
        open_frame(ax)
        few_ticks(ax)
        handles: list[Artist] = []
        for number, field in enumerate(fields):
            name = labels[number] if labels is not None else f"profile {number + 1}" if several else field.name
            look = {
                "color": theme.series[number % len(theme.series)],
                "linestyle": DASHES[number % len(DASHES)],
                "linewidth": theme.line,
                "label": name,
                **kwargs,
            }
            handles.extend(ax.plot(field.axes[0], _gaps(field), **look))
            _draw_band(ax, field, handles[-1].get_color(), log)  # type: ignore[attr-defined]  # a Line2D
            if mark_center and field.center is not None:
                ax.plot(0, field.values[field.center], "o", markersize=3.5, color=handles[-1].get_color())  # type: ignore[attr-defined]  # likewise
        if log:
            log_axis(ax, np.concatenate([field.values for field in fields]))
        handles = handles if several or labels is not None else []
        _explain(ax, fields, handles, mark_center, theme)
        shared = {field.labels[0] for field in fields}
        ax.set(xlabel=shared.pop() if len(shared) == 1 else "step along the direction of each", ylabel=fields[0].name)
        entitle(ax, title, theme)
        legend_below(ax, handles, theme, columns=3)
        return ax


def _gaps(field: Field) -> Any:
    return np.where(np.isfinite(field.values), field.values, np.nan)


def _draw_band(ax: Axes, field: Field, color: str, log: bool) -> None:
    if field.error is None:
        return
    values, width = _gaps(field), 2 * field.error
    lower = values - width
    if log:  # a band that reaches zero runs out of the picture, which ends at half the lowest value
        lower = np.maximum(lower, 0.5 * np.nanmin(values))
    ax.fill_between(field.axes[0], lower, values + width, color=color, alpha=0.2, linewidth=0, zorder=1)


def _explain(ax: Axes, fields: Sequence[Field], handles: list[Artist], mark_center: bool, theme: Theme) -> None:
    if any(field.error is not None for field in fields):
        color = theme.muted if len(fields) > 1 else theme.series[0]
        handles.append(Patch(color=color, alpha=0.3, linewidth=0, label="± 2 standard errors"))
    if mark_center and any(field.center is not None for field in fields):
        ax.axvline(0, color=theme.muted, linewidth=theme.hair, linestyle=":", zorder=0)
        handles.append(Line2D([], [], color=theme.muted, marker="o", markersize=3.5, linestyle=":", label="centre"))
    missing = sum(field.missing for field in fields)
    if missing:
        places = np.concatenate([field.axes[0][~np.isfinite(field.values)] for field in fields])
        cross: dict[str, Any] = {"marker": "x", "linestyle": "none", "color": theme.muted, "markersize": 4}
        ax.plot(places, np.full(len(places), 0.98), transform=ax.get_xaxis_transform(), **cross)
        count = f"{missing} point{'' if missing == 1 else 's'}"
        handles.append(Line2D([], [], label=f"not finite ({count})", **cross))
