"""
The line between two minima
===========================

Two seeds reach minima of equal quality, with a barrier between them on the straight line.
"""

from trained import network, objective

from lrscape import landscape, viz

(first, _), (second, _) = network(0), network(1)
section = landscape.line_between(first, first, second)
profile = landscape.evaluate(
    section.model, objective(), section.directions, landscape.line(41, (-0.5, 1.5)), batch_norm="recalibrate"
)
viz.line(profile, log=True, mark_center=False, title="from seed 0 (at 0) to seed 1 (at 1)")
