"""
Three dimensions, slice by slice
================================

A grid along three random directions, shown as small multiples on one scale.
"""

from trained import network, objective

from lrscape import landscape, viz
from lrscape.benchmarks.gallery import slice_of

model, _ = network()
cube = landscape.evaluate(model, objective(), landscape.random_directions(model, 3, seed=0), landscape.grid(11, dims=3))
third = cube.axes[2]
shown = range(1, 11, 2)
viz.multiples(
    [slice_of(cube, i) for i in shown], labels=[f"direction 3 at {third[i]:.1f}" for i in shown], across=3, log=True
)
