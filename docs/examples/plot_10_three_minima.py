"""
The plane through three minima
==============================

Three seeds. Their coordinates come with the section; any two of them are separated by a barrier.
"""

from trained import network, objective

from lrscape import landscape, viz

minima = [network(seed)[0] for seed in range(3)]
section = landscape.plane_through(minima[0], *minima)
surface = landscape.evaluate(
    section.model, objective(), section.directions, section.points(25), batch_norm="recalibrate"
)
viz.plane(surface, anchors=section.coordinates, names=["seed 0", "seed 1", "seed 2"], log=True)
