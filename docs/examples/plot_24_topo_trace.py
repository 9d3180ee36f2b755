"""
Why TopoLR changed the rate
===========================

The learning rate with every decision and its reason, and the curvature that it followed.
"""

from trained import steps

from lrscape import viz
from lrscape.schedulers import TopoLR

scheduler = steps(lambda optimizer, model: TopoLR(optimizer, model, interval=25, warmup=25), lr=2e-2, count=400)
viz.lr_trace(scheduler)
