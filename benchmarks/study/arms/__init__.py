"""What is compared. An arm is one entry of ARMS; what trains is one entry of KINDS, and arms may share it."""

from __future__ import annotations

import importlib.util

from . import ablations, compared, systems
from .entry import Arm, Group, Kind

__all__ = ["ARMS", "KINDS", "Arm", "Group", "Kind", "missing"]

KINDS: dict[str, Kind] = compared.KINDS | systems.KINDS | ablations.KINDS
ARMS: dict[str, Arm] = compared.ARMS | systems.ARMS | ablations.ARMS


def missing() -> dict[str, str]:
    """Give the arms that cannot run here, and what they need."""
    packages = {"schedule-free": "schedulefree", "prodigy": "prodigyopt"}
    found = {}
    for name, arm in ARMS.items():
        package = next((package for prefix, package in packages.items() if arm.kind.startswith(prefix)), None)
        if package is not None and importlib.util.find_spec(package) is None:
            found[name] = f"the package {package}: pip install -e '.[study]'"
    return found
