"""Table 1 of Peng, "TopoAdamW" (2026 draft), made anew by whoever has CIFAR."""
