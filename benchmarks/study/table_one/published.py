"""The figures that were published, to stand beside ours.

Source: Peng, "TopoAdamW" (2026 draft), Tables 1 and 2, whose accuracies and losses are of one run each; and, for
CIFAR-10, means over the five seeds that the author gives the results of, recomputed, with p-values of paired t-tests.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """What is known of an arm on a data set.

    Attributes:
        one: Final accuracy (%) and loss of one run.
        five: Mean final accuracy (%), its standard deviation (divided by n − 1), and mean final loss, of five runs.
    """

    one: tuple[float, float] | None = None
    five: tuple[float, float, float] | None = None


RESULTS = {
    (10, "constant"): Published((84.76, 0.4983), (84.674, 0.294, 0.4959)),
    (10, "cosine"): Published(five=(86.038, 0.426, 0.4371)),
    (10, "topo-published"): Published((86.19, 0.4523), (85.950, 0.146, 0.4486)),
    (10, "topocnn-published"): Published((86.27, 0.4559)),
    (100, "constant"): Published((57.26, 1.9423)),
    (100, "topo-published"): Published((58.76, 1.7980)),
    (100, "topocnn-published"): Published((58.72, 1.8520)),
}
OVERHEAD = {"topo-published": 14, "topocnn-published": 22}  # % per epoch, wall-clock

# Difference in percentage points, and what it is a difference of
DIFFERENCES = {
    (10, "topo-published", "constant"): "+1.28 (five seeds, p = 0.00085); +1.43 (one run)",
    (10, "topo-published", "cosine"): "-0.09 (five seeds, p = 0.58)",
    (10, "topocnn-published", "constant"): "+1.51 (one run)",
    (100, "topo-published", "constant"): "+1.50 (one run)",
    (100, "topocnn-published", "constant"): "+1.46 (one run)",
}
