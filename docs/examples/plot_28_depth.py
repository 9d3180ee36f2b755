"""
Plain and residual networks of 20 layers
========================================

In the style of Li et al. 2018, Fig. 1, from the surfaces that ``python -m lrscape.benchmarks.residual_vs_plain``
left: five seeds each, of which one is shown, with batch statistics.
"""

from trained import RESULTS

from lrscape import landscape, viz

folder = RESULTS / "residual_vs_plain"
surfaces = [landscape.LossSurface.load(folder / f"{kind}-20-0-batch.npz") for kind in ("plain", "residual")]
viz.compare(surfaces, labels=["plain", "residual"], kind="surface", log=True)
