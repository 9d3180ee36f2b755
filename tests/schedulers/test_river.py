"""River against its formula, on streams whose averages are known."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ranks import run_ranks

from lrscape.schedulers import RiverLR, RiverMeasurement, cosine, measure_examples

WIDE = {"min_ratio": 1e-12, "max_ratio": 1e12}


def river(**options):
    return RiverLR(torch.optim.SGD([torch.zeros(1)], lr=1.0), **options)


def multipliers(scheduler, stream):
    found = []
    for mean, variance in stream:
        scheduler.observe(RiverMeasurement(mean, variance))
        found.append(scheduler.factors[0])
    return found


def reference(stream, start, relative, slow=0.999, fast=0.99, eps=1e-8):
    """The averages as they are written down, unclipped."""
    v = u = 0.0
    found = []
    for k, (mean, variance) in enumerate(stream, 1):
        r = variance / mean**2 if relative else variance
        v = r if start == "first" and k == 1 else fast * v + (1 - fast) * r
        w = v / (1 - fast**k) if start == "unbiased" else v
        u = w if start == "first" and k == 1 else slow * u + (1 - slow) * w
        found.append(((u / (1 - slow**k) if start == "unbiased" else u) + eps * relative) / (w + eps))
    return found


@pytest.mark.parametrize("start", ["unbiased", "first", "zero"])
@pytest.mark.parametrize("preset", ["corrected", "published"])
def test_it_follows_its_formula(preset, start):
    draw = np.random.default_rng(0)
    stream = [(float(m), float(v)) for m, v in zip(draw.uniform(0.5, 2, 300), draw.exponential(1, 300), strict=True)]
    found = multipliers(river(preset=preset, start=start, **WIDE), stream)
    assert found == pytest.approx(reference(stream, start, preset == "corrected"), rel=1e-12)


def falling(steps, rate=0.98):
    """Losses that fall geometrically, always spread alike."""
    return [(rate**t, rate ** (2 * t)) for t in range(steps)]


def test_published_from_the_first_value_starts_at_one_and_grows_without_bound():
    found = multipliers(river(preset="published", eps=1e-300, **WIDE), falling(3000))
    assert found[0] == 1.0  # no warmup at all
    assert all(b > a for a, b in pairwise(found[100:]))
    # v falls like .99^t, the target like .999^t.
    growth = math.log(found[-1] / found[-1001]) / 1000
    assert growth == pytest.approx(math.log(0.999 / 0.99), rel=1e-3)
    assert found[-1] > 1e9


@given(st.floats(1e-3, 1e6), st.floats(0.5, 0.9999))
def test_published_from_zero_starts_small_whatever_the_losses_are(variance, slow):
    scheduler = river(preset="published", start="zero", target_beta=slow, **WIDE)
    # The chapter's automatic warmup: it is there for any landscape.
    assert multipliers(scheduler, [(1.0, variance)])[0] == pytest.approx(1 - slow, rel=2e-3)


def test_corrected_does_not_mind_a_falling_loss():
    assert multipliers(river(**WIDE), falling(3000)) == pytest.approx([1.0] * 3000, rel=1e-9)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30))
def test_relative_variance_is_bounded(losses):
    found = measure_examples(lambda: torch.tensor(losses, dtype=torch.float64)).relative_variance
    assert 0 <= found <= (len(losses) - 1) * (1 + 1e-9)


def test_relative_variance_reaches_its_bound():
    assert measure_examples(lambda: torch.tensor([0.0, 0.0, 5.0, 0.0])).relative_variance == pytest.approx(3.0)


@given(st.floats(1e-3, 1e3))
def test_the_scale_of_the_loss_does_not_matter(scale):
    draw = np.random.default_rng(1)
    stream = [(float(m), float(v)) for m, v in draw.uniform(0.5, 2, (50, 2))]
    scaled = [(scale * m, scale**2 * v) for m, v in stream]
    assert multipliers(river(), stream) == pytest.approx(multipliers(river(), scaled), rel=1e-9)


def test_it_slows_down_where_it_gets_rough_and_speeds_up_where_it_gets_smooth():
    scheduler = river(beta=0.5)
    multipliers(scheduler, [(1.0, 1.0)] * 20)
    assert scheduler.history[-1].reason == "even"
    multipliers(scheduler, [(1.0, 100.0)])
    assert scheduler.history[-1].reason == "rougher"
    assert scheduler.factors == [0.2]
    multipliers(scheduler, [(1.0, 1e-4)] * 30)
    assert scheduler.history[-1].reason == "smoother"
    assert scheduler.factors == [2.0]


def test_equal_losses_are_not_rough():
    assert multipliers(river(), [(1.0, 0.0)] * 3) == [1.0] * 3


def test_losses_or_their_mean_and_variance():
    losses = torch.tensor([1.0, 2.0, 6.0])
    by_losses, by_moments, by_probe = river(), river(), river()
    by_losses.observe(losses)
    by_moments.observe(RiverMeasurement(3.0, 14 / 3))
    by_probe.optimizer.step()
    by_probe.probe(lambda: losses)
    records = [scheduler.history[0].measurement for scheduler in (by_losses, by_moments, by_probe)]
    for record in records:
        assert record == pytest.approx({"mean": 3.0, "variance": 14 / 3})


def test_any_global_schedule_inside():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    scheduler = RiverLR(optimizer, inner=cosine(optimizer, 10), beta=0.5)
    for t in range(1, 10):
        optimizer.step()
        scheduler.observe(torch.tensor([1.0, 1.0 + t % 3]))
        scheduler.step()
        plain = 0.2 * (1 + math.cos(math.pi * t / 10))
        assert optimizer.param_groups[0]["lr"] == pytest.approx(plain * scheduler.factors[0], rel=1e-12)


def test_half_precision_and_gradients_do_no_harm():
    losses = torch.tensor([1.0, 3.0], dtype=torch.bfloat16, requires_grad=True)
    found = measure_examples(lambda: losses * 1)
    assert (found.mean, found.variance) == (2.0, 1.0)
    assert losses.grad is None


@pytest.mark.parametrize(
    ("losses", "error", "match"),
    [
        (1.0, TypeError, "one entry for each example, got float"),
        (torch.tensor(1.0), ValueError, r'shape \(\); use reduction="none"'),
        (torch.ones(2, 3), ValueError, "average what belongs to one example"),
        (torch.ones(1), ValueError, "at least two examples, got 1"),
    ],
)
def test_what_is_not_one_loss_for_each_example(losses, error, match):
    with pytest.raises(error, match=match):
        river().measure(lambda: losses)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"preset": "paper"}, "preset must be"),
        ({"start": "one"}, "start must be one of unbiased, first, zero"),
        ({"beta": 1.0}, "beta must be at least 0 and below 1"),
        ({"target_beta": -0.1}, "target_beta must be"),
        ({"eps": 0.0}, "eps must be positive"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        river(**options)


def test_a_negative_variance_is_refused():
    with pytest.raises(ValueError, match="variance must not be negative"):
        RiverMeasurement(1.0, -1.0)


def test_a_mean_of_zero_slows_down_and_is_forgotten():
    scheduler = river()
    multipliers(scheduler, [(1.0, 1.0)])
    with pytest.warns(RuntimeWarning, match="not finite"):
        multipliers(scheduler, [(0.0, 1.0)])
    assert scheduler.factors == [0.8]
    assert multipliers(scheduler, [(1.0, 1.0)]) == [pytest.approx(1.0)]


def pooled(rank, ranks):
    found = measure_examples(lambda: torch.arange(3.0 + 2 * rank) ** 2)
    return found.mean, found.variance


def test_ranks_pool_their_examples():
    everything = torch.cat([torch.arange(3.0), torch.arange(5.0)]).double() ** 2
    expected = pytest.approx((float(everything.mean()), float(everything.var(correction=0))), rel=1e-12)
    first, second = run_ranks(pooled, 2)
    assert first == second == expected


@pytest.mark.parametrize("given", [1.0, [1.0, 2.0], np.ones(3), None, (1.0, 0.5), RiverMeasurement])
def test_what_is_no_measurement_is_refused_by_name(given):
    scheduler = river()
    with pytest.raises(TypeError, match=r"^measurement must be the losses of single examples, .* got .*\(\w+\)$"):
        scheduler.observe(given)
    assert len(scheduler.history) == 0
    assert scheduler.factors == [1.0]


def test_a_measurement_may_have_numbers_of_other_kinds(tmp_path):
    stream = [(1.5, 0.25), (0.5, 0.125), (2.0, 1.0)]
    expected = multipliers(river(), stream)
    for kind in (np.float32, np.float64, torch.tensor):
        scheduler = river()
        assert multipliers(scheduler, [(kind(mean), kind(variance)) for mean, variance in stream]) == expected
        torch.save(scheduler.state_dict(), tmp_path / "state.pt")
        other = river()
        other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert other.history[-1].measurement == {"mean": 2.0, "variance": 1.0}
        scheduler.history.to_jsonl(tmp_path / "history.jsonl")
