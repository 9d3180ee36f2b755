"""A person must be able to see why the rate changed."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape import viz
from lrscape.viz.reasons import KNOWN


@dataclass(frozen=True)
class Decision:
    step: int
    reason: str
    rates: list[float]
    measurement: dict[str, float] = field(default_factory=dict)
    factors: list[float] = field(default_factory=lambda: [1.0])


class Scheduler:
    def __init__(self, history):
        self.history = history


REASONS = [*KNOWN, "a reason of my own", "another_one"]


@pytest.fixture
def decisions():
    return [
        Decision(50 * (i + 1), reason, [1e-3 / (i + 1), 1e-4], {"sharpness": 0.1 * i, "curvature": 1.0 + i})
        for i, reason in enumerate(REASONS)
    ]


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def marks(ax):
    return [
        (x, line.get_marker()) for line in ax.lines if line.get_marker() not in {"None", ""} for x in line.get_xdata()
    ]


def panel(ax):
    (below,) = [other for other in ax.figure.axes if other is not ax]
    return below


def test_marks_each_decision_in_both_panels_with_its_own_marker(decisions, ax):
    assert viz.lr_trace(Scheduler(decisions), ax) is ax
    assert len(plt.get_fignums()) == 1
    for axes in (ax, panel(ax)):
        found = marks(axes)
        assert sorted(x for x, _ in found) == [decision.step for decision in decisions]
    assert len({(line.get_marker(), line.get_color()) for line in ax.lines[2:]}) == len(REASONS)


def test_legend_names_and_counts_the_reasons(decisions, ax):
    viz.lr_trace([*decisions, Decision(1000, "flat", [1e-3, 1e-4])], ax)
    texts = legend_texts(panel(ax))
    assert texts[:2] == ["rate of group 1", "rate of group 2"]
    assert {"flat (2)", "brake (1)", "another one (1)"} <= set(texts)


def test_labels_and_shared_steps(decisions):
    ax = viz.lr_trace(decisions, title="run")
    below = panel(ax)
    assert (ax.get_ylabel(), below.get_xlabel(), ax.get_title()) == ("learning rate", "optimizer step", "run")
    assert ax.get_shared_x_axes().joined(ax, below)


@pytest.mark.parametrize(
    ("wanted", "label"), [("auto", "curvature\n(loss/step²)"), ("sharpness", "sharpness"), (None, None)]
)
def test_measurement(decisions, wanted, label):
    ax = viz.lr_trace(decisions, measurement=wanted)
    others = [other for other in ax.figure.axes if other is not ax]
    assert [other.get_ylabel() for other in others] == ([] if label is None else [label])


def test_measurement_takes_what_there_is():
    one = [Decision(1, "flat", [1.0], {"height_above": 2.0})]
    assert panel(viz.lr_trace(one)).get_ylabel() == "height above"
    assert len(viz.lr_trace([Decision(1, "flat", [1.0])]).figure.axes) == 1
    with pytest.raises(ValueError, match=r"'kappa' was not measured; choose one of: 'height_above'"):
        viz.lr_trace(one, measurement="kappa")


def test_measurement_on_the_users_axes(decisions):
    _, (top, bottom) = plt.subplots(2)
    viz.lr_trace(decisions, top, measurement_ax=bottom)
    assert len(top.figure.axes) == 2
    assert bottom.get_xlabel() == "optimizer step"


def test_non_finite_measurements_are_marked_at_the_upper_edge(ax):
    values = [1.0, float("nan"), 3.0, float("inf")]
    viz.lr_trace([Decision(i, "saddle", [1e-3], {"curvature": v}) for i, v in enumerate(values)], ax)
    ax.figure.canvas.draw()
    below = panel(ax)
    edge = [line for line in below.lines if line.get_transform() == below.get_xaxis_transform()]
    assert [x for line in edge for x in line.get_xdata()] == [1, 3]
    assert below.get_ylim()[1] < 4


def test_recorded_rates_are_drawn_step_by_step(decisions, ax):
    rates = np.linspace(1e-3, 1e-4, 600)
    viz.lr_trace(decisions, ax, rates=rates)
    assert ax.lines[0].get_ydata() == pytest.approx(rates)
    assert ax.lines[0].get_drawstyle() == "steps-post"
    with pytest.raises(ValueError, match=r"rates must have shape \(steps,\)"):
        viz.lr_trace(decisions, rates=np.ones((2, 2, 2)))


def test_rates_alone_are_enough():
    ax = viz.lr_trace([], rates=np.ones((5, 2)))
    assert legend_texts(ax) == ["rate of all 2 groups"]


def test_an_empty_history_says_what_to_do():
    with pytest.raises(ValueError, match=r"history is empty.*call scheduler\.probe"):
        viz.lr_trace(Scheduler([]))


def test_something_else_is_no_scheduler():
    with pytest.raises(TypeError, match="must have a history or be an iterable of decisions, got int"):
        viz.lr_trace(3)
    with pytest.raises(TypeError, match="a str has no step, measurement, reason, rates"):
        viz.lr_trace(["flat"])


def test_log_scale_where_the_range_is_wide():
    wide = [Decision(i, "flat", [10.0**-i]) for i in range(6)]
    assert viz.lr_trace(wide).get_yscale() == "log"
    assert viz.lr_trace(wide, log=False).get_yscale() == "linear"
    assert viz.lr_trace([Decision(i, "flat", [1 - 0.1 * i]) for i in range(6)]).get_yscale() == "linear"


def test_zero_rates_do_not_break_a_log_scale():
    rates = np.array([0.0, 1e-6, 1e-5, 1e-4, 1e-3, 0.0])
    ax = viz.lr_trace([Decision(2, "flat", [1e-5])], rates=rates, log=True)
    ax.figure.canvas.draw()
    assert ax.get_ylim()[0] > 0


def test_groups_that_join_later_and_many_groups():
    ax = viz.lr_trace([Decision(1, "flat", [1.0]), Decision(2, "flat", [1.0, 2.0])])
    assert np.isnan(ax.lines[1].get_ydata()[0])
    many = viz.lr_trace([Decision(i, "flat", [1.0 + g for g in range(20)]) for i in range(3)])
    assert legend_texts(many) == ["rate of group 1", "rate of group 20", "flat (3)"]


def test_panel_of_hand_placed_axes_stays_in_their_room(decisions):
    ax = plt.figure().add_axes((0.2, 0.3, 0.6, 0.5))
    viz.lr_trace(decisions, ax)
    assert panel(ax).get_position().y0 == pytest.approx(0.3)
    assert ax.get_position().y1 == pytest.approx(0.8)
