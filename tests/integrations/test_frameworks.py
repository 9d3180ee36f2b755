"""What is not installed is named, and what is overridden exists."""

import importlib
import inspect
import sys

import pytest


@pytest.mark.parametrize("name", ["lightning", "transformers"])
def test_a_missing_framework_is_named_with_the_remedy(name, monkeypatch):
    module = f"lrscape.integrations.{name}"
    for known in [known for known in sys.modules if known.split(".")[0] == name] or [name]:
        monkeypatch.setitem(sys.modules, known, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ImportError, match=rf"pip install 'lrscape\[{name}\]'"):
        importlib.import_module(module)


@pytest.mark.parametrize(
    ("framework", "where", "base"),
    [("lightning", "lightning.pytorch", "Callback"), ("transformers", "transformers", "TrainerCallback")],
)
def test_hooks_are_those_of_the_installed_version(framework, where, base):
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    ours = importlib.import_module(f"lrscape.integrations.{framework}").LandscapeCallback
    theirs = getattr(importlib.import_module(where), base)
    hooks = [name for name in vars(ours) if name.startswith("on_") or name == "teardown"]
    assert len(hooks) >= 4
    for name in hooks:
        expected = inspect.signature(getattr(theirs, name)).parameters
        assert list(inspect.signature(getattr(ours, name)).parameters) == list(expected), name
