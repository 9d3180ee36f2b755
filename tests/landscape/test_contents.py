"""Containers get back the same objects in the same order, and stay the same containers."""

from collections import Counter, OrderedDict, defaultdict, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrscape.landscape.contents import Contents, attributes, nested

CONTAINERS = {
    "list": ([1, 2], lambda c: c.append(3)),
    "reordered list": ([1, 2], lambda c: c.reverse()),
    "dict": ({"a": 1}, lambda c: c.update(b=2)),
    "changed dict": ({"a": 1, "b": 2}, lambda c: c.update(a=2)),
    "emptied dict": ({"a": 1}, lambda c: c.clear()),
    "ordered dict": (OrderedDict(a=1, b=2), lambda c: c.move_to_end("a")),
    "defaultdict": (defaultdict(list, a=[]), lambda c: c["b"].append(1)),
    "counter": (Counter("abca"), lambda c: c.update("aab")),
    "deque": (deque([1, 2], maxlen=2), lambda c: c.append(3)),
    "set": ({1, 2}, lambda c: c.add(3)),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_contents_are_put_back(name):
    container, change = CONTAINERS[name]
    before, kind = list(container.items() if isinstance(container, dict) else container), type(container)
    kept = Contents(container)
    change(container)
    kept.restore()
    assert type(container) is kind
    assert list(container.items() if isinstance(container, dict) else container) == before
    assert kept.added() == []


def test_what_is_new_is_told_by_identity():
    first, second = [1], [1]
    container = {"a": first, "b": 3}
    kept = Contents(container)
    container |= {"a": second, "c": first}
    container.pop("b")
    (found,) = kept.added()
    assert found is second


def test_nested_containers_are_found_to_some_depth():
    inner = [[[]]]
    things = {"a": inner, "t": (deque(), {1}), "n": 3}
    assert [kept.container for kept in nested([things], 3)] == [things, inner, inner[0], deque(), {1}]
    assert [kept.container for kept in nested([things], 1)] == [things]
    many = [[] for _ in range(1001)]
    assert [kept.container for kept in nested([many], 2)] == [many]


def test_a_modules_own_attributes_are_what_the_user_gave_it():
    module = nn.Linear(2, 2)
    kept = attributes(module)
    module.eval()
    module.register_buffer("more", None)
    module.last, module.in_features = 3, 5
    assert kept.added() == [5, 3]
    kept.restore()
    assert (module.in_features, module.training, "more" in dict(module._buffers)) == (2, False, True)
    assert not hasattr(module, "last")


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_any_list_becomes_what_it_was(before, after):
    container = list(before)
    kept = Contents(container)
    container[:] = after
    kept.restore()
    assert container == before
