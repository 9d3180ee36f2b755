"""Decisions as a file of JSON lines that a resumed run goes on with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..landscape.files import atomic_write
from ..schedulers import Decision


class DecisionFile:
    """Add one JSON object per decision to a file, so that it always holds one run, each decision once.

    A run that was killed has often written more than its last checkpoint knows. When it goes on from there it takes
    these decisions again, so before the first line is added those later than the checkpoint's are dropped, and with
    them a last line that was cut off. A run that starts anew drops all of them. Lines of other names stay.

    Each line is written by one call and flushed, so that a reader sees whole lines.

    Args:
        path: Where; the folder must exist.
        name: Written to each line, under "name"; several schedulers may share a file if their names differ.

    Raises:
        IsADirectoryError: If the path is a folder.
        FileNotFoundError: If its folder does not exist.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = DecisionFile(Path(folder.name) / "run.jsonl", "generator")
        >>> file(Decision(50, {"sharpness": 0.6}, [0.8], "very sharp", [8e-4]))
        >>> (Path(folder.name) / "run.jsonl").read_text()[:56]
        '{"name": "generator", "step": 50, "measurement": {"sharp'
        >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str], name: str) -> None:
        self.path = Path(path)
        self.name = name
        if self.path.is_dir():
            raise IsADirectoryError(f"cannot write decisions to {self.path}: it is a folder; name a file in it")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"cannot write decisions to {self.path}: there is no folder {self.path.parent}; make it first"
            )
        self._last: int | None = None  # step of the last line; None while that is not known

    def __call__(self, decision: Decision, before: Decision | None = None) -> None:
        """Add a decision.

        Args:
            decision: The newest.
            before: The one before it in the history, from which it follows up to where the file is right.
        """
        known = -1 if before is None else before.step
        if known != self._last:
            self._keep(known)
        line = decision.to_json(name=self.name) + "\n"
        with self.path.open("ab") as file:
            file.write(line.encode())
        self._last = decision.step

    def _keep(self, step: int) -> None:
        """Drop our lines of later steps."""
        if not self.path.exists():
            return
        lines = self.path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if self._stays(line, step)]
        if kept != lines:
            with atomic_write(self.path) as file:
                file.writelines(kept)

    def _stays(self, line: bytes, step: int) -> bool:
        try:
            entry: Any = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict) and {"name", "step"} <= entry.keys():
            return line.endswith(b"\n") and (entry["name"] != self.name or entry["step"] <= step)
        if line.endswith(b"\n"):
            raise ValueError(
                f"{self.path} holds something else than decisions, {line[:60]!r}; choose a file of its own for them"
            )
        return False  # cut off when the process was killed
