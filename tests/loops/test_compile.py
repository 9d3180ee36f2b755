"""torch.compile, of the model and of the optimizer's step: rates as without it."""

import shutil

import pytest
import torch
from loops import PINNED, Loop, close_run, every, moved, same_run

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, when it compiles

BACKENDS = [
    "eager",
    "aot_eager",
    pytest.param(
        "inductor",
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler"),
        ],
    ),
]


@pytest.fixture(autouse=True)
def _forgetful():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled_model(backend, known):
    class Compiled(Loop):
        def make_model(self):
            model = super().make_model()
            self.compiled = torch.compile(model, backend=backend)
            return model

        def probed(self):
            return self.compiled if known else self.model

        def losses(self, batch):
            x, y = batch
            return ((self.compiled(x) - y) ** 2).flatten()

    return Compiled


@pytest.mark.parametrize("known", [True, False], ids=["compiled given", "original given"])
@pytest.mark.parametrize("family", every())
@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_models(backend, family, known):
    options = {"engine": "inplace"} if family.startswith("Topo") else {}
    found = compiled_model(backend, known)(family, **options).train(12)
    expected = Loop(family, **options).train(12)
    if backend == "eager":
        same_run(found, expected)
    else:
        close_run(found, expected, rtol=1e-7)
    assert moved(found)


@pytest.mark.parametrize("family", ["TopoLR", "ValleyLR", "HomotopyLR"])
def test_probes_leave_compiled_training_alone(family):
    kind = compiled_model("aot_eager", True)
    same_run(kind(family, **PINNED).train(12), kind().train(12))


def compiled_step(backend):
    class Stepping(Loop):
        def make_optimizer(self):
            optimizer = torch.optim.Adam(self.groups(), lr=torch.tensor(0.01), foreach=False)
            self.compiled_step = torch.compile(lambda: self.optimizer.step(), backend=backend)
            return optimizer

        def take_step(self):
            self.compiled_step()

    return Stepping


class TensorRates(Loop):
    def make_optimizer(self):
        return torch.optim.Adam(self.groups(), lr=torch.tensor(0.01), foreach=False)


@pytest.mark.parametrize("family", every())
@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_optimizer_steps(backend, family):
    torch._dynamo.utils.counters.clear()
    found = compiled_step(backend)(family).train(12)
    expected = TensorRates(family).train(12)
    assert found.scheduler._steps == 12
    # Adam takes another path of its code while it is traced, and rates along the edge amplify what that rounds.
    close_run(found, expected, rtol=1e-3 if family == "HomotopyLR" else 1e-5)
    assert moved(found)
    assert sum(torch._dynamo.utils.counters["recompile_limit"].values()) == 0
