"""Advice on the arguments of Python, said as options of a command."""

from __future__ import annotations

import re
from collections.abc import Container

# An argument as our messages quote it. Numbers are left alone: a file may well be called seed=3.
_ARGUMENT = re.compile(r"(?<![^\s(])([a-z]\w*)=(?:'([\w-]+)')?(?=[\s,;:)]|\.(?:\s|$)|$)")
_FIRST = re.compile(r"^([a-z]\w*)(?= (?:must|names|needs) )")  # what a message is about
_BOTH = re.compile(r"\b[a-z]\w*=\S* \((--[\w-]+) on the command line\)")


def for_shell(text: str, options: Container[str]) -> str:
    """Say what a message advises with the options of the command that was given.

    Args:
        text: The message.
        options: Names of what the command takes, as ``vars(arguments)`` has them.

    Returns:
        The message, in which ``name='value'`` has become ``--name value`` where the command has that option.

    Example:
        >>> for_shell("Pass bias='match' or norm='unit'.", {"bias"})
        "Pass --bias match or norm='unit'."
        >>> for_shell("choose with key= (--key on the command line)", {"key"})
        'choose with --key'
    """

    def option(found: re.Match[str]) -> str:
        name, value = found[1], found[2] if found.re is _ARGUMENT else None
        if name not in options:
            return found[0]
        return " ".join(filter(None, (f"--{name.replace('_', '-')}", value)))

    text = _FIRST.sub(option, _ARGUMENT.sub(option, _BOTH.sub(r"\1", text)))
    return re.sub(r"\bloss_fn\b", "--loss", text) if "loss" in options else text
