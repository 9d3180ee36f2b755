import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lrscape.landscape import LossSurface, features, grid, points, quadratic_fit, sharpness, sparse_stencil, variance


def analytic(reference, name):
    values = np.array(reference.numbers["analytic"][name]["grid"])
    made = grid(7)
    return LossSurface(made.coordinates, values.ravel(), made.shape)


@pytest.mark.parametrize("name", ["bowl", "two_wells", "saddle", "const", "ripple"])
def test_published_features_of_the_analytic_grids(reference, name):
    found = features(analytic(reference, name))
    expected = reference.numbers["analytic"][name]
    assert found.sharpness == pytest.approx(expected["sharpness"], abs=1e-12)
    assert found.variance == pytest.approx(expected["variance"], abs=1e-12)


def test_sample_standard_deviation_is_not_what_is_used(reference):
    sparse = reference.numbers["sparse"]
    losses = [sparse["center"], *sparse["neighbors"], *sparse["samples"]]
    assert variance(losses) == pytest.approx(sparse["variance_pop_std"], rel=1e-12)
    assert variance(losses) != pytest.approx(sparse["variance_sample_std"], rel=1e-3)


finite = st.floats(-10, 10)


@given(a=finite, g=arrays(float, 2, elements=finite), h=arrays(float, 3, elements=finite), span=st.floats(1e-3, 10))
def test_fit_recovers_a_quadratic(a, g, h, span):
    hessian = np.array([[h[0], h[1]], [h[1], h[2]]])
    c = sparse_stencil(span).coordinates
    losses = a + c @ g + 0.5 * np.einsum("ni,ij,nj->n", c, hessian, c)
    fit = quadratic_fit(c, losses)
    size = 1 + np.abs(losses).max()
    reach = np.abs(c[:9]).max()
    assert fit.center == pytest.approx(a, abs=1e-10 * size)
    np.testing.assert_allclose(fit.gradient, g, atol=1e-10 * size / reach)
    np.testing.assert_allclose(fit.hessian, hessian, atol=1e-9 * size / reach**2)
    assert fit.roughness <= 1e-10 * size


def test_fit_is_least_squares():
    rng = np.random.default_rng(0)
    c, losses = rng.normal(size=(20, 2)), rng.normal(size=20)
    u, v = c.T
    design = np.stack([np.ones(20), u, v, u * u / 2, u * v, v * v / 2], axis=1)
    expected = np.linalg.pinv(design) @ losses
    fit = quadratic_fit(c, losses)
    np.testing.assert_allclose(fit.hessian, [[expected[3], expected[4]], [expected[4], expected[5]]], rtol=1e-9)
    residual = losses - design @ expected
    assert fit.roughness == pytest.approx(np.sqrt(np.mean(residual**2)))
    assert fit.relative_roughness == pytest.approx(np.sqrt(np.mean(residual**2)) / losses.std())


def test_sparse_and_dense_probes_agree_where_published_sharpness_does_not():
    def bowl(c):
        return 1 + 3 * c[:, 0] ** 2 + 0.5 * c[:, 1] ** 2

    sparse, dense = sparse_stencil(), grid(7, span=0.12)
    a = features(LossSurface(sparse.coordinates, bowl(sparse.coordinates)))
    b = features(LossSurface(dense.coordinates, bowl(dense.coordinates), dense.shape))
    assert b.sharpness / a.sharpness == pytest.approx((0.04 / (2 * 0.12 / 14)) ** 2)  # 5.44
    np.testing.assert_allclose(a.fit.hessian, b.fit.hessian, atol=1e-9)
    np.testing.assert_allclose(a.fit.eigenvalues, [1, 6], rtol=1e-9)


def test_a_large_loss_does_not_cost_the_curvature_its_digits():
    c = sparse_stencil(samples=0).coordinates
    losses = 1e6 + 2 * c[:, 0] ** 2
    assert quadratic_fit(c, losses).hessian[0, 0] == pytest.approx(4, rel=1e-3)


def test_losses_that_are_not_finite_are_left_out_while_enough_remain():
    made = grid(5)
    losses = made.coordinates[:, 0] ** 2
    losses[3] = np.nan
    assert quadratic_fit(made.coordinates, losses).points == 24
    assert quadratic_fit(made.coordinates, losses).hessian[0, 0] == pytest.approx(2)
    losses[:] = np.inf
    fit = quadratic_fit(made.coordinates, losses)
    assert np.isnan(fit.hessian).all()
    assert np.isnan(fit.eigenvalues).all()


def test_constant_surface():
    made = grid(3)
    fit = quadratic_fit(made.coordinates, np.ones(9))
    assert fit.center == 1
    assert fit.relative_roughness == 0
    assert np.abs(fit.hessian).max() == 0


def test_what_cannot_be_fitted_or_found_is_named():
    with pytest.raises(ValueError, match="do not determine a quadratic in 2 dimensions"):
        quadratic_fit([[0, 0], [1, 0], [0, 1]], [1, 2, 3])
    with pytest.raises(ValueError, match="shape"):
        quadratic_fit([[0.0]], [1, 2])
    off = points([[0.1, 0.1]] * 9)
    with pytest.raises(ValueError, match="without the origin"):
        features(LossSurface(off.coordinates, np.ones(9)))
    assert np.isnan(sharpness(float("nan"), [1.0]))
