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
named = {f"{name}: {type(model.get_submodule(name)).__name__}": block for name, block in blocks.items()}
viz.layer_sharpness(named, whole=float(whole.eigenvalues[0]))
