"""
The sharpest plane beside a random one
======================================

The plane of the two leading eigenvectors of the Hessian. A random plane of 18,394 dimensions meets almost nothing of
it.
"""

from trained import closure, network, objective

from lrscape import landscape, viz

model, _ = network()
sharp = landscape.hessian_directions(model, closure(model), k=2)
random = landscape.normalise(landscape.random_directions(model, 2, norm="none", seed=0), model, "unit")
surfaces = [landscape.evaluate(model, objective(), d, landscape.grid(25, span=2.0)) for d in (random, sharp)]
viz.compare(surfaces, labels=["random plane", "plane of the two sharpest directions"], log=True)
