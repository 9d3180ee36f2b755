"""The paper's Table 1 in our figures, the published ones beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ..plan import Runs
from ..statistics import holm
from ..tables import table as markdown
from .curves import draw
from .protocol import ARMS, EPOCHS, MATCHED, RATES, Table
from .published import DIFFERENCES, OVERHEAD, RESULTS, Published
from .readings import accuracies, against, difference, last, overhead, runs_of, with_deviation

REFERENCES = ("constant", "cosine")  # the second also against the first, but not the other way round


def write(tables: Sequence[Table], runs: Runs, folder: Path, limit: int | None) -> list[Path]:
    """Write ``table_one.md`` and its figure.

    Args:
        tables: The plans.
        runs: Finished ones.
        folder: Where to.
        limit: Images used, if not all were.

    Returns:
        The files; no figure while there are no runs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure = draw(tables, runs, folder / "table_one.svg")
    text = folder / "table_one.md"
    text.write_text("\n".join(sections(tables, runs, limit, figure)), encoding="utf-8")
    return [text] if figure is None else [text, figure]


def sections(tables: Sequence[Table], runs: Runs, limit: int | None, figure: Path | None) -> list[str]:
    """Give the report's sections.

    Args:
        tables: The plans.
        runs: Finished ones.
        limit: Images used, if not all were.
        figure: The figure, if there is one.

    Returns:
        Markdown.
    """
    parts = ["# Table 1 of TopoAdamW\n"]
    if limit is not None:
        parts.append(f"**A trial: only the first {limit} training and test images were used. It is no result.**\n")
    parts.append(method(tables, runs))
    for table in tables:
        parts += [f"## CIFAR-{table.classes}\n", protocol(table), results(table, runs)]
        parts += ["Final accuracies, paired by seed:\n", differences(table, runs)]
    if figure is not None:
        parts.append(f"![Test accuracy, test loss and learning rate over the epochs]({figure.name})\n")
        parts.append("Means over seeds; bands are ± 1 standard deviation. The first quarter may leave a panel.\n")
    return parts


def method(tables: Sequence[Table], runs: Runs) -> str:
    """Say how the numbers came about, and whether runs are missing."""
    wanted = [configuration for table in tables for configuration in table.configurations()]
    there = [run for configuration in wanted if (run := runs.get(configuration)) is not None]
    pending = len(wanted) - len(there)
    dates = [run["date"] for run in there]
    packages = sorted({f"{name} {run['versions'][name]}" for run in there for name in ("torch", "numpy")})
    where = sorted({run["device"] for run in there})
    made = f" Runs of {' to '.join(sorted({min(dates), max(dates)}))}; {', '.join(packages + where)}." if dates else ""
    return (
        "CifarNet (1,147,914 parameters with ten classes), AdamW with weight decay 5e-4, batches of 128, random crops "
        "and flips; the paper's own learning rates, nothing tuned, no images held out for validation. Schedulers of "
        "this package have the defaults of their preset and probe the batch just used, corrected TopoCNNLR a quarter "
        "of it. "
        "Step decay divides the rate by ten after a half and after three quarters of its epochs, of which it gets "
        f"{MATCHED:.3f} times as many, rounded: the 25 forward passes that published TopoLR spends every 50 steps, "
        "as steps of three. Arms share weights, order of the data and crops for a seed.\n\n"
        "Accuracy and loss are those on the test images after the last epoch, means ± standard deviations (divided by "
        "n − 1). *Scheduler* is the scheduler's time over the rest of its run, *step* the time of a step over "
        "that of the constant arm, minus one: medians over seeds, of processor time where the processor computed, of "
        "wall-clock time elsewhere. Published: one run as in the paper's Table 1, and means over five seeds recomputed "
        "from the author's results. Differences come with 95 % t-intervals and p-values of paired t-tests, the last "
        "corrected for all rows of the table by Holm's method. "
        + (f"{pending} of {len(wanted)} runs are still missing." if pending else "All runs are there.")
        + f"{made}\n"
    )


def protocol(table: Table) -> str:
    """Say what is special about a data set, and what keeps its figures from being comparable."""
    usual = EPOCHS[table.classes]
    other = "" if table.epochs == usual else f" The published figures are after {usual} epochs."
    return (
        f"Epochs: {table.epochs}, batches in each: {table.batches}, training images: {table.images:,}, learning rate: "
        f"{RATES[table.classes]:g}, seeds: {len(table.seeds)}.{other}\n"
    )


def share(value: float | None) -> str:
    """Write percent, if there is a value."""
    return "–" if value is None else f"{value:+.1f} %"


def results(table: Table, runs: Runs) -> str:
    """Give the table itself."""
    rows = []
    for arm in table.arms:
        there = list(runs_of(table, arm, runs).values())
        published = RESULTS.get((table.classes, arm), Published())
        probing = bool(there) and any(run["decisions"] for run in there)
        rows.append([
            ARMS[arm].title,
            f"{ARMS[arm].epochs(table.epochs)}",
            with_deviation(list(accuracies(table, arm, runs).values()), 2),
            with_deviation([last(run, "loss") for run in there], 4),
            share(overhead(there)) if probing else "–",
            share(against(table, arm, "constant", runs)) if arm != "constant" else "–",
            *(("–", "–") if published.one is None else (f"{published.one[0]:.2f}", f"{published.one[1]:.4f}")),
            *(
                ("–", "–")
                if published.five is None
                else (f"{published.five[0]:.2f} ± {published.five[1]:.2f}", f"{published.five[2]:.4f}")
            ),
            f"≈ {OVERHEAD[arm]} %" if arm in OVERHEAD else "–",
        ])
    heads = [
        "optimizer", "epochs", "accuracy, %", "loss", "scheduler", "step", "*published, one run:* accuracy", "loss",
        "*published, five seeds:* accuracy", "loss", "*published* overhead",
    ]  # fmt: skip
    return markdown(heads, rows)


def differences(table: Table, runs: Runs) -> str:
    """Compare every arm with the constant rate and with cosine."""
    found = {
        (arm, other): entry
        for place, other in enumerate(REFERENCES)
        for arm in table.arms
        if arm not in REFERENCES[: place + 1] and (entry := difference(table, arm, other, runs)) is not None
    }
    tested = {pair: entry.p for pair, entry in found.items() if not math.isnan(entry.p)}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    rows = [
        [
            ARMS[arm].title,
            ARMS[other].title,
            str(entry.n),
            f"{entry.mean:+.2f}" + (f" [{entry.low:+.2f}, {entry.high:+.2f}]" if entry.n > 1 else ""),
            f"{entry.p:.2g}" if (arm, other) in tested else "–",
            f"{corrected[arm, other]:.2g}" if (arm, other) in tested else "–",
            DIFFERENCES.get((table.classes, arm, other), "–"),
        ]
        for (arm, other), entry in found.items()
    ]
    return markdown(["optimizer", "minus", "seeds", "percentage points", "p", "p (Holm)", "*published*"], rows)
