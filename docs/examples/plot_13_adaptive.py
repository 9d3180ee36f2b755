"""
Fewer points where little happens
=================================

Adaptive refinement measures a coarse grid and refines where interpolation fails. On the right, what was measured is
bright.
"""

from matplotlib import pyplot as plt
from trained import network, objective

from lrscape import landscape, viz

model, _ = network()
directions = landscape.random_directions(model, 2, seed=0)
surface = landscape.evaluate_adaptive(model, objective(), directions, coarse=6, fine=41)
count = surface.provenance["adaptive"]["measured"]
_, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
viz.contour(surface, left, title="loss")
viz.contour(
    surface, right, metric="measured", levels=2, colorbar=False, mark_minimum=False,
    title=f"{count} of {len(surface):,} points measured",
)  # fmt: skip
