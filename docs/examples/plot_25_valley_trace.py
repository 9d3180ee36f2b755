"""
ValleyLR finds a rate
=====================

The rate rises until the smoothed height across the valley turns positive, steps back once and is held.
"""

from trained import steps

from lrscape import viz
from lrscape.schedulers import ValleyLR

viz.lr_trace(steps(ValleyLR, lr=1e-3, count=300))
