"""Reproducible studies and speed comparisons; not part of the wheel."""
