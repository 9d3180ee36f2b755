"""Several landscapes get one name each, or an error."""

import pytest

from lrscape.viz.labels import name_each


def test_names():
    assert name_each(None, 3) == ["1", "2", "3"]
    assert name_each(None, 1, usual="surface ") == ["surface 1"]
    assert name_each((step for step in (0, 50)), 2) == ["0", "50"]
    assert name_each([], 0) == []


@pytest.mark.parametrize("labels", ["ab", "", ["a"], ["a", "b", "c"], []])
def test_others_are_refused(labels):
    with pytest.raises(ValueError, match="labels must name each of the 2 curves, got"):
        name_each(labels, 2, what="curves")
