"""
Layer by layer
==============

The parts of one random direction, each moved alone. The unit is the length of each filter, so the layers can be
compared.
"""

from trained import network, objective

from lrscape import landscape, viz

model, _ = network()
layers = landscape.layer_directions(model, 1)
profiles = [landscape.evaluate(model, objective(), direction, landscape.line(41)) for direction in layers.values()]
names = [f"{name}: {type(model.get_submodule(name)).__name__}" for name in layers]
viz.line(profiles, labels=names, log=True)
