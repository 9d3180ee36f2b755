"""
Three dimensions, slice by slice
================================

A grid along three random directions, shown as small multiples on one scale.
"""

from trained import network, objective

from lrscape import landscape, viz

model, _ = network()
cube = landscape.evaluate(model, objective(), landscape.random_directions(model, 3, seed=0), landscape.grid(11, dims=3))
third = cube.axes[2]
slices = [cube.values[:, :, i] for i in range(1, 11, 2)]
viz.multiples(
    slices,
    axes=cube.axes[:2],
    labels=[f"direction 3 at {third[i]:+.1f}" for i in range(1, 11, 2)],
    log=True,
    label="loss",
)
