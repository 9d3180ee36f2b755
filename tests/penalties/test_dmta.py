"""Agreement with the slow average: cosine, average and state."""

import copy
import io
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrscape.penalties import DMTA, dmta

KEYS = ["recorded", "average_0", "average_1"]


def gradients_of(k):
    stream = torch.Generator().manual_seed(k)
    return [torch.randn(2, 3, generator=stream, dtype=torch.double), torch.randn(4, generator=stream).double()]


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors])


@given(seed=st.integers(0, 10**6), exponent=st.floats(-6, 6))
def test_cosine_of_all_together(seed, exponent):
    g, m = gradients_of(seed), gradients_of(seed + 1)
    wanted = 1 - torch.nn.functional.cosine_similarity(flat(g), flat(m), dim=0)
    found = dmta(g, m)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(dmta([v * 10**exponent for v in g], m), found)
    assert 0 <= found <= 2


def test_aligned_and_opposed():
    g = gradients_of(0)
    torch.testing.assert_close(dmta(g, [3 * v for v in g]), torch.zeros((), dtype=torch.double))
    torch.testing.assert_close(dmta(g, [-3 * v for v in g]), torch.full((), 2.0, dtype=torch.double))


def test_a_gradient_of_zero_gives_one_and_finite_slopes():
    g = torch.zeros(3, requires_grad=True)
    found = dmta([g], [torch.ones(3)])
    assert found == 1
    found.backward()
    assert g.grad.isfinite().all()


@pytest.mark.parametrize("start", ["first", "zero"])
def test_average_follows_the_formula(start):
    tracker, mu = DMTA(0.9, start=start), 0.9
    average = None
    with torch.no_grad():
        for k in range(6):
            g = flat(gradients_of(k))
            if average is None:
                assert tracker(gradients_of(k)).abs() < 1e-12
                average = g if start == "first" else (1 - mu) * g
            else:
                wanted = 1 - torch.nn.functional.cosine_similarity(g, average, dim=0)
                torch.testing.assert_close(tracker(gradients_of(k)), wanted)
                average = mu * average + (1 - mu) * g
            torch.testing.assert_close(flat(tracker.average), average)


def test_from_zero_the_average_is_along_the_mean_of_all():
    tracker = DMTA(0.9999, start="zero")
    with torch.no_grad():
        for k in range(20):
            tracker(gradients_of(k))
    mean = torch.stack([flat(gradients_of(k)) for k in range(20)]).mean(0)
    assert torch.nn.functional.cosine_similarity(flat(tracker.average), mean, dim=0) > 1 - 1e-5


def test_acts_on_the_parameters_through_second_derivatives():
    theta = torch.tensor([1.0, 2.0], dtype=torch.double, requires_grad=True)
    held = torch.tensor([1.0, 1.0], dtype=torch.double)

    def penalty(theta):
        loss = (theta**4).sum() + theta.prod()
        return dmta(torch.autograd.grad(loss, [theta], create_graph=True), [held])

    assert torch.autograd.gradcheck(penalty, (theta,))


def test_bfloat16_gradients_move_the_average():
    tracker = DMTA(0.9999)
    with torch.no_grad():
        tracker([torch.ones(1, dtype=torch.bfloat16)])
        tracker([torch.zeros(1, dtype=torch.bfloat16)])
    assert tracker.average[0].dtype == torch.float32
    assert tracker.average[0].item() == pytest.approx(0.9999)


def test_a_gradient_that_is_not_finite_does_not_stay():
    tracker, clean = DMTA(0.5), DMTA(0.5)
    bad = [torch.full((2, 3), torch.inf, dtype=torch.double), torch.full((4,), torch.nan, dtype=torch.double)]
    with torch.no_grad():
        tracker(bad)
        for k in range(3):
            tracker(gradients_of(k))
            tracker(bad)
            clean(gradients_of(k))
    assert torch.equal(flat(tracker.average), flat(clean.average))
    assert tracker.recorded == 3


def test_a_missing_gradient_or_graph_is_an_error():
    theta, unused = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    loss = theta.square().sum()
    found = torch.autograd.grad(loss, [theta, unused], create_graph=True, allow_unused=True)
    with pytest.raises(ValueError, match="1 of 2 gradients are None"):
        DMTA()(found)
    with pytest.raises(ValueError, match="gradients have no graph"):
        DMTA()([found[0].detach()])
    with pytest.raises(ValueError, match="0 of 0"):
        DMTA()([])
    tracker = DMTA()
    tracker([found[0]])
    with pytest.raises(ValueError, match="those of 1 parameters"):
        tracker([found[0]] * 2)
    with pytest.raises(ValueError, match="the same shapes"):
        tracker([found[0][:1]])


def test_state_survives_saving_copying_and_pickling():
    tracker = DMTA(0.9)
    with torch.no_grad():
        for k in range(3):
            tracker(gradients_of(k))
        file = io.BytesIO()
        torch.save(nn.ModuleDict({"dmta": tracker}).state_dict(), file)
        file.seek(0)
        fresh, other = DMTA(0.9), DMTA(0.9)
        other([torch.ones(5), torch.ones(1), torch.ones(2)])  # of another model
        saved = torch.load(file, weights_only=True)
        assert list(saved) == [f"dmta.{key}" for key in KEYS]
        for module in (fresh, other):
            nn.ModuleDict({"dmta": module}).load_state_dict(saved)
        twins = [fresh, other, copy.deepcopy(tracker), pickle.loads(pickle.dumps(tracker))]
        for k in range(3, 6):
            wanted = tracker(gradients_of(k))
            assert all(torch.equal(twin(gradients_of(k)), wanted) for twin in twins)


@pytest.mark.parametrize("shape", [(3,), ()])
def test_the_keys_of_a_state_may_come_in_any_order(shape):
    def gradients(k):
        stream = torch.Generator().manual_seed(k)
        return [torch.randn(shape, generator=stream, dtype=torch.double) for _ in range(12)]

    tracker, fresh, used = DMTA(0.9), DMTA(0.9), DMTA(0.9)
    with torch.no_grad():
        tracker(gradients(0))
        used(gradients(1)[:3])
        state = tracker.state_dict()
        assert sorted(state)[3] == "average_11"  # what a format that sorts its keys writes before average_2
        for twin, keys in ((fresh, sorted(state)), (used, sorted(state, reverse=True))):
            twin.load_state_dict({key: state[key] for key in keys})
            assert torch.equal(flat(twin.average), flat(tracker.average))
            assert twin.eval()(gradients(0)) == pytest.approx(0.0, abs=1e-12)
            assert torch.equal(twin(gradients(2)), tracker.eval()(gradients(2)))


def test_eval_mode_records_nothing():
    tracker = DMTA(0.5)
    with torch.no_grad():
        tracker(gradients_of(0))
        before = flat(tracker.average)
        tracker.eval()(gradients_of(1))
    assert torch.equal(flat(tracker.average), before)


def test_arguments():
    with pytest.raises(ValueError, match="momentum must"):
        DMTA(1.0)
    with pytest.raises(ValueError, match="start must"):
        DMTA(start="last")
