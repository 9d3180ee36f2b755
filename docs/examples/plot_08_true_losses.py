"""
What a projected path hides
===========================

The checkpoints do not lie in the plane they are drawn on. Their own losses beside the losses at their projections:
here, where the plane holds 99 % of the path, next to nothing is lost.
"""

from trained import network, objective

from lrscape import landscape, viz

model, states = network()
run = landscape.trajectory(model, states)
true = landscape.true_losses(model, objective(), states, batch_norm="recalibrate")
projected = landscape.evaluate(
    run.model, objective(), run.directions, landscape.points(run.path), batch_norm="recalibrate"
)
checkpoints = range(len(states))
viz.curves(
    {
        "of the checkpoints": (checkpoints, true.losses),
        "of their projections": (checkpoints, projected.losses),
    },
    xlabel="checkpoint",
    log=True,
)
