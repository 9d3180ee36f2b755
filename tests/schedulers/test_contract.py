"""Every scheduler keeps the one contract; a new class joins by one line."""

from functools import partial

import pytest

from lrscape.schedulers import TopoLR
from lrscape.testing import CASES, SCHEDULER_CHECKS

FACTORIES = {
    "TopoLR": TopoLR,
    "TopoLR published": partial(TopoLR, preset="published"),
}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", SCHEDULER_CHECKS)
@pytest.mark.parametrize("name", FACTORIES)
def test_contract(name, check, case):
    SCHEDULER_CHECKS[check](FACTORIES[name], case)
