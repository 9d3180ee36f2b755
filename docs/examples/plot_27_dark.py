"""
Dark
====

Every figure follows the theme it is drawn under.
"""

from trained import network, objective

from lrscape import landscape, viz

model, _ = network()
directions = landscape.random_directions(model, 2, seed=3)
surface = landscape.evaluate(model, objective(), directions, landscape.grid(31))
with viz.theme("dark"):
    viz.contour(surface, log=True)
