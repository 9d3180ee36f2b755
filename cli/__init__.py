"""The command line."""


def main() -> int:
    """Run the command line.

    Returns:
        The exit code.
    """
    return 0
