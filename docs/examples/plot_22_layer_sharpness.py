"""
Which layer is sharp
====================

The largest eigenvalue of each layer's block of the Hessian, with its residual, beside that of the whole.
"""

from trained import closure, network

from lrscape import landscape, viz

model, _ = network()
blocks = landscape.by_layer(landscape.top_eigenvalues, model, closure(model), k=1)
whole = landscape.top_eigenvalues(model, closure(model), k=1)
viz.layer_sharpness(blocks, whole=float(whole.eigenvalues[0]))
