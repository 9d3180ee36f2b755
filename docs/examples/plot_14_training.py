"""
Small multiples through training
================================

One plane, six checkpoints, one colour scale: the valley opens in the first epochs.
"""

from trained import load, network, objective

from lrscape import landscape, viz

model, states = network()
surfaces = []
for state in states[::2][:6]:
    there = load(state)
    directions = landscape.random_directions(there, 2, seed=0)
    surfaces.append(landscape.evaluate(there, objective(), directions, landscape.grid(17), batch_norm="recalibrate"))
viz.multiples(surfaces, labels=[f"{100 * i // 6} %" for i in range(6)], across=3, log=True)
