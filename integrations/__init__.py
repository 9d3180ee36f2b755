"""Training frameworks and loggers: ``lightning``, ``transformers``, ``accelerate`` and ``record``."""

from .decision_file import DecisionFile
from .recorders import record, scalars

__all__ = ["DecisionFile", "record", "scalars"]
