"""
What BatchNorm does to a profile
================================

Away from the weights the running statistics are wrong, so a network with BatchNorm looks sharper than it is.
Statistics that are estimated anew at each point show the landscape that training sees.
"""

from trained import network, objective

from lrscape import landscape, viz

model, _ = network()
direction = landscape.random_directions(model, 1, seed=0)
policies = {"eval": "running statistics of the centre", "recalibrate": "estimated anew", "batch": "of each batch"}
profiles = [
    landscape.evaluate(model, objective(), direction, landscape.line(41), batch_norm=policy) for policy in policies
]
viz.line(profiles, labels=list(policies.values()), log=True)
