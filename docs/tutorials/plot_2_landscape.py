"""
Read a landscape
================

From a trained network to pictures that can be trusted: which plane, which data, which statistics, and what the
numbers beside the picture mean.
"""

# %%
# A network
# ---------
# Eight epochs on scikit-learn's digits. In your own project this is a checkpoint;
# ``landscape.load_checkpoint(model, "file.pt")`` reads all common kinds.

import torch
import torch.nn.functional as F

from lrscape import landscape, viz
from lrscape.cli import digits

torch.manual_seed(0)
data, model = digits.digits(), digits.model()
optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
for _ in range(8):
    for chosen in torch.randperm(len(data.y)).split(64):
        loss = F.cross_entropy(model(data.x[chosen]), data.y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

# %%
# What is measured
# ----------------
# An ``Objective`` is a loss over data. It reads the batches once for hundreds of points, weighs them by size,
# and computes metrics in the same forward pass.


def loss_fn(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


batches = list(zip(data.x[:400].split(100), data.y[:400].split(100), strict=True))
objective = landscape.Objective(loss_fn, batches)

# %%
# First one direction
# -------------------
# A random direction is scaled filter by filter to the lengths of the model's filters (Li et al. 2018), so that
# layers of different scale count alike. The network has BatchNorm, whose running statistics belong to the
# centre: away from it they are wrong, and the profile looks sharper than what training sees. Estimated anew at
# every point they are right, at the price of one more pass.

direction = landscape.random_directions(model, 1, norm="filter", seed=0)
profiles = [
    landscape.evaluate(model, objective, direction, landscape.line(31), batch_norm=policy)
    for policy in ("eval", "recalibrate")
]
viz.line(profiles, labels=["running statistics", "estimated anew"], log=True)

# %%
# The band is twice the standard error over the batches: it says how much of the shape is the choice of 400
# images.

# %%
# Then a plane
# ------------

directions = landscape.random_directions(model, 2, norm="filter", seed=0)
surface = landscape.evaluate(model, objective, directions, landscape.grid(21), batch_norm="recalibrate")
viz.contour(surface, log=True)

# %%
# What the numbers say
# --------------------
# Sharpness is relative to the loss at the centre and depends on the distance of the points; curvature does not.
# Roughness is what a fitted bowl leaves, and persistence counts the basins that stand out from the noise of the
# estimate.

found = landscape.features(surface)
print(f"sharpness {found.sharpness:.3g}, relative roughness {found.fit.relative_roughness:.3g}")
print("curvatures of the bowl", found.fit.eigenvalues.round(2))
viz.persistence_diagram(surface, log=True)

# %%
# Is a random plane a fair witness?
# ---------------------------------
# It has two of 18,394 dimensions. The Hessian's own largest eigenvalues say what is missed: in
# filter-normalised units a random direction meets an average of them all.

closure = lambda: loss_fn(model, (data.x[:400], data.y[:400]))  # noqa: E731  as users write it
with landscape.hessian(model, closure) as hessian:
    sharpest = landscape.top_eigenvalues(model, hessian, k=5)
    total = landscape.trace(model, hessian)
for value, residual in zip(sharpest.eigenvalues, sharpest.residuals, strict=True):
    print(f"{value:8.3f} ± {residual:.1g}")
print(f"trace {total.estimate:.1f} ± {total.standard_error:.1f}")

# %%
# The plane of the two leading eigenvectors, beside a random one at the same distances:

sharp = landscape.directions_from_vectors(model, sharpest.vectors[:2])
random = landscape.normalise(landscape.random_directions(model, 2, norm="none", seed=0), model, "unit")
surfaces = [landscape.evaluate(model, objective, d, landscape.grid(21, span=1.0)) for d in (random, sharp)]
viz.compare(surfaces, labels=["random plane", "sharpest plane"], log=True)

# %%
# Keep it
# -------
# A surface saves with everything that made it, and loads without running any code. The file can be plotted from
# the shell, too: ``lrscape plot surface.npz``.

print({name: surface.provenance[name] for name in list(surface.provenance)[:5]})
