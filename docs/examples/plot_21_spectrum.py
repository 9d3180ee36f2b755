"""
The spectrum of the Hessian
===========================

Stochastic Lanczos quadrature, with the largest eigenvalues as found by Lanczos. The dotted line is the height of a
single eigenvalue.
"""

from trained import closure, network

from lrscape import landscape, viz

model, _ = network()
with landscape.hessian(model, closure(model)) as hessian:
    sharp = landscape.top_eigenvalues(model, hessian, k=10, which="both")
    density = landscape.spectral_density(model, hessian, vectors=2, steps=40)
viz.spectrum(density, eigenvalues=sharp)
