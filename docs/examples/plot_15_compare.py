"""
Two networks side by side
=========================

The same architecture after one epoch and after eight, on one scale.
"""

from trained import load, network, objective

from lrscape import landscape, viz

model, states = network()
surfaces = []
for state in (states[1], states[-1]):
    there = load(state)
    directions = landscape.random_directions(there, 2, seed=0)
    surfaces.append(landscape.evaluate(there, objective(), directions, landscape.grid(25), batch_norm="recalibrate"))
viz.compare(surfaces, labels=["early", "trained"], kind="surface", log=True)
