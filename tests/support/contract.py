"""The schedulers of the contract suite, for tests elsewhere and for processes of their own."""

import runpy
from pathlib import Path

CONTRACT = Path(__file__).parent.parent / "schedulers" / "test_contract.py"
FACTORIES = runpy.run_path(str(CONTRACT))["FACTORIES"]
