"""What ``lrscape curvature`` tells about a checkpoint."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import columns, number

if TYPE_CHECKING:  # torch is slow to import, and --help does without
    from ..landscape import TopEigenvalues
    from .curvature_estimates import Estimates
    from .measurement import Measurement


def as_record(
    found: Estimates, measurement: Measurement, arguments: argparse.Namespace, seconds: float
) -> dict[str, Any]:
    """Collect the result for ``--json``.

    Args:
        found: The estimates.
        measurement: What was measured.
        arguments: Of the command.
        seconds: How long it took.

    Returns:
        By name.
    """
    trace, density = found.trace, found.density
    low, high = trace.interval(0.95)
    sharpest, residual = float(found.largest.eigenvalues[0]), float(found.largest.residuals[0])
    return {
        "out": os.fspath(arguments.out),
        "checkpoint": dataclasses.asdict(measurement.report),
        "loss": measurement.loss_name,
        "loss_value": found.loss,
        "metrics": dict(found.metrics),
        "parameters": found.sizes[None],
        "mode": arguments.mode,
        "batch_norm": arguments.batch_norm,
        "dropout": arguments.dropout,
        "seed": arguments.seed,
        "device": str(next(measurement.model.parameters()).device),
        "trace": {
            "estimate": trace.estimate,
            "standard_error": trace.standard_error,
            "interval": [low, high],
            "method": trace.method,
            "hvps": trace.hvps,
            "converged": trace.converged,
        },
        "largest": _ends(found.largest),
        "smallest": _ends(found.smallest),
        "gradient": dataclasses.asdict(found.gradient),
        "stable_rate": {"low": _rate(sharpest + residual), "high": _rate(sharpest)},
        "density": None
        if density is None
        else {
            "vectors": density.vectors,
            "hvps": density.hvps,
            "sigma": density.sigma,
            "negative": float(density.ritz_weights[density.ritz_values < -density.sigma].sum()),
        },
        "layers": [
            {
                "layer": name,
                "parameters": found.sizes[name],
                "sharpness": float(one.eigenvalues[0]),
                "residual": float(one.residuals[0]),
                "hvps": one.hvps,
                "converged": one.converged,
            }
            for name, one in found.layers.items()
        ],
        "hvps": found.hvps,
        "directions_saved": None if arguments.save_directions is None else str(arguments.save_directions),
        "seconds": seconds,
    }


def _ends(found: TopEigenvalues) -> dict[str, Any]:
    return {
        "eigenvalues": found.eigenvalues.tolist(),
        "residuals": found.residuals.tolist(),
        "hvps": found.hvps,
        "converged": found.converged,
    }


def _rate(sharpness: float) -> float | None:
    return 2 / sharpness if sharpness > 0 else None


def as_lines(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Word the result for a person.

    Args:
        record: From :func:`as_record`, with "figures".

    Returns:
        Names and values, one line each.
    """
    trace, gradient, density = record["trace"], record["gradient"], record["density"]
    low, high = trace["interval"]
    how = {"xtrace": "XTrace", "hutchinson": "Hutchinson", "exact": "exact"}[trace["method"]]
    error = "" if how == "exact" else f" ± {number(trace['standard_error'], 2)}, 95 %: {number(low)} to {number(high)}"
    lines = [
        ("loss", f"{record['loss']}: {record['loss_value']:.6g}"),
        *[(name, f"{value:.6g}") for name, value in record["metrics"].items()],
        ("parameters", str(record["parameters"])),
        ("trace", f"{number(trace['estimate'])}{error} ({how}, {_products(trace)})"),
        ("largest", f"{_listed(record['largest'])} ({_products(record['largest'])})"),
        ("smallest", f"{_listed(record['smallest'])} ({_products(record['smallest'])})"),
        ("along gradient", _along(gradient)),
        ("stable rate", _stable(record["stable_rate"])),
    ]
    if density is not None:
        text = f"{density['vectors']} random vectors, smoothed with σ = {number(density['sigma'], 2)}"
        lines.append(("density", f"{text}, {density['negative']:.1%} of it below −σ ({density['hvps']} products)"))
    lines += _layers(record["layers"])
    lines.append(("products", f"{record['hvps']} in {record['seconds']:.2f} s on {record['device']}"))
    lines.append(("saved", record["out"]))
    if record["directions_saved"]:
        lines.append(("directions", record["directions_saved"]))
    return lines + [("figure", path) for path in record["figures"]]


def _products(part: Mapping[str, Any]) -> str:
    short = "" if part["converged"] else ", not converged"
    return f"{part['hvps']} products{short}"


def _listed(part: Mapping[str, Any]) -> str:
    pairs = zip(part["eigenvalues"], part["residuals"], strict=True)
    return ", ".join(f"{value:.5g} ± {residual:.1g}" for value, residual in pairs)


def _along(gradient: Mapping[str, Any]) -> str:
    if np.isnan(gradient["curvature"]):
        return "the gradient is zero"
    rate = gradient["best_rate"]
    best = "no upward curvature" if np.isinf(rate) else f"steepest descent is best at {rate:.4g}"
    return f"{gradient['curvature']:.4g} at length {gradient['gradient_norm']:.4g}; {best}"


def _stable(rate: Mapping[str, Any]) -> str:
    if rate["high"] is None:
        return "any: no upward curvature was found"
    least = "" if rate["low"] is None or number(rate["low"]) == number(rate["high"]) else f"{number(rate['low'])} to "
    return f"gradient descent diverges above {least}{number(rate['high'])}"


def _layers(layers: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    if not layers:
        return []
    rows = [
        (one["layer"] or "(the model)", str(one["parameters"]), f"{one['sharpness']:.5g} ± {one['residual']:.1g}",
         f"{one['hvps']}{'' if one['converged'] else ', not converged'}")
        for one in layers
    ]  # fmt: skip
    return columns(("layer", "parameters", "sharpness", "products"), rows)
