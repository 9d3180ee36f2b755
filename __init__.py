"""Measure the loss landscape around a PyTorch model, and let it steer the learning rate or be looked at."""

__version__ = "0.1.0"

__all__ = ["__version__"]
