"""
A metric instead of the loss
============================

Metrics are measured in the same forward passes as the loss. Accuracy is flat where the loss is not: a step that costs
no right answer may still cost confidence.
"""

from matplotlib import pyplot as plt
from trained import network, objective

from lrscape import landscape, viz

model, _ = network()
directions = landscape.random_directions(model, 2, seed=0)
surface = landscape.evaluate(model, objective(), directions, landscape.grid(31))
_, (left, right) = plt.subplots(1, 2, figsize=(6.75, 2.9), layout="constrained")
viz.contour(surface, left, log=True, title="loss")
viz.contour(surface, right, metric="accuracy", title="accuracy")
