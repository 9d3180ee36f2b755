"""
One profile, several checkpoints
================================

The loss along one direction through five checkpoints of a run. Each direction has the filter lengths of its own
checkpoint.
"""

from trained import load, network, objective

from lrscape import landscape, viz

model, states = network()
shown = {0: "before training", 1: "after 8 %", 3: "after a quarter", 6: "after half", 12: "at the end"}
profiles = []
for index in shown:
    there = load(states[index])
    direction = landscape.random_directions(there, 1, seed=0)
    profiles.append(landscape.evaluate(there, objective(), direction, landscape.line(41), batch_norm="recalibrate"))
viz.line(profiles, labels=list(shown.values()), log=True)
