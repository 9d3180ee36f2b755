"""Distances against brute force over matchings, gudhi, persim and closed forms."""

from itertools import permutations

import gudhi
import gudhi.hera
import numpy as np
import persim
import pytest

from lrscape.tda import bottleneck, persistence, wasserstein

INF = float("inf")


def random_diagram(random, count, essential=0):
    births = random.random(count + essential)
    deaths = np.append(births[:count] + random.random(count), np.full(essential, INF))
    return np.column_stack([births, deaths])


def by_all_matchings(a, b, order, internal_p):
    """Smallest cost over all ways to match points, each list filled up with places on the diagonal."""
    spot = [None]

    def cost(p, r):
        if p is None and r is None:
            return 0.0
        if p is None or r is None:
            p = p if p is not None else r
            r = np.full(2, p.mean())
        return np.linalg.norm(p - r, internal_p)

    left, right = list(a) + spot * len(b), list(b) + spot * len(a)
    costs = ([cost(p, r) for p, r in zip(left, others, strict=True)] for others in permutations(right))
    return min(max(c) if order == INF else np.sum(np.power(c, order)) ** (1 / order) for c in costs)


@pytest.mark.parametrize("internal_p", [1.0, 2.0, INF])
@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
def test_wasserstein_is_the_best_of_all_matchings(order, internal_p):
    random = np.random.default_rng(0)
    for sizes in ((3, 3), (2, 4), (0, 2)):
        a, b = (random_diagram(random, size) for size in sizes)
        expected = by_all_matchings(a, b, order, internal_p)
        assert wasserstein(a, b, order, internal_p) == pytest.approx(expected, abs=1e-12)


def test_bottleneck_is_the_best_of_all_matchings():
    random = np.random.default_rng(1)
    for sizes in ((3, 3), (2, 4), (0, 2)):
        a, b = (random_diagram(random, size) for size in sizes)
        assert bottleneck(a, b) == pytest.approx(by_all_matchings(a, b, INF, INF), abs=1e-12)


def test_oracles_on_larger_diagrams():
    random = np.random.default_rng(2)
    for seed in range(20):
        a, b = random_diagram(random, 30 + seed, 2), random_diagram(random, 40 - seed, 2)
        assert bottleneck(a, b) == pytest.approx(gudhi.bottleneck_distance(a, b), abs=1e-12)
        assert wasserstein(a, b, 2.0, 2.0) == pytest.approx(
            gudhi.hera.wasserstein_distance(a, b, order=2.0, internal_p=2.0, delta=1e-4), rel=1e-4
        )
        assert wasserstein(a, b, 2.0, 2.0, delta=0.01) == pytest.approx(wasserstein(a, b, 2.0, 2.0), rel=0.01)
        c, d = a[:-2], b[:-2]
        assert wasserstein(c, d, 1.0, 2.0) == pytest.approx(persim.wasserstein(c, d), abs=1e-12)
        assert bottleneck(c, d) == pytest.approx(persim.bottleneck(c, d), abs=1e-12)


@pytest.mark.parametrize("distance", [bottleneck, wasserstein, lambda a, b: wasserstein(a, b, delta=0.01)])
def test_axioms_and_special_cases(distance):
    random = np.random.default_rng(3)
    a, b, c = (random_diagram(random, 12, 1) for _ in range(3))
    near = pytest.approx(distance(b, a), rel=0.02)
    assert distance(a, a) == 0.0
    assert distance(a, b) == near
    assert distance(a, c) <= (distance(a, b) + distance(b, c)) * 1.02
    assert distance(a, a[:-1]) == INF
    assert distance([], []) == 0.0
    assert distance([], [(0.0, 1.0)]) == pytest.approx(0.5)
    assert distance([(0.0, INF)], [(0.25, INF)]) == pytest.approx(0.25)
    assert distance([(1.0, 1.0)], []) == 0.0
    assert distance(-a, -b) == pytest.approx(distance(a, b), rel=0.02)


def test_essential_classes_match_in_order():
    assert wasserstein([(0.0, INF), (1.0, INF)], [(1.5, INF), (0.5, INF)]) == 1.0
    assert wasserstein([(0.0, INF), (0.0, 2.0)], [(3.0, INF)], order=2.0) == pytest.approx(np.sqrt(10))


def test_small_noise_moves_a_diagram_little():
    random = np.random.default_rng(4)
    field = random.standard_normal((15, 15))
    error = 0.01 * random.uniform(-1, 1, field.shape)
    assert 0 < bottleneck(persistence(field)[1], persistence(field + error)[1]) <= 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 0.5}, "order must be at least 1"),
        ({"order": INF}, "use bottleneck"),
        ({"internal_p": 0.0}, "internal_p must be"),
        ({"delta": -1.0}, "delta must be"),
        ({"b": [(2.0, 1.0)]}, "both superlevel"),
        ({"b": [1.0, 2.0]}, "b must have shape"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        wasserstein(**({"a": [(1.0, 2.0)], "b": [(1.0, 2.0)]} | arguments))
