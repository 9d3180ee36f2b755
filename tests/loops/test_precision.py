"""GradScaler, autocast, accumulation and clipping: rates as in a loop without them."""

import pytest
import torch
from loops import CURVATURE, PINNED, Loop, batch_of, close_run, every, moved, same_run

SKIPPED = {3, 4, 11}  # iterations whose scaled gradients overflow


class Single(Loop):
    dtype = torch.float32


class Skipping(Single):
    """The reference: the optimizer is not called where the scaler would skip."""

    def take_step(self):
        if self.number not in SKIPPED:
            super().take_step()


class Scaled(Single):
    def __init__(self, family=None, **options):
        super().__init__(family, **options)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=10**6)
        self.skipped = set()

    def backward(self, losses):
        if self.number in SKIPPED:  # as if it had just grown too far
            self.scaler.update(2.0**127)
        self.scaler.scale(losses.mean()).backward()

    def take_step(self):
        self.scaler.step(self.optimizer)
        before = self.scaler.get_scale()
        self.scaler.update()
        if self.scaler.get_scale() < before:
            self.skipped.add(self.number)
            self.scaler.update(2.0**10)


class ScaledAndClipped(Scaled):
    """unscale_ of one's own, as clipping needs it."""

    def take_step(self):
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1e9)
        super().take_step()


class Fused:
    """These optimizers unscale and skip within their kernel: step() and its hooks run all the same."""

    def make_optimizer(self):
        return torch.optim.Adam(self.groups(), lr=0.01, fused=True)


class FusedSkipping(Fused, Skipping):
    pass


class FusedScaled(Fused, Scaled):
    pass


class FusedScaledAndClipped(Fused, ScaledAndClipped):
    pass


PAIRS = [
    (Scaled, Skipping),
    (ScaledAndClipped, Skipping),
    (FusedScaled, FusedSkipping),
    (FusedScaledAndClipped, FusedSkipping),
]


@pytest.mark.parametrize("family", every())
@pytest.mark.parametrize(("scaled", "plain"), PAIRS, ids=lambda kind: kind.__name__)
def test_steps_that_a_scaler_skips_are_none(scaled, plain, family):
    found, expected = scaled(family).train(), plain(family).train()
    assert found.skipped == SKIPPED
    same_run(found, expected)
    assert moved(found)
    assert found.scheduler._steps == 24 - len(SKIPPED)


class Cast(Single):
    """Autocast around the loop's forward passes; where else is the question."""

    lower = torch.bfloat16
    around_probe = False
    around_loss = True
    cache = True

    def context(self):
        return torch.autocast("cpu", self.lower, cache_enabled=self.cache)

    def losses(self, batch):
        with self.context():
            return super().losses(batch).float()

    def loss(self, batch):
        return self.losses(batch).mean() if self.around_loss else super().losses(batch).float().mean()

    def probe(self, batch):
        if not self.around_probe:
            super().probe(batch)
            return
        with self.context():
            super().probe(batch)


class CastAroundProbe(Cast):
    around_probe, around_loss = True, False


class CastAroundBoth(Cast):
    around_probe = True


class CastUncached(Cast):
    cache = False


class CastHalf(Cast):
    lower = torch.float16


class CastHalfAroundProbe(CastAroundProbe):
    lower = torch.float16


@pytest.mark.parametrize("family", every())
@pytest.mark.parametrize(
    ("one", "other"),
    [(Cast, CastAroundProbe), (Cast, CastAroundBoth), (Cast, CastUncached), (CastHalf, CastHalfAroundProbe)],
    ids=lambda kind: kind.__name__,
)
def test_it_does_not_matter_who_enters_autocast(one, other, family):
    # Under vmap, products in half precision add in another order.
    options = {"engine": "inplace"} if family.startswith("Topo") else {}
    found = one(family, **options).train(16)
    same_run(found, other(family, **options).train(16))
    assert moved(found)
    plain = Single(family, **options).train(16)
    assert not all(map(torch.equal, found.weights, plain.weights))  # low precision was really used


@pytest.mark.parametrize("family", every())
@pytest.mark.parametrize("kind", [Cast, CastHalf, CastAroundProbe, Scaled], ids=lambda kind: kind.__name__)
def test_probes_do_not_touch_training(kind, family):
    run = kind(family, **PINNED).train(12)
    same_run(run, kind().train(12))
    assert len(run.scheduler.history) > 0


class Accumulating(Loop):
    """Two halves of a batch make one step; the scheduler is called with each half, as Accelerate does."""

    each_half = True
    calls = 1

    def iteration(self, batch):
        halves = list(zip(*(part.chunk(2) for part in batch), strict=True))
        self.optimizer.zero_grad()
        for last, half in enumerate(halves):
            if self.place == "before" and (self.each_half or not last):
                self.probe(half)
            losses = self.losses(half)
            self.backward(losses / 2)
            if last:
                if self.place == "gradient":
                    self.scheduler.use_loss(losses.detach().mean())
                self.take_step()
            if self.place == "after" and (self.each_half or last):
                self.probe(half)
            if self.place == "losses" and last:
                self.scheduler.observe(losses.detach())
            started = self.scheduler._steps > 0  # torch warns of a schedule that starts before the optimizer
            for _ in range(self.calls if last or (self.each_half and started) else 0):
                self.scheduler.step()


class AccumulatingOnce(Accumulating):
    each_half = False


class AccumulatingOften(Accumulating):
    """As with several processes under Accelerate."""

    calls = 3


class HalfProbed(Loop):
    """Whole batches for training, and for the scheduler the half that the accumulating loop shows it."""

    def probe(self, batch):
        which = slice(0, 4) if self.place == "before" else slice(4, 8)
        super().probe(tuple(part[which] for part in batch))


@pytest.mark.parametrize("family", every())
def test_accumulated_gradients(family):
    found = Accumulating(family).train()
    same_run(found, AccumulatingOften(family).train())
    if family not in CURVATURE:  # where these let a rate rise, it does so at the next step(), between the halves
        same_run(found, AccumulatingOnce(family).train())
    assert moved(found)
    if family in {"TopoLR", "TopoCNNLR", "ValleyLR"}:  # the others set rates between the halves, or are told of halves
        close_run(found, HalfProbed(family).train(), rtol=1e-6)


class Clipped(Loop):
    most = 5.0

    def take_step(self):
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.most)
        super().take_step()


class ClippedByHand(Clipped):
    def take_step(self):
        gradients = [parameter.grad for parameter in self.model.parameters()]
        length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        for gradient in gradients:
            gradient *= min(1.0, self.most / (length + 1e-6))
        super(Clipped, self).take_step()


@pytest.mark.parametrize("family", every())
def test_clipped_gradients(family):
    found = Clipped(family).train()
    close_run(found, ClippedByHand(family).train(), rtol=1e-6)
    assert moved(found)


def test_the_induced_metric_sees_gradients_as_they_are_clipped():
    run = Clipped("InducedMetricLR", beta=0.0, xi=0.1).train()
    seen = [decision.measurement["squared_gradient"] for decision in run.scheduler.history]
    assert max(seen) == pytest.approx(Clipped.most**2, rel=1e-5)
    for decision in run.scheduler.history:
        squared, loss = decision.measurement["squared_gradient"], decision.measurement["loss"]
        assert decision.factors[0] == pytest.approx(loss / (loss**2 + 0.1 * squared), rel=1e-12)


def test_a_batch_can_be_handed_over_and_cut():
    whole, cut, by_hand = Loop("TopoLR"), Loop("TopoLR"), Loop("TopoLR")
    whole.probe = lambda batch: whole.scheduler.probe(whole.loss, batch)
    cut.probe = lambda batch: cut.scheduler.probe(cut.loss, batch, subset=3)
    by_hand.probe = lambda batch: by_hand.scheduler.probe(lambda: by_hand.loss((batch[0][:3], batch[1][:3])))
    same_run(whole.train(), Loop("TopoLR").train())
    same_run(cut.train(), by_hand.train())
    assert cut.rates != whole.rates
    with pytest.raises(ValueError, match=r"subset=3 needs the batch"):
        whole.scheduler.probe(lambda: whole.loss(batch_of(0)), subset=3)
    while not whole.scheduler.due():
        whole.optimizer.step()
    whole.scheduler._asked = -1
    with pytest.raises(ValueError, match="subset must be a whole number of at least 1 example, got 0"):
        whole.scheduler.probe(whole.loss, batch_of(0), subset=0)
