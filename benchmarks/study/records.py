"""Finished runs as lines of JSON, one file per workload."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from .configuration import Configuration

Record = dict[str, Any]


class Records:
    """The runs in a folder.

    A line is written at once, by one process. A line that a power cut has torn is dropped when the file is next
    written to, and does not count.

    Args:
        folder: Where ``<workload>.jsonl`` lie; made when the first run is added.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: dict[Configuration, Record] = {}
        for path in sorted(folder.glob("*.jsonl")):
            for line in whole_lines(path):
                record = json.loads(line)
                self.runs[configuration(record)] = record

    def __len__(self) -> int:
        return len(self.runs)

    def get(self, wanted: Configuration) -> Record | None:
        """Give the run of a configuration, or None."""
        return self.runs.get(wanted)

    def add(self, record: Record) -> None:
        """Write a finished run down.

        Args:
            record: What :func:`lrscape.benchmarks.study.training.run` gave.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{record['workload']}.jsonl"
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        with path.open("ab") as file:
            end = sum(len(kept) + 1 for kept in whole_lines(path))
            if file.tell() > end:
                file.truncate(end)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.runs[configuration(record)] = record


def whole_lines(path: Path) -> list[bytes]:
    """Give the lines that end, without their ends."""
    return path.read_bytes().split(b"\n")[:-1]


def configuration(record: Record) -> Configuration:
    """Give the configuration of a record."""
    return Configuration(**{field.name: record[field.name] for field in fields(Configuration)})
