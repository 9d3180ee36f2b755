"""Packages that measure curvature, each behind the same few methods; what curvature_subject.py puts to the test.

Read by path, in an environment that may have one of them only. Vectors multiplied are counted where the package
multiplies, not taken from its own account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

Points = tuple[NDArray[np.float64], NDArray[np.float64]]  # eigenvalues and their masses


def loss_of(model: nn.Module, batch: Any) -> Tensor:
    """Compute the loss of any of the models."""
    return F.cross_entropy(model(batch[0]), batch[1])


class Subject:
    """One package, on one model and batch; ``hvps`` counts vectors since it was last set to zero."""

    distribution = ""

    def __init__(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
        self.model, self.batch, self.hvps = model, batch, 0
        self.parameters = list(model.parameters())

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Count the calls of a function that multiplies one vector."""

        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.hvps += 1
            return function(*arguments, **options)

        return wrapped

    def largest(self, k: int, hvps: int, seed: int) -> Any:
        """Estimate the k largest eigenvalues, with about so many products where that can be chosen."""
        raise NotImplementedError

    def trace(self, hvps: int, seed: int) -> float:
        """Estimate the trace with at most so many products."""
        raise NotImplementedError

    def default_trace(self, seed: int) -> float | None:
        """Estimate the trace as the package does unless told otherwise; None if it has to be told."""
        return None

    def density(self, vectors: int, steps: int, seed: int) -> Points:
        """Estimate the spectrum as point masses."""
        raise NotImplementedError

    def products(self, vectors: Tensor) -> Any:
        """Multiply vectors, shape (k, P)."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what is held."""


class Lrscape(Subject):
    """lrscape, with one operator for all products."""

    distribution = "lrscape"

    def __init__(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
        super().__init__(model, batch)
        from lrscape import landscape

        self.landscape = landscape
        self._open = landscape.hessian(model, lambda: loss_of(model, batch))
        self.operator = self._open.__enter__()
        self.operator.gradient()  # makes the graph, which would otherwise wait for the first product

    def largest(self, k: int, hvps: int, seed: int) -> Any:
        """By Lanczos."""
        found = self.landscape.top_eigenvalues(self.model, self.operator, k, tolerance=0, max_hvps=hvps, seed=seed)
        self.hvps += found.hvps
        return found.eigenvalues.tolist()

    def trace(self, hvps: int, seed: int) -> float:
        """By XTrace."""
        found = self.landscape.trace(self.model, self.operator, tolerance=None, max_hvps=hvps, seed=seed)
        self.hvps += found.hvps
        return found.estimate

    def default_trace(self, seed: int) -> float:
        """By XTrace, until the standard error is 2 %."""
        found = self.landscape.trace(self.model, self.operator, seed=seed)
        self.hvps += found.hvps
        return found.estimate

    def density(self, vectors: int, steps: int, seed: int) -> Points:
        """By stochastic Lanczos quadrature."""
        found = self.landscape.spectral_density(self.model, self.operator, vectors=vectors, steps=steps, seed=seed)
        self.hvps += found.hvps
        return found.ritz_values, found.ritz_weights

    def products(self, vectors: Tensor) -> Any:
        """All in one call."""
        return self.operator.matmat(vectors)

    def close(self) -> None:
        """Leave the operator, within which gradients are off."""
        self._open.__exit__(None, None, None)


class PyHessian(Subject):
    """PyHessian on one batch, whose gradient's graph it keeps."""

    distribution = "pyhessian"

    def __init__(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
        super().__init__(model, batch)
        module = import_module("pyhessian.hessian")  # its package has a class of that name, too
        self._multiply = import_module("pyhessian.utils").hessian_vector_product
        module.hessian_vector_product = self.counted(self._multiply)  # type: ignore[attr-defined]
        self.tool = module.hessian(model, F.cross_entropy, cuda=False, **self._data())

    def _data(self) -> dict[str, Any]:
        return {"data": self.batch}

    def largest(self, k: int, hvps: int, seed: int) -> Any:
        """By power iteration; one eigenvalue with just so many products, several by its own rule."""
        torch.manual_seed(seed)
        rule = {"maxIter": hvps, "tol": 0.0} if k == 1 else {}
        return self.tool.eigenvalues(top_n=k, **rule)[0]

    def trace(self, hvps: int, seed: int) -> float:
        """By Hutchinson's method."""
        torch.manual_seed(seed)
        return float(np.mean(self.tool.trace(maxIter=hvps, tol=0.0)))

    def default_trace(self, seed: int) -> float:
        """By Hutchinson's method, until the mean changes by less than 1e-3."""
        torch.manual_seed(seed)
        return float(np.mean(self.tool.trace()))

    def density(self, vectors: int, steps: int, seed: int) -> Points:
        """By stochastic Lanczos quadrature."""
        torch.manual_seed(seed)
        nodes, weights = self.tool.density(iter=steps, n_v=vectors)
        return np.real(np.ravel(nodes)), np.real(np.ravel(weights)) / vectors

    def pieces(self, vectors: Tensor) -> Iterator[list[Tensor]]:
        """Cut vectors into parameters, as PyHessian takes them."""
        sizes = [parameter.numel() for parameter in self.parameters]
        for row in vectors:
            yield [v.reshape(p.shape) for v, p in zip(row.split(sizes), self.parameters, strict=True)]

    def products(self, vectors: Tensor) -> Any:
        """One after the other."""
        return [self._multiply(self.tool.gradsH, self.tool.params, row) for row in self.pieces(vectors)]


class PyHessianLoader(PyHessian):
    """PyHessian on a data loader, of which it computes the gradient anew for every product."""

    def _data(self) -> dict[str, Any]:
        return {"dataloader": [self.batch]}

    def products(self, vectors: Tensor) -> Any:
        """One after the other."""
        return [self.tool.dataloader_hv_product(row) for row in self.pieces(vectors)]


class Curvlinops(Subject):
    """curvlinops, and scipy's ARPACK as its documentation uses it."""

    distribution = "curvlinops-for-pytorch"

    def __init__(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
        super().__init__(model, batch)
        from curvlinops import HessianLinearOperator

        settings = {"check_deterministic": False}  # it would multiply four vectors before it starts
        self.operator = HessianLinearOperator(model, nn.CrossEntropyLoss(), self.parameters, [batch], **settings)

    def _scipy(self) -> Any:
        from scipy.sparse.linalg import LinearOperator

        inner = self.operator.to_scipy()
        return LinearOperator(inner.shape, matvec=self.counted(inner.matvec), dtype=inner.dtype)

    def largest(self, k: int, hvps: int, seed: int) -> Any:
        """By ARPACK, to machine precision."""
        from scipy.sparse.linalg import eigsh

        start = np.random.default_rng(seed).standard_normal(self.operator.shape[0])
        return eigsh(self._scipy(), k=k, which="LA", v0=start, return_eigenvectors=False)[::-1].tolist()

    def trace(self, hvps: int, seed: int) -> float:
        """By its XTrace, which takes an even number of products."""
        from curvlinops import xtrace

        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  it draws from the global state
        self.hvps += hvps // 2 * 2
        return float(xtrace(self.operator, hvps // 2 * 2))

    def density(self, vectors: int, steps: int, seed: int) -> Points:
        """By its Lanczos, without re-orthogonalisation; masses before its smoothing."""
        from curvlinops.papyan2020traces.spectrum import fast_lanczos

        torch.manual_seed(seed)
        runs = [fast_lanczos(self.operator, steps) for _ in range(vectors)]
        self.hvps += vectors * steps
        nodes = np.concatenate([np.asarray(values) for values, _ in runs])
        return nodes, np.concatenate([np.asarray(basis)[0] ** 2 for _, basis in runs]) / vectors

    def products(self, vectors: Tensor) -> Any:
        """All in one call, which vmaps over them."""
        return self.operator @ vectors.T


class Eigenthings(Subject):
    """hessian-eigenthings."""

    distribution = "hessian-eigenthings"

    def __init__(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
        super().__init__(model, batch)
        from hessian_eigenthings import algorithms
        from hessian_eigenthings.operators import HessianOperator

        self.algorithms = algorithms
        self.operator = HessianOperator(model, [batch], loss_of)
        self._multiply = self.operator.matvec
        self.operator.matvec = self.counted(self.operator.matvec)

    def largest(self, k: int, hvps: int, seed: int) -> Any:
        """By its Lanczos."""
        found = self.algorithms.lanczos(self.operator, k=k, max_iter=hvps, which="LA", seed=seed)
        return found.eigenvalues.tolist()

    def trace(self, hvps: int, seed: int) -> float:
        """By Hutch++."""
        return float(self.algorithms.trace(self.operator, num_matvecs=hvps, seed=seed).estimate)

    def default_trace(self, seed: int) -> float:
        """By Hutch++ with 100 products."""
        return float(self.algorithms.trace(self.operator, seed=seed).estimate)

    def density(self, vectors: int, steps: int, seed: int) -> Points:
        """By stochastic Lanczos quadrature."""
        found = self.algorithms.spectral_density(self.operator, num_runs=vectors, lanczos_steps=steps, seed=seed)
        return found.raw_eigenvalues.ravel().numpy(), found.raw_weights.ravel().numpy() / vectors

    def products(self, vectors: Tensor) -> Any:
        """One after the other."""
        return [self._multiply(row) for row in vectors]


SUBJECTS: dict[str, type[Subject]] = {
    "lrscape": Lrscape,
    "PyHessian": PyHessian,
    "PyHessian, loader": PyHessianLoader,
    "curvlinops": Curvlinops,
    "hessian-eigenthings": Eigenthings,
}
