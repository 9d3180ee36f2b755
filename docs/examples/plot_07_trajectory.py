"""
Along a training run
====================

Thirteen checkpoints on the plane that holds most of their path (Li et al. 2018, section 7). The axes say how much.
"""

from trained import network, objective

from lrscape import landscape, viz

model, states = network()
run = landscape.trajectory(model, states)
surface = landscape.evaluate(run.model, objective(), run.directions, run.points(25), batch_norm="recalibrate")
viz.trajectory(surface, run=run, log=True)
