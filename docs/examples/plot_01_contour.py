"""
The loss around a checkpoint, from above
========================================

A random plane with filter-normalised directions, so that one unit means: each filter changed by its own length. The
star is the lowest point that was measured, the cross the weights themselves.
"""

from trained import network, objective

from lrscape import landscape, viz

model, _ = network()
directions = landscape.random_directions(model, 2, norm="filter", seed=0)
surface = landscape.evaluate(model, objective(), directions, landscape.grid(31, span=1.0))
viz.contour(surface, log=True, title="digits CNN, training loss")
