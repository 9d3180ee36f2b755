"""Several landscapes get one name each, or an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrscape.viz.labels import name_each, shorten


def test_names():
    assert name_each(None, 3) == ["1", "2", "3"]
    assert name_each(None, 1, usual="surface ") == ["surface 1"]
    assert name_each((step for step in (0, 50)), 2) == ["0", "50"]
    assert name_each([], 0) == []


@pytest.mark.parametrize("labels", ["ab", "", ["a"], ["a", "b", "c"], []])
def test_others_are_refused(labels):
    with pytest.raises(ValueError, match="labels must name each of the 2 curves, got"):
        name_each(labels, 2, what="curves")


@pytest.mark.parametrize(
    ("names", "most", "shown"),
    [
        (["a", "b"], 5, ["a", "b"]),
        (["run_seed123_x", "run_seed124_x"], 11, ["…seed123_x", "…seed124_x"]),  # whole words
        (["long_run_1_of_the_model", "long_run_2_of_the_model"], 6, ["…1…", "…2…"]),
        (["a_b", "a_" + "c" * 30], 10, ["…b", "…ccc…ccccc"]),
        (["a" * 30], 10, ["aaaa…aaaaa"]),
        ([30 * "a" + "x" + 30 * "a", 61 * "a"], 10, ["1: aaaa…aaaaa", "2: aaaa…aaaaa"]),
        ([], 3, []),
    ],
)
def test_long_names_keep_what_differs(names, most, shown):
    assert shorten(names, most) == shown


@given(st.lists(st.text("ab_", max_size=12), max_size=5), st.integers(4, 12))
def test_names_that_differ_look_different(names, most):
    shown = shorten(names, most)
    assert len(shown) == len(names)
    assert all(len(text) <= most + 3 for text in shown)
    assert len(set(shown)) >= len(set(names))
