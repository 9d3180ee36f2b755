"""Schedule-free optimizers: probes stand at y, where gradients are taken, and refuse to stand at the average x."""

import pytest
import torch
from loops import PINNED, Loop, moved, same_run

from lrscape.landscape import stability_factor
from lrscape.schedulers import HomotopyLR

schedulefree = pytest.importorskip("schedulefree", reason="the package schedulefree is not installed")

FAMILIES = ["TopoLR", "TopoCNNLR", "ValleyLR", "kappa", "RiverLR", "InducedMetricLR"]
KINDS = {
    "adamw": lambda groups: schedulefree.AdamWScheduleFree(groups, lr=0.01),
    "sgd": lambda groups: schedulefree.SGDScheduleFree(groups, lr=0.003),
    "radam": lambda groups: schedulefree.RAdamScheduleFree(groups, lr=0.01),
}


def free(kind, evaluates=False):
    class Free(Loop):
        """Optionally with an evaluation at the average after each step."""

        def make_optimizer(self):
            optimizer = KINDS[kind](self.groups())
            optimizer.train()
            return optimizer

        def take_step(self):
            super().take_step()
            if evaluates:
                self.optimizer.eval()
                self.optimizer.train()

        def probe(self, batch):
            self.at = self.weights
            super().probe(batch)

    return Free


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_probes_do_not_touch_training(kind, family):
    run = free(kind)(family, **PINNED).train(12)
    same_run(run, free(kind)().train(12))
    assert len(run.scheduler.history) > 0


@pytest.mark.parametrize("family", ["TopoLR", "ValleyLR", "kappa"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_probe_stands_where_the_gradient_is_taken(kind, family):
    run = free(kind)(family)
    run.train(30)  # RAdam's x and y part late
    assert moved(run)
    batch, decision = run.batch(), None
    seen = []
    while decision is None:
        run.optimizer.step()
        decision = run.scheduler.probe(lambda: seen.append(run.weights) or run.loss(batch))
    y = run.weights
    with torch.no_grad():
        assert decision.measurement["loss"] == pytest.approx(run.loss(batch).item(), rel=1e-12)
    run.optimizer.eval()
    x = run.weights
    assert not all(torch.equal(a, b) for a, b in zip(x, y, strict=True))
    with torch.no_grad():
        assert decision.measurement["loss"] != pytest.approx(run.loss(batch).item(), rel=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_average_is_refused(kind):
    run = free(kind)("TopoLR")
    run.optimizer.eval()
    run.scheduler.probe(lambda: run.loss(run.batch()))  # x = y = z before the first step
    run.optimizer.train()
    run.train(2)
    run.optimizer.eval()
    with pytest.raises(ValueError, match=r"ScheduleFree is in eval mode.*call optimizer.train\(\) before probe"):
        run.scheduler.probe(lambda: run.loss(run.batch()))
    run.optimizer.train()
    run.scheduler.probe(lambda: run.loss(run.batch()))


@pytest.mark.parametrize("kind", KINDS)
def test_their_edge_of_stability_is_not_known(kind):
    run = free(kind)().train(2)
    for make in (lambda: stability_factor(run.optimizer), lambda: HomotopyLR(run.optimizer, run.model)):
        with pytest.raises(ValueError, match="whose edge is known"):
            make()
