"""
Fewer points where little happens
=================================

Adaptive refinement measures a coarse grid and refines where interpolation fails. On the right, a dot stands at each
point that was measured; the rest of the 41×41 grid is interpolated.
"""

from matplotlib import pyplot as plt
from trained import network, objective

from lrscape import landscape, viz
from lrscape.benchmarks.gallery import draw_measured

model, _ = network()
directions = landscape.random_directions(model, 2, seed=0)
surface = landscape.evaluate_adaptive(model, objective(), directions, coarse=6, fine=41, log=True)
_, (left, right) = plt.subplots(1, 2, figsize=(6.75, 3.1), layout="constrained")
viz.contour(surface, left, log=True, title="loss")
draw_measured(surface, right)
