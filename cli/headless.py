"""Drawing where there may be no display."""

from __future__ import annotations

import sys


def draw_without_window() -> None:
    """Select the backend of matplotlib that draws to files, unless whoever called us has set up another one.

    A command in a process of its own needs neither a window nor a display; in a notebook, say, where pyplot has been
    imported already, the choice is not ours. Call it before pyplot is imported.

    Example:
        >>> import matplotlib
        >>> from matplotlib import pyplot
        >>> before = matplotlib.get_backend()
        >>> draw_without_window()
        >>> matplotlib.get_backend() == before
        True
    """
    if "matplotlib.pyplot" not in sys.modules:
        import matplotlib as mpl

        mpl.use("Agg")
