"""
HomotopyLR keeps below the edge of stability
============================================

The rate that was asked for is too high by far; the measured sharpness caps it.
"""

from trained import steps

from lrscape import viz
from lrscape.schedulers import HomotopyLR

viz.lr_trace(
    steps(lambda optimizer, model: HomotopyLR(optimizer, model, interval=50), lr=0.8, count=400, optimizer="sgd")
)
