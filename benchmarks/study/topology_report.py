"""What persistence adds to loss, sharpness and roughness: tables, a figure and a plain sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lrscape import viz

from .records import Record
from .tables import percent, table
from .topology_data import AHEAD, EXAMPLES, GRID, SPANS, TARGETS
from .topology_model import Gain, Interval, Predictions, balance, bits
from .topology_rows import BASE, OTHERS, TIME, TOPOLOGY, Rows, essential, indicators, pairs, rows_of

Key = tuple[str, str]  # scheme, title of the comparison

NEAR = "finite pairs of the near square"
ALL = "all topology of both squares"
KNOWN, NOTHING = "loss, sharpness, roughness", "nothing"
SHOWN: dict[str, dict[str, Any]] = {NEAR: {"color": "C0", "marker": "o"}, ALL: {"color": "C3", "marker": "s"}}
SCHEMES = {"seeds": "a seed left out", "workloads": "a workload left out"}


@dataclass(frozen=True)
class Comparison:
    """Two models of the same probes.

    Attributes:
        added: What the second has in addition, for the tables.
        given: What both have, likewise.
        without: Names of the numbers that both have.
        names: Of those that are added.
        balanced: Whether both outcomes count alike in each workload.
        always: Whether the second has to use them.
    """

    added: str
    given: str
    without: tuple[str, ...]
    names: tuple[str, ...]
    balanced: bool = False
    always: bool = False

    @property
    def title(self) -> str:
        """Name it."""
        return f"{self.label} | {self.given}"

    @property
    def label(self) -> str:
        """Name what is added, and how."""
        return f"{self.added}{', balanced' * self.balanced}{', always used' * self.always}"


def comparisons(rows: Rows, scheme: str) -> list[Comparison]:
    """List what is compared, the question itself first after what the given numbers know at all.

    Args:
        rows: The probes.
        scheme: "seeds" or "workloads"; a workload that was never seen cannot be recognised.

    Returns:
        The comparisons.
    """
    near = pairs("near")
    found = [
        Comparison(KNOWN, NOTHING, (), BASE),
        Comparison(NEAR, KNOWN, BASE, near),
        Comparison("finite pairs of the wide square", KNOWN, BASE, pairs("wide")),
        Comparison("essential class of both squares", KNOWN, BASE, (*essential("near"), *essential("wide"))),
        Comparison(ALL, KNOWN, BASE, TOPOLOGY),
        Comparison("other numbers of both squares, no topology", KNOWN, BASE, OTHERS),
        Comparison(ALL, "these other numbers too", (*BASE, *OTHERS), TOPOLOGY),
    ]
    contexts: list[tuple[str, tuple[str, ...]]] = [("rate and time too", (*BASE, *TIME))]
    if scheme == "seeds":
        contexts.append(("rate, time and workload too", (*BASE, *TIME, *indicators(rows))))
    for given, names in contexts:
        found += [Comparison(NEAR, given, names, near), Comparison(ALL, given, names, TOPOLOGY)]
    kinds = [{"balanced": True}] * bool(balance(rows).any()) + [{"always": True}]
    for kind in kinds:
        found += [Comparison(NEAR, KNOWN, BASE, near, **kind), Comparison(ALL, KNOWN, BASE, TOPOLOGY, **kind)]
    return found


def compare(rows: Rows) -> dict[Key, tuple[Comparison, Gain]]:
    """Compute all gains.

    Args:
        rows: The probes.

    Returns:
        By scheme and title; a scheme that needs two groups and has one is left out.
    """
    found = {}
    for scheme, groups in (("seeds", rows.seed), ("workloads", rows.workload)):
        if len(np.unique(groups)) > 1:
            predictions = Predictions(rows, groups)
            for one in comparisons(rows, scheme):
                found[scheme, one.title] = (one, predictions.gain(one.without, one.names, one.balanced, one.always))
    return found


def signed(found: Interval) -> str:
    """Write a gain and its interval."""
    value, low, high = (f"{round(one, 3) + 0.0:+.3f}" for one in (found.value, found.low, found.high))  # no −0.000
    return f"{value} ({low} to {high})".replace("-", "−")


def gains(found: dict[Key, tuple[Comparison, Gain]], scheme: str) -> str:
    """Give the gains of a scheme."""
    rows = [
        [
            one.label,
            one.given,
            f"{gain.without:.3f}",
            f"{gain.extended:.3f}",
            signed(gain.bits),
            f"{sum(part.value > 0 for part in gain.workloads.values())} of {len(gain.workloads)}",
            f"{gain.area_without:.3f}",
            signed(gain.area),
        ]
        for (of, _), (one, gain) in found.items()
        if of == scheme
    ]
    heads = ["added", "given", "bits without", "bits with", "gain in bits", "workloads with a gain", "AUC without"]
    return table([*heads, "gain in AUC"], rows)


def seen(rows: Rows) -> str:
    """Say by workload how often the validation loss falls, and how often there was a finite pair to see at all."""
    heads = ["workload", "runs", "probes", "validation falls", "bits of that alone"]
    heads += [f"{homology} pairs, {span}" for span in SPANS for homology in ("H0", "H1")]
    lines = []
    for workload in rows.workloads:
        here = rows.where(rows.workload == workload)
        share = float(here.lower.mean())
        base = float(bits(np.full(len(here), share), here.lower).mean())
        line = [workload, str(len(np.unique(here.run))), str(len(here)), percent(share), f"{base:.3f}"]
        there = [here.numbers[f"{span} {homology} pairs"] > 0 for span in SPANS for homology in ("h0", "h1")]
        lines.append([*line, *(percent(float(one.mean())) for one in there)])
    return table(heads, lines)


def by_workload(rows: Rows, found: dict[Key, tuple[Comparison, Gain]]) -> str:
    """Give the gains in bits of the two main comparisons by workload."""
    shown = [(scheme, added) for scheme in SCHEMES for added in SHOWN if (scheme, title(added)) in found]
    heads = ["workload", *(f"{added}, {SCHEMES[scheme]}" for scheme, added in shown)]
    gained = [found[scheme, title(added)][1].workloads for scheme, added in shown]
    return table(heads, ([name, *(signed(one[name]) for one in gained)] for name in rows.workloads))


def title(added: str) -> str:
    """Name a comparison with what the question gives."""
    return f"{added} | {KNOWN}"


def verdict(found: dict[Key, tuple[Comparison, Gain]]) -> str:
    """Say in words what came out."""
    said = []
    for scheme, how in SCHEMES.items():
        for added in SHOWN:
            if (scheme, title(added)) in found:
                one = found[scheme, title(added)][1].bits
                said.append(f"- {how}, {added}: **{word(one)}**, {signed(one)} bits per probe")
    return "\n".join(said) + "\n"


def word(gained: Interval) -> str:
    """Say what an interval means."""
    if gained.low == gained.high == 0:
        return "not used"
    if gained.low > 0:
        return "helps"
    return "harms" if gained.high < 0 else "neither helps nor harms as far as can be seen"


def method(rows: Rows, records: Sequence[Record]) -> str:
    """Say how the numbers came about."""
    per_run = np.unique(rows.run, return_counts=True)[1]
    share = float(rows.lower.mean())
    dates = sorted({record["date"] for record in records})
    packages = sorted({f"{name} {version}" for record in records for name, version in record["versions"].items()})
    diverged = sum(record["diverged"] for record in records)
    near, wide = SPANS.values()
    base = float(bits(np.full(len(rows), share), rows.lower).mean())
    return (
        f"{len(records)} runs of {len(rows.workloads)} workloads (constant after a warmup at ¼, 1 and 4 times its "
        f"tuned rate, and cosine at its tuned rate), {len(rows)} probes, {per_run.min()} to {per_run.max()} a run; "
        f"{diverged} runs diverged, {rows.left_out} probes with a number that is not finite are left out. After "
        f"{percent(share)} of the probes the validation loss is lower {AHEAD} steps later; guessing that share costs "
        f"{base:.3f} bits per probe.\n\n"
        f"A probe evaluates {GRID} × {GRID} losses on each of two squares of one random, filter-normalised plane, of "
        f"half width {near:g} (near: TopoLR's) and {wide:g} (wide), in eval mode on the first {EXAMPLES} examples of "
        f"the batch just used (as many as hold {TARGETS} targets, if they are fewer). Loss, sharpness and roughness "
        "come from the nine points in the middle of the near square. Topology is, for H0 and H1 of the sublevel sets, "
        "the number of finite pairs longer than 1e-6 of the loss, their total and largest length (absolute and over "
        "the loss) and their entropy; and of the essential class the lowest and the highest loss of the square over "
        "the loss. The other numbers are the variance and the curvature of the nine points, the mean loss at the "
        "border and what a quadratic leaves of each square.\n\n"
        "The model is a logistic regression on standardised numbers; its penalty, and whether it uses the added "
        "numbers at all, is chosen inside the training part by the same kind of split. Predictions are for a seed, or "
        "a workload, that it has not seen. Gains are mean differences of −log₂ p per probe; intervals are 95 % "
        "percentile bootstraps over runs for these workloads and the models as fitted; a gain of zero to all digits "
        "means that the model chose not to use what was added. Numbers, models and comparisons were settled before any "
        "model was fitted, but for the last two rows of the tables (always used), which a first look asked for: a "
        "choice not to use numbers does not say what they would have cost.\n\n"
        f"Runs of {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}; {', '.join(packages)}; one thread each.\n"
    )


def sections(rows: Rows, records: Sequence[Record], found: dict[Key, tuple[Comparison, Gain]]) -> list[str]:
    """Give the report's sections.

    Args:
        rows: The probes.
        records: The runs.
        found: The gains.

    Returns:
        Markdown.
    """
    parts = ["# Does topology say more than loss?\n", verdict(found), method(rows, records)]
    parts.append("![Gains in bits per probe](gains.svg)\n")
    for scheme, how in SCHEMES.items():
        if any(of == scheme for of, _ in found):
            parts += [f"## With {how}\n", gains(found, scheme)]
    return [*parts, "## By workload\n", seen(rows), by_workload(rows, found)]


def draw(rows: Rows, found: dict[Key, tuple[Comparison, Gain]], target: Path) -> Path:
    """Draw the gains of the main comparisons, by workload and over all, a panel for each scheme."""
    schemes = [scheme for scheme in SCHEMES if (scheme, title(NEAR)) in found]
    figure = Figure(figsize=(3.6 * max(1, len(schemes)) + 1.0, 0.42 * len(rows.workloads) + 1.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, max(1, len(schemes)), squeeze=False, sharey=True).ravel()
    for ax, scheme in zip(axes, schemes, strict=False):
        ax.set_title(SCHEMES[scheme], fontsize=9)
        for place, (added, style) in enumerate(SHOWN.items()):
            one = found[scheme, title(added)][1]
            shown = [*(one.workloads[name] for name in rows.workloads), one.bits]
            _bars(ax, shown, 0.14 * (1 - 2 * place), added, style)
        ax.axvline(0.0, color="black", linewidth=0.8)
        ax.axhline(len(rows.workloads) - 0.5, color="black", linewidth=0.5, linestyle=":")
        ax.set_xlabel("gain in bits per probe", fontsize=8)
        ax.tick_params(labelsize=7)
        ax.grid(axis="x", alpha=0.25, linewidth=0.5)
    axes[0].set_yticks(range(len(rows.workloads) + 1), [*rows.workloads, "all"])
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=7)
    return viz.save(figure, target, dpi=150)


def _bars(ax: Axes, shown: Sequence[Interval], shift: float, label: str, style: dict[str, Any]) -> None:
    values = np.array([one.value for one in shown])
    ends = np.abs(np.array([[one.low for one in shown], [one.high for one in shown]]) - values)
    at = np.arange(len(shown)) - shift
    ax.errorbar(values, at, xerr=ends, linestyle="none", markersize=4, capsize=2, linewidth=1.2, label=label, **style)


def write(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write ``report.md`` and its figure.

    Args:
        records: Finished runs.
        folder: Where to.

    Returns:
        The files.
    """
    rows = rows_of(records)
    found = compare(rows)
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "report.md"
    text.write_text("\n".join(sections(rows, records, found)), encoding="utf-8")
    return [text, draw(rows, found, folder / "gains.svg")]
