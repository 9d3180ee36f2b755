"""What the command line writes, and where: the result to standard output, everything else to standard error."""

from __future__ import annotations

import argparse
import io
import json
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from typing import Any, Self


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has.

    Args:
        parser: The parser of one command.
    """
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print the result as one JSON object on standard output")
    group.add_argument("-q", "--quiet", action="store_true", help="print errors only (and what --json asks for)")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def accept_any_name() -> None:
    """Let names that the terminal's encoding lacks be written as escapes, rather than fail at the end of a scan."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def plain(value: Any) -> Any:
    """Turn a result into what JSON can hold.

    Args:
        value: Numbers, strings, and mappings and sequences of them, numpy's included.

    Returns:
        The same in JSON's own kinds; a number that is not finite becomes None, since JSON has none.

    Example:
        >>> plain({"losses": (1.0, float("nan"))})
        {'losses': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)


class Output(logging.Handler):
    """Writes a command's result and notes as ``--json`` and ``--quiet`` ask for.

    As a context, it shows what the package logs as notes, and with ``--json`` it keeps standard output free of
    anything that the user's own code prints.

    Args:
        arguments: What the command was given.
        silent: Write nothing at all, as one of several processes that do the same.
    """

    def __init__(self, arguments: argparse.Namespace, silent: bool = False) -> None:
        super().__init__(logging.INFO)
        self._json = bool(arguments.json) and not silent
        self._quiet = bool(arguments.quiet) or silent
        self._command = str(arguments.command)
        self._stdout = sys.stdout
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        logger = logging.getLogger(__name__.split(".")[0])
        self._stack.callback(logger.setLevel, logger.level)
        self._stack.callback(logger.removeHandler, self)
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        if self._json:
            self._stack.enter_context(redirect_stdout(sys.stderr))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def progress(self) -> bool:
        """Whether to show progress bars, which go to standard error."""
        return not self._quiet

    def emit(self, record: logging.LogRecord) -> None:
        """Write a log record as a note.

        Args:
            record: What was logged.
        """
        lines = record.getMessage().removeprefix("lrscape: ").splitlines()
        self.note(lines[0] + (" …" if len(lines) > 1 else ""))

    def note(self, text: str) -> None:
        """Write a note to standard error.

        Args:
            text: One line.
        """
        if not self._quiet:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def result(self, record: Mapping[str, Any], lines: Sequence[tuple[str, str]]) -> None:
        """Write the result to standard output.

        Args:
            record: For ``--json``.
            lines: For a person: names and values.
        """
        if self._json:
            self._stdout.write(json.dumps({"command": self._command, **plain(record)}, allow_nan=False) + "\n")
        elif not self._quiet:
            width = max((len(name) for name, _ in lines), default=0)
            self._stdout.write("".join(f"{name:<{width}}  {value}\n" for name, value in lines))
        self._stdout.flush()
