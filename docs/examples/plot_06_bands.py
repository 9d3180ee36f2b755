"""
How much the choice of direction matters
========================================

Eight random directions at each of two batch sizes of the estimate. The band is the spread of the runs, so it says
what a single picture is worth.
"""

from trained import network, objective

from lrscape import landscape, viz

model, _ = network()
groups = {
    f"{count} images": [
        landscape.evaluate(
            model, objective(count), landscape.random_directions(model, 1, seed=seed), landscape.line(31),
            batch_norm="recalibrate",
        )
        for seed in range(8)
    ]
    for count in (50, 400)
}  # fmt: skip
viz.bands(groups, spread="deviation", log=True)
